//! Transactions without any fault: savepoints, deadlocks, implicit commits, own writes, snapshots, isolation levels.

use std::time::Duration;

use grove_testkit::equality::{assert_servers_equal, compare_online};
use grove_testkit::{Cluster, ClusterOptions, Kind, Random};
use mysql_async::Conn;
use mysql_async::prelude::Queryable;

use crate::stage::{Notes, PROXYD, Place, Stage, assert_all_online, code, failing, one, run};

const ALL: &str = "SELECT COALESCE(GROUP_CONCAT(id, '=', v ORDER BY id), 'none') FROM app.t";

async fn endings(place: Place) -> Notes {
    let mut notes = Notes::default();
    let (mut conn, mut other) = (place.client().await, place.client().await);
    run(
        &mut conn,
        &[
            "CREATE TABLE t (id INT PRIMARY KEY, v INT)",
            "INSERT INTO t VALUES (1, 0)",
        ],
    )
    .await;
    let statements = [
        "BEGIN",
        "INSERT INTO t VALUES (2, 0)",
        "SAVEPOINT a",
        "UPDATE t SET v = 1",
        "SAVEPOINT b",
        "DELETE FROM t",
        "ROLLBACK TO a",
        "ROLLBACK TO b",
        "COMMIT",
        "BEGIN",
        "UPDATE t SET v = 2",
        "SAVEPOINT a",
        "INSERT INTO t VALUES (3, 3)",
        "RELEASE SAVEPOINT a",
        "ROLLBACK TO a",
        "ROLLBACK",
        // DDL commits what is open.
        "BEGIN",
        "UPDATE t SET v = 5",
        "CREATE TABLE other (a INT)",
        "ROLLBACK",
        // So do a second BEGIN, LOCK TABLES and SET autocommit = 1.
        "BEGIN",
        "UPDATE t SET v = 6",
        "BEGIN",
        "UPDATE t SET v = 7",
        "ROLLBACK",
        "SET autocommit = 0",
        "UPDATE t SET v = 8",
        "SET autocommit = 1",
        "ROLLBACK",
        "SET autocommit = 0",
        "UPDATE t SET v = 9",
        "ROLLBACK",
        "UPDATE t SET v = 10",
        "COMMIT",
        "SET autocommit = 1",
        "BEGIN",
        "UPDATE t SET v = 11",
        "LOCK TABLES t WRITE",
        "UPDATE t SET v = 12",
        "UNLOCK TABLES",
        "ROLLBACK",
        // A transaction goes on after a statement of it has failed.
        "BEGIN",
        "INSERT INTO t VALUES (20, 0)",
        "INSERT INTO t VALUES (20, 0)",
        "INSERT INTO t VALUES (21, 0), (1, 0)",
        "UPDATE t SET nothing = 1",
        "INSERT INTO t VALUES (22, 0)",
        "COMMIT",
        "START TRANSACTION READ ONLY",
        "INSERT INTO t VALUES (30, 0)",
        "SELECT COUNT(*) FROM t",
        "COMMIT",
        "START TRANSACTION WITH CONSISTENT SNAPSHOT",
        "INSERT INTO t VALUES (31, 0)",
        "COMMIT AND CHAIN",
        "INSERT INTO t VALUES (32, 0)",
        "ROLLBACK AND CHAIN",
        "INSERT INTO t VALUES (33, 0)",
        "COMMIT",
        "COMMIT",
        "ROLLBACK",
        "SET TRANSACTION ISOLATION LEVEL READ COMMITTED",
        "BEGIN",
        "UPDATE t SET v = 13",
        "COMMIT",
        "SET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE",
        "BEGIN",
        "SELECT COUNT(*) FROM t",
        "INSERT INTO t VALUES (40, 0)",
        "COMMIT",
        "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ",
        "SAVEPOINT outside",
        "ROLLBACK TO outside",
    ];
    let mut is_locked = false;
    for sql in statements {
        notes.query(&mut conn, sql).await;
        // Between LOCK TABLES and UNLOCK TABLES the other session would wait.
        is_locked = sql.starts_with("LOCK") || (is_locked && !sql.starts_with("UNLOCK"));
        if !is_locked {
            notes.query(&mut other, ALL).await;
        }
    }
    notes
}

async fn pair(place: Place) -> (Conn, Conn) {
    let (mut a, b) = (place.client().await, place.client().await);
    run(
        &mut a,
        &[
            "CREATE TABLE IF NOT EXISTS t (id INT PRIMARY KEY, v INT)",
            "REPLACE INTO t VALUES (1, 0), (2, 0), (3, 0)",
        ],
    )
    .await;
    (a, b)
}

