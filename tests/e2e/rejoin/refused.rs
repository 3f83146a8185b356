//! What cannot be brought up from the log: the server is `diverged` and says why, or Grove does not start. The others go on.

use std::time::Instant;

use grove_testkit::admin::Member;
use grove_testkit::equality::assert_servers_equal;
use grove_testkit::{Cluster, Kind};
use mysql_async::prelude::Queryable;
use rustix::process::Signal;

use super::{LIMIT, with_log};
use crate::stage::{PROXYD, run};

async fn start() -> Cluster {
    let options = with_log(Kind::MariaDb).configuration("timeouts:\n  no_backend_wait_ms: 2000\n");
    let cluster = Cluster::start_with(options, PROXYD).await.unwrap();
    let mut conn = cluster.client().await.unwrap();
    run(
        &mut conn,
        &["CREATE TABLE kept (id INT PRIMARY KEY)", "INSERT INTO kept VALUES (1)"],
    )
    .await;
    conn.disconnect().await.unwrap();
    cluster
}

/// Past Grove.
async fn on_server(cluster: &Cluster, place: usize, sql: &str) {
    let mut conn = cluster.look_at(place).await.unwrap();
    conn.query_drop(sql).await.unwrap();
    conn.disconnect().await.unwrap();
}

async fn wait_until_diverged(cluster: &Cluster, name: &str) -> Member {
    let deadline = Instant::now() + LIMIT;
    loop {
        let members = cluster.members().await.unwrap();
        let member = members.iter().find(|member| member.name == name).unwrap();
        if member.state == "diverged" {
            return member.clone();
        }
        assert!(Instant::now() < deadline, "{members:?}");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

/// Reads and writes work, and the servers that are left hold the same.
async fn the_others_go_on(cluster: &Cluster, others: &[&str]) {
    let mut conn = cluster.client().await.unwrap();
    run(&mut conn, &["INSERT INTO kept VALUES (1000)"]).await;
    let rows: Vec<u64> = conn.query("SELECT id FROM kept ORDER BY id").await.unwrap();
    assert_eq!(rows.last(), Some(&1000), "{rows:?}");
    conn.disconnect().await.unwrap();
    let online = cluster.online().await.unwrap();
    let online: Vec<&str> = online.iter().map(|server| server.name()).collect();
    assert_eq!(online, others);
    assert_servers_equal(cluster).await;
}

#[tokio::test]
async fn a_server_without_its_positions_is_diverged() {
    let mut cluster = start().await;
    cluster.server("db2").unwrap().kill().await;
    cluster.wait_for_eviction("db2", LIMIT).await.unwrap();
    let mut conn = cluster.client().await.unwrap();
    run(&mut conn, &["INSERT INTO kept VALUES (2)"]).await;
    // Grove would take the server back at once.
    cluster.grove().unwrap().signal(Signal::STOP);
    cluster.server("db2").unwrap().start().await.unwrap();
    on_server(&cluster, 1, "DROP DATABASE _grove").await;
    cluster.grove().unwrap().signal(Signal::CONT);
    let member = wait_until_diverged(&cluster, "db2").await;
    let reason = "it has never held a position of this recovery log";
    assert!(member.reason.contains(reason), "{member:?}");
    the_others_go_on(&cluster, &["db1", "db3"]).await;
}

#[tokio::test]
async fn a_server_with_a_position_beyond_the_log_is_diverged() {
    let mut cluster = start().await;
    let status = cluster.stop_grove().unwrap().terminate().await.unwrap();
    assert!(status.success(), "{status}");
    on_server(&cluster, 2, "INSERT INTO _grove.applied VALUES (1000000, 0)").await;
    cluster.start_grove().await.unwrap();
    let member = wait_until_diverged(&cluster, "db3").await;
    let reason = "it holds entry 1000000, and the recovery log ends at";
    assert!(member.reason.contains(reason), "{member:?}");
    the_others_go_on(&cluster, &["db1", "db2"]).await;
}

#[tokio::test]
async fn grove_does_not_begin_a_new_log_on_servers_at_different_positions_of_an_old_one() {
    let mut cluster = start().await;
    cluster.server("db3").unwrap().kill().await;
    cluster.wait_for_eviction("db3", LIMIT).await.unwrap();
    let mut conn = cluster.client().await.unwrap();
    run(&mut conn, &["INSERT INTO kept VALUES (2)"]).await;
    conn.disconnect().await.unwrap();
    let status = cluster.stop_grove().unwrap().terminate().await.unwrap();
    assert!(status.success(), "{status}");
    cluster.server("db3").unwrap().start().await.unwrap();
    std::fs::remove_dir_all(cluster.directory().join("recovery-log")).unwrap();
    let refusal = format!("{:#}", cluster.start_grove().await.unwrap_err());
    let reason = "the recovery log is empty, and the servers do not hold the same of the one before";
    assert!(refusal.contains(reason), "{refusal}");
}
