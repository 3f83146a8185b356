//! Clients that compress: numbers and bytes of compressed packets, and what is refused in them.

use crate::raw::{Bytestream, EVERYDAY, Raw};
use crate::stage::{Stage, mariadb, mysql};
use bytes::{Bytes, BytesMut};
use grove_compression::{Algorithm, Decoder, Encoder, HEADER_LEN, Header};
use grove_config::Compression;
use grove_wire::handshake::AuthSwitchRequest;
use grove_wire::packet::{PayloadReader, encode_frames};
use grove_wire::{CapabilityFlags, ErrPacket, auth};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const BOTH: CapabilityFlags = CapabilityFlags(CapabilityFlags::COMPRESS.0 | CapabilityFlags::ZSTD.0);
const ALGORITHMS: [Algorithm; 2] = [Algorithm::Zlib, Algorithm::Zstd { level: 3 }];

/// A client after its login that makes and opens every compressed packet itself.
struct Squeezed {
    stream: Box<dyn Bytestream>,
    encoder: Encoder,
    decoder: Decoder,
    input: BytesMut,
    contents: BytesMut,
    payloads: PayloadReader,
    /// Number of the next compressed packet.
    number: u8,
}

impl Squeezed {
    async fn login(stage: &Stage, algorithm: Algorithm) -> Self {
        let flag = match algorithm {
            Algorithm::Zlib => CapabilityFlags::COMPRESS,
            Algorithm::Zstd { .. } => CapabilityFlags::ZSTD,
        };
        let raw = Raw::login_with(stage.address, "app", "app secret", EVERYDAY | flag).await;
        Self {
            stream: raw.into_stream(),
            encoder: Encoder::new(algorithm),
            decoder: Decoder::new(algorithm),
            input: BytesMut::new(),
            contents: BytesMut::new(),
            payloads: PayloadReader::new(usize::MAX),
            number: 0,
        }
    }

    /// Sends a packet as one compressed packet; the number inside is one that nobody would expect.
    async fn send(&mut self, payload: &[u8]) {
        let mut frames = BytesMut::new();
        encode_frames(payload, &mut 77, &mut frames);
        let mut out = Vec::new();
        self.encoder.encode(&frames, &mut self.number, &mut out);
        self.send_bytes(&out).await;
        self.payloads.expect_sequence(self.number);
    }

    async fn command(&mut self, payload: &[u8]) {
        self.number = 0;
        self.send(payload).await;
    }

    async fn send_bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    /// The next packet: compressed packets are numbered on, and so are those inside them. `None` at the end of the stream.
    async fn read(&mut self) -> Option<Bytes> {
        loop {
            if let Some(payload) = self.payloads.feed(&mut self.contents).unwrap() {
                return Some(payload.bytes);
            }
            if let Some(header) = self.input.first_chunk::<HEADER_LEN>() {
                let header = Header::parse(header);
                if self.input.len() >= HEADER_LEN + header.body_len {
                    assert_eq!(header.number, self.number, "compressed packets are numbered");
                    self.number = self.number.wrapping_add(1);
                    let packet = self.input.split_to(HEADER_LEN + header.body_len);
                    let mut contents = Vec::new();
                    self.decoder
                        .decode(header, &packet[HEADER_LEN..], &mut contents)
                        .unwrap();
                    self.contents.extend_from_slice(&contents);
                    continue;
                }
            }
            let reading = self.stream.read_buf(&mut self.input);
            let read = tokio::time::timeout(Duration::from_secs(20), reading).await;
            if read.expect("a packet or the end").unwrap_or(0) == 0 {
                return None;
            }
        }
    }

    async fn packet(&mut self) -> Bytes {
        self.read().await.expect("a packet")
    }

