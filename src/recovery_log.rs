//! The recovery log that the configuration names: in a directory, or in memory.
//!
//! What the servers need of it, the engine tells; without a directory nothing can be replayed, and a server that is lost stays out.

use std::future::pending;
use std::sync::Arc;

use anyhow::Context as _;
use grove_recovery_log::{Directory, DurableLog, Limits, LogError, Machine, MemoryLog, Options, OrderedLog};

/// Write units that the in-memory log remembers, for operators only.
const REMEMBERED_UNITS: usize = 1024;

/// Where Grove's decisions are kept.
pub enum RecoveryLog {
    InMemory(Arc<MemoryLog>),
    OnDisk(Arc<DurableLog>),
}

impl RecoveryLog {
    /// Opens the log, or makes it. Says in Grove's own log what was found.
    pub async fn open(config: &grove_config::RecoveryLog) -> anyhow::Result<Self> {
        let Some(path) = config.directory.clone() else {
            tracing::warn!("decided writes are kept in memory only, because there is no recovery_log.directory");
            return Ok(Self::InMemory(Arc::new(MemoryLog::new(REMEMBERED_UNITS))));
        };
        let options = Options {
            segment_bytes: config.segment_bytes,
            limits: Limits {
                most_bytes: config.most_bytes,
                bytes: config.retention_bytes,
                age: config.retention_age,
            },
            ..Options::default()
        };
        let open = move || {
            let directory = Directory::open_or_create(&path)
                .with_context(|| format!("recovery_log.directory: cannot open {}", path.display()))?;
            anyhow::Ok(DurableLog::open(Arc::new(directory), Arc::new(Machine), &options)?)
        };
        let opened = tokio::task::spawn_blocking(open).await;
        let log = opened.context("the recovery log failed while it was opened")??;
        tell(&log);
        Ok(Self::OnDisk(Arc::new(log)))
    }

    /// The log as the engine uses it.
    pub fn ordered(&self) -> Arc<dyn OrderedLog> {
        match self {
            Self::InMemory(log) => Arc::clone(log) as _,
            Self::OnDisk(log) => Arc::clone(log) as _,
        }
    }

    /// Completes when the process has to end because nothing can be decided any more.
    pub async fn stopped(&self) -> anyhow::Error {
        if let Self::OnDisk(log) = self
            && let stopped @ LogError::Stopped(_) = log.stopped().await
        {
            return stopped.into();
        }
        pending().await
    }

    /// Writes what waits, if anything does.
    pub async fn close(self) {
        if let Self::OnDisk(log) = self {
            // A panic of the writer has been told as an error already.
            let _ = tokio::task::spawn_blocking(move || log.close()).await;
        }
    }
}

fn tell(log: &DurableLog) {
    let (opened, status) = (log.opened(), log.status());
    if let Some(cut) = &opened.cut {
        tracing::warn!(
            file = cut.file,
            offset = cut.offset,
            bytes = cut.bytes,
            wrong = cut.wrong,
            "the end of the recovery log was cut: a group that was being written when Grove ended, which nobody was told is durable"
        );
    }
    tracing::info!(
        log = %opened.log,
        is_new = opened.is_new,
        first = status.first,
        last = status.last,
        segments = status.segments,
        bytes = status.bytes,
        "recovery log is open"
    );
}
