//! What a rebuilt server must hold: every type of value to the last bit, and everything that is made by a definition.

use grove_testkit::equality::assert_servers_equal;
use grove_testkit::{Cluster, Kind};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder};
use serde_json::json;
use std::time::Duration;

use super::{LIMIT, options, spoil, wait_until_rebuilt};
use crate::stage::{PROXYD, Place, run};

const COMMON: &[&str] = &[
    "CREATE DATABASE `od``d-näme` DEFAULT CHARACTER SET latin1",
    "CREATE TABLE numbers (id BIGINT UNSIGNED PRIMARY KEY, t TINYINT, b BIGINT, d DECIMAL(40,20), f FLOAT, g DOUBLE, bits BIT(64), y YEAR)",
    "INSERT INTO numbers VALUES
       (0, -128, -9223372036854775808, -12345678901234567890.12345678901234567890, 0.1, 0.1, b'0', 1901),
       (1, 127, 9223372036854775807, 0.00000000000000000001, 16777217, 1.7976931348623157e308, 18446744073709551615, 2155),
       (18446744073709551615, NULL, NULL, NULL, 3.4e38, 5e-324, NULL, NULL), (7, 0, 0, 0, 1e-40, 0.30000000000000004, b'101', 0)",
    "CREATE TABLE strings (id INT AUTO_INCREMENT PRIMARY KEY, c CHAR(10) CHARACTER SET latin1, v VARCHAR(50) CHARACTER SET utf8mb4,
       u VARCHAR(20) CHARACTER SET utf16, b VARBINARY(50), x LONGBLOB, e ENUM('é','b') CHARACTER SET latin1, s SET('p','q','ü')) AUTO_INCREMENT=500",
    "INSERT INTO strings (c, v, u, b, x, e, s) VALUES ('ä', 'snow ☃ \u{1F600}', 'ἀρχή', x'00FF0A0D1A275C22', x'', 'é', 'p,ü'), ('', '\\'\"', NULL, NULL, NULL, NULL, '')",
    "INSERT INTO strings (x) VALUES (REPEAT(x'00275C', 900000))",
    "CREATE TABLE times (id INT PRIMARY KEY, a DATE, b TIME(6), c DATETIME(6), d TIMESTAMP(6) NULL)",
    "INSERT INTO times VALUES (1, '0001-01-01', '-838:59:59.000000', '9999-12-31 23:59:59.999999', '2038-01-19 03:14:07.999999'), (2, NULL, '00:00:00.000001', NULL, NULL)",
    "INSERT INTO numbers (id, f, g) VALUES (8, -1e-46, -0e0), (9, -0e0, -1e-200), (10, -1.17549e-38, 123456789012345678)",
    "CREATE TABLE measures (id INT PRIMARY KEY, f FLOAT(7, 2), g DOUBLE(10, 3), h FLOAT UNSIGNED)",
    "INSERT INTO measures VALUES (1, 12345.67, 1234567.891, 0), (2, -0.01, -0.001, 3e38)",
    "SET SESSION sql_mode='ALLOW_INVALID_DATES'",
    "INSERT INTO times VALUES (3, '2026-02-31', NULL, '2026-02-31 01:02:03.5', NULL), (4, '0000-00-00', NULL, '0000-00-00', '0000-00-00'), (5, '2026-00-00', NULL, '2026-01-00', NULL)",
    "SET SESSION sql_mode=DEFAULT",
    "CREATE TABLE shapes (id INT PRIMARY KEY, g GEOMETRY NOT NULL, j JSON)",
    "INSERT INTO shapes VALUES (1, ST_GeomFromText('POINT(1.5 -2.25)'), '{\"a\": [1, 2.5, null, \"é\"]}'), (2, ST_GeomFromText('POLYGON((0 0,1 0,1 1,0 0))'), NULL)",
    "CREATE TABLE derived (id INT PRIMARY KEY, a INT DEFAULT (1 + 1), b INT AS (a * 2) VIRTUAL, c INT AS (a + 1) STORED, KEY (c), CHECK (a < 1000))",
    "INSERT INTO derived (id, a) VALUES (1, 5), (2, DEFAULT)",
    "CREATE TABLE loosely (id INT PRIMARY KEY, v VARCHAR(10), n INT AS (CAST(v AS UNSIGNED)) STORED, t TINYINT AS (id * 1000) STORED)",
    "SET SESSION sql_mode=''",
    "INSERT INTO loosely (id, v) VALUES (1, '5x'), (2, 'v')",
    "CREATE TABLE chosen (id INT PRIMARY KEY, e ENUM('a', '', 'é') CHARACTER SET latin1)",
    "INSERT INTO chosen VALUES (1, 'none of them'), (2, ''), (3, 'a'), (4, NULL), (5, 'é')",
    "SET SESSION sql_mode=DEFAULT",
    "CREATE TABLE keyless (a INT, b VARCHAR(10))",
    "INSERT INTO keyless VALUES (1, 'x'), (1, 'x'), (NULL, NULL)",
    "CREATE TABLE parted (id INT PRIMARY KEY, v INT) PARTITION BY RANGE (id) (PARTITION p0 VALUES LESS THAN (10), PARTITION p1 VALUES LESS THAN MAXVALUE)",
    "INSERT INTO parted VALUES (1, 1), (100, 2)",
    "CREATE TABLE mother (id INT PRIMARY KEY)",
    "CREATE TABLE a_child (id INT PRIMARY KEY, m INT, FOREIGN KEY (m) REFERENCES mother (id) ON DELETE CASCADE)",
    "INSERT INTO mother VALUES (1), (2)",
    "INSERT INTO a_child VALUES (10, 1), (11, NULL)",
    "CREATE TABLE `od``d-näme`.`tä``ble` (`cö``l` VARCHAR(10), PRIMARY KEY (`cö``l`))",
    "INSERT INTO `od``d-näme`.`tä``ble` VALUES ('ö')",
    "CREATE TABLE zero (id INT AUTO_INCREMENT PRIMARY KEY)",
    "SET SESSION sql_mode='NO_AUTO_VALUE_ON_ZERO'",
    "INSERT INTO zero VALUES (0), (5)",
    "SET SESSION sql_mode=DEFAULT",
    "CREATE TABLE audit (id INT AUTO_INCREMENT PRIMARY KEY, what VARCHAR(20))",
    "CREATE TRIGGER second AFTER INSERT ON mother FOR EACH ROW INSERT INTO audit (what) VALUES ('seçond')",
    "CREATE TRIGGER first AFTER INSERT ON mother FOR EACH ROW PRECEDES second INSERT INTO audit (what) VALUES ('first')",
    "CREATE FUNCTION twice(a INT) RETURNS INT DETERMINISTIC RETURN a * 2",
    "CREATE PROCEDURE greet(IN who VARCHAR(20)) BEGIN SELECT CONCAT('grüß ', who); END",
    "CREATE VIEW b_base AS SELECT id, twice(v) AS v FROM parted",
    "CREATE VIEW a_on_top AS SELECT * FROM b_base WHERE v > 1",
    // The last routine that is made must not lend its mode to the views.
    "SET SESSION sql_mode='ANSI_QUOTES,NO_BACKSLASH_ESCAPES,PIPES_AS_CONCAT,IGNORE_SPACE,HIGH_NOT_PRECEDENCE'",
    "CREATE PROCEDURE zz_quoting() SELECT 'a\\b' || \"id\" FROM \"mother\"",
    "CREATE VIEW written_in_ansi AS SELECT 'a\\b' || 'c''d' AS v, \"id\" FROM \"mother\" WHERE NOT \"id\" BETWEEN -1 AND 0",
    "SET SESSION sql_mode=DEFAULT",
    "CREATE VIEW written_plainly AS SELECT 'a\\\\b\\n' AS v, 'it''s \"so\"' AS w, id IN (1) || id IN (2) AS x, NOT id BETWEEN -1 AND 0 AS y FROM mother",
    "CREATE EVENT IF NOT EXISTS tidy ON SCHEDULE EVERY 1 DAY STARTS '2036-01-01 00:00:00' DISABLE COMMENT 'später' DO DELETE FROM audit",
    "CREATE USER 'clerk'@'10.%' IDENTIFIED BY 'secret' PASSWORD EXPIRE NEVER",
    "GRANT SELECT, UPDATE (v) ON app.parted TO 'clerk'@'10.%'",
    "GRANT EXECUTE ON FUNCTION app.twice TO 'clerk'@'10.%' WITH GRANT OPTION",
    "CREATE USER 'ödd`user'@'%' IDENTIFIED BY 'x'",
    "GRANT ALL ON `od``d-näme`.* TO 'ödd`user'@'%'",
];

