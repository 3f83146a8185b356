//! Probes and kills.

use crate::lab::{DB, Lab, MODERN, connect, identity, query, run, try_run, value};
use grove_engine::io::{Discard, KillKind, Leg, LegError, Servers};
use grove_testkit::Kind;
use grove_wire::{CapabilityFlags, ReplyShape};
use std::time::{Duration, Instant};

async fn probes(kind: Kind) {
    let lab = Lab::start(kind).await;
    let servers = lab.servers();
    let facts = servers.probe(DB).await.unwrap();
    let mut leg = lab.leg().await;
    let version = value(&mut leg, "SELECT VERSION()").await;
    assert!(facts.version.ends_with(&version), "{} and {version}", facts.version);
    assert!(
        facts
            .capabilities
            .contains(CapabilityFlags::DEPRECATE_EOF | CapabilityFlags::SESSION_TRACK)
    );
    assert_eq!(facts.autoinc_lock_mode, 1);
    assert_eq!(facts.isolation, "REPEATABLE-READ");
    assert_eq!(facts.lock_wait_timeout_s, 50);
    assert!(facts.sql_mode.contains("STRICT_TRANS_TABLES"));
    let plugin = match kind {
        Kind::MariaDb => "mysql_native_password",
        Kind::MySql => "caching_sha2_password",
    };
    assert_eq!(facts.auth_plugin, plugin);

    // Kept open, asked anew.
    let connections = value_of_status(&mut leg, "Connections").await;
    run(&mut leg, "SET GLOBAL innodb_lock_wait_timeout = 7").await;
    for _ in 0..5 {
        assert_eq!(servers.probe(DB).await.unwrap().lock_wait_timeout_s, 7);
    }
    assert_eq!(value_of_status(&mut leg, "Connections").await, connections);

    // A hung server is known within the limit, again and again; then it is well.
    lab.server().pause();
    for _ in 0..2 {
        let error = servers.probe(DB).await.err();
        assert!(matches!(error, Some(LegError::Timeout(_))), "{error:?}");
    }
    lab.server().resume();
    servers.probe(DB).await.unwrap();

    // So is a dead one, at once; and one that came back.
    lab.server().kill().await;
    assert!(matches!(servers.probe(DB).await, Err(LegError::Lost(_))));
    lab.server().start().await.unwrap();
    assert_eq!(servers.probe(DB).await.unwrap().lock_wait_timeout_s, 50);
}

async fn value_of_status(leg: &mut grove_backend::MysqlLeg, name: &str) -> String {
    crate::lab::values(leg, &format!("SHOW GLOBAL STATUS LIKE '{name}'"))
        .await
        .swap_remove(1)
}

#[tokio::test]
async fn mariadb_probes() {
    probes(Kind::MariaDb).await;
}

#[tokio::test]
async fn mysql_probes() {
    probes(Kind::MySql).await;
}

async fn kills(kind: Kind) {
    let lab = Lab::start(kind).await;
    let servers = lab.servers();
    let mut leg = connect(&servers, &identity(MODERN)).await.unwrap();
    run(&mut leg, "CREATE TABLE t AS SELECT 1 AS id").await;
    leg.send(&[query("SELECT 1 FROM t WHERE SLEEP(60)")]).await.unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    let began = Instant::now();
    servers.kill(DB, leg.thread_id(), KillKind::Query).await.unwrap();
    let reply = leg.receive(ReplyShape::Query, &mut Discard).await.unwrap();
    assert_eq!(reply.reply.err().map(|err| err.code), Some(1317));
    assert!(began.elapsed() < Duration::from_secs(5));
    run(&mut leg, "SELECT 1").await;

    leg.send(&[query("SELECT SLEEP(60)")]).await.unwrap();
    servers.kill(DB, leg.thread_id(), KillKind::Connection).await.unwrap();
    // Both servers may still send 1317 or another error before they close.
    let lost = match leg.receive(ReplyShape::Query, &mut Discard).await {
        Ok(_) => try_lost(&mut leg).await,
        Err(LegError::Lost(_)) => true,
        Err(error) => panic!("{error}"),
    };
    assert!(lost);
    let mut rounds = 0;
    loop {
        let mut admin = lab.leg().await;
        let sql = format!(
            "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE ID = {}",
            leg.thread_id()
        );
        if value(&mut admin, &sql).await == "0" {
            break;
        }
        rounds += 1;
        assert!(rounds < 100, "the connection is gone");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    servers.kill(DB, leg.thread_id(), KillKind::Query).await.unwrap();
    servers.kill(DB, leg.thread_id(), KillKind::Connection).await.unwrap();

    // Connections that end without a goodbye are counted by the server, and logged.
    let mut admin = lab.leg().await;
    let before = value_of_status(&mut admin, "Aborted_clients").await;
    let mut polite = lab.leg().await;
    assert!(try_run(&mut polite, "SELECT 1").await.reply.err().is_none());
    drop(polite);
    drop(servers);
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(value_of_status(&mut admin, "Aborted_clients").await, before);
}

async fn try_lost(leg: &mut grove_backend::MysqlLeg) -> bool {
    let _ = leg.send(&[query("SELECT 1")]).await;
    matches!(
        leg.receive(ReplyShape::Query, &mut Discard).await,
        Err(LegError::Lost(_))
    )
}

#[tokio::test]
async fn mariadb_kills() {
    kills(Kind::MariaDb).await;
}

#[tokio::test]
async fn mysql_kills() {
    kills(Kind::MySql).await;
}
