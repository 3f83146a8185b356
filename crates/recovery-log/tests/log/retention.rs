//! Segments go when nobody needs them and the limits do not want them, and not before.

use std::sync::Arc;
use std::time::{Duration, Instant};

use grove_recovery_log::{DurableLog, Entry, Excess, LogError, MembershipCause, MembershipChange, Need, Options};

use crate::disk::Disk;
use crate::stage::{append, append_entry, append_numbered, open, open_with, options, read_numbered};

fn small(bytes: u64) -> Options {
    let mut options = options(512);
    options.limits.bytes = bytes;
    options
}

/// The writer drops segments in its own time.
fn eventually(what: &str, check: impl Fn() -> bool) {
    let start = Instant::now();
    while !check() {
        assert!(start.elapsed() < Duration::from_secs(10), "{what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn needs(log: &DurableLog, from: u64) {
    let need = |holder: &str, from| Need {
        holder: holder.into(),
        from,
        yields: false,
    };
    log.retain(vec![need("db3", from + 40), need("db2", from)]);
}

#[test]
fn nothing_is_dropped_before_needs_are_known() {
    let disk = Disk::default();
    let log = open_with(&disk, Arc::default(), &small(1000)).unwrap();
    append_numbered(&log, 100);
    assert_eq!(log.status().first, 1);
    assert!(log.status().held_back.is_some());
    log.retain(Vec::new());
    eventually("nothing was dropped", || log.status().bytes <= 1024);
    assert!(log.status().held_back.is_none());
}

#[test]
fn at_its_limit_the_log_refuses_entries_until_some_can_go() {
    let disk = Disk::default();
    let mut few = small(1000);
    few.limits.most_bytes = 4096;
    let log = open_with(&disk, Arc::default(), &few).unwrap();
    needs(&log, 30);
    let refused = (0..1000).find_map(|_| append(&log, "an entry that takes some room").err());
    let refused = refused.unwrap();
    assert!(matches!(refused, LogError::AtLimit { limit: 4096, .. }), "{refused}");
    assert!(log.status().bytes <= 4096, "{:?}", log.status());
    assert!(log.status().first <= 30);
    // What has happened already is written all the same, and makes no room for others.
    for epoch in 0..20 {
        append_entry(
            &log,
            Entry::Membership(MembershipChange {
                epoch,
                lead: "db1".into(),
                online: vec!["db1".into()],
                cause: MembershipCause::Formed,
            }),
        )
        .unwrap();
        let refused = append(&log, "an entry that takes some room").unwrap_err();
        assert!(matches!(refused, LogError::AtLimit { .. }), "{refused}");
    }
    let need = |yields| Need {
        holder: "db2".into(),
        from: 30,
        yields,
    };
    // Who can do without gives way now.
    log.retain(vec![need(true)]);
    append(&log, "goes in").unwrap();
    log.retain(vec![need(false)]);
    for _ in 0..1000 {
        if append(&log, "an entry that takes some room").is_err() {
            return;
        }
    }
    panic!("the limit was forgotten");
}

#[test]
fn what_a_server_needs_stays_and_its_name_is_told() {
    let disk = Disk::default();
    let log = open_with(&disk, Arc::default(), &small(1000)).unwrap();
    needs(&log, 30);
    append_numbered(&log, 100);
    let status = log.status();
    assert!(status.first > 1 && status.first <= 30, "{status:?}");
    let held = status.held_back.unwrap();
    assert_eq!((held.by.holder.as_str(), held.by.from), ("db2", 30));
    assert!(matches!(held.excess, Excess::Bytes(more) if more > 1000));
    needs(&log, 90);
    eventually("db2 caught up and nothing was dropped", || log.status().first > 30);
    assert!(log.status().first <= 90);
    drop(log);
    let log = open(&disk, 512);
    assert_eq!(read_numbered(&log).last(), Some(&100));
}

#[test]
fn full_disks_take_from_history_that_nobody_needs() {
    let disk = Disk::default();
    let log = open_with(&disk, Arc::default(), &small(u64::MAX)).unwrap();
    disk.limit_room(Some(4096));
    log.retain_from(1000);
    append_numbered(&log, 200);
    assert!(log.status().first > 1);
    log.retain_from(log.status().first);
    let full = (0..1000).find_map(|number| append(&log, number).err());
    assert!(full.is_some(), "what is needed was dropped");
}
