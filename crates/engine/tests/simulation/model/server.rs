//! The server as a whole: its state, its transactions, its connections.
//!
//! Invariant: the state's mutex is never held across a wait; a step is atomic, as a short critical section of a server is.

use super::execute::Failure;
use super::locks::{Locks, TransactionId, Wanted};
use super::own_run::OwnSchema;
use super::power::{Link, Switch};
use super::sql::Level;
use super::storage::{Storage, Undo};
use crate::random::Random;
use crate::trace::Trace;
use grove_engine::io::Phase;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Notify;

/// What real servers do differently: by version, by configuration, or by luck. The first group is the same on all servers of a seed.
#[derive(Clone, Debug)]
pub struct Policy {
    pub is_mariadb: bool,
    /// `innodb_autoinc_lock_mode`.
    pub autoinc_lock_mode: u8,
    /// `innodb_lock_wait_timeout`.
    pub lock_wait_timeout: Duration,
    /// The entry after a scanned range is locked itself, not only the gap before it.
    pub locks_entry_after_range: bool,
    /// A generated key whose row was not inserted is not used for the next row.
    pub lost_keys_stay_lost: bool,
    /// KILL QUERY on an idle connection hits its next statement, even BEGIN, COMMIT or ROLLBACK (MariaDB 10.11).
    pub kill_waits_for_statement: bool,

    /// The gap before an entry is locked before the entry is waited for, or after.
    pub gap_before_entry: bool,
    /// In how many of 1000 releases the waiters are served out of order.
    pub shuffles: u64,
    /// Longest pause before a statement runs, in milliseconds.
    pub slowness: u64,
    /// Longest way of a reply, in milliseconds.
    pub reply_delay: u64,
    /// How late a closed connection is noticed, at most, in milliseconds.
    pub notices_close_within: u64,
}

/// An open transaction.
pub struct Transaction {
    pub connection: u32,
    pub undo: Undo,
    pub snapshot: Option<u64>,
    /// Some statement has locked or read rows.
    pub uses_engine: bool,
    pub savepoints: Vec<Savepoint>,
}

/// A savepoint of an open transaction.
pub struct Savepoint {
    pub name: String,
    pub mark: usize,
    /// The engine has joined the transaction only after it.
    pub precedes_engine: bool,
}

/// What a connection is doing.
#[derive(Default)]
pub struct Activity {
    transaction: Option<TransactionId>,
    running: bool,
    /// It reads definitions: a KILL QUERY now damages the server's copy of them.
    opening: bool,
    killed: bool,
    /// KILL CONNECTION.
    ended: Arc<Notify>,
}

/// Everything behind the server's mutex.
pub struct State {
    pub storage: Storage,
    pub locks: Locks,
    pub transactions: BTreeMap<TransactionId, Transaction>,
    pub random: Random,
    /// A definition that was read half stays so: statements that need it are refused.
    pub is_damaged: bool,
    pub own: OwnSchema,
    pub connections: BTreeMap<u32, Activity>,
    next_transaction: TransactionId,
    pub next_connection: u32,
}

impl State {
    pub fn is_killed(&self, connection: u32) -> bool {
        self.connections
            .get(&connection)
            .is_some_and(|activity| activity.killed)
    }

    pub fn is_opening(&mut self, connection: u32, opening: bool) {
        if let Some(activity) = self.connections.get_mut(&connection) {
            activity.opening = opening;
        }
    }

    pub fn begin(&mut self, connection: u32) -> TransactionId {
        self.next_transaction += 1;
        let id = self.next_transaction;
        self.transactions.insert(
            id,
            Transaction {
                connection,
                undo: Undo::default(),
                snapshot: None,
                uses_engine: false,
                savepoints: Vec::new(),
            },
        );
        if let Some(activity) = self.connections.get_mut(&connection) {
            activity.transaction = Some(id);
        }
        id
    }

    pub fn commit(&mut self, id: TransactionId) {
        if let Some(open) = self.transactions.remove(&id) {
            self.storage.commit(id, &open.undo);
            self.end(id, &open);
        }
    }

    pub fn roll_back(&mut self, id: TransactionId) {
        if let Some(mut open) = self.transactions.remove(&id) {
            self.storage.undo(&mut open.undo, 0);
            self.end(id, &open);
        }
    }

    fn end(&mut self, id: TransactionId, ended: &Transaction) {
        self.locks.release_all(id);
        if let Some(activity) = self.connections.get_mut(&ended.connection) {
            activity.transaction = None;
        }
        if self.random.chance(300) {
            let snapshots = self.transactions.values().filter_map(|open| open.snapshot);
            let oldest = snapshots.min().unwrap_or(self.storage.now());
            self.storage.purge(oldest, &mut self.random);
        }
    }

    /// A statement begins; a kill that came before may hit it.
    pub fn begin_statement(&mut self, connection: u32, kill_waits: bool) -> Result<(), Failure> {
        let Some(activity) = self.connections.get_mut(&connection) else {
            return Ok(());
        };
        activity.running = true;
        let killed = std::mem::take(&mut activity.killed);
        if killed && kill_waits {
            return Err(Failure::Killed);
        }
        Ok(())
    }

