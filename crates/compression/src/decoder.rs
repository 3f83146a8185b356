//! Compressed packets into bytes. Pure: no I/O.
//!
//! Invariants: a packet is decompressed only when it is there as a whole, into exactly the announced room; whatever a peer sends, the
//! answer is its contents or an error.

use crate::Algorithm;
use crate::header::Header;
use flate2::{Decompress, FlushDecompress, Status};
use grove_wire::WireError;
use zstd::bulk::Decompressor;

/// Decompresses for one connection. What the algorithm needs, up to 160 KiB, is made at the first packet and kept until [`Self::rest`].
pub struct Decoder {
    algorithm: Algorithm,
    state: State,
}

enum State {
    Resting,
    Zlib(Box<Decompress>),
    Zstd(Decompressor<'static>),
}

impl Decoder {
    /// A decoder that holds nothing yet.
    pub fn new(algorithm: Algorithm) -> Self {
        Self {
            algorithm,
            state: State::Resting,
        }
    }

    /// Appends the contents of a packet to `out`. `body` must be all of it, without its header. After an error `out` is as before.
    pub fn decode(&mut self, header: Header, body: &[u8], out: &mut Vec<u8>) -> Result<(), WireError> {
        debug_assert_eq!(header.body_len, body.len());
        if header.contents_len == 0 {
            out.extend_from_slice(body);
            return Ok(());
        }
        let start = out.len();
        out.resize(start + header.contents_len, 0);
        let decompressed = self.decompress(body, &mut out[start..]);
        if decompressed.is_err() {
            out.truncate(start);
        }
        decompressed
    }

    /// Gives the algorithm's memory back until the next packet.
    pub fn rest(&mut self) {
        self.state = State::Resting;
    }

    /// Fills `out`, no more and no less, from all of `body`.
    fn decompress(&mut self, body: &[u8], out: &mut [u8]) -> Result<(), WireError> {
        let broken = WireError::Uncompress("cannot be decompressed");
        let wanted = out.len();
        let written = match self.algorithm {
            Algorithm::Zlib => {
                if !matches!(self.state, State::Zlib(_)) {
                    self.state = State::Zlib(Box::new(Decompress::new(true)));
                }
                let State::Zlib(decompress) = &mut self.state else {
                    return Err(broken);
                };
                decompress.reset(true);
                match decompress.decompress(body, out, FlushDecompress::Finish) {
                    Ok(Status::StreamEnd) if decompress.total_in() == body.len() as u64 => {
                        usize::try_from(decompress.total_out()).ok()
                    }
                    _ => None,
                }
            }
            Algorithm::Zstd { .. } => {
                if !matches!(self.state, State::Zstd(_)) {
                    self.state = State::Zstd(Decompressor::new().map_err(|_| broken.clone())?);
                }
                let State::Zstd(decompressor) = &mut self.state else {
                    return Err(broken);
                };
                decompressor.decompress_to_buffer(body, out).ok()
            }
        };
        match written {
            Some(written) if written == wanted => Ok(()),
            Some(_) => Err(WireError::Uncompress("has other contents than it announces")),
            None => Err(broken),
        }
    }
}
