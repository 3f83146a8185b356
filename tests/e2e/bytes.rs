//! The packets of results, byte for byte as a server sends them, under each form of the protocol.

use grove_testkit::Kind;
use grove_testkit::raw_client::EVERYDAY;
use grove_wire::CapabilityFlags;

use crate::stage::{Notes, Place, Stage};

const STATEMENTS: &[&str] = &[
    "SELECT 1",
    "SELECT NULL, 'x', 1.50, x'00ff', '' AS empty, 18446744073709551615 AS big",
    "",
    ";",
    "SELECT nothing",
    "SELEC 1",
    "CREATE TABLE b (id INT AUTO_INCREMENT PRIMARY KEY, v INT, t VARCHAR(300), d DATETIME, UNIQUE KEY (v)) DEFAULT CHARSET=utf8mb4",
    "SHOW CREATE TABLE b",
    "INSERT INTO b (v, t, d) VALUES (1, 'one', '2024-02-29 01:02:03'), (2, NULL, NULL), (3, REPEAT('x', 300), '1000-01-01')",
    "INSERT INTO b (v) VALUES (1)",
    "SELECT * FROM b ORDER BY id",
    "SELECT * FROM b WHERE FALSE",
    "SELECT v AS w, CONCAT(t, '!') FROM b AS c ORDER BY id",
    "UPDATE b SET t = 'same'",
    "UPDATE b SET t = 'same'",
    "UPDATE b SET t = 'x' WHERE id = 99",
    "BEGIN",
    "SELECT COUNT(*) FROM b",
    "INSERT INTO b (v, t) VALUES (4, 'four')",
    "SELECT id FROM b WHERE v = 4",
    "INSERT INTO b (v) VALUES (4)",
    "SAVEPOINT s",
    "DELETE FROM b WHERE v = 4",
    "ROLLBACK TO s",
    "COMMIT",
    "START TRANSACTION READ ONLY",
    "UPDATE b SET v = 100",
    "ROLLBACK",
    "SET autocommit = 0",
    "SELECT 1",
    "SELECT COUNT(*) FROM b",
    "DELETE FROM b WHERE v = 1",
    "ROLLBACK",
    "SET autocommit = 1",
    "INSERT IGNORE INTO b (v) VALUES (1)",
    "SHOW WARNINGS",
    "SELECT 1 / 0, CAST('12x' AS SIGNED)",
    "SHOW COUNT(*) WARNINGS",
    "SHOW WARNINGS",
    "SET @a = 5, @b := 'five'",
    "SELECT @a, @b",
    "SET NAMES latin1",
    "SELECT '\u{e4}', _utf8mb4'\u{e4}'",
    "SET NAMES utf8mb4",
    "SET nothing = 1",
    "USE missing",
    "USE app",
    "DO 1",
    "SHOW TABLES",
    "SHOW COLUMNS FROM b",
    "SELECT 1 UNION SELECT 2",
    "SELECT 1; SELECT 2, 3; UPDATE b SET v = 30 WHERE v = 3; SELECT v FROM b WHERE v = 30",
    "SELECT 1; SELECT nothing; SELECT 3",
    "INSERT INTO b (v) VALUES (50); INSERT INTO b (v) VALUES (50); INSERT INTO b (v) VALUES (51)",
    "SELECT 1;",
    "CREATE PROCEDURE two(IN a INT) BEGIN SELECT a; SELECT a + 1, 'x'; UPDATE b SET t = 'called' WHERE id = 1; END",
    "CALL two(5)",
    "CALL two(5); SELECT 'after'",
    "CALL missing()",
    "SELECT 'a' INTO @c",
    "SELECT @c",
    "SELECT * FROM b WHERE id = 1 FOR UPDATE",
    "SELECT SQL_CALC_FOUND_ROWS id FROM b ORDER BY id LIMIT 1",
    "CREATE TEMPORARY TABLE tt (a INT)",
    "INSERT INTO tt VALUES (1), (2)",
    "SELECT * FROM tt",
    "DROP TEMPORARY TABLE tt",
    "PREPARE p FROM 'SELECT ? + 1'",
    "EXECUTE p USING @a",
    "DEALLOCATE PREPARE p",
    "EXECUTE p USING @a",
    "LOCK TABLES b WRITE",
    "INSERT INTO b (v) VALUES (60)",
    "UNLOCK TABLES",
    "TRUNCATE TABLE b",
    "DROP PROCEDURE two",
    "DROP TABLE b",
    "DROP TABLE b",
    "DROP TABLE IF EXISTS b",
];

