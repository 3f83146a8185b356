//! Cursors: from any position, while others append, and by time.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use grove_recovery_log::{DurableLog, LogError, OrderedLog as _};

use crate::disk::Disk;
use crate::stage::{TestWorld, append, append_numbered, block_on, entry, open, open_with, options};

#[test]
fn a_cursor_begins_anywhere() {
    let disk = Disk::default();
    let log = open(&disk, 700);
    append_numbered(&log, 60);
    for from in 0..=62 {
        let read: Vec<u64> = log.read_from(from).map(|record| record.unwrap().position).collect();
        assert!(read.into_iter().eq(from.max(1)..=60), "from {from}");
    }
}

#[test]
fn a_cursor_goes_on_when_entries_come() {
    let disk = Disk::default();
    let log = Arc::new(open(&disk, 2048));
    let reader = {
        let log = Arc::clone(&log);
        std::thread::spawn(move || {
            let mut durable = log.durable();
            let mut cursor = log.read_from(1);
            let mut expected = 1;
            while expected <= 2000 {
                match cursor.read().unwrap() {
                    Some(record) => {
                        assert_eq!(record.position, expected);
                        expected += 1;
                    }
                    None => {
                        assert_eq!(cursor.position(), expected);
                        block_on(durable.wait_for(|last| *last >= expected)).unwrap();
                    }
                }
            }
        })
    };
    block_on(async {
        for _ in 0..20 {
            let appends = (0..100).map(|number| {
                let log = Arc::clone(&log);
                tokio::spawn(async move { log.append(entry(number)).await.unwrap() })
            });
            for append in appends.collect::<Vec<_>>() {
                append.await.unwrap();
            }
        }
    });
    reader.join().unwrap();
}

#[test]
fn entries_that_were_dropped_are_said_to_be() {
    let disk = Disk::default();
    let mut options = options(512);
    options.limits.bytes = 0;
    let log = open_with(&disk, Arc::default(), &options).unwrap();
    append_numbered(&log, 5);
    let mut early = log.read_from(1);
    early.read().unwrap().unwrap();
    log.retain_from(40);
    append_numbered(&log, 60);
    let first = log.status().first;
    assert!(first > 20, "{first}");
    let error = log.read_from(1).read().unwrap_err();
    assert!(matches!(error, LogError::Dropped { wanted: 1, .. }), "{error}");
    // Who has a file open may read it to its end.
    let mut last = 1;
    let error = loop {
        match early.read() {
            Ok(record) => last = record.unwrap().position,
            Err(error) => break error,
        }
    };
    assert!(
        matches!(error, LogError::Dropped { wanted, .. } if wanted == last + 1),
        "{error}"
    );
}

/// Ten entries a second, from second 1000 on.
fn log_with_times(disk: &Disk, segment_bytes: u64) -> (DurableLog, Arc<TestWorld>) {
    let world = Arc::new(TestWorld::default());
    world.micros.store(1_000_000_000, Ordering::Relaxed);
    let log = open_with(disk, Arc::clone(&world), &options(segment_bytes)).unwrap();
    for number in 0..200 {
        append(&log, number).unwrap();
        world.micros.fetch_add(100_000, Ordering::Relaxed);
    }
    (log, world)
}

#[test]
fn an_entry_is_found_by_its_time() {
    for segment_bytes in [512, 1 << 20] {
        let disk = Disk::default();
        let (log, _) = log_with_times(&disk, segment_bytes);
        let check = |log: &DurableLog| {
            assert_eq!(log.first_at(0).unwrap(), Some(1));
            for position in 1..=200 {
                let time = 1_000_000_000 + (position - 1) * 100_000;
                assert_eq!(log.first_at(time).unwrap(), Some(position));
                assert_eq!(log.first_at(time - 1).unwrap(), Some(position));
            }
            assert_eq!(log.first_at(1_020_000_001).unwrap(), None);
        };
        check(&log);
        drop(log);
        check(&open(&disk, segment_bytes));
    }
}

#[test]
fn times_stand_still_while_the_clock_goes_back() {
    let disk = Disk::default();
    let (log, world) = log_with_times(&disk, 512);
    world.micros.store(5, Ordering::Relaxed);
    append(&log, "later").unwrap();
    let times: Vec<u64> = log.read_from(1).map(|record| record.unwrap().unix_micros).collect();
    assert!(times.is_sorted());
}

#[test]
fn long_entries_are_found_through_the_index() {
    let disk = Disk::default();
    let log = open(&disk, 64 << 20);
    for number in 0..100 {
        append(&log, format!("{number}{}", "x".repeat(30_000))).unwrap();
    }
    drop(log);
    let log = open(&disk, 64 << 20);
    for from in [1, 2, 3, 50, 99, 100] {
        assert_eq!(log.read_from(from).map(Result::unwrap).count() as u64, 101 - from);
    }
}
