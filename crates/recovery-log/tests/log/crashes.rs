//! The power fails at every change of the disk, under load, and again after each restart. Every acknowledged entry must be there.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use grove_recovery_log::{DurableLog, OrderedLog, Position};

use crate::disk::{Disk, Survival};
use crate::stage::{append, entry, name, open, open_with, options};

/// Appends from several tasks until the disk fails; what was acknowledged goes to `acknowledged`.
fn load(log: &Arc<DurableLog>, label: &str, acknowledged: &Arc<Mutex<BTreeMap<Position, String>>>) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .build()
        .unwrap();
    runtime.block_on(async {
        let tasks: Vec<_> = (0..6)
            .map(|task| {
                let (log, acknowledged, label) = (Arc::clone(log), Arc::clone(acknowledged), label.to_owned());
                tokio::spawn(async move {
                    for number in 0..40 {
                        // Some are longer than a sector.
                        let name = format!("{label}/{task}/{number}{}", "-".repeat(number % 7 * 150));
                        match log.append(entry(&name)).await {
                            Ok(position) => drop(acknowledged.lock().unwrap().insert(position, name)),
                            Err(_) => return,
                        }
                        if number % 10 == 9 {
                            log.retain_from(log.last_position().saturating_sub(100));
                        }
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    });
}

/// Whether the log holds all of `acknowledged` that it has not dropped, and nothing twice.
fn verify(log: &DurableLog, acknowledged: &BTreeMap<Position, String>, when: &str) {
    let status = log.status();
    let mut expected = status.first;
    let mut found = BTreeMap::new();
    for record in log.read_from(status.first) {
        let record = record.unwrap_or_else(|error| panic!("{when}: {error}"));
        assert_eq!(record.position, expected, "{when}");
        expected += 1;
        found.insert(record.position, name(&record).to_owned());
    }
    assert_eq!(expected, status.last + 1, "{when}");
    let newest = acknowledged.last_key_value().map_or(0, |(position, _)| *position);
    assert!(
        status.first <= newest.saturating_sub(100).max(1),
        "{when}: entry {} was needed",
        status.first - 1
    );
    for (position, name) in acknowledged.range(status.first..) {
        assert_eq!(found.get(position), Some(name), "{when}: acknowledged entry {position}");
    }
}

fn crash_at(change: u64, survival: Survival) {
    let when = format!("change {change}, {survival:?}");
    let disk = Disk::default();
    let mut options = options(2048);
    options.limits.bytes = 8192;
    let acknowledged = Arc::default();
    for round in 0..3 {
        // The first crash may come while the log is made.
        disk.fail_at(change + round * 3);
        if let Ok(log) = open_with(&disk, Arc::default(), &options) {
            let log = Arc::new(log);
            load(&log, &round.to_string(), &acknowledged);
            log.close();
        }
        disk.crash(survival);
        let log =
            open_with(&disk, Arc::default(), &options).unwrap_or_else(|error| panic!("{when}, round {round}: {error}"));
        verify(&log, &acknowledged.lock().unwrap(), &format!("{when}, round {round}"));
        let position = append(&log, "after the crash").unwrap();
        acknowledged.lock().unwrap().insert(position, "after the crash".into());
    }
    verify(
        &open(&disk, 2048),
        &acknowledged.lock().unwrap(),
        &format!("{when}, at the end"),
    );
}

#[test]
fn no_acknowledged_entry_is_lost_when_the_process_is_killed_and_the_power_fails_after_the_next_start() {
    for change in 1..150 {
        let disk = Disk::default();
        let acknowledged = Arc::default();
        for round in 0..3 {
            let when = format!("change {change}, round {round}");
            disk.fail_at(change + round * 3);
            if let Ok(log) = open_with(&disk, Arc::default(), &options(2048)) {
                let log = Arc::new(log);
                load(&log, &round.to_string(), &acknowledged);
            }
            disk.kill();
            let log = open(&disk, 2048);
            verify(&log, &acknowledged.lock().unwrap(), &when);
            let position = append(&log, "after the start").unwrap();
            acknowledged.lock().unwrap().insert(position, "after the start".into());
            drop(log);
            disk.crash(Survival::Nothing);
            let log = open(&disk, 2048);
            verify(
                &log,
                &acknowledged.lock().unwrap(),
                &format!("{when}, after the power failed"),
            );
            drop(log);
        }
    }
}

#[test]
fn no_acknowledged_entry_is_lost_when_nothing_survives_that_was_not_synced() {
    (1..150).for_each(|change| crash_at(change, Survival::Nothing));
}

#[test]
fn no_acknowledged_entry_is_lost_when_everything_survives() {
    (1..150).for_each(|change| crash_at(change, Survival::Everything));
}

#[test]
fn no_acknowledged_entry_is_lost_when_any_sectors_survive() {
    let rounds = std::env::var("GROVE_LOG_CRASHES").map_or(2, |rounds| rounds.parse().unwrap());
    for round in 0..rounds {
        (1..150).for_each(|change| crash_at(change, Survival::Some(change * 1000 + round)));
    }
}