    /// The packets of one result, the last of them OK (also in the place of EOF) or ERR.
    async fn result(&mut self) -> Vec<Bytes> {
        let mut packets = vec![self.packet().await];
        while !matches!(packets[0][0], 0 | 0xFF) {
            let packet = self.packet().await;
            packets.push(packet.clone());
            if matches!(packet[0], 0xFE | 0xFF) && packet.len() < 100 {
                break;
            }
        }
        packets
    }

    async fn ends_with(&mut self, code: u16) {
        let packet = self.packet().await;
        let err = ErrPacket::parse(&packet, CapabilityFlags::PROTOCOL_41).unwrap();
        assert_eq!((err.code, &err.sql_state), (code, b"08S01"));
        assert_eq!(self.read().await, None);
    }
}

#[tokio::test]
async fn everyday_commands_travel_in_compressed_packets() {
    let stage = Stage::open().await;
    for algorithm in ALGORITHMS {
        let mut client = Squeezed::login(&stage, algorithm).await;
        client.command(b"\x03anything").await;
        assert_eq!(client.packet().await[0], 0);
        client.command(b"\x03rows 3 10").await;
        assert_eq!(client.result().await.len(), 6);
        client.command(b"\x03rows 20000 100").await;
        assert_eq!(client.result().await.len(), 20_003);
        client.command(b"\x03rows 1 17000000").await;
        assert_eq!(client.result().await[2].len(), 17_000_000 + 4);
        client.command(b"\x03first; rows 2 5; last").await;
        for length in [1, 5, 1] {
            assert_eq!(client.result().await.len(), length);
        }
        client.command(b"\x03FAIL").await;
        assert_eq!(client.packet().await[0], 0xFF);
        client.command(b"\x0e").await;
        assert_eq!(client.packet().await[0], 0);
    }
    assert_eq!(stage.metrics.protocol_errors.value(), 0);
}

#[tokio::test]
async fn a_command_may_be_cut_into_compressed_packets_anywhere() {
    let stage = Stage::open().await;
    let command = b"\x0a\0\0\0\x03rows 2 10";
    for algorithm in ALGORITHMS {
        let mut client = Squeezed::login(&stage, algorithm).await;
        for cut in 0..=command.len() {
            client.number = 0;
            let (first, second) = command.split_at(cut);
            let (mut out, mut pieces) = (Vec::new(), 0);
            for piece in [first, second, b""] {
                let mut packet = Vec::new();
                client.encoder.encode(piece, &mut client.number, &mut packet);
                if packet.is_empty() {
                    // A compressed packet with nothing in it.
                    packet = vec![0, 0, 0, client.number, 0, 0, 0];
                    client.number += 1;
                }
                // The last one would be part of the next command.
                pieces += 1;
                if pieces < 3 {
                    out.extend(packet);
                } else {
                    client.number -= 1;
                }
            }
            if cut == command.len() {
                out.truncate(out.len() - HEADER_LEN);
                client.number -= 1;
            }
            client.payloads.expect_sequence(client.number);
            client.send_bytes(&out).await;
            assert_eq!(client.result().await.len(), 5, "{algorithm:?}, {cut}");
        }
    }
}

#[tokio::test]
async fn commands_that_were_sent_ahead_are_each_numbered_from_the_start() {
    let stage = Stage::open().await;
    let mut client = Squeezed::login(&stage, Algorithm::Zlib).await;
    for _ in 0..10 {
        client.command(b"\x03rows 2 100").await;
    }
    for _ in 0..10 {
        client.number = 1;
        client.payloads.expect_sequence(1);
        assert_eq!(client.result().await.len(), 5);
    }
}

#[tokio::test]
async fn another_user_is_compressed_too() {
    let stage = Stage::open().await;
    for algorithm in ALGORITHMS {
        let mut client = Squeezed::login(&stage, algorithm).await;
        client.command(b"\x11other\0\0\0\x2d\0caching_sha2_password\0").await;
        let switch = AuthSwitchRequest::parse(&client.packet().await).unwrap();
        let answer = auth::answer(&switch.plugin, b"other secret", &switch.challenge).unwrap();
        client.send(&answer).await;
        assert_eq!(client.packet().await[..], [auth::AUTH_MORE_DATA, auth::FAST_AUTH_OK]);
        assert_eq!(client.packet().await[0], 0);
        client.command(b"\x03rows 2 100").await;
        assert_eq!(client.result().await.len(), 5);
    }
}

