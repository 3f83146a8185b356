//! What a server missed while it was away: thousands of commits, definitions, accounts, and what an application with few rights wrote.

use grove_testkit::equality::assert_servers_equal;
use grove_testkit::{Cluster, ClusterOptions, Kind, options_of};
use mysql_async::Conn;
use mysql_async::prelude::Queryable;

use super::{LIMIT, wait_until_all_online, with_log};
use crate::stage::{PROXYD, run};

async fn start(options: ClusterOptions) -> Cluster {
    Cluster::start_with(options, PROXYD).await.unwrap()
}

async fn kill(cluster: &Cluster, name: &str) {
    cluster.server(name).unwrap().kill().await;
    cluster.wait_for_eviction(name, LIMIT).await.unwrap();
}

async fn comes_back(cluster: &Cluster, name: &str) {
    cluster.server(name).unwrap().start().await.unwrap();
    cluster.wait_until_online(name, LIMIT).await.unwrap();
}

/// The rights of an account as each server tells them.
async fn rights(cluster: &Cluster, account: &str) -> Vec<Vec<String>> {
    let mut all = Vec::new();
    for place in 0..cluster.servers().len() {
        let mut look = cluster.look_at(place).await.unwrap();
        let rights = look.query(format!("SHOW GRANTS FOR {account}")).await;
        let mut rights: Vec<String> = rights.unwrap_or_else(|error| panic!("server {place}: {error}"));
        rights.sort();
        all.push(rights);
    }
    all
}

#[tokio::test]
async fn a_server_that_missed_thousands_of_commits_comes_back_after_a_restart_of_grove() {
    let options = with_log(Kind::MariaDb).configuration("timeouts:\n  no_backend_wait_ms: 2000\n");
    let mut cluster = start(options).await;
    let mut conn = cluster.client().await.unwrap();
    run(
        &mut conn,
        &["CREATE TABLE small (writer INT, number INT, PRIMARY KEY (writer, number))"],
    )
    .await;
    kill(&cluster, "db3").await;
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..8 {
        let mut conn = cluster.client().await.unwrap();
        writers.spawn(async move {
            for number in 0..400 {
                let sql = format!("INSERT INTO small VALUES ({writer}, {number})");
                run(&mut conn, &[&sql]).await;
            }
        });
    }
    while let Some(written) = writers.join_next().await {
        written.unwrap();
    }
    conn.disconnect().await.unwrap();
    let status = cluster.stop_grove().unwrap().terminate().await.unwrap();
    assert!(status.success(), "{status}");
    cluster.start_grove().await.unwrap();
    for name in ["db1", "db2"] {
        cluster.wait_until_online(name, LIMIT).await.unwrap();
    }
    assert_eq!(cluster.online().await.unwrap().len(), 2);
    comes_back(&cluster, "db3").await;
    let mut look = cluster.look_at(2).await.unwrap();
    let count: Option<u64> = look.query_first("SELECT COUNT(*) FROM small").await.unwrap();
    assert_eq!(count, Some(3200));
    assert_servers_equal(&cluster).await;
}

