//! An application's everyday work with `mysql_async`: batches, transactions that are dropped, several results, a pool.

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, IsolationLevel, Row, TxOpts, params};

use crate::stage::{Notes, Place, code, row_text};

pub async fn mysql_async_work(place: Place) -> Notes {
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
