//! COM_CHANGE_USER and KILL: who may do what to whom.

use crate::raw::{EVERYDAY, Raw};
use crate::stage::{Stage, mariadb, mysql};
use grove_engine::io::ServerFacts;
use grove_wire::{CapabilityFlags, auth};
use std::time::Duration;

#[tokio::test]
async fn change_user_gives_a_new_session_of_the_other_account() {
    for facts in [mysql(), mariadb()] {
        let stage = Stage::with(facts, |_| {}).await;
        let mut client = Raw::login(stage.address, "app", "app secret").await;
        client.change_user("other", "other secret", "shop").await.unwrap();
        client.query("anything").await.unwrap();
        let identities = stage.seen.identities.lock().unwrap();
        let last = identities.last().unwrap();
        assert_eq!((last.user.as_str(), &last.database[..]), ("other", &b"shop"[..]));
        assert_eq!(stage.seen.open_legs.load(std::sync::atomic::Ordering::Relaxed), 1);
    }
}

/// On MySQL the connection ends, on MariaDB the old account goes on.
async fn check_refused(facts: ServerFacts, user: &str, password: &str, schema: &str, code: u16) {
    let is_mariadb = facts.version.contains("MariaDB");
    let stage = Stage::with(facts, |_| {}).await;
    let mut client = Raw::login(stage.address, "app", "app secret").await;
    let err = client.change_user(user, password, schema).await.unwrap_err();
    assert_eq!(err.code, code);
    if is_mariadb {
        client.query("anything").await.unwrap();
        assert_eq!(stage.seen.identities.lock().unwrap().last().unwrap().user, "app");
    } else {
        assert!(client.read().await.is_none());
    }
}

#[tokio::test]
async fn change_user_is_refused_without_the_password() {
    for (user, password) in [("other", "app secret"), ("stranger", "x")] {
        check_refused(mariadb(), user, password, "", 1045).await;
    }
}

#[tokio::test]
async fn change_user_is_refused_with_the_full_path_on_mysql() {
    let stage = Stage::open().await;
    let mut client = Raw::login(stage.address, "app", "app secret").await;
    client.command(b"\x11other\0\0\0\x2d\0caching_sha2_password\0").await;
    client.packet().await;
    client.send_packet(&[9; 32]).await;
    assert_eq!(
        client.packet().await[..],
        [auth::AUTH_MORE_DATA, auth::PERFORM_FULL_AUTH]
    );
    client.send_packet(b"rubbish").await;
    assert_eq!(client.finish_login().await.unwrap_err().code, 1045);
    assert!(client.read().await.is_none());
    assert_eq!(stage.metrics.refused_logins.value(), 1);
}

#[tokio::test]
async fn change_user_to_an_unknown_schema_is_the_servers_error() {
    for facts in [mysql(), mariadb()] {
        check_refused(facts, "other", "other secret", "nowhere", 1049).await;
    }
}

#[tokio::test]
async fn a_client_without_plugins_answers_the_greetings_challenge() {
    let stage = Stage::with(mariadb(), |_| {}).await;
    let capabilities = CapabilityFlags(EVERYDAY.0 & !CapabilityFlags::PLUGIN_AUTH.0);
    for (password, is_right) in [("other secret", true), ("app secret", false)] {
        let mut client = Raw::login_with(stage.address, "app", "app secret", capabilities).await;
        let answer = auth::native_password(password.as_bytes(), &client.greeting.challenge);
        let payload = [b"\x11other\0\x14".as_slice(), &answer, b"\0"].concat();
        client.command(&payload).await;
        assert_eq!(client.finish_login().await.is_ok(), is_right);
    }
}

/// Two clients of one account, the first of them running something endless.
async fn sleeper_and_killer(stage: &Stage) -> (Raw, Raw) {
    let mut sleeper = Raw::login(stage.address, "app", "app secret").await;
    sleeper.command(b"\x03do sleep").await;
    while !stage.seen.queries().contains(&"do sleep".to_owned()) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    (sleeper, Raw::login(stage.address, "app", "app secret").await)
}

#[tokio::test]
async fn kill_query_ends_the_statement_and_the_connection_goes_on() {
    let stage = Stage::open().await;
    let (mut sleeper, mut killer) = sleeper_and_killer(&stage).await;
    killer
        .query(&format!("KILL QUERY {}", sleeper.greeting.connection_id))
        .await
        .unwrap();
    let packet = sleeper.packet().await;
    assert_eq!(sleeper.ok_or_err(&packet).unwrap_err().code, 1317);
    sleeper.query("anything").await.unwrap();
    assert!(
        !stage.seen.queries().iter().any(|query| query.contains("KILL")),
        "servers' ids are others"
    );
}

#[tokio::test]
async fn kill_ends_a_connection_that_is_busy_or_idle() {
    let stage = Stage::open().await;
    let (mut sleeper, mut killer) = sleeper_and_killer(&stage).await;
    let mut idle = Raw::login(stage.address, "app", "app secret").await;
    for victim in [&mut sleeper, &mut idle] {
        killer
            .query(&format!("kill {}", victim.greeting.connection_id))
            .await
            .unwrap();
        while let Some(packet) = victim.read().await {
            assert_eq!(victim.ok_or_err(&packet).unwrap_err().code, 1317);
        }
    }
    killer.query("anything").await.unwrap();
}

#[tokio::test]
async fn kill_ends_a_client_that_does_not_take_its_result() {
    let stage = Stage::open().await;
    let mut stuck = Raw::login(stage.address, "app", "app secret").await;
    stuck.command(b"\x03rows 4000 8000").await;
    let mut killer = Raw::login(stage.address, "app", "app secret").await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    killer
        .query(&format!("kill {}", stuck.greeting.connection_id))
        .await
        .unwrap();
    while stage.metrics.sessions.value() > 1 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn kill_reaches_clients_of_the_same_account_only() {
    let stage = Stage::open().await;
    let victim = Raw::login(stage.address, "app", "app secret").await;
    let mut killer = Raw::login(stage.address, "other", "other secret").await;
    let id = victim.greeting.connection_id;
    for (sql, code) in [
        (format!("kill {id}"), 1095),
        (format!("kill query {id}"), 1095),
        ("kill 4000000000".to_owned(), 1094),
        ("kill 99999999999999".to_owned(), 1094),
        ("kill connection_id()".to_owned(), 1235),
    ] {
        assert_eq!(killer.query(&sql).await.unwrap_err().code, code, "{sql}");
    }
    let own = killer.greeting.connection_id;
    assert_eq!(killer.query(&format!("kill query {own}")).await.unwrap_err().code, 1317);
    assert_eq!(killer.query(&format!("kill {own}")).await.unwrap_err().code, 1317);
    assert!(killer.read().await.is_none());
}