/// Two sessions that wait for each other: one of them is the victim and loses all of its transaction, the other one nothing.
async fn deadlock(kind: Kind) {
    let cluster = Cluster::start(kind, 3, PROXYD).await.unwrap();
    for round in 0..5 {
        let (mut a, mut b) = pair(Place::of(&cluster)).await;
        run(&mut a, &["BEGIN", "UPDATE t SET v = 10 WHERE id = 1"]).await;
        run(
            &mut b,
            &[
                "BEGIN",
                "UPDATE t SET v = 20 WHERE id = 2",
                "INSERT INTO t VALUES (9, 9)",
            ],
        )
        .await;
        let waiting = tokio::spawn(async move {
            let result = a.query_drop("UPDATE t SET v = 11 WHERE id = 2").await;
            (a, result)
        });
        tokio::time::sleep(Duration::from_millis(100)).await;
        let second = b.query_drop("UPDATE t SET v = 21 WHERE id = 1").await;
        let (mut a, first) = waiting.await.unwrap();
        let expected = match (&first, &second) {
            (Ok(()), Err(error)) => {
                assert_eq!(code(error), 1213);
                // The victim's session is outside a transaction now; this one commits by itself.
                run(&mut b, &["UPDATE t SET v = 33 WHERE id = 3"]).await;
                run(&mut a, &["COMMIT"]).await;
                run(&mut b, &["ROLLBACK"]).await;
                "1=10,2=11,3=33"
            }
            (Err(error), Ok(())) => {
                assert_eq!(code(error), 1213);
                run(&mut a, &["UPDATE t SET v = 33 WHERE id = 3"]).await;
                run(&mut b, &["COMMIT"]).await;
                run(&mut a, &["ROLLBACK"]).await;
                "1=21,2=20,3=33,9=9"
            }
            both => panic!("round {round}: one of the two must be the victim: {both:?}"),
        };
        assert_eq!(one(&mut a, ALL).await, expected, "round {round}");
        run(&mut a, &["DELETE FROM t WHERE id = 9"]).await;
    }
    assert_all_online(&cluster).await;
    assert_servers_equal(&cluster).await;
}

#[tokio::test]
async fn a_deadlocks_victim_loses_its_whole_transaction_on_mariadb() {
    deadlock(Kind::MariaDb).await;
}

#[tokio::test]
async fn a_deadlocks_victim_loses_its_whole_transaction_on_mysql() {
    deadlock(Kind::MySql).await;
}

#[tokio::test]
async fn a_lock_wait_timeout_undoes_only_its_statement() {
    let cluster = Cluster::start(Kind::MariaDb, 3, PROXYD).await.unwrap();
    let (mut a, mut b) = pair(Place::of(&cluster)).await;
    run(&mut a, &["BEGIN", "UPDATE t SET v = 1 WHERE id = 1"]).await;
    run(
        &mut b,
        &[
            "SET innodb_lock_wait_timeout = 1",
            "BEGIN",
            "UPDATE t SET v = 2 WHERE id = 2",
        ],
    )
    .await;
    assert_eq!(failing(&mut b, "UPDATE t SET v = 2 WHERE id = 1").await, 1205);
    run(&mut b, &["UPDATE t SET v = 2 WHERE id = 3", "COMMIT"]).await;
    run(&mut a, &["COMMIT"]).await;
    assert_eq!(one(&mut a, ALL).await, "1=1,2=2,3=2");
    assert_all_online(&cluster).await;
    assert_servers_equal(&cluster).await;
}

/// An engine that joins a transaction only after a savepoint releases its locks at ROLLBACK TO SAVEPOINT, and others pass. A follower that comes
/// later must not execute what was taken back: it would find other rows than the lead.
async fn what_a_savepoint_takes_back(kind: Kind) {
    let cluster = Cluster::start(kind, 3, PROXYD).await.unwrap();
    let (mut a, mut b) = pair(Place::of(&cluster)).await;
    run(
        &mut a,
        &[
            "CREATE TABLE u (id INT PRIMARY KEY, v INT)",
            "INSERT INTO u VALUES (1, 0)",
        ],
    )
    .await;
    // The last one is not the lead. Its row makes the follower come late.
    let mut look = cluster.look_at(2).await.unwrap();
    run(&mut look, &["BEGIN", "SELECT v FROM app.u WHERE id = 1 FOR UPDATE"]).await;
    let taken_back = [
        "BEGIN",
        "SAVEPOINT here",
        "UPDATE u SET v = 1 WHERE id = 1",
        "DELETE FROM t WHERE v = 0",
        "ROLLBACK TO SAVEPOINT here",
    ];
    run(&mut a, &taken_back).await;
    run(&mut b, &["UPDATE t SET v = 5 WHERE id = 2"]).await;
    run(&mut look, &["ROLLBACK"]).await;
    run(&mut a, &["INSERT INTO t VALUES (9, 9)", "COMMIT"]).await;
    assert_eq!(one(&mut a, ALL).await, "1=0,2=5,3=0,9=9");
    assert_all_online(&cluster).await;
    assert_servers_equal(&cluster).await;
}

