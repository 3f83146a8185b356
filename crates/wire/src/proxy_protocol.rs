//! The header with which a load balancer says whose connection it passes on: PROXY protocol, versions 1 and 2.
//!
//! Source: "The PROXY protocol", haproxy's `doc/proxy-protocol.txt`. Invariants: a header is complete or broken within [`MAX_LEN`] bytes,
//! whatever is in it; [`Progress::Incomplete`] never asks for a byte behind the header, so that a reader which obeys it takes nothing of what the
//! client itself sends. Deliberately absent: the destination's address and version 2's further values (TLVs), which nothing here needs,
//! and writing headers.

use crate::WireError;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The longest header that is taken. Addresses have at most 216 bytes; the rest is for further values, of which certificates are the
/// longest.
pub const MAX_LEN: usize = 8 << 10;

/// The longest header of version 1, with its CRLF.
const V1_MAX_LEN: usize = 107;
const V1_START: &[u8] = b"PROXY ";
/// `PROXY UNKNOWN` with CRLF is the shortest one.
const V1_MIN_LEN: usize = 15;
const V2_START: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version and command, family and transport, length.
const V2_FIXED_LEN: usize = 16;

/// How far a header has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It goes on for at least so many bytes more.
    Incomplete {
        /// At least one.
        at_least: usize,
    },
    /// It is there.
    Complete {
        /// Whose connection it is.
        client: Announced,
        /// The length of the header; what follows is the client's.
        header_len: usize,
    },
}

/// Whose connection a header announces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Announced {
    /// Its sender's own, for a health check, or one that has no address: the connection's real address counts.
    Sender,
    /// Somebody else's, from there.
    Client(SocketAddr),
}

/// Reads the beginning of a connection.
pub fn parse(bytes: &[u8]) -> Result<Progress, WireError> {
    if bytes.is_empty() {
        return Ok(Progress::Incomplete { at_least: V1_MIN_LEN });
    }
    if agrees(bytes, V2_START) {
        return parse_v2(bytes);
    }
    if agrees(bytes, V1_START) {
        return parse_v1(bytes);
    }
    Err(WireError::Malformed(
        "the connection does not begin with a PROXY header",
    ))
}

/// Whether the bytes that are there begin as `start` does.
fn agrees(bytes: &[u8], start: &[u8]) -> bool {
    bytes.iter().zip(start).all(|(is, should)| is == should)
}

fn parse_v1(bytes: &[u8]) -> Result<Progress, WireError> {
    let window = &bytes[..bytes.len().min(V1_MAX_LEN)];
    let Some(end) = window.windows(2).position(|pair| pair == b"\r\n") else {
        if bytes.len() >= V1_MAX_LEN {
            return Err(WireError::Malformed("a PROXY line does not end within 107 bytes"));
        }
        let ends_next = usize::from(!bytes.ends_with(b"\r"));
        let at_least = V1_MIN_LEN.saturating_sub(bytes.len()).max(1 + ends_next);
        // Two bytes more than the limit allows are one too many.
        return Ok(Progress::Incomplete {
            at_least: at_least.min(V1_MAX_LEN - bytes.len()),
        });
    };
    let line = std::str::from_utf8(&window[V1_START.len().min(end)..end]);
    let line = line.map_err(|_| WireError::Malformed("a PROXY line is not ASCII"))?;
    Ok(Progress::Complete {
        client: announced_by(line)?,
        header_len: end + 2,
    })
}

/// The line after `PROXY `: family, source and destination, their ports.
fn announced_by(line: &str) -> Result<Announced, WireError> {
    let mut words = line.split(' ');
    let family = words.next().unwrap_or_default();
    if family == "UNKNOWN" {
        return Ok(Announced::Sender);
    }
    let words: Vec<&str> = words.take(5).collect();
    let [source, destination, source_port, destination_port] = words[..] else {
        return Err(WireError::Malformed("a PROXY line has two addresses and two ports"));
    };
    let addresses: [Option<IpAddr>; 2] = match family {
        "TCP4" => [source, destination].map(|text| text.parse::<Ipv4Addr>().ok().map(IpAddr::V4)),
        "TCP6" => [source, destination].map(|text| text.parse::<Ipv6Addr>().ok().map(IpAddr::V6)),
        _ => return Err(WireError::Malformed("a PROXY line is for TCP4, TCP6 or UNKNOWN")),
    };
    match (addresses, port(source_port), port(destination_port)) {
        ([Some(source), Some(_)], Some(port), Some(_)) => Ok(Announced::Client(SocketAddr::new(source, port))),
        _ => Err(WireError::Malformed(
            "a PROXY line has an address or a port that is none",
        )),
    }
}

