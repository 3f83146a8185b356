//! Single sessions that lose a server at a chosen moment: what they set, read, locked and wrote goes on without it.

use std::time::{Duration, Instant};

use grove_testkit::equality::assert_servers_equal;
use grove_testkit::{Cluster, ClusterOptions, Kind, Server};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row};

use crate::stage::{PROXYD, answer, code, failing, one, run};

const SUM: &str = "SELECT CAST(SUM(v) AS SIGNED) FROM t";

/// A cluster with a table of three rows.
async fn stage(kind: Kind) -> (Cluster, Conn) {
    let cluster = Cluster::start(kind, 3, PROXYD).await.unwrap();
    let mut conn = cluster.client().await.unwrap();
    run(
        &mut conn,
        &[
            "CREATE TABLE t (id INT PRIMARY KEY, v INT NOT NULL)",
            "INSERT INTO t VALUES (1, 10), (2, 20), (3, 30)",
        ],
    )
    .await;
    (cluster, conn)
}

/// The server that the session reads from; asked outside a transaction, so that it is no read of one.
async fn reader<'a>(cluster: &'a Cluster, conn: &mut Conn) -> &'a Server {
    let port = one(conn, "SELECT @@port").await;
    cluster
        .servers()
        .iter()
        .find(|server| server.port().to_string() == port)
        .unwrap()
}

/// A session that reads from the lead, or from another server.
async fn session_reading(cluster: &Cluster, from_lead: bool) -> Conn {
    let lead = cluster.lead().await.unwrap().name().to_owned();
    let mut others = Vec::new();
    for _ in 0..30 {
        let mut conn = cluster.client().await.unwrap();
        if (reader(cluster, &mut conn).await.name() == lead) == from_lead {
            return conn;
        }
        others.push(conn);
    }
    panic!("no session of 30 reads where it should");
}

async fn survivors_are_equal(cluster: &Cluster, count: usize) {
    assert_eq!(cluster.online().await.unwrap().len(), count);
    assert_servers_equal(cluster).await;
}

async fn state_survives(kind: Kind, from_lead: bool) {
    let (cluster, _) = stage(kind).await;
    let mut conn = session_reading(&cluster, from_lead).await;
    run(
        &mut conn,
        &[
            "SET @x = 'ä', @n = 41, sql_mode = 'ANSI_QUOTES', time_zone = '+03:00', NAMES latin1 COLLATE latin1_bin",
            "SELECT @n + 1 INTO @n",
            "SET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE",
            "PREPARE p FROM 'SELECT v + ? FROM app.t WHERE id = 1'",
            "USE mysql",
        ],
    )
    .await;
    let statement = conn.prep("SELECT v + ? FROM app.t WHERE id = 2").await.unwrap();
    let questions = [
        "SELECT HEX(@x), @n, @@sql_mode, @@time_zone, @@collation_connection, DATABASE()",
        "SHOW VARIABLES LIKE 't%_isolation'",
        "EXECUTE p USING @n",
    ];
    let mut before = Vec::new();
    for question in questions {
        before.push(answer(&mut conn, question).await);
    }
    reader(&cluster, &mut conn).await.kill().await;
    for (question, before) in questions.iter().zip(&before) {
        assert_eq!(&answer(&mut conn, question).await, before, "{question}");
    }
    let row: Option<u32> = conn.exec_first(&statement, (5,)).await.unwrap();
    assert_eq!(row, Some(25));
    run(&mut conn, &["UPDATE app.t SET v = v + 1"]).await;
    survivors_are_equal(&cluster, 2).await;
}

#[tokio::test]
async fn session_state_survives_the_loss_of_the_lead_that_it_reads_from() {
    state_survives(Kind::MariaDb, true).await;
}

#[tokio::test]
async fn session_state_survives_the_loss_of_the_follower_that_it_reads_from() {
    state_survives(Kind::MariaDb, false).await;
}

#[tokio::test]
async fn session_state_survives_the_loss_of_its_mysql_server() {
    state_survives(Kind::MySql, true).await;
}

#[tokio::test]
async fn temporary_tables_survive_the_loss_of_a_server() {
    for from_lead in [true, false] {
        let (cluster, _) = stage(Kind::MariaDb).await;
        let mut conn = session_reading(&cluster, from_lead).await;
        run(
            &mut conn,
            &[
                "CREATE TEMPORARY TABLE mine (a INT)",
                "INSERT INTO mine VALUES (1), (2)",
                "DELETE FROM mine WHERE a = 1",
            ],
        )
        .await;
        reader(&cluster, &mut conn).await.kill().await;
        assert_eq!(
            one(&mut conn, "SELECT GROUP_CONCAT(a) FROM mine").await,
            "2",
            "from the lead: {from_lead}"
        );
        run(&mut conn, &["INSERT INTO t SELECT a + 100, a FROM mine"]).await;
        survivors_are_equal(&cluster, 2).await;
    }
}

