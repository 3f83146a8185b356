//! Reading a segment from front to back through a buffer, record by record.
//!
//! Invariant: memory is bounded by the buffer and, where a payload is wanted, by that one payload, which is never longer than what is left of
//! the file. Says what it finds; what that means is up to `scan` and `cursor`.

use crate::LogError;
use crate::record::{self, HEADER_LEN, MAX_PAYLOAD, RecordHeader};
use crate::storage::StoredFile;

/// Bytes that are read at once.
const READ_AHEAD: usize = 256 << 10;

/// A part of a file in memory.
pub(crate) struct Window<'a> {
    file: &'a dyn StoredFile,
    path: &'a str,
    /// Nothing is read from here on.
    end: u64,
    buffer: &'a mut Vec<u8>,
    start: &'a mut u64,
}

/// The memory of a window, to be kept from one file to the next.
#[derive(Default)]
pub(crate) struct WindowMemory {
    buffer: Vec<u8>,
    start: u64,
}

impl WindowMemory {
    /// What is in memory does not belong to the file that is read next.
    pub fn clear(&mut self) {
        self.buffer.clear();
    }
}

/// What stands at a place where a record may begin.
pub(crate) enum Found {
    /// An intact record.
    Record(RecordHeader),
    /// Zeros instead of a header, or too little room for one and zeros in it.
    Nothing,
    /// Something else, in words.
    Other(String),
}

impl<'a> Window<'a> {
    pub fn new(file: &'a dyn StoredFile, path: &'a str, end: u64, memory: &'a mut WindowMemory) -> Self {
        Self {
            file,
            path,
            end,
            buffer: &mut memory.buffer,
            start: &mut memory.start,
        }
    }

    /// Bytes from `offset`, at most `len` of them and at least one unless the end is there.
    pub fn bytes(&mut self, offset: u64, len: usize) -> Result<&[u8], LogError> {
        let len = len.min(READ_AHEAD).min(clamp(self.end.saturating_sub(offset)));
        let held = *self.start..*self.start + self.buffer.len() as u64;
        if offset < held.start || offset + len as u64 > held.end {
            let wanted = READ_AHEAD.min(clamp(self.end.saturating_sub(offset)));
            self.buffer.resize(wanted, 0);
            let read = self.file.read_at(self.buffer, offset);
            let read = read
                .inspect_err(|_| self.buffer.clear())
                .map_err(LogError::io("read", self.path))?;
            self.buffer.truncate(read);
            *self.start = offset;
        }
        let at = clamp(offset - *self.start);
        Ok(&self.buffer[at..self.buffer.len().min(at + len)])
    }

    /// The header at `offset`, if there is an intact one. Its payload is not looked at.
    pub fn header(&mut self, offset: u64, salt: u64) -> Result<Option<RecordHeader>, LogError> {
        let bytes = self.bytes(offset, HEADER_LEN)?;
        Ok(bytes.try_into().ok().and_then(|bytes| RecordHeader::parse(bytes, salt)))
    }

    /// Looks at the record at `offset`, whose checksums begin with `salt`, and appends its payload to `payload` if that is wanted.
    pub fn record(&mut self, offset: u64, salt: u64, mut payload: Option<&mut Vec<u8>>) -> Result<Found, LogError> {
        let bytes = self.bytes(offset, HEADER_LEN)?;
        if bytes.iter().all(|&byte| byte == 0) {
            return Ok(Found::Nothing);
        }
        let Ok(bytes) = <&[u8; HEADER_LEN]>::try_from(bytes) else {
            return Ok(Found::Other("the file ends within the header of a record".into()));
        };
        let Some(header) = RecordHeader::parse(bytes, salt) else {
            return Ok(Found::Other(
                "this is no header of a record, or its checksum is wrong".into(),
            ));
        };
        let len = u64::from(header.payload_len);
        if len > MAX_PAYLOAD || offset + header.stride() > self.end {
            let wrong = format!("the record is {} bytes long and the file ends before", header.stride());
            return Ok(Found::Other(wrong));
        }
        let (mut at, payload_end) = (offset + HEADER_LEN as u64, offset + HEADER_LEN as u64 + len);
        let mut crc = 0;
        while at < payload_end {
            let piece = self.bytes(at, clamp(payload_end - at))?;
            if piece.is_empty() {
                return Ok(Found::Other("the file became shorter while it was read".into()));
            }
            crc = crc32c::crc32c_append(crc, piece);
            at += piece.len() as u64;
            if let Some(payload) = payload.as_deref_mut() {
                payload.extend_from_slice(piece);
            }
        }
        if crc != header.payload_crc {
            return Ok(Found::Other("the checksum of the record's payload is wrong".into()));
        }
        let padding = self.bytes(payload_end, clamp(record::stride(len) - HEADER_LEN as u64 - len))?;
        if padding.iter().any(|&byte| byte != 0) {
            return Ok(Found::Other("there is something between two records".into()));
        }
        Ok(Found::Record(header))
    }

    /// The offset behind the last byte, from `offset` on, that is not zero; `offset` if there is none.
    pub fn end_of_data(&mut self, offset: u64) -> Result<u64, LogError> {
        let (mut at, mut end) = (offset, offset);
        loop {
            let piece = self.bytes(at, READ_AHEAD)?;
            if piece.is_empty() {
                return Ok(end);
            }
            let last = piece.iter().rposition(|&byte| byte != 0);
            let len = piece.len() as u64;
            end = last.map_or(end, |last| at + last as u64 + 1);
            at += len;
        }
    }
}

fn clamp(len: u64) -> usize {
    usize::try_from(len).unwrap_or(usize::MAX)
}
