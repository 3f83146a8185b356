//! Limits of number and time.

use crate::raw::Raw;
use crate::stage::{Stage, mysql};
use std::time::{Duration, Instant};
use tokio::io::AsyncReadExt;

#[tokio::test]
async fn one_more_client_than_allowed_is_refused_like_on_a_server() {
    let stage = Stage::with(mysql(), |config| config.listen.max_connections = 2).await;
    let first = Raw::login(stage.address, "app", "app secret").await;
    let _second = Raw::connect(stage.address).await;
    let (mut third, packet) = Raw::connect_and_read(stage.address).await;
    assert_eq!(packet[..], b"\xFF\x10\x04Too many connections"[..]);
    assert!(third.read().await.is_none());
    drop(first);
    for _ in 0..200 {
        let (_, packet) = Raw::connect_and_read(stage.address).await;
        if packet[0] == 10 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the place of a client that has gone stays taken");
}

#[tokio::test]
async fn an_idle_client_is_closed_silently() {
    let stage = Stage::with(mysql(), |config| {
        config.listen.idle_timeout = Duration::from_millis(300)
    })
    .await;
    let mut client = Raw::login(stage.address, "app", "app secret").await;
    client.query("anything").await.unwrap();
    let began = Instant::now();
    assert!(client.read().await.is_none());
    assert!(began.elapsed() >= Duration::from_millis(250));
}

#[tokio::test]
async fn a_handshake_must_end_in_time() {
    let stage = Stage::with(mysql(), |config| {
        config.listen.connect_timeout = Duration::from_millis(200)
    })
    .await;
    let mut silent = Raw::connect(stage.address).await;
    assert!(silent.read().await.is_none());
    assert_eq!(stage.metrics.sessions.value(), 0);
}

#[tokio::test]
async fn a_client_that_vanishes_takes_its_legs_with_it() {
    let stage = Stage::open().await;
    let mut client = Raw::login(stage.address, "app", "app secret").await;
    client.query("anything").await.unwrap();
    assert_eq!(stage.metrics.sessions.value(), 1);
    drop(client);
    while stage.metrics.sessions.value() > 0 || stage.seen.open_legs.load(std::sync::atomic::Ordering::Relaxed) > 0 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test]
async fn a_port_scanner_does_no_harm() {
    let stage = Stage::open().await;
    for _ in 0..20 {
        let mut stream = tokio::net::TcpStream::connect(stage.address).await.unwrap();
        let mut first = [0; 4];
        stream.read_exact(&mut first).await.unwrap();
    }
    Raw::login(stage.address, "app", "app secret").await;
}
