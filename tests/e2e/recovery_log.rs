//! The recovery log on disk: what Grove decided is there after it was killed, `proxyd log` reads it, and a damaged log is refused.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use grove_testkit::{Cluster, ClusterOptions, Kind};
use mysql_async::Value;
use mysql_async::prelude::Queryable;
use serde_json::Value as Json;

use crate::stage::{PROXYD, Place, run};

/// A cluster whose Grove keeps its log in a directory, and that directory.
async fn cluster_with_log(kind: Kind) -> (Cluster, PathBuf) {
    let options = ClusterOptions::new(kind, 2)
        .configuration("recovery_log:\n  directory: recovery-log\n  segment_bytes: 1048576\n");
    let cluster = Cluster::start_with(options, PROXYD).await.unwrap();
    let directory = cluster.directory().join("recovery-log");
    (cluster, directory)
}

fn proxyd_log(arguments: &[&str], directory: &Path) -> Output {
    Command::new(PROXYD)
        .arg("log")
        .args(arguments)
        .arg(directory)
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// All entries from a position on, as JSON.
fn entries(directory: &Path, from: u64) -> Vec<Json> {
    let dump = proxyd_log(&["dump", "--format", "jsonl", "--from", &from.to_string()], directory);
    assert!(dump.status.success(), "{}", text(&dump.stderr));
    text(&dump.stdout)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

async fn decisions_survive(kind: Kind) {
    let (mut cluster, directory) = cluster_with_log(kind).await;
    let mut conn = Place::of(&cluster).client().await;
    run(&mut conn, &["CREATE TABLE kept (id INT PRIMARY KEY, v VARBINARY(9))"]).await;
    run(
        &mut conn,
        &["INSERT INTO kept VALUES (1, 'one')", "UPDATE kept SET v = 'two'"],
    )
    .await;
    let parameters = vec![Value::Int(2), Value::Bytes(vec![0xFF, 0])];
    conn.exec_drop("INSERT INTO kept VALUES (?, ?)", parameters)
        .await
        .unwrap();
    // The directory has one Grove at a time.
    let second = Command::new(PROXYD)
        .args(["run", "--config"])
        .arg(cluster.directory().join("grove.yaml"))
        .output()
        .unwrap();
    assert_eq!(second.status.code(), Some(1));
    assert!(text(&second.stderr).contains("is in use"), "{}", text(&second.stderr));
    drop(conn);
    drop(cluster.stop_grove());

    let found = entries(&directory, 1);
    let kinds: Vec<&str> = found.iter().map(|entry| entry["kind"].as_str().unwrap()).collect();
    assert_eq!(
        kinds,
        ["membership", "intent", "standalone", "unit", "unit", "unit"],
        "{found:#?}"
    );
    assert_eq!(found[0]["online"], serde_json::json!(["db1", "db2"]));
    assert_eq!(found[2]["intent"], 2);
    assert_eq!(found[3]["origin"]["user"], "app");
    assert_eq!(
        found[3]["statements"][0]["body"]["text"],
        "INSERT INTO kept VALUES (1, 'one')"
    );
    assert_eq!(found[3]["statements"][0]["results"][0]["affected_rows"], 1);
    // The table was made before the row, and the row before its update.
    assert_eq!(
        (&found[3]["depends_on"], &found[4]["depends_on"]),
        (&3.into(), &4.into())
    );
    assert_eq!(
        found[5]["statements"][0]["body"]["prepared"],
        "INSERT INTO kept VALUES (?, ?)"
    );
    let dump = text(&proxyd_log(&["dump"], &directory).stdout);
    assert!(dump.contains("unit depends_on=4 user=app"), "{dump}");

    cluster.start_grove().await.unwrap();
    let mut conn = Place::of(&cluster).client().await;
    run(&mut conn, &["DELETE FROM kept"]).await;
    let found = entries(&directory, 7);
    // Both servers joined, the group was formed, and the row was deleted.
    let kinds: Vec<&str> = found.iter().map(|entry| entry["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["membership", "membership", "membership", "unit"], "{found:#?}");
    assert_eq!(found[0]["position"], 7);
    assert_eq!(
        found[3]["depends_on"], 9,
        "what an earlier Grove wrote was committed before"
    );
    let verified = proxyd_log(&["verify"], &directory);
    assert!(verified.status.success(), "{}", text(&verified.stderr));
    assert!(
        text(&verified.stdout).contains("10 entries, 1 to 10"),
        "{}",
        text(&verified.stdout)
    );
    drop(conn);
    let status = cluster.stop_grove().unwrap().terminate().await.unwrap();
    assert!(status.success());
}

#[tokio::test]
async fn decisions_survive_a_kill_of_grove_on_mariadb() {
    decisions_survive(Kind::MariaDb).await;
}

#[tokio::test]
async fn decisions_survive_a_kill_of_grove_on_mysql() {
    decisions_survive(Kind::MySql).await;
}

#[tokio::test]
async fn grove_refuses_a_damaged_log_and_says_where() {
    let (mut cluster, directory) = cluster_with_log(Kind::MariaDb).await;
    let mut conn = Place::of(&cluster).client().await;
    run(&mut conn, &["CREATE TABLE damaged (id INT PRIMARY KEY)"]).await;
    for id in 0..20 {
        run(&mut conn, &[&format!("INSERT INTO damaged VALUES ({id})")]).await;
    }
    drop(conn);
    drop(cluster.stop_grove());
    let segment = directory.join("00000000000000000001.log");
    let mut content = std::fs::read(&segment).unwrap();
    let place = content.windows(6).position(|bytes| bytes == b"INSERT").unwrap();
    content[place] = b'U';
    std::fs::write(&segment, &content).unwrap();

    let verified = proxyd_log(&["verify"], &directory);
    assert_eq!(verified.status.code(), Some(1));
    let message = text(&verified.stderr);
    assert!(
        message.contains("00000000000000000001.log is damaged at byte"),
        "{message}"
    );
    // What is before the damage can be read.
    let dump = proxyd_log(&["dump"], &directory);
    assert_eq!(dump.status.code(), Some(1));
    assert!(text(&dump.stdout).contains("#3 "), "{}", text(&dump.stdout));
    assert!(!text(&dump.stdout).contains("#4 "), "{}", text(&dump.stdout));
    let refused = cluster.start_grove().await.unwrap_err();
    assert!(format!("{refused:#}").contains("is damaged at byte"), "{refused:#}");
    // A directory without a log, and a command line that is wrong.
    assert_eq!(proxyd_log(&["verify"], cluster.directory()).status.code(), Some(1));
    assert_eq!(
        proxyd_log(&["dump", "--format", "xml"], &directory).status.code(),
        Some(2)
    );
}
