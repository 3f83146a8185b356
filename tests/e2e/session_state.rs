//! What a session sets holds for all its statements, on every server, and for nobody else.

use grove_testkit::equality::assert_servers_equal;
use grove_testkit::raw_client::EVERYDAY;
use grove_testkit::{Cluster, Kind};
use mysql_async::prelude::Queryable;

use crate::stage::{Notes, PROXYD, Place, Stage, assert_all_online, one, run};

/// Writes that show the state of the leg that runs them: where a server's leg has another state, the servers differ.
const WITNESS: &str = "INSERT INTO app.witness (what) VALUES
    (CONCAT_WS('|', @x, @y, @@sql_mode, DATABASE(), @@time_zone, @@character_set_client, @@collation_connection,
               @@foreign_key_checks, @@unique_checks, @@sql_auto_is_null, @@div_precision_increment, @@group_concat_max_len,
               @@auto_increment_increment, NOW(), CHARSET('x'), COLLATION('x'), HEX('ä'), 1/3))";

const CHANGES: &[&str] = &[
    "SET @x = 1",
    "SET @x = 'text ä', @y = @x",
    "SET @y := 5 + 5, @x = NULL",
    "SELECT 7 INTO @x",
    "SELECT @x := 8, @y := 9",
    "SET sql_mode = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES'",
    "SET sql_mode = CONCAT(@@sql_mode, ',PIPES_AS_CONCAT')",
    "SET SESSION sql_mode = DEFAULT",
    "SET time_zone = '+05:30'",
    "SET @@session.time_zone = '-03:00', @@foreign_key_checks = 0",
    "SET unique_checks = 0, div_precision_increment = 7",
    "SET group_concat_max_len = 2 * 1000",
    "SET NAMES latin1",
    "SET NAMES utf8mb4 COLLATE utf8mb4_bin",
    "SET CHARACTER SET utf8mb4",
    "SET character_set_client = latin1, collation_connection = latin1_bin",
    "SET NAMES utf8mb4",
    "SET timestamp = 1000000000",
    "SET timestamp = DEFAULT",
    "SET auto_increment_increment = 5",
    "SET auto_increment_increment = DEFAULT",
    "USE mysql",
    "USE app",
    "SET foreign_key_checks = ON, unique_checks = ON",
    "SET sql_auto_is_null = 1",
    "SET @x = (SELECT COUNT(*) FROM app.witness), @y = x'00ff27'",
    "SET @z = REPEAT('z', 100)",
];

async fn every_change(place: Place) -> Notes {
    let mut notes = Notes::default();
    let mut conn = place.client().await;
    let text = "CREATE TABLE witness (id INT AUTO_INCREMENT PRIMARY KEY, what VARBINARY(1000))";
    run(&mut conn, &[text]).await;
    for change in CHANGES {
        run(&mut conn, &[change, WITNESS]).await;
        // The clock is not the same in both runs; its sameness on all servers is what the comparison of servers proves.
        let what = "SELECT @x, @y, @@sql_mode, DATABASE(), @@time_zone, @@character_set_client, @@collation_connection,
                    @@foreign_key_checks, @@unique_checks, @@div_precision_increment, @@group_concat_max_len, HEX('ä'), 1/3";
        notes.query(&mut conn, what).await;
        run(&mut conn, &["BEGIN", WITNESS]).await;
        notes.query(&mut conn, what).await;
        run(&mut conn, &["COMMIT"]).await;
    }
    // Changes inside a transaction that writes, and after one.
    run(
        &mut conn,
        &[
            "BEGIN",
            WITNESS,
            "SET @x = 'inside', sql_mode = 'NO_ZERO_DATE'",
            WITNESS,
            "SET time_zone = '+01:00'",
            WITNESS,
        ],
    )
    .await;
    notes.query(&mut conn, "SELECT @x, @@sql_mode, @@time_zone").await;
    run(&mut conn, &["ROLLBACK", WITNESS]).await;
    notes.query(&mut conn, "SELECT @x, @@sql_mode, @@time_zone").await;
    // What fails changes nothing.
    notes.query(&mut conn, "SET @x = 'before', sql_mode = 'NONSENSE'").await;
    notes.query(&mut conn, "SELECT @x, @@sql_mode").await;
    run(&mut conn, &[WITNESS]).await;
    notes.query(&mut conn, "SELECT COUNT(*) FROM witness").await;
    notes
}