const MARIADB: &[&str] = &[
    "CREATE SEQUENCE ticket START WITH 100 INCREMENT BY 5 NOCACHE",
    "SELECT NEXTVAL(ticket)",
    "CREATE SEQUENCE single CACHE 1",
    "SELECT NEXTVAL(single)",
    "CREATE SEQUENCE around MINVALUE 1 MAXVALUE 2 NOCACHE CYCLE",
    "SELECT NEXTVAL(around)",
    "SELECT NEXTVAL(around)",
    "SELECT NEXTVAL(around)",
    "CREATE SEQUENCE back START WITH 100 NOCACHE",
    "ALTER SEQUENCE back RESTART 5",
    "CREATE SEQUENCE spent MINVALUE 1 MAXVALUE 2 NOCACHE",
    "SELECT NEXTVAL(spent)",
    "SELECT NEXTVAL(spent)",
    "CREATE TABLE own_types (id UUID PRIMARY KEY, a INET6, b INET4, hidden INT INVISIBLE DEFAULT 3)",
    "INSERT INTO own_types (id, a, b, hidden) VALUES ('123e4567-e89b-12d3-a456-426655440000', '2001:db8::ff00:42:8329', '192.0.2.1', 9)",
    "CREATE ROLE readers",
    "GRANT SELECT ON app.* TO readers",
    "GRANT readers TO 'clerk'@'10.%'",
    "SET DEFAULT ROLE readers FOR 'clerk'@'10.%'",
];

