//! Numbers the frames of a reply as they would be without compression.
//!
//! A server with compression counts its frames on from the number of the compressed packet that it last flushed, so within one reply of several
//! results they jump. Clients without compression check them, and answers are compared between servers. Pure: no I/O.

use grove_wire::packet::{HEADER_LEN, frame_payload_len};

/// Renumbers frames in a stream of bytes that is cut anywhere.
#[derive(Debug, Default)]
pub(crate) struct FrameNumbers {
    next: u8,
    header: [u8; HEADER_LEN],
    header_len: usize,
    /// Bytes of the current frame's payload still to come.
    left: usize,
}

impl FrameNumbers {
    /// A reply begins; its first frame is to have this number.
    pub fn begin(&mut self, first: u8) {
        *self = Self {
            next: first,
            ..Self::default()
        };
    }

    /// Writes the numbers into the reply's next bytes.
    pub fn apply(&mut self, bytes: &mut [u8]) {
        let mut at = 0;
        while at < bytes.len() {
            if self.left > 0 {
                let step = self.left.min(bytes.len() - at);
                self.left -= step;
                at += step;
                continue;
            }
            self.header[self.header_len] = bytes[at];
            self.header_len += 1;
            if self.header_len == HEADER_LEN {
                bytes[at] = self.next;
                self.next = self.next.wrapping_add(1);
                self.left = frame_payload_len(&self.header);
                self.header_len = 0;
            }
            at += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_numbered_on_however_the_stream_is_cut() {
        let frames = [
            [1, 0, 0, 1, 7].as_slice(),
            &[0, 0, 0, 2],
            &[3, 0, 0, 2, 7, 7, 7],
            &[0, 0, 0, 9],
        ]
        .concat();
        let expected = [
            [1, 0, 0, 254, 7].as_slice(),
            &[0, 0, 0, 255],
            &[3, 0, 0, 0, 7, 7, 7],
            &[0, 0, 0, 1],
        ]
        .concat();
        for piece in 1..=frames.len() {
            let mut numbers = FrameNumbers::default();
            numbers.begin(254);
            let mut changed = frames.clone();
            changed.chunks_mut(piece).for_each(|chunk| numbers.apply(chunk));
            assert_eq!(changed, expected, "pieces of {piece}");
        }
    }
}
