//! Comparing all servers while clients go on: it finds every difference, and none that is not there.

use grove_testkit::{Cluster, Kind, admin};
use mysql_async::prelude::Queryable;
use serde_json::{Value, json};
use std::time::Duration;

use super::copied::fill_with_everything;
use super::{LIMIT, close_bank, open_bank, options};
use crate::stage::{PROXYD, run};

async fn compare(cluster: &Cluster) -> Value {
    admin::post(cluster.admin_address(), "/comparison", &json!({}))
        .await
        .unwrap();
    let begun = tokio::time::Instant::now();
    loop {
        let text = admin::get(cluster.admin_address(), "/comparison").await.unwrap();
        let comparison: Value = serde_json::from_str(&text).unwrap();
        if comparison["state"] != "running" {
            return comparison;
        }
        assert!(begun.elapsed() < LIMIT, "{comparison}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn assert_same(comparison: &Value) {
    assert_eq!(comparison["state"], "finished", "{comparison:#}");
    assert_eq!(comparison["differences"], json!([]), "{comparison:#}");
}

/// Past Grove.
async fn on_server(cluster: &Cluster, place: usize, sql: &[&str]) {
    let mut conn = cluster.look_at(place).await.unwrap();
    for statement in sql {
        conn.query_drop(*statement).await.unwrap();
    }
}

async fn differences_are_found(kind: Kind) {
    let cluster = Cluster::start_with(options(kind), PROXYD).await.unwrap();
    let mut conn = cluster.client().await.unwrap();
    fill_with_everything(&mut conn, kind).await;
    run(
        &mut conn,
        &[
            "CREATE TABLE many (id INT PRIMARY KEY, v INT)",
            "CREATE TABLE digits (d INT)",
            "INSERT INTO digits VALUES (0),(1),(2),(3),(4),(5),(6),(7),(8),(9)",
            "INSERT INTO many SELECT 10000*e.d+1000*d.d+100*c.d+10*b.d+a.d, 5 FROM digits a, digits b, digits c, digits d, digits e",
        ],
    )
    .await;
    let same = compare(&cluster).await;
    assert_same(&same);
    assert!(same["rows"].as_u64().unwrap() > 100_000, "{same:#}");
    on_server(
        &cluster,
        2,
        &[
            "USE app",
            "UPDATE many SET v = 6 WHERE id = 77777",
            "DELETE FROM many WHERE id = 12345",
            "UPDATE many SET id = -id WHERE id = 99999",
            "INSERT INTO digits VALUES (NULL)",
            "CREATE TABLE more (a INT)",
            "DROP VIEW a_on_top",
        ],
    )
    .await;
    let found = compare(&cluster).await;
    let differences = found["differences"].as_array().unwrap();
    let whats: Vec<&str> = differences
        .iter()
        .map(|found| found["what"].as_str().unwrap())
        .collect();
    assert!(differences.iter().all(|found| found["server"] == "db3"), "{found:#}");
    let named = |what: &str| whats.iter().any(|named| named.contains(what));
    assert!(named("definition of app.more is there only"), "{found:#}");
    assert!(named("view app.a_on_top is missing there"), "{found:#}");
    assert!(named("the rows of app.digits: 11 there, and 10 rows"), "{found:#}");
    // Down to a few keys each.
    let of_many: Vec<&&str> = whats.iter().filter(|what| what.contains("rows of app.many")).collect();
    for id in [-99_999, 12_345, 77_777, 99_999] {
        let holds = |what: &str| {
            let bound = |word: &str| {
                let (_, after) = what.split_once(word)?;
                let digits: String = after.chars().take_while(|c| c.is_ascii_digit() || *c == '-').collect();
                digits.parse::<i64>().ok()
            };
            let (from, below) = (bound(">="), bound("<"));
            let is_small = from.zip(below).is_none_or(|(from, below)| below - from < 20);
            from.is_none_or(|from| from <= id) && below.is_none_or(|below| id < below) && is_small
        };
        assert!(of_many.iter().any(|what| holds(what)), "{id}: {found:#}");
    }
    assert_eq!(whats.len(), of_many.len() + 3, "{found:#}");
}

#[tokio::test]
async fn differences_are_found_on_mariadb() {
    differences_are_found(Kind::MariaDb).await;
}

#[tokio::test]
async fn differences_are_found_on_mysql() {
    differences_are_found(Kind::MySql).await;
}

async fn under_load_equal_servers_are_equal(kind: Kind) {
    let cluster = Cluster::start_with(options(kind), PROXYD).await.unwrap();
    let bank = open_bank(&cluster).await;
    for _ in 0..10 {
        assert_same(&compare(&cluster).await);
        bank.wait_for_commits(20, LIMIT).await.unwrap();
    }
    close_bank(&cluster, bank).await;
}

#[tokio::test]
async fn under_load_equal_servers_are_equal_on_mariadb() {
    under_load_equal_servers_are_equal(Kind::MariaDb).await;
}

#[tokio::test]
async fn under_load_equal_servers_are_equal_on_mysql() {
    under_load_equal_servers_are_equal(Kind::MySql).await;
}