async fn definitions_are_missed(kind: Kind) {
    let cluster = start(with_log(kind)).await;
    let mut conn = cluster.client().await.unwrap();
    run(
        &mut conn,
        &[
            "CREATE TABLE altered (id INT AUTO_INCREMENT PRIMARY KEY, v INT)",
            "CREATE TABLE dropped (id INT PRIMARY KEY)",
            "CREATE TABLE emptied (id INT AUTO_INCREMENT PRIMARY KEY, v INT)",
            "INSERT INTO altered (v) VALUES (1), (2), (3)",
            "INSERT INTO dropped VALUES (1)",
            "INSERT INTO emptied (v) VALUES (1), (2)",
        ],
    )
    .await;
    kill(&cluster, "db2").await;
    run(
        &mut conn,
        &[
            "INSERT INTO altered (v) VALUES (4)",
            "ALTER TABLE altered ADD COLUMN w VARCHAR(20) NOT NULL DEFAULT 'new', MODIFY v BIGINT",
            "INSERT INTO altered (v, w) VALUES (5000000000, 'wide')",
            "DROP TABLE dropped",
            "TRUNCATE TABLE emptied",
            "INSERT INTO emptied (v) VALUES (7)",
            "CREATE TABLE made (id INT AUTO_INCREMENT PRIMARY KEY, v INT, changes INT NOT NULL DEFAULT 0)",
            "INSERT INTO made (v) VALUES (1), (2)",
            "CREATE INDEX by_v ON made (v)",
            "CREATE VIEW seen AS SELECT id, v FROM made WHERE v > 1",
            "CREATE TRIGGER counts BEFORE UPDATE ON made FOR EACH ROW SET NEW.changes = OLD.changes + 1",
            "CREATE PROCEDURE raise(IN by_what INT) UPDATE made SET v = v + by_what",
            "CALL raise(10)",
            "UPDATE made SET v = v * 2 WHERE id = 1",
            "CREATE DATABASE elsewhere",
            "CREATE TABLE elsewhere.copy AS SELECT * FROM made",
            "CREATE USER reader IDENTIFIED BY 'reads-only'",
            "GRANT SELECT ON app.* TO reader",
            "GRANT INSERT, UPDATE (v) ON app.made TO reader",
        ],
    )
    .await;
    comes_back(&cluster, "db2").await;
    run(&mut conn, &["INSERT INTO made (v) VALUES (99)", "CALL raise(1)"]).await;
    let comparison = assert_servers_equal(&cluster).await;
    assert_eq!(comparison.tables, 4, "{comparison:?}");
    let rights = rights(&cluster, "reader").await;
    assert_eq!(rights[0].len(), 3, "{rights:?}");
    assert!(rights.iter().all(|other| *other == rights[0]), "{rights:#?}");
    for server in cluster.servers() {
        let mut reader = Conn::new(options_of(server.address(), "reader", "reads-only"))
            .await
            .unwrap();
        let values: Vec<i64> = reader.query("SELECT v FROM seen ORDER BY id").await.unwrap();
        assert_eq!(values, [23, 13, 100], "{}", server.name());
    }
}

#[tokio::test]
async fn definitions_and_accounts_that_a_server_missed_are_made_up_for_on_mariadb() {
    definitions_are_missed(Kind::MariaDb).await;
}

#[tokio::test]
async fn definitions_and_accounts_that_a_server_missed_are_made_up_for_on_mysql() {
    definitions_are_missed(Kind::MySql).await;
}

async fn an_account_with_few_rights(kind: Kind) {
    let cluster = start(with_log(kind).account("clerk", "clerks-word", "ALL ON app.*")).await;
    let mut conn = Conn::new(options_of(cluster.grove_address(), "clerk", "clerks-word"))
        .await
        .unwrap();
    run(
        &mut conn,
        &["CREATE TABLE letters (id INT AUTO_INCREMENT PRIMARY KEY, word VARCHAR(20))"],
    )
    .await;
    run(&mut conn, &["INSERT INTO letters (word) VALUES ('before'), ('too')"]).await;
    kill(&cluster, "db1").await;
    run(
        &mut conn,
        &[
            "INSERT INTO letters (word) VALUES ('meanwhile')",
            "BEGIN",
            "UPDATE letters SET word = CONCAT(word, '!') WHERE id = 1",
            "DELETE FROM letters WHERE id = 2",
            "COMMIT",
        ],
    )
    .await;
    comes_back(&cluster, "db1").await;
    run(&mut conn, &["INSERT INTO letters (word) VALUES ('after')"]).await;
    wait_until_all_online(&cluster).await;
    let comparison = assert_servers_equal(&cluster).await;
    assert_eq!(comparison.tables, 1, "{comparison:?}");
    for rights in rights(&cluster, "clerk").await {
        let groves: Vec<&String> = rights.iter().filter(|right| right.contains("_grove")).collect();
        assert_eq!(groves.len(), 2, "{rights:?}");
        assert!(
            groves[0].starts_with("GRANT INSERT ON `_grove`.`applied` TO "),
            "{rights:?}"
        );
        assert!(
            groves[1].starts_with("GRANT SELECT ON `_grove`.`fence` TO "),
            "{rights:?}"
        );
        assert_eq!(rights.len(), 4, "{rights:?}");
    }
}

#[tokio::test]
async fn what_an_account_with_few_rights_wrote_is_replayed_on_mariadb() {
    an_account_with_few_rights(Kind::MariaDb).await;
}

#[tokio::test]
async fn what_an_account_with_few_rights_wrote_is_replayed_on_mysql() {
    an_account_with_few_rights(Kind::MySql).await;
}