/// Digits only: Rust's own reading takes a sign too.
fn port(text: &str) -> Option<u16> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().ok()).flatten()
}

fn parse_v2(bytes: &[u8]) -> Result<Progress, WireError> {
    let Some((fixed, rest)) = bytes.split_first_chunk::<V2_FIXED_LEN>() else {
        return Ok(Progress::Incomplete {
            at_least: V2_FIXED_LEN - bytes.len(),
        });
    };
    let [.., version_command, family_transport, high, low] = *fixed;
    let length = usize::from(u16::from_be_bytes([high, low]));
    let header_len = V2_FIXED_LEN + length;
    if version_command >> 4 != 2 {
        return Err(WireError::Malformed("the PROXY header's version is neither 1 nor 2"));
    }
    if header_len > MAX_LEN {
        return Err(WireError::TooLong(MAX_LEN));
    }
    let Some(body) = rest.get(..length) else {
        return Ok(Progress::Incomplete {
            at_least: length - rest.len(),
        });
    };
    let client = match version_command & 0x0F {
        // LOCAL: whatever the rest says, it is to be ignored.
        0 => Announced::Sender,
        1 => source_of(family_transport, body)?,
        _ => {
            return Err(WireError::Malformed(
                "the PROXY header's command is neither LOCAL nor PROXY",
            ));
        }
    };
    Ok(Progress::Complete { client, header_len })
}