const MYSQL: &[&str] = &[
    "CREATE TABLE typed (id INT PRIMARY KEY, price DECIMAL(8, 2), at DATETIME(3), seen TIMESTAMP(6) NULL, b BINARY(3), l LONGBLOB, m MEDIUMBLOB, o BLOB, bits BIT(12), j JSON)",
    "INSERT INTO typed (id, price, at, seen, b, l, m, o, bits) VALUES (1, -1.50, '2026-02-03 04:05:06.789', '2026-02-03 04:05:06', x'00FF27', x'00FF27', x'00FF27', x'', b'101')",
    "UPDATE typed SET j = JSON_OBJECT('price', price, 'whole', CAST(5 AS DECIMAL), 'at', at, 'day', DATE(at), 'time', TIMEDIFF('00:00', '01:02:03.5'), 'seen', seen,
       'bytes', JSON_ARRAY(b, l, m, o, bits, CAST('x' AS BINARY)), 'a\"b\\\\c.d é☃', JSON_ARRAY(1, JSON_OBJECT('', price)), 'text', '2026-02-03', 'double', 1.5e0)",
    "INSERT INTO typed (id, j) VALUES (2, CAST(CAST('2026-02-03' AS DATE) AS JSON)), (3, CAST(1.50 AS JSON)), (4, '{}'), (5, '\"JSON_SET(1)\"'), (6, 'null'), (7, NULL), (8, '[[], {}]')",
    "CREATE TABLE own_types (id INT PRIMARY KEY, j JSON, hidden INT INVISIBLE DEFAULT 3, KEY by_key ((CAST(j->'$.a' AS UNSIGNED))))",
    "INSERT INTO own_types (id, j, hidden) VALUES (1, '{\"a\": 5, \"b\": 0.1, \"c\": 12345678901234567890}', 9)",
    "CREATE ROLE readers",
    "GRANT SELECT ON app.* TO readers",
    "GRANT readers TO 'clerk'@'10.%'",
    "ALTER USER 'clerk'@'10.%' DEFAULT ROLE readers",
];

