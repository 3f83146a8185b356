//! Compressed packets: whatever comes, the answer is contents of the announced length or an error; and what is encoded decodes to itself.
//! The first byte of the input chooses the algorithm.

use grove_compression::{Algorithm, Decoder, Encoder, HEADER_LEN, Header, MAX_LEN};

/// Panics if it does not hold for this input.
pub fn check(input: &[u8]) {
    let Some((which, rest)) = input.split_first() else {
        return;
    };
    let algorithm = match which % 3 {
        0 => Algorithm::Zlib,
        1 => Algorithm::Zstd { level: 1 },
        _ => Algorithm::Zstd { level: 19 },
    };
    decode(algorithm, rest, &mut Vec::new());

    let (mut number, mut encoded, mut decoded) = (*which, Vec::new(), Vec::new());
    Encoder::new(algorithm).encode(rest, &mut number, &mut encoded);
    assert!(encoded.len() <= HEADER_LEN + rest.len());
    assert!(decode(algorithm, &encoded, &mut decoded));
    assert!(decoded == rest);
}

/// The packets at the front of `bytes`, up to the first that is cut or broken; whether all were fine.
fn decode(algorithm: Algorithm, mut bytes: &[u8], out: &mut Vec<u8>) -> bool {
    let mut decoder = Decoder::new(algorithm);
    while let Some((header, rest)) = bytes.split_first_chunk::<HEADER_LEN>() {
        let header = Header::parse(header);
        assert!(header.body_len <= MAX_LEN && header.contents_len <= MAX_LEN);
        let Some((body, rest)) = rest.split_at_checked(header.body_len) else {
            return false;
        };
        let before = out.len();
        let decoded = decoder.decode(header, body, out);
        if decoded.is_err() {
            assert_eq!(out.len(), before);
            return false;
        }
        let wanted = match header.contents_len {
            0 => header.body_len,
            length => length,
        };
        assert_eq!(out.len() - before, wanted);
        // Enough has been seen; a few packets would fill the memory.
        if out.len() > 2 * MAX_LEN {
            return true;
        }
        bytes = rest;
    }
    bytes.is_empty()
}