#[tokio::test]
async fn what_a_savepoint_takes_back_is_not_executed_late_on_mariadb() {
    what_a_savepoint_takes_back(Kind::MariaDb).await;
}

#[tokio::test]
async fn what_a_savepoint_takes_back_is_not_executed_late_on_mysql() {
    what_a_savepoint_takes_back(Kind::MySql).await;
}

/// A key that the client itself brings is not forced on followers, where the next row that wants one would take it: a routine's, or a
/// client's once the follower leads.
async fn a_key_of_the_clients_own(kind: Kind) {
    let cluster = Cluster::start(kind, 3, PROXYD).await.unwrap();
    let mut conn = Place::of(&cluster).client().await;
    let statements = [
        "CREATE TABLE k (id INT AUTO_INCREMENT PRIMARY KEY, v INT)",
        "CREATE TABLE l (id INT AUTO_INCREMENT PRIMARY KEY, v INT)",
        "CREATE PROCEDURE p() INSERT INTO l (v) VALUES (1), (2)",
        "INSERT INTO l (v) VALUES (0)",
        "INSERT INTO k VALUES (100, 1)",
        "CALL p()",
        "SET @id = 200",
        "BEGIN",
        "INSERT INTO k (v, id) VALUES (1, @id)",
        "COMMIT",
        "CALL p()",
    ];
    run(&mut conn, &statements).await;
    conn.exec_drop("INSERT INTO k (id, v) VALUES (?, ?)", (300, 3))
        .await
        .unwrap();
    run(
        &mut conn,
        &[
            "CALL p()",
            "INSERT INTO k (v) VALUES (5)",
            "INSERT INTO k VALUES (400, 4)",
        ],
    )
    .await;
    // Also where a connection is new: each is closed by its server, as after a wait_timeout.
    for server in cluster.servers() {
        let cut = cluster.cut_a_connection(server, &mut Random::new(1)).await.unwrap();
        assert!(cut.is_some(), "{} has no connection of the client", server.name());
    }
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(one(&mut conn, "SELECT LAST_INSERT_ID()").await, "301");
    assert_servers_equal(&cluster).await;
    assert_all_online(&cluster).await;
    cluster.lead().await.unwrap().kill().await;
    run(
        &mut conn,
        &["INSERT INTO l (v) VALUES (7)", "INSERT INTO k (v) VALUES (7)"],
    )
    .await;
    assert_eq!(one(&mut conn, "SELECT MAX(id) FROM k").await, "401");
    let compared = compare_online(&cluster).await.unwrap();
    assert!(compared.differences.is_empty(), "{:?}", compared.differences);
}

#[tokio::test]
async fn a_key_of_the_clients_own_is_used_once_on_mariadb() {
    a_key_of_the_clients_own(Kind::MariaDb).await;
}

#[tokio::test]
async fn a_key_of_the_clients_own_is_used_once_on_mysql() {
    a_key_of_the_clients_own(Kind::MySql).await;
}

#[tokio::test]
async fn an_acknowledged_write_is_seen_by_every_session_at_once() {
    let cluster = Cluster::start(Kind::MariaDb, 3, PROXYD).await.unwrap();
    let place = Place::of(&cluster);
    let (mut writer, mut reader) = pair(place).await;
    let mut readers = Vec::new();
    for _ in 0..6 {
        readers.push(place.client().await);
    }
    for round in 1..=60 {
        let sql = format!("UPDATE t SET v = {round} WHERE id = 1");
        if round % 2 == 0 {
            run(&mut writer, &[&sql]).await;
        } else {
            run(&mut writer, &["BEGIN", &sql, "COMMIT"]).await;
        }
        for reader in readers.iter_mut().chain([&mut reader]) {
            assert_eq!(one(reader, "SELECT v FROM t WHERE id = 1").await, round.to_string());
        }
    }
}

