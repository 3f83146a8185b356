//! The frame around a payload: header, checksums, and the room up to the next record.
//!
//! A header's checksum begins with its segment's salt, a number that no client knows. So bytes of a statement that look like a record, or a
//! record of another segment, are never taken for one. Pure: no I/O.

use crate::Position;
use crate::encoding::Kind;

/// Bytes of a header.
pub(crate) const HEADER_LEN: usize = 40;
/// Records begin at multiples of this many bytes; zeros lie between.
const ALIGNMENT: u64 = 8;
/// The longest payload, in bytes. Twice as much memory is used while one is written or read.
pub const MAX_PAYLOAD: u64 = 1 << 30;

const MAGIC: [u8; 4] = *b"GREC";

/// What stands before a payload. All numbers are little-endian.
///
/// | bytes | field |
/// |---|---|
/// | 0..4 | `GREC` |
/// | 4 | version of the payload |
/// | 5 | kind of the entry |
/// | 6..8 | zeros |
/// | 8..12 | bytes of the payload |
/// | 12..16 | CRC32C of the payload |
/// | 16..24 | position |
/// | 24..32 | when its group was written, in microseconds since 1970, UTC |
/// | 32..36 | its place in that group, 0 for the first |
/// | 36..40 | CRC32C of the segment's salt and of all bytes before these |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RecordHeader {
    pub version: u8,
    /// The number of its [`Kind`]; of a newer version it need not be known.
    pub kind: u8,
    pub payload_len: u32,
    pub payload_crc: u32,
    pub position: Position,
    pub unix_micros: u64,
    pub place_in_group: u32,
}

impl RecordHeader {
    pub fn new(kind: Kind, payload_len: u32, payload_crc: u32) -> Self {
        Self {
            version: crate::encoding::VERSION,
            kind: kind as u8,
            payload_len,
            payload_crc,
            position: 0,
            unix_micros: 0,
            place_in_group: 0,
        }
    }

    pub fn encode(&self, salt: u64) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        bytes[..4].copy_from_slice(&MAGIC);
        bytes[4] = self.version;
        bytes[5] = self.kind;
        bytes[8..12].copy_from_slice(&self.payload_len.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.payload_crc.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.position.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.unix_micros.to_le_bytes());
        bytes[32..36].copy_from_slice(&self.place_in_group.to_le_bytes());
        let crc = checksum(&bytes, salt);
        bytes[36..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// The header in these bytes; `None` if they are not exactly what [`Self::encode`] made for a segment with this salt.
    pub fn parse(bytes: &[u8; HEADER_LEN], salt: u64) -> Option<Self> {
        let intact = bytes[..4] == MAGIC && bytes[6..8] == [0, 0] && number(bytes, 36) == checksum(bytes, salt);
        intact.then(|| Self {
            version: bytes[4],
            kind: bytes[5],
            payload_len: number(bytes, 8),
            payload_crc: number(bytes, 12),
            position: long_number(bytes, 16),
            unix_micros: long_number(bytes, 24),
            place_in_group: number(bytes, 32),
        })
    }

    /// Bytes from the start of this record to the start of the next.
    pub fn stride(&self) -> u64 {
        stride(u64::from(self.payload_len))
    }

    /// Position of the first record of its group.
    pub fn group(&self) -> Position {
        self.position.saturating_sub(u64::from(self.place_in_group))
    }
}

/// Bytes that a record with such a payload takes.
pub(crate) fn stride(payload_len: u64) -> u64 {
    (HEADER_LEN as u64 + payload_len).next_multiple_of(ALIGNMENT)
}

/// The places, from `offset` on, where a record may begin, up to one that ends at `end`.
pub(crate) fn possible_places(offset: u64, end: u64) -> impl Iterator<Item = u64> {
    let last = end.saturating_sub(HEADER_LEN as u64 - 1);
    (offset.next_multiple_of(ALIGNMENT)..last).step_by(ALIGNMENT as usize)
}

fn checksum(header: &[u8; HEADER_LEN], salt: u64) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&salt.to_le_bytes()), &header[..36])
}

fn number(bytes: &[u8; HEADER_LEN], at: usize) -> u32 {
    let mut number = [0; 4];
    number.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(number)
}

fn long_number(bytes: &[u8; HEADER_LEN], at: usize) -> u64 {
    let mut number = [0; 8];
    number.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: RecordHeader = RecordHeader {
        version: 1,
        kind: 3,
        payload_len: 0x0102_0304,
        payload_crc: 0x0506_0708,
        position: 0x1112_1314_1516_1718,
        unix_micros: 0x2122_2324_2526_2728,
        place_in_group: 0x3132_3334,
    };

    #[test]
    fn no_single_bit_may_differ() {
        let bytes = HEADER.encode(7);
        assert_eq!(RecordHeader::parse(&bytes, 7), Some(HEADER));
        for bit in 0..HEADER_LEN * 8 {
            let mut other = bytes;
            other[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(RecordHeader::parse(&other, 7), None, "bit {bit}");
        }
    }

    #[test]
    fn a_record_of_another_segment_is_none() {
        assert_eq!(RecordHeader::parse(&HEADER.encode(7), 8), None);
    }

    #[test]
    fn records_keep_their_alignment() {
        assert_eq!([0, 1, 8, 9].map(stride), [40, 48, 48, 56]);
        assert_eq!(possible_places(64, 64 + 40 + 8).collect::<Vec<_>>(), [64, 72]);
        assert_eq!(possible_places(64, 64 + 39).count(), 0);
    }
}
