//! Logs on simulated disks, with a clock and chance that are known.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use grove_recovery_log::{
    Checkpoint, DurableLog, Entry, Environment, Limits, LogError, Options, OrderedLog, Position, Record,
};

use crate::disk::{Disk, next};

/// A clock that a test sets, and numbers that are the same in each run.
#[derive(Default)]
pub struct TestWorld {
    pub micros: AtomicU64,
    random: AtomicU64,
}

impl Environment for TestWorld {
    fn unix_micros(&self) -> u64 {
        self.micros.load(Ordering::Relaxed)
    }

    fn random(&self) -> u64 {
        next(&mut self.random.fetch_add(1, Ordering::Relaxed))
    }
}

/// Segments of so many bytes, and as much history as one likes.
pub fn options(segment_bytes: u64) -> Options {
    Options {
        segment_bytes,
        limits: Limits {
            most_bytes: u64::MAX,
            bytes: u64::MAX,
            age: Duration::MAX,
        },
        waiting_bytes: 1 << 20,
    }
}

pub fn try_open(disk: &Disk, segment_bytes: u64) -> Result<DurableLog, LogError> {
    open_with(disk, Arc::default(), &options(segment_bytes))
}

pub fn open(disk: &Disk, segment_bytes: u64) -> DurableLog {
    try_open(disk, segment_bytes).unwrap_or_else(|error| panic!("{error}"))
}

pub fn open_with(disk: &Disk, world: Arc<TestWorld>, options: &Options) -> Result<DurableLog, LogError> {
    DurableLog::open(Arc::new(disk.clone()), world, options)
}

/// The smallest entry that says which one it is.
pub fn entry(name: impl ToString) -> Entry {
    Entry::Checkpoint(Checkpoint { name: name.to_string() })
}

pub fn name(record: &Record) -> &str {
    match &record.entry {
        Entry::Checkpoint(checkpoint) => &checkpoint.name,
        other => panic!("{other:?}"),
    }
}

/// A runtime whose only thread is the test's.
pub fn block_on<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    runtime.block_on(future)
}

pub fn append(log: &DurableLog, name: impl ToString) -> Result<Position, LogError> {
    append_entry(log, entry(name))
}

pub fn append_entry(log: &DurableLog, entry: Entry) -> Result<Position, LogError> {
    block_on(log.append(entry))
}

/// Appends entries named by their positions, each in a group of its own.
pub fn append_numbered(log: &DurableLog, count: u64) {
    for _ in 0..count {
        let position = log.last_position() + 1;
        assert_eq!(append(log, position).unwrap(), position);
    }
}

/// Appends entries named by their positions, all in one group.
pub fn append_group(disk: &Disk, log: &Arc<DurableLog>, count: u64) {
    let first = log.last_position() + 1;
    block_on(async {
        disk.hold_syncs(true);
        let mut tasks = Vec::new();
        // The first one keeps the writer busy until the others wait.
        for position in first..=first + count {
            let log = Arc::clone(log);
            tasks.push(tokio::spawn(async move { log.append(entry(position)).await }));
            tokio::task::yield_now().await;
            while position == first && !disk.holds_a_sync() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
        disk.hold_syncs(false);
        for (task, position) in tasks.into_iter().zip(first..) {
            assert_eq!(task.await.unwrap().unwrap(), position);
        }
    });
}

/// All entries; each must be named by its position.
pub fn read_numbered(log: &DurableLog) -> Vec<Position> {
    let records: Vec<Record> = log.read_from(log.status().first).map(Result::unwrap).collect();
    for record in &records {
        assert_eq!(name(record), record.position.to_string());
    }
    records.iter().map(|record| record.position).collect()
}
