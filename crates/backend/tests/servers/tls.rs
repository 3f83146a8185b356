//! TLS towards servers. MySQL makes its own certificates; MariaDB 10.11 has none unless it is given one.

use crate::lab::{Count, Lab, MODERN, connect, identity, query, run, servers, short, value, values};
use grove_config::BackendTlsMode;
use grove_engine::io::{Identity, Leg, LegError};
use grove_testkit::Kind;
use grove_wire::ReplyShape;

const CIPHER: &str = "SHOW SESSION STATUS LIKE 'Ssl_cipher'";

#[tokio::test]
async fn mysql_with_every_mode() {
    let lab = Lab::start(Kind::MySql).await;
    let ca = Some(lab.data().join("ca.pem"));
    let encrypted = [
        (lab.tcp(), BackendTlsMode::Disabled, None, false),
        (lab.tcp(), BackendTlsMode::Preferred, None, true),
        (lab.tcp(), BackendTlsMode::Required, None, true),
        (lab.tcp(), BackendTlsMode::VerifyCa, ca.clone(), true),
        (lab.socket(), BackendTlsMode::Preferred, None, false),
        (lab.socket(), BackendTlsMode::Required, None, true),
    ];
    for (address, mode, ca, wanted) in encrypted {
        let servers = servers(address.clone(), mode, ca, short());
        let mut leg = connect(&servers, &identity(MODERN)).await.unwrap();
        let is_encrypted = !values(&mut leg, CIPHER).await[1].is_empty();
        assert_eq!(is_encrypted, wanted, "{address} {mode:?}");
    }
    // A certificate of the server's own that has signed nothing.
    let stranger = servers(
        lab.tcp(),
        BackendTlsMode::VerifyCa,
        Some(lab.data().join("client-cert.pem")),
        short(),
    );
    let error = connect(&stranger, &identity(MODERN)).await.err();
    assert!(
        matches!(&error, Some(LegError::Lost(reason)) if reason.contains("TLS")),
        "{error:?}"
    );
    // The server's own certificate, trusted as it is.
    let pinned = servers(
        lab.tcp(),
        BackendTlsMode::VerifyCa,
        Some(lab.data().join("server-cert.pem")),
        short(),
    );
    connect(&pinned, &identity(MODERN)).await.unwrap();
}

#[tokio::test]
async fn mysql_full_login_under_tls_and_large_results() {
    let lab = Lab::start(Kind::MySql).await;
    let mut admin = lab.leg().await;
    run(
        &mut admin,
        "CREATE USER fresh@'%' IDENTIFIED WITH caching_sha2_password BY 'geheim' REQUIRE SSL",
    )
    .await;
    run(&mut admin, "FLUSH PRIVILEGES").await;
    let fresh = Identity {
        user: "fresh".into(),
        password: "geheim".into(),
        database: Vec::new(),
        ..identity(MODERN)
    };
    let encrypted = servers(lab.tcp(), BackendTlsMode::Required, None, short());
    let mut leg = connect(&encrypted, &fresh).await.unwrap();
    assert_eq!(value(&mut leg, "SELECT CURRENT_USER()").await, "fresh@%");
    let length = value(&mut leg, &format!("SELECT LENGTH('{}')", "x".repeat(20 << 20))).await;
    assert_eq!(length, (20 << 20).to_string());
    leg.send(&[query("SELECT REPEAT('x', 20 << 20)")]).await.unwrap();
    let mut count = Count::default();
    leg.receive(ReplyShape::Query, &mut count).await.unwrap();
    assert!(count.bytes > 20 << 20);
    assert!(count.largest_piece <= 64 << 10);
}

#[tokio::test]
async fn mariadb_without_a_certificate() {
    let lab = Lab::start(Kind::MariaDb).await;
    let preferred = servers(lab.tcp(), BackendTlsMode::Preferred, None, short());
    connect(&preferred, &identity(MODERN)).await.unwrap();
    let required = servers(lab.tcp(), BackendTlsMode::Required, None, short());
    let error = connect(&required, &identity(MODERN)).await.err();
    assert!(
        matches!(&error, Some(LegError::Protocol(reason)) if reason.contains("TLS")),
        "{error:?}"
    );
}
