//! Which segments there are, and where entries stand in them: by position and by time, to within 64 KiB.
//!
//! Invariant: what is in the catalogue is durable. The writer adds to it after each fsync; readers take what they need under a lock that is held
//! for a look-up only.

use std::collections::VecDeque;

use crate::Position;
use crate::record::RecordHeader;
use crate::scan::{IndexPoint, Scanned, Tail, note};
use crate::segment::{self, SegmentHeader};

/// A segment as readers and retention need it.
#[derive(Debug)]
pub(crate) struct Segment {
    pub header: SegmentHeader,
    /// Bytes of the file.
    pub size: u64,
    /// Where its records end.
    pub end: u64,
    /// Position of its last record; the one before its first if there is none.
    pub last: Position,
    /// Time of its last record, in microseconds since 1970.
    pub unix_micros: u64,
    pub index: Vec<IndexPoint>,
}

impl Segment {
    /// A segment that was gone over, and what follows its records.
    pub fn scanned(header: SegmentHeader, size: u64, scanned: Scanned) -> (Self, Tail) {
        let segment = Self {
            header,
            size,
            end: scanned.end,
            last: scanned.last,
            unix_micros: scanned.unix_micros,
            index: scanned.index,
        };
        (segment, scanned.tail)
    }

    /// A new one.
    pub fn empty(header: SegmentHeader, size: u64) -> Self {
        Self {
            header,
            size,
            end: segment::HEADER_LEN as u64,
            last: header.first - 1,
            unix_micros: header.unix_micros,
            index: Vec::new(),
        }
    }

    /// A record that is durable now.
    pub fn add(&mut self, header: &RecordHeader) {
        note(&mut self.index, header, self.end);
        self.end += header.stride();
        self.last = header.position;
        self.unix_micros = header.unix_micros;
    }
}

/// Where reading begins to find an entry.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Location {
    pub segment: SegmentHeader,
    /// Of a record at or before the wanted one.
    pub offset: u64,
    /// Where the durable records of the segment end.
    pub end: u64,
}

/// All segments, oldest first; there is always one.
#[derive(Debug, Default)]
pub(crate) struct Catalogue {
    pub segments: VecDeque<Segment>,
}

impl Catalogue {
    /// Position of the oldest entry, or of the next one if there is none.
    pub fn first(&self) -> Position {
        self.segments.front().map_or(1, |segment| segment.header.first)
    }

    /// Position of the newest entry; 0 if there never was one.
    pub fn last(&self) -> Position {
        self.segments.back().map_or(0, |segment| segment.last)
    }

    /// Bytes of all files.
    pub fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.size).sum()
    }

    /// Where to begin to read for an entry that is there.
    pub fn locate(&self, position: Position) -> Option<Location> {
        let after = self
            .segments
            .partition_point(|segment| segment.header.first <= position);
        let segment = self.segments.get(after.checked_sub(1)?)?;
        if position > segment.last {
            return None;
        }
        let after = segment.index.partition_point(|point| point.position <= position);
        let point = segment.index.get(after.checked_sub(1)?)?;
        Some(Location {
            segment: segment.header,
            offset: point.offset,
            end: segment.end,
        })
    }

    /// Position of an entry before which everything is older than `unix_micros`, and at most 64 KiB before the first that is not. `None` if all are
    /// older. Times never fall from one record to the next.
    pub fn not_after(&self, unix_micros: u64) -> Option<Position> {
        let older = self
            .segments
            .partition_point(|segment| segment.unix_micros < unix_micros);
        let segment = self
            .segments
            .iter()
            .skip(older)
            .find(|segment| segment.last >= segment.header.first)?;
        let after = segment.index.partition_point(|point| point.unix_micros < unix_micros);
        Some(segment.index.get(after.saturating_sub(1))?.position)
    }
}
