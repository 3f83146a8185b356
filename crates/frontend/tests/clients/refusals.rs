//! Whoever guesses passwords waits longer and longer, and nobody else does.

use crate::raw::Raw;
use crate::stage::{Stage, mariadb, mysql};
use grove_config::Config;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

async fn stage(change: impl FnOnce(&mut Config)) -> Stage {
    let behind_a_balancer = |config: &mut Config| {
        config.listen.proxy_protocol_from = vec!["127.0.0.0/8".parse().unwrap()];
        change(config);
    };
    Stage::with(mysql(), behind_a_balancer).await
}

/// A client from that address.
async fn connect(stage: &Stage, from: &str) -> Raw {
    let mut stream = TcpStream::connect(stage.address).await.unwrap();
    let header = format!("PROXY TCP4 {from} 10.0.0.1 56324 3306\r\n");
    stream.write_all(header.as_bytes()).await.unwrap();
    Raw::greeted(Raw::read_first(stream).await)
}

const GUESSER: &str = "192.0.2.7";
const OTHER: &str = "192.0.2.8";

/// Logs in without the password.
async fn guess(stage: &Stage) -> Duration {
    let mut client = connect(stage, GUESSER).await;
    let began = Instant::now();
    assert_eq!(client.log_in("app", "").await.unwrap_err().code, 1045);
    began.elapsed()
}

#[tokio::test]
async fn each_guess_waits_longer_and_success_ends_it() {
    let stage = stage(|_| {}).await;
    for (number, wait) in [0, 0, 100, 200, 400].into_iter().enumerate() {
        let waited = guess(&stage).await;
        assert!(
            waited >= Duration::from_millis(wait),
            "guess {number} waited {waited:?}"
        );
    }
    assert_eq!(
        (
            stage.metrics.refused_logins.value(),
            stage.metrics.delayed_logins.value()
        ),
        (5, 3)
    );

    connect(&stage, OTHER).await.log_in("app", "app secret").await.unwrap();
    assert_eq!(stage.metrics.delayed_logins.value(), 3, "others do not wait");

    let began = Instant::now();
    connect(&stage, GUESSER)
        .await
        .log_in("app", "app secret")
        .await
        .unwrap();
    assert!(
        began.elapsed() >= Duration::from_millis(800),
        "the right password must not show by its speed"
    );
    assert_eq!(stage.metrics.delayed_logins.value(), 4);
    guess(&stage).await;
    guess(&stage).await;
    assert_eq!(stage.metrics.delayed_logins.value(), 4, "the count began anew");
}

#[tokio::test]
async fn the_wait_has_a_bound_and_can_be_turned_off() {
    for (bound, delayed) in [(Duration::from_millis(1), 8), (Duration::ZERO, 0)] {
        let stage = stage(|config| config.listen.refused_login_delay = bound).await;
        for _ in 0..10 {
            guess(&stage).await;
        }
        assert_eq!(stage.metrics.delayed_logins.value(), delayed);
    }
}

#[tokio::test]
async fn a_wait_is_no_part_of_the_time_for_a_login_and_holds_no_server() {
    let stage = stage(|config| config.listen.connect_timeout = Duration::from_millis(700)).await;
    for _ in 0..5 {
        guess(&stage).await;
    }
    let mut waiting = connect(&stage, GUESSER).await;
    let response = waiting.response("app", "app secret", "caching_sha2_password");
    waiting.send_packet(&response.encode()).await;
    while stage.metrics.delayed_logins.value() < 4 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(stage.seen.open_legs.load(Ordering::Relaxed), 0);
    connect(&stage, OTHER).await.log_in("app", "app secret").await.unwrap();
    waiting
        .finish_login()
        .await
        .expect("800 ms of waiting are not the client's own");
}

#[tokio::test]
async fn a_shutdown_ends_a_wait() {
    let stage = stage(|config| config.listen.refused_login_delay = Duration::from_secs(60)).await;
    for _ in 0..6 {
        guess(&stage).await;
    }
    let mut waiting = connect(&stage, GUESSER).await;
    let response = waiting.response("app", "app secret", "caching_sha2_password");
    waiting.send_packet(&response.encode()).await;
    while stage.metrics.delayed_logins.value() < 5 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    // It waits for 1.6 s from now on.
    stage.stop.cancel();
    assert!(waiting.read().await.is_none());
    assert!(
        stage.seen.identities.lock().unwrap().is_empty(),
        "it had not been let in"
    );
    assert_eq!(stage.report().await.cut, 0);
}

#[tokio::test]
async fn change_user_is_no_way_around_it() {
    let stage = Stage::with(mariadb(), |_| {}).await;
    let mut client = Raw::login(stage.address, "other", "other secret").await;
    client.query("BEGIN").await.unwrap();
    for delayed in [0, 0, 1, 2] {
        assert_eq!(client.change_user("app", "wrong", "").await.unwrap_err().code, 1045);
        assert_eq!(stage.metrics.delayed_logins.value(), delayed);
    }
    client.change_user("app", "app secret", "").await.unwrap();
    assert_eq!(stage.metrics.delayed_logins.value(), 3);
    client.change_user("other", "other secret", "").await.unwrap();
    assert_eq!(stage.metrics.delayed_logins.value(), 3);
}