/// Functions that speak of the session's last statement.
async fn last_statement(place: Place) -> Notes {
    let mut notes = Notes::default();
    let mut conn = place.client().await;
    let create = "CREATE TABLE n (id INT AUTO_INCREMENT PRIMARY KEY, v INT, UNIQUE KEY (v))";
    for sql in [
        create,
        "INSERT INTO n (v) VALUES (1), (2)",
        "SELECT ROW_COUNT()",
        "SELECT ROW_COUNT()",
        "SELECT LAST_INSERT_ID()",
        "INSERT INTO n (v) VALUES (3)",
        "SELECT LAST_INSERT_ID()",
        "UPDATE n SET v = v + 10",
        "SELECT LAST_INSERT_ID() AS i, ROW_COUNT() AS n, NULL, row_count()",
        "UPDATE n SET v = v",
        "SELECT ROW_COUNT() 'changed';",
        "REPLACE INTO n (id, v) VALUES (1, 1000)",
        "SELECT ROW_COUNT()",
        "INSERT INTO n (v) VALUES (1000)",
        "SELECT ROW_COUNT()",
        "BEGIN",
        "INSERT INTO n (v) VALUES (4)",
        "SELECT LAST_INSERT_ID()",
        "UPDATE n SET v = v + 10",
        "SELECT ROW_COUNT()",
        "INSERT INTO n (id, v) VALUES (1, 1)",
        "SELECT ROW_COUNT()",
        "INSERT INTO n (v) VALUES (LAST_INSERT_ID() + 100)",
        "COMMIT",
        "SELECT LAST_INSERT_ID()",
        "INSERT INTO n (v) VALUES (4)",
        "SELECT LAST_INSERT_ID()",
        "UPDATE n SET v = LAST_INSERT_ID(v + 1000) WHERE id = 1",
        "SELECT LAST_INSERT_ID()",
        "SELECT LAST_INSERT_ID(77)",
        "INSERT INTO n (v) VALUES (LAST_INSERT_ID())",
        "SELECT SQL_CALC_FOUND_ROWS id FROM n ORDER BY id LIMIT 2",
        "SELECT FOUND_ROWS()",
        "DELETE FROM n WHERE id > 2",
        "DO 1",
        "SELECT ROW_COUNT()",
        "SELECT * FROM n ORDER BY id",
        "INSERT INTO n (v) VALUES (5) ON DUPLICATE KEY UPDATE v = 6",
        "SELECT LAST_INSERT_ID() > 0",
        "INSERT IGNORE INTO n (v) VALUES (5)",
        "SHOW WARNINGS",
        "SELECT ROW_COUNT()",
        "INSERT INTO n (id, v) VALUES (1, 1)",
        "SHOW WARNINGS",
        "SELECT 1 / 0",
        "SHOW WARNINGS",
        "SELECT nothing",
        "SHOW ERRORS",
        "SELECT @@warning_count, @@error_count",
    ] {
        notes.query(&mut conn, sql).await;
    }
    notes
}

/// Warnings of a write in a transaction that reads on another server than the lead, as some of these sessions do.
async fn warnings_after_a_read(place: Place) -> Notes {
    let mut notes = Notes::default();
    run(
        &mut place.client().await,
        &["CREATE TABLE w (id INT PRIMARY KEY)", "INSERT INTO w VALUES (1), (2)"],
    )
    .await;
    // All at the same time, so that they read from different servers.
    let mut sessions = Vec::new();
    for _ in 0..6 {
        let mut conn = place.client().await;
        for sql in [
            "SET autocommit = 0",
            "SELECT COUNT(*) FROM w",
            "INSERT IGNORE INTO w VALUES (1), (2)",
            "SHOW WARNINGS",
            "SHOW COUNT(*) WARNINGS",
            "SELECT CAST('7x' AS SIGNED)",
            "SHOW WARNINGS",
            "COMMIT",
            "SHOW WARNINGS",
        ] {
            notes.query(&mut conn, sql).await;
        }
        sessions.push(conn);
    }
    notes
}

