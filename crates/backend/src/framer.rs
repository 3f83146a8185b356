//! Turns a batch of commands into framed bytes, piece by piece, so that a batch of any size needs one small buffer.
//!
//! Invariants: each command begins with sequence 0; a payload of an exact multiple of 2^24-1 bytes is closed by an empty frame; a buffer never grows
//! past [`PIECE_LEN`]. Pure: no I/O.

use bytes::Bytes;
use grove_wire::packet::{HEADER_LEN, MAX_PAYLOAD_LEN};

/// Bytes that are framed, and written, at a time.
pub(crate) const PIECE_LEN: usize = 64 << 10;

pub(crate) struct Framer<'a> {
    commands: &'a [Bytes],
    /// Bytes of the first command that are already in frames.
    at: usize,
    /// Bytes of the current frame that are still to come.
    frame_left: usize,
    sequence: u8,
    /// Whether the current frame is the last of its command.
    is_last: bool,
    in_frame: bool,
}

impl<'a> Framer<'a> {
    pub fn new(commands: &'a [Bytes]) -> Self {
        Self {
            commands,
            at: 0,
            frame_left: 0,
            sequence: 0,
            is_last: false,
            in_frame: false,
        }
    }

    /// Replaces `piece` with the next bytes; leaves it empty at the end.
    pub fn fill(&mut self, piece: &mut Vec<u8>) {
        piece.clear();
        while let Some(command) = self.commands.first() {
            if !self.in_frame {
                if piece.len() + HEADER_LEN > PIECE_LEN {
                    return;
                }
                self.begin_frame(command.len() - self.at, piece);
            }
            let step = self.frame_left.min(PIECE_LEN - piece.len());
            piece.extend_from_slice(&command[self.at..self.at + step]);
            self.at += step;
            self.frame_left -= step;
            if self.frame_left > 0 {
                return;
            }
            self.in_frame = false;
            if self.is_last {
                (self.at, self.sequence) = (0, 0);
                self.commands = &self.commands[1..];
            }
        }
    }

    fn begin_frame(&mut self, rest: usize, piece: &mut Vec<u8>) {
        self.frame_left = rest.min(MAX_PAYLOAD_LEN);
        self.is_last = rest < MAX_PAYLOAD_LEN;
        self.in_frame = true;
        piece.extend_from_slice(&(self.frame_left as u32).to_le_bytes()[..3]);
        piece.push(self.sequence);
        self.sequence = self.sequence.wrapping_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::BytesMut;
    use grove_wire::packet::encode_frames;

    fn check(lengths: &[usize]) {
        let commands: Vec<Bytes> = lengths
            .iter()
            .enumerate()
            .map(|(index, &length)| Bytes::from(vec![index as u8; length]))
            .collect();
        let mut wanted = BytesMut::new();
        for command in &commands {
            encode_frames(command, &mut 0, &mut wanted);
        }
        let (mut framer, mut piece, mut framed) = (Framer::new(&commands), Vec::new(), Vec::new());
        loop {
            framer.fill(&mut piece);
            if piece.is_empty() {
                break;
            }
            assert!(piece.len() <= PIECE_LEN);
            framed.extend_from_slice(&piece);
        }
        assert!(framed == wanted, "{lengths:?}");
    }

    #[test]
    fn pieces_joined_are_the_frames_of_all_commands() {
        check(&[]);
        check(&[0]);
        check(&[1, 0, 5, 100]);
        for length in PIECE_LEN - 2 * HEADER_LEN - 2..PIECE_LEN + 2 {
            check(&[length, 3, 0]);
        }
        check(&[7, MAX_PAYLOAD_LEN - 1, MAX_PAYLOAD_LEN, MAX_PAYLOAD_LEN + 1, 9]);
    }

    #[test]
    fn a_small_batch_is_one_piece() {
        let commands = [Bytes::from_static(b"\x03BEGIN"), Bytes::from_static(b"\x03SELECT 1")];
        let (mut framer, mut piece) = (Framer::new(&commands), Vec::new());
        framer.fill(&mut piece);
        assert_eq!(piece.len(), 2 * HEADER_LEN + 6 + 9);
        framer.fill(&mut piece);
        assert!(piece.is_empty());
    }
}
