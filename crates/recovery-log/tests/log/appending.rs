//! Many who append at the same time, and disks that do not take it.

use std::sync::Arc;

use grove_recovery_log::{Entry, LogError, OrderedLog, StatementBody, WriteUnit};

use crate::disk::{Disk, Survival};
use crate::stage::{
    append, append_group, append_numbered, block_on, entry, name, open, open_with, options, read_numbered, try_open,
};

#[test]
fn concurrent_appends_get_positions_in_the_order_of_the_log_and_share_syncs() {
    let disk = Disk::default();
    let log = Arc::new(open(&disk, 4096));
    let (tasks, each) = (64, 50);
    let syncs = disk.syncs();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .build()
        .unwrap();
    let mut positions: Vec<(u64, String)> = runtime.block_on(async {
        let append = |task: u64| {
            let log = Arc::clone(&log);
            tokio::spawn(async move {
                let mut appended = Vec::new();
                for number in 0..each {
                    let name = format!("{task}/{number}");
                    let position = log.append(entry(&name)).await.unwrap();
                    assert!(log.last_position() >= position, "answered before it was durable");
                    appended.push((position, name));
                }
                appended
            })
        };
        let tasks: Vec<_> = (0..tasks).map(append).collect();
        let mut all = Vec::new();
        for task in tasks {
            let appended = task.await.unwrap();
            assert!(appended.is_sorted_by_key(|(position, _)| *position));
            all.extend(appended);
        }
        all
    });
    positions.sort();
    let expected: Vec<u64> = (1..=tasks * each).collect();
    assert!(positions.iter().map(|(position, _)| *position).eq(expected));
    let read: Vec<_> = log
        .read_from(1)
        .map(|record| {
            record
                .map(|record| (record.position, name(&record).to_owned()))
                .unwrap()
        })
        .collect();
    assert_eq!(read, positions);
    assert!(disk.syncs() - syncs < tasks * each, "no group was shared");
}

#[test]
fn entries_that_wait_together_are_one_group() {
    let disk = Disk::default();
    let log = Arc::new(open(&disk, 4096));
    let syncs = disk.syncs();
    append_group(&disk, &log, 10);
    assert_eq!(disk.syncs() - syncs, 2);
    assert_eq!(read_numbered(&log).len(), 11);
}

#[test]
fn segments_follow_each_other_and_reopening_goes_on_where_they_end() {
    let disk = Disk::default();
    for round in 1..=5 {
        let log = open(&disk, 512);
        assert_eq!(log.opened().is_new, round == 1);
        append_numbered(&log, 20);
        assert!(read_numbered(&log).into_iter().eq(1..=round * 20));
    }
    assert!(disk.segments().len() > 8);
    assert_eq!(open(&disk, 512).last_position(), 100);
}

#[test]
fn an_entry_longer_than_a_segment_gets_one_of_its_own() {
    let disk = Disk::default();
    let log = open(&disk, 256);
    let text = vec![0xFF; 700_000];
    let unit = WriteUnit {
        statements: vec![grove_recovery_log::LoggedStatement {
            body: StatementBody::Text(text.clone().into()),
            context: Vec::new(),
            generated_id: 0,
            undone: false,
            outcome: Default::default(),
        }],
        ..WriteUnit::default()
    };
    append(&log, "small").unwrap();
    assert_eq!(block_on(log.append(Entry::Unit(unit.clone()))).unwrap(), 2);
    append(&log, "small again").unwrap();
    drop(log);
    let log = open(&disk, 256);
    let read: Vec<Entry> = log.read_from(1).map(|record| record.unwrap().entry).collect();
    assert_eq!(read, [entry("small"), Entry::Unit(unit), entry("small again")]);
}

#[test]
fn a_long_first_entry_replaces_the_empty_segment() {
    let disk = Disk::default();
    let log = open(&disk, 128);
    append(&log, "x".repeat(1000)).unwrap();
    append(&log, 2).unwrap();
    drop(log);
    assert_eq!(open(&disk, 128).last_position(), 2);
}

#[test]
fn after_a_failed_sync_nothing_is_appended_any_more() {
    let disk = Disk::default();
    let log = open(&disk, 4096);
    append_numbered(&log, 3);
    disk.fail_syncs(true);
    let failed = append(&log, "lost").unwrap_err();
    assert!(
        matches!(&failed, LogError::Stopped(reason) if reason.contains("disk/00000000000000000001.log")),
        "{failed}"
    );
    disk.fail_syncs(false);
    let changes = disk.changes();
    assert!(matches!(append(&log, "later"), Err(LogError::Stopped(_))));
    assert!(matches!(block_on(log.stopped()), LogError::Stopped(_)));
    assert_eq!(disk.changes(), changes, "the log was written after an error");
    assert_eq!(log.last_position(), 3);
}

