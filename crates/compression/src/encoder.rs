//! Bytes into compressed packets. Pure: no I/O.

use crate::Algorithm;
use crate::header::{HEADER_LEN, Header, MAX_LEN, MIN_COMPRESSED_LEN};
use flate2::{Compress, Compression, FlushCompress, Status};
use zstd::bulk::Compressor;

/// Compresses for one connection. What the algorithm needs, up to 300 KiB, is made at the first packet and kept until [`Self::rest`].
pub struct Encoder {
    algorithm: Algorithm,
    state: State,
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

    /// Gives the algorithm's memory back until the next packet.
    pub fn rest(&mut self) {
        self.state = State::Resting;
    }

    /// Length of what was written, or nothing if it does not fit or the library has no memory.
    fn compress(&mut self, contents: &[u8], out: &mut [u8]) -> Option<usize> {
        match self.algorithm {
            Algorithm::Zlib => {
                if !matches!(self.state, State::Zlib(_)) {
                    let level = Compression::new(u32::from(self.algorithm.level()));
                    self.state = State::Zlib(Box::new(Compress::new(level, true)));
                }
                let State::Zlib(compress) = &mut self.state else {
                    return None;
                };
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