/// Accounts with their rights, apart from Grove's own.
async fn accounts(cluster: &Cluster, place: usize, kind: Kind) -> Vec<String> {
    let mut look = cluster.look_at(place).await.unwrap();
    if kind == Kind::MySql {
        look.query_drop("SET SESSION print_identified_with_as_hex=ON")
            .await
            .unwrap();
    }
    let mut seen = Vec::new();
    let users: Vec<(String, String)> = look
        .query("SELECT user, host FROM mysql.user WHERE user NOT IN ('grove', 'mariadb.sys', 'PUBLIC') ORDER BY 1, 2")
        .await
        .unwrap();
    for (user, host) in users {
        let account = match host.as_str() {
            "" => format!("`{user}`"),
            host => format!("`{}`@`{host}`", user.replace('`', "``")),
        };
        let is_role = host.is_empty();
        if !is_role {
            // The installation's accounts with a host name are not in force where names are not resolved.
            let create: Result<Option<String>, _> = look.query_first(format!("SHOW CREATE USER {account}")).await;
            let Ok(create) = create else { continue };
            seen.extend(create);
        }
        let mut grants: Vec<String> = look.query(format!("SHOW GRANTS FOR {account}")).await.unwrap();
        grants.sort();
        seen.extend(grants);
    }
    seen
}

/// What the comparison of servers does not look at.
async fn further(cluster: &Cluster, place: usize, kind: Kind) -> Vec<String> {
    let mut look = cluster.look_at(place).await.unwrap();
    let mut seen = accounts(cluster, place, kind).await;
    let questions = [
        "SELECT CONCAT_WS(' ', event_schema, event_name, event_definition, interval_value, interval_field, starts, status, event_comment, character_set_client, collation_connection, time_zone, sql_mode) FROM information_schema.events ORDER BY 1",
        "SELECT CONCAT_WS(' ', trigger_schema, trigger_name, action_order, character_set_client, collation_connection) FROM information_schema.triggers WHERE trigger_schema = 'app' ORDER BY 1",
        "SELECT CONCAT_WS(' ', routine_name, is_deterministic, character_set_client, collation_connection, database_collation) FROM information_schema.routines WHERE routine_schema = 'app' ORDER BY 1",
        "SELECT CONCAT_WS(' ', table_name, view_definition, check_option, definer, security_type) FROM information_schema.views WHERE table_schema = 'app' ORDER BY 1",
        "SELECT CONCAT_WS(' ', id, HEX(v)) FROM app.written_in_ansi ORDER BY 1",
        "SELECT CONCAT_WS(' ', HEX(v), HEX(w), x, y) FROM app.written_plainly ORDER BY 1",
        "SELECT CONCAT_WS(' ', id, f, ATAN2(f, -1), g, ATAN2(g, -1)) FROM app.numbers ORDER BY id",
        "SELECT CONCAT_WS(' ', id, a, c, d) FROM app.times ORDER BY id",
        "SELECT CONCAT_WS(' ', id, e + 0, e) FROM app.chosen ORDER BY id",
        "SELECT CONCAT_WS(' ', schema_name, default_collation_name) FROM information_schema.schemata ORDER BY 1",
    ];
    for question in questions {
        let rows: Vec<String> = look.query(question).await.unwrap();
        assert!(!rows.is_empty(), "{question}");
        seen.extend(rows);
    }
    if kind == Kind::MySql {
        let types = "SELECT CONCAT_WS(' ', id, path, JSON_TYPE(JSON_EXTRACT(j, path)), JSON_EXTRACT(j, path)) FROM app.typed, JSON_TABLE(
            '[\"$\", \"$.price\", \"$.whole\", \"$.at\", \"$.day\", \"$.time\", \"$.seen\", \"$.bytes[0]\", \"$.bytes[1]\", \"$.bytes[2]\", \"$.bytes[3]\", \"$.bytes[4]\",
              \"$.bytes[5]\", \"$.text\", \"$.double\"]', '$[*]' COLUMNS (path TEXT PATH '$')) AS paths ORDER BY id, path";
        let types: Vec<String> = look.query(types).await.unwrap();
        assert!(types.iter().any(|line| line == "1 $.price DECIMAL -1.50"), "{types:#?}");
        seen.extend(types);
    }
    if kind == Kind::MariaDb {
        for sequence in ["ticket", "single", "around", "back", "spent"] {
            let question =
                format!("SELECT CONCAT_WS(' ', '{sequence}', next_not_cached_value, cycle_count) FROM app.{sequence}");
            let holds: Option<String> = look.query_first(question).await.unwrap();
            seen.extend(holds);
        }
    }
    seen
}

