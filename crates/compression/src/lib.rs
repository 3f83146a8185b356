//! The compressed protocol: after the login, the packets of both sides travel inside compressed packets of zlib or zstd.
//!
//! Sources: MySQL Internals "Compression", MariaDB's "0-packet", and `net_serv.cc` of MySQL 9.7 for the numbers. A compressed packet knows
//! nothing of the packets inside it: it may hold several, or part of one. Its header has a number of its own, which begins at 0 with each
//! command; the numbers of the packets inside are not looked at by servers then, nor by most clients. [`Encoder`] and [`Decoder`] are pure; [`Compressed`] is the
//! stream over a stream that both sides of Grove use. Invariants: no peer makes more than one packet of 2^24-1 bytes be held in each form; what
//! does not decompress to exactly the announced length is an error. Deliberately absent: any idea of commands, results and rows.

#![forbid(unsafe_code)]

mod algorithm;
mod decoder;
mod encoder;
mod header;
mod stream;

pub use algorithm::{Algorithm, DEFAULT_ZSTD_LEVEL};
pub use decoder::Decoder;
pub use encoder::{Encoder, LONG_LEN, LongPacket};
pub use header::{HEADER_LEN, Header, MAX_LEN, MIN_COMPRESSED_LEN};
pub use stream::{Compressed, Side};
