//! Bytes into compressed packets: at once, or, for a packet that is long, piece by piece, so that nothing waits for one long computation and
//! its contents need not be kept. Pure: no I/O.

use crate::Algorithm;
use crate::header::{HEADER_LEN, Header, MAX_LEN, MIN_COMPRESSED_LEN};
use flate2::{Compress, Compression, FlushCompress, Status};
use std::io;
use zstd::bulk::Compressor;

/// The most that a long packet holds, in bytes: what zlib cannot make shorter becomes longer by 5 bytes for every 16 KiB, and must fit too.
pub const LONG_LEN: usize = MAX_LEN - (64 << 10);
/// Room for what comes out of zlib at a time.
const LONG_STEP: usize = 16 << 10;

/// Compresses for one connection. What the algorithm needs, up to 300 KiB, is made at the first packet and kept until [`Self::rest`].
pub struct Encoder {
    algorithm: Algorithm,
    state: State,
}

/// A packet that is compressed piece by piece.
pub struct LongPacket {
    /// Its header, which is written at the end, and its body so far.
    bytes: Vec<u8>,
    contents_len: usize,
}

impl LongPacket {
    /// Bytes that it holds so far, before compression.
    pub fn contents_len(&self) -> usize {
        self.contents_len
    }
}

enum State {
    Resting,
    Zlib(Box<Compress>),
    Zstd(Compressor<'static>),
}

impl Encoder {
    /// An encoder that holds nothing yet.
    pub fn new(algorithm: Algorithm) -> Self {
        Self {
            algorithm,
            state: State::Resting,
        }
    }

    /// Appends `contents` to `out` as compressed packets, one for each [`MAX_LEN`] bytes, numbered from `number` on, which then is the
    /// next one's. Contents that are short, or do not become shorter, travel as they are.
    pub fn encode(&mut self, contents: &[u8], number: &mut u8, out: &mut Vec<u8>) {
        for contents in contents.chunks(MAX_LEN) {
            let start = out.len();
            // One byte less than the contents: what is not shorter does not fit.
            out.resize(start + HEADER_LEN + contents.len().saturating_sub(1), 0);
            let compressed = match contents.len() {
                0..MIN_COMPRESSED_LEN => None,
                _ => self.compress(contents, &mut out[start + HEADER_LEN..]),
            };
            let header = match compressed {
                Some(body_len) => {
                    out.truncate(start + HEADER_LEN + body_len);
                    Header {
                        body_len,
                        number: *number,
                        contents_len: contents.len(),
                    }
                }
                None => {
                    out.truncate(start + HEADER_LEN);
                    out.extend_from_slice(contents);
                    Header {
                        body_len: contents.len(),
                        number: *number,
                        contents_len: 0,
                    }
                }
            };
            out[start..start + HEADER_LEN].copy_from_slice(&header.encode());
            *number = number.wrapping_add(1);
        }
    }

    /// Begins a packet that is compressed piece by piece; nothing if the algorithm is not made for that. Until it is finished, nothing else
    /// may be encoded.
    pub fn begin_long(&mut self) -> Option<LongPacket> {
        if self.algorithm != Algorithm::Zlib {
            return None;
        }
        self.zlib()?.reset();
        Some(LongPacket {
            bytes: vec![0; HEADER_LEN],
            contents_len: 0,
        })
    }

    /// Adds contents to a long packet, which must not have more than [`LONG_LEN`] then.
    pub fn add(&mut self, contents: &[u8], packet: &mut LongPacket) -> io::Result<()> {
        packet.contents_len += contents.len();
        debug_assert!(packet.contents_len <= LONG_LEN);
        self.flow(contents, FlushCompress::None, packet)
    }

    /// Ends a long packet; gives its bytes.
    pub fn finish(&mut self, mut packet: LongPacket, number: &mut u8) -> io::Result<Vec<u8>> {
        self.flow(&[], FlushCompress::Finish, &mut packet)?;
        let header = Header {
            body_len: packet.bytes.len() - HEADER_LEN,
            number: *number,
            contents_len: packet.contents_len,
        };
        packet.bytes[..HEADER_LEN].copy_from_slice(&header.encode());
        *number = number.wrapping_add(1);
        Ok(packet.bytes)
    }

    /// Passes contents through zlib until all are taken, or, at the end, until all is out.
    fn flow(&mut self, mut contents: &[u8], flush: FlushCompress, packet: &mut LongPacket) -> io::Result<()> {
        let broken = || io::Error::other("zlib cannot compress");
        let compress = self.zlib().ok_or_else(broken)?;
        loop {
            packet.bytes.reserve(LONG_STEP);
            let before = compress.total_in();
            let status = compress
                .compress_vec(contents, &mut packet.bytes, flush)
                .map_err(|_| broken())?;
            let taken = usize::try_from(compress.total_in() - before).map_err(|_| broken())?;
            contents = contents.get(taken..).unwrap_or_default();
            let is_done = match flush {
                FlushCompress::Finish => status == Status::StreamEnd,
                _ => contents.is_empty(),
            };
            if is_done {
                return Ok(());
            }
        }
    }

    /// The state of zlib, made if need be.
    fn zlib(&mut self) -> Option<&mut Compress> {
        if !matches!(self.state, State::Zlib(_)) {
            let level = Compression::new(u32::from(self.algorithm.level()));
            self.state = State::Zlib(Box::new(Compress::new(level, true)));
        }
        match &mut self.state {
            State::Zlib(compress) => Some(compress),
            _ => None,
        }
    }

    /// Gives the algorithm's memory back until the next packet.
    pub fn rest(&mut self) {
        self.state = State::Resting;
    }

    /// Length of what was written, or nothing if it does not fit or the library has no memory.
    fn compress(&mut self, contents: &[u8], out: &mut [u8]) -> Option<usize> {
        match self.algorithm {
            Algorithm::Zlib => {
                let compress = self.zlib()?;
                compress.reset();
                let status = compress.compress(contents, out, FlushCompress::Finish);
                let is_whole = matches!(status, Ok(Status::StreamEnd));
                is_whole.then(|| usize::try_from(compress.total_out()).ok()).flatten()
            }
            Algorithm::Zstd { level } => {
                if !matches!(self.state, State::Zstd(_)) {
                    self.state = State::Zstd(Compressor::new(i32::from(level)).ok()?);
                }
                let State::Zstd(compressor) = &mut self.state else {
                    return None;
                };
                compressor.compress_to_buffer(contents, out).ok()
            }
        }
    }
}