pub(super) async fn fill_with_everything(conn: &mut Conn, kind: Kind) {
    run(conn, COMMON).await;
    run(conn, if kind == Kind::MariaDb { MARIADB } else { MYSQL }).await;
    // Written in another character set.
    run(
        conn,
        &[
            "SET NAMES latin1",
            "CREATE VIEW in_latin1 AS SELECT 'caf\u{e9}' AS drink",
            "SET NAMES utf8mb4",
        ],
    )
    .await;
}

async fn everything_is_copied(kind: Kind) {
    let cluster = Cluster::start_with(options(kind), PROXYD).await.unwrap();
    let mut conn = cluster.client().await.unwrap();
    fill_with_everything(&mut conn, kind).await;
    cluster.command("db3", "disable", &json!({})).await.unwrap();
    cluster.wait_for_state("db3", "disabled", LIMIT).await.unwrap();
    spoil(&cluster, 2).await;
    cluster
        .command("db3", "rebuild", &json!({"from": "db2"}))
        .await
        .unwrap();
    wait_until_rebuilt(&cluster, "db3").await;
    assert_servers_equal(&cluster).await;
    let (donor, copy) = (further(&cluster, 1, kind).await, further(&cluster, 2, kind).await);
    assert_eq!(donor, copy);
    if kind == Kind::MariaDb {
        for holds in ["ticket 105 0", "single 2 0", "around 2 1", "back 5 0", "spent 3 0"] {
            assert!(copy.iter().any(|line| line == holds), "{holds}: {copy:#?}");
        }
    }
    for line in [
        "3 2026-02-31 2026-02-31 01:02:03.500000",
        "5 2026-00-00 2026-01-00 00:00:00.000000",
    ] {
        assert!(copy.iter().any(|other| other == line), "{line}: {copy:#?}");
    }
    for account in ["clerk", "ödd", "readers"] {
        assert!(copy.iter().any(|line| line.contains(account)), "{account}: {copy:#?}");
    }
    // And it works: triggers act in their order, keys are generated, everything is compared again.
    run(
        &mut conn,
        &[
            "INSERT INTO mother VALUES (3)",
            "INSERT INTO strings (v) VALUES ('after')",
            "SELECT * FROM a_on_top",
            "CALL greet('x')",
        ],
    )
    .await;
    assert_servers_equal(&cluster).await;
}

#[tokio::test]
async fn everything_is_copied_on_mariadb() {
    everything_is_copied(Kind::MariaDb).await;
}

#[tokio::test]
async fn everything_is_copied_on_mysql() {
    everything_is_copied(Kind::MySql).await;
}

/// Roles lose their members when they are made anew, servers keep rights on what has been dropped, and Grove may have its own rights from a role.
async fn accounts_that_depend_on_each_other_are_copied(kind: Kind) {
    let cluster = Cluster::start_with(options(kind), PROXYD).await.unwrap();
    let mut conn = cluster.client().await.unwrap();
    let default_role = |role, user| match kind {
        Kind::MariaDb => format!("SET DEFAULT ROLE {role} FOR {user}"),
        Kind::MySql => format!("ALTER USER {user} DEFAULT ROLE {role}"),
    };
    run(
        &mut conn,
        &[
            "CREATE TABLE kept (a INT, b INT, c INT)",
            "CREATE TABLE gone (a INT)",
            "CREATE USER clerk IDENTIFIED BY 'secret'",
            "GRANT SELECT (a, b), UPDATE (c) ON app.kept TO clerk",
            "GRANT SELECT ON app.gone TO clerk",
            "ALTER TABLE kept DROP COLUMN b",
            "DROP TABLE gone",
            "CREATE ROLE helpers",
            "GRANT SELECT ON app.* TO helpers",
            "CREATE ROLE chiefs",
            "GRANT helpers TO chiefs",
            "CREATE USER member IDENTIFIED BY 'secret'",
            "GRANT helpers TO member",
            "CREATE ROLE steady",
            "CREATE USER late IDENTIFIED BY 'secret'",
            "GRANT steady TO late",
            &default_role("helpers", "member"),
        ],
    )
    .await;
    cluster.command("db3", "disable", &json!({})).await.unwrap();
    cluster.wait_for_state("db3", "disabled", LIMIT).await.unwrap();
    let mut target = cluster.look_at(2).await.unwrap();
    run(
        &mut target,
        &[
            "GRANT INSERT ON app.* TO helpers",
            "DROP USER late, clerk",
            "CREATE ROLE inner_keeper",
            "GRANT ALL ON *.* TO inner_keeper WITH GRANT OPTION",
            "CREATE ROLE keeper",
            "GRANT inner_keeper TO keeper",
            "GRANT keeper TO grove",
            &default_role("keeper", "grove"),
        ],
    )
    .await;
    let place = Place {
        address: cluster.servers()[2].address(),
        kind,
    };
    let rights = [
        "REVOKE ALL PRIVILEGES ON *.* FROM grove",
        "REVOKE GRANT OPTION ON *.* FROM grove",
    ];
    run(&mut place.client().await, &rights).await;
    cluster
        .command("db3", "rebuild", &json!({"from": "db2"}))
        .await
        .unwrap();
    wait_until_rebuilt(&cluster, "db3").await;
    let donor: Vec<String> = accounts(&cluster, 1, kind)
        .await
        .into_iter()
        .filter(|line| !line.contains("`gone`"))
        .map(|line| line.replace("(`a`, `b`)", "(`a`)"))
        .collect();
    let mut copy = accounts(&cluster, 2, kind).await;
    copy.retain(|line| !line.contains("keeper"));
    assert_eq!(donor, copy);
    for account in ["clerk", "member", "late", "helpers", "chiefs", "steady"] {
        assert!(copy.iter().any(|line| line.contains(account)), "{account}: {copy:#?}");
    }
    run(&mut conn, &["INSERT INTO kept VALUES (1, 2)"]).await;
    assert_servers_equal(&cluster).await;
}

