//! What the clients of a bank have in common: where Grove is, the order to stop, the counts, the first failure.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use mysql_async::Opts;

use super::{BankOptions, Progress};

/// Where Grove is, with a number that changes each time it goes or comes. A connection remembers the number it was made under: if that has
/// changed when it breaks, it was lost with Grove.
pub(super) type Address = (u64, Option<Opts>);

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) options: BankOptions,
    address: Mutex<Address>,
    origin: Instant,
    stopping: AtomicBool,
    commits: AtomicU64,
    doubtful_done: AtomicU64,
    doubtful_undone: AtomicU64,
    retries: AtomicU64,
    losses: AtomicU64,
    losses_with_grove: AtomicU64,
    clients_failed: AtomicU64,
    last_success_ms: AtomicU64,
    longest_gap_ms: AtomicU64,
    failure: Mutex<Option<String>>,
}

impl Shared {
    pub(super) fn new(options: &BankOptions, opts: Opts) -> Self {
        Self {
            options: options.clone(),
            address: Mutex::new((0, Some(opts))),
            origin: Instant::now(),
            stopping: AtomicBool::new(false),
            commits: AtomicU64::new(0),
            doubtful_done: AtomicU64::new(0),
            doubtful_undone: AtomicU64::new(0),
            retries: AtomicU64::new(0),
            losses: AtomicU64::new(0),
            losses_with_grove: AtomicU64::new(0),
            clients_failed: AtomicU64::new(0),
            last_success_ms: AtomicU64::new(0),
            longest_gap_ms: AtomicU64::new(0),
            failure: Mutex::default(),
        }
    }

    pub(super) fn address(&self) -> Address {
        lock(&self.address).clone()
    }

    pub(super) fn grove_goes(&self) {
        let mut address = lock(&self.address);
        *address = (address.0 + 1, None);
    }

    pub(super) fn grove_is_at(&self, opts: Opts) {
        let mut address = lock(&self.address);
        *address = (address.0 + 1, Some(opts));
    }

    pub(super) fn stop(&self) {
        self.note_gap();
        self.stopping.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    pub(super) fn has_failed(&self) -> bool {
        lock(&self.failure).is_some()
    }

    /// Keeps the first failure and stops everyone.
    pub(super) fn fail(&self, failure: String) {
        let at = self.origin.elapsed().as_secs_f64();
        lock(&self.failure).get_or_insert(format!("{failure}\n(noticed at {at:.3}s)"));
        self.stopping.store(true, Ordering::Relaxed);
    }

    pub(super) fn count_failed_client(&self) {
        self.clients_failed.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn commits(&self) -> u64 {
        self.commits.load(Ordering::Relaxed)
    }

    pub(super) fn count_commit(&self) {
        self.commits.fetch_add(1, Ordering::Relaxed);
        self.note_gap();
    }

    pub(super) fn count_doubt(&self, was_done: bool) {
        match was_done {
            true => &self.doubtful_done,
            false => &self.doubtful_undone,
        }
        .fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_retry(&self) {
        self.retries.fetch_add(1, Ordering::Relaxed);
    }

    /// A connection broke that was made when Grove's address had this number.
    pub(super) fn count_loss(&self, number: u64) {
        let is_with_grove = lock(&self.address).0 != number;
        match is_with_grove {
            true => &self.losses_with_grove,
            false => &self.losses,
        }
        .fetch_add(1, Ordering::Relaxed);
    }

    fn note_gap(&self) {
        let now = self.now_ms();
        let before = self.last_success_ms.swap(now, Ordering::Relaxed);
        self.longest_gap_ms
            .fetch_max(now.saturating_sub(before), Ordering::Relaxed);
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    pub(super) fn progress(&self) -> Progress {
        let passing = match self.is_stopping() {
            true => 0,
            false => self
                .now_ms()
                .saturating_sub(self.last_success_ms.load(Ordering::Relaxed)),
        };
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Progress {
            seed: self.options.seed,
            commits: self.commits(),
            doubtful_done: count(&self.doubtful_done),
            doubtful_undone: count(&self.doubtful_undone),
            retries: count(&self.retries),
            losses: count(&self.losses),
            losses_with_grove: count(&self.losses_with_grove),
            clients_failed: count(&self.clients_failed),
            longest_gap: Duration::from_millis(count(&self.longest_gap_ms).max(passing)),
            failure: lock(&self.failure).clone(),
        }
    }
}

/// The values behind these locks are whole after every statement, also after a panic of another holder.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