#[tokio::test]
async fn sessions_read_from_all_servers() {
    let cluster = Cluster::start(Kind::MariaDb, 3, PROXYD).await.unwrap();
    let place = Place::of(&cluster);
    let (mut kept, mut ports) = (Vec::new(), std::collections::BTreeSet::new());
    for _ in 0..9 {
        let mut conn = place.client().await;
        let port = one(&mut conn, "SELECT @@port").await;
        assert_eq!(
            one(&mut conn, "SELECT @@port").await,
            port,
            "a session keeps its server"
        );
        ports.insert(port);
        kept.push(conn);
    }
    let expected = cluster
        .servers()
        .iter()
        .map(|server| server.port().to_string())
        .collect();
    assert_eq!(ports, expected);
}

#[tokio::test]
async fn a_snapshot_stands_still_and_includes_own_writes() {
    let cluster = Cluster::start(Kind::MariaDb, 3, PROXYD).await.unwrap();
    for reads_first in [true, false] {
        let (mut a, mut b) = pair(Place::of(&cluster)).await;
        run(&mut a, &["BEGIN"]).await;
        if reads_first {
            assert_eq!(one(&mut a, ALL).await, "1=0,2=0,3=0");
        } else {
            run(&mut a, &["UPDATE t SET v = 1 WHERE id = 1"]).await;
            assert_eq!(one(&mut a, ALL).await, "1=1,2=0,3=0");
        }
        run(&mut b, &["UPDATE t SET v = 9 WHERE id = 3"]).await;
        run(&mut a, &["UPDATE t SET v = 1 WHERE id = 1"]).await;
        assert_eq!(one(&mut a, ALL).await, "1=1,2=0,3=0", "reads first: {reads_first}");
        run(&mut a, &["UPDATE t SET v = v + 1"]).await;
        assert_eq!(one(&mut a, ALL).await, "1=2,2=1,3=10", "a write sees what is committed");
        run(&mut a, &["COMMIT"]).await;
        assert_eq!(one(&mut b, ALL).await, "1=2,2=1,3=10");
    }
    assert_all_online(&cluster).await;
    assert_servers_equal(&cluster).await;
}

/// Locks that a client was given hold against every other session.
async fn locking_reads(place: Place) -> Notes {
    let mut notes = Notes::default();
    let (mut a, mut b) = pair(place).await;
    run(&mut b, &["SET innodb_lock_wait_timeout = 1"]).await;
    run(&mut a, &["BEGIN", "SELECT * FROM t WHERE id = 1 FOR UPDATE"]).await;
    notes.query(&mut b, "UPDATE t SET v = 1 WHERE id = 1").await;
    notes
        .query(&mut b, "SELECT v FROM t WHERE id = 1 LOCK IN SHARE MODE")
        .await;
    notes.query(&mut b, "SELECT v FROM t WHERE id = 1").await;
    notes
        .query(&mut b, "SELECT id FROM t ORDER BY id FOR UPDATE SKIP LOCKED")
        .await;
    notes
        .query(&mut b, "SELECT id FROM t WHERE id = 1 FOR UPDATE NOWAIT")
        .await;
    run(&mut a, &["COMMIT"]).await;
    notes.query(&mut b, "UPDATE t SET v = 1 WHERE id = 1").await;
    run(&mut a, &["BEGIN", "SELECT * FROM t WHERE id = 2 LOCK IN SHARE MODE"]).await;
    notes
        .query(&mut b, "SELECT v FROM t WHERE id = 2 LOCK IN SHARE MODE")
        .await;
    notes.query(&mut b, "UPDATE t SET v = 1 WHERE id = 2").await;
    run(&mut a, &["ROLLBACK"]).await;
    run(&mut a, &["BEGIN"]).await;
    run(&mut b, &["BEGIN"]).await;
    notes
        .query(&mut a, "SELECT id FROM t ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED")
        .await;
    notes
        .query(&mut b, "SELECT id FROM t ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED")
        .await;
    notes
        .query(&mut b, "SELECT id FROM t WHERE id = 1 FOR UPDATE NOWAIT")
        .await;
    notes.query(&mut b, "UPDATE t SET v = 50 WHERE id = 2").await;
    run(&mut a, &["COMMIT"]).await;
    run(&mut b, &["COMMIT"]).await;
    notes.query(&mut a, ALL).await;
    notes
}

async fn endings_and_locks(kind: Kind) {
    let stage = Stage::open(kind).await;
    stage.same_as_direct(endings).await;
    stage.same_as_direct(locking_reads).await;
}

#[tokio::test]
async fn transactions_end_and_lock_as_on_a_mariadb_server() {
    endings_and_locks(Kind::MariaDb).await;
}

