//! Who may log in: where from, how many at a time, with TLS or without.

use crate::raw::Raw;
use crate::stage::{Stage, mariadb, mysql};
use bytes::Bytes;
use grove_config::{Config, ListenTlsMode, Source};
use grove_engine::io::ServerFacts;
use grove_wire::auth;

/// The first account's clients come from a network that this machine is not in.
fn app_is_elsewhere(config: &mut Config) {
    config.users[0].allow_from = vec![Source::Network("192.0.2.0/24".parse().unwrap())];
}

/// What a client sees that answers with a password, until the connection ends.
async fn refusal(stage: &Stage, user: &str, password: &str) -> Vec<Bytes> {
    let mut client = Raw::connect(stage.address).await;
    let plugin = String::from_utf8(client.greeting.auth_plugin.clone()).unwrap();
    let response = client.response(user, password, &plugin);
    client.send_packet(&response.encode()).await;
    let mut packets = Vec::new();
    while let Some(packet) = client.read().await {
        if packet[..] == [auth::AUTH_MORE_DATA, auth::PERFORM_FULL_AUTH] {
            client.send_packet(b"no ciphertext").await;
        }
        packets.push(packet);
    }
    packets
}

#[tokio::test]
async fn from_elsewhere_a_right_password_is_a_wrong_one() {
    for facts in [mysql(), mariadb()] {
        let stage = Stage::with(facts, app_is_elsewhere).await;
        let right = refusal(&stage, "app", "app secret").await;
        assert_eq!(right, refusal(&stage, "app", "wrong").await);
        let denied = b"Access denied for user 'app'@'localhost' (using password: YES)";
        assert!(right.last().unwrap().ends_with(denied), "{right:?}");
        assert_eq!(stage.metrics.refused_logins.value(), 2);
        assert!(stage.seen.identities.lock().unwrap().is_empty(), "no server is asked");
        Raw::login(stage.address, "other", "other secret").await;
    }
}

#[tokio::test]
async fn an_account_from_here_logs_in() {
    let here = ["127.0.0.0/8".parse().map(Source::Network), Ok(Source::Localhost)];
    for source in here {
        let stage = Stage::with(mysql(), |config| config.users[0].allow_from = vec![source.unwrap()]).await;
        Raw::login(stage.address, "app", "app secret").await;
    }
}

#[tokio::test]
async fn change_user_asks_where_a_client_is() {
    let stage = Stage::with(mariadb(), app_is_elsewhere).await;
    let mut client = Raw::login(stage.address, "other", "other secret").await;
    for password in ["app secret", "wrong"] {
        let err = client.change_user("app", password, "").await.unwrap_err();
        let denied = "Access denied for user 'app'@'localhost' (using password: YES)";
        assert_eq!((err.code, &*String::from_utf8_lossy(&err.message)), (1045, denied));
    }
    client.query("anything").await.unwrap();
}

async fn check_no_account_from_here(facts: ServerFacts, server: &str) {
    let nowhere = |config: &mut Config| {
        for user in &mut config.users {
            user.allow_from = vec![Source::Network("2001:db8::/32".parse().unwrap())];
        }
    };
    let stage = Stage::with(facts, nowhere).await;
    let (mut client, packet) = Raw::connect_and_read(stage.address).await;
    let expected = format!("Host 'localhost' is not allowed to connect to this {server} server");
    assert_eq!(packet[..], [b"\xFF\x6A\x04", expected.as_bytes()].concat()[..]);
    assert!(client.read().await.is_none());
    assert_eq!(stage.metrics.refused_logins.value(), 1);
}

#[tokio::test]
async fn where_no_account_can_be_used_there_is_no_greeting() {
    check_no_account_from_here(mysql(), "MySQL").await;
    check_no_account_from_here(mariadb(), "MariaDB").await;
}

const NO_SEAT: &str = "User app already has more than 'max_user_connections' active connections";

#[tokio::test]
async fn an_account_has_a_limit_of_its_own() {
    let stage = Stage::with(mysql(), |config| config.users[0].max_connections = Some(2)).await;
    let first = Raw::login(stage.address, "app", "app secret").await;
    let mut second = Raw::login(stage.address, "app", "app secret").await;
    let err = Raw::connect(stage.address)
        .await
        .log_in("app", "app secret")
        .await
        .unwrap_err();
    assert_eq!(
        (err.code, &err.sql_state, &err.message[..]),
        (1203, b"42000", NO_SEAT.as_bytes())
    );
    let wrong = Raw::connect(stage.address).await.log_in("app", "").await.unwrap_err();
    assert_eq!(wrong.code, 1045, "only who knows the password learns of the limit");
    Raw::login(stage.address, "other", "other secret").await;
    second
        .change_user("app", "app secret", "")
        .await
        .expect("a client has its own seat");

    drop(first);
    while stage.metrics.sessions.value() > 1 {
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
    Raw::login(stage.address, "app", "app secret").await;
}

#[tokio::test]
async fn change_user_takes_a_seat_and_leaves_the_old_one() {
    let one_each = |config: &mut Config| {
        for user in &mut config.users {
            user.max_connections = Some(1);
        }
    };
    let stage = Stage::with(mariadb(), one_each).await;
    let mut first = Raw::login(stage.address, "app", "app secret").await;
    let mut second = Raw::login(stage.address, "other", "other secret").await;
    let err = second.change_user("app", "app secret", "").await.unwrap_err();
    assert_eq!((err.code, &err.message[..]), (1203, NO_SEAT.as_bytes()));
    second
        .query("anything")
        .await
        .expect("on MariaDB the old account goes on");
    let err = Raw::connect(stage.address)
        .await
        .log_in("other", "other secret")
        .await
        .unwrap_err();
    assert_eq!(err.code, 1203, "with its seat");

    first.change_user("nobody", "", "").await.unwrap();
    second.change_user("app", "app secret", "").await.unwrap();
    Raw::login(stage.address, "other", "other secret").await;
}

#[tokio::test]
async fn an_account_may_require_tls() {
    for facts in [mysql(), mariadb()] {
        let with_tls = |config: &mut Config| {
            config.listen.tls.mode = ListenTlsMode::Preferred;
            config.users[0].require_tls = true;
        };
        let stage = Stage::with(facts, with_tls).await;
        let err = Raw::connect(stage.address)
            .await
            .log_in("app", "app secret")
            .await
            .unwrap_err();
        let denied = "Access denied for user 'app'@'localhost' (using password: YES)";
        assert_eq!((err.code, &*String::from_utf8_lossy(&err.message)), (1045, denied));
        let mut client = Raw::connect(stage.address).await.start_tls().await;
        client.log_in("app", "app secret").await.unwrap();
        Raw::login(stage.address, "other", "other secret").await;
    }
}

#[tokio::test]
async fn change_user_to_an_account_with_tls_needs_it_too() {
    let with_tls = |config: &mut Config| {
        config.listen.tls.mode = ListenTlsMode::Preferred;
        config.users[0].require_tls = true;
    };
    let stage = Stage::with(mariadb(), with_tls).await;
    let mut plain = Raw::login(stage.address, "other", "other secret").await;
    assert_eq!(plain.change_user("app", "app secret", "").await.unwrap_err().code, 1045);
    let mut encrypted = Raw::connect(stage.address).await.start_tls().await;
    encrypted.log_in("other", "other secret").await.unwrap();
    encrypted.change_user("app", "app secret", "").await.unwrap();
}