/// The source address of a version 2 header: families are IPv4, IPv6 and Unix sockets, the transport is a stream.
fn source_of(family_transport: u8, body: &[u8]) -> Result<Announced, WireError> {
    let (family, transport) = (family_transport >> 4, family_transport & 0x0F);
    if family > 3 || transport > 1 {
        return Err(WireError::Malformed(
            "the PROXY header is for no stream of a known family",
        ));
    }
    if transport == 0 {
        return Ok(Announced::Sender);
    }
    let truncated = WireError::Truncated("the PROXY header's addresses");
    let address = match family {
        1 => {
            let Some([a, b, c, d, _, _, _, _, high, low, _, _]) = body.first_chunk::<12>() else {
                return Err(truncated);
            };
            SocketAddr::from(([*a, *b, *c, *d], u16::from_be_bytes([*high, *low])))
        }
        2 => {
            let Some(addresses) = body.first_chunk::<36>() else {
                return Err(truncated);
            };
            let mut source = [0; 16];
            source.copy_from_slice(&addresses[..16]);
            SocketAddr::from((source, u16::from_be_bytes([addresses[32], addresses[33]])))
        }
        // No family, or a Unix socket, which has no address.
        _ => return Ok(Announced::Sender),
    };
    Ok(Announced::Client(address))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A header of version 2.
    fn v2(version_command: u8, family_transport: u8, body: &[u8]) -> Vec<u8> {
        let length = u16::try_from(body.len()).unwrap().to_be_bytes();
        [&V2_START[..], &[version_command, family_transport], &length, body].concat()
    }

    /// Feeds a header as a reader would that obeys, with something behind it that must stay where it is.
    #[track_caller]
    fn check(header: &[u8], expected: Announced) {
        let (mut there, mut steps) = (0, 0);
        loop {
            match parse(&header[..there]).unwrap() {
                Progress::Incomplete { at_least } => {
                    assert!(at_least > 0);
                    there += at_least;
                    assert!(
                        there <= header.len(),
                        "a byte behind {:?} was asked for",
                        header.escape_ascii()
                    );
                }
                Progress::Complete { client, header_len } => {
                    assert_eq!((client, header_len), (expected, header.len()));
                    break;
                }
            }
            steps += 1;
            assert!(steps < 120);
        }
        let ahead = [header, b"\r\nPROXY "].concat();
        let complete = Progress::Complete {
            client: expected,
            header_len: header.len(),
        };
        assert_eq!(parse(&ahead).unwrap(), complete);
    }

    fn client(address: &str) -> Announced {
        Announced::Client(address.parse().unwrap())
    }

    #[test]
    fn lines_of_version_1_name_the_source() {
        check(
            b"PROXY TCP4 192.0.2.7 10.0.0.1 56324 3306\r\n",
            client("192.0.2.7:56324"),
        );
        check(b"PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n", client("0.0.0.0:0"));
        check(b"PROXY TCP6 2001:db8::7 ::1 1 65535\r\n", client("[2001:db8::7]:1"));
        check(b"PROXY UNKNOWN\r\n", Announced::Sender);
        check(b"PROXY UNKNOWN ffff::1 ffff::1 65535 65535\r\n", Announced::Sender);
        let longest = format!("PROXY UNKNOWN {}\r\n", "x".repeat(V1_MAX_LEN - 16));
        assert_eq!(longest.len(), V1_MAX_LEN);
        check(longest.as_bytes(), Announced::Sender);
    }

    #[test]
    fn a_broken_line_is_an_error() {
        for line in [
            "PROXY TCP4 192.0.2.7 10.0.0.1 56324\r\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 56324 3306 1\r\n",
            "PROXY TCP4  192.0.2.7 10.0.0.1 56324 3306\r\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 65536 3306\r\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 +1 3306\r\n",
            "PROXY TCP4 192.0.2.07 10.0.0.1 1 3306\r\n",
            "PROXY TCP4 2001:db8::7 ::1 1 1\r\n",
            "PROXY TCP6 192.0.2.7 10.0.0.1 1 3306\r\n",
            "PROXY UDP4 192.0.2.7 10.0.0.1 1 3306\r\n",
            "PROXY \r\n             ",
            "PROXIES",
            "proxy TCP4 192.0.2.7 10.0.0.1 1 3306\r\n",
            "\n",
            "GET / HTTP/1.1\r\n",
        ] {
            assert!(parse(line.as_bytes()).is_err(), "{line:?}");
        }
        let endless = format!("PROXY UNKNOWN {}", "x".repeat(200));
        assert!(parse(&endless.as_bytes()[..V1_MAX_LEN]).is_err());
        assert!(parse(endless.as_bytes()).is_err());
        assert!(parse(b"PROXY TCP4 \xFF\r\n").is_err());
    }

    #[test]
    fn version_2_names_the_source_and_further_values_are_skipped() {
        let tcp4 = [192, 0, 2, 7, 10, 0, 0, 1, 0xDC, 0x04, 0x0C, 0xEA];
        check(&v2(0x21, 0x11, &tcp4), client("192.0.2.7:56324"));
        check(
            &v2(0x21, 0x11, &[&tcp4[..], &[0x04, 0, 1, 0]].concat()),
            client("192.0.2.7:56324"),
        );
        let longest = [&tcp4[..], &vec![0; MAX_LEN - V2_FIXED_LEN - tcp4.len()]].concat();
        check(&v2(0x21, 0x11, &longest), client("192.0.2.7:56324"));
        let mut tcp6 = [0; 36];
        tcp6[..4].copy_from_slice(&[0x20, 0x01, 0x0D, 0xB8]);
        tcp6[15] = 7;
        tcp6[33] = 9;
        check(&v2(0x21, 0x21, &tcp6), client("[2001:db8::7]:9"));
    }

    #[test]
    fn what_has_no_address_is_the_senders_own() {
        check(&v2(0x20, 0x00, &[]), Announced::Sender);
        check(&v2(0x20, 0x11, &[1, 2, 3]), Announced::Sender);
        check(&v2(0x21, 0x00, &[0; 5]), Announced::Sender);
        check(&v2(0x21, 0x10, &[]), Announced::Sender);
        check(&v2(0x21, 0x31, &[0; 216]), Announced::Sender);
    }

    #[test]
    fn a_broken_header_of_version_2_is_an_error() {
        for (version_command, family_transport, body) in [
            (0x11, 0x11, &[0; 12][..]),
            (0x22, 0x11, &[0; 12]),
            (0x21, 0x12, &[0; 12]),
            (0x21, 0x41, &[0; 12]),
            (0x21, 0x11, &[0; 11]),
            (0x21, 0x21, &[0; 35]),
            (0x21, 0x11, &[0; MAX_LEN - V2_FIXED_LEN + 1]),
        ] {
            let header = v2(version_command, family_transport, body);
            assert!(parse(&header).is_err(), "{}", header.escape_ascii());
        }
        let endless = v2(0x21, 0x11, &[0; MAX_LEN]);
        assert!(
            parse(&endless[..V2_FIXED_LEN]).is_err(),
            "its length is enough to refuse it"
        );
    }

    proptest::proptest! {
        #[test]
        fn hostile_headers_never_panic_and_end(start in 0..3_usize, tail in proptest::collection::vec(0u8.., 0..300)) {
            let bytes = [[&b""[..], V1_START, &V2_START[..]][start], &tail].concat();
            match parse(&bytes) {
                Ok(Progress::Incomplete { at_least }) => assert!(at_least > 0 && bytes.len() + at_least <= MAX_LEN),
                Ok(Progress::Complete { header_len, .. }) => assert!(header_len <= bytes.len()),
                Err(_) => {}
            }
        }
    }
}
