//! A log that has no room now and then. It refuses only what is undone then, or has not been sent to a server; what has been committed by itself it takes.

use crate::random::Random;
use grove_recovery_log::{Entry, LogError, LogId, MemoryLog, Need, OrderedLog, Position, Record};
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

pub struct RefusingLog {
    log: Arc<MemoryLog>,
    /// How many of 1000 entries it refuses.
    refusals: AtomicU64,
    random: Mutex<Random>,
}

impl RefusingLog {
    pub fn new(log: Arc<MemoryLog>, refusals: u64, random: Random) -> Self {
        Self {
            log,
            refusals: AtomicU64::new(refusals),
            random: Mutex::new(random),
        }
    }

    /// From now on it takes everything.
    pub fn has_room(&self) {
        self.refusals.store(0, Ordering::Relaxed);
    }
}

impl OrderedLog for RefusingLog {
    fn append(&self, entry: Entry) -> Pin<Box<dyn Future<Output = Result<Position, LogError>> + Send + '_>> {
        let may_be_refused = match &entry {
            Entry::Unit(unit) => unit.statements.last().is_some_and(|last| last.outcome.in_transaction),
            Entry::Intent(_) => true,
            _ => false,
        };
        if may_be_refused
            && self
                .random
                .lock()
                .unwrap()
                .chance(self.refusals.load(Ordering::Relaxed))
        {
            let refused = Err(LogError::DiskFull {
                segment: "the next segment".into(),
                bytes: 1,
                source: Arc::new(std::io::ErrorKind::StorageFull.into()),
            });
            return Box::pin(std::future::ready(refused));
        }
        self.log.append(entry)
    }

    fn last_position(&self) -> Position {
        self.log.last_position()
    }

    fn id(&self) -> Option<LogId> {
        self.log.id()
    }

    fn entries(
        &self,
        from: Position,
        most_bytes: u64,
    ) -> Pin<Box<dyn Future<Output = Result<Vec<Record>, LogError>> + Send + '_>> {
        self.log.entries(from, most_bytes)
    }

    fn retain(&self, needs: Vec<Need>) {
        self.log.retain(needs);
    }
}