/// A transaction that has written goes on when a server is lost, with its savepoints and its locks.
async fn writes_go_on(kind: Kind, lead_is_lost: bool) {
    let (cluster, mut conn) = stage(kind).await;
    let mut other = cluster.client().await.unwrap();
    run(
        &mut conn,
        &[
            "BEGIN",
            "UPDATE t SET v = v + 1 WHERE id = 1",
            "SAVEPOINT s",
            "UPDATE t SET v = 0",
            "ROLLBACK TO s",
            "INSERT INTO t VALUES (4, 40)",
        ],
    )
    .await;
    assert_eq!(one(&mut conn, SUM).await, "101");
    let lead = cluster.lead().await.unwrap().name().to_owned();
    let victim = cluster
        .servers()
        .iter()
        .find(|server| (server.name() == lead) == lead_is_lost)
        .unwrap();
    victim.kill().await;
    // The lock on row 1 is still held: others wait for it.
    run(&mut other, &["SET innodb_lock_wait_timeout = 1"]).await;
    assert_eq!(failing(&mut other, "UPDATE t SET v = 5 WHERE id = 1").await, 1205);
    run(&mut conn, &["UPDATE t SET v = v + 1 WHERE id = 2"]).await;
    assert_eq!(one(&mut conn, SUM).await, "102");
    assert_eq!(one(&mut other, SUM).await, "60");
    run(&mut conn, &["ROLLBACK TO s", "INSERT INTO t VALUES (5, 50)", "COMMIT"]).await;
    assert_eq!(
        one(&mut other, "SELECT GROUP_CONCAT(id, '=', v ORDER BY id) FROM t").await,
        "1=11,2=20,3=30,5=50"
    );
    survivors_are_equal(&cluster, 2).await;
}

#[tokio::test]
async fn a_transaction_that_wrote_goes_on_without_the_lead() {
    writes_go_on(Kind::MariaDb, true).await;
}

#[tokio::test]
async fn a_transaction_that_wrote_goes_on_without_a_follower() {
    writes_go_on(Kind::MariaDb, false).await;
}

#[tokio::test]
async fn a_transaction_that_wrote_goes_on_without_the_lead_on_mysql() {
    writes_go_on(Kind::MySql, true).await;
}

#[tokio::test]
async fn a_snapshot_goes_on_where_its_reads_give_the_same_answers() {
    for from_lead in [true, false] {
        let (cluster, _) = stage(Kind::MariaDb).await;
        let mut conn = session_reading(&cluster, from_lead).await;
        let mut other = cluster.client().await.unwrap();
        run(&mut conn, &["BEGIN"]).await;
        assert_eq!(one(&mut conn, SUM).await, "60");
        // A change elsewhere is no reason to give up.
        run(
            &mut other,
            &["CREATE TABLE unrelated (a INT)", "INSERT INTO unrelated VALUES (1)"],
        )
        .await;
        let lost = one(&mut other, "SELECT 1").await;
        assert_eq!(lost, "1");
        // The session's server, known by its port before the transaction: it has not moved since.
        let victim = reader_in_transaction(&cluster, &mut conn).await;
        victim.kill().await;
        assert_eq!(one(&mut conn, SUM).await, "60", "from the lead: {from_lead}");
        run(&mut conn, &["UPDATE t SET v = v + 1 WHERE id = 1"]).await;
        assert_eq!(one(&mut conn, SUM).await, "61");
        run(&mut conn, &["COMMIT"]).await;
        survivors_are_equal(&cluster, 2).await;
    }
}

/// The server on which the session's transaction has its snapshot, found from outside: the one with an open transaction.
async fn reader_in_transaction<'a>(cluster: &'a Cluster, _conn: &mut Conn) -> &'a Server {
    for (index, server) in cluster.servers().iter().enumerate() {
        let mut look = cluster.look_at(index).await.unwrap();
        let open = one(&mut look, "SELECT COUNT(*) FROM information_schema.innodb_trx").await;
        look.disconnect().await.unwrap();
        if open != "0" {
            return server;
        }
    }
    panic!("no server has an open transaction");
}

#[tokio::test]
async fn a_snapshot_that_cannot_be_had_again_ends_in_1213() {
    for from_lead in [true, false] {
        let (cluster, _) = stage(Kind::MariaDb).await;
        let mut conn = session_reading(&cluster, from_lead).await;
        let mut other = cluster.client().await.unwrap();
        run(&mut conn, &["BEGIN"]).await;
        assert_eq!(one(&mut conn, SUM).await, "60");
        run(&mut other, &["UPDATE t SET v = v + 1 WHERE id = 3"]).await;
        assert_eq!(one(&mut conn, SUM).await, "60");
        reader_in_transaction(&cluster, &mut conn).await.kill().await;
        assert_eq!(failing(&mut conn, SUM).await, 1213, "from the lead: {from_lead}");
        // As after any deadlock: the transaction is over, and the next attempt succeeds.
        run(&mut conn, &["BEGIN"]).await;
        assert_eq!(one(&mut conn, SUM).await, "61");
        run(&mut conn, &["UPDATE t SET v = v + 1 WHERE id = 1", "COMMIT"]).await;
        survivors_are_equal(&cluster, 2).await;
    }
}

