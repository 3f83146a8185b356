//! Writes that ask for what each server makes for itself: UUIDs, random bytes, the time of execution, LIMIT's choice of rows. All servers hold the same
//! afterwards, also one that was away, or the statement is refused with the reason.

use std::collections::HashSet;
use std::time::Duration;

use grove_testkit::equality::assert_servers_equal;
use grove_testkit::{Cluster, ClusterOptions, Kind};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row};

use crate::stage::{Notes, PROXYD, Place, Stage, assert_all_online, failing, one, run};

const LIMIT: Duration = Duration::from_secs(60);
const UNSAFE_STATEMENT: u16 = 1592;

const TABLE: &str = "CREATE TABLE own (id INT AUTO_INCREMENT PRIMARY KEY, u VARCHAR(100), s BIGINT UNSIGNED, d DATETIME(6), \
                     r VARBINARY(40), c BIGINT, n VARCHAR(40) CHARACTER SET utf8mb4, UNIQUE (u), UNIQUE (s))";
const COLUMNS: &str = "INSERT INTO own (u, s, d, r, c, n)";

async fn cluster(kind: Kind, configuration: &str) -> Cluster {
    let log = "recovery_log:\n  directory: recovery-log\n";
    let options = ClusterOptions::new(kind, 3)
        .configuration(log)
        .configuration(configuration);
    Cluster::start_with(options, PROXYD).await.unwrap()
}

