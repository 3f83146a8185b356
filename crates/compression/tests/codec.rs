//! The codec: what goes in comes out, whatever its length and however it is cut, and hostile bytes are errors.

use grove_compression::{Algorithm, Decoder, Encoder, HEADER_LEN, Header, MAX_LEN, MIN_COMPRESSED_LEN};
use grove_wire::WireError;
use proptest::prelude::*;

const ALGORITHMS: [Algorithm; 4] = [
    Algorithm::Zlib,
    Algorithm::Zstd { level: 1 },
    Algorithm::Zstd { level: 3 },
    Algorithm::Zstd { level: 22 },
];

fn encoded(algorithm: Algorithm, contents: &[u8]) -> Vec<u8> {
    let (mut out, mut number) = (Vec::new(), 0);
    Encoder::new(algorithm).encode(contents, &mut number, &mut out);
    out
}

/// Every packet's header and body.
fn packets(mut bytes: &[u8]) -> Vec<(Header, &[u8])> {
    let mut packets = Vec::new();
    while let Some((header, rest)) = bytes.split_first_chunk::<HEADER_LEN>() {
        let header = Header::parse(header);
        let (body, rest) = rest.split_at(header.body_len);
        packets.push((header, body));
        bytes = rest;
    }
    assert!(bytes.is_empty());
    packets
}

fn decoded(algorithm: Algorithm, bytes: &[u8]) -> Result<Vec<u8>, WireError> {
    let (mut decoder, mut out) = (Decoder::new(algorithm), Vec::new());
    for (header, body) in packets(bytes) {
        decoder.decode(header, body, &mut out)?;
    }
    Ok(out)
}

/// Bytes that nothing makes shorter.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..length).map(|_| next()).collect()
}

#[test]
fn contents_around_every_limit_survive() {
    let lengths = [0, 1, MAX_LEN - 1, MAX_LEN, MAX_LEN + 1, 2 * MAX_LEN];
    let contents = lengths
        .map(|length| vec![7; length])
        .into_iter()
        .chain([noise(MAX_LEN + 1)]);
    for contents in contents {
        for algorithm in [Algorithm::Zlib, Algorithm::Zstd { level: 1 }] {
            let bytes = encoded(algorithm, &contents);
            let packets = packets(&bytes);
            let length = contents.len();
            assert_eq!(packets.len(), length.div_ceil(MAX_LEN), "{algorithm:?}, {length}");
            for (index, (header, _)) in packets.iter().enumerate() {
                assert_eq!(usize::from(header.number), index);
            }
            assert!(
                decoded(algorithm, &bytes).unwrap() == contents,
                "{algorithm:?}, {length}"
            );
        }
    }
}

#[test]
fn what_does_not_become_shorter_travels_as_it_is() {
    for algorithm in ALGORITHMS {
        for contents in [
            vec![7; MIN_COMPRESSED_LEN - 1],
            noise(MIN_COMPRESSED_LEN),
            noise(100_000),
        ] {
            let bytes = encoded(algorithm, &contents);
            let [(header, body)] = packets(&bytes)[..] else {
                panic!("one packet");
            };
            assert_eq!(header.contents_len, 0);
            assert!(body == contents);
        }
        let bytes = encoded(algorithm, &[7; MIN_COMPRESSED_LEN]);
        assert_eq!(packets(&bytes)[0].0.contents_len, MIN_COMPRESSED_LEN);
        assert!(bytes.len() < HEADER_LEN + MIN_COMPRESSED_LEN);
    }
}

#[test]
fn numbers_go_on_past_255() {
    let (mut encoder, mut number, mut out) = (Encoder::new(Algorithm::Zlib), 254, Vec::new());
    for _ in 0..3 {
        encoder.encode(b"x", &mut number, &mut out);
    }
    let numbers: Vec<u8> = packets(&out).iter().map(|(header, _)| header.number).collect();
    assert_eq!((numbers, number), (vec![254, 255, 0], 1));
}