#[tokio::test]
async fn transactions_end_and_lock_as_on_a_mysql_server() {
    endings_and_locks(Kind::MySql).await;
}

#[tokio::test]
async fn counters_of_auto_increment_columns_stay_equal_where_nothing_fails() {
    let cluster = Cluster::start(Kind::MariaDb, 3, PROXYD).await.unwrap();
    let mut conn = cluster.client().await.unwrap();
    run(
        &mut conn,
        &[
            "CREATE TABLE a (id INT AUTO_INCREMENT PRIMARY KEY, v INT)",
            "INSERT INTO a (v) VALUES (1), (2), (3)",
            "INSERT INTO a VALUES (NULL, 4), (20, 5), (NULL, 6)",
            "INSERT INTO a (v) SELECT v FROM a ORDER BY id",
            "BEGIN",
            "INSERT INTO a (v) VALUES (7)",
            "ROLLBACK",
            "INSERT INTO a (v) VALUES (8)",
            "REPLACE INTO a VALUES (1, 9), (NULL, 10)",
            "INSERT INTO a (id, v) VALUES (2, 0), (NULL, 11) ON DUPLICATE KEY UPDATE v = v + 1",
            "DELETE FROM a WHERE id > 15",
            "INSERT INTO a (v) VALUES (12)",
        ],
    )
    .await;
    let comparison = assert_servers_equal(&cluster).await;
    assert!(comparison.counters.is_empty(), "{:?}", comparison.counters);
    assert_all_online(&cluster).await;
}

/// An answer in rows reports no key. A failed insert has used one up on the lead alone, so the followers' own counters would give others.
async fn returned_keys(place: Place) -> Notes {
    let (mut notes, mut conn) = (Notes::default(), place.client().await);
    let fails = "INSERT INTO r (t) VALUES ('a')";
    for sql in [
        "CREATE TABLE r (id INT AUTO_INCREMENT PRIMARY KEY, t VARCHAR(20) UNIQUE, n BIGINT)",
        fails,
        fails,
        "INSERT INTO r (t) VALUES ('b') RETURNING id, t",
        "SELECT LAST_INSERT_ID()",
        fails,
        "INSERT INTO r (t) VALUES ('c'), ('d'), ('e') RETURNING id",
        fails,
        "REPLACE INTO r (t) VALUES ('c'), ('f') RETURNING id",
        fails,
        "INSERT INTO r (t) VALUES ('a'), ('g') ON DUPLICATE KEY UPDATE n = 5 RETURNING id, n",
        "INSERT INTO r (t) VALUES ('a') ON DUPLICATE KEY UPDATE n = 6 RETURNING id, n",
        "SELECT LAST_INSERT_ID()",
        "INSERT INTO r (id, t) VALUES (100, 'h') RETURNING id",
        "SELECT LAST_INSERT_ID()",
        "BEGIN",
        "INSERT INTO r (t, n) VALUES ('i', LAST_INSERT_ID()) RETURNING id, n",
        fails,
        "INSERT INTO r (t) VALUES ('j') RETURNING id",
        "INSERT INTO r (t, n) VALUES ('k', LAST_INSERT_ID())",
        "COMMIT",
        "SELECT * FROM r ORDER BY id",
    ] {
        notes.query(&mut conn, sql).await;
    }
    notes
}

#[tokio::test]
async fn keys_of_insert_returning_are_the_leads() {
    Stage::open(Kind::MariaDb).await.same_as_direct(returned_keys).await;
}

#[tokio::test]
async fn a_transaction_with_too_many_writes_is_refused_more_and_can_be_committed() {
    let options = ClusterOptions::new(Kind::MariaDb, 2).configuration("limits:\n  transaction_statements: 3\n");
    let cluster = Cluster::start_with(options, PROXYD).await.unwrap();
    let mut conn = cluster.client().await.unwrap();
    run(&mut conn, &["CREATE TABLE bounded (a INT)", "BEGIN"]).await;
    for _ in 0..3 {
        run(&mut conn, &["INSERT INTO bounded VALUES (1)"]).await;
    }
    for _ in 0..2 {
        assert_eq!(failing(&mut conn, "INSERT INTO bounded VALUES (2)").await, 1197);
    }
    assert_eq!(one(&mut conn, "SELECT COUNT(*) FROM bounded").await, "3");
    run(&mut conn, &["COMMIT", "INSERT INTO bounded VALUES (3)"]).await;
    assert_eq!(one(&mut conn, "SELECT GROUP_CONCAT(a) FROM bounded").await, "1,1,1,3");
    assert_servers_equal(&cluster).await;
}