/// Every way in which a client can ask for them. Twice in one session, the texts' meaning does not change.
async fn ask(conn: &mut Conn) {
    let values = "UUID(), UUID_SHORT(), SYSDATE(6), RANDOM_BYTES(16), CONNECTION_ID()";
    let one_row = format!("{COLUMNS} VALUES ({values}, 'UUID()')");
    let rows = format!("{COLUMNS} VALUES ({values}, 'a'), ({values}, 'b'), ({values}, RAND())");
    let set = "INSERT INTO own SET u = CONCAT(REPLACE(UUID(), '-', ''), 'x'), d = sysdate(), n = 'set'";
    let upsert = "INSERT INTO own (id, u) VALUES (1, UUID()) ON DUPLICATE KEY UPDATE u = UUID(), d = SYSDATE(3)";
    for sql in [one_row.as_str(), &rows, set, upsert] {
        conn.query_drop(sql)
            .await
            .unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
    run(
        conn,
        &["BEGIN", &one_row, "SAVEPOINT a", &rows, "ROLLBACK TO a", set, "COMMIT"],
    )
    .await;
    run(conn, &["BEGIN", &one_row, "ROLLBACK"]).await;
    // Prepared: each execution has values of its own.
    let with_parameter = format!("{COLUMNS} VALUES ({values}, ?)");
    for n in ["p1", "p2", "p3"] {
        conn.exec_drop(with_parameter.as_str(), (n,)).await.unwrap();
    }
    conn.query_drop("BEGIN").await.unwrap();
    for n in ["p4", "p5", "p6"] {
        conn.exec_drop(with_parameter.as_str(), (n,)).await.unwrap();
        conn.exec_drop("UPDATE own SET d = SYSDATE(6) WHERE n = ?", (n,))
            .await
            .unwrap();
    }
    conn.query_drop("COMMIT").await.unwrap();
    run(
        conn,
        &[
            "UPDATE own SET d = SYSDATE(2), c = CONNECTION_ID() WHERE n = 'set'",
            "DELETE FROM own WHERE d > SYSDATE() + INTERVAL 1 DAY",
            "INSERT INTO own (d, n) SELECT SYSDATE(6), 'copy' FROM own ORDER BY id LIMIT 3",
        ],
    )
    .await;
}

/// What does not run in a transaction of Grove's.
const ALONE: [&str; 4] = [
    "CALL keep(UUID())",
    "LOCK TABLES own WRITE",
    "INSERT INTO own (u, d) VALUES (UUID(), SYSDATE())",
    "UNLOCK TABLES",
];

/// The states of a session that decide what a text means.
const STATES: [&str; 7] = [
    "SET NAMES utf8mb4",
    "SET sql_mode = CONCAT(@@sql_mode, ',ANSI_QUOTES,NO_BACKSLASH_ESCAPES')",
    "SET time_zone = '+05:30'",
    "SET timestamp = 1000000000",
    "SET NAMES sjis",
    "SET NAMES utf8mb4 COLLATE utf8mb4_unicode_ci",
    "SET NAMES latin1, collation_connection = utf8mb4_bin",
];

async fn write_everything(cluster: &Cluster) {
    let mut conn = cluster.client().await.unwrap();
    for state in STATES {
        run(&mut conn, &[state]).await;
        ask(&mut conn).await;
    }
    // 0x83 0x5C is one character of sjis, whose second byte is a backslash.
    run(&mut conn, &["SET NAMES sjis"]).await;
    let sql = [b"INSERT INTO own (n, u) VALUES ('\x83\x5c', UUID())".as_slice()].concat();
    conn.query_drop(sql).await.unwrap();
}

async fn values_are_the_same_everywhere(kind: Kind) {
    let cluster = cluster(kind, "").await;
    let mut conn = cluster.client().await.unwrap();
    let keep = "CREATE PROCEDURE keep(IN what VARCHAR(100)) INSERT INTO own (u, n) VALUES (what, 'kept')";
    run(&mut conn, &[TABLE, keep]).await;
    write_everything(&cluster).await;
    assert_all_online(&cluster).await;
    assert_servers_equal(&cluster).await;
    // One that is away gets the same.
    let away = cluster.server("db3").unwrap();
    away.kill().await;
    cluster.wait_for_eviction("db3", LIMIT).await.unwrap();
    write_everything(&cluster).await;
    // Not before: of these it would not be known whether the server that was killed had executed them.
    run(&mut conn, &ALONE).await;
    away.start().await.unwrap();
    cluster.wait_until_online("db3", LIMIT).await.unwrap();
    write_everything(&cluster).await;
    run(&mut conn, &ALONE).await;
    assert_all_online(&cluster).await;
    assert_servers_equal(&cluster).await;
    check_what_was_written(&mut conn).await;
}

/// They are what a server would have made.
async fn check_what_was_written(conn: &mut Conn) {
    let uuids: Vec<String> = conn.query("SELECT u FROM own WHERE LENGTH(u) = 36").await.unwrap();
    let different: HashSet<&String> = uuids.iter().collect();
    assert!(uuids.len() > 200 && different.len() == uuids.len(), "{}", uuids.len());
    for uuid in &uuids {
        let is_version_1 = uuid.as_bytes()[14] == b'1' && b"89ab".contains(&uuid.as_bytes()[19]);
        assert!(is_version_1, "{uuid}");
    }
    let random = "SELECT COUNT(*) - COUNT(DISTINCT r) FROM own WHERE LENGTH(r) = 16";
    assert_eq!(one(conn, random).await, "0");
    let connections = "SELECT COUNT(DISTINCT c) FROM own WHERE c IS NOT NULL";
    assert_eq!(one(conn, connections).await, "3", "three clients wrote");
    assert_eq!(
        one(conn, "SELECT HEX(n) FROM own WHERE n = _utf8mb4 x'E382BD'").await,
        "E382BD"
    );
    // The clock of one second, and of the last minutes; not the client's own.
    let late = "SELECT COUNT(*) FROM own WHERE d < NOW() - INTERVAL 1 DAY";
    assert_eq!(one(conn, late).await, "0");
    assert_eq!(
        one(conn, "SELECT COUNT(*) > 50 FROM own WHERE d IS NOT NULL").await,
        "1"
    );
    assert_eq!(
        one(conn, "SELECT COUNT(*) FROM own WHERE n = 'UUID()' AND u IS NULL").await,
        "0"
    );
}

#[tokio::test]
async fn what_servers_make_for_themselves_is_the_same_on_mariadb() {
    values_are_the_same_everywhere(Kind::MariaDb).await;
}

#[tokio::test]
async fn what_servers_make_for_themselves_is_the_same_on_mysql() {
    values_are_the_same_everywhere(Kind::MySql).await;
}

/// A transaction has written them when the lead dies: the others have the same already, and go on with the same.
async fn a_transaction_goes_on(kind: Kind) {
    let cluster = Cluster::start(kind, 3, PROXYD).await.unwrap();
    let mut conn = cluster.client().await.unwrap();
    run(
        &mut conn,
        &[TABLE, "BEGIN", "INSERT INTO own (u, d) VALUES (UUID(), SYSDATE(6))"],
    )
    .await;
    let prepared = "INSERT INTO own (u, n, r) VALUES (UUID(), ?, RANDOM_BYTES(16))";
    for n in ["a", "b"] {
        conn.exec_drop(prepared, (n,)).await.unwrap();
    }
    let before: Vec<String> = conn.query("SELECT u FROM own ORDER BY id").await.unwrap();
    let lead = cluster.lead().await.unwrap().name().to_owned();
    cluster.server(&lead).unwrap().kill().await;
    conn.exec_drop(prepared, ("c",)).await.unwrap();
    run(&mut conn, &["INSERT INTO own (u) VALUES (UUID())", "COMMIT"]).await;
    let after: Vec<String> = conn.query("SELECT u FROM own ORDER BY id").await.unwrap();
    assert_eq!((before.len(), after.len(), &after[..3]), (3, 5, &before[..]));
    assert_eq!(cluster.online().await.unwrap().len(), 2);
    assert_servers_equal(&cluster).await;
}

#[tokio::test]
async fn a_transaction_with_uuids_survives_the_lead_on_mariadb() {
    a_transaction_goes_on(Kind::MariaDb).await;
}

#[tokio::test]
async fn a_transaction_with_uuids_survives_the_lead_on_mysql() {
    a_transaction_goes_on(Kind::MySql).await;
}

/// What a client can see of a value, its type and its errors.
async fn looks(place: Place) -> Notes {
    let mut notes = Notes::default();
    let mut conn = place.client().await;
    let table = "CREATE TABLE seen (id INT AUTO_INCREMENT PRIMARY KEY, b BINARY(16), t VARCHAR(200), l CHAR(36) CHARACTER SET latin1, \
                 w CHAR(36) CHARACTER SET utf16, n DECIMAL(30), g BIGINT, d DATETIME, f DATETIME(6), y VARBINARY(2000))";
    run(&mut conn, &[table]).await;
    for names in [
        "SET NAMES utf8mb4",
        "SET NAMES latin1",
        "SET NAMES utf8mb4 COLLATE utf8mb4_bin",
        "SET NAMES utf8mb4 COLLATE utf8mb4_unicode_ci",
        "SET NAMES utf8mb4 COLLATE utf8mb4_general_ci",
        "SET NAMES binary",
        "SET NAMES latin1, collation_connection = utf16_general_ci",
    ] {
        run(&mut conn, &[names]).await;
        for value in [
            "t = LENGTH(UUID())",
            "t = CHAR_LENGTH(UUID())",
            "t = SUBSTR(UUID(), 9, 1)",
            "t = SUBSTR(UUID(), 15, 1)",
            "t = COERCIBILITY(UUID())",
            "t = CHARSET(UUID())",
            "t = COLLATION(CONCAT(UUID(), 'x'))",
            "t = UUID() LIKE '%-%-1%-%'",
            "t = UUID() = 'x'",
            "t = LENGTH(CONCAT(UUID(), 'ä'))",
            "t = LENGTH(CONCAT(UUID(), _latin1 x'E4'))",
            "t = LENGTH(UNHEX(REPLACE(UUID(), '-', '')))",
            "b = UNHEX(REPLACE(UUID(), '-', '')), t = LENGTH(b)",
            "b = UUID()",
            "l = UUID(), t = LENGTH(l)",
            "w = UUID(), t = LENGTH(w)",
            "n = UUID_SHORT(), t = UUID_SHORT() > 0",
            "g = UUID_SHORT(), t = g > 0",
            "t = LENGTH(UUID_SHORT()) > 15",
            "d = SYSDATE(), t = MICROSECOND(d)",
            "t = LENGTH(SYSDATE())",
            "t = LENGTH(SYSDATE(6))",
            "t = LENGTH(SYSDATE(3) + 0)",
            "f = SYSDATE(2), t = MICROSECOND(f) MOD 10000",
            "t = ABS(TIMESTAMPDIFF(SECOND, SYSDATE(), NOW())) < 20",
            "d = SYSDATE(7)",
            "t = UUID(1)",
            "y = RANDOM_BYTES(1024), t = LENGTH(y)",
            "t = CHARSET(RANDOM_BYTES(2))",
            "t = LENGTH(HEX(RANDOM_BYTES(3)))",
            "y = RANDOM_BYTES(0)",
            "y = RANDOM_BYTES(1025)",
            "t = CONNECTION_ID() > 0",
        ] {
            let sql = format!("INSERT INTO seen SET {value}");
            notes.query(&mut conn, &sql).await;
            notes.query(&mut conn, "SHOW WARNINGS").await;
            notes
                .query(&mut conn, "SELECT t FROM seen ORDER BY id DESC LIMIT 1")
                .await;
        }
    }
    prepared(&mut conn, &mut notes).await;
    notes
}

/// The same prepared: insert ids, warnings and row counts are those of one server.
async fn prepared(conn: &mut Conn, notes: &mut Notes) {
    run(conn, &["SET NAMES utf8mb4", "DELETE FROM seen", "SET sql_mode = ''"]).await;
    for begin in ["DO 1", "BEGIN"] {
        run(conn, &[begin]).await;
        for value in ["x", "y"] {
            let sql = "INSERT INTO seen (l, t, b) VALUES (CONCAT(UUID(), ?), ?, 'far more than sixteen bytes')";
            let result: Result<Vec<Row>, _> = conn.exec(sql, (value, value)).await;
            notes.note(value, result.map(|rows| rows.len()));
            notes.note("affected", (conn.affected_rows(), conn.last_insert_id().is_some()));
            notes.query(conn, "SHOW WARNINGS").await;
            notes.query(conn, "SELECT ROW_COUNT()").await;
            notes
                .query(conn, "SELECT t, LENGTH(l) FROM seen WHERE id = LAST_INSERT_ID()")
                .await;
        }
        run(conn, &["COMMIT"]).await;
    }
    let wrong: Result<Vec<Row>, _> = conn.exec("INSERT INTO nowhere VALUES (UUID(), ?)", (1,)).await;
    notes.note("no such table", wrong.err());
    let wrong: Result<Vec<Row>, _> = conn.exec("INSERT INTO seen (id, t) VALUES (?, UUID())", (1,)).await;
    notes.note("a key", wrong.is_ok());
    let wrong: Result<Vec<Row>, _> = conn.exec("INSERT INTO seen (id, t) VALUES (?, UUID())", (1,)).await;
    notes.note("a duplicate", wrong.err());
    notes.query(conn, "SELECT COUNT(*) FROM seen").await;
}

#[tokio::test]
async fn values_look_as_on_a_mariadb_server() {
    Stage::open(Kind::MariaDb).await.same_as_direct(looks).await;
}

#[tokio::test]
async fn values_look_as_on_a_mysql_server() {
    Stage::open(Kind::MySql).await.same_as_direct(looks).await;
}

const UNSAFE: [&str; 11] = [
    "UPDATE t SET v = UUID()",
    "UPDATE t SET v = UUID_SHORT() WHERE id = 1",
    "UPDATE t SET v = RAND()",
    "INSERT INTO t SELECT id + 100, UUID() FROM t",
    "INSERT INTO t VALUES (50, USER())",
    "INSERT INTO t VALUES (51, VERSION())",
    "INSERT INTO t VALUES (52, @@hostname)",
    "DELETE FROM t LIMIT 1",
    "UPDATE t SET v = 'x' WHERE id = 2 LIMIT 1",
    "INSERT INTO t SELECT id + 200, v FROM t LIMIT 2",
    "CREATE TABLE made SELECT id, UUID() AS u FROM t",
];

async fn unsafe_ones_are_refused(kind: Kind) {
    let cluster = cluster(kind, "writes:\n  unsafe_statements: reject\n").await;
    let mut conn = cluster.client().await.unwrap();
    run(
        &mut conn,
        &[
            "CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(100))",
            "INSERT INTO t VALUES (1, 'a'), (2, 'b'), (3, 'c')",
        ],
    )
    .await;
    for begin in ["DO 1", "BEGIN"] {
        run(&mut conn, &[begin, "INSERT INTO t VALUES (9, UUID())"]).await;
        for sql in UNSAFE {
            assert_eq!(failing(&mut conn, sql).await, UNSAFE_STATEMENT, "{sql}");
        }
        let error = conn
            .exec_drop("UPDATE t SET v = UUID() WHERE id = ?", (1,))
            .await
            .unwrap_err();
        assert!(
            error.to_string().contains("UUID() gives each row another value"),
            "{error}"
        );
        // In a transaction only the statement failed.
        run(&mut conn, &["DELETE FROM t WHERE id = 9", "COMMIT"]).await;
    }
    let prepare = "PREPARE s FROM 'INSERT INTO t VALUES (10, UUID())'";
    run(&mut conn, &[prepare]).await;
    assert_eq!(failing(&mut conn, "EXECUTE s").await, UNSAFE_STATEMENT);
    assert_eq!(
        one(&mut conn, "SELECT GROUP_CONCAT(id, v ORDER BY id) FROM t").await,
        "1a,2b,3c"
    );
    // What is permitted, and what only seems to be unsafe.
    run(
        &mut conn,
        &[
            "DELETE /* grove:unsafe=allow */ FROM t LIMIT 1",
            "UPDATE t SET v = NOW() ORDER BY id LIMIT 1",
            "INSERT INTO t VALUES (11, RAND())",
            "INSERT INTO t SELECT 12, 'x' FROM DUAL WHERE NOT EXISTS (SELECT 1 FROM t WHERE id = 12 LIMIT 1)",
        ],
    )
    .await;
    run(
        &mut conn,
        &[
            "SELECT UUID() FROM t LIMIT 1",
            "SET @x = UUID()",
            "INSERT INTO t VALUES (13, @x)",
        ],
    )
    .await;
    assert_all_online(&cluster).await;
    assert_servers_equal(&cluster).await;
}

#[tokio::test]
async fn unsafe_statements_are_refused_on_mariadb() {
    unsafe_ones_are_refused(Kind::MariaDb).await;
}

#[tokio::test]
async fn unsafe_statements_are_refused_on_mysql() {
    unsafe_ones_are_refused(Kind::MySql).await;
}

/// Under `warn` the answers are a server's, and what names one row stops nobody else.
async fn runs_with_a_warning(place: Place) -> Notes {
    let mut notes = Notes::default();
    let mut conn = place.client().await;
    run(
        &mut conn,
        &[
            "CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(100))",
            "INSERT INTO t VALUES (1, 'a'), (2, 'b'), (3, 'c'), (4, 'd')",
        ],
    )
    .await;
    for begin in ["DO 1", "BEGIN"] {
        run(&mut conn, &[begin]).await;
        for sql in [
            "UPDATE t SET v = 'x' LIMIT 2",
            "DELETE FROM t LIMIT 1",
            "UPDATE t SET v = 'x' WHERE id = 3 LIMIT 1",
            "INSERT INTO t SELECT id + 100, v FROM t LIMIT 1",
        ] {
            notes.query(&mut conn, sql).await;
            notes.query(&mut conn, "SHOW WARNINGS").await;
            notes.query(&mut conn, "SELECT @@warning_count").await;
        }
        run(&mut conn, &["COMMIT"]).await;
    }
    notes.query(&mut conn, "SELECT * FROM t ORDER BY id").await;
    let mut other = place.client().await;
    run(&mut conn, &["BEGIN", "UPDATE t SET v = 'mine' WHERE id = 3 LIMIT 1"]).await;
    let sql = "UPDATE t SET v = 'theirs' WHERE id = 4 LIMIT 1";
    let update = tokio::time::timeout(Duration::from_secs(20), other.query_drop(sql));
    notes.note("other rows of the table", update.await.is_ok());
    run(&mut conn, &["COMMIT"]).await;
    notes
}

#[tokio::test]
async fn unsafe_statements_run_with_a_warning_in_the_log() {
    let stage = Stage::open(Kind::MariaDb).await;
    stage.same_as_direct(runs_with_a_warning).await;
    let log = stage.log_tails(1_000);
    let said = "a statement may leave other rows on each server";
    assert_eq!(log.matches(said).count(), 4, "once for each kind of statement:\n{log}");
    assert!(log.contains("DELETE FROM t LIMIT ?"), "{log}");
}

/// `EXPLAIN GROVE`, one column a line.
async fn explanation(conn: &mut Conn, sql: &str) -> Vec<String> {
    let row: Option<Row> = conn.query_first(format!("EXPLAIN GROVE {sql}")).await.unwrap();
    let row = row.unwrap();
    (0..row.len()).map(|at| row.get::<String, _>(at).unwrap()).collect()
}

async fn statements_are_explained(kind: Kind) {
    let cluster = Cluster::start(kind, 3, PROXYD).await.unwrap();
    let mut conn = cluster.client().await.unwrap();
    let tables = [
        "CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(100))",
        "CREATE TABLE grove (id INT)",
    ];
    run(&mut conn, &tables).await;
    let rewritten = explanation(&mut conn, "INSERT INTO t VALUES (1, UUID())").await;
    let gates = "everything shared, app.t shared";
    assert_eq!(
        rewritten,
        ["insert", "!app.t", "rewritten", "", "", gates, "all, db1 first"]
    );
    let reason = "LIMIT without ORDER BY may choose other rows on each server";
    let remedy = "add ORDER BY with a unique column; it runs, and the log names it";
    let gates = "everything shared, app.t shared";
    let limited = explanation(&mut conn, "DELETE FROM t LIMIT 1").await;
    assert_eq!(
        limited,
        ["delete", "!app.t", "unsafe", reason, remedy, gates, "all, db1 first"]
    );
    let read = explanation(&mut conn, "SELECT * FROM t, mysql.user").await;
    assert_eq!(read[..6], ["read", "app.t, mysql.user", "", "", "", ""]);
    assert!(read[6].starts_with("one: db"), "{read:?}");
    let definition = explanation(&mut conn, "DROP TABLE t").await;
    assert_eq!(definition[..3], ["definition", "!app.t", "deterministic"]);
    // Nothing of it was done, and a table of that name can still be described.
    assert_eq!(one(&mut conn, "SELECT COUNT(*) FROM t").await, "0");
    for sql in ["EXPLAIN grove", "EXPLAIN grove id"] {
        let column: Row = conn.query_first(sql).await.unwrap().unwrap();
        assert_eq!(column.get::<String, _>(0).unwrap(), "id");
    }
}

#[tokio::test]
async fn grove_explains_what_it_would_do_on_mariadb() {
    statements_are_explained(Kind::MariaDb).await;
}

#[tokio::test]
async fn grove_explains_what_it_would_do_on_mysql() {
    statements_are_explained(Kind::MySql).await;
}