/// State that was told to the lead, and then a command that another server answers.
async fn state_before_a_command(place: Place) -> Notes {
    let mut notes = Notes::default();
    run(
        &mut place.client().await,
        &["CREATE TABLE v (id INT AUTO_INCREMENT PRIMARY KEY)"],
    )
    .await;
    // All at the same time, so that they read from different servers.
    let mut clients = Vec::new();
    for _ in 0..6 {
        let mut client = place.raw(EVERYDAY).await;
        for sql in [
            "BEGIN",
            "INSERT INTO v VALUES ()",
            "SET @x = 5, sql_mode = 'ANSI_QUOTES'",
            "COMMIT",
        ] {
            client.query(sql).await.unwrap();
        }
        notes.packets("schema", &client.command(b"\x02app").await.unwrap());
        notes.packets(
            "state",
            &client.query("SELECT @x, @@sql_mode, DATABASE()").await.unwrap(),
        );
        clients.push(client);
    }
    notes
}

/// Text in character sets whose second byte may be a backslash or a quote, and bytes that are not UTF-8.
async fn charsets(place: Place) -> Notes {
    let mut notes = Notes::default();
    let mut client = place.raw(EVERYDAY).await;
    let create = "CREATE TABLE c (id INT AUTO_INCREMENT PRIMARY KEY, t VARCHAR(50) CHARACTER SET utf8mb4, g VARCHAR(50) CHARACTER SET gbk)";
    client.query(create).await.unwrap();
    // 0x815C and 0xBF5C are GBK characters that end with a backslash.
    let texts: &[(&str, &[u8])] = &[
        ("gbk", b"\x81\x5C"),
        ("gbk", b"a\xBF\x5Cb"),
        ("gbk", b"\xBF\x5C; DROP TABLE c; -- "),
        ("latin1", b"caf\xE9"),
        ("latin1", b"\xBF\\'"),
        ("utf8mb4", "żółć 🦀".as_bytes()),
    ];
    for (charset, text) in texts {
        notes.packets(charset, &client.query(format!("SET NAMES {charset}")).await.unwrap());
        let literal = [b"'", *text, b"'"].concat();
        let insert = [
            b"INSERT INTO c (t, g) VALUES (",
            &literal[..],
            b", ",
            &literal[..],
            b")",
        ]
        .concat();
        notes.packets("insert", &client.query(insert).await.unwrap());
        let select = [b"SELECT ", &literal[..], b", t, g FROM c ORDER BY id"].concat();
        notes.packets("select", &client.query(select).await.unwrap());
    }
    client.query("SET NAMES utf8mb4").await.unwrap();
    notes.packets(
        "hex",
        &client.query("SELECT HEX(t), HEX(g) FROM c ORDER BY id").await.unwrap(),
    );
    // The collation of the handshake counts as SET NAMES does: 28 is gbk_chinese_ci, 8 is latin1_swedish_ci.
    for collation in [28, 8, 45] {
        let login = grove_testkit::raw_client::Login {
            collation,
            ..grove_testkit::raw_client::Login::app()
        };
        let mut client = grove_testkit::RawClient::login(place.address, &login).await.unwrap();
        let question = "SELECT @@character_set_client, @@character_set_results, @@collation_connection";
        notes.packets("handshake", &client.query(question).await.unwrap());
        notes.packets(
            "insert",
            &client
                .query(b"INSERT INTO c (g) VALUES ('\xD6\xD0')".as_slice())
                .await
                .unwrap(),
        );
        notes.packets(
            "hex",
            &client
                .query("SELECT HEX(g) FROM c ORDER BY id DESC LIMIT 1")
                .await
                .unwrap(),
        );
    }
    notes
}

