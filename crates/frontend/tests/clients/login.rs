//! Greeting, authentication, TLS.

use crate::raw::{EVERYDAY, Raw};
use crate::stage::{Stage, mariadb, mysql};
use aws_lc_rs::rsa::{OAEP_SHA1_MGF1SHA1, OaepPublicEncryptingKey, PublicEncryptingKey};
use grove_config::ListenTlsMode;
use grove_wire::auth::{self, AUTH_MORE_DATA, FAST_AUTH_OK, PERFORM_FULL_AUTH, REQUEST_PUBLIC_KEY};
use grove_wire::handshake::AuthSwitchRequest;
use grove_wire::{CapabilityFlags, ErrPacket};
use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::pki_types::pem::PemObject;

fn check_denied(err: &ErrPacket, user: &str, password: &str) {
    assert_eq!((err.code, &err.sql_state), (1045, b"28000"));
    let message = format!("Access denied for user '{user}'@'localhost' (using password: {password})");
    assert_eq!(String::from_utf8_lossy(&err.message), message);
}

async fn tls_stage(mode: ListenTlsMode) -> Stage {
    Stage::with(mysql(), |config| config.listen.tls.mode = mode).await
}

fn encrypt(pem: &[u8], password: &[u8], challenge: &[u8]) -> Vec<u8> {
    let der = SubjectPublicKeyInfoDer::from_pem_slice(pem).unwrap();
    let key = OaepPublicEncryptingKey::new(PublicEncryptingKey::from_der(&der).unwrap()).unwrap();
    let mut out = vec![0; key.ciphertext_size()];
    let masked = auth::mask_password(password, challenge);
    key.encrypt(&OAEP_SHA1_MGF1SHA1, &masked, &mut out, None)
        .unwrap()
        .to_vec()
}

#[tokio::test]
async fn the_greeting_is_the_servers_own_but_for_what_grove_cannot_do() {
    let stage = Stage::with(mariadb(), |_| {}).await;
    let (first, second) = (Raw::connect(stage.address).await, Raw::connect(stage.address).await);
    let greeting = &first.greeting;
    assert_eq!(greeting.version, b"5.5.5-10.11.14-MariaDB");
    assert_eq!(
        (greeting.collation, &greeting.auth_plugin[..]),
        (45, &b"mysql_native_password"[..])
    );
    assert!(!greeting.capabilities.contains(CapabilityFlags::SSL));
    let beyond = CapabilityFlags(greeting.capabilities.0 >> 25 << 25);
    let extended = CapabilityFlags::STMT_BULK_OPERATIONS | CapabilityFlags::EXTENDED_METADATA;
    assert_eq!(beyond, extended, "nothing unknown is offered");
    assert!(greeting.capabilities.contains(CapabilityFlags::DEPRECATE_EOF));
    assert_ne!(greeting.challenge, second.greeting.challenge);
    assert_ne!(greeting.connection_id, second.greeting.connection_id);
}

#[tokio::test]
async fn what_one_of_the_servers_lacks_is_not_offered() {
    let mut older = mariadb();
    older.capabilities.remove(CapabilityFlags::EXTENDED_METADATA);
    for (servers, is_offered) in [
        (vec![mariadb(), older.clone()], false),
        (vec![older, mariadb()], false),
        (vec![mariadb(), mariadb()], true),
    ] {
        let stage = Stage::of_servers(servers, |_| {}).await.unwrap();
        let capabilities = Raw::connect(stage.address).await.greeting.capabilities;
        assert_eq!(capabilities.contains(CapabilityFlags::EXTENDED_METADATA), is_offered);
        assert!(capabilities.contains(CapabilityFlags::DEPRECATE_EOF));
    }
}

#[tokio::test]
async fn both_plugins_log_in_and_the_servers_see_who_it_is() {
    for facts in [mysql(), mariadb()] {
        let stage = Stage::with(facts, |_| {}).await;
        let mut client = Raw::login(stage.address, "app", "app secret").await;
        client.query("anything").await.unwrap();
        let identities = stage.seen.identities.lock().unwrap();
        assert_eq!(
            (identities[0].user.as_str(), identities[0].password.as_str()),
            ("app", "app secret")
        );
        assert_eq!(
            identities[0].capabilities.0,
            client.capabilities.0 & client.greeting.capabilities.0
        );
        assert_eq!(identities[0].connection_id, client.greeting.connection_id);
    }
}

#[tokio::test]
async fn a_client_may_answer_with_the_other_plugin() {
    let stage = Stage::open().await;
    let mut client = Raw::connect(stage.address).await;
    let response = client.response("app", "app secret", "mysql_native_password");
    client.send_packet(&response.encode()).await;
    client.finish_login().await.unwrap();
}