#[test]
fn all_who_wait_are_told_of_a_failed_write() {
    let disk = Disk::default();
    let log = Arc::new(open(&disk, 4096));
    let failed = block_on(async {
        disk.hold_syncs(true);
        let tasks: Vec<_> = (0..20)
            .map(|number| {
                let log = Arc::clone(&log);
                tokio::spawn(async move { log.append(entry(number)).await })
            })
            .collect();
        tokio::task::yield_now().await;
        disk.fail_syncs(true);
        disk.hold_syncs(false);
        let mut failed = 0;
        for task in tasks {
            failed += u32::from(matches!(task.await.unwrap(), Err(LogError::Stopped(_))));
        }
        failed
    });
    assert_eq!(failed, 20);
}

#[test]
fn what_a_failed_sync_left_in_memory_does_not_count_at_the_next_start() {
    let disk = Disk::default();
    let log = open(&disk, 4096);
    append_numbered(&log, 3);
    disk.fail_syncs(true);
    append(&log, "in memory only").unwrap_err();
    drop(log);
    disk.fail_syncs(false);
    let log = open(&disk, 4096);
    assert_eq!(log.last_position(), 3);
    append_numbered(&log, 1);
    drop(log);
    disk.crash(Survival::Nothing);
    assert!(read_numbered(&open(&disk, 4096)).into_iter().eq(1..=4));
}

#[test]
fn what_a_killed_process_left_in_memory_is_durable_before_anything_follows() {
    let disk = Disk::default();
    let log = Arc::new(open(&disk, 4096));
    append_numbered(&log, 3);
    // The process dies between write and sync; the machine goes on.
    disk.fail_at(2);
    append(&log, 4).unwrap_err();
    drop(log);
    disk.kill();
    let log = open(&disk, 4096);
    assert_eq!(log.last_position(), 4);
    drop(log);
    disk.crash(Survival::Nothing);
    assert_eq!(open(&disk, 4096).last_position(), 4);
}

#[test]
fn without_room_appends_fail_clearly_and_succeed_when_there_is_room_again() {
    let disk = Disk::default();
    let log = open(&disk, 512);
    disk.limit_room(Some(1200));
    let error = (1..100).find_map(|number| append(&log, number).err()).unwrap();
    assert!(matches!(error, LogError::DiskFull { bytes: 512, .. }), "{error}");
    let full = log.last_position();
    assert!(matches!(append(&log, "again"), Err(LogError::DiskFull { .. })));
    disk.limit_room(None);
    append_numbered(&log, 50);
    assert!(read_numbered(&log).into_iter().eq(1..=full + 50));
    drop(log);
    assert_eq!(open(&disk, 512).last_position(), full + 50);
}

#[test]
fn a_log_that_is_closed_takes_nothing() {
    let disk = Disk::default();
    let log = open(&disk, 512);
    append_numbered(&log, 1);
    log.close();
    assert!(matches!(append(&log, 2), Err(LogError::Closed)));
    assert_eq!(disk.copy().segments().len(), 1);
}

#[test]
fn only_one_may_have_it_open() {
    let disk = Disk::default();
    let log = open(&disk, 512);
    let refused = try_open(&disk, 512).err().unwrap();
    assert!(matches!(refused, LogError::InUse { .. }), "{refused}");
    drop(log);
    open(&disk, 512);
}

#[test]
fn a_queue_that_is_full_makes_appenders_wait_not_fail() {
    let disk = Disk::default();
    let mut options = options(1 << 20);
    options.waiting_bytes = 2048;
    let log = Arc::new(open_with(&disk, Arc::default(), &options).unwrap());
    block_on(async {
        disk.hold_syncs(true);
        let tasks: Vec<_> = (0..200)
            .map(|number| {
                let log = Arc::clone(&log);
                tokio::spawn(async move { log.append(entry(format!("{number:0500}"))).await })
            })
            .collect();
        tokio::task::yield_now().await;
        disk.hold_syncs(false);
        for task in tasks {
            task.await.unwrap().unwrap();
        }
    });
    assert_eq!(log.last_position(), 200);
}
