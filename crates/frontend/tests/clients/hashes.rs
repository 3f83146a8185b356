//! Accounts whose configuration has only what the servers store of a password.

use crate::raw::Raw;
use crate::stage::{Stage, mariadb, mysql};
use bytes::Bytes;
use grove_config::{Config, Credential, ListenTlsMode};
use grove_engine::io::ServerFacts;
use grove_wire::auth::{self, AUTH_MORE_DATA, PERFORM_FULL_AUTH};
use grove_wire::handshake::AuthSwitchRequest;
use grove_wire::{CapabilityFlags, ErrPacket, OkPacket};

const NATIVE: &str = "*C59FB35116D870D298C2A21D24F5D1BEE9934857";
/// From MySQL 9.7.4's `mysql.user`.
const CACHING_SHA2: &str = "0x24412430304124624B651C50275B51254C484F2C6D5B45320B7D436878656A31434C68495164476A3669752E72684637392E79354D\
                            633176384B784E5A454747332F57465137";

async fn stage(facts: ServerFacts, hash: &str) -> Stage {
    let with_hash = |config: &mut Config| {
        config.listen.tls.mode = ListenTlsMode::Preferred;
        config.users[0].credential = Credential::Hash(hash.parse().unwrap());
    };
    Stage::with(facts, with_hash).await
}

/// Logs in over TLS, with the password itself when that is asked for; gives whether it was.
async fn log_in(stage: &Stage, user: &str, password: &str) -> (Result<OkPacket, ErrPacket>, bool) {
    let mut client = Raw::connect(stage.address).await.start_tls().await;
    let plugin = String::from_utf8(client.greeting.auth_plugin.clone()).unwrap();
    let response = client.response(user, password, &plugin);
    client.send_packet(&response.encode()).await;
    let mut packet = client.packet().await;
    if packet[0] == 0xFE {
        packet = answer_switch(&mut client, &packet, password).await;
    }
    let is_asked = packet[..] == [AUTH_MORE_DATA, PERFORM_FULL_AUTH];
    if is_asked {
        client.send_packet(&[password.as_bytes(), b"\0"].concat()).await;
    }
    if is_asked || packet[0] == AUTH_MORE_DATA {
        return (client.finish_login().await, is_asked);
    }
    (client.ok_or_err(&packet), is_asked)
}

async fn answer_switch(client: &mut Raw, packet: &[u8], password: &str) -> Bytes {
    let switch = AuthSwitchRequest::parse(packet).unwrap();
    assert_eq!(switch.plugin, b"caching_sha2_password");
    let answer = auth::answer(&switch.plugin, password.as_bytes(), &switch.challenge).unwrap();
    client.send_packet(&answer).await;
    client.packet().await
}

#[tokio::test]
async fn the_first_client_brings_the_password_and_the_others_need_not() {
    for (facts, hash) in [
        (mysql(), NATIVE),
        (mysql(), CACHING_SHA2),
        (mariadb(), NATIVE),
        (mariadb(), CACHING_SHA2),
    ] {
        let stage = stage(facts, hash).await;
        assert_eq!(log_in(&stage, "app", "wrong").await.0.unwrap_err().code, 1045);
        let (logged_in, is_asked) = log_in(&stage, "app", "app secret").await;
        assert!(logged_in.is_ok() && is_asked);
        let password = stage.seen.identities.lock().unwrap()[0].password.clone();
        assert_eq!(password, "app secret", "the servers are given the password itself");
        let (logged_in, is_asked) = log_in(&stage, "app", "app secret").await;
        assert!(logged_in.is_ok() && !is_asked);
        assert_eq!(log_in(&stage, "app", "wrong").await.0.unwrap_err().code, 1045);
    }
}

#[tokio::test]
async fn accounts_with_hashes_are_not_told_apart() {
    for facts in [mysql(), mariadb()] {
        let stage = stage(facts, NATIVE).await;
        for user in ["app", "other", "stranger"] {
            let (refused, is_asked) = log_in(&stage, user, "wrong").await;
            assert!(is_asked && refused.unwrap_err().code == 1045, "{user}");
            let (refused, is_asked) = log_in(&stage, user, "").await;
            assert!(!is_asked && refused.unwrap_err().code == 1045, "{user}");
        }
        assert!(log_in(&stage, "other", "other secret").await.0.is_ok());
        assert!(log_in(&stage, "nobody", "").await.0.is_ok());
    }
}

#[tokio::test]
async fn a_password_in_clear_teaches_too_and_then_old_clients_log_in() {
    let stage = stage(mariadb(), CACHING_SHA2).await;
    let mut old = Raw::connect(stage.address).await;
    old.capabilities.remove(CapabilityFlags::PLUGIN_AUTH);
    let err = old.log_in("app", "app secret").await.unwrap_err();
    assert_eq!(err.code, 1045, "a client that knows no plugins cannot bring it");

    let mut client = Raw::connect(stage.address).await.start_tls().await;
    let mut response = client.response("app", "", "mysql_clear_password");
    response.auth_response = b"app secret\0".to_vec();
    client.send_packet(&response.encode()).await;
    client.finish_login().await.unwrap();

    let mut old = Raw::connect(stage.address).await;
    old.capabilities.remove(CapabilityFlags::PLUGIN_AUTH);
    old.log_in("app", "app secret").await.unwrap();
}

#[tokio::test]
async fn change_user_learns_as_well() {
    let stage = stage(mysql(), NATIVE).await;
    let mut client = Raw::connect(stage.address).await.start_tls().await;
    client.log_in("other", "other secret").await.unwrap();
    client.command(b"\x11app\0\0\0\x2d\0mysql_native_password\0").await;
    let switch = AuthSwitchRequest::parse(&client.packet().await).unwrap();
    let answer = auth::answer(&switch.plugin, b"app secret", &switch.challenge).unwrap();
    client.send_packet(&answer).await;
    let packet = client.packet().await;
    let packet = answer_switch(&mut client, &packet, "app secret").await;
    assert_eq!(packet[..], [AUTH_MORE_DATA, PERFORM_FULL_AUTH]);
    client.send_packet(b"app secret\0").await;
    client.finish_login().await.unwrap();
    assert!(!log_in(&stage, "app", "app secret").await.1, "it is known now");
}