#[tokio::test]
async fn an_account_without_a_password_logs_in_without_one_only() {
    for plugin in ["mysql_native_password", "caching_sha2_password"] {
        let stage = Stage::open().await;
        let mut client = Raw::connect(stage.address).await;
        let response = client.response("nobody", "", plugin);
        client.send_packet(&response.encode()).await;
        client.finish_login().await.unwrap();
        let mut client = Raw::connect(stage.address).await;
        let response = client.response("app", "", plugin);
        client.send_packet(&response.encode()).await;
        check_denied(&client.finish_login().await.unwrap_err(), "app", "NO");
        assert!(client.read().await.is_none());
    }
}

#[tokio::test]
async fn wrong_passwords_and_unknown_users_are_refused_alike() {
    let stage = Stage::with(mariadb(), |_| {}).await;
    for (user, password) in [("app", "wrong"), ("stranger", "app secret")] {
        let mut client = Raw::connect(stage.address).await;
        let response = client.response(user, password, "mysql_native_password");
        client.send_packet(&response.encode()).await;
        check_denied(&client.finish_login().await.unwrap_err(), user, "YES");
        assert!(client.read().await.is_none(), "the connection ends");
    }
    assert_eq!(stage.metrics.refused_logins.value(), 2);
    assert!(stage.seen.identities.lock().unwrap().is_empty(), "no server is asked");
}

#[tokio::test]
async fn an_unknown_plugin_is_answered_with_a_switch() {
    for facts in [mysql(), mariadb()] {
        let stage = Stage::with(facts, |_| {}).await;
        let mut client = Raw::connect(stage.address).await;
        let response = client.response("app", "", "parsec");
        client.send_packet(&response.encode()).await;
        let switch = AuthSwitchRequest::parse(&client.packet().await).unwrap();
        assert_eq!(switch.plugin, client.greeting.auth_plugin);
        assert_ne!(switch.challenge, client.greeting.challenge);
        let answer = auth::answer(&switch.plugin, b"app secret", &switch.challenge).unwrap();
        client.send_packet(&answer).await;
        client.finish_login().await.unwrap();
    }
}

#[tokio::test]
async fn a_client_that_names_it_may_sign_a_long_challenge() {
    let stage = Stage::open().await;
    for (user, password, is_right) in [
        ("app", &b"app secret"[..], true),
        ("app", b"wrong", false),
        ("stranger", b"app secret", false),
    ] {
        let mut client = Raw::connect(stage.address).await;
        let response = client.response(user, "app secret", auth::ED25519);
        client.send_packet(&response.encode()).await;
        let switch = AuthSwitchRequest::parse(&client.packet().await).unwrap();
        assert_eq!(switch.plugin, auth::ED25519.as_bytes());
        assert_eq!(switch.challenge.len(), auth::ED25519_CHALLENGE_LEN);
        client.send_packet(&auth::ed25519(password, &switch.challenge)).await;
        assert_eq!(client.finish_login().await.is_ok(), is_right, "{user}");
    }
}

#[tokio::test]
async fn a_wrong_fast_answer_takes_the_full_path_with_rsa() {
    let stage = Stage::open().await;
    for (user, password, is_right) in [
        ("app", &b"app secret"[..], true),
        ("app", b"wrong", false),
        ("stranger", b"app secret", false),
    ] {
        let mut client = Raw::connect(stage.address).await;
        let response = client.response(user, "not it", "caching_sha2_password");
        client.send_packet(&response.encode()).await;
        assert_eq!(client.packet().await[..], [AUTH_MORE_DATA, PERFORM_FULL_AUTH]);
        client.send_packet(&[REQUEST_PUBLIC_KEY]).await;
        let key = client.packet().await;
        assert_eq!(key[0], AUTH_MORE_DATA);
        let encrypted = encrypt(&key[1..], password, &client.greeting.challenge);
        client.send_packet(&encrypted).await;
        match client.finish_login().await {
            Ok(_) => assert!(is_right),
            Err(err) => {
                assert!(!is_right);
                check_denied(&err, user, "YES");
            }
        }
    }
}

#[tokio::test]
async fn rubbish_instead_of_an_encrypted_password_is_refused() {
    let stage = Stage::open().await;
    for rubbish in [&b""[..], b"app secret\0", &[7; 256], &[7; 5000]] {
        let mut client = Raw::connect(stage.address).await;
        let response = client.response("app", "not it", "caching_sha2_password");
        client.send_packet(&response.encode()).await;
        client.packet().await;
        client.send_packet(rubbish).await;
        check_denied(&client.finish_login().await.unwrap_err(), "app", "YES");
    }
}

