//! The end: idle clients leave, transactions may end, the rest is cut.

use crate::raw::Raw;
use crate::stage::{Stage, mysql};
use grove_frontend::DrainReport;
use std::time::Duration;

#[tokio::test]
async fn idle_clients_leave_at_once_and_nobody_new_comes_in() {
    let stage = Stage::open().await;
    let mut idle = Raw::login(stage.address, "app", "app secret").await;
    let mut in_handshake = Raw::connect(stage.address).await;
    stage.stop.cancel();
    assert!(idle.read().await.is_none());
    assert!(in_handshake.read().await.is_none());
    assert!(tokio::net::TcpStream::connect(stage.address).await.is_err());
    assert_eq!(stage.report().await, DrainReport { ended: 2, cut: 0 });
}

#[tokio::test]
async fn an_open_transaction_may_end() {
    let stage = Stage::open().await;
    let mut client = Raw::login(stage.address, "app", "app secret").await;
    client.query("BEGIN").await.unwrap();
    stage.stop.cancel();
    tokio::time::sleep(Duration::from_millis(50)).await;
    client.query("select 1").await.unwrap();
    client.query("COMMIT").await.unwrap();
    assert!(client.read().await.is_none());
    assert_eq!(stage.report().await, DrainReport { ended: 1, cut: 0 });
}

#[tokio::test]
async fn what_does_not_end_in_time_is_cut() {
    let stage = Stage::with(mysql(), |config| config.timeouts.drain = Duration::from_millis(300)).await;
    let mut waiting = Raw::login(stage.address, "app", "app secret").await;
    waiting.query("BEGIN").await.unwrap();
    let mut busy = Raw::login(stage.address, "app", "app secret").await;
    busy.command(b"\x03do sleep").await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    stage.stop.cancel();
    assert!(waiting.read().await.is_none());
    while let Some(packet) = busy.read().await {
        assert_eq!(busy.ok_or_err(&packet).unwrap_err().code, 1317);
    }
    let seen = std::sync::Arc::clone(&stage.seen);
    assert_eq!(stage.report().await, DrainReport { ended: 0, cut: 2 });
    assert_eq!(seen.open_legs.load(std::sync::atomic::Ordering::Relaxed), 0);
}