/// The answer to SELECT .. INTO shows no value, and yet a write may use it: another server's value would be written on some servers only.
#[tokio::test]
async fn a_value_read_into_a_variable_is_part_of_the_snapshot() {
    let transaction = [
        "BEGIN",
        "SELECT SUM(v) INTO @sum FROM t",
        "INSERT INTO t VALUES (9, @sum)",
        "COMMIT",
    ];
    for from_lead in [true, false] {
        let (cluster, _) = stage(Kind::MariaDb).await;
        let mut conn = session_reading(&cluster, from_lead).await;
        let mut other = cluster.client().await.unwrap();
        run(&mut conn, &transaction[..2]).await;
        run(&mut other, &["UPDATE t SET v = v + 1 WHERE id = 3"]).await;
        reader_in_transaction(&cluster, &mut conn).await.kill().await;
        let written = if from_lead {
            // The write would run on a server that shows another sum.
            assert_eq!(failing(&mut conn, transaction[2]).await, 1213);
            run(&mut conn, &transaction).await;
            "61"
        } else {
            run(&mut conn, &transaction[2..]).await;
            "60"
        };
        let select = "SELECT v FROM t WHERE id = 9";
        assert_eq!(one(&mut conn, select).await, written, "from the lead: {from_lead}");
        survivors_are_equal(&cluster, 2).await;
    }
}

#[tokio::test]
async fn a_write_under_way_on_the_lost_lead_is_applied_once() {
    let (cluster, mut conn) = stage(Kind::MariaDb).await;
    for (round, inside) in [true, false].into_iter().enumerate() {
        if inside {
            run(&mut conn, &["BEGIN", "INSERT INTO t VALUES (7, 0)"]).await;
        }
        let working = tokio::spawn(async move {
            // Two seconds for the row that matches.
            let result = conn
                .query_drop("UPDATE t SET v = v + 1000 WHERE id = 1 AND SLEEP(2) = 0")
                .await;
            (conn, result)
        });
        tokio::time::sleep(Duration::from_millis(700)).await;
        cluster.lead().await.unwrap().kill().await;
        let (back, result) = working.await.unwrap();
        conn = back;
        result.unwrap_or_else(|error| panic!("round {round}: {error}"));
        if inside {
            run(&mut conn, &["COMMIT"]).await;
        }
        let expected = 1010 + 1000 * round as u64;
        assert_eq!(
            one(&mut conn, "SELECT v FROM t WHERE id = 1").await,
            expected.to_string()
        );
        survivors_are_equal(&cluster, 2 - round).await;
    }
}

#[tokio::test]
async fn a_definition_under_way_on_the_lost_lead_is_carried_out_and_temporary_tables_stay() {
    let (cluster, mut conn) = stage(Kind::MariaDb).await;
    run(
        &mut conn,
        &["CREATE TEMPORARY TABLE mine (a INT)", "INSERT INTO mine VALUES (3)"],
    )
    .await;
    let working = tokio::spawn(async move {
        let result = conn.query_drop("CREATE TABLE made AS SELECT SLEEP(2) AS a").await;
        (conn, result)
    });
    tokio::time::sleep(Duration::from_millis(700)).await;
    cluster.lead().await.unwrap().kill().await;
    let (mut conn, result) = working.await.unwrap();
    result.unwrap();
    assert_eq!(one(&mut conn, "SELECT a FROM mine").await, "3");
    assert_eq!(one(&mut conn, "SELECT COUNT(*) FROM made").await, "1");
    survivors_are_equal(&cluster, 2).await;
}

#[tokio::test]
async fn a_read_under_way_on_a_lost_server_is_repeated_on_another() {
    let (cluster, mut conn) = stage(Kind::MariaDb).await;
    let victim = reader(&cluster, &mut conn).await;
    let reading = tokio::spawn(async move {
        let row: Result<Option<(u32, u32)>, _> = conn.query_first("SELECT SLEEP(1.5), v FROM t WHERE id = 1").await;
        row
    });
    tokio::time::sleep(Duration::from_millis(500)).await;
    victim.kill().await;
    assert_eq!(reading.await.unwrap().unwrap(), Some((0, 10)));
    survivors_are_equal(&cluster, 2).await;
}

