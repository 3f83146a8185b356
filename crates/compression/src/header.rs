//! The 7 bytes before every compressed packet.

/// Length of the header, in bytes.
pub const HEADER_LEN: usize = 7;

/// The most that one compressed packet holds, in bytes, before and after compression: what three bytes can say.
pub const MAX_LEN: usize = 0xFF_FFFF;

/// Shorter contents travel as they are: MIN_COMPRESS_LENGTH of the servers.
pub const MIN_COMPRESSED_LEN: usize = 50;

/// A header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Length of what follows, in bytes; at most [`MAX_LEN`].
    pub body_len: usize,
    /// Counts the compressed packets of a command and its reply, from 0.
    pub number: u8,
    /// Length of the contents, in bytes, or 0 if what follows is not compressed; at most [`MAX_LEN`].
    pub contents_len: usize,
}

impl Header {
    /// Reads a header. Every seven bytes are one.
    pub fn parse(bytes: &[u8; HEADER_LEN]) -> Self {
        let [a, b, c, number, x, y, z] = *bytes;
        Self {
            body_len: int3(a, b, c),
            number,
            contents_len: int3(x, y, z),
        }
    }

    /// The bytes.
    pub fn encode(self) -> [u8; HEADER_LEN] {
        debug_assert!(self.body_len <= MAX_LEN && self.contents_len <= MAX_LEN);
        let [a, b, c, ..] = self.body_len.to_le_bytes();
        let [x, y, z, ..] = self.contents_len.to_le_bytes();
        [a, b, c, self.number, x, y, z]
    }
}

fn int3(a: u8, b: u8, c: u8) -> usize {
    usize::from(a) | usize::from(b) << 8 | usize::from(c) << 16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_survive_a_round_trip() {
        let bytes = [1, 2, 3, 4, 0xFF, 0xFF, 0xFF];
        let header = Header {
            body_len: 0x03_0201,
            number: 4,
            contents_len: MAX_LEN,
        };
        assert_eq!(Header::parse(&bytes), header);
        assert_eq!(header.encode(), bytes);
    }
}
