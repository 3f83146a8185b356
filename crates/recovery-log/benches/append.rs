//! What an append costs on the disk under `target`: one, 16 and 128 sessions that each append as soon as their last entry is durable, with the fsync
//! that every group costs; and what the log's own work costs without a disk, where the entries' encoding dominates.

#![allow(missing_docs, reason = "criterion's macros make functions without words")]
#![allow(clippy::unwrap_used, reason = "a benchmark ends at the first surprise")]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use grove_recovery_log::{
    Directory, DurableLog, Entry, Limits, LoggedStatement, Machine, Options, OrderedLog as _, Outcome, Record,
    ResultOutcome, StatementBody, WriteUnit, decode, encode,
};

/// An update by primary key, as sysbench writes it.
fn unit() -> Entry {
    let outcome = Outcome {
        results: [ResultOutcome::Ok {
            affected_rows: 1,
            last_insert_id: 0,
            info: Bytes::from_static(b"Rows matched: 1  Changed: 1  Warnings: 0"),
        }]
        .into_iter()
        .collect(),
        in_transaction: true,
    };
    Entry::Unit(WriteUnit {
        depends_on: 1_000_000,
        statements: vec![LoggedStatement {
            body: StatementBody::Text(Bytes::from_static(b"UPDATE sbtest1 SET k=k+1 WHERE id=5014")),
            context: vec![Bytes::from_static(b"SET TIMESTAMP=1700000000.123456")],
            generated_id: 0,
            undone: false,
            outcome,
        }],
        ..WriteUnit::default()
    })
}

fn open(path: &Path) -> DurableLog {
    let directory = Directory::open_or_create(path).unwrap();
    let options = Options {
        limits: Limits {
            most_bytes: u64::MAX,
            bytes: 256 << 20,
            age: Duration::MAX,
        },
        ..Options::default()
    };
    let log = DurableLog::open(Arc::new(directory), Arc::new(Machine), &options).unwrap();
    log.retain(Vec::new());
    log
}

/// How long `appends` take when so many sessions share them.
fn append(log: &Arc<DurableLog>, sessions: u64, appends: u64) -> Duration {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .build()
        .unwrap();
    let start = Instant::now();
    runtime.block_on(async {
        let session = |session| {
            let log = Arc::clone(log);
            let share = appends / sessions + u64::from(session < appends % sessions);
            tokio::spawn(async move {
                let unit = unit();
                for _ in 0..share {
                    log.append(unit.clone()).await.unwrap();
                }
            })
        };
        for session in (0..sessions).map(session).collect::<Vec<_>>() {
            session.await.unwrap();
        }
    });
    start.elapsed()
}

fn benches(c: &mut Criterion) {
    let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let log = Arc::new(open(scratch.path()));
    let mut group = c.benchmark_group("append");
    group.throughput(Throughput::Elements(1)).sample_size(10);
    for sessions in [1, 16, 128] {
        group.bench_function(format!("{sessions} sessions"), |b| {
            b.iter_custom(|appends| append(&log, sessions, appends));
        });
    }
    group.finish();

    let mut group = c.benchmark_group("entry");
    let (kind, payload) = encode(&unit());
    let payload = Bytes::from(payload);
    group.bench_function("encode", |b| b.iter(|| encode(&unit())));
    group.bench_function("decode", |b| b.iter(|| decode(kind, payload.clone())));
    group.finish();

    let mut group = c.benchmark_group("read");
    let first = log.status().last.saturating_sub(9_999).max(log.status().first);
    group
        .throughput(Throughput::Elements(log.status().last - first + 1))
        .sample_size(10);
    group.bench_function("entries", |b| {
        b.iter(|| {
            log.read_from(first)
                .map(Result::unwrap)
                .map(|record: Record| record.payload_bytes)
                .sum::<u64>()
        });
    });
    group.finish();
}

criterion_group!(all, benches);
criterion_main!(all);
