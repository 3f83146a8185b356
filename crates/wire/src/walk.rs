//! Walks the bytes of one reply from header to header without decoding rows, and finds its last frame.
//!
//! Invariants: fed in any pieces, the walker gives the same result; it keeps no row; a frame is looked at whole only where it can end a result
//! or say how a result goes on, and those are bounded. The last frame of a reply is left to the caller.

use crate::packet::{HEADER_LEN, MAX_PAYLOAD_LEN, frame_payload_len};
use crate::read::Reader;
use crate::{CapabilityFlags, EofPacket, ErrPacket, OkPacket, StatusFlags, WireError};
use bytes::Bytes;
use smallvec::SmallVec;

/// What kind of reply a command has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplyShape {
    /// COM_QUERY and COM_STMT_EXECUTE: results until one has no MORE_RESULTS.
    Query,
    /// One OK or ERR packet.
    SingleOk,
    /// COM_STMT_PREPARE.
    Prepare,
    /// COM_FIELD_LIST: column definitions until EOF.
    FieldList,
    /// One packet of any content (COM_STATISTICS).
    SinglePacket,
    /// COM_STMT_FETCH: rows until EOF.
    Fetch,
}

/// Progress over a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Walk {
    /// Bytes at the front of the buffer that belong to the reply before its last frame; the caller consumes them now.
    pub forward: usize,
    /// Whether the reply's last frame follows whole.
    pub done: bool,
    /// Length of that last frame with its header, when done.
    pub last_len: usize,
}

/// How one result ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResultEnd {
    /// OK.
    Ok(OkPacket),
    /// ERR.
    Err(ErrPacket),
    /// Rows.
    Rows {
        /// Number of rows.
        rows: u64,
        /// Number of columns.
        columns: u64,
        /// Number of warnings.
        warnings: u16,
        /// Status at the end.
        status: StatusFlags,
        /// Session-track block; empty if none.
        session_state: Bytes,
    },
    /// A statement was prepared.
    Prepared {
        /// The server's id.
        statement_id: u32,
        /// Result columns.
        columns: u16,
        /// Parameters.
        params: u16,
        /// Number of warnings.
        warnings: u16,
    },
    /// The server asks for a file of the client.
    LocalInfile,
    /// A packet without structure.
    Packet,
}

/// What a reply said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// One per result.
    pub results: SmallVec<[ResultEnd; 1]>,
    /// Rows of all results.
    pub rows: u64,
}

impl Reply {
    /// The error that ended the reply.
    pub fn err(&self) -> Option<&ErrPacket> {
        match self.results.last() {
            Some(ResultEnd::Err(err)) => Some(err),
            _ => None,
        }
    }

    /// The OK packet that ended the reply.
    pub fn ok(&self) -> Option<&OkPacket> {
        match self.results.last() {
            Some(ResultEnd::Ok(ok)) => Some(ok),
            _ => None,
        }
    }

    /// The last result.
    pub fn last(&self) -> &ResultEnd {
        self.results.last().unwrap_or(&ResultEnd::Packet)
    }

