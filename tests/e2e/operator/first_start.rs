//! Grove's first start, with servers that hold data: they must hold the same, or one is named and the others become copies of it.

use grove_testkit::equality::assert_servers_equal;
use grove_testkit::{Cluster, Kind};
use mysql_async::prelude::Queryable;

use super::{LIMIT, options};
use crate::stage::{PROXYD, run};

/// Servers that hold what Grove has written, and that no Grove has known so far.
async fn strangers(kind: Kind) -> Cluster {
    let cluster = with_lost_log(kind).await;
    for place in 0..cluster.servers().len() {
        on_server(&cluster, place, "DROP DATABASE _grove").await;
    }
    cluster
}

/// Servers whose log is gone.
async fn with_lost_log(kind: Kind) -> Cluster {
    let mut cluster = Cluster::start_with(options(kind), PROXYD).await.unwrap();
    let mut conn = cluster.client().await.unwrap();
    run(
        &mut conn,
        &[
            "CREATE TABLE kept (id INT PRIMARY KEY, v VARCHAR(20))",
            "INSERT INTO kept VALUES (1, 'one'), (2, 'two')",
            "CREATE VIEW both_of_them AS SELECT * FROM kept",
        ],
    )
    .await;
    conn.disconnect().await.unwrap();
    let status = cluster.stop_grove().unwrap().terminate().await.unwrap();
    assert!(status.success(), "{status}");
    std::fs::remove_dir_all(cluster.directory().join("recovery-log")).unwrap();
    cluster
}

/// Past Grove.
async fn on_server(cluster: &Cluster, place: usize, sql: &str) {
    let mut conn = cluster.look_at(place).await.unwrap();
    conn.query_drop(sql).await.unwrap();
    conn.disconnect().await.unwrap();
}

fn begin_with(cluster: &Cluster, word: &str) {
    let file = cluster.directory().join("grove.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    let section = "recovery_log:\n";
    assert!(text.contains(section), "{text}");
    let text = text.replace(section, &format!("{section}  first_start: {word}\n"));
    std::fs::write(&file, text).unwrap();
}

async fn refusal(cluster: &mut Cluster) -> String {
    format!("{:#}", cluster.start_grove().await.unwrap_err())
}

async fn unequal_servers_are_refused(kind: Kind) {
    let mut cluster = strangers(kind).await;
    cluster.start_grove().await.unwrap();
    assert_eq!(cluster.online().await.unwrap().len(), 3);
    // One cluster at a time.
    drop(cluster);
    let mut cluster = strangers(kind).await;
    on_server(&cluster, 1, "INSERT INTO app.kept VALUES (3, 'three')").await;
    let said = refusal(&mut cluster).await;
    assert!(said.contains("db2 does not hold the same as db1"), "{said}");
    assert!(said.contains("the checksum of app.kept"), "{said}");
    on_server(&cluster, 1, "DELETE FROM app.kept WHERE id = 3").await;
    on_server(&cluster, 2, "ALTER VIEW app.both_of_them AS SELECT id FROM app.kept").await;
    on_server(&cluster, 2, "CREATE TABLE app.more (a INT)").await;
    let said = refusal(&mut cluster).await;
    assert!(said.contains("db3 does not hold the same as db1"), "{said}");
    assert!(said.contains("app.more is there only"), "{said}");
    assert!(said.contains("both_of_them"), "{said}");
    begin_with(&cluster, "trust");
    cluster.start_grove().await.unwrap();
    assert_eq!(cluster.online().await.unwrap().len(), 3);
}

#[tokio::test]
async fn unequal_servers_are_refused_on_mariadb() {
    unequal_servers_are_refused(Kind::MariaDb).await;
}

#[tokio::test]
async fn unequal_servers_are_refused_on_mysql() {
    unequal_servers_are_refused(Kind::MySql).await;
}

#[tokio::test]
async fn the_others_become_copies_of_the_server_that_is_named() {
    let mut cluster = strangers(Kind::MariaDb).await;
    on_server(&cluster, 0, "DROP DATABASE app").await;
    on_server(&cluster, 1, "INSERT INTO app.kept VALUES (3, 'three')").await;
    begin_with(&cluster, "db2");
    cluster.start_grove().await.unwrap();
    let mut conn = cluster.client().await.unwrap();
    run(&mut conn, &["INSERT INTO kept VALUES (4, 'four')"]).await;
    for name in ["db1", "db3"] {
        cluster.wait_until_online(name, LIMIT).await.unwrap();
    }
    assert_servers_equal(&cluster).await;
    for place in 0..3 {
        let mut look = cluster.look_at(place).await.unwrap();
        let ids: Vec<u32> = look.query("SELECT id FROM app.kept ORDER BY id").await.unwrap();
        assert_eq!(ids, [1, 2, 3, 4]);
    }
    // The word is for the first start alone.
    cluster.kill_grove().await.unwrap();
    cluster.start_grove().await.unwrap();
    assert_eq!(cluster.online().await.unwrap().len(), 3);
}

#[tokio::test]
async fn a_server_that_may_hold_something_newer_is_not_overwritten() {
    let mut cluster = with_lost_log(Kind::MariaDb).await;
    on_server(&cluster, 1, "DROP DATABASE _grove").await;
    begin_with(&cluster, "db2");
    let said = refusal(&mut cluster).await;
    assert!(said.contains("db1 holds all of log"), "{said}");
    assert!(said.contains("and db2 holds all of no log"), "{said}");
    let db3 = cluster.server("db3").unwrap();
    db3.kill().await;
    for place in 0..2 {
        on_server(&cluster, place, "DROP DATABASE IF EXISTS _grove").await;
    }
    let said = refusal(&mut cluster).await;
    assert!(said.contains("db3 does not answer"), "{said}");
    cluster.server("db3").unwrap().start().await.unwrap();
    on_server(&cluster, 2, "DROP DATABASE _grove").await;
    cluster.start_grove().await.unwrap();
    for name in ["db1", "db3"] {
        cluster.wait_until_online(name, LIMIT).await.unwrap();
    }
    assert_servers_equal(&cluster).await;
}