#[tokio::test]
async fn accounts_that_depend_on_each_other_are_copied_on_mariadb() {
    accounts_that_depend_on_each_other_are_copied(Kind::MariaDb).await;
}

#[tokio::test]
async fn accounts_that_depend_on_each_other_are_copied_on_mysql() {
    accounts_that_depend_on_each_other_are_copied(Kind::MySql).await;
}

/// The copy cannot end before the ALTER has, because its last table is locked on the target.
async fn a_table_that_is_copied_can_be_altered_before_the_copy_ends(kind: Kind) {
    let cluster = Cluster::start_with(options(kind), PROXYD).await.unwrap();
    let mut conn = cluster.client().await.unwrap();
    run(
        &mut conn,
        &[
            "CREATE TABLE a_first (id INT PRIMARY KEY)",
            "INSERT INTO a_first VALUES (1), (2), (3)",
            "CREATE TABLE large (id INT AUTO_INCREMENT PRIMARY KEY, filler VARCHAR(200))",
            "INSERT INTO large (filler) VALUES (REPEAT('x', 200))",
        ],
    )
    .await;
    for _ in 0..18 {
        run(&mut conn, &["INSERT INTO large (filler) SELECT filler FROM large"]).await;
    }
    // The server divides a large table only once it knows how large it is.
    run(&mut conn, &["ANALYZE TABLE large"]).await;
    cluster.command("db3", "disable", &json!({})).await.unwrap();
    cluster.wait_for_state("db3", "disabled", LIMIT).await.unwrap();
    spoil(&cluster, 2).await;
    cluster
        .command("db3", "rebuild", &json!({"from": "db2"}))
        .await
        .unwrap();
    let begun = tokio::time::Instant::now();
    // The schema is not there yet.
    let without_schema = || OptsBuilder::from_opts(cluster.server_opts(2)).db_name(None::<String>);
    let locked = async || {
        let mut target = Conn::new(without_schema()).await?;
        let lock = "LOCK TABLES app.large READ, app.a_first READ";
        target.query_drop(lock).await.map(|()| target)
    };
    // The rebuild begins by ending all connections of this account.
    let mut target = loop {
        assert!(begun.elapsed() < LIMIT);
        if let Ok(target) = locked().await {
            break target;
        }
    };
    while target.query_first("SELECT COUNT(*) FROM app.a_first").await.unwrap() != Some(3) {
        run(&mut target, &["UNLOCK TABLES"]).await;
        tokio::time::sleep(Duration::from_millis(5)).await;
        run(&mut target, &["LOCK TABLES app.large READ, app.a_first READ"]).await;
    }
    let altered = conn.query_drop("ALTER TABLE a_first ADD COLUMN b INT");
    tokio::time::timeout(LIMIT, altered).await.unwrap().unwrap();
    let rows: Option<usize> = target.query_first("SELECT COUNT(*) FROM app.large").await.unwrap();
    assert!(rows < Some(1 << 18), "the copy had ended");
    run(&mut target, &["UNLOCK TABLES"]).await;
    wait_until_rebuilt(&cluster, "db3").await;
    assert_servers_equal(&cluster).await;
}

