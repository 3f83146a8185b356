//! What servers must have in common to take part: Grove sees to it when one comes back, and says what is wrong before it serves.

use grove_testkit::equality::assert_servers_equal;
use grove_testkit::{Cluster, ClusterOptions, Kind};
use mysql_async::prelude::Queryable;
use serde_json::json;
use std::time::Duration;

use crate::stage::{PROXYD, run};

/// A busy machine takes its time.
const LIMIT: Duration = Duration::from_secs(90);

fn options(kind: Kind) -> ClusterOptions {
    ClusterOptions::new(kind, 3).configuration("recovery_log:\n  directory: recovery-log\n")
}

/// Past Grove.
async fn on_server(cluster: &Cluster, place: usize, sql: &str) {
    let mut conn = cluster.look_at(place).await.unwrap();
    conn.query_drop(sql).await.unwrap();
    conn.disconnect().await.unwrap();
}

async fn global(cluster: &Cluster, place: usize, variable: &str) -> String {
    let mut conn = cluster.look_at(place).await.unwrap();
    let value: Option<String> = conn.query_first(format!("SELECT @@GLOBAL.{variable}")).await.unwrap();
    value.unwrap()
}

/// It has forgotten what SET GLOBAL had said, and would cut what it computes.
async fn a_restarted_server_gets_the_settings_back(kind: Kind) {
    let cluster = Cluster::start_with(options(kind), PROXYD).await.unwrap();
    for place in 0..3 {
        assert_eq!(global(&cluster, place, "event_scheduler").await, "OFF");
        on_server(&cluster, place, "SET GLOBAL group_concat_max_len = 4").await;
        on_server(&cluster, place, "SET GLOBAL sql_mode = 'ANSI_QUOTES'").await;
    }
    let mut conn = cluster.client().await.unwrap();
    run(&mut conn, &["CREATE TABLE t (a INT PRIMARY KEY, b VARCHAR(20))"]).await;
    let db2 = cluster.server("db2").unwrap();
    db2.kill().await;
    cluster.wait_for_eviction("db2", LIMIT).await.unwrap();
    // It must mean the same there when it is made up for.
    run(
        &mut conn,
        &[
            "CREATE EVENT nightly ON SCHEDULE EVERY 1 DAY DO DO 1",
            "INSERT INTO t VALUES (11, 'abc'), (12, 'def')",
            "INSERT INTO t SELECT 13, x FROM (SELECT GROUP_CONCAT(b ORDER BY a) AS x FROM t) AS y",
            "INSERT INTO t SELECT 14, \"b\" FROM t WHERE a = 11",
            "DELETE FROM t",
            "INSERT INTO t VALUES (21, 'ghi'), (22, 'jkl')",
            "INSERT INTO t SELECT 23, x FROM (SELECT GROUP_CONCAT(b ORDER BY a) AS x FROM t) AS y",
        ],
    )
    .await;
    db2.start().await.unwrap();
    cluster.wait_until_online("db2", LIMIT).await.unwrap();
    assert_eq!(global(&cluster, 1, "event_scheduler").await, "OFF");
    assert_servers_equal(&cluster).await;
    assert_eq!(global(&cluster, 1, "group_concat_max_len").await, "4");
    assert_eq!(global(&cluster, 1, "sql_mode").await, "ANSI_QUOTES");
    let mut conn = cluster.client().await.unwrap();
    run(
        &mut conn,
        &[
            "INSERT INTO t VALUES (1, 'abc'), (2, 'def')",
            "INSERT INTO t SELECT 3, x FROM (SELECT GROUP_CONCAT(b ORDER BY a) AS x FROM t) AS y",
            "INSERT INTO t SELECT 4, \"b\" FROM t WHERE a = 1",
        ],
    )
    .await;
    assert_servers_equal(&cluster).await;
}

#[tokio::test]
async fn a_restarted_server_gets_the_settings_back_on_mariadb() {
    a_restarted_server_gets_the_settings_back(Kind::MariaDb).await;
}

#[tokio::test]
async fn a_restarted_server_gets_the_settings_back_on_mysql() {
    a_restarted_server_gets_the_settings_back(Kind::MySql).await;
}

#[tokio::test]
async fn a_server_that_cannot_be_written_to_stays_out_until_it_can() {
    let cluster = Cluster::start_with(options(Kind::MariaDb), PROXYD).await.unwrap();
    cluster.command("db2", "disable", &json!({})).await.unwrap();
    cluster.wait_for_state("db2", "disabled", LIMIT).await.unwrap();
    on_server(&cluster, 1, "SET GLOBAL read_only = ON").await;
    cluster.command("db2", "enable", &json!({})).await.unwrap();
    let reason = cluster.wait_for_state("db2", "failed", LIMIT).await.unwrap();
    assert!(reason.contains("SET GLOBAL read_only=OFF"), "{reason}");
    on_server(&cluster, 1, "SET GLOBAL read_only = OFF").await;
    cluster.wait_until_online("db2", LIMIT).await.unwrap();
}

/// Nobody knows which of them is meant.
async fn unequal_settings_are_refused_at_a_first_start(kind: Kind) {
    let mut cluster = Cluster::start_with(options(kind), PROXYD).await.unwrap();
    let status = cluster.stop_grove().unwrap().terminate().await.unwrap();
    assert!(status.success(), "{status}");
    std::fs::remove_dir_all(cluster.directory().join("recovery-log")).unwrap();
    on_server(&cluster, 2, "SET GLOBAL time_zone = '+01:00'").await;
    on_server(&cluster, 1, "CREATE EVENT app.nightly ON SCHEDULE EVERY 1 DAY DO DO 1").await;
    on_server(&cluster, 1, "SET GLOBAL event_scheduler = ON").await;
    let refusal = format!("{:#}", cluster.start_grove().await.unwrap_err());
    assert!(
        refusal.contains("time_zone is \"SYSTEM\" on db1, and \"+01:00\" on db3: SET GLOBAL time_zone"),
        "{refusal}"
    );
    assert!(
        refusal.contains("db2: the event scheduler is on") && refusal.contains("app.nightly"),
        "{refusal}"
    );
    on_server(&cluster, 2, "SET GLOBAL time_zone = 'SYSTEM'").await;
    on_server(&cluster, 1, "DROP EVENT app.nightly").await;
    cluster.start_grove().await.unwrap();
    assert_eq!(cluster.online().await.unwrap().len(), 3);
    assert_eq!(global(&cluster, 1, "event_scheduler").await, "OFF");
}

#[tokio::test]
async fn unequal_settings_are_refused_at_a_first_start_on_mariadb() {
    unequal_settings_are_refused_at_a_first_start(Kind::MariaDb).await;
}

#[tokio::test]
async fn unequal_settings_are_refused_at_a_first_start_on_mysql() {
    unequal_settings_are_refused_at_a_first_start(Kind::MySql).await;
}