#[tokio::test]
async fn a_result_cut_in_the_middle_ends_in_an_error_not_in_silence() {
    let (cluster, mut conn) = stage(Kind::MariaDb).await;
    let victim = reader(&cluster, &mut conn).await;
    let mut result = conn
        .query_iter("SELECT REPEAT('x', 100000) FROM information_schema.columns")
        .await
        .unwrap();
    let first: Option<Row> = result.next().await.unwrap();
    assert!(first.is_some());
    victim.kill().await;
    let mut rows = 1;
    let end = loop {
        match result.next().await {
            Ok(Some(_)) => rows += 1,
            Ok(None) => break None,
            Err(error) => break Some(error),
        }
    };
    // Everything that the socket's buffers held may still arrive; the end may not look like a complete result.
    assert!(end.is_some(), "{rows} rows and a clean end");
    drop(result);
    let mut fresh = cluster.client().await.unwrap();
    assert_eq!(one(&mut fresh, SUM).await, "60");
}

#[tokio::test]
async fn a_server_that_hangs_delays_its_sessions_and_no_more() {
    let (cluster, _) = stage(Kind::MariaDb).await;
    let mut reading = session_reading(&cluster, false).await;
    let mut writing = cluster.client().await.unwrap();
    run(&mut writing, &["BEGIN", "UPDATE t SET v = v + 1 WHERE id = 1"]).await;
    let victim = reader(&cluster, &mut reading).await;
    victim.pause();
    let begun = Instant::now();
    assert_eq!(one(&mut reading, SUM).await, "60");
    run(&mut writing, &["UPDATE t SET v = v + 1 WHERE id = 2", "COMMIT"]).await;
    assert!(begun.elapsed() < Duration::from_secs(15), "after {:?}", begun.elapsed());
    assert_eq!(one(&mut reading, SUM).await, "62");
    // The server comes back to life; it is out, and its sessions' old connections do no harm.
    victim.resume();
    run(&mut writing, &["UPDATE t SET v = v + 1 WHERE id = 3"]).await;
    assert_eq!(one(&mut reading, SUM).await, "63");
    survivors_are_equal(&cluster, 2).await;
}

#[tokio::test]
async fn without_any_server_clients_get_a_clear_error_in_time_and_work_again_afterwards() {
    const IN_TIME: Duration = Duration::from_secs(8);
    let options = ClusterOptions::new(Kind::MariaDb, 2).configuration("timeouts:\n  no_backend_wait_ms: 2000\n");
    let cluster = Cluster::start_with(options, PROXYD).await.unwrap();
    let mut conn = cluster.client().await.unwrap();
    run(
        &mut conn,
        &[
            "CREATE TABLE t (id INT PRIMARY KEY, v INT NOT NULL)",
            "INSERT INTO t VALUES (1, 60)",
        ],
    )
    .await;
    let first = cluster.lead().await.unwrap();
    first.kill().await;
    run(&mut conn, &["UPDATE t SET v = v + 1"]).await;
    let (mut reading, mut writing) = (cluster.client().await.unwrap(), cluster.client().await.unwrap());
    run(&mut conn, &["BEGIN", "UPDATE t SET v = v + 1000"]).await;
    let last = cluster.lead().await.unwrap();
    last.kill().await;
    // The error is that of a server that shuts down: the connection ends with it, as there.
    for (conn, sql) in [
        (&mut reading, "SELECT v FROM t"),
        (&mut writing, "UPDATE t SET v = v + 1"),
        (&mut conn, "COMMIT"),
    ] {
        let begun = Instant::now();
        let error = conn.query_drop(sql).await.unwrap_err();
        assert!(begun.elapsed() < IN_TIME, "{sql}: after {:?}", begun.elapsed());
        assert_eq!(code(&error), 1053, "{sql}: {error}");
        assert!(error.to_string().contains("no server"), "{sql}: not clear: {error}");
    }
    let begun = Instant::now();
    let refused = Conn::new(cluster.grove_opts()).await.unwrap_err();
    assert!(
        begun.elapsed() < IN_TIME,
        "a new client is told after {:?}",
        begun.elapsed()
    );
    assert_eq!(code(&refused), 1053, "{refused}");
    let member = cluster
        .members()
        .await
        .unwrap()
        .into_iter()
        .find(|member| member.name == last.name())
        .unwrap();
    assert!(
        member.is_lead && member.state != "failed",
        "the last server is never evicted: {member:?}"
    );
    last.start().await.unwrap();
    let mut conn = cluster.client().await.unwrap();
    assert_eq!(one(&mut conn, "SELECT v FROM t").await, "61");
    run(&mut conn, &["UPDATE t SET v = v + 1"]).await;
    assert_eq!(one(&mut cluster.client().await.unwrap(), "SELECT v FROM t").await, "62");
}