/// Temporary tables, in and out of transactions, shadowing a real one.
async fn temporary_tables(place: Place) -> Notes {
    let mut notes = Notes::default();
    let (mut conn, mut other) = (place.client().await, place.client().await);
    run(
        &mut conn,
        &[
            "CREATE TABLE shadowed (a INT)",
            "INSERT INTO shadowed VALUES (1)",
            "CREATE TABLE target (a INT, b VARCHAR(20))",
        ],
    )
    .await;
    for sql in [
        "CREATE TEMPORARY TABLE shadowed (a INT, b INT)",
        "INSERT INTO shadowed VALUES (10, 20), (11, 21)",
        "SELECT * FROM shadowed",
        "UPDATE shadowed SET b = b + 1 WHERE a = 10",
        "INSERT INTO target SELECT a, b FROM shadowed ORDER BY a",
        "SELECT * FROM target ORDER BY a",
        "BEGIN",
        "DELETE FROM shadowed WHERE a = 11",
        "INSERT INTO target SELECT a + 100, 'in' FROM shadowed",
        "SELECT COUNT(*) FROM shadowed",
        "ROLLBACK",
        "SELECT COUNT(*) FROM shadowed",
        "SELECT COUNT(*) FROM target",
        "CREATE TEMPORARY TABLE second LIKE target",
        "INSERT INTO second VALUES (1, NOW() > 0)",
        "ALTER TABLE second ADD COLUMN c INT DEFAULT 3",
        "SELECT * FROM second",
        "TRUNCATE TABLE second",
        "SELECT COUNT(*) FROM second",
        "CREATE TEMPORARY TABLE third AS SELECT a FROM target WHERE a < 11",
        "SELECT * FROM third",
        "DROP TEMPORARY TABLE shadowed, second",
        "SELECT * FROM shadowed",
        "SELECT * FROM second",
        "DROP TABLE third",
    ] {
        notes.query(&mut conn, sql).await;
        notes.query(&mut other, "SELECT * FROM shadowed").await;
    }
    notes
}

async fn settings_charsets_and_temporary_tables(kind: Kind) {
    let stage = Stage::open(kind).await;
    stage.same_as_direct(every_change).await;
    stage.same_as_direct(charsets).await;
    stage.same_as_direct(warnings_after_a_read).await;
    stage.same_as_direct(state_before_a_command).await;
    stage.same_as_direct(temporary_tables).await;
}

#[tokio::test]
async fn session_state_is_the_same_on_every_mariadb_server() {
    settings_charsets_and_temporary_tables(Kind::MariaDb).await;
}

#[tokio::test]
async fn session_state_is_the_same_on_every_mysql_server() {
    settings_charsets_and_temporary_tables(Kind::MySql).await;
}

#[tokio::test]
async fn functions_about_the_last_statement_answer_as_on_one_server() {
    for kind in [Kind::MariaDb, Kind::MySql] {
        Stage::open(kind).await.same_as_direct(last_statement).await;
    }
}

#[tokio::test]
async fn no_session_sees_anothers_state() {
    let cluster = Cluster::start(Kind::MariaDb, 3, PROXYD).await.unwrap();
    let place = Place::of(&cluster);
    let mut first = place.client().await;
    run(
        &mut first,
        &[
            "CREATE TABLE t (id INT PRIMARY KEY, v INT)",
            "INSERT INTO t VALUES (1, 1)",
        ],
    )
    .await;
    let question = "SELECT CONCAT_WS('|', @x, @@sql_mode, @@time_zone, @@autocommit, @@tx_isolation, @@character_set_client, DATABASE(), LAST_INSERT_ID())";
    let mut fresh = place.client().await;
    let untouched = one(&mut fresh, question).await;
    for round in 0..30 {
        let mut dirty = place.client().await;
        run(
            &mut dirty,
            &[
                "SET @x = 'secret', sql_mode = '', time_zone = '+09:00', NAMES latin1, autocommit = 0",
                "SET SESSION TRANSACTION ISOLATION LEVEL READ UNCOMMITTED",
                "CREATE TEMPORARY TABLE mine (a INT)",
                "USE mysql",
                "UPDATE app.t SET v = v + 1",
            ],
        )
        .await;
        // Ended politely, dropped in the middle of its transaction, or reset.
        match round % 3 {
            0 => dirty.disconnect().await.unwrap(),
            1 => drop(dirty),
            _ => {
                dirty.reset().await.unwrap();
                run(&mut dirty, &["USE app"]).await;
                assert_eq!(
                    one(&mut dirty, question).await,
                    untouched,
                    "after a reset, round {round}"
                );
            }
        }
        let mut fresh = place.client().await;
        assert_eq!(one(&mut fresh, question).await, untouched, "round {round}");
        assert!(fresh.query_drop("SELECT * FROM mine").await.is_err(), "round {round}");
        assert_eq!(one(&mut fresh, "SELECT v FROM t").await, "1", "round {round}");
    }
    assert_all_online(&cluster).await;
    assert_servers_equal(&cluster).await;
}
