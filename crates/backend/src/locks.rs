//! Who waits for whom on one server.
//!
//! One question fetches all waits of the server, and everybody who asked before it was sent shares the answer: many legs wait at the same time
//! exactly when the server has least to spare. `information_schema.INNODB_TRX` and its like show a copy that both kinds of server renew
//! only when nobody has read it for 0.1 s; read more often, it would stay old for ever, so questions keep that distance.

use crate::control::{Answer, AskError, ControlPool};
use grove_engine::io::LegError;
use grove_wire::CapabilityFlags;
use grove_wire::handshake::Greeting;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep_until, timeout};

/// `CACHE_MIN_IDLE_TIME` of the servers' source, and a little more.
const COPY_AGE: Duration = Duration::from_millis(110);

/// InnoDB row and table locks, MariaDB and MySQL before 8: waiter, blocker.
const INNODB_WAITS: &str = "SELECT w.trx_mysql_thread_id, b.trx_mysql_thread_id FROM information_schema.INNODB_LOCK_WAITS l \
    JOIN information_schema.INNODB_TRX w ON w.trx_id = l.requesting_trx_id \
    JOIN information_schema.INNODB_TRX b ON b.trx_id = l.blocking_trx_id";

/// InnoDB row and table locks, MySQL from 8 on. The threads are found by their transactions, because the performance schema knows
/// only those threads that it instruments.
const ENGINE_WAITS: &str = "SELECT w.trx_mysql_thread_id, b.trx_mysql_thread_id FROM performance_schema.data_lock_waits l \
    JOIN information_schema.INNODB_TRX w ON w.trx_id = l.REQUESTING_ENGINE_TRANSACTION_ID \
    JOIN information_schema.INNODB_TRX b ON b.trx_id = l.BLOCKING_ENGINE_TRANSACTION_ID";

/// The same without INNODB_TRX, which MySQL refuses to show while some transaction runs a text that is not valid in its character set.
const ENGINE_WAITS_BY_THREAD: &str = "SELECT w.PROCESSLIST_ID, b.PROCESSLIST_ID FROM performance_schema.data_lock_waits l \
    JOIN performance_schema.threads w ON w.THREAD_ID = l.REQUESTING_THREAD_ID \
    JOIN performance_schema.threads b ON b.THREAD_ID = l.BLOCKING_THREAD_ID";

/// ER_CANNOT_CONVERT_STRING
const CANNOT_CONVERT_STRING: u16 = 3854;

/// Metadata locks, MySQL from 5.7 on, where their instrument is on (as it is by default from 8 on): a holder blocks a waiter on the same object if one of the
/// two locks is exclusive towards the other.
const METADATA_WAITS: &str = "SELECT w.PROCESSLIST_ID, b.PROCESSLIST_ID FROM performance_schema.metadata_locks p \
    JOIN performance_schema.metadata_locks g ON g.OBJECT_TYPE = p.OBJECT_TYPE AND g.OBJECT_SCHEMA <=> p.OBJECT_SCHEMA \
    AND g.OBJECT_NAME <=> p.OBJECT_NAME AND g.OWNER_THREAD_ID <> p.OWNER_THREAD_ID \
    JOIN performance_schema.threads w ON w.THREAD_ID = p.OWNER_THREAD_ID \
    JOIN performance_schema.threads b ON b.THREAD_ID = g.OWNER_THREAD_ID \
    WHERE p.LOCK_STATUS = 'PENDING' AND g.LOCK_STATUS = 'GRANTED' AND ( \
    'EXCLUSIVE' IN (p.LOCK_TYPE, g.LOCK_TYPE) OR 'SHARED_NO_READ_WRITE' IN (p.LOCK_TYPE, g.LOCK_TYPE) \
    OR (p.LOCK_TYPE = 'SHARED_NO_WRITE' AND g.LOCK_TYPE LIKE 'SHARED\\_WRITE%') \
    OR (g.LOCK_TYPE = 'SHARED_NO_WRITE' AND p.LOCK_TYPE LIKE 'SHARED\\_WRITE%'))";

/// Waiter and blocker, by their connection ids.
type Wait = (u32, u32);

pub(crate) struct LockWaits {
    limit: Duration,
    /// One question at a time.
    turn: Semaphore,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// Forgotten when the server refuses a question, as after an upgrade in place.
    kind: Option<ServerKind>,
    /// When the server's copy was last read.
    read_at: Option<Instant>,
    /// When the question was sent that `waits` answers.
    asked_at: Option<Instant>,
    waits: Vec<Wait>,
}

impl LockWaits {
    pub fn new(limit: Duration) -> Self {
        Self {
            limit,
            turn: Semaphore::new(1),
            known: Mutex::default(),
        }
    }

    /// Who blocks this connection. Bounded in time. Dropping the future loses nothing.
    pub async fn blockers_of(&self, control: &ControlPool, thread_id: u32) -> Result<Vec<u32>, LegError> {
        match timeout(self.limit, self.shared(control, thread_id)).await {
            Ok(answer) => answer.map_err(|error| match error {
                AskError::Leg(error) => error,
                AskError::Refused(_) => {
                    LegError::Protocol(format!("{}: the question who blocks whom: {error}", control.name()))
                }
            }),
            Err(_) => Err(LegError::Timeout(self.limit)),
        }
    }