#[tokio::test]
async fn a_table_that_is_copied_can_be_altered_before_the_copy_ends_on_mariadb() {
    a_table_that_is_copied_can_be_altered_before_the_copy_ends(Kind::MariaDb).await;
}

#[tokio::test]
async fn a_table_that_is_copied_can_be_altered_before_the_copy_ends_on_mysql() {
    a_table_that_is_copied_can_be_altered_before_the_copy_ends(Kind::MySql).await;
}

#[tokio::test]
async fn what_cannot_be_copied_is_named() {
    let cluster = Cluster::start_with(options(Kind::MariaDb), PROXYD).await.unwrap();
    let mut conn = cluster.client().await.unwrap();
    run(&mut conn, &["CREATE TABLE plain (a INT) ENGINE=MyISAM"]).await;
    cluster.command("db3", "disable", &json!({})).await.unwrap();
    cluster.wait_for_state("db3", "disabled", LIMIT).await.unwrap();
    let refused = async || {
        cluster.command("db3", "rebuild", &json!({})).await.unwrap();
        cluster.wait_for_state("db3", "diverged", LIMIT).await.unwrap()
    };
    let reason = refused().await;
    assert!(reason.contains("app.plain (engine MyISAM)"), "{reason}");
    let cached = [
        "ALTER TABLE plain ENGINE=InnoDB",
        "CREATE SEQUENCE hasty",
        "CREATE SEQUENCE few CACHE 2",
        "CREATE SEQUENCE steady NOCACHE",
        "INSERT INTO plain VALUES (NEXTVAL(hasty)), (NEXTVAL(few)), (NEXTVAL(steady))",
    ];
    run(&mut conn, &cached).await;
    let reason = refused().await;
    assert!(
        reason.contains("app.few (cache 2), app.hasty (cache 1000);"),
        "{reason}"
    );
    assert!(reason.contains("ALTER SEQUENCE .. NOCACHE"), "{reason}");
    run(
        &mut conn,
        &["ALTER SEQUENCE hasty NOCACHE", "ALTER SEQUENCE few NOCACHE"],
    )
    .await;
    cluster.command("db3", "rebuild", &json!({})).await.unwrap();
    wait_until_rebuilt(&cluster, "db3").await;
    // Every server gives the same values.
    let drawn = "INSERT INTO plain VALUES (NEXTVAL(hasty)), (NEXTVAL(few)), (NEXTVAL(steady))";
    run(&mut conn, &[drawn]).await;
    assert_servers_equal(&cluster).await;
}

#[tokio::test]
async fn a_scalar_in_a_document_that_cannot_be_copied_is_named() {
    let cluster = Cluster::start_with(options(Kind::MySql), PROXYD).await.unwrap();
    let mut conn = cluster.client().await.unwrap();
    run(
        &mut conn,
        &[
            "CREATE TABLE tiny (b TINYBLOB, j JSON)",
            "INSERT INTO tiny (b) VALUES ('x')",
            "UPDATE tiny SET j = JSON_ARRAY(b)",
        ],
    )
    .await;
    cluster.command("db3", "disable", &json!({})).await.unwrap();
    cluster.wait_for_state("db3", "disabled", LIMIT).await.unwrap();
    cluster.command("db3", "rebuild", &json!({})).await.unwrap();
    let reason = cluster.wait_for_state("db3", "diverged", LIMIT).await.unwrap();
    assert!(
        reason.contains("a copy cannot make: base64:type249") && reason.contains("`app`.`tiny`"),
        "{reason}"
    );
    run(&mut conn, &["UPDATE tiny SET j = '[]'"]).await;
    cluster.command("db3", "rebuild", &json!({})).await.unwrap();
    wait_until_rebuilt(&cluster, "db3").await;
    assert_servers_equal(&cluster).await;
}
