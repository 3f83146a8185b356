//! What the clients of a hunt have in common: the order to stop, the counts, the first failure.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::history::History;
use super::{HuntOptions, Report, TemporaryTables};

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) seed: u64,
    pub(super) clients: u32,
    pub(super) ddl_percent: u64,
    pub(super) temporary_tables: TemporaryTables,
    pub(super) origin: Instant,
    /// The highest value of the pulse that a commit was acknowledged for; no later read may show less.
    pub(super) pulse: AtomicU64,
    stopping: AtomicBool,
    commits: AtomicU64,
    rollbacks: AtomicU64,
    deadlocks: AtomicU64,
    last_commit_ms: AtomicU64,
    longest_pause_ms: AtomicU64,
    errors: Mutex<BTreeMap<String, u64>>,
    slowest: Mutex<(Duration, String)>,
    failure: Mutex<Option<String>>,
    histories: Vec<Arc<Mutex<History>>>,
}

impl Shared {
    pub(super) fn new(options: &HuntOptions) -> Self {
        let origin = Instant::now();
        Self {
            seed: options.seed,
            clients: options.clients,
            ddl_percent: options.ddl_percent,
            temporary_tables: options.temporary_tables,
            origin,
            pulse: AtomicU64::new(0),
            stopping: AtomicBool::new(false),
            commits: AtomicU64::new(0),
            rollbacks: AtomicU64::new(0),
            deadlocks: AtomicU64::new(0),
            last_commit_ms: AtomicU64::new(0),
            longest_pause_ms: AtomicU64::new(0),
            errors: Mutex::default(),
            slowest: Mutex::default(),
            failure: Mutex::default(),
            histories: (0..options.clients)
                .map(|_| Arc::new(Mutex::new(History::new(origin))))
                .collect(),
        }
    }

    pub(super) fn history(&self, client: u32) -> Arc<Mutex<History>> {
        Arc::clone(&self.histories[client as usize])
    }

    pub(super) fn stop(&self) {
        self.note_pause();
        self.stopping.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    pub(super) fn commits(&self) -> u64 {
        self.commits.load(Ordering::Relaxed)
    }

    pub(super) fn has_failed(&self) -> bool {
        lock(&self.failure).is_some()
    }

    /// Keeps the first failure and stops everyone.
    pub(super) fn fail(&self, failure: String) {
        let mut first = lock(&self.failure);
        if first.is_none() {
            let at = self.origin.elapsed().as_secs_f64();
            *first = Some(format!(
                "{failure}\n(noticed at {at:.4}s)\n{}",
                self.last_steps_of_all()
            ));
        }
        self.stopping.store(true, Ordering::Relaxed);
    }

    pub(super) fn last_steps_of_all(&self) -> String {
        let mut text = String::from("the last steps of every client:\n");
        for (client, history) in self.histories.iter().enumerate() {
            text.push_str(&format!("  client {client}:\n{}", lock(history).last(5)));
        }
        text
    }

    pub(super) fn count_commit(&self) {
        self.commits.fetch_add(1, Ordering::Relaxed);
        self.note_pause();
    }

    pub(super) fn count_rollback(&self) {
        self.rollbacks.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_deadlock(&self) {
        self.deadlocks.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_error(&self, kind: String) {
        *lock(&self.errors).entry(kind).or_default() += 1;
    }

    /// Keeps the step that took longest.
    pub(super) fn note_step(&self, took: Duration, step: impl FnOnce() -> String) {
        let mut slowest = lock(&self.slowest);
        if took > slowest.0 {
            let begun = self.origin.elapsed().saturating_sub(took).as_secs_f64();
            *slowest = (took, format!("at {begun:.4}s {}", step()));
        }
    }

    fn note_pause(&self) {
        let now = self.origin.elapsed().as_millis() as u64;
        let before = self.last_commit_ms.swap(now, Ordering::Relaxed);
        self.longest_pause_ms
            .fetch_max(now.saturating_sub(before), Ordering::Relaxed);
    }

    pub(super) fn report(&self) -> Report {
        Report {
            seed: self.seed,
            commits: self.commits(),
            rollbacks: self.rollbacks.load(Ordering::Relaxed),
            errors: lock(&self.errors)
                .iter()
                .map(|(kind, count)| (kind.clone(), *count))
                .collect(),
            deadlocks: self.deadlocks.load(Ordering::Relaxed),
            longest_pause: Duration::from_millis(self.longest_pause_ms.load(Ordering::Relaxed)),
            slowest: lock(&self.slowest).clone(),
            failure: lock(&self.failure).clone(),
        }
    }
}

/// The values behind these locks are whole after every statement, also after a panic of another holder.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
