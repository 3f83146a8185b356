//! What must be true when all clients are done: equal servers, every promise kept, nothing left behind.

use crate::answer::HeldBack;
use crate::board::Verdict;
use crate::client::{ACCOUNTS_SUM, Surroundings};
use crate::faults::Injured;
use crate::model::Server;
use crate::model::sql::Table;
use crate::model::storage::Rows;
use crate::replay::{Order, replay};
use crate::statements;
use crate::world::SimulatedServers;
use grove_recovery_log::{Entry, MemoryLog, OrderedLog as _};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Virtual time within which everything must have come to rest.
const REST: Duration = Duration::from_secs(120);

pub async fn check(around: &Surroundings, doors: &SimulatedServers, log: &MemoryLog, injured: &Injured) -> Vec<String> {
    let mut violations = Vec::new();
    let online: Vec<&Arc<Server>> = {
        let view = around.group.view();
        view.online.iter().map(|id| &doors.servers[usize::from(id.0)]).collect()
    };
    for server in &doors.servers {
        let left = !online.iter().any(|other| other.id == server.id);
        if left && !injured.lock().unwrap().contains(&server.id) {
            let reason = &around.group.statuses()[usize::from(server.id)].reason;
            violations.push(format!("s{} was evicted without a fault: {reason}", server.id));
        }
    }
    if let Err(error) = tokio::time::timeout(REST, all_gates_are_open(around))
        .await
        .unwrap_or_else(|_| Err("hangs".into()))
    {
        violations.push(format!("a statement that needs to be alone: {error}"));
    }
    around.group.close_position_rows().await;
    if tokio::time::timeout(REST, rest(&online)).await.is_err() {
        let busy: Vec<String> = online.iter().map(|server| server.describe()).collect();
        violations.push(format!("something is left on the servers:\n{}", busy.concat()));
    }
    for server in &doors.servers {
        server.switch(crate::model::Power::On);
    }
    let metrics = tokio::runtime::Handle::current().metrics();
    let tasks_end = async {
        while metrics.num_alive_tasks() > 0 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    if tokio::time::timeout(REST, tasks_end).await.is_err() {
        violations.push(format!("{} tasks are left", metrics.num_alive_tasks()));
    }
    violations.extend(compare(&online));
    if let Some(server) = online.first() {
        violations.extend(promises(around, &server.step(|state| state.storage.committed())));
    }
    if let (Some(first), true) = (online.first(), violations.is_empty()) {
        violations.extend(replayed(first, log, Order::Logged).await);
        violations.extend(replayed(first, log, Order::Permitted(log.last_position())).await);
    }
    violations
}

/// Every server must say that it holds every unit of the log, and nothing that is not there. For seeds in which all servers are online in the
/// end.
pub fn positions(doors: &SimulatedServers, log: &MemoryLog) -> Vec<String> {
    let (first, entries) = log.recent();
    let positions = (first..).zip(&entries);
    let units: Vec<u64> = positions
        .filter(|(_, entry)| matches!(entry, Entry::Unit(_)))
        .map(|(position, _)| position)
        .collect();
    let mut violations = Vec::new();
    for server in &doors.servers {
        let standing = server.standing();
        let missing: Vec<_> = units.iter().filter(|&&position| !standing.holds(position)).collect();
        if !missing.is_empty() {
            let id = server.id;
            violations.push(format!("s{id} does not say that it holds {missing:?}: {standing:?}"));
        }
        let newest = standing.applied.last().copied().max(standing.prefix);
        if newest > Some(log.last_position()) {
            violations.push(format!(
                "s{} says that it holds more than the log: {standing:?}",
                server.id
            ));
        }
    }
    violations
}

/// The log alone must lead to the same rows.
async fn replayed(server: &Arc<Server>, log: &MemoryLog, order: Order) -> Option<String> {
    let replica = match replay(log, order, &server.policy).await {
        Ok(replica) => replica,
        Err(error) => return Some(format!("the log cannot be replayed, {order:?}: {error}")),
    };
    let (wanted, found) = (
        server.step(|state| state.storage.committed()),
        replica.step(|state| state.storage.committed()),
    );
    let differs = |table: &&Table| wanted[*table].0 != found[*table].0;
    let table = Table::ALL.iter().find(differs)?;
    let (wanted, found) = (words(&wanted[table].0), words(&found[table].0));
    Some(format!(
        "the log leads to another {}, {order:?}:\n   {wanted}\n   {found}",
        table.name()
    ))
}

/// A statement under the exclusive global gate is granted only if no gate is left.
async fn all_gates_are_open(around: &Surroundings) -> Result<(), String> {
    let mut session = around.open_session(99).await?;
    let statement = statements::alone(&around.analyser);
    let result = session.execute(&statement, &mut HeldBack::default()).await;
    session.close().await;
    result.map(|_| ()).map_err(|error| error.to_string())
}

async fn rest(online: &[&Arc<Server>]) {
    while !online.iter().all(|server| server.is_idle()) {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn compare(online: &[&Arc<Server>]) -> Vec<String> {
    let mut violations = Vec::new();
    let Some((first, others)) = online.split_first() else {
        return vec!["no server is online".into()];
    };
    let expected = first.step(|state| state.storage.committed());
    for (table, (rows, next_key)) in &expected {
        let highest = rows.last().map_or(0, |(k, _)| *k);
        if table.has_generated_keys() && highest >= *next_key {
            violations.push(format!("s{}: the next key of {} is {next_key}", first.id, table.name()));
        }
    }
    for other in others {
        let tables = other.step(|state| state.storage.committed());
        for (table, (rows, next_key)) in &tables {
            let (wanted, _) = &expected[table];
            let name = table.name();
            if wanted != rows {
                violations.push(format!(
                    "{name} differs: s{} {}\n   s{} {}",
                    first.id,
                    words(wanted),
                    other.id,
                    words(rows)
                ));
            }
            let highest = rows.last().map_or(0, |(k, _)| *k);
            if table.has_generated_keys() && highest >= *next_key {
                violations.push(format!("s{}: the next key of {name} is {next_key}", other.id));
            }
        }
    }
    violations
}

fn words(rows: &Rows) -> String {
    let row = |(k, row): &(i64, crate::model::storage::Row)| format!("{k}:{}/{} ", row.g, row.v);
    rows.iter().map(row).collect()
}

fn promises(around: &Surroundings, tables: &BTreeMap<Table, (Rows, i64)>) -> Vec<String> {
    let notes = around.board.notes();
    let mut violations = Vec::new();
    let ledger: BTreeMap<i64, i64> = tables[&Table::L].0.iter().map(|(k, row)| (*k, row.v)).collect();
    for (k, verdict) in &notes.ledger {
        let kept = match (verdict, ledger.get(k)) {
            (Verdict::Committed, found) => found == Some(&1),
            (Verdict::RolledBack, found) => found.is_none(),
            (Verdict::Unknown, found) => found.is_none_or(|times| *times == 1),
        };
        if !kept {
            violations.push(format!(
                "transaction {k} is {verdict:?} but its row is {:?}",
                ledger.get(k)
            ));
        }
    }
    for k in ledger.keys().filter(|k| !notes.ledger.contains_key(k)) {
        violations.push(format!("transaction {k} is in effect and unknown"));
    }
    for (k, row) in &tables[&Table::C].0 {
        let least = notes.counters.get(k).copied().unwrap_or(0);
        let most = least + notes.doubtful.get(k).copied().unwrap_or(0);
        if !(least..=most).contains(&row.v) {
            violations.push(format!("counter {k} is {} instead of {least} to {most}", row.v));
        }
    }
    let sum: i64 = tables[&Table::B].0.iter().map(|(_, row)| row.v).sum();
    if sum != ACCOUNTS_SUM {
        violations.push(format!("the accounts hold {sum} instead of {ACCOUNTS_SUM}"));
    }
    violations
}
