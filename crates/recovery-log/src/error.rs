//! Why the log could not do what it was asked, split by what the caller may do next.

use std::io;
use std::sync::Arc;

use crate::Position;

/// Why an entry could not be made durable, or the log not be opened or read. A unit whose append failed is not decided, unless
/// [`LogError::leaves_open`] says that nobody knows.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LogError {
    /// The log was closed by a shutdown.
    #[error("the recovery log is closed")]
    Closed,
    /// A write or an fsync failed, so that nobody knows what is durable. Nothing is ever appended again; the process must end, and the next
    /// start finds out what the disk holds.
    #[error("the recovery log has stopped for good: {0}")]
    Stopped(Arc<str>),
    /// There is no room for the next segment. Nothing was written; appends succeed again when there is room.
    #[error(
        "no room for the recovery log: {segment} needs {bytes} bytes ({source}); free some space, or lower \
         recovery_log.segment_bytes or recovery_log.retention_bytes"
    )]
    DiskFull {
        /// Path of the segment that could not be made.
        segment: String,
        /// Its size.
        bytes: u64,
        /// The system's words.
        source: Arc<io::Error>,
    },
    /// The log holds as much as it may. Nothing was written; appends succeed again when entries can go.
    #[error(
        "the recovery log holds as much as recovery_log.most_bytes permits ({limit} bytes), and its oldest entries are needed ({holder}): bring that \
         server back, rebuild it, raise the limit, or set recovery_log.when_full to evict_slowest"
    )]
    AtLimit {
        /// What it may hold, in bytes.
        limit: u64,
        /// Who needs the oldest entries; empty if nobody does.
        holder: String,
    },
    /// The entry is longer than a record may be.
    #[error(
        "an entry of {bytes} bytes is too long for the recovery log, which takes {limit}; write it in several transactions"
    )]
    TooLong {
        /// Length of its payload.
        bytes: u64,
        /// The longest possible one.
        limit: u64,
    },
    /// Another process has the log open.
    #[error(
        "the recovery log in {directory} is in use: only one process may write it; stop the other one, or choose another directory"
    )]
    InUse {
        /// The log's directory.
        directory: String,
    },
    /// The system refused something.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// On what.
        path: String,
        /// The system's words.
        source: Arc<io::Error>,
    },
    /// The log does not hold what was written to it.
    #[error(transparent)]
    Damaged(#[from] Box<Damage>),
    /// A newer Grove has written this.
    #[error(
        "{file} at byte {offset} was written in version {version} of the format, and this Grove reads up to version \
         {supported}; start the newer Grove again"
    )]
    Newer {
        /// Path of the segment.
        file: String,
        /// Where it stands there, in bytes.
        offset: u64,
        /// Its version.
        version: u32,
        /// The newest version that is understood.
        supported: u32,
    },
    /// Entries that were asked for have been dropped.
    #[error("entry {wanted} is not in the recovery log any more; the oldest one is {first}")]
    Dropped {
        /// What was asked for.
        wanted: Position,
        /// Position of the oldest entry that is left.
        first: Position,
    },
}

impl LogError {
    /// Whether an entry whose append failed so is in the log or not cannot be known before the next start.
    pub fn leaves_open(&self) -> bool {
        matches!(self, Self::Stopped(_))
    }

    /// An error of the system.
    pub(crate) fn io(action: &'static str, path: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io {
            action,
            path: path.into(),
            source: Arc::new(source),
        }
    }
}

/// Damage that no crash of a sound disk leaves behind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{file} is damaged at byte {offset}: {wrong}. Grove does not start on a log with a hole, because servers could come back without \
     units that others hold. Restore the file from a copy, or move the whole directory away and start with servers that are equal"
)]
pub struct Damage {
    /// Path of the file.
    pub file: String,
    /// Where it stands there, in bytes.
    pub offset: u64,
    /// What stands there, and what would be right.
    pub wrong: String,
}

impl Damage {
    pub(crate) fn at(file: &str, offset: u64, wrong: impl Into<String>) -> LogError {
        LogError::Damaged(Box::new(Self {
            file: file.to_owned(),
            offset,
            wrong: wrong.into(),
        }))
    }
}
