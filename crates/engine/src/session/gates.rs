//! Which gates a statement takes: the tables that it touches, shared or exclusive.
//!
//! Transactions share the gates of every table that they read or write, as they share its metadata lock on a server, so that DDL finds nobody
//! in the middle of its tables on any server. Exclusive are DDL, READ COMMITTED (whose row locks do not order statements), bulk inserts where servers interleave
//! generated ids, and whatever was not understood.

use super::Session;
use super::mirrored::ends_xa;
use crate::error::SessionError;
use crate::gate::{GateKey, GateMode, Hold};
use crate::interrupt::Kill;
use crate::io::{Clock, World};
use crate::settings::ReadCommitted;
use crate::state::Isolation;
use crate::statement::Statement;
use grove_sql::{Class, SetScope, TableName, TouchedTables, WriteKind};
use smallvec::SmallVec;
use std::time::Duration;

/// Gates in the order in which they are taken.
type Wanted = SmallVec<[(GateKey, GateMode); 4]>;

/// A transaction that already holds row locks waits this long for an exclusive gate. Its holders may be waiting for those rows, which neither
/// Grove nor a server can see; the longer wait of a transaction without locks would only end in the same way.
const UPGRADE_WAIT: Duration = Duration::from_secs(3);

impl<W: World> Session<W> {
    /// Takes the gates that a statement needs, in one fixed order.
    pub(super) async fn take_gates(&mut self, hold: &Hold, statement: &Statement) -> Result<(), SessionError> {
        let wanted = self.wanted_gates(statement);
        if wanted.is_empty() {
            return Ok(());
        }
        let upgrades = self.transaction.as_ref().is_some_and(|t| !t.entries.is_empty())
            && wanted.iter().any(|(_, mode)| *mode == GateMode::Exclusive);
        let bound = self.group.settings.gate_wait;
        let bound = if upgrades { bound.min(UPGRADE_WAIT) } else { bound };
        let running = std::sync::Arc::clone(&self.running);
        running.begin_gate();
        let deadline = self.group.world.clock().sleep(bound);
        tokio::pin!(deadline);
        let mut result = Ok(());
        for (key, mode) in wanted {
            // Each of these futures may be dropped: a place in a queue is all that is lost.
            result = tokio::select! {
                biased;
                granted = hold.acquire(key, mode) => granted.map_err(|_| SessionError::Retry("a cycle of gates".into())),
                () = running.killed() => Err(SessionError::Interrupted),
                () = &mut deadline => Err(match upgrades {
                    true => SessionError::Retry("a gate is held by a transaction that may wait for this one".into()),
                    false => SessionError::LockWait("a table's gate".into()),
                }),
            };
            if result.is_err() {
                break;
            }
        }
        let killed = running.end().await != Kill::None;
        match result {
            Ok(()) if killed => Err(SessionError::Interrupted),
            result => result,
        }
    }

    /// The gates that a statement needs, in the order in which they are taken.
    pub(super) fn wanted_gates(&self, statement: &Statement) -> Wanted {
        let analysis = &statement.analysis;
        if analysis.flags.named_lock {
            // Named locks are waited for inside the server, perhaps by somebody who holds gates.
            return Wanted::new();
        }
        let gated =
            self.isolation() == Isolation::ReadCommitted && self.group.settings.read_committed == ReadCommitted::Gate;
        let loads = analysis.flags.insert_select || matches!(analysis.class, Class::Write(WriteKind::LoadData));
        // A bulk execution is to InnoDB an INSERT of few rows, which takes its ids piece by piece without a lock in mode 1 too.
        let inserts = matches!(analysis.class, Class::Write(WriteKind::Insert | WriteKind::Replace));
        let bulk = loads && self.group.bulk_inserts_need_a_gate() || inserts && statement.body.is_bulk();
        let row_mode = if gated { GateMode::Exclusive } else { GateMode::Shared };
        match analysis.class {
            Class::Write(_) if bulk && !gated => {
                let mut wanted = self.gates_of(&analysis.tables, GateMode::Shared);
                wanted.extend(self.gates_of(&analysis.written, GateMode::Exclusive));
                in_order(wanted)
            }
            // A transaction that reads a table keeps its definition locked on the server where it reads, so DDL must wait for it.
            Class::Read => match &analysis.tables {
                known @ TouchedTables::Known(names) if !names.is_empty() => {
                    in_order(self.gates_of(known, GateMode::Shared))
                }
                _ => Wanted::new(),
            },
            Class::Write(_) | Class::LockingRead | Class::TemporaryDdl => {
                in_order(self.gates_of(&analysis.tables, row_mode))
            }
            Class::Savepoint | Class::RollbackToSavepoint | Class::ReleaseSavepoint => Wanted::new(),
            Class::UnlockTables | Class::Commit { .. } | Class::Rollback { .. } => Wanted::new(),
            Class::Xa if ends_xa(statement) => Wanted::new(),
            Class::Set if analysis.set.iter().all(|item| item.scope != SetScope::Statement) => server_wide(),
            Class::Kill => server_wide(),
            Class::Ddl => {
                let mut wanted = self.gates_of(&analysis.tables, GateMode::Exclusive);
                wanted.extend(server_wide());
                in_order(wanted)
            }
            _ => in_order(self.gates_of(&analysis.tables, GateMode::Exclusive)),
        }
    }

    fn gates_of(&self, tables: &TouchedTables, mode: GateMode) -> Wanted {
        match tables {
            TouchedTables::Unknown => Wanted::from_iter([(GateKey::Global, GateMode::Exclusive)]),
            TouchedTables::Known(names) => {
                let everything = (GateKey::Global, GateMode::Shared);
                let tables = names.iter().map(|table| (self.gate_key(table), mode));
                std::iter::once(everything).chain(tables).collect()
            }
        }
    }

    pub(super) fn gate_key(&self, table: &TableName) -> GateKey {
        let schema = table.schema.as_ref();
        let schema = schema.map_or(self.state.schema.as_slice(), |schema| schema.as_bytes());
        GateKey::Table(schema.to_ascii_lowercase(), table.name.as_bytes().to_ascii_lowercase())
    }
}

fn server_wide() -> Wanted {
    Wanted::from_iter([
        (GateKey::Global, GateMode::Shared),
        (GateKey::Server, GateMode::Exclusive),
    ])
}

/// Sorted by key; of two wishes for one key the exclusive one stays.
fn in_order(mut wanted: Wanted) -> Wanted {
    wanted.sort_by(|(a, a_mode), (b, b_mode)| {
        let exclusive_first = |mode: &GateMode| u8::from(*mode == GateMode::Shared);
        a.cmp(b).then(exclusive_first(a_mode).cmp(&exclusive_first(b_mode)))
    });
    wanted.dedup_by(|(later, _), (earlier, _)| later == earlier);
    wanted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exclusive_wish_replaces_a_shared_one_and_the_global_gate_comes_first() {
        let table = |name: &str| GateKey::Table(b"app".to_vec(), name.as_bytes().to_vec());
        let wanted = Wanted::from_iter([
            (table("b"), GateMode::Shared),
            (GateKey::Server, GateMode::Exclusive),
            (table("b"), GateMode::Exclusive),
            (GateKey::Global, GateMode::Shared),
            (table("a"), GateMode::Shared),
        ]);
        let expected = Wanted::from_iter([
            (GateKey::Global, GateMode::Shared),
            (GateKey::Server, GateMode::Exclusive),
            (table("a"), GateMode::Shared),
            (table("b"), GateMode::Exclusive),
        ]);
        assert_eq!(in_order(wanted), expected);
    }
}
