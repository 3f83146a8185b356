//! Clients behind a load balancer: the address in the PROXY header is theirs, and nobody else is believed.

use crate::raw::Raw;
use crate::stage::{Stage, mysql};
use bytes::Bytes;
use grove_config::{Config, ListenTlsMode, Source};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

const V1: &[u8] = b"PROXY TCP4 192.0.2.7 10.0.0.1 56324 3306\r\n";
const V1_IPV6: &[u8] = b"PROXY TCP6 2001:db8::7 ::1 56324 3306\r\n";
const V1_UNKNOWN: &[u8] = b"PROXY UNKNOWN\r\n";
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x10\xC0\0\x02\x07\x0A\0\0\x01\xDC\x04\x0C\xEA\x04\0\x01\0";
const V2_LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

/// The tests' own address is a load balancer's.
fn behind_a_balancer(config: &mut Config) {
    config.listen.proxy_protocol_from = vec!["127.0.0.0/8".parse().unwrap()];
}

async fn stage(change: impl FnOnce(&mut Config)) -> Stage {
    let both = |config: &mut Config| {
        behind_a_balancer(config);
        change(config);
    };
    Stage::with(mysql(), both).await
}

async fn send(stage: &Stage, header: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(stage.address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    stream.write_all(header).await.unwrap();
    stream
}

async fn first_packet(stage: &Stage, header: &[u8]) -> Bytes {
    Raw::read_first(send(stage, header).await).await.1
}

async fn connect(stage: &Stage, header: &[u8]) -> Raw {
    Raw::greeted(Raw::read_first(send(stage, header).await).await)
}

#[tokio::test]
async fn messages_name_the_address_in_the_header() {
    let stage = stage(|_| {}).await;
    for (header, host) in [
        (V1, "192.0.2.7"),
        (V1_IPV6, "2001:db8::7"),
        (V2, "192.0.2.7"),
        // The balancer itself, which is never taken for this machine.
        (V1_UNKNOWN, "127.0.0.1"),
        (V2_LOCAL, "127.0.0.1"),
    ] {
        let err = connect(&stage, header).await.log_in("app", "").await.unwrap_err();
        let denied = format!("Access denied for user 'app'@'{host}' (using password: NO)");
        assert_eq!((err.code, &*String::from_utf8_lossy(&err.message)), (1045, &*denied));
        connect(&stage, header).await.log_in("app", "app secret").await.unwrap();
    }
}

#[tokio::test]
async fn accounts_ask_for_the_address_in_the_header() {
    let from_there = |config: &mut Config| {
        for user in &mut config.users {
            user.allow_from = vec![Source::Network("192.0.2.0/24".parse().unwrap())];
        }
    };
    let stage = stage(from_there).await;
    connect(&stage, V2).await.log_in("app", "app secret").await.unwrap();
    for (header, host) in [(V1_IPV6, "2001:db8::7"), (V2_LOCAL, "127.0.0.1")] {
        let refused = first_packet(&stage, header).await;
        let expected = format!("Host '{host}' is not allowed to connect to this MySQL server");
        assert_eq!(refused[..], [b"\xFF\x6A\x04", expected.as_bytes()].concat()[..]);
    }
}

#[tokio::test]
async fn a_header_may_come_in_pieces_and_tls_may_follow() {
    let stage = stage(|config| config.listen.tls.mode = ListenTlsMode::Required).await;
    for header in [V1, V2] {
        let mut stream = send(&stage, b"").await;
        for byte in header {
            stream.write_all(&[*byte]).await.unwrap();
            tokio::task::yield_now().await;
        }
        let mut client = Raw::greeted(Raw::read_first(stream).await).start_tls().await;
        client.log_in("app", "app secret").await.unwrap();
    }
}

#[tokio::test]
async fn without_a_header_nobody_is_greeted() {
    let stage = stage(|config| config.listen.connect_timeout = Duration::from_millis(300)).await;
    for unfinished in [&b""[..], &V1[..20], &V2[..15], &V2[..20]] {
        let mut stream = send(&stage, unfinished).await;
        let mut said = Vec::new();
        stream.read_to_end(&mut said).await.unwrap();
        assert!(said.is_empty(), "{}", said.escape_ascii());
    }
    assert_eq!(stage.metrics.protocol_errors.value(), 0);
    for broken in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"PROXY TCP4 1 2 3 4\r\n"] {
        let refused = first_packet(&stage, broken).await;
        assert_eq!(refused[..3], [0xFF, 0x2B, 0x07], "1835, malformed packet");
    }
    assert_eq!(stage.metrics.protocol_errors.value(), 2);
    connect(&stage, V1).await.log_in("app", "app secret").await.unwrap();
}

#[tokio::test]
async fn the_time_for_a_login_begins_before_the_header() {
    let stage = stage(|config| config.listen.connect_timeout = Duration::from_millis(400)).await;
    let began = std::time::Instant::now();
    let mut stream = send(&stage, b"").await;
    // One byte at a time, each of them soon after the one before: until Grove has had enough.
    for byte in V1.iter().cycle() {
        if stream.write_all(&[*byte]).await.is_err() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(
            began.elapsed() < Duration::from_secs(20),
            "the connection goes on for ever"
        );
    }
}

#[tokio::test]
async fn one_who_dawdles_keeps_nobody_waiting() {
    let stage = stage(|_| {}).await;
    let dawdlers = [send(&stage, b"").await, send(&stage, &V1[..9]).await];
    connect(&stage, V1).await.log_in("app", "app secret").await.unwrap();
    stage.stop.cancel();
    for mut dawdler in dawdlers {
        assert_eq!(dawdler.read(&mut [0; 9]).await.unwrap(), 0);
    }
    assert_eq!(stage.report().await.cut, 0);
}

#[tokio::test]
async fn elsewhere_a_header_is_not_believed() {
    let others = |config: &mut Config| config.listen.proxy_protocol_from = vec!["192.0.2.0/24".parse().unwrap()];
    let stage = Stage::with(mysql(), others).await;
    Raw::login(stage.address, "app", "app secret").await;
    let mut liar = connect(&stage, V1).await;
    // The header has passed for the client's first packet, and was not one.
    liar.sequence = 2;
    let packet = liar.packet().await;
    assert_eq!(liar.ok_or_err(&packet).unwrap_err().code, 1153);
    assert!(liar.read().await.is_none());
}

#[tokio::test]
async fn through_the_socket_there_is_no_header() {
    let path = std::env::temp_dir().join(format!("grove-{}-proxied.sock", std::process::id()));
    let stage = stage(|config| config.listen.socket = Some(path.clone())).await;
    let stream = UnixStream::connect(&path).await.unwrap();
    let mut client = Raw::greeted(Raw::read_first(stream).await);
    client.log_in("app", "app secret").await.unwrap();
    stage.stop.cancel();
    stage.report().await;
}
