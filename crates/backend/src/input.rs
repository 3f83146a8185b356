//! The read buffer of a leg: small while answers are small, larger for large results, given back afterwards.
//!
//! Invariants: at most [`LARGE`] bytes are read at a time, or one frame that must be seen whole, which is bounded by [`MAX_WHOLE_FRAME`]; replies that
//! arrive while a batch is being sent wait here up to [`MAX_AHEAD`]. A plain vector with two marks, because its size is then exact and its bytes are
//! initialised once. Pure: no I/O.

use grove_wire::packet::{HEADER_LEN, frame_payload_len};

/// Size at first: what an idle client's leg keeps. Answers to point reads fit.
const FIRST: usize = 4 << 10;
/// Size that is kept between replies.
const KEPT: usize = 16 << 10;
/// Size once reads fill the buffer; larger reads cost less CPU per byte.
const LARGE: usize = 64 << 10;
/// A read of fewer bytes is not worth its system call.
const LEAST_READ: usize = 1 << 10;
/// Longest frame that is looked at whole. The longest real ones carry session state (a set of GTIDs).
const MAX_WHOLE_FRAME: usize = 4 << 20;
/// Bytes of early replies that are kept while a batch is being sent.
const MAX_AHEAD: usize = 1 << 20;

pub(crate) struct Input {
    buffer: Vec<u8>,
    /// The bytes that were read and not consumed are `buffer[start..end]`.
    start: usize,
    end: usize,
    /// Size of the buffer for the next read.
    step: usize,
}

impl Input {
    pub fn new() -> Self {
        Self {
            buffer: Vec::new(),
            start: 0,
            end: 0,
            step: FIRST,
        }
    }

    pub fn bytes(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.buffer[self.start..self.end]
    }

    pub fn consume(&mut self, count: usize) {
        self.start += count;
        debug_assert!(self.start <= self.end);
        if self.start >= self.end {
            (self.start, self.end) = (0, 0);
        }
    }

    /// Where to read into, with room for more of the frame at the front. `None` if that frame is too long to be seen whole.
    pub fn room(&mut self) -> Option<&mut [u8]> {
        let mut wanted = self.step;
        // A walker leaves more than a header in the buffer only if it needs the whole frame.
        if let Some(header) = self.bytes().first_chunk::<HEADER_LEN>()
            && self.bytes().len() > HEADER_LEN
        {
            let frame = HEADER_LEN + frame_payload_len(header);
            if frame > MAX_WHOLE_FRAME {
                return None;
            }
            wanted = wanted.max(frame);
        }
        Some(self.reserve(wanted))
    }

    /// Where to read into while a batch is being sent. `None` when enough has been read ahead.
    pub fn room_ahead(&mut self) -> Option<&mut [u8]> {
        let length = self.end - self.start;
        if length >= MAX_AHEAD {
            return None;
        }
        Some(self.reserve((2 * length).clamp(KEPT, MAX_AHEAD)))
    }

    /// Notes that `count` bytes were read into the room. The next read is larger if they filled it.
    pub fn note_read(&mut self, count: usize) {
        self.end += count;
        if self.end >= self.buffer.len() {
            self.step = (4 * self.step).min(LARGE);
        }
    }

    /// Gives a large buffer back at the end of a reply.
    pub fn settle(&mut self) {
        if self.step > KEPT || self.buffer.len() > KEPT {
            self.step = KEPT;
            if self.start == self.end {
                self.buffer = Vec::new();
            }
        }
    }

    /// Makes the buffer hold `wanted` bytes, or a few more than it has if it holds as many already.
    fn reserve(&mut self, wanted: usize) -> &mut [u8] {
        let length = self.end - self.start;
        let size = wanted.max(length + LEAST_READ);
        if self.start > 0 && self.buffer.len() - self.start < size {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, length);
        }
        if self.buffer.len() - self.start < size {
            if length == 0 {
                // Nothing to keep: no copy, and the old buffer goes first.
                self.buffer = Vec::new();
                self.buffer = vec![0; size];
            } else {
                self.buffer.resize(size, 0);
            }
        }
        &mut self.buffer[self.end..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(input: &mut Input, bytes: &[u8]) -> usize {
        let room = input.room().unwrap();
        let count = bytes.len().min(room.len());
        room[..count].copy_from_slice(&bytes[..count]);
        input.note_read(count);
        count
    }

    #[test]
    fn small_answers_use_the_same_small_buffer_for_ever() {
        let mut input = Input::new();
        for _ in 0..1000 {
            read(&mut input, &[7; 90]);
            assert_eq!(input.bytes(), [7; 90]);
            input.consume(80);
            input.consume(10);
            input.settle();
            assert_eq!(input.buffer.len(), FIRST);
        }
    }

    #[test]
    fn large_answers_grow_the_buffer_until_they_end() {
        let mut input = Input::new();
        let mut sizes = Vec::new();
        for _ in 0..5 {
            sizes.push(read(&mut input, &[7; 2 * LARGE]));
            input.consume(sizes[sizes.len() - 1]);
        }
        assert_eq!(sizes, [FIRST, KEPT, LARGE, LARGE, LARGE]);
        input.settle();
        assert!(input.buffer.is_empty());
        assert_eq!(read(&mut input, &[7; LARGE]), KEPT);
    }

    #[test]
    fn what_is_left_over_survives_growth_and_moving() {
        let mut input = Input::new();
        let bytes: Vec<u8> = (0..=255).collect();
        read(&mut input, &bytes);
        input.consume(250);
        for _ in 0..10 {
            let count = input.room_ahead().unwrap().len() / 2;
            assert_eq!(&input.bytes()[..6], &bytes[250..]);
            input.note_read(count);
        }
        assert_eq!(&input.bytes()[..6], &bytes[250..]);
    }

    #[test]
    fn a_frame_that_must_be_seen_whole_gets_room_up_to_a_bound() {
        let mut input = Input::new();
        read(&mut input, &[0, 0, 0x10, 1, 0xFF]);
        assert_eq!(input.room().unwrap().len() + 5, 0x10_0000 + HEADER_LEN);
        let mut input = Input::new();
        read(&mut input, &[0xFF, 0xFF, 0xFF, 1, 0xFF]);
        assert!(input.room().is_none());
        let mut input = Input::new();
        read(&mut input, &[0xFF, 0xFF, 0xFF, 1]);
        assert!(input.room().is_some(), "a header alone says nothing yet");
    }

    #[test]
    fn reading_ahead_ends_at_its_bound() {
        let mut input = Input::new();
        while let Some(room) = input.room_ahead() {
            let count = room.len();
            assert!(count > 0);
            input.note_read(count);
        }
        assert!((MAX_AHEAD..=MAX_AHEAD + LEAST_READ).contains(&input.bytes().len()));
    }
}
