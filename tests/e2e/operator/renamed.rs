//! Tables that change places while a copy reads: a snapshot shows what stands under a name now, with the rows of then.

use grove_testkit::equality::assert_servers_equal;
use grove_testkit::{Cluster, Kind};
use mysql_async::prelude::Queryable;
use serde_json::json;
use std::time::Duration;

use super::{LIMIT, options, wait_until_rebuilt};
use crate::stage::{PROXYD, run};

async fn tables_change_places(kind: Kind, fill: &str) {
    let cluster = Cluster::start_with(options(kind), PROXYD).await.unwrap();
    let mut conn = cluster.client().await.unwrap();
    run(
        &mut conn,
        &[
            // Pieces of the first table are on their way until near the end.
            "CREATE TABLE bulk (id INT PRIMARY KEY, filler VARCHAR(200) NOT NULL)",
            fill,
            "ANALYZE TABLE bulk",
            "CREATE TABLE y (id INT PRIMARY KEY, v INT)",
            "CREATE TABLE z (id INT PRIMARY KEY, v INT)",
            "INSERT INTO y VALUES (1, 1)",
            "INSERT INTO z VALUES (1, 2), (2, 2)",
        ],
    )
    .await;
    cluster.command("db3", "disable", &json!({})).await.unwrap();
    cluster.wait_for_state("db3", "disabled", LIMIT).await.unwrap();
    cluster
        .command("db3", "rebuild", &json!({"from": "db2"}))
        .await
        .unwrap();
    loop {
        let reason = cluster.wait_for_state("db3", "rebuilding", LIMIT).await.unwrap();
        if reason.contains("rows") && !reason.contains(" 0 of") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    run(&mut conn, &["RENAME TABLE y TO x, z TO y, x TO z"]).await;
    wait_until_rebuilt(&cluster, "db3").await;
    assert_servers_equal(&cluster).await;
    let rows: Option<u32> = cluster
        .look_at(2)
        .await
        .unwrap()
        .query_first("SELECT COUNT(*) FROM app.y")
        .await
        .unwrap();
    assert_eq!(rows, Some(2));
}

#[tokio::test]
async fn tables_change_places_on_mariadb() {
    let fill = "INSERT INTO bulk SELECT seq, REPEAT('x', 200) FROM seq_1_to_500000";
    tables_change_places(Kind::MariaDb, fill).await;
}

#[tokio::test]
async fn tables_change_places_on_mysql() {
    let fill = "INSERT INTO bulk WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000) \
                SELECT a.i * 1000 + b.i, REPEAT('x', 200) FROM n a JOIN n b WHERE a.i <= 500";
    tables_change_places(Kind::MySql, fill).await;
}
