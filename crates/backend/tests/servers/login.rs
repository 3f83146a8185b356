//! Accounts, plugins, schemas, attributes, refusals.

use crate::lab::{DB, Lab, MODERN, OLD, connect, identity, run, servers, short, value};
use grove_config::{BackendAddress, BackendTlsMode};
use grove_engine::io::{Identity, Leg, LegError, Servers};
use grove_testkit::Kind;
use grove_wire::CapabilityFlags;
use std::time::{Duration, Instant};

async fn everyday_logins(kind: Kind) {
    let lab = Lab::start(kind).await;
    let (over_tcp, name) = (
        lab.servers(),
        BackendAddress::Tcp {
            host: "localhost".into(),
            port: lab.server().port(),
        },
    );
    let over_name = servers(name, BackendTlsMode::Disabled, None, short());
    let over_socket = servers(lab.socket(), BackendTlsMode::Preferred, None, short());
    for (servers, transport) in [(&over_tcp, "TCP"), (&over_name, "host name"), (&over_socket, "socket")] {
        for capabilities in [MODERN, OLD] {
            let mut leg = connect(servers, &identity(capabilities)).await.unwrap();
            assert_eq!(leg.capabilities() & MODERN, capabilities, "{transport}");
            assert_eq!(value(&mut leg, "SELECT DATABASE()").await, "app");
            assert_eq!(value(&mut leg, "SELECT CONNECTION_ID()").await, "4000000");
            assert_eq!(
                value(&mut leg, "SELECT @@collation_connection").await,
                "utf8mb4_general_ci"
            );
        }
    }

    let wrong = Identity {
        password: "wrong".into(),
        ..identity(MODERN)
    };
    refused(connect(&over_tcp, &wrong).await.err(), 1045);
    let unknown = Identity {
        database: b"nowhere".to_vec(),
        ..identity(MODERN)
    };
    refused(connect(&over_tcp, &unknown).await.err(), 1049);

    let mut admin = lab.leg().await;
    run(&mut admin, "CREATE USER nobody@'%'").await;
    let nobody = Identity {
        user: "nobody".into(),
        password: String::new(),
        database: Vec::new(),
        ..identity(MODERN)
    };
    let mut leg = connect(&over_tcp, &nobody).await.unwrap();
    let id = value(&mut leg, "SELECT CONNECTION_ID()").await;
    assert_eq!(
        id,
        leg.thread_id().to_string(),
        "an account that may not set it shows the server's own id"
    );
    assert_eq!(value(&mut leg, "SELECT DATABASE()").await, "NULL");
}

fn refused(error: Option<LegError>, code: u16) {
    assert!(
        matches!(&error, Some(LegError::Refused(err)) if err.code == code),
        "{error:?}"
    );
}

#[tokio::test]
async fn mariadb_everyday_logins() {
    everyday_logins(Kind::MariaDb).await;
}

#[tokio::test]
async fn mysql_everyday_logins() {
    everyday_logins(Kind::MySql).await;
}

#[tokio::test]
async fn mysql_full_login_encrypts_the_password_over_plain_tcp() {
    let lab = Lab::start(Kind::MySql).await;
    let mut admin = lab.leg().await;
    run(
        &mut admin,
        "CREATE USER fresh@'%' IDENTIFIED WITH caching_sha2_password BY 'geheim'",
    )
    .await;
    let fresh = Identity {
        user: "fresh".into(),
        password: "geheim".into(),
        database: Vec::new(),
        ..identity(MODERN)
    };
    for (address, what) in [(lab.tcp(), "RSA"), (lab.socket(), "clear over a socket")] {
        // Empties the server's cache of passwords, so that the next login takes the full path and the one after it the fast one.
        run(&mut admin, "FLUSH PRIVILEGES").await;
        let servers = servers(address, BackendTlsMode::Disabled, None, short());
        for path in ["full", "fast"] {
            let mut leg = connect(&servers, &fresh)
                .await
                .unwrap_or_else(|error| panic!("{what}, {path}: {error}"));
            assert_eq!(value(&mut leg, "SELECT CURRENT_USER()").await, "fresh@%");
        }
    }
    run(&mut admin, "FLUSH PRIVILEGES").await;
    let wrong = Identity {
        password: "falsch".into(),
        ..fresh
    };
    refused(connect(&lab.servers(), &wrong).await.err(), 1045);
}

