//! The ordered log of committed write units and membership changes.
//!
//! The append is the decision: a unit that is in the log is committed on every server, now or later. This crate defines the
//! entries, the [`OrderedLog`] trait and the in-memory log. Deliberately absent, until servers can rejoin: files.

mod entry;
mod memory;

pub use entry::{Entry, LoggedStatement, MembershipChange, Outcome, ResultOutcome, StatementBody, WriteUnit};
pub use memory::MemoryLog;

use std::future::Future;
use std::pin::Pin;

/// Why an entry could not be made durable. The unit is then not decided.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The log was closed by a shutdown.
    #[error("the recovery log is closed")]
    Closed,
}

/// Position of an entry: 1 for the first, without holes.
pub type Position = u64;

/// A log with one total order, shared by all sessions.
pub trait OrderedLog: Send + Sync + 'static {
    /// Appends `entry` and completes when it is durable, with its position.
    fn append(&self, entry: Entry) -> Pin<Box<dyn Future<Output = Result<Position, LogError>> + Send + '_>>;
    /// Position of the newest durable entry, 0 if there is none.
    fn last_position(&self) -> Position;
}