    pub fn end_statement(&mut self, connection: u32) {
        if let Some(activity) = self.connections.get_mut(&connection) {
            activity.running = false;
            activity.opening = false;
            activity.killed = false;
        }
    }
}

/// A model server.
pub struct Server {
    pub id: u16,
    pub policy: Policy,
    pub trace: Arc<Trace>,
    pub link: Link,
    state: Mutex<State>,
    pub switch: Switch,
}

impl Server {
    pub fn new(id: u16, policy: Policy, mut random: Random, trace: Arc<Trace>) -> Arc<Self> {
        let locks = Locks::new(random.fork(), policy.shuffles);
        Arc::new(Self {
            id,
            policy,
            trace,
            link: Link::default(),
            state: Mutex::new(State {
                storage: Storage::new(),
                locks,
                transactions: BTreeMap::new(),
                random,
                is_damaged: false,
                own: OwnSchema::default(),
                connections: BTreeMap::new(),
                next_transaction: 0,
                next_connection: u32::from(id) * 1000,
            }),
            switch: Switch::default(),
        })
    }

    pub fn step<R>(&self, action: impl FnOnce(&mut State) -> R) -> R {
        action(&mut self.state.lock().unwrap())
    }

    /// A new connection's id, and how it is told that it was killed.
    pub fn new_connection(&self) -> (u32, Arc<Notify>) {
        self.step(|state| {
            state.next_connection += 1;
            let id = state.next_connection;
            let activity = state.connections.entry(id).or_default();
            (id, Arc::clone(&activity.ended))
        })
    }

    /// The connection is closed: what it had open is rolled back.
    pub fn forget_connection(&self, connection: u32) {
        self.step(|state| {
            if let Some(Activity {
                transaction: Some(id), ..
            }) = state.connections.remove(&connection)
            {
                state.roll_back(id);
            }
        });
    }

    /// KILL QUERY.
    pub fn kill_query(&self, connection: u32) {
        let kill_waits = self.policy.kill_waits_for_statement;
        self.step(|state| {
            let Some(activity) = state.connections.get_mut(&connection) else {
                return;
            };
            if !activity.running && !kill_waits {
                return;
            }
            activity.killed = true;
            state.is_damaged |= activity.opening;
            if let Some(id) = activity.transaction {
                state.locks.interrupt(id);
            }
        });
    }

    /// KILL CONNECTION: the statement that is running ends where it is, and everything is rolled back.
    pub fn kill_connection(&self, connection: u32) {
        self.step(|state| {
            if let Some(activity) = state.connections.get(&connection) {
                activity.ended.notify_one();
            }
        });
    }

    /// What the connection is doing.
    pub fn phase(&self, connection: u32) -> Phase {
        self.step(|state| match state.connections.get(&connection) {
            Some(activity) if activity.opening => Phase::Opening,
            Some(activity) if activity.running => Phase::Working,
            _ => Phase::Idle,
        })
    }

    /// Connections that hold what `connection` waits for.
    pub fn blockers(&self, connection: u32) -> Vec<u32> {
        self.step(|state| {
            let waiting = state
                .connections
                .get(&connection)
                .and_then(|activity| activity.transaction);
            let blockers = waiting.map_or_else(Vec::new, |id| state.locks.blockers(id));
            let holder = |id: &TransactionId| state.transactions.get(id).map(|open| open.connection);
            blockers.iter().filter_map(holder).collect()
        })
    }

    /// The server's wall clock in microseconds, which is not quite the other servers'.
    pub fn own_clock(&self) -> i64 {
        1_600_000_000_000_000 + i64::from(self.id)
    }

    pub fn trace_wait(&self, connection: u32, wanted: Wanted) {
        self.trace.event(&[61, u64::from(connection)], || {
            let blockers = self.blockers(connection);
            format!("s{} #{connection} waits for {wanted:?} held by {blockers:?}", self.id)
        });
    }

    /// Whether nothing is open any more: no connection, no transaction, no lock.
    pub fn is_idle(&self) -> bool {
        self.step(|state| state.transactions.is_empty() && state.connections.is_empty() && state.locks.is_empty())
    }

    /// What is open and who waits for whom, for people.
    pub fn describe(&self) -> String {
        self.step(|state| {
            let line = |(id, open): (&TransactionId, &Transaction)| {
                let blockers = state.locks.blockers(*id);
                format!(
                    "  s{}: #{} has transaction {id}, which waits for {blockers:?}\n",
                    self.id, open.connection
                )
            };
            let open: String = state.transactions.iter().map(line).collect();
            let connections: Vec<u32> = state.connections.keys().copied().collect();
            format!("{open}  s{}: connections {connections:?}\n", self.id)
        })
    }

    pub fn level_default() -> Level {
        Level::RepeatableRead
    }
}
