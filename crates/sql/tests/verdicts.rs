//! What is said of writes: whether they leave the same rows on every server, why not, and what is put into the text of those that Grove can make so.

#![allow(clippy::unwrap_used, reason = "a test fails where it stands")]

use grove_sql::{Analyser, Class, ClientCharset, Flavor, LexMode, OwnValues, Reason, Verdict, permits_unsafe};

const MYSQL: fn() -> LexMode = || LexMode::new(Flavor::Mysql, 90_704);
const MARIADB: fn() -> LexMode = || LexMode::new(Flavor::MariaDb, 101_119);

fn verdict(sql: &str, mode: LexMode) -> Verdict {
    let analyser = Analyser::new(16);
    let first = analyser.analyse(sql.as_bytes(), mode);
    assert_eq!(analyser.analyse(sql.as_bytes(), mode), first, "{sql}");
    first.verdict
}

#[track_caller]
fn check(expected: Verdict, statements: &[&str]) {
    for sql in statements {
        for mode in [MYSQL(), MARIADB()] {
            assert_eq!(verdict(sql, mode), expected, "{:?} {sql}", mode.flavor);
        }
    }
}

#[track_caller]
fn check_unsafe(reason: Reason, statements: &[&str]) {
    check(Verdict::Unsafe(reason), statements);
}

/// Values that count up.
#[derive(Default)]
struct Counting(u8);

impl Counting {
    fn next(&mut self) -> u8 {
        self.0 = self.0.wrapping_add(1);
        self.0
    }
}

impl OwnValues for Counting {
    fn uuid(&mut self) -> [u8; 16] {
        [self.next(); 16]
    }

    fn short_uuid(&mut self) -> u64 {
        u64::from(self.next())
    }

    fn random_bytes(&mut self, length: usize) -> Vec<u8> {
        vec![self.next(); length]
    }

    fn unix_micros(&mut self) -> u64 {
        1_700_000_000_123_456
    }

    fn connection_id(&mut self) -> u32 {
        77
    }
}

fn rewritten(sql: &[u8], mode: LexMode) -> Result<String, Reason> {
    let analyser = Analyser::new(16);
    let text = analyser.rewrite(sql, mode, &mut Counting::default())?;
    Ok(text.iter().map(|&byte| char::from(byte)).collect())
}

#[track_caller]
fn check_rewritten(sql: &str, mode: LexMode, expected: &str) {
    assert_eq!(verdict(sql, mode), Verdict::Rewritable, "{sql}");
    assert_eq!(rewritten(sql.as_bytes(), mode).as_deref(), Ok(expected));
}

#[test]
fn what_grove_makes_equal_is_deterministic() {
    check(
        Verdict::Deterministic,
        &[
            "INSERT INTO t VALUES (1, NOW(), RAND(), LAST_INSERT_ID(), @x, CURRENT_TIMESTAMP(6), UTC_DATE())",
            "INSERT INTO t SET a = CURDATE(), b = UNIX_TIMESTAMP(), c = RAND(3), d = DATABASE()",
            "REPLACE INTO t VALUES (RAND()), (RAND())",
            "UPDATE t SET a = NOW() WHERE b < NOW(6)",
            "DELETE FROM t WHERE a < NOW() - INTERVAL 1 DAY",
            "INSERT INTO t SELECT * FROM u WHERE c = CURRENT_USER()",
            "INSERT INTO t VALUES (SLEEP(0), MD5('x'), @@sql_mode, @@time_zone, @@max_connections)",
            "CREATE TABLE t SELECT a, NOW() FROM u",
            "CREATE TABLE t (id CHAR(36) DEFAULT (UUID()))",
            "LOAD DATA LOCAL INFILE 'x' INTO TABLE t (a, @b) SET c = RAND()",
        ],
    );
}

#[test]
fn what_writes_no_rows_is_not_judged() {
    check(
        Verdict::Deterministic,
        &[
            "SELECT UUID(), SYSDATE(), USER() FROM t LIMIT 3",
            "SELECT * FROM t LIMIT 1 FOR UPDATE SKIP LOCKED",
            "SET @x = UUID()",
            "DO UUID()",
            "EXPLAIN UPDATE t SET a = UUID()",
            "CREATE VIEW v AS SELECT UUID() FROM t LIMIT 1",
            "COMMIT",
        ],
    );
}