    async fn shared(&self, control: &ControlPool, thread_id: u32) -> Result<Vec<u32>, AskError> {
        let wanted_since = Instant::now();
        // The semaphore is never closed, so a turn always comes.
        let _turn = self.turn.acquire().await;
        let read_at = {
            let known = self.known();
            if known.asked_at.is_some_and(|asked_at| asked_at >= wanted_since) {
                return Ok(blockers(&known.waits, thread_id));
            }
            known.read_at
        };
        if let Some(read_at) = read_at {
            sleep_until(read_at + COPY_AGE).await;
        }
        let asked_at = Instant::now();
        let answer = self.ask(control).await;
        let mut known = self.known();
        known.read_at = Some(Instant::now());
        if matches!(answer, Err(AskError::Refused(_))) {
            known.kind = None;
        }
        known.waits = answer?;
        known.asked_at = Some(asked_at);
        Ok(blockers(&known.waits, thread_id))
    }

    async fn ask(&self, control: &ControlPool) -> Result<Vec<Wait>, AskError> {
        let kind = self.kind(control).await?;
        let sql = match kind {
            ServerKind::MariaDb | ServerKind::OldMySql => INNODB_WAITS,
            ServerKind::MySql => ENGINE_WAITS,
        };
        let answer = match control.ask(sql).await {
            Err(AskError::Refused(err)) if err.code == CANNOT_CONVERT_STRING => {
                control.ask(ENGINE_WAITS_BY_THREAD).await?
            }
            answer => answer?,
        };
        let mut waits = pairs(&answer);
        if kind == ServerKind::MySql {
            match control.ask(METADATA_WAITS).await {
                Ok(answer) => waits.extend(pairs(&answer)),
                // The account may not read the performance schema: row locks are known all the same.
                Err(AskError::Refused(err)) => tracing::debug!(code = err.code, "metadata locks are not known"),
                Err(error) => return Err(error),
            }
        }
        Ok(waits)
    }

    async fn kind(&self, control: &ControlPool) -> Result<ServerKind, AskError> {
        let known = self.known().kind;
        if let Some(kind) = known {
            return Ok(kind);
        }
        // The greeting comes with every answer, so the question does not matter.
        let kind = ServerKind::of(&control.ask("DO 0").await?.greeting);
        self.known().kind = Some(kind);
        Ok(kind)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn blockers(waits: &[Wait], thread_id: u32) -> Vec<u32> {
    let mut blockers: Vec<u32> = waits
        .iter()
        .filter(|(waiter, blocker)| *waiter == thread_id && *blocker != thread_id)
        .map(|(_, blocker)| *blocker)
        .collect();
    blockers.sort_unstable();
    blockers.dedup();
    blockers
}

fn pairs(answer: &Answer) -> Vec<Wait> {
    let id = |value: &Option<String>| value.as_ref()?.parse::<u32>().ok();
    answer
        .rows
        .iter()
        .filter_map(|row| match row.as_slice() {
            [waiter, blocker] => Some((id(waiter)?, id(blocker)?)),
            _ => None,
        })
        .collect()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ServerKind {
    MariaDb,
    MySql,
    /// MySQL before 8.
    OldMySql,
}

impl ServerKind {
    fn of(greeting: &Greeting) -> Self {
        let says_mariadb = greeting.version.windows(7).any(|word| word == b"MariaDB");
        if says_mariadb || !greeting.capabilities.contains(CapabilityFlags::LONG_PASSWORD) {
            return Self::MariaDb;
        }
        let major = greeting.version.split(|&byte| byte == b'.').next().unwrap_or_default();
        match std::str::from_utf8(major)
            .ok()
            .and_then(|major| major.parse::<u32>().ok())
        {
            Some(major) if major < 8 => Self::OldMySql,
            _ => Self::MySql,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use grove_wire::StatusFlags;

    fn kind(version: &str, capabilities: CapabilityFlags) -> ServerKind {
        ServerKind::of(&Greeting {
            version: version.into(),
            connection_id: 1,
            challenge: [1; 20],
            capabilities,
            collation: 45,
            status: StatusFlags(0),
            auth_plugin: Vec::new(),
        })
    }

    #[test]
    fn the_kind_of_server_is_known_by_its_greeting() {
        let mysql = CapabilityFlags::LONG_PASSWORD;
        assert_eq!(kind("5.5.5-10.11.9-MariaDB", CapabilityFlags(0)), ServerKind::MariaDb);
        assert_eq!(kind("renamed", CapabilityFlags(0)), ServerKind::MariaDb);
        assert_eq!(kind("5.7.44-log", mysql), ServerKind::OldMySql);
        assert_eq!(kind("8.0.40", mysql), ServerKind::MySql);
        assert_eq!(kind("9.7.4", mysql), ServerKind::MySql);
        assert_eq!(kind("renamed", mysql), ServerKind::MySql);
    }

    #[test]
    fn blockers_are_named_once_and_never_the_waiter_itself() {
        let waits = [(7, 9), (7, 8), (7, 9), (7, 7), (8, 10)];
        assert_eq!(blockers(&waits, 7), [8, 9]);
        assert!(blockers(&waits, 11).is_empty());
    }
}
