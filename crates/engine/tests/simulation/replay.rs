//! The log, executed one unit after the other on an empty server, must give the tables that the servers have: in the log's order, and in any
//! other that its units allow by what they depend on.

use crate::leg::SimulatedLeg;
use crate::model::{Policy, Server};
use crate::random::Random;
use crate::trace::{Detail, Trace};
use crate::world::{SimulatedWorld, Weather};
use bytes::Bytes;
use grove_engine::io::{BackendId, Discard, Leg, Servers, World};
use grove_recovery_log::{Entry, LoggedStatement, MemoryLog, Position, ResultOutcome, StatementBody};
use grove_wire::{Reply, ReplyShape, ResultEnd};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// In which order units are executed.
#[derive(Clone, Copy, Debug)]
pub enum Order {
    /// The log's.
    Logged,
    /// Any in which a unit comes after what it depends on, drawn with this seed.
    Permitted(u64),
}

/// Replays the whole log on a new server.
pub async fn replay(log: &MemoryLog, order: Order, policy: &Policy) -> Result<Arc<Server>, String> {
    let policy = Policy {
        shuffles: 0,
        slowness: 0,
        reply_delay: 0,
        notices_close_within: 0,
        lock_wait_timeout: Duration::from_secs(1),
        ..policy.clone()
    };
    let trace = Arc::new(Trace::new(Detail::DigestOnly));
    let server = Server::new(0, policy, Random::new(1), Arc::clone(&trace));
    let calm = Weather {
        delay: 0,
        spikes: 0,
        breaks: 0,
        refuses: 0,
        loses_replies: 0,
    };
    let world = SimulatedWorld::new(vec![Arc::clone(&server)], calm, 0, trace, Random::new(2));
    let identity = Arc::new(crate::client::identity(0));
    let leg = world.servers().connect(BackendId(0), &identity).await;
    let mut replica = Replica(leg.map_err(|error| error.to_string())?);
    let (first, entries) = log.recent();
    let places = match order {
        Order::Logged => (0..entries.len()).collect(),
        Order::Permitted(seed) => permitted(first, &entries, Random::new(seed)),
    };
    for place in places {
        match &entries[place] {
            Entry::Unit(unit) => {
                replica.run(b"BEGIN").await?;
                for statement in &unit.statements {
                    replica.repeat(statement).await?;
                }
                replica.run(b"COMMIT").await?;
            }
            Entry::Standalone(standalone) => replica.repeat(&standalone.statement).await?,
            Entry::Intent(_) | Entry::Membership(_) | Entry::Checkpoint(_) => {}
        }
    }
    Ok(server)
}

/// Entries that may be drawn next stand at most so far behind the first that is left.
const WINDOW: usize = 24;

/// Places of the entries in an order that their dependencies allow. What is no unit keeps its place among all others.
fn permitted(first: Position, entries: &[Entry], mut random: Random) -> Vec<usize> {
    let mut left: VecDeque<usize> = (0..entries.len()).collect();
    let mut order = Vec::with_capacity(entries.len());
    while let Some(&oldest) = left.front() {
        let done_below = first + oldest as Position;
        let ahead = left
            .iter()
            .take(WINDOW)
            .take_while(|&&place| matches!(entries[place], Entry::Unit(_)));
        let ready = |place: &usize| match &entries[*place] {
            Entry::Unit(unit) => unit.depends_on < done_below,
            _ => false,
        };
        let mut choices: Vec<usize> = ahead
            .enumerate()
            .filter(|(_, place)| ready(place))
            .map(|(at, _)| at)
            .collect();
        if choices.is_empty() {
            choices.push(0);
        }
        order.extend(left.remove(random.pick(&choices)));
    }
    order
}

struct Replica(SimulatedLeg);

impl Replica {
    async fn repeat(&mut self, statement: &LoggedStatement) -> Result<(), String> {
        let text = match &statement.body {
            StatementBody::Text(text)
            | StatementBody::Attributed { text, .. }
            | StatementBody::LoadWithoutFile(text)
            | StatementBody::Load { text, .. }
            | StatementBody::Execute { text, .. } => text.clone(),
        };
        let wanted = statement.outcome.results.last();
        let id = match wanted {
            Some(ResultOutcome::Ok { last_insert_id, .. }) => *last_insert_id,
            _ => 0,
        };
        let inserts = text.starts_with(b"INSERT") || text.starts_with(b"REPLACE");
        let first = if inserts && inserted(&text, wanted) { id } else { 0 };
        self.run(b"SAVEPOINT replay").await?;
        let mut reply = self.run_with(statement, &text, first).await?;
        if let ResultEnd::Ok(ok) = reply.last()
            && first > 0
            && ok.last_insert_id > first
        {
            // The first generated key went to a row that was not inserted.
            let earlier = 2 * first - ok.last_insert_id;
            self.run(b"ROLLBACK TO replay").await?;
            reply = self.run_with(statement, &text, earlier).await?;
        }
        let agrees = match (wanted, reply.last()) {
            (
                Some(ResultOutcome::Ok {
                    affected_rows,
                    last_insert_id,
                    ..
                }),
                ResultEnd::Ok(ok),
            ) => (*affected_rows, *last_insert_id) == (ok.affected_rows, ok.last_insert_id),
            (Some(ResultOutcome::Rows { rows }), ResultEnd::Rows { rows: found, .. }) => rows == found,
            (Some(ResultOutcome::Err { code }), ResultEnd::Err(err)) => *code == err.code,
            _ => false,
        };
        let text = String::from_utf8_lossy(&text);
        if agrees {
            Ok(())
        } else {
            Err(format!("{text} answers {:?} instead of {wanted:?}", reply.last()))
        }
    }

    /// Runs a statement with its context and its first generated key; 0 for none.
    async fn run_with(&mut self, statement: &LoggedStatement, text: &[u8], first: u64) -> Result<Reply, String> {
        for payload in &statement.context {
            self.send(payload.clone()).await?;
        }
        if first > 0 {
            self.run(format!("SET INSERT_ID={first}").as_bytes()).await?;
        }
        self.run(text).await
    }

    async fn run(&mut self, sql: &[u8]) -> Result<Reply, String> {
        self.send(Bytes::from([&[grove_wire::command::COM_QUERY], sql].concat()))
            .await
    }

    async fn send(&mut self, payload: Bytes) -> Result<Reply, String> {
        self.0.send(&[payload]).await.map_err(|error| error.to_string())?;
        let reply = self.0.receive(ReplyShape::Query, &mut Discard).await;
        reply.map(|reply| reply.reply).map_err(|error| error.to_string())
    }
}

/// Whether an upsert inserted a row: only then is its answer's id one that was generated.
fn inserted(text: &[u8], outcome: Option<&ResultOutcome>) -> bool {
    let upsert = String::from_utf8_lossy(text).contains("ON DUPLICATE");
    let Some(ResultOutcome::Ok {
        affected_rows, info, ..
    }) = outcome
    else {
        return true;
    };
    let info = String::from_utf8_lossy(info);
    let duplicates = info
        .split("Duplicates: ")
        .nth(1)
        .and_then(|rest| rest.split(' ').next());
    match duplicates.and_then(|count| count.parse::<u64>().ok()) {
        _ if !upsert => true,
        Some(duplicates) => *affected_rows > 2 * duplicates,
        None => *affected_rows == 1,
    }
}
