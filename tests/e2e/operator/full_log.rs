//! A recovery log that may not grow, while a server that is out needs its oldest entries: writes stop, or the server has to be rebuilt.

use grove_testkit::equality::assert_servers_equal;
use grove_testkit::{Cluster, ClusterOptions, Kind};
use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use serde_json::json;
use std::time::Duration;

use super::{LIMIT, wait_until_rebuilt};
use crate::stage::{PROXYD, run};

/// db3 is out, and the log has room for four MiB.
async fn start(when_full: &str) -> (Cluster, Conn) {
    let options = ClusterOptions::new(Kind::MariaDb, 3).configuration(&format!(
        "recovery_log:\n  directory: recovery-log\n  segment_bytes: 1048576\n  retention_bytes: 1048576\n  most_bytes: 4194304\n  when_full: {when_full}\n"
    ));
    let cluster = Cluster::start_with(options, PROXYD).await.unwrap();
    let mut conn = cluster.client().await.unwrap();
    run(&mut conn, &["CREATE TABLE t (id INT PRIMARY KEY, filler MEDIUMTEXT)"]).await;
    cluster.command("db3", "disable", &json!({})).await.unwrap();
    cluster.wait_for_state("db3", "disabled", LIMIT).await.unwrap();
    (cluster, conn)
}

/// A tenth of a MiB, whose text is in the log. Who needs what is told to the log once a second, so it is written slowly.
async fn write(conn: &mut Conn, id: u32) -> Result<(), mysql_async::Error> {
    tokio::time::sleep(Duration::from_millis(100)).await;
    let filler = "x".repeat(100 << 10);
    conn.query_drop(format!("INSERT INTO t VALUES ({id}, '{filler}')"))
        .await
}

#[tokio::test]
async fn a_server_that_the_log_gives_up_is_rebuilt() {
    let (cluster, mut conn) = start("evict_slowest").await;
    for id in 0..80 {
        write(&mut conn, id).await.unwrap();
    }
    cluster.command("db3", "enable", &json!({})).await.unwrap();
    let reason = cluster.wait_for_state("db3", "diverged", LIMIT).await.unwrap();
    assert!(reason.contains("the recovery log begins at"), "{reason}");
    cluster.command("db3", "rebuild", &json!({})).await.unwrap();
    wait_until_rebuilt(&cluster, "db3").await;
    assert_servers_equal(&cluster).await;
}

#[tokio::test]
async fn writes_stop_until_the_server_is_back() {
    let (mut cluster, mut conn) = start("stop_writes").await;
    let mut written = 0;
    let refusal = loop {
        match write(&mut conn, written).await {
            Ok(()) => written += 1,
            Err(error) => break error.to_string(),
        }
        assert!(written < 80, "nothing was refused");
    };
    assert!(refusal.contains("1180") && refusal.contains("db3"), "{refusal}");
    // Reads go on.
    let rows: Option<u32> = conn.query_first("SELECT COUNT(*) FROM t").await.unwrap();
    assert_eq!(rows, Some(written));
    // Neither does a Grove that starts need room.
    cluster.kill_grove().await.unwrap();
    cluster.start_grove().await.unwrap();
    let mut conn = cluster.client().await.unwrap();
    let refusal = write(&mut conn, written).await.unwrap_err().to_string();
    assert!(refusal.contains("1180") && refusal.contains("db3"), "{refusal}");
    // Nor a server to come back.
    cluster.command("db3", "enable", &json!({})).await.unwrap();
    cluster.wait_until_online("db3", LIMIT).await.unwrap();
    let begun = tokio::time::Instant::now();
    while let Err(error) = write(&mut conn, 1000).await {
        assert!(begun.elapsed() < LIMIT, "{error}");
    }
    assert_servers_equal(&cluster).await;
}