#[test]
fn calls_that_are_evaluated_once_are_rewritten() {
    check(
        Verdict::Rewritable,
        &[
            "INSERT INTO t VALUES (UUID(), 1)",
            "INSERT INTO t (a) VALUES (UUID()), (uuid()), ( UUID ( ) )",
            "INSERT t SET a = UUID(), b = CONCAT('x', REPLACE(UUID(), '-', ''))",
            "REPLACE INTO t VALUES (UUID_SHORT(), SYSDATE(), SYSDATE(6), RANDOM_BYTES(16), CONNECTION_ID())",
            "INSERT INTO t VALUES (1) ON DUPLICATE KEY UPDATE a = UUID()",
            "INSERT INTO t VALUES (1), (2) ON DUPLICATE KEY UPDATE a = SYSDATE()",
            "UPDATE t SET a = SYSDATE() WHERE b = 1",
            "DELETE FROM t WHERE a < SYSDATE() AND b = CONNECTION_ID()",
            "INSERT INTO t SELECT a, SYSDATE() FROM u",
            "CALL p(UUID())",
            "LOAD DATA LOCAL INFILE 'x' INTO TABLE t SET a = SYSDATE()",
        ],
    );
}

#[test]
fn a_value_for_each_row_is_unsafe() {
    check_unsafe(
        Reason::EachRow("UUID()"),
        &[
            "UPDATE t SET a = UUID()",
            "UPDATE t SET a = UUID() WHERE id = 1",
            "INSERT INTO t SELECT UUID()",
            "INSERT INTO t SELECT UUID(), a FROM u",
            "INSERT INTO t VALUES ((SELECT UUID()))",
            "INSERT INTO t VALUES (1), (2) ON DUPLICATE KEY UPDATE a = UUID()",
            "CREATE TABLE t SELECT UUID() AS a FROM u",
            "CREATE TEMPORARY TABLE t AS SELECT UUID()",
            "LOAD DATA LOCAL INFILE 'x' INTO TABLE t SET a = UUID()",
            "INSERT INTO t TABLE u ON DUPLICATE KEY UPDATE a = UUID()",
        ],
    );
    check_unsafe(Reason::EachRow("UUID_SHORT()"), &["UPDATE t SET a = UUID_SHORT()"]);
    check_unsafe(Reason::EachRow("RANDOM_BYTES()"), &["UPDATE t SET a = RANDOM_BYTES(8)"]);
}

#[test]
fn the_servers_own_values_are_unsafe() {
    for (name, call) in [
        ("USER()", "USER()"),
        ("SESSION_USER()", "SESSION_USER()"),
        ("VERSION()", "VERSION()"),
        ("LOAD_FILE()", "LOAD_FILE('/etc/hosts')"),
        ("FOUND_ROWS()", "FOUND_ROWS()"),
        ("ROW_COUNT()", "ROW_COUNT()"),
        ("GET_LOCK()", "GET_LOCK('a', 1)"),
        ("RELEASE_LOCK()", "RELEASE_LOCK('a')"),
        ("@@hostname", "@@hostname"),
        ("@@hostname", "@@global.hostname"),
        ("@@server_id", "@@server_id"),
        ("@@server_uuid", "@@GLOBAL.`server_uuid`"),
        ("@@insert_id", "@@insert_id"),
    ] {
        let insert = format!("INSERT INTO t VALUES ({call})");
        let update = format!("UPDATE t SET a = {call} WHERE id = 1");
        check_unsafe(Reason::EachServer(name), &[&insert, &update]);
    }
    check_unsafe(
        Reason::EachServer("SYSDATE()"),
        &[
            "CREATE TABLE t SELECT SYSDATE()",
            "INSERT INTO t SELECT * FROM (SELECT SYSDATE()) x",
        ],
    );
    check_unsafe(Reason::File, &["LOAD DATA INFILE 'x' INTO TABLE t"]);
    check_unsafe(
        Reason::ServerTables,
        &["INSERT INTO t SELECT table_name FROM information_schema.tables"],
    );
}

#[test]
fn what_depends_on_the_order_of_rows_is_unsafe() {
    check_unsafe(
        Reason::RandomOrder,
        &[
            "UPDATE t SET a = RAND()",
            "INSERT INTO t SELECT RAND() FROM u",
            "DELETE FROM t ORDER BY RAND() LIMIT 5",
            "INSERT INTO t SELECT * FROM u ORDER BY RAND() LIMIT 5",
        ],
    );
    check_unsafe(
        Reason::Limit { of_one_value: false },
        &[
            "UPDATE t SET a = 1 LIMIT 1",
            "DELETE FROM t LIMIT 10",
            "DELETE FROM t WHERE a > 5 LIMIT 10",
            "DELETE FROM t WHERE a = 5 OR b = 6 LIMIT 10",
            "DELETE FROM t WHERE NOT a = 5 LIMIT 10",
            "INSERT INTO t SELECT * FROM u LIMIT 5",
            "INSERT INTO t (SELECT * FROM u LIMIT 5)",
            "REPLACE INTO t SELECT * FROM u UNION SELECT * FROM v LIMIT 5",
            "CREATE TABLE t SELECT * FROM u LIMIT 5",
            "UPDATE t JOIN (SELECT id FROM u LIMIT 3) x USING (id) SET t.a = 1",
            "DELETE FROM t WHERE id IN (SELECT id FROM (SELECT id FROM u LIMIT 3) x)",
            "INSERT INTO t SELECT * FROM (SELECT * FROM u) x LIMIT 3",
        ],
    );
    check_unsafe(
        Reason::Limit { of_one_value: true },
        &[
            "UPDATE t SET a = 1 WHERE id = 5 LIMIT 1",
            "UPDATE t SET a = 1 WHERE id = -5 LIMIT 1",
            "DELETE FROM `t` WHERE `t`.`id` = 'x' AND b IS NOT NULL LIMIT 1",
            "INSERT INTO t VALUES (1, (SELECT id FROM u WHERE name = 'x' LIMIT 1))",
        ],
    );
    check_unsafe(
        Reason::SkipLocked,
        &["INSERT INTO t SELECT * FROM u ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED"],
    );
}