#[tokio::test]
async fn mysql_asks_for_a_plugin_that_is_not_supported() {
    let lab = Lab::start(Kind::MySql).await;
    let mut admin = lab.leg().await;
    run(
        &mut admin,
        "CREATE USER other@'%' IDENTIFIED WITH sha256_password BY 'geheim'",
    )
    .await;
    let other = Identity {
        user: "other".into(),
        password: "geheim".into(),
        ..identity(MODERN)
    };
    let error = connect(&lab.servers(), &other).await.err();
    assert!(
        matches!(&error, Some(LegError::Protocol(reason)) if reason.contains("sha256_password")),
        "the refusal names the plugin: {error:?}"
    );
}

async fn collations(kind: Kind, id: u16, name: &str) {
    let lab = Lab::start(kind).await;
    let large = Identity {
        collation: id,
        ..identity(MODERN)
    };
    let mut leg = connect(&lab.servers(), &large).await.unwrap();
    assert_eq!(value(&mut leg, "SELECT @@collation_connection").await, name);
    assert_eq!(value(&mut leg, "SELECT @@character_set_client").await, "utf8mb4");
    let unknown = Identity {
        collation: 60_000,
        ..identity(MODERN)
    };
    assert!(matches!(
        connect(&lab.servers(), &unknown).await.err(),
        Some(LegError::Refused(_))
    ));
}

#[tokio::test]
async fn mariadb_collations_with_large_ids() {
    collations(Kind::MariaDb, 2304, "utf8mb4_uca1400_ai_ci").await;
}

#[tokio::test]
async fn mysql_collations_with_large_ids() {
    collations(Kind::MySql, 305, "utf8mb4_0900_as_ci").await;
}

async fn too_many(kind: Kind) {
    let lab = Lab::with_options(kind, &["--max-connections=10"]).await;
    let (servers, mut legs) = (lab.servers(), Vec::new());
    let error = loop {
        match connect(&servers, &identity(MODERN)).await {
            Ok(leg) => legs.push(leg),
            Err(error) => break error,
        }
        assert!(legs.len() < 20);
    };
    refused(Some(error), 1040);
}

#[tokio::test]
async fn mariadb_says_too_many_connections() {
    too_many(Kind::MariaDb).await;
}

#[tokio::test]
async fn mysql_says_too_many_connections() {
    too_many(Kind::MySql).await;
}

#[tokio::test]
async fn a_server_without_the_clients_layout_is_refused() {
    // MariaDB 10.11 has no query attributes, which change the layout of COM_QUERY.
    let lab = Lab::start(Kind::MariaDb).await;
    let client = identity(MODERN | CapabilityFlags::QUERY_ATTRIBUTES);
    let error = connect(&lab.servers(), &client).await.err();
    assert!(
        matches!(&error, Some(LegError::Protocol(reason)) if reason.contains("QUERY_ATTRIBUTES") && reason.contains("db1")),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_dead_and_a_silent_server_are_known_in_time() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let timeouts = grove_config::Timeouts {
        connect: Duration::from_millis(300),
        ..short()
    };
    let port = silent.local_addr().unwrap().port();
    let address = |port| BackendAddress::Tcp {
        host: "127.0.0.1".into(),
        port,
    };
    let began = Instant::now();
    let error = connect(
        &servers(address(port), BackendTlsMode::Preferred, None, timeouts.clone()),
        &identity(MODERN),
    )
    .await
    .err();
    assert!(matches!(error, Some(LegError::Timeout(_))), "{error:?}");
    drop(silent);
    let gone = servers(address(port), BackendTlsMode::Preferred, None, timeouts.clone());
    let error = connect(&gone, &identity(MODERN)).await.err();
    assert!(
        matches!(&error, Some(LegError::Lost(reason)) if reason.contains("db1")),
        "{error:?}"
    );
    let socket = servers(
        BackendAddress::Socket("/nowhere/mysql.sock".into()),
        BackendTlsMode::Preferred,
        None,
        timeouts,
    );
    assert!(matches!(socket.probe(DB).await, Err(LegError::Lost(_))));
    assert!(began.elapsed() < Duration::from_secs(5));
}