#[tokio::test]
async fn over_tls_the_full_path_takes_the_password_itself() {
    let stage = tls_stage(ListenTlsMode::Preferred).await;
    for (password, is_right) in [(&b"app secret\0"[..], true), (b"wrong\0", false)] {
        let mut client = Raw::connect(stage.address).await.start_tls().await;
        let response = client.response("app", "not it", "caching_sha2_password");
        client.send_packet(&response.encode()).await;
        assert_eq!(client.packet().await[..], [AUTH_MORE_DATA, PERFORM_FULL_AUTH]);
        client.send_packet(password).await;
        assert_eq!(client.finish_login().await.is_ok(), is_right);
    }
}

#[tokio::test]
async fn a_tls_client_works_and_a_large_result_comes_through() {
    let stage = tls_stage(ListenTlsMode::Required).await;
    let mut client = Raw::connect(stage.address).await.start_tls().await;
    let response = client.response("app", "app secret", "caching_sha2_password");
    client.send_packet(&response.encode()).await;
    assert_eq!(client.packet().await[..], [AUTH_MORE_DATA, FAST_AUTH_OK]);
    client.finish_login().await.unwrap();
    client.command(b"\x03rows 1000 500").await;
    assert_eq!(client.result().await.len(), 1003);
    assert!(
        !stage.seen.identities.lock().unwrap()[0]
            .capabilities
            .contains(CapabilityFlags::SSL)
    );
}

#[tokio::test]
async fn plain_clients_are_refused_where_tls_is_required() {
    let stage = tls_stage(ListenTlsMode::Required).await;
    let mut client = Raw::connect(stage.address).await;
    let response = client.response("app", "app secret", "caching_sha2_password");
    client.send_packet(&response.encode()).await;
    assert_eq!(client.finish_login().await.unwrap_err().code, 3159);
}

#[tokio::test]
async fn tls_that_was_not_offered_is_a_bad_handshake() {
    let stage = Stage::open().await;
    let mut client = Raw::connect(stage.address).await;
    client.capabilities.insert(CapabilityFlags::SSL);
    let request = client.response("", "", "").encode_ssl_request();
    client.send_packet(&request).await;
    assert_eq!(client.finish_login().await.unwrap_err().code, 1043);
}

#[tokio::test]
async fn handshakes_that_make_no_sense_are_refused() {
    let stage = Stage::open().await;
    let mut client = Raw::connect(stage.address).await;
    client.send_packet(b"hello").await;
    let err = client.finish_login().await.unwrap_err();
    assert_eq!((err.code, &err.sql_state), (1043, b"08S01"));
    // The protocol before 4.1.
    let mut client = Raw::connect(stage.address).await;
    client.capabilities.remove(CapabilityFlags::PROTOCOL_41);
    let payload = client.response("app", "app secret", "caching_sha2_password").encode();
    client.send_packet(&payload).await;
    assert_eq!(client.finish_login().await.unwrap_err().code, 1043);
    let mut client = Raw::connect(stage.address).await;
    client.capabilities.remove(CapabilityFlags::SECURE_CONNECTION);
    client.capabilities.remove(CapabilityFlags::PLUGIN_AUTH);
    let mut old = client.response("app", "", "");
    old.auth_response = b"oldoldol".to_vec();
    let mut payload = old.encode();
    payload.truncate(32 + 4);
    payload.extend_from_slice(b"oldoldol\0");
    client.send_packet(&payload).await;
    assert_eq!(client.finish_login().await.unwrap_err().code, 1251);
    let mut client = Raw::connect(stage.address).await;
    client.sequence = 3;
    let response = client.response("app", "app secret", "caching_sha2_password");
    client.send_packet(&response.encode()).await;
    client.sequence = 1;
    assert_eq!(client.finish_login().await.unwrap_err().code, 1156);
}

#[tokio::test]
async fn the_schema_is_the_clients_or_the_accounts_and_an_unknown_one_is_the_servers_error() {
    let stage = Stage::open().await;
    for (user, password, asked, expected) in [
        ("app", "app secret", "shop", "shop"),
        ("other", "other secret", "", "others"),
        ("other", "other secret", "shop", "shop"),
    ] {
        let mut client = Raw::connect(stage.address).await;
        let mut response = client.response(user, password, "caching_sha2_password");
        response.database = asked.into();
        client.send_packet(&response.encode()).await;
        client.finish_login().await.unwrap();
        let identities = stage.seen.identities.lock().unwrap();
        assert_eq!(identities.last().unwrap().database, expected.as_bytes());
    }
    let mut client = Raw::connect(stage.address).await;
    let mut response = client.response("app", "app secret", "caching_sha2_password");
    response.database = b"nowhere".to_vec();
    client.send_packet(&response.encode()).await;
    let err = client.finish_login().await.unwrap_err();
    assert_eq!((err.code, &err.message[..]), (1049, &b"Unknown database 'nowhere'"[..]));
}