#[tokio::test]
async fn what_cannot_be_decompressed_ends_the_connection() {
    let garbage = [&b"\x1c\0\0\0\x5a\0\0"[..], b"garbagegarbagegarbagegarbage"].concat();
    let command = |announced: usize| {
        let mut out = Vec::new();
        let text = [&b"\x69\0\0\0\x03"[..], &[b' '; 104]].concat();
        Encoder::new(Algorithm::Zlib).encode(&text, &mut 0, &mut out);
        let header = Header::parse(out.first_chunk().unwrap());
        assert_eq!(header.contents_len, text.len());
        let lying = Header {
            contents_len: announced,
            ..header
        };
        out[..HEADER_LEN].copy_from_slice(&lying.encode());
        out
    };
    // As MySQL refuses them but for the last three, which it does not notice.
    for bytes in [garbage, command(20), command(108), command(110), command(0xFF_FFFF)] {
        let stage = Stage::open().await;
        let mut client = Squeezed::login(&stage, Algorithm::Zlib).await;
        client.number = 1;
        client.payloads.expect_sequence(1);
        client.send_bytes(&bytes).await;
        client.ends_with(1157).await;
        assert_eq!(stage.metrics.protocol_errors.value(), 1);
    }
}

#[tokio::test]
async fn compressed_packets_out_of_order_end_the_connection() {
    for (numbers, answer) in [([5, 6], 0), ([0, 0], 1), ([0, 2], 1)] {
        let stage = Stage::open().await;
        let mut client = Squeezed::login(&stage, Algorithm::Zlib).await;
        client.number = answer;
        client.payloads.expect_sequence(answer);
        client.send_bytes(&[3, 0, 0, numbers[0], 0, 0, 0, 9, 0, 0]).await;
        client
            .send_bytes(&[10, 0, 0, numbers[1], 0, 0, 0, 0, 3, 1, 2, 3, 4, 5, 6, 7, 8])
            .await;
        client.ends_with(1156).await;
        assert_eq!(stage.metrics.protocol_errors.value(), 1);
    }
}

#[tokio::test]
async fn compression_is_offered_where_the_lead_and_the_configuration_have_it() {
    for (facts, configured, offered) in [
        (mysql(), vec![Compression::Zlib, Compression::Zstd], BOTH),
        (
            mariadb(),
            vec![Compression::Zlib, Compression::Zstd],
            CapabilityFlags::COMPRESS,
        ),
        (mysql(), vec![Compression::Zstd], CapabilityFlags::ZSTD),
        (mysql(), vec![], CapabilityFlags(0)),
    ] {
        let stage = Stage::with(facts, |config| config.listen.compression = configured).await;
        let mut client = Raw::connect(stage.address).await;
        assert_eq!(client.greeting.capabilities & BOTH, offered);
        if offered == CapabilityFlags(0) {
            // A client that asks all the same goes on without.
            client.capabilities.insert(BOTH);
            client.log_in("app", "app secret").await.unwrap();
            client.query("anything").await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_level_that_zstd_does_not_have_is_refused_like_on_a_server() {
    let stage = Stage::open().await;
    for level in [0, 23, 255] {
        let mut client = Raw::connect(stage.address).await;
        client.capabilities.insert(CapabilityFlags::ZSTD);
        let mut response = client.response("app", "app secret", "caching_sha2_password");
        response.zstd_level = level;
        client.send_packet(&response.encode()).await;
        let err = client.finish_login().await.unwrap_err();
        assert_eq!(err.code, 3923);
    }
}
