//! Going over a whole segment: every record is checked, and its end is found.
//!
//! The decision of this file is what to make of a place that is no record. In all segments but the last, and everywhere before data that was
//! written later, it is damage. Records are written in groups, and a group is written only when the one before is durable. So if anything of a
//! *later* group than the broken one's is there, the broken one had been durable. Otherwise it may be what a crash left of a group that nobody was told
//! is durable: a torn tail.

use crate::Position;
use crate::error::{Damage, LogError};
use crate::record::{HEADER_LEN, RecordHeader, possible_places};
use crate::segment::{self, SegmentHeader};
use crate::storage::StoredFile;
use crate::window::{Found, Window, WindowMemory};

/// Bytes of records between two points of a segment's index.
const INDEX_STEP: u64 = 64 << 10;

/// Where a record stands: one in every 64 KiB is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IndexPoint {
    pub position: Position,
    pub offset: u64,
    pub unix_micros: u64,
}

/// Adds a record to an index if it is due.
pub(crate) fn note(index: &mut Vec<IndexPoint>, header: &RecordHeader, offset: u64) {
    if index.last().is_none_or(|last| offset - last.offset >= INDEX_STEP) {
        index.push(IndexPoint {
            position: header.position,
            offset,
            unix_micros: header.unix_micros,
        });
    }
}

/// What a segment holds.
#[derive(Debug)]
pub(crate) struct Scanned {
    /// Where its records end and the next one could begin.
    pub end: u64,
    /// Position of the last record; the one before the segment's first if there is none.
    pub last: Position,
    /// Time of the last record, in microseconds since 1970; that of the segment's making if there is none.
    pub unix_micros: u64,
    pub index: Vec<IndexPoint>,
    pub tail: Tail,
}

/// What follows the last record.
#[derive(Debug)]
pub(crate) enum Tail {
    /// Nothing but room.
    Clean,
    /// What a crash may leave.
    Torn(TornTail),
    /// Something that must not be.
    Broken(LogError),
}

/// What a crash left of a group that was being written. Nobody was told that it is durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TornTail {
    /// Path of the segment.
    pub file: String,
    /// Where the tail begins, in bytes.
    pub offset: u64,
    /// Its length up to the last byte that is not zero.
    pub bytes: u64,
    /// What stands at its beginning.
    pub wrong: String,
}

/// Which segment it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Another one follows, so it was completed.
    Inner,
    /// The last one, which may have been written when the process ended.
    Last,
}

/// Checks every record of a segment. Fails only where the system does.
pub(crate) fn scan(
    file: &dyn StoredFile,
    path: &str,
    segment: &SegmentHeader,
    place: Place,
) -> Result<Scanned, LogError> {
    let size = file.size().map_err(LogError::io("read the size of", path))?;
    let mut memory = WindowMemory::default();
    let mut window = Window::new(file, path, size, &mut memory);
    let mut scanned = Scanned {
        end: segment::HEADER_LEN as u64,
        last: segment.first - 1,
        unix_micros: segment.unix_micros,
        index: Vec::new(),
        tail: Tail::Clean,
    };
    loop {
        let wrong = match window.record(scanned.end, segment.salt, None)? {
            Found::Record(header) => match check(&header, &scanned, path) {
                Ok(()) => {
                    note(&mut scanned.index, &header, scanned.end);
                    scanned.last = header.position;
                    scanned.unix_micros = scanned.unix_micros.max(header.unix_micros);
                    scanned.end += header.stride();
                    continue;
                }
                Err(error) => {
                    scanned.tail = Tail::Broken(error);
                    return Ok(scanned);
                }
            },
            Found::Nothing => match window.end_of_data(scanned.end)? {
                end if end == scanned.end => return Ok(scanned),
                end => format!("zeros stand where a record belongs, and data follows up to byte {end}"),
            },
            Found::Other(wrong) => wrong,
        };
        scanned.tail = tail(&mut window, path, segment, place, &scanned, wrong)?;
        return Ok(scanned);
    }
}

/// Whether an intact record belongs where it stands.
fn check(header: &RecordHeader, scanned: &Scanned, path: &str) -> Result<(), LogError> {
    if header.position != scanned.last + 1 {
        let wrong = format!("entry {} stands where {} belongs", header.position, scanned.last + 1);
        return Err(Damage::at(path, scanned.end, wrong));
    }
    check_version(header, path, scanned.end)
}

/// A torn tail, or damage.
fn tail(
    window: &mut Window<'_>,
    path: &str,
    segment: &SegmentHeader,
    place: Place,
    scanned: &Scanned,
    wrong: String,
) -> Result<Tail, LogError> {
    if place == Place::Inner {
        return Ok(Tail::Broken(Damage::at(path, scanned.end, wrong)));
    }
    let data_end = window.end_of_data(scanned.end)?;
    let missing = scanned.last + 1;
    // A header may end with zeros.
    for offset in possible_places(scanned.end, data_end + HEADER_LEN as u64) {
        if let Some(later) = window.header(offset, segment.salt)?
            && later.group() > missing
        {
            let position = later.position;
            let wrong = format!(
                "{wrong}; entry {missing} belongs here, and was durable before entry {position}, which stands at byte {offset}, was \
                 written"
            );
            return Ok(Tail::Broken(Damage::at(path, scanned.end, wrong)));
        }
    }
    Ok(Tail::Torn(TornTail {
        file: path.to_owned(),
        offset: scanned.end,
        bytes: data_end - scanned.end,
        wrong,
    }))
}

/// Whether this code can read the record's payload.
pub(crate) fn check_version(header: &RecordHeader, path: &str, offset: u64) -> Result<(), LogError> {
    let supported = crate::encoding::VERSION;
    if header.version > supported {
        return Err(LogError::Newer {
            file: path.to_owned(),
            offset,
            version: u32::from(header.version),
            supported: u32::from(supported),
        });
    }
    Ok(())
}