pub async fn every_statement(place: Place, capabilities: CapabilityFlags) -> Notes {
    let mut notes = Notes::default();
    let mut client = place.raw(capabilities).await;
    for sql in STATEMENTS {
        let packets = client
            .query(sql)
            .await
            .unwrap_or_else(|error| panic!("{sql}: {error:#}"));
        notes.packets(sql, &packets);
    }
    notes
}

async fn counted_and_split(place: Place, capabilities: CapabilityFlags) -> Notes {
    let mut notes = Notes::default();
    let mut client = place.raw(capabilities).await;
    for sql in [
        "CREATE TABLE f (id INT PRIMARY KEY, v INT)",
        "INSERT INTO f VALUES (1, 1), (2, 2)",
        "UPDATE f SET v = 1 WHERE id = 1",
        "INSERT INTO f VALUES (1, 1) ON DUPLICATE KEY UPDATE v = 1",
        "SELECT 1; SELECT 2",
        "SELECT 1;",
        "SELECT ';'",
    ] {
        let packets = client.query(sql).await.unwrap();
        notes.packets(sql, &packets);
    }
    notes
}

async fn all_results(kind: Kind) {
    let stage = Stage::open(kind).await;
    for capabilities in [EVERYDAY, EVERYDAY | CapabilityFlags::DEPRECATE_EOF] {
        stage
            .same_as_direct(async |place| every_statement(place, capabilities).await)
            .await;
    }
    // What a client asks for holds on its legs: found instead of changed rows, no several statements in one command.
    let found_rows = EVERYDAY | CapabilityFlags::FOUND_ROWS;
    let one_statement = CapabilityFlags(EVERYDAY.0 & !CapabilityFlags::MULTI_STATEMENTS.0);
    for capabilities in [found_rows, one_statement] {
        stage
            .same_as_direct(async |place| counted_and_split(place, capabilities).await)
            .await;
    }
    stage.same_as_direct(|place| large_packets(place, EVERYDAY)).await;
}

#[tokio::test]
async fn results_are_a_mariadb_servers_bytes() {
    all_results(Kind::MariaDb).await;
}

#[tokio::test]
async fn results_are_a_mysql_servers_bytes() {
    all_results(Kind::MySql).await;
}

/// Lengths around the limits of one packet, both ways.
pub async fn large_packets(place: Place, capabilities: CapabilityFlags) -> Notes {
    const FRAME: usize = grove_wire::packet::MAX_PAYLOAD_LEN;
    let mut notes = Notes::default();
    let mut client = place.raw(capabilities).await;
    client
        .query("CREATE TABLE large (id INT PRIMARY KEY, b LONGBLOB)")
        .await
        .unwrap();
    let head = b"INSERT INTO large VALUES (1, '".len() + 1;
    for (id, length) in [
        (1, FRAME - head - 3),
        (2, FRAME - head - 2),
        (3, FRAME - head - 1),
        (4, FRAME + 10),
        (5, 2 * FRAME + 7),
    ] {
        let sql = format!("INSERT INTO large VALUES ({id}, '{}')", "x".repeat(length));
        notes.packets(&format!("{} bytes", sql.len()), &client.query(&sql).await.unwrap());
        let packets = client
            .query(format!("SELECT b FROM large WHERE id = {id}"))
            .await
            .unwrap();
        notes.note("packets", packets.iter().map(|packet| packet.len()).collect::<Vec<_>>());
    }
    notes.packets(
        "lengths",
        &client
            .query("SELECT id, LENGTH(b), SHA2(b, 256) FROM large ORDER BY id")
            .await
            .unwrap(),
    );
    // Rows of exactly one and two full frames, which end with an empty frame.
    for length in [FRAME - 4, FRAME - 5, 2 * FRAME - 4] {
        let packets = client.query(format!("SELECT REPEAT('y', {length})")).await.unwrap();
        notes.note("packets", packets.iter().map(|packet| packet.len()).collect::<Vec<_>>());
    }
    notes
}
