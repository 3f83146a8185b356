//! Frames: a 3-byte length, a sequence number, up to 2^24-1 bytes. A payload of that length or more goes on in the next frame.

use crate::WireError;
use bytes::{Buf, Bytes, BytesMut};

/// Longest payload of one frame, in bytes.
pub const MAX_PAYLOAD_LEN: usize = 0xFF_FFFF;

/// Length of a frame's header, in bytes.
pub const HEADER_LEN: usize = 4;

/// Length of a frame's payload, from its header.
pub fn frame_payload_len(header: &[u8; HEADER_LEN]) -> usize {
    usize::from(header[0]) | usize::from(header[1]) << 8 | usize::from(header[2]) << 16
}

/// Appends `payload` as frames; a payload of an exact multiple of 2^24-1 bytes is closed by an empty frame.
pub fn encode_frames(payload: &[u8], sequence: &mut u8, out: &mut BytesMut) {
    let mut rest = payload;
    loop {
        let length = rest.len().min(MAX_PAYLOAD_LEN);
        let (chunk, tail) = rest.split_at(length);
        out.extend_from_slice(&(length as u32).to_le_bytes()[..3]);
        out.extend_from_slice(&[*sequence]);
        out.extend_from_slice(chunk);
        *sequence = sequence.wrapping_add(1);
        if length < MAX_PAYLOAD_LEN {
            return;
        }
        rest = tail;
    }
}

/// Follows frames through a stream of bytes that is cut anywhere.
#[derive(Debug, Default)]
pub struct FrameCursor {
    header: [u8; HEADER_LEN],
    header_len: usize,
    /// Bytes of the current frame's payload still to come.
    left: usize,
}

impl FrameCursor {
    /// Goes on over `bytes`, to the end of the current frame at most; gives the number of bytes passed.
    pub fn advance(&mut self, bytes: &[u8]) -> usize {
        let mut at = 0;
        if self.left == 0 {
            at = bytes.len().min(HEADER_LEN - self.header_len);
            self.header[self.header_len..self.header_len + at].copy_from_slice(&bytes[..at]);
            self.header_len += at;
            if self.header_len < HEADER_LEN {
                return at;
            }
            self.header_len = 0;
            self.left = frame_payload_len(&self.header);
        }
        let step = self.left.min(bytes.len() - at);
        self.left -= step;
        at + step
    }

    /// Whether the last frame has ended and no other has begun.
    pub fn is_between_frames(&self) -> bool {
        self.left == 0 && self.header_len == 0
    }
}

/// A payload joined from its frames.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    /// The bytes.
    pub bytes: Bytes,
    /// The sequence number that an answer begins with.
    pub next_sequence: u8,
}

/// Joins frames into payloads, bounded in length, checking sequence numbers.
#[derive(Debug)]
pub struct PayloadReader {
    max_len: usize,
    expected: u8,
    /// Under compression the numbers inside say nothing, and servers do not look at them: those of the compressed packets count.
    ignores_sequence: bool,
    joined: BytesMut,
    is_joining: bool,
}

impl PayloadReader {
    /// A reader that refuses payloads longer than `max_len` bytes.
    pub fn new(max_len: usize) -> Self {
        Self {
            max_len,
            expected: 0,
            ignores_sequence: false,
            joined: BytesMut::new(),
            is_joining: false,
        }
    }

    /// A reader that takes any sequence number, for packets that come compressed.
    pub fn ignoring_sequence(mut self) -> Self {
        self.ignores_sequence = true;
        self
    }

    /// The sequence number that the next frame must have; 0 at the start of each command.
    pub fn expect_sequence(&mut self, sequence: u8) {
        self.expected = sequence;
    }

    /// The sequence number that the next frame must have.
    pub fn expected_sequence(&self) -> u8 {
        self.expected
    }

    /// Whether a payload of several frames has begun and not ended.
    pub fn is_joining(&self) -> bool {
        self.is_joining
    }

    /// Takes the next payload from the front of `buffer`, if it is complete.
    pub fn feed(&mut self, buffer: &mut BytesMut) -> Result<Option<Payload>, WireError> {
        loop {
            let Some(header) = buffer.first_chunk::<HEADER_LEN>() else {
                return Ok(None);
            };
            let (length, sequence) = (frame_payload_len(header), header[3]);
            if self.joined.len() + length > self.max_len {
                return Err(WireError::TooLong(self.max_len));
            }
            if sequence != self.expected && !self.ignores_sequence {
                return Err(WireError::OutOfOrder {
                    expected: self.expected,
                    got: sequence,
                });
            }
            if buffer.len() < HEADER_LEN + length {
                buffer.reserve(HEADER_LEN + length - buffer.len());
                return Ok(None);
            }
            buffer.advance(HEADER_LEN);
            let chunk = buffer.split_to(length);
            self.expected = sequence.wrapping_add(1);
            let ends = length < MAX_PAYLOAD_LEN;
            if ends && !self.is_joining {
                return Ok(Some(Payload {
                    bytes: chunk.freeze(),
                    next_sequence: self.expected,
                }));
            }
            self.is_joining = !ends;
            self.joined.extend_from_slice(&chunk);
            if ends {
                let bytes = std::mem::take(&mut self.joined).freeze();
                return Ok(Some(Payload {
                    bytes,
                    next_sequence: self.expected,
                }));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_around_the_frame_limit_survive_framing() {
        for length in [0, 1, MAX_PAYLOAD_LEN - 1, MAX_PAYLOAD_LEN, MAX_PAYLOAD_LEN + 1] {
            let payload = vec![7u8; length];
            let (mut framed, mut sequence) = (BytesMut::new(), 0);
            encode_frames(&payload, &mut sequence, &mut framed);
            let mut reader = PayloadReader::new(usize::MAX);
            let joined = reader.feed(&mut framed).unwrap().unwrap();
            assert_eq!(joined.bytes.len(), length);
            assert_eq!(joined.next_sequence, sequence);
            assert!(framed.is_empty());
        }
    }

    #[test]
    fn ends_of_frames_are_found_however_the_stream_is_cut() {
        let frames = [[1, 0, 0, 1, 7].as_slice(), &[0, 0, 0, 2], &[3, 0, 0, 2, 7, 7, 7]].concat();
        for piece in 1..=frames.len() {
            let (mut cursor, mut ends, mut passed) = (FrameCursor::default(), Vec::new(), 0);
            for mut bytes in frames.chunks(piece) {
                while !bytes.is_empty() {
                    let step = cursor.advance(bytes);
                    bytes = &bytes[step..];
                    passed += step;
                    if cursor.is_between_frames() {
                        ends.push(passed);
                    }
                }
            }
            assert_eq!(ends, [5, 9, 16], "pieces of {piece}");
        }
    }

    #[test]
    fn gaps_and_long_payloads_are_refused() {
        let mut buffer = BytesMut::from(&[1, 0, 0, 1, 3][..]);
        let error = PayloadReader::new(10).feed(&mut buffer).unwrap_err();
        assert_eq!(error, WireError::OutOfOrder { expected: 0, got: 1 });
        let mut buffer = BytesMut::from(&[11, 0, 0, 0][..]);
        assert_eq!(
            PayloadReader::new(10).feed(&mut buffer).unwrap_err(),
            WireError::TooLong(10)
        );
    }
}
