//! Files that are cut at every byte, and files in which every bit is flipped.

use std::sync::Arc;

use grove_recovery_log::{
    DurableLog, Entry, Environment as _, Intent, LogError, LogReader, OrderedLog as _, Origin, Position, StatementBody,
    Storage as _,
};

use crate::disk::Disk;
use crate::stage::{
    TestWorld, append_group, append_numbered, block_on, name, open, open_with, options, read_numbered, try_open,
};

const SEGMENT: u64 = 600;

/// A log whose last segment ends with a group of several entries. Answers the disk, the segment, and the position before that group.
fn log_with_groups() -> (Disk, String, Position) {
    let disk = Disk::default();
    let log = Arc::new(open(&disk, SEGMENT));
    append_numbered(&log, 12);
    append_group(&disk, &log, 4);
    let before_group = log.last_position() - 4;
    drop(log);
    let last = disk.segments().pop().unwrap();
    (disk, last, before_group)
}

/// Opens a log, appends to it and opens it again; the last entry that the damage left.
fn use_log(disk: &Disk, when: &str) -> Position {
    let log = try_open(disk, SEGMENT).unwrap_or_else(|error| panic!("{when}: {error}"));
    let left = log.last_position();
    assert!(read_numbered(&log).into_iter().eq(1..=left), "{when}");
    append_numbered(&log, 3);
    drop(log);
    let log = open(disk, SEGMENT);
    assert!(log.opened().cut.is_none(), "{when}: cut again: {:?}", log.opened().cut);
    assert!(read_numbered(&log).into_iter().eq(1..=left + 3), "{when}");
    left
}

fn end_of_data(content: &[u8]) -> usize {
    content.iter().rposition(|&byte| byte != 0).unwrap() + 1
}

#[test]
fn a_file_that_ends_at_any_byte_keeps_all_whole_entries() {
    let (disk, last, _) = log_with_groups();
    let content = disk.content(&last);
    let mut left = Vec::new();
    for len in 64..=content.len() {
        let disk = disk.copy();
        disk.overwrite(&last, content[..len].to_vec());
        left.push(use_log(&disk, &format!("cut at byte {len}")));
    }
    assert!(left.is_sorted());
    assert_eq!(left.last(), Some(&17));
}

#[test]
fn a_file_with_zeros_from_any_byte_keeps_all_whole_entries_and_says_what_was_cut() {
    let (disk, last, _) = log_with_groups();
    let content = disk.content(&last);
    let data = end_of_data(&content);
    for len in 64..=data {
        let disk = disk.copy();
        let mut content = content.clone();
        content[len..].fill(0);
        disk.overwrite(&last, content.clone());
        let cut = open(&disk, SEGMENT).opened().cut.clone();
        if let Some(cut) = cut {
            assert_eq!(cut.offset + cut.bytes, end_of_data(&content) as u64);
            assert_eq!(cut.file, format!("disk/{last}"));
        }
        use_log(&disk, &format!("zeros from byte {len}"));
    }
}

#[test]
fn a_header_that_is_cut_is_damage() {
    let (disk, last, _) = log_with_groups();
    let content = disk.content(&last);
    for len in 0..64 {
        let disk = disk.copy();
        disk.overwrite(&last, content[..len].to_vec());
        let error = try_open(&disk, SEGMENT).err().unwrap();
        assert!(matches!(error, LogError::Damaged(_)), "{error}");
    }
}

#[test]
fn a_flipped_bit_is_found_wherever_it_is() {
    let (disk, last, before_group) = log_with_groups();
    let whole = open(&disk, SEGMENT).last_position();
    let (mut refused, mut cut) = (0, 0);
    for name in disk.segments() {
        let content = disk.content(&name);
        for bit in 0..content.len() * 8 {
            let when = format!("{name}, bit {bit}");
            let disk = disk.copy();
            let mut content = content.clone();
            content[bit / 8] ^= 1 << (bit % 8);
            disk.overwrite(&name, content);
            check_reader(&disk, whole, &when);
            let log = match try_open(&disk, SEGMENT) {
                Ok(log) => log,
                Err(LogError::Damaged(damage)) => {
                    assert_eq!(damage.file, format!("disk/{name}"), "{when}: {damage}");
                    assert!(
                        damage.offset <= bit as u64 / 8 && !damage.wrong.is_empty(),
                        "{when}: {damage}"
                    );
                    refused += 1;
                    continue;
                }
                Err(other) => panic!("{when}: {other}"),
            };
            assert_eq!(name, last, "{when}: damage before the last segment");
            let left = check_cut(&log, &when);
            assert!(
                left >= before_group,
                "{when}: only the last group may be cut, and {left} is left"
            );
            cut += 1;
        }
    }
    assert!(refused > 1000 && cut > 1000, "{refused} refused, {cut} cut");
}

