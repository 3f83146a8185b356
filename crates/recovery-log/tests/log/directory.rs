//! The real file system.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use grove_recovery_log::{Directory, DurableLog, LogError, LogReader, Machine, OrderedLog as _};

use crate::stage::{append_numbered, options, read_numbered};

fn try_open(path: &Path) -> Result<DurableLog, LogError> {
    let directory = Directory::open_or_create(path).unwrap();
    DurableLog::open(Arc::new(directory), Arc::new(Machine), &options(4096))
}

#[test]
fn a_log_survives_its_process_and_only_its_owner_may_read_it() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("log");
    for round in 1..=3 {
        let log = try_open(&path).unwrap();
        append_numbered(&log, 100);
        assert!(read_numbered(&log).into_iter().eq(1..=round * 100));
    }
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o700);
    let files: Vec<_> = std::fs::read_dir(&path)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    assert!(files.len() > 3);
    files
        .iter()
        .for_each(|file| assert_eq!(mode(file), 0o600, "{}", file.display()));
}

#[test]
fn two_logs_cannot_be_open_in_one_directory() {
    let scratch = tempfile::tempdir().unwrap();
    let log = try_open(scratch.path()).unwrap();
    let refused = try_open(scratch.path()).err().unwrap();
    assert!(matches!(refused, LogError::InUse { .. }), "{refused}");
    drop(log);
    try_open(scratch.path()).unwrap();
}

#[test]
fn a_log_that_is_written_can_be_read_from_outside() {
    let scratch = tempfile::tempdir().unwrap();
    let log = try_open(scratch.path()).unwrap();
    append_numbered(&log, 200);
    let reader = LogReader::open(Arc::new(Directory::open(scratch.path()).unwrap())).unwrap();
    assert!(reader.summary().problem.is_none());
    assert_eq!(reader.read_from(150).map(Result::unwrap).count(), 51);
    append_numbered(&log, 1);
}

#[test]
fn a_directory_without_a_log_is_empty() {
    let scratch = tempfile::tempdir().unwrap();
    std::fs::write(scratch.path().join("notes.txt"), "no segment").unwrap();
    let reader = LogReader::open(Arc::new(Directory::open(scratch.path()).unwrap())).unwrap();
    assert_eq!((reader.summary().log, reader.summary().segments), (None, 0));
    assert!(Directory::open(&scratch.path().join("nowhere")).is_err());
    assert_eq!(try_open(scratch.path()).unwrap().last_position(), 0);
}
