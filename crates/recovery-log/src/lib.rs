//! The ordered log of committed write units and membership changes.
//!
//! The append is the decision: a unit that is in the log is committed on every server, now or later. This crate has the entries, their encoding, the
//! [`OrderedLog`] trait, and two logs: [`DurableLog`] in a directory, and [`MemoryLog`] for tests and for a Grove without a directory. docs/recovery-log.md
//! describes the files and what they guarantee.
//!
//! From the outside in: [`DurableLog`] (`durable`) hands entries to a `queue`, from which one `writer` thread takes groups. `segment` and `record` are
//! the layout, `scan` and `survey` read it at start, `catalogue` remembers where entries are, `cursor` reads them, `retention` says what may go. Files are
//! reached only through the traits in `storage`.
//! Deliberately absent: what entries do to servers, and who needs which of them.

mod catalogue;
mod cursor;
mod directory;
mod durable;
mod encoding;
mod entry;
mod environment;
mod error;
mod memory;
mod queue;
mod reader;
mod record;
mod retention;
mod scan;
mod segment;
mod storage;
mod survey;
mod window;
mod writer;

pub use cursor::{Cursor, Record};
pub use directory::Directory;
pub use durable::{DurableLog, Opened, Options, Status};
pub use encoding::{DecodeError, Kind, decode, encode};
pub use entry::{
    Checkpoint, Entry, Intent, LoggedStatement, MembershipCause, MembershipChange, Origin, Outcome, ResultOutcome,
    Standalone, StatementBody, Temporary, TemporaryUse, WriteUnit,
};
pub use environment::{Environment, Machine};
pub use error::{Damage, LogError};
pub use memory::MemoryLog;
pub use reader::{LogReader, Summary};
pub use record::MAX_PAYLOAD;
pub use retention::{Excess, HeldBack, Limits, Need};
pub use scan::TornTail;
pub use storage::{Lock, Storage, StoredFile};

use std::fmt;
use std::future::Future;
use std::pin::Pin;

/// Position of an entry: 1 for the first, without holes.
pub type Position = u64;

/// Tells logs apart: every log has its own, in all its segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogId(pub u128);

impl fmt::Display for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// A log with one total order, shared by all sessions.
pub trait OrderedLog: Send + Sync + 'static {
    /// Appends `entry` and completes when it is durable, with its position. A future that is dropped before may have appended it or not.
    fn append(&self, entry: Entry) -> Pin<Box<dyn Future<Output = Result<Position, LogError>> + Send + '_>>;
    /// Position of the newest durable entry, 0 if there is none.
    fn last_position(&self) -> Position;
    /// The log's name if it outlives the process, or is meant to: then servers remember by it which entries they hold. `None` for a log that is of
    /// no use after the process.
    fn id(&self) -> Option<LogId>;
    /// Entries in order from position `from` on, as many as stand in `most_bytes` of the log and at least one; none if there is none yet. Those that were
    /// dropped are an error.
    fn entries(
        &self,
        from: Position,
        most_bytes: u64,
    ) -> Pin<Box<dyn Future<Output = Result<Vec<Record>, LogError>> + Send + '_>>;
    /// Says who needs what, instead of all that was said before; see [`DurableLog::retain`].
    fn retain(&self, needs: Vec<Need>);
}