#[tokio::test]
async fn only_what_both_sides_can_do_is_in_force() {
    let stage = Stage::open().await;
    let mut capabilities = EVERYDAY;
    capabilities.insert(CapabilityFlags::OPTIONAL_RESULTSET_METADATA);
    let mut client = Raw::login_with(stage.address, "app", "app secret", capabilities).await;
    client.query("anything").await.unwrap();
    assert_eq!(stage.seen.identities.lock().unwrap()[0].capabilities, EVERYDAY);
}

#[tokio::test]
async fn what_changes_a_servers_behaviour_is_passed_on() {
    let flags = CapabilityFlags::NO_SCHEMA
        | CapabilityFlags::ODBC
        | CapabilityFlags::IGNORE_SPACE
        | CapabilityFlags::INTERACTIVE
        | CapabilityFlags::CAN_HANDLE_EXPIRED_PASSWORDS;
    for facts in [mysql(), mariadb()] {
        let stage = Stage::with(facts, |_| {}).await;
        let mut client = Raw::login_with(stage.address, "app", "app secret", EVERYDAY | flags).await;
        client.query("anything").await.unwrap();
        let mut plain = Raw::login_with(stage.address, "app", "app secret", EVERYDAY).await;
        plain.query("anything").await.unwrap();
        let identities = stage.seen.identities.lock().unwrap();
        assert_eq!(identities[0].capabilities & flags, flags);
        assert_eq!((identities[1].capabilities & flags).0, 0);
    }
}

#[tokio::test]
async fn a_client_that_tracks_its_session_is_told_the_schema() {
    let stage = Stage::open().await;
    let mut client = Raw::connect(stage.address).await;
    client.capabilities.insert(CapabilityFlags::SESSION_TRACK);
    let mut response = client.response("app", "app secret", "caching_sha2_password");
    response.database = b"shop".to_vec();
    client.send_packet(&response.encode()).await;
    let ok = client.finish_login().await.unwrap();
    assert_eq!(ok.session_state[..], b"\x01\x05\x04shop"[..]);
}

/// An answer that is the password itself.
fn clear(client: &Raw, user: &str, password: &[u8]) -> Vec<u8> {
    let mut response = client.response(user, "", "mysql_clear_password");
    response.auth_response = [password, b"\0"].concat();
    response.encode()
}

#[tokio::test]
async fn over_tls_a_client_may_send_its_password_in_clear() {
    for facts in [mysql(), mariadb()] {
        let stage = Stage::with(facts, |config| config.listen.tls.mode = ListenTlsMode::Preferred).await;
        for (user, password, using) in [
            ("app", "wrong", "YES"),
            ("stranger", "app secret", "YES"),
            ("app", "", "NO"),
        ] {
            let mut client = Raw::connect(stage.address).await.start_tls().await;
            client.send_packet(&clear(&client, user, password.as_bytes())).await;
            check_denied(&client.finish_login().await.unwrap_err(), user, using);
        }
        for (user, password) in [("app", "app secret"), ("nobody", "")] {
            let mut client = Raw::connect(stage.address).await.start_tls().await;
            client.send_packet(&clear(&client, user, password.as_bytes())).await;
            client.finish_login().await.unwrap();
        }
    }
}

#[tokio::test]
async fn without_tls_a_password_in_clear_is_not_looked_at() {
    for facts in [mysql(), mariadb()] {
        let stage = Stage::with(facts, |config| config.listen.tls.mode = ListenTlsMode::Preferred).await;
        let mut client = Raw::connect(stage.address).await;
        client.send_packet(&clear(&client, "app", b"app secret")).await;
        let switch = AuthSwitchRequest::parse(&client.packet().await).unwrap();
        assert_eq!(switch.plugin, client.greeting.auth_plugin);
        let answer = auth::answer(&switch.plugin, b"app secret", &switch.challenge).unwrap();
        client.send_packet(&answer).await;
        client.finish_login().await.unwrap();
    }
}

#[tokio::test]
async fn change_user_takes_a_password_in_clear_over_tls_only() {
    let stage = tls_stage(ListenTlsMode::Preferred).await;
    let change = b"\x11other\0\0\0\x2d\0mysql_clear_password\0";
    let mut plain = Raw::login(stage.address, "app", "app secret").await;
    plain.command(change).await;
    let switch = AuthSwitchRequest::parse(&plain.packet().await).unwrap();
    assert_eq!(switch.plugin, b"caching_sha2_password");

    let mut encrypted = Raw::connect(stage.address).await.start_tls().await;
    encrypted.log_in("app", "app secret").await.unwrap();
    encrypted.command(change).await;
    let switch = AuthSwitchRequest::parse(&encrypted.packet().await).unwrap();
    assert_eq!(switch.plugin, b"mysql_clear_password");
    encrypted.send_packet(b"other secret\0").await;
    encrypted.finish_login().await.unwrap();
}
