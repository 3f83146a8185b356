//! What making an entry durable costs, alone and in groups: sessions that commit at the same time share one sync.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use grove_recovery_log::{Checkpoint, Directory, DurableLog, Entry, Machine, Options, OrderedLog as _};
use grove_testkit::TestDirectory;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

/// Bytes of an entry: a unit of a few short statements with its session's context.
const ENTRY_LEN: usize = 600;

/// A log in a directory of its own.
fn open(path: &Path) -> Result<DurableLog, Box<dyn Error>> {
    let directory = Directory::open_or_create(path)?;
    Ok(DurableLog::open(
        Arc::new(directory),
        Arc::new(Machine),
        &Options::default(),
    )?)
}

fn benches(c: &mut Criterion) {
    let (Ok(directory), Ok(runtime)) = (TestDirectory::create(), Runtime::new()) else {
        return;
    };
    let log = match open(&directory.path().join("log")) {
        Ok(log) => Arc::new(log),
        Err(error) => {
            eprintln!("there is no log: {error}");
            return;
        }
    };
    let mut group = c.benchmark_group("append");
    for sessions in [1_u64, 16, 128] {
        group.throughput(Throughput::Elements(sessions));
        group.bench_function(BenchmarkId::new("sessions", sessions), |bencher| {
            bencher.iter(|| runtime.block_on(append(&log, sessions)));
        });
    }
    group.finish();
}

/// As many appends as there are sessions, at the same time.
async fn append(log: &Arc<DurableLog>, sessions: u64) {
    let mut appends = JoinSet::new();
    for _ in 0..sessions {
        let log = Arc::clone(log);
        let entry = Entry::Checkpoint(Checkpoint {
            name: "x".repeat(ENTRY_LEN),
        });
        appends.spawn(async move { log.append(entry).await.is_ok() });
    }
    while let Some(appended) = appends.join_next().await {
        assert!(appended.is_ok_and(|appended| appended), "an append failed");
    }
}

criterion_group!(append_benches, benches);
criterion_main!(append_benches);