    /// Server status at the end; an ERR packet has none.
    pub fn status(&self) -> Option<StatusFlags> {
        match self.results.last()? {
            ResultEnd::Ok(ok) => Some(ok.status),
            ResultEnd::Rows { status, .. } => Some(*status),
            _ => None,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The first frame of a result.
    Head,
    /// Column definitions still to come; then, without DEPRECATE_EOF, an EOF.
    Columns(u64),
    ColumnsEof,
    Rows,
    /// Definitions still to come after a prepare's head: parameters, then columns, each with an EOF if any.
    Definitions {
        frames: u64,
    },
    Done,
}

/// The walker.
#[derive(Clone, Debug)]
pub struct ReplyWalker {
    shape: ReplyShape,
    deprecate_eof: bool,
    capabilities: CapabilityFlags,
    state: State,
    /// Bytes of a frame's payload that are still to be passed over.
    skip: usize,
    /// The next frame continues a payload of 2^24-1 bytes.
    continues: bool,
    columns: u64,
    rows_of_result: u64,
    results: SmallVec<[ResultEnd; 1]>,
    rows: u64,
}

impl ReplyWalker {
    /// A walker at the start of a reply.
    pub fn new(shape: ReplyShape, capabilities: CapabilityFlags) -> Self {
        let state = match shape {
            ReplyShape::FieldList | ReplyShape::Fetch => State::Rows,
            _ => State::Head,
        };
        Self {
            shape,
            deprecate_eof: capabilities.contains(CapabilityFlags::DEPRECATE_EOF),
            capabilities,
            state,
            skip: 0,
            continues: false,
            columns: 0,
            rows_of_result: 0,
            results: SmallVec::new(),
            rows: 0,
        }
    }

    /// Looks at `buffer`, which begins where the last call's `forward` ended.
    pub fn walk(&mut self, buffer: &[u8]) -> Result<Walk, WireError> {
        let mut at = 0;
        loop {
            if self.skip > 0 {
                let step = self.skip.min(buffer.len() - at);
                self.skip -= step;
                at += step;
                if self.skip > 0 {
                    return Ok(Walk {
                        forward: at,
                        done: false,
                        last_len: 0,
                    });
                }
            }
            let Some(header) = buffer[at..].first_chunk::<HEADER_LEN>() else {
                return Ok(Walk {
                    forward: at,
                    done: false,
                    last_len: 0,
                });
            };
            let length = frame_payload_len(header);
            let body = &buffer[at + HEADER_LEN..];
            if self.continues {
                self.continues = length == MAX_PAYLOAD_LEN;
                at += HEADER_LEN;
                self.skip = length;
                continue;
            }
            let must_see_whole = match self.state {
                State::Head => true,
                State::Rows | State::Columns(_) | State::ColumnsEof | State::Definitions { .. } => match body.first() {
                    // What follows in the buffer belongs to another frame.
                    _ if length == 0 => matches!(self.state, State::Definitions { .. } | State::ColumnsEof),
                    Some(first) => self.may_end(*first, length),
                    None => {
                        return Ok(Walk {
                            forward: at,
                            done: false,
                            last_len: 0,
                        });
                    }
                },
                State::Done => return Err(WireError::Malformed("bytes after the end of a reply")),
            };
            if must_see_whole && body.len() < length {
                return Ok(Walk {
                    forward: at,
                    done: false,
                    last_len: 0,
                });
            }
            let ended = if must_see_whole {
                self.see(&body[..length])?
            } else {
                self.pass()
            };
            if ended {
                self.state = State::Done;
                // A prepare's last definition may not be in the buffer yet.
                if body.len() < length {
                    return Err(WireError::Malformed("a definition is longer than the buffer"));
                }
                return Ok(Walk {
                    forward: at,
                    done: true,
                    last_len: HEADER_LEN + length,
                });
            }
            self.continues = length == MAX_PAYLOAD_LEN;
            at += HEADER_LEN;
            self.skip = length;
        }
    }

    /// What the reply said; meaningful once the walk is done.
    pub fn finish(self) -> Reply {
        Reply {
            results: self.results,
            rows: self.rows,
        }
    }

    fn may_end(&self, first: u8, length: usize) -> bool {
        match self.state {
            // 0xFE begins a row only if its first column has 2^24 bytes or more, and then the frame is full.
            State::Rows => first == 0xFF || (first == 0xFE && length < MAX_PAYLOAD_LEN),
            // Definitions are small, and the last of them must be given to the caller whole.
            State::Definitions { .. } | State::ColumnsEof => true,
            _ => first == 0xFF,
        }
    }

    /// A frame that cannot end anything.
    fn pass(&mut self) -> bool {
        match self.state {
            State::Columns(1) => {
                self.state = if self.deprecate_eof {
                    State::Rows
                } else {
                    State::ColumnsEof
                };
            }
            State::Columns(left) => self.state = State::Columns(left - 1),
            State::Rows => {
                self.rows += 1;
                self.rows_of_result += 1;
            }
            _ => {}
        }
        false
    }

    /// A frame that may end a result. True if it ends the reply.
    fn see(&mut self, payload: &[u8]) -> Result<bool, WireError> {
        if payload.first() == Some(&0xFF) && self.shape != ReplyShape::SinglePacket {
            self.results
                .push(ResultEnd::Err(ErrPacket::parse(payload, self.capabilities)?));
            return Ok(true);
        }
        match self.state {
            State::Head => self.see_head(payload),
            State::ColumnsEof => {
                let eof = EofPacket::parse(payload)?;
                if eof.status.contains(StatusFlags::CURSOR_EXISTS) {
                    return Ok(self.end_rows(eof.warnings, eof.status, Bytes::new()));
                }
                self.state = State::Rows;
                Ok(false)
            }
            State::Rows => {
                let ok = self.parse_end(payload)?;
                Ok(self.end_rows(ok.warnings, ok.status, ok.session_state))
            }
            State::Definitions { frames: 1 } => Ok(true),
            State::Definitions { frames } => {
                self.state = State::Definitions { frames: frames - 1 };
                Ok(false)
            }
            State::Columns(_) | State::Done => Ok(self.pass()),
        }
    }

    /// The packet after the last row: EOF, or OK with EOF's header.
    fn parse_end(&self, payload: &[u8]) -> Result<OkPacket, WireError> {
        if self.deprecate_eof && self.shape != ReplyShape::FieldList || payload.len() > 5 {
            return OkPacket::parse(payload, self.capabilities);
        }
        let eof = EofPacket::parse(payload)?;
        Ok(OkPacket {
            status: eof.status,
            warnings: eof.warnings,
            ..OkPacket::default()
        })
    }

    fn end_rows(&mut self, warnings: u16, status: StatusFlags, session_state: Bytes) -> bool {
        let (rows, columns) = (std::mem::take(&mut self.rows_of_result), self.columns);
        self.results.push(ResultEnd::Rows {
            rows,
            columns,
            warnings,
            status,
            session_state,
        });
        self.state = State::Head;
        self.shape != ReplyShape::Query || !status.contains(StatusFlags::MORE_RESULTS)
    }

    fn see_head(&mut self, payload: &[u8]) -> Result<bool, WireError> {
        match self.shape {
            ReplyShape::SinglePacket => {
                self.results.push(ResultEnd::Packet);
                Ok(true)
            }
            ReplyShape::Prepare => self.see_prepared(payload),
            _ => match payload.first() {
                Some(0x00) => {
                    let ok = OkPacket::parse(payload, self.capabilities)?;
                    let more = ok.status.contains(StatusFlags::MORE_RESULTS) && self.shape == ReplyShape::Query;
                    self.results.push(ResultEnd::Ok(ok));
                    Ok(!more)
                }
                // The servers answer COM_SET_OPTION as if rows ended. A number of columns in eight bytes is longer.
                Some(0xFE) if payload.len() < 9 => {
                    let ok = self.parse_end(payload)?;
                    self.results.push(ResultEnd::Ok(ok));
                    Ok(true)
                }
                Some(0xFB) => {
                    self.results.push(ResultEnd::LocalInfile);
                    Ok(true)
                }
                Some(_) if self.shape == ReplyShape::Query => {
                    self.columns = Reader::new(payload).lenenc_int("column count")?;
                    if self.columns == 0 {
                        return Err(WireError::Malformed("a result set without columns"));
                    }
                    self.state = State::Columns(self.columns);
                    Ok(false)
                }
                _ => Err(WireError::Malformed("a reply begins with an unknown byte")),
            },
        }
    }

    fn see_prepared(&mut self, payload: &[u8]) -> Result<bool, WireError> {
        let mut reader = Reader::new(payload);
        if reader.u8("prepare header")? != 0 {
            return Err(WireError::Malformed("a prepare reply begins with 0x00"));
        }
        let statement_id = reader.u32("statement id")?;
        let (columns, params) = (reader.u16("columns")?, reader.u16("parameters")?);
        reader.u8("filler")?;
        let warnings = if reader.is_empty() { 0 } else { reader.u16("warnings")? };
        self.results.push(ResultEnd::Prepared {
            statement_id,
            columns,
            params,
            warnings,
        });
        let eofs = u64::from(!self.deprecate_eof) * (u64::from(columns > 0) + u64::from(params > 0));
        let frames = u64::from(columns) + u64::from(params) + eofs;
        self.state = State::Definitions { frames };
        Ok(frames == 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(sequence: u8, payload: &[u8]) -> Vec<u8> {
        let mut out = (payload.len() as u32).to_le_bytes()[..3].to_vec();
        out.push(sequence);
        out.extend_from_slice(payload);
        out
    }

    fn walk_in_pieces(bytes: &[u8], piece: usize, shape: ReplyShape, caps: CapabilityFlags) -> (usize, Vec<u8>, Reply) {
        let mut walker = ReplyWalker::new(shape, caps);
        let (mut buffer, mut fed, mut forwarded) = (Vec::new(), 0, 0);
        loop {
            let step = walker.walk(&buffer).unwrap();
            forwarded += step.forward;
            buffer.drain(..step.forward);
            if step.done {
                return (forwarded, buffer[..step.last_len].to_vec(), walker.finish());
            }
            assert!(fed < bytes.len(), "the walker wants more than there is");
            let next = (fed + piece).min(bytes.len());
            buffer.extend_from_slice(&bytes[fed..next]);
            fed = next;
        }
    }

    fn check(bytes: &[u8], last_len: usize, shape: ReplyShape, caps: CapabilityFlags) -> Reply {
        let whole = walk_in_pieces(bytes, bytes.len(), shape, caps);
        assert_eq!(whole.0 + last_len, bytes.len());
        assert_eq!(whole.1.len(), last_len);
        for piece in [1, 3, 7, 64] {
            assert_eq!(walk_in_pieces(bytes, piece, shape, caps), whole, "pieces of {piece}");
        }
        whole.2
    }

    fn rows_with_old_eof(status: u8) -> Vec<u8> {
        [
            frame(1, &[1]),
            frame(2, b"\x03def"),
            frame(3, &[0xFE, 0, 0, 2, 0]),
            frame(4, b"\x01a"),
            frame(5, b"\xFB"),
            frame(6, &[0xFE, 1, 0, status, 0]),
        ]
        .concat()
    }

    #[test]
    fn rows_end_with_eof_or_ok() {
        let old = check(&rows_with_old_eof(2), 9, ReplyShape::Query, CapabilityFlags(0));
        assert_eq!(old.rows, 2);
        let new = [
            frame(1, &[1]),
            frame(2, b"\x03def"),
            frame(3, b"\x01a"),
            frame(4, &[0xFE, 0, 0, 2, 0, 0, 0]),
        ]
        .concat();
        assert_eq!(
            check(&new, 11, ReplyShape::Query, CapabilityFlags::DEPRECATE_EOF).rows,
            1
        );
    }

    #[test]
    fn several_results_and_an_error_in_the_middle() {
        let ok = frame(7, &[0, 1, 0, 2, 0, 0, 0]);
        let both = [rows_with_old_eof(8), ok.clone()].concat();
        let reply = check(&both, ok.len(), ReplyShape::Query, CapabilityFlags(0));
        assert_eq!(reply.results.len(), 2);
        let mut broken = rows_with_old_eof(2);
        broken.truncate(broken.len() - 9);
        let err = frame(6, b"\xFF\x25\x05#HY000gone");
        broken.extend(&err);
        let reply = check(&broken, err.len(), ReplyShape::Query, CapabilityFlags(0));
        assert_eq!(reply.err().map(|e| e.code), Some(1317));
    }

    #[test]
    fn prepare_ends_with_its_last_definition() {
        let head = frame(1, &[0, 9, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0]);
        let eof = |s| frame(s, &[0xFE, 0, 0, 2, 0]);
        let old = [head.clone(), frame(2, b"\x03def"), eof(3), frame(4, b"\x03def"), eof(5)].concat();
        check(&old, 9, ReplyShape::Prepare, CapabilityFlags(0));
        let new = [head, frame(2, b"\x03def"), frame(3, b"\x03def")].concat();
        check(&new, 8, ReplyShape::Prepare, CapabilityFlags::DEPRECATE_EOF);
    }

    #[test]
    fn rows_longer_than_a_frame_are_one_row_and_not_an_end() {
        let mut bytes = [frame(1, &[1]), frame(2, b"\x03def")].concat();
        let mut big = vec![0u8; MAX_PAYLOAD_LEN];
        big[0] = 0xFE;
        bytes.extend(frame(3, &big));
        bytes.extend(frame(4, &[0xFE, 0xFF, 1]));
        bytes.extend(frame(5, &[0xFE, 0, 0, 2, 0, 0, 0]));
        let caps = CapabilityFlags::DEPRECATE_EOF;
        let (_, last, reply) = walk_in_pieces(&bytes, 65_536, ReplyShape::Query, caps);
        assert_eq!((reply.rows, last.len()), (1, 11));
    }

    proptest::proptest! {
        #[test]
        fn hostile_bytes_never_panic(bytes in proptest::collection::vec(0u8.., 0..300), shape in 0usize..6, eof in 0u8..2) {
            let shapes = [ReplyShape::Query, ReplyShape::SingleOk, ReplyShape::Prepare, ReplyShape::FieldList,
                ReplyShape::SinglePacket, ReplyShape::Fetch];
            let caps = if eof == 0 { CapabilityFlags(0) } else { CapabilityFlags::DEPRECATE_EOF };
            let mut walker = ReplyWalker::new(shapes[shape], caps);
            if let Ok(walk) = walker.walk(&bytes) {
                proptest::prop_assert!(walk.forward + walk.last_len <= bytes.len());
            }
        }
    }
}
