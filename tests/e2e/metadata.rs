//! MariaDB's extended metadata: column definitions that tell JSON, UUID, INET and the geometries apart from text and bytes.

use grove_testkit::Kind;
use grove_testkit::raw_client::EVERYDAY;
use grove_wire::CapabilityFlags;
use grove_wire::command::COM_STMT_EXECUTE;

use crate::stage::{Notes, Place, Stage};

/// A MariaDB client: without LONG_PASSWORD, so that extended capabilities are read.
const MARIADB: CapabilityFlags = CapabilityFlags(EVERYDAY.0 & !CapabilityFlags::LONG_PASSWORD.0);

const TABLE: &str = "CREATE TABLE typed (id INT AUTO_INCREMENT PRIMARY KEY, j JSON, u UUID, four INET4, six INET6, g GEOMETRY, p POINT, \
     l LINESTRING, a POLYGON, m MULTIPOINT, t VARCHAR(20) UNIQUE, b BLOB, d DECIMAL(10, 2), e ENUM('x', 'y'), v VARCHAR(9) AS (UPPER(t)))";

const ROW: &str = "INSERT INTO typed (j, u, four, six, g, p, l, a, m, t, b, d, e) VALUES ('{\"a\": 1}', '12345678-1234-5678-9abc-123456789abc', \
     '10.0.0.1', '2001:db8::1', ST_GeomFromText('POINT(1 1)'), ST_GeomFromText('POINT(1 2)'), ST_GeomFromText('LINESTRING(0 0, 1 1)'), \
     ST_GeomFromText('POLYGON((0 0, 0 1, 1 1, 0 0))'), ST_GeomFromText('MULTIPOINT(0 0, 1 1)'), 'text', x'00FF', 1.5, 'y')";

/// Statements that are forwarded, and those for which Grove reads an answer of its own on the way: variables, and keys that a reply does
/// not tell for sure.
const STATEMENTS: [&str; 15] = [
    "SELECT * FROM typed",
    "SELECT CAST('::1' AS INET6), JSON_OBJECT('a', 1), POINT(1, 2), NULL, UUID() = 'x', 1.5",
    "SELECT j AS `another name`, COUNT(*) FROM typed GROUP BY j",
    "SHOW COLUMNS FROM typed",
    "SET @a = 5, @t = 'text', @j = (SELECT j FROM typed LIMIT 1), @six = CAST('::1' AS INET6)",
    "SELECT @a, @t, @j, @six",
    "INSERT INTO typed (t, d) VALUES (@t, @a), ('more', @a + 1) ON DUPLICATE KEY UPDATE d = VALUES(d), j = @j",
    "SELECT LAST_INSERT_ID(), ROW_COUNT()",
    "INSERT INTO typed (t, six) VALUES ('more', @six), ('text', '::2') ON DUPLICATE KEY UPDATE six = VALUES(six)",
    "SELECT LAST_INSERT_ID()",
    "SELECT id, @last := id, six FROM typed ORDER BY id",
    "UPDATE typed SET d = @last",
    "INSERT INTO typed (t) VALUES (CONCAT('key ', LAST_INSERT_ID()))",
    "SELECT id, t, d, six, j FROM typed ORDER BY id",
    "SELECT six FROM typed WHERE 0",
];

async fn typed(place: Place, capabilities: CapabilityFlags) -> Notes {
    let (mut notes, mut client) = (Notes::default(), place.raw(capabilities).await);
    notes.note("in force", client.capabilities.0 >> 32);
    for sql in [TABLE, ROW].iter().chain(&STATEMENTS) {
        notes.packets(sql, &client.query(sql).await.unwrap());
    }
    for sql in [
        "SELECT * FROM typed WHERE id = 1",
        "SELECT six, p FROM typed",
        "DELETE FROM typed WHERE id > 1",
    ] {
        let (id, packets) = client.prepare(sql).await.unwrap();
        notes.packets(sql, &packets[1..]);
        let execution = [&[COM_STMT_EXECUTE][..], &id.to_le_bytes(), &[0, 1, 0, 0, 0]].concat();
        for _ in 0..2 {
            notes.packets("execute", &client.command(&execution).await.unwrap());
        }
    }
    notes
}

#[tokio::test]
async fn mariadbs_types_are_told_as_one_server_does() {
    let stage = Stage::open(Kind::MariaDb).await;
    let extended = MARIADB | CapabilityFlags::EXTENDED_METADATA;
    for capabilities in [extended, extended | CapabilityFlags::DEPRECATE_EOF, MARIADB] {
        stage
            .same_as_direct(async |place| {
                let notes = typed(place, capabilities).await;
                // The rest would prove nothing without it.
                assert_eq!(notes.contains(r"\x00\x05inet6"), capabilities != MARIADB);
                notes
            })
            .await;
    }
}
