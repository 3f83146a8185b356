//! Everyday programs over four clients: their transcripts through Grove are those against a single server.

use std::path::PathBuf;
use std::time::Duration;

use grove_testkit::Kind;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, IsolationLevel, Row, TxOpts, params};
use tokio::process::Command;

use crate::stage::{Notes, Place, Stage, code, row_text};

/// Where `scripts/install-drivers.sh` puts the drivers.
fn installed(path: &str) -> PathBuf {
    let cache = match std::env::var_os("GROVE_CACHE").filter(|value| !value.is_empty()) {
        Some(cache) => PathBuf::from(cache),
        None => PathBuf::from(std::env::var_os("HOME").unwrap()).join(".cache/grove"),
    };
    let path = cache.join("drivers").join(path);
    assert!(
        path.exists(),
        "{} is missing: run scripts/install-drivers.sh",
        path.display()
    );
    path
}

fn program(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/drivers")
        .join(name)
}

/// Runs a program to its end and takes its output as notes.
async fn transcript(mut command: Command, place: Place) -> Notes {
    command
        .arg(place.address.ip().to_string())
        .arg(place.address.port().to_string());
    // MariaDB has no TLS without certificates of its own; Grove always has.
    if place.kind == Kind::MySql {
        command.arg("tls");
    }
    let running = command.kill_on_drop(true).output();
    let output = tokio::time::timeout(Duration::from_secs(120), running).await;
    let output = output.unwrap_or_else(|_| panic!("{command:?} does not end")).unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{command:?} against {place:?}: {}\n{text}\n{errors}",
        output.status
    );
    assert!(
        text.contains("done"),
        "{command:?} did not come to its end:\n{text}\n{errors}"
    );
    let mut notes = Notes::default();
    text.lines().for_each(|line| notes.line(line));
    notes
}

async fn pymysql(place: Place) -> Notes {
    let mut command = Command::new(installed("python/bin/python"));
    command.arg(program("everyday.py"));
    transcript(command, place).await
}

async fn mysql2(place: Place) -> Notes {
    let modules = installed("node/node_modules");
    assert!(
        modules.join("mysql2").exists(),
        "mysql2 is missing: run scripts/install-drivers.sh"
    );
    let mut command = Command::new("node");
    command.env("NODE_PATH", modules).arg(program("everyday.js"));
    transcript(command, place).await
}

async fn command_line(place: Place) -> Notes {
    let mut command = Command::new("sh");
    command.arg(program("everyday.sh"));
    transcript(command, place).await
}

/// TLS towards clients is Grove's own, whatever its servers have.
#[tokio::test]
async fn clients_may_use_tls_in_front_of_servers_without_it() {
    let cluster = grove_testkit::Cluster::start(Kind::MariaDb, 1, crate::stage::PROXYD)
        .await
        .unwrap();
    let place = Place {
        address: cluster.grove_address(),
        kind: Kind::MySql,
    };
    let mut command = Command::new("sh");
    command.arg(program("everyday.sh"));
    let notes = transcript(command, place).await;
    assert!(
        notes.contains("SSL:\t\t\tin use") || notes.contains("in use"),
        "{notes:?}"
    );
    let mut command = Command::new(installed("python/bin/python"));
    command.arg(program("everyday.py"));
    assert!(transcript(command, place).await.contains("over TLS: (True"));
}