#[test]
fn other_contents_than_announced_are_an_error() {
    for algorithm in ALGORITHMS {
        let bytes = encoded(algorithm, &[7; 1000]);
        let (header, body) = packets(&bytes)[0];
        for contents_len in [1, 50, 999, 1001, MAX_LEN] {
            let lying = Header { contents_len, ..header };
            let mut out = b"before".to_vec();
            let error = Decoder::new(algorithm).decode(lying, body, &mut out).unwrap_err();
            assert!(
                matches!(error, WireError::Uncompress(_)),
                "{algorithm:?}, {contents_len}"
            );
            assert_eq!(out, b"before");
        }
    }
}

#[test]
fn a_body_cut_anywhere_or_with_more_behind_it_is_an_error() {
    for algorithm in ALGORITHMS {
        let contents: Vec<u8> = (0..2000_u32).map(|index| (index / 3 % 251) as u8).collect();
        let bytes = encoded(algorithm, &contents);
        let (header, body) = packets(&bytes)[0];
        assert_eq!(header.contents_len, contents.len());
        let mut decoder = Decoder::new(algorithm);
        let mut decode = |body: &[u8]| {
            let header = Header {
                body_len: body.len(),
                ..header
            };
            let mut out = Vec::new();
            decoder.decode(header, body, &mut out).map(|()| out)
        };
        for end in 0..body.len() {
            assert!(decode(&body[..end]).is_err(), "{algorithm:?}, {end}");
        }
        assert!(decode(&[body, b"x"].concat()).is_err());
        // What was broken leaves nothing behind.
        assert!(decode(body).unwrap() == contents);
    }
}

#[test]
fn the_other_algorithms_packets_are_an_error() {
    let zlib = encoded(Algorithm::Zlib, &[7; 1000]);
    let zstd = encoded(Algorithm::Zstd { level: 3 }, &[7; 1000]);
    assert!(decoded(Algorithm::Zlib, &zstd).is_err());
    assert!(decoded(Algorithm::Zstd { level: 3 }, &zlib).is_err());
}

proptest! {
    #[test]
    fn any_contents_survive_in_any_pieces(
        contents in proptest::collection::vec(0_u8..4, 0..5000),
        cuts in proptest::collection::vec(0_usize..5000, 0..5),
        which in 0..ALGORITHMS.len(),
    ) {
        let algorithm = ALGORITHMS[which];
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(contents.len())).chain([0, contents.len()]).collect();
        cuts.sort_unstable();
        let (mut encoder, mut number, mut out) = (Encoder::new(algorithm), 0, Vec::new());
        for pair in cuts.windows(2) {
            encoder.encode(&contents[pair[0]..pair[1]], &mut number, &mut out);
        }
        prop_assert!(decoded(algorithm, &out).unwrap() == contents);
    }

    #[test]
    fn hostile_bodies_never_panic(
        body in proptest::collection::vec(0_u8.., 0..300),
        contents_len in 0..2000_usize,
        which in 0..ALGORITHMS.len(),
    ) {
        let header = Header { body_len: body.len(), number: 0, contents_len };
        let mut out = Vec::new();
        match Decoder::new(ALGORITHMS[which]).decode(header, &body, &mut out) {
            Ok(()) if contents_len == 0 => prop_assert!(out == body),
            Ok(()) => prop_assert_eq!(out.len(), contents_len),
            Err(_) => prop_assert!(out.is_empty()),
        }
    }

    #[test]
    fn a_flipped_bit_is_an_error_or_changes_no_length(
        at in 0_usize..10_000,
        bit in 0..8_u32,
        which in 0..ALGORITHMS.len(),
    ) {
        let algorithm = ALGORITHMS[which];
        let contents: Vec<u8> = (0..3000_u32).map(|index| (index / 3 % 251) as u8).collect();
        let bytes = encoded(algorithm, &contents);
        let (header, body) = packets(&bytes)[0];
        let mut body = body.to_vec();
        let at = at % body.len();
        body[at] ^= 1 << bit;
        let mut out = Vec::new();
        if Decoder::new(algorithm).decode(header, &body, &mut out).is_ok() {
            prop_assert_eq!(out.len(), contents.len());
        }
    }
}