#[test]
fn a_limit_that_chooses_nothing_is_deterministic() {
    check(
        Verdict::Deterministic,
        &[
            "UPDATE t SET a = 1 ORDER BY id LIMIT 1",
            "DELETE FROM t WHERE a > 5 ORDER BY id LIMIT 10",
            "INSERT INTO t SELECT * FROM u ORDER BY id LIMIT 5",
            "INSERT INTO t (a) SELECT 'x' FROM DUAL WHERE NOT EXISTS (SELECT 1 FROM t WHERE a = 'x' LIMIT 1)",
            "INSERT INTO t (a) SELECT * FROM (SELECT 'x') AS tmp WHERE NOT EXISTS (SELECT a FROM t WHERE a = 'x') LIMIT 1",
            "INSERT INTO t SELECT 1 LIMIT 1",
        ],
    );
}

#[test]
fn names_are_not_calls() {
    check(
        Verdict::Deterministic,
        &[
            "INSERT INTO uuid (uuid, version) VALUES (1, 2)",
            "INSERT INTO uuid () VALUES ()",
            "UPDATE t SET uuid = 1, user = 'x', `limit` = 3",
            "INSERT INTO t VALUES ('UUID()', \"SYSDATE()\") /* UUID() */ -- UUID()",
        ],
    );
    for mode in [MYSQL(), MARIADB()] {
        // It is a stored function.
        assert_eq!(verdict("INSERT INTO t VALUES (s.UUID())", mode), Verdict::Deterministic);
    }
    assert_eq!(
        verdict("INSERT INTO t VALUES (SYSDATE ())", MYSQL()),
        Verdict::Deterministic
    );
}

#[test]
fn what_only_the_client_sees_stays() {
    let mode = MARIADB();
    assert_eq!(
        verdict("INSERT INTO t VALUES (1) RETURNING UUID(), USER()", mode),
        Verdict::Deterministic
    );
    check_rewritten(
        "INSERT INTO t VALUES (UUID_SHORT()) RETURNING UUID()",
        mode,
        "INSERT INTO t VALUES (CAST(1 AS UNSIGNED)) RETURNING UUID()",
    );
}

#[test]
fn a_word_of_another_server_hides_nothing() {
    let sql = "INSERT INTO t SET returning = 1, a = UUID()";
    assert_eq!(verdict(sql, MYSQL()), Verdict::Rewritable);
    check_rewritten(
        "SET STATEMENT max_statement_time = 5 FOR INSERT INTO t VALUES (UUID_SHORT())",
        MARIADB(),
        "SET STATEMENT max_statement_time = 5 FOR INSERT INTO t VALUES (CAST(1 AS UNSIGNED))",
    );
}

