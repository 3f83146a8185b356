//! Looking at all segments of a directory, in order: what they hold, and what is wrong with them.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use crate::catalogue::{Catalogue, Segment};
use crate::error::{Damage, LogError};
use crate::scan::{Place, Tail, TornTail, scan};
use crate::segment::{SegmentHeader, is_segment};
use crate::storage::{Storage, StoredFile};

/// What a directory holds.
pub(crate) struct Survey {
    /// Everything before the first problem.
    pub catalogue: Catalogue,
    /// The last segment that was looked at, open.
    pub newest: Option<Arc<dyn StoredFile>>,
    pub torn: Option<TornTail>,
    /// Why the log must not be written.
    pub problem: Option<LogError>,
}

/// What a survey is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// The log will be written: what is read must be on the disk.
    Write,
    /// Somebody else may be writing it.
    Read,
}

/// Checks every segment, up to the first problem. Fails only where the system does.
pub(crate) fn survey(storage: &dyn Storage, purpose: Purpose) -> Result<Survey, LogError> {
    let names = storage.names().map_err(LogError::io("read", storage.describe()))?;
    let mut names: VecDeque<String> = names.into_iter().filter(|name| is_segment(name)).collect();
    names.make_contiguous().sort_unstable();
    let mut survey = Survey {
        catalogue: Catalogue::default(),
        newest: None,
        torn: None,
        problem: None,
    };
    while let Some(name) = names.pop_front()
        && survey.problem.is_none()
    {
        let place = if names.is_empty() { Place::Last } else { Place::Inner };
        survey.look_at(storage, &name, place, purpose)?;
    }
    Ok(survey)
}

impl Survey {
    fn look_at(&mut self, storage: &dyn Storage, name: &str, place: Place, purpose: Purpose) -> Result<(), LogError> {
        let path = storage.path(name);
        let file = storage.open(name).map_err(LogError::io("open", &path))?;
        if (place, purpose) == (Place::Last, Purpose::Write) {
            make_durable(file.as_ref()).map_err(LogError::io("sync", &path))?;
        }
        let header = match SegmentHeader::read(storage, name, file.as_ref()) {
            Ok(header) => header,
            Err(error @ LogError::Io { .. }) => return Err(error),
            Err(error) => {
                self.problem = Some(error);
                return Ok(());
            }
        };
        if let Some(before) = self.catalogue.segments.back() {
            self.problem = follows(storage, before, &header).err();
            if self.problem.is_some() {
                return Ok(());
            }
        }
        let scanned = scan(file.as_ref(), &path, &header, place)?;
        let size = file.size().map_err(LogError::io("read the size of", &path))?;
        let (segment, tail) = Segment::scanned(header, size, scanned);
        self.catalogue.segments.push_back(segment);
        self.newest = Some(file);
        match tail {
            Tail::Clean => {}
            Tail::Torn(torn) => self.torn = Some(torn),
            Tail::Broken(problem) => self.problem = Some(problem),
        }
        Ok(())
    }
}

/// What a killed process wrote may be in memory only, and what a failed sync could not write may look as if it were on the disk. The first is written,
/// the second forgotten.
fn make_durable(file: &dyn StoredFile) -> io::Result<()> {
    file.sync()?;
    file.forget_cached()
}

/// Whether a segment goes on where the one before ends.
fn follows(storage: &dyn Storage, before: &Segment, header: &SegmentHeader) -> Result<(), LogError> {
    let path = storage.path(&header.name());
    if header.log != before.header.log {
        let wrong = format!(
            "it belongs to log {}, and the segment before it to log {}",
            header.log, before.header.log
        );
        return Err(Damage::at(&path, 16, wrong));
    }
    if header.first != before.last + 1 {
        let before_path = storage.path(&before.header.name());
        let wrong = format!(
            "the segment ends with entry {}, and the next one, {path}, begins with entry {}",
            before.last, header.first
        );
        return Err(Damage::at(&before_path, before.end, wrong));
    }
    Ok(())
}
