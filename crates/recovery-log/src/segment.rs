//! A segment file: its name, its header, and how one comes into being.
//!
//! Invariant: a file with a segment's name has a complete header on the disk, because it gets its name only after that was synced. Pure but for
//! [`create`].

use std::io;
use std::sync::Arc;

use crate::error::{Damage, LogError};
use crate::storage::{Storage, StoredFile};
use crate::{LogId, Position};

/// Bytes of a segment's header; the first record follows.
pub(crate) const HEADER_LEN: usize = 64;
/// Version of the segment's layout: header, records' frames.
const FORMAT_VERSION: u32 = 1;
const MAGIC: [u8; 8] = *b"GROVELOG";
const SUFFIX: &str = ".log";
/// A segment that has not got its name yet.
pub(crate) const UNFINISHED: &str = "unfinished";

/// What stands at the start of a segment. All numbers are little-endian.
///
/// | bytes | field |
/// |---|---|
/// | 0..8 | `GROVELOG` |
/// | 8..12 | version of the format |
/// | 12..16 | zeros |
/// | 16..32 | id of the log, the same in all its segments |
/// | 32..40 | salt of the records' checksums |
/// | 40..48 | position of the first record |
/// | 48..56 | when the segment was made, in microseconds since 1970, UTC |
/// | 56..60 | zeros |
/// | 60..64 | CRC32C of all bytes before these |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub log: LogId,
    pub salt: u64,
    pub first: Position,
    pub unix_micros: u64,
}

impl SegmentHeader {
    pub fn encode(&self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        bytes[16..32].copy_from_slice(&self.log.0.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.salt.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.first.to_le_bytes());
        bytes[48..56].copy_from_slice(&self.unix_micros.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[..60]);
        bytes[60..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads the header of the segment `name`.
    pub fn read(storage: &dyn Storage, name: &str, file: &dyn StoredFile) -> Result<Self, LogError> {
        let path = storage.path(name);
        let mut bytes = [0; HEADER_LEN];
        let read = file.read_at(&mut bytes, 0).map_err(LogError::io("read", &path))?;
        let damaged = |offset, wrong: &str| Err(Damage::at(&path, offset, wrong));
        if read < HEADER_LEN {
            return damaged(read as u64, "the file ends within the header of 64 bytes");
        }
        if bytes[..8] != MAGIC {
            return damaged(0, "it does not begin with GROVELOG, as segments of a recovery log do");
        }
        let short = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let long = |at: usize| u64::from(short(at)) | u64::from(short(at + 4)) << 32;
        if short(60) != crc32c::crc32c(&bytes[..60]) {
            return damaged(0, "the checksum of the header is wrong");
        }
        if short(8) != FORMAT_VERSION {
            return Err(LogError::Newer {
                file: path,
                offset: 8,
                version: short(8),
                supported: FORMAT_VERSION,
            });
        }
        let header = Self {
            log: LogId(u128::from(long(16)) | u128::from(long(24)) << 64),
            salt: long(32),
            first: long(40),
            unix_micros: long(48),
        };
        if name != header.name() {
            let wrong = format!("its header says that it is {}", header.name());
            return damaged(40, &wrong);
        }
        Ok(header)
    }

    /// The segment's file name: twenty digits, so that names sort as positions do.
    pub fn name(&self) -> String {
        format!("{:020}{SUFFIX}", self.first)
    }
}

/// Whether a file is a segment by its name.
pub(crate) fn is_segment(name: &str) -> bool {
    name.strip_suffix(SUFFIX)
        .is_some_and(|digits| digits.len() == 20 && digits.bytes().all(|digit| digit.is_ascii_digit()))
}

/// Makes a segment of `bytes`, header included, and gives it its name.
pub(crate) fn create(
    storage: &dyn Storage,
    header: &SegmentHeader,
    bytes: u64,
) -> Result<Arc<dyn StoredFile>, LogError> {
    let name = header.name();
    let path = storage.path(&name);
    let file = match storage.create(UNFINISHED, bytes) {
        Ok(file) => file,
        Err(error) => {
            // It may have got some of the room.
            let _ = storage.remove(UNFINISHED);
            return Err(match error.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                    LogError::DiskFull {
                        segment: path,
                        bytes,
                        source: Arc::new(error),
                    }
                }
                _ => LogError::io("make", path)(error),
            });
        }
    };
    let made = file
        .write_at(&header.encode(), 0)
        .and_then(|()| file.sync())
        .and_then(|()| storage.rename(UNFINISHED, &name))
        .and_then(|()| storage.sync());
    made.map_err(LogError::io("make", path))?;
    Ok(file)
}
