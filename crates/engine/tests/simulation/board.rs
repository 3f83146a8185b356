//! What all clients of a seed know together: which transactions were acknowledged, and what was wrong.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

/// What a client knows of one of its transactions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// COMMIT was acknowledged.
    Committed,
    /// An error or a ROLLBACK ended it.
    RolledBack,
    /// The client went away before the answer.
    Unknown,
}

/// Shared notes.
#[derive(Default)]
pub struct Board(Mutex<Notes>);

/// The notes themselves.
#[derive(Default)]
pub struct Notes {
    /// By the key of the ledger row.
    pub ledger: BTreeMap<i64, Verdict>,
    /// Acknowledged increments of each counter.
    pub counters: BTreeMap<i64, i64>,
    /// Increments whose end is not known.
    pub doubtful: BTreeMap<i64, i64>,
    /// What each client is doing.
    pub doing: BTreeMap<i64, String>,
    pub violations: Vec<String>,
    /// Servers still come and go: clients do not end before.
    pub is_restless: bool,
    pub commits: u64,
    pub errors: BTreeMap<u16, u64>,
}

impl Board {
    pub fn notes(&self) -> MutexGuard<'_, Notes> {
        self.0.lock().unwrap()
    }

    pub fn violation(&self, text: String) {
        self.notes().violations.push(text);
    }
}
