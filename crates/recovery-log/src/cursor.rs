//! Reading entries in order, also while others are appended.
//!
//! Invariant: only what is durable is read; memory is bounded by a buffer of 256 KiB and the entry that is read. All calls block.

use std::io;
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;

use crate::catalogue::{Catalogue, Location};
use crate::encoding::{Kind, decode};
use crate::error::{Damage, LogError};
use crate::record::{HEADER_LEN, RecordHeader};
use crate::scan::check_version;
use crate::segment::SegmentHeader;
use crate::storage::{Storage, StoredFile};
use crate::window::{Found, Window, WindowMemory};
use crate::{Entry, Position};

/// An entry with its place in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its position.
    pub position: Position,
    /// When its group was written, in microseconds since 1970, UTC. Never less than the time of the record before.
    pub unix_micros: u64,
    /// Bytes of its payload in the log.
    pub payload_bytes: u64,
    /// The entry.
    pub entry: Entry,
}

/// A reader of the log. As an iterator it ends where the log ends at the time, and goes on when something was appended.
pub struct Cursor {
    storage: Arc<dyn Storage>,
    catalogue: Arc<RwLock<Catalogue>>,
    next: Position,
    open: Option<OpenSegment>,
    memory: WindowMemory,
}

struct OpenSegment {
    header: SegmentHeader,
    file: Arc<dyn StoredFile>,
    path: String,
    /// Of the next record.
    offset: u64,
    end: u64,
}

impl Cursor {
    pub(crate) fn new(storage: Arc<dyn Storage>, catalogue: Arc<RwLock<Catalogue>>, from: Position) -> Self {
        Self {
            storage,
            catalogue,
            next: from.max(1),
            open: None,
            memory: WindowMemory::default(),
        }
    }

    /// Position of the entry that is read next.
    pub fn position(&self) -> Position {
        self.next
    }

    /// The next entry; `None` if there is none yet.
    pub fn read(&mut self) -> Result<Option<Record>, LogError> {
        let Some((header, offset)) = self.find()? else {
            return Ok(None);
        };
        let Some(open) = &mut self.open else { return Ok(None) };
        let mut payload = Vec::new();
        let mut window = Window::new(open.file.as_ref(), &open.path, open.end, &mut self.memory);
        match window.record(offset, open.header.salt, Some(&mut payload))? {
            Found::Record(_) => {}
            Found::Nothing => return Err(Damage::at(&open.path, offset, "zeros stand where a record was")),
            Found::Other(wrong) => return Err(Damage::at(&open.path, offset, wrong)),
        }
        check_version(&header, &open.path, offset)?;
        let payload_bytes = payload.len() as u64;
        let Some(kind) = Kind::numbered(header.kind) else {
            return Err(Damage::at(
                &open.path,
                offset + 5,
                format!("{} is no kind of entry", header.kind),
            ));
        };
        let entry = decode(kind, Bytes::from(payload)).map_err(|error| {
            let at = offset + (HEADER_LEN + error.at) as u64;
            Damage::at(&open.path, at, format!("in entry {}: {error}", header.position))
        })?;
        self.pass(&header, offset);
        Ok(Some(Record {
            position: header.position,
            unix_micros: header.unix_micros,
            payload_bytes,
            entry,
        }))
    }

    /// Passes over entries before `unix_micros`; the position of the first other one.
    pub(crate) fn skip_to_time(&mut self, unix_micros: u64) -> Result<Option<Position>, LogError> {
        while let Some((header, offset)) = self.find()? {
            if header.unix_micros >= unix_micros {
                return Ok(Some(header.position));
            }
            self.pass(&header, offset);
        }
        Ok(None)
    }

    /// Goes on behind a record.
    fn pass(&mut self, header: &RecordHeader, offset: u64) {
        if let Some(open) = &mut self.open {
            open.offset = offset + header.stride();
        }
        self.next += 1;
    }

    /// Opens the segment of the next entry and goes to its header, without reading payloads on the way.
    fn find(&mut self) -> Result<Option<(RecordHeader, u64)>, LogError> {
        if !self.advance()? {
            return Ok(None);
        }
        let Some(open) = &mut self.open else { return Ok(None) };
        let mut window = Window::new(open.file.as_ref(), &open.path, open.end, &mut self.memory);
        loop {
            let Some(header) = window.header(open.offset, open.header.salt)? else {
                return Err(Damage::at(
                    &open.path,
                    open.offset,
                    "this is no header of a record, or its checksum is wrong",
                ));
            };
            if header.position == self.next {
                return Ok(Some((header, open.offset)));
            }
            if header.position > self.next || open.offset + header.stride() >= open.end {
                let wrong = format!("entry {} stands here, and {} was to come", header.position, self.next);
                return Err(Damage::at(&open.path, open.offset, wrong));
            }
            open.offset += header.stride();
        }
    }

    /// Makes sure that the open segment holds the next entry; `false` if there is none yet.
    fn advance(&mut self) -> Result<bool, LogError> {
        if self.open.as_ref().is_some_and(|open| open.offset < open.end) {
            return Ok(true);
        }
        loop {
            let Some(location) = self.locate()? else {
                return Ok(false);
            };
            if let Some(open) = self.open.as_mut().filter(|open| open.header == location.segment) {
                open.end = location.end;
                return Ok(true);
            }
            let name = location.segment.name();
            let path = self.storage.path(&name);
            self.memory.clear();
            match self.storage.open(&name) {
                Ok(file) => {
                    self.open = Some(OpenSegment {
                        header: location.segment,
                        file,
                        path,
                        offset: location.offset,
                        end: location.end,
                    });
                    return Ok(true);
                }
                // Dropped since; the catalogue says so now, unless somebody else has removed it.
                Err(error) if error.kind() == io::ErrorKind::NotFound && self.is_gone(&location) => {}
                Err(error) => return Err(LogError::io("open", path)(error)),
            }
        }
    }

    fn locate(&self) -> Result<Option<Location>, LogError> {
        let catalogue = self.catalogue.read().unwrap_or_else(PoisonError::into_inner);
        if self.next < catalogue.first() {
            return Err(LogError::Dropped {
                wanted: self.next,
                first: catalogue.first(),
            });
        }
        Ok(catalogue.locate(self.next))
    }

    fn is_gone(&self, location: &Location) -> bool {
        let catalogue = self.catalogue.read().unwrap_or_else(PoisonError::into_inner);
        catalogue.first() > location.segment.first
    }
}

impl Iterator for Cursor {
    type Item = Result<Record, LogError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.read().transpose()
    }
}
