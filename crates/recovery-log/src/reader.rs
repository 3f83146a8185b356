//! Reading a log without writing it, for `proxyd log`: also one that is damaged, up to the damage, and one that a running Grove writes.

use std::sync::{Arc, RwLock};

use crate::catalogue::Catalogue;
use crate::cursor::Cursor;
use crate::error::LogError;
use crate::scan::TornTail;
use crate::storage::Storage;
use crate::survey::{Purpose, Survey, survey};
use crate::{LogId, Position};

/// A log as it stood when it was opened.
pub struct LogReader {
    storage: Arc<dyn Storage>,
    catalogue: Arc<RwLock<Catalogue>>,
    summary: Summary,
}

/// What a log holds.
#[derive(Clone, Debug)]
pub struct Summary {
    /// Its id; `None` if there is no segment.
    pub log: Option<LogId>,
    /// Position of the oldest entry, or of the next one if there is none.
    pub first: Position,
    /// Position of the newest entry that can be read; 0 if there is none.
    pub last: Position,
    /// Number of segments that can be read, the one with the problem included.
    pub segments: usize,
    /// Bytes of their files.
    pub bytes: u64,
    /// An unfinished group at the end: what a crash left, or what Grove writes at this moment.
    pub torn: Option<TornTail>,
    /// Why Grove would not start with this log.
    pub problem: Option<LogError>,
}

impl LogReader {
    /// Checks all segments. Fails only where the system does. Blocks.
    pub fn open(storage: Arc<dyn Storage>) -> Result<Self, LogError> {
        let mut found = survey(storage.as_ref(), Purpose::Read)?;
        if found.problem.is_some() {
            // A group that is written in these moments can look like damage; real damage looks the same again.
            found = survey(storage.as_ref(), Purpose::Read)?;
        }
        let Survey {
            catalogue,
            torn,
            problem,
            ..
        } = found;
        let summary = Summary {
            log: catalogue.segments.back().map(|segment| segment.header.log),
            first: catalogue.first(),
            last: catalogue.last(),
            segments: catalogue.segments.len(),
            bytes: catalogue.bytes(),
            torn,
            problem,
        };
        let catalogue = Arc::new(RwLock::new(catalogue));
        Ok(Self {
            storage,
            catalogue,
            summary,
        })
    }

    /// What it holds.
    pub fn summary(&self) -> &Summary {
        &self.summary
    }

    /// Reads entries from `position` on, up to the end or to the problem.
    pub fn read_from(&self, position: Position) -> Cursor {
        Cursor::new(Arc::clone(&self.storage), Arc::clone(&self.catalogue), position)
    }
}
