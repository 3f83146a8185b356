//! What an idle client costs, in a process of its own so that nothing else moves the measure.
//!
//! The clients' ends are in the same process, and count too; they are small.

// A test that cannot go on must fail, in its helpers too.
#![allow(clippy::unwrap_used)]
#![cfg(target_os = "linux")]

#[path = "../clients/raw.rs"]
#[allow(dead_code)]
mod raw;
#[path = "../clients/scripted.rs"]
#[allow(dead_code)]
mod scripted;
#[path = "../clients/stage.rs"]
#[allow(dead_code)]
mod stage;

use raw::Raw;
use stage::Stage;
use std::time::Duration;

const CLIENTS: usize = 400;
const LIMIT: usize = 20_000;

/// Memory of this process that is in use, in bytes.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("proc is mounted");
    let pages: usize = statm
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse().ok())
        .expect("a number");
    pages * 4096
}

async fn busy_then_idle(stage: &Stage) -> Raw {
    let mut client = Raw::login(stage.address, "app", "app secret").await;
    for command in ["\x03rows 100 500", "\x03rows 1 10"] {
        client.command(command.as_bytes()).await;
        client.result().await;
    }
    client
}

#[tokio::test]
async fn an_idle_client_costs_less_than_twenty_kilobytes() {
    let stage = Stage::open().await;
    let mut clients = Vec::new();
    for _ in 0..20 {
        clients.push(busy_then_idle(&stage).await);
    }
    tokio::time::sleep(Duration::from_millis(1300)).await;
    let before = resident();
    for _ in 0..CLIENTS {
        clients.push(busy_then_idle(&stage).await);
    }
    tokio::time::sleep(Duration::from_millis(1300)).await;
    let each = (resident().saturating_sub(before)) / CLIENTS;
    println!("{each} bytes per idle client");
    assert!(each < LIMIT, "{each} bytes per idle client");
}
