//! The way of a reply from a leg to the client.
//!
//! The first 16 KiB are held back, so that a reply that broke off early can be asked for again elsewhere; after that, bytes go straight
//! through. A leg numbers its frames from the start of its own command, which is what the client expects too, unless the reply is one of
//! several to a text of several statements: then every frame is renumbered on the way.
//! Invariant: no allocation per row; frames are looked at only where something has to change in them.

use crate::error::LinkError;
use crate::link::Link;
use crate::spool::Spool;
use bytes::BytesMut;
use grove_engine::FilePart;
use grove_engine::io::{ClientReply, ReplySink};
use grove_wire::packet::{HEADER_LEN, frame_payload_len};
use grove_wire::{CapabilityFlags, ErrPacket, StatusFlags, column_count, patch_status};

/// Bytes that are held back at first, like a server's `net_buffer_length`.
const HOLD_LEN: usize = 16 << 10;

/// What follows a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Nothing: it is sent now.
    End,
    /// The reply to the next statement of the same command.
    MoreResults,
}

/// A reply on its way.
pub(crate) struct ReplyWriter<'a> {
    link: &'a mut Link,
    /// Where this reply begins in the outbox.
    start: usize,
    /// Whether bytes of this reply have been sent.
    is_flowing: bool,
    adapter: Adapter,
    /// What the client has sent so far of a file that it was asked for.
    spool: Spool,
}

impl<'a> ReplyWriter<'a> {
    /// A writer for the reply to the command that the link has received.
    pub fn new(link: &'a mut Link) -> Self {
        Self {
            start: link.outbox.len(),
            is_flowing: false,
            adapter: Adapter {
                sequence: link.sequence,
                numbering: Numbering::default(),
                statement_id: None,
            },
            spool: Spool::default(),
            link,
        }
    }

    /// Puts the client's statement id into the reply to a prepare.
    pub fn with_statement_id(mut self, id: u32) -> Self {
        self.adapter.statement_id = Some(id);
        self
    }

    /// Another reply follows, unless this one ends in an error: the EOF after the column definitions says so, if there is one.
    pub fn followed_by(mut self, next: Next) -> Self {
        if next == Next::MoreResults {
            self.change_early_eof(StatusFlags::MORE_RESULTS, StatusFlags(0));
        }
        self
    }

    /// Has the EOF after the column definitions, if there is one, say something else.
    fn change_early_eof(&mut self, set: StatusFlags, clear: StatusFlags) {
        if !self.link.capabilities.contains(CapabilityFlags::DEPRECATE_EOF) {
            let early_eof = &mut self.adapter.numbering.early_eof;
            early_eof.set.insert(set);
            early_eof.clear.insert(clear);
        }
    }

    /// Ends the reply with its last frame.
    pub async fn finish(&mut self, mut last_frame: BytesMut, next: Next) -> Result<(), LinkError> {
        if next == Next::MoreResults {
            let more = StatusFlags::MORE_RESULTS;
            patch_status(&mut last_frame, more, StatusFlags(0), self.link.capabilities);
        }
        self.adapter.adapt(&mut last_frame);
        if let Some(&number) = last_frame.get(3) {
            self.adapter.sequence = number.wrapping_add(1);
            self.link.sequence = self.adapter.sequence;
        }
        self.link.outbox.extend_from_slice(&last_frame);
        if next == Next::End || self.link.outbox.len() > HOLD_LEN {
            self.link.flush().await?;
        }
        self.start = self.link.outbox.len();
        self.is_flowing = false;
        self.adapter.numbering.begin_again();
        Ok(())
    }

    /// Ends the reply with an error of Grove's own; fails if part of the reply has been sent, after which no packet would be understood.
    pub async fn fail(&mut self, err: &ErrPacket) -> Result<(), LinkError> {
        if !self.start_over() {
            return Err(LinkError::Session("a reply broke off".into()));
        }
        self.link.send_err(err).await
    }

    async fn pass(&mut self, bytes: &[u8]) -> Result<(), LinkError> {
        let fits = !self.is_flowing && self.link.outbox.len() + bytes.len() <= HOLD_LEN;
        let as_it_is = self.adapter.numbering.changes_nothing();
        if !fits && !self.link.outbox.is_empty() {
            self.is_flowing = true;
            self.link.write_outbox().await?;
            self.start = 0;
        }
        if !fits && as_it_is {
            self.is_flowing = true;
            return self.link.write(bytes).await;
        }
        let at = self.link.outbox.len();
        self.link.outbox.extend_from_slice(bytes);
        if !as_it_is {
            self.adapter.adapt(&mut self.link.outbox[at..]);
        }
        if !fits {
            self.is_flowing = true;
            self.link.write_outbox().await?;
        }
        Ok(())
    }
}

impl ReplySink for ReplyWriter<'_> {
    async fn forward(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.pass(bytes).await.map_err(|error| error.to_string())
    }
}