/// What is left is what was written, and what was cut is told.
fn check_cut(log: &DurableLog, when: &str) -> Position {
    let left = log.last_position();
    assert!(log.opened().cut.is_some(), "{when}: nobody was told");
    assert!(read_numbered(log).into_iter().eq(1..=left), "{when}");
    left
}

/// Reading without writing sees the same, and everything before the damage.
fn check_reader(disk: &Disk, whole: Position, when: &str) {
    let reader = LogReader::open(Arc::new(disk.clone())).unwrap();
    let summary = reader.summary();
    assert!(
        summary.problem.is_some() != summary.torn.is_some(),
        "{when}: {summary:?}"
    );
    assert!(summary.last <= whole, "{when}");
    let mut read = 0;
    for record in reader.read_from(1) {
        let record = record.unwrap_or_else(|error| panic!("{when}: {error}"));
        read += 1;
        assert_eq!(name(&record), read.to_string(), "{when}");
    }
    assert_eq!(read, summary.last, "{when}");
}

#[test]
fn a_segment_that_is_missing_is_damage() {
    let disk = Disk::default();
    let log = open(&disk, 300);
    append_numbered(&log, 30);
    drop(log);
    let segments = disk.segments();
    let other = Disk::default();
    for name in segments.iter().filter(|name| *name != &segments[2]) {
        let content = disk.content(name);
        let file = other.create(name, content.len() as u64).unwrap();
        file.write_at(&content, 0).unwrap();
        file.sync().unwrap();
    }
    let error = try_open(&other, 300).err().unwrap().to_string();
    assert!(error.contains("and the next one, disk/"), "{error}");
}

#[test]
fn a_segment_of_another_log_is_damage() {
    let (one, two) = (Disk::default(), Disk::default());
    append_numbered(&open(&one, 300), 30);
    let log = open_with(&two, another_world(), &options(300)).unwrap();
    append_numbered(&log, 30);
    drop(log);
    let name = one.segments()[1].clone();
    one.overwrite(&name, two.content(&name));
    let error = try_open(&one, 300).err().unwrap().to_string();
    assert!(error.contains("belongs to log"), "{error}");
}

#[test]
fn a_statement_that_looks_like_a_record_is_never_taken_for_one() {
    // A client reads records of later groups in another log and writes them back as a statement, in what becomes a torn group. If they counted,
    // the torn tail would be damage.
    let other = Disk::default();
    let log = open_with(&other, another_world(), &options(1 << 16)).unwrap();
    append_numbered(&log, 40);
    drop(log);
    let records = other.content(&other.segments()[0]);
    let records = &records[64..end_of_data(&records).next_multiple_of(8)];
    // At every distance from where records may begin.
    let text: Vec<u8> = (0..8).flat_map(|_| [b" ", records].concat()).collect();
    let (disk, _, _) = log_with_groups();
    let log = open(&disk, 1 << 16);
    let statement = Entry::Intent(Intent {
        origin: Origin::default(),
        body: StatementBody::Text(text.into()),
        context: Vec::new(),
    });
    block_on(log.append(statement)).unwrap();
    drop(log);
    let last = disk.segments().pop().unwrap();
    let mut content = disk.content(&last);
    content[64] ^= 1;
    disk.overwrite(&last, content);
    let log = open(&disk, 1 << 16);
    assert_eq!(check_cut(&log, "a statement with records in it"), 17);
}

/// A world with other random numbers, so that a log gets another id and other salts.
fn another_world() -> Arc<TestWorld> {
    let world = Arc::new(TestWorld::default());
    for _ in 0..100 {
        world.random();
    }
    world
}
