//! Payloads come out of a stream of frames the same however it arrives in pieces, and payloads that are framed come out as they went in.

use bytes::BytesMut;
use grove_wire::WireError;
use grove_wire::packet::{Payload, PayloadReader, encode_frames};

const MAX_LEN: usize = 1 << 16;

/// Panics if it does not hold for this input: a byte with the length of the pieces, then the stream.
pub fn check(input: &[u8]) {
    let Some((&[piece], stream)) = input.split_first_chunk::<1>() else {
        return;
    };
    let whole = read(stream, stream.len().max(1));
    assert_eq!(read(stream, usize::from(piece).max(1)), whole);
    if let (payloads, None) = whole {
        let (mut framed, mut sequence) = (BytesMut::new(), 0);
        payloads
            .iter()
            .for_each(|payload| encode_frames(&payload.bytes, &mut sequence, &mut framed));
        assert!(
            stream.starts_with(&framed),
            "frames that were read are written otherwise"
        );
    }
}

/// The payloads of a stream that arrives in pieces, and what ended it.
fn read(stream: &[u8], piece: usize) -> (Vec<Payload>, Option<WireError>) {
    let (mut reader, mut buffer, mut payloads) = (PayloadReader::new(MAX_LEN), BytesMut::new(), Vec::new());
    for piece in stream.chunks(piece) {
        buffer.extend_from_slice(piece);
        loop {
            match reader.feed(&mut buffer) {
                Ok(Some(payload)) => payloads.push(payload),
                Ok(None) => break,
                Err(error) => return (payloads, Some(error)),
            }
        }
    }
    (payloads, None)
}