#[test]
fn values_stand_where_the_calls_stood_and_nothing_else_changes() {
    check_rewritten(
        "INSERT INTO `uuid` () VALUES (UUID(),  'UUID()', UUID_SHORT() ) -- UUID()\n ON DUPLICATE KEY UPDATE a = Uuid( )",
        MYSQL(),
        "INSERT INTO `uuid` () VALUES (CONCAT(LEFT(UUID(),0),_latin1'01010101-0101-0101-0101-010101010101'),  'UUID()', CAST(2 AS UNSIGNED) ) \
         -- UUID()\n ON DUPLICATE KEY UPDATE a = CONCAT(LEFT(UUID(),0),_latin1'03030303-0303-0303-0303-030303030303')",
    );
    check_rewritten(
        "INSERT t SET a=UUID(),b=SYS_GUID()",
        MARIADB(),
        "INSERT t SET a=CAST(_latin1'01010101-0101-0101-0101-010101010101' AS UUID),b='02020202020202020202020202020202'",
    );
    check_rewritten(
        "INSERT INTO t VALUES (UUID())",
        LexMode::new(Flavor::MariaDb, 100_620),
        "INSERT INTO t VALUES (CONCAT(LEFT(UUID(),0),_latin1'01010101-0101-0101-0101-010101010101'))",
    );
    check_rewritten(
        "INSERT INTO t VALUES (RANDOM_BYTES(2), RANDOM_BYTES(1), RANDOM_BYTES(0), RANDOM_BYTES(1025), CONNECTION_ID())",
        MYSQL(),
        "INSERT INTO t VALUES (_binary x'0101', _binary x'02', RANDOM_BYTES(0), RANDOM_BYTES(1025), CAST(77 AS UNSIGNED))",
    );
    check_rewritten(
        "UPDATE t SET a = SYSDATE(), b = SYSDATE(6), c = sysdate( 3 ), d = SYSDATE(0), e = SYSDATE(7)",
        MYSQL(),
        "UPDATE t SET a = FROM_UNIXTIME(1700000000), b = FROM_UNIXTIME(1700000000.123456), \
         c = FROM_UNIXTIME(1700000000.123), d = FROM_UNIXTIME(1700000000), e = SYSDATE(7)",
    );
    check_rewritten(
        "INSERT INTO t VALUES /*!50000 (UUID_SHORT()) */",
        MYSQL(),
        "INSERT INTO t VALUES /*!50000 (CAST(1 AS UNSIGNED)) */",
    );
}

#[test]
fn every_row_of_many_gets_a_value_of_its_own() {
    let rows = vec!["(UUID_SHORT())"; 5_000].join(",");
    let sql = format!("INSERT INTO t VALUES {rows}");
    let text = rewritten(sql.as_bytes(), MYSQL()).unwrap();
    assert_eq!(text.matches("CAST(").count(), 5_000);
    assert!(!text.contains("UUID_SHORT"), "{}", &text[..200]);
}

#[test]
fn bytes_of_any_character_set_stay_as_they_are() {
    let mode = LexMode {
        charset: ClientCharset::Sjis,
        ..MYSQL()
    };
    // The second byte of a character is a backslash.
    let sql = b"INSERT INTO t VALUES ('\x83\x5c', UUID_SHORT(), '\xff')";
    let text = Analyser::new(16).rewrite(sql, mode, &mut Counting::default()).unwrap();
    assert_eq!(text, b"INSERT INTO t VALUES ('\x83\x5c', CAST(1 AS UNSIGNED), '\xff')");
}

#[test]
fn what_cannot_be_replaced_is_said_with_its_reason() {
    let argument = Err(Reason::Argument("RANDOM_BYTES()"));
    for sql in [
        "INSERT INTO t VALUES (RANDOM_BYTES(?))",
        "INSERT INTO t VALUES (RANDOM_BYTES('8'))",
        "INSERT INTO t VALUES (RANDOM_BYTES(a + 1))",
        "INSERT INTO t VALUES (RANDOM_BYTES(/* x */ 8))",
    ] {
        assert_eq!(rewritten(sql.as_bytes(), MYSQL()), argument, "{sql}");
    }
    let long = vec!["(RANDOM_BYTES(1024))"; 10_000].join(",");
    let sql = format!("INSERT INTO t VALUES {long}");
    assert_eq!(rewritten(sql.as_bytes(), MYSQL()), Err(Reason::TooLong));
}

#[test]
fn a_comment_permits_what_is_unsafe() {
    let permitted = |sql: &str| permits_unsafe(sql.as_bytes(), MYSQL());
    assert!(permitted("/* grove:unsafe=allow */ DELETE FROM t LIMIT 1"));
    assert!(permitted("DELETE FROM t LIMIT 1 -- Grove:Unsafe=Allow"));
    assert!(permitted("DELETE /*grove:unsafe=allow*/ FROM t LIMIT 1"));
    assert!(!permitted("DELETE FROM t WHERE a = '/* grove:unsafe=allow */' LIMIT 1"));
    assert!(!permitted("/* grove:unsafe=allowed */ DELETE FROM t LIMIT 1"));
}

#[test]
fn tables_that_change_places_are_noticed() {
    let swaps = |sql: &str| {
        let analysis = Analyser::new(16).analyse(sql.as_bytes(), MYSQL());
        assert_eq!(analysis.class, Class::Ddl, "{sql}");
        analysis.flags.swaps_tables
    };
    assert!(swaps("RENAME TABLE a TO tmp, b TO a, tmp TO b"));
    assert!(swaps("ALTER TABLE p EXCHANGE PARTITION p0 WITH TABLE t"));
    assert!(!swaps("RENAME TABLE a TO b, c TO d"));
    assert!(!swaps("ALTER TABLE a ADD COLUMN exchanged INT"));
}