impl ClientReply for ReplyWriter<'_> {
    fn start_over(&mut self) -> bool {
        if self.is_flowing {
            return false;
        }
        self.link.outbox.truncate(self.start);
        self.adapter.numbering.begin_again();
        true
    }

    fn hide_transaction(&mut self) {
        self.change_early_eof(StatusFlags(0), StatusFlags::IN_TRANS);
    }

    async fn request_file(&mut self, request: &[u8]) -> Result<(), String> {
        let mut frame = BytesMut::from(request);
        self.adapter.adapt(&mut frame);
        self.link.sequence = frame.get(3).map_or(0, |number| number.wrapping_add(1));
        self.link.outbox.extend_from_slice(&frame);
        self.link.flush().await.map_err(|error| error.to_string())?;
        self.start = 0;
        self.adapter.numbering.begin_again();
        Ok(())
    }

    async fn next_of_file(&mut self) -> Result<FilePart, String> {
        let piece = self.link.receive_more().await.map_err(|error| error.to_string())?;
        if piece.is_empty() {
            // The reply goes on with the number after the client's last.
            self.adapter.sequence = self.link.sequence;
            return Ok(FilePart::End(std::mem::take(&mut self.spool).finish()));
        }
        let kept = self.spool.append(&piece).await;
        kept.map_err(|error| format!("a client's file cannot be kept: {error}"))?;
        Ok(FilePart::Piece(piece))
    }
}

/// What the client must see differently.
struct Adapter {
    /// Number of the reply's first frame.
    sequence: u8,
    numbering: Numbering,
    /// The client's id of the statement that is being prepared.
    statement_id: Option<u32>,
}

impl Adapter {
    /// Changes bytes in place; the reply's first piece has its first frame whole.
    fn adapt(&mut self, bytes: &mut [u8]) {
        if self.numbering.shift.is_none()
            && let Some(&number) = bytes.get(3)
        {
            self.numbering.shift = Some(self.sequence.wrapping_sub(number));
            if let (Some(id), Some([0, old @ ..])) = (self.statement_id, bytes.get_mut(HEADER_LEN..HEADER_LEN + 5)) {
                old.copy_from_slice(&id.to_le_bytes());
            }
            if self.numbering.early_eof != EofChange::default() {
                self.numbering.frames_to_eof = column_count(&bytes[HEADER_LEN..]).map(|columns| columns + 1);
            }
        }
        self.numbering.apply(bytes);
    }
}

/// What an EOF says of the server's status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct EofChange {
    set: StatusFlags,
    clear: StatusFlags,
}

/// Renumbers frames in a stream of bytes that is cut anywhere.
#[derive(Debug, Default)]
struct Numbering {
    /// What is added to every number; unknown before the reply's first frame.
    shift: Option<u8>,
    /// What the EOF after the column definitions must say.
    early_eof: EofChange,
    /// Frames before that EOF. It comes whole, because the walker has to see it whole.
    frames_to_eof: Option<u64>,
    header: [u8; HEADER_LEN],
    header_len: usize,
    /// Bytes of the current frame's payload still to come.
    left: usize,
}

impl Numbering {
    /// Another reply of the same kind, or the same one once more.
    fn begin_again(&mut self) {
        *self = Self {
            early_eof: self.early_eof,
            ..Self::default()
        };
    }

    /// Whether frames can pass unseen.
    fn changes_nothing(&self) -> bool {
        self.shift == Some(0) && self.frames_to_eof.is_none()
    }

    fn apply(&mut self, bytes: &mut [u8]) {
        let shift = match self.shift {
            Some(shift) if !self.changes_nothing() => shift,
            _ => return,
        };
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
                bytes[at] = bytes[at].wrapping_add(shift);
                self.left = frame_payload_len(&self.header);
                self.header_len = 0;
                if self.frames_to_eof == Some(0)
                    && let Some([low, high]) = bytes.get_mut(at + 4..at + 6)
                {
                    let EofChange { set, clear } = self.early_eof;
                    let status = u16::from_le_bytes([*low, *high]);
                    [*low, *high] = ((status | set.0) & !clear.0).to_le_bytes();
                }
                self.frames_to_eof = self.frames_to_eof.and_then(|frames| frames.checked_sub(1));
            }
            at += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_renumbered_however_the_stream_is_cut() {
        let frames = [[1, 0, 0, 1, 7].as_slice(), &[0, 0, 0, 2], &[3, 0, 0, 255, 7, 7, 7]].concat();
        let expected = [[1, 0, 0, 6, 7].as_slice(), &[0, 0, 0, 7], &[3, 0, 0, 4, 7, 7, 7]].concat();
        for piece in 1..frames.len() {
            let mut numbering = Numbering {
                shift: Some(5),
                ..Numbering::default()
            };
            let mut changed = frames.clone();
            changed.chunks_mut(piece).for_each(|chunk| numbering.apply(chunk));
            assert_eq!(changed, expected, "pieces of {piece}");
        }
    }
}