async fn mysql_async_work(place: Place) -> Notes {
    let mut notes = Notes::default();
    let pool = mysql_async::Pool::new(place.opts());
    let mut conn = pool.get_conn().await.unwrap();
    conn.query_drop("CREATE TABLE money (id INT PRIMARY KEY AUTO_INCREMENT, owner VARCHAR(50) UNIQUE, balance DECIMAL(12, 2) NOT NULL) DEFAULT CHARSET=utf8mb4").await.unwrap();
    let owners = ["Zoë", "Łukasz", "🦀"];
    conn.exec_batch(
        "INSERT INTO money (owner, balance) VALUES (:owner, :balance)",
        owners
            .iter()
            .enumerate()
            .map(|(index, owner)| params! { "owner" => owner, "balance" => format!("{}.50", index * 100) }),
    )
    .await
    .unwrap();
    // Its batch is one command where a server offers MariaDB's bulk execution, so the last insert id is not the same everywhere.

    let mut options = TxOpts::default();
    options
        .with_isolation_level(IsolationLevel::RepeatableRead)
        .with_consistent_snapshot(true);
    for commits in [true, false] {
        let mut transaction = conn.start_transaction(options.clone()).await.unwrap();
        transaction
            .exec_drop("UPDATE money SET balance = balance - ? WHERE owner = ?", (10, "🦀"))
            .await
            .unwrap();
        transaction
            .exec_drop("UPDATE money SET balance = balance + ? WHERE owner = ?", (10, "Zoë"))
            .await
            .unwrap();
        notes.note("updated", transaction.affected_rows());
        let row: Option<Row> = transaction
            .query_first("SELECT * FROM money WHERE owner = 'Zoë'")
            .await
            .unwrap();
        notes.note("inside", row.map(|row| row_text(&row)));
        if commits {
            transaction.commit().await.unwrap();
        } else {
            transaction.rollback().await.unwrap();
        }
    }
    // A transaction that is dropped is rolled back before the connection is used again.
    {
        let mut dropped = conn.start_transaction(TxOpts::default()).await.unwrap();
        dropped.query_drop("DELETE FROM money").await.unwrap();
    }
    let rows: Vec<Row> = conn.query("SELECT * FROM money ORDER BY id").await.unwrap();
    notes.note("rows", rows.iter().map(row_text).collect::<Vec<_>>());
    let duplicate = conn
        .exec_drop("INSERT INTO money (owner, balance) VALUES (?, ?)", ("Zoë", 1))
        .await
        .unwrap_err();
    notes.note("duplicate", code(&duplicate));

    let mut several = conn
        .query_iter("SELECT 1; SELECT 'two', 2; UPDATE money SET balance = 0; SELECT 3")
        .await
        .unwrap();
    let mut results = Vec::new();
    while !several.is_empty() {
        results.push(
            several
                .collect::<Row>()
                .await
                .unwrap()
                .iter()
                .map(row_text)
                .collect::<Vec<_>>(),
        );
    }
    drop(several);
    notes.note("several", results);
    drop(conn);

    // A pool resets its connections when they come back.
    let workers = (0..8).map(|number: u32| {
        let pool = pool.clone();
        tokio::spawn(async move {
            for round in 0..10u32 {
                let mut conn: Conn = pool.get_conn().await.unwrap();
                let left: Option<Option<u32>> = conn.query_first("SELECT @mine").await.unwrap();
                assert_eq!(left, Some(None), "a variable of the connection's last user");
                conn.exec_drop("SET @mine = ?", (number,)).await.unwrap();
                conn.exec_drop(
                    "INSERT INTO money (owner, balance) VALUES (?, ?)",
                    (format!("{number}/{round}"), round),
                )
                .await
                .unwrap();
            }
        })
    });
    for worker in workers.collect::<Vec<_>>() {
        worker.await.unwrap();
    }
    let mut conn = pool.get_conn().await.unwrap();
    notes.query(&mut conn, "SELECT COUNT(*), SUM(balance) FROM money").await;
    drop(conn);
    pool.disconnect().await.unwrap();
    notes.line("done");
    notes
}

async fn every_driver(kind: Kind) {
    let stage = Stage::open(kind).await;
    stage.same_as_direct(pymysql).await;
    stage.same_as_direct(mysql2).await;
    stage.same_as_direct(command_line).await;
    stage.same_as_direct(mysql_async_work).await;
}

#[tokio::test]
async fn every_driver_does_its_everyday_work_on_mariadb() {
    every_driver(Kind::MariaDb).await;
}

#[tokio::test]
async fn every_driver_does_its_everyday_work_on_mysql() {
    every_driver(Kind::MySql).await;
}
