//! MySQL's query attributes: packets with them, as a single server answers them, and writes that read them.

use grove_testkit::equality::assert_servers_equal;
use grove_testkit::raw_client::EVERYDAY;
use grove_testkit::{Cluster, Kind, RawClient};
use grove_wire::CapabilityFlags;
use grove_wire::command::{COM_QUERY, COM_STMT_EXECUTE};

use crate::stage::{Notes, PROXYD, Place, Stage};

const ATTRIBUTES: CapabilityFlags = CapabilityFlags(EVERYDAY.0 | CapabilityFlags::QUERY_ATTRIBUTES.0);

const LONGLONG: u8 = 8;
const DATETIME: u8 = 12;
const VAR_STRING: u8 = 253;
/// COM_STMT_EXECUTE's flag PARAMETER_COUNT_AVAILABLE.
const COUNTED: u8 = 8;

/// Name, type code and encoded value; `None` is NULL.
type Attribute<'a> = (&'a str, u8, Option<Vec<u8>>);

fn text<'a>(name: &'a str, value: &str) -> Attribute<'a> {
    (
        name,
        VAR_STRING,
        Some([&[value.len() as u8], value.as_bytes()].concat()),
    )
}

/// NULL bitmap, flag, types with names if wanted, and values.
fn values(attributes: &[Attribute<'_>], sends_types: bool) -> Vec<u8> {
    let mut nulls = vec![0u8; attributes.len().div_ceil(8)];
    let (mut types, mut values) = (Vec::new(), Vec::<u8>::new());
    for (index, (name, kind, value)) in attributes.iter().enumerate() {
        types.extend([*kind, 0, name.len() as u8]);
        types.extend(name.as_bytes());
        match value {
            Some(value) => values.extend(value),
            None => nulls[index / 8] |= 1 << (index % 8),
        }
    }
    nulls.push(u8::from(sends_types));
    if sends_types {
        nulls.extend(types);
    }
    nulls.extend(values);
    nulls
}

fn query(attributes: &[Attribute<'_>], sql: &str) -> Vec<u8> {
    let mut payload = vec![COM_QUERY, attributes.len() as u8, 1];
    if !attributes.is_empty() {
        payload.extend(values(attributes, true));
    }
    payload.extend(sql.as_bytes());
    payload
}

fn execution(id: u32, parameters: &[Attribute<'_>], sends_types: bool) -> Vec<u8> {
    let head = [&[COM_STMT_EXECUTE][..], &id.to_le_bytes(), &[COUNTED, 1, 0, 0, 0]].concat();
    let count = [parameters.len() as u8];
    [head, count.to_vec(), values(parameters, sends_types)].concat()
}

/// The whole section's own variety: types, NULLs, names, many of them, and texts of several statements.
async fn texts(place: Place, capabilities: CapabilityFlags) -> Notes {
    let (mut notes, mut client) = (Notes::default(), place.raw(capabilities).await);
    notes.note(
        "in force",
        client.capabilities.contains(CapabilityFlags::QUERY_ATTRIBUTES),
    );
    let n = &mut notes;
    send(
        n,
        &mut client,
        &query(&[], "INSTALL COMPONENT 'file://component_query_attributes'"),
    )
    .await;
    let many: Vec<String> = (0..70).map(|number| format!("n{number}")).collect();
    let many: Vec<Attribute<'_>> = many.iter().map(|name| text(name, name)).collect();
    let time = vec![11, 0xE9, 0x07, 1, 2, 3, 4, 5, 0x40, 0xE2, 1, 0];
    for (attributes, sql) in [
        (vec![], "SELECT 1"),
        (
            vec![text("a", "x")],
            "SELECT mysql_query_attribute_string('a'), mysql_query_attribute_string('b')",
        ),
        (
            vec![
                text("a", "x"),
                ("b", LONGLONG, Some((-7i64).to_le_bytes().to_vec())),
                ("c", VAR_STRING, None),
            ],
            "SELECT mysql_query_attribute_string('b'), mysql_query_attribute_string('c')",
        ),
        (
            vec![("t", DATETIME, Some(time))],
            "SELECT mysql_query_attribute_string('t')",
        ),
        (
            many,
            "SELECT mysql_query_attribute_string('n69'), mysql_query_attribute_string('n0')",
        ),
        (vec![text("a", "SELECT ';'; DROP TABLE missing")], "SELECT 1"),
        (
            vec![text("a", "x")],
            "SELECT mysql_query_attribute_string('a'); DO 0; SELECT mysql_query_attribute_string('a'), 2",
        ),
        (vec![text("a", "x")], "SELECT 1; SELECT wrong; SELECT 2"),
        (vec![text("a", "x")], ""),
        (vec![text("", "x")], "SELECT ';'"),
    ] {
        send(n, &mut client, &query(&attributes, sql)).await;
    }
    send(
        n,
        &mut client,
        &query(&[], "UNINSTALL COMPONENT 'file://component_query_attributes'"),
    )
    .await;
    send(
        n,
        &mut client,
        &query(&[text("a", "x")], "SELECT 'without the component'"),
    )
    .await;
    notes
}

/// Sections that break off or make no sense: an error, and the connection goes on.
async fn malformed(place: Place) -> Notes {
    let (mut notes, mut client) = (Notes::default(), place.raw(ATTRIBUTES).await);
    let sections: [&[u8]; 14] = [
        b"",
        b"\x00",
        b"\x00\x00SELECT 1",
        b"\x00\x02SELECT 1",
        b"\x01\x01",
        b"\x01\x01\x00\x00\xFD\x00\x01a\x01xSELECT 1",
        b"\x01\x01\x00\x01\xFD\x00\xC8a",
        b"\x01\x01\x00\x01\x08\x00\x01a\x01\x02",
        b"\x01\x01\x00\x01\x0A\x00\x01a\x07SELECT 1",
        b"\x01\x01\x00\x01\xF4\x00\x01a\x07SELECT 1",
        b"\x01\x01\x00\x01\xFD\x00\x01a\xFFSELECT 1",
        b"\xFB\x01\x00\x01\xFD\x00\x01a\x01xSELECT 1",
        b"\xFC\xFF\xFF\x01\x00",
        b"\xFE\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01\x00",
    ];
    for section in sections {
        send(&mut notes, &mut client, &[&[COM_QUERY], section].concat()).await;
        send(&mut notes, &mut client, &query(&[], "SELECT 1")).await;
    }
    notes
}

/// Writes whose input they are, and everything for which Grove adds statements of its own.
async fn writes(place: Place, capabilities: CapabilityFlags) -> Notes {
    let (mut notes, mut client) = (Notes::default(), place.raw(capabilities).await);
    let n = &mut notes;
    let trace = |value| vec![text("trace", value)];
    for (attributes, sql) in [
        (vec![], "INSTALL COMPONENT 'file://component_query_attributes'"),
        (
            vec![],
            "CREATE TABLE a (id INT AUTO_INCREMENT PRIMARY KEY, t VARCHAR(40) UNIQUE, d DATETIME(6), r DOUBLE)",
        ),
        (
            trace("one"),
            "INSERT INTO a (t) VALUES (mysql_query_attribute_string('trace'))",
        ),
        (
            vec![],
            "INSERT INTO a (t) VALUES (mysql_query_attribute_string('trace'))",
        ),
        (
            trace("two"),
            "INSERT INTO a (t) VALUES (mysql_query_attribute_string('trace')), ('one') ON DUPLICATE KEY UPDATE t = 'three'",
        ),
        (vec![], "SELECT LAST_INSERT_ID(), ROW_COUNT()"),
        (
            trace("four"),
            "SET @a = mysql_query_attribute_string('trace'), @b = 5, @name = 'trace'",
        ),
        (vec![], "INSERT INTO a (t) VALUES (@a), (CONCAT(@b, 'th'))"),
        (
            trace("five"),
            "INSERT INTO a (t) VALUES ('a'); INSERT INTO a (t) VALUES (mysql_query_attribute_string('trace'))",
        ),
        (trace("twice"), "BEGIN"),
        (trace("six"), "SAVEPOINT s"),
        (
            trace("six"),
            "UPDATE a SET t = CONCAT(mysql_query_attribute_string('trace'), id) WHERE id < 3",
        ),
        (
            trace("seven"),
            "SELECT t, mysql_query_attribute_string('trace') FROM a ORDER BY id",
        ),
        (
            trace("six"),
            "SELECT t FROM a WHERE t > mysql_query_attribute_string('trace') FOR UPDATE",
        ),
        (vec![], "INSERT INTO a (t) VALUES ('four')"),
        (vec![], "ROLLBACK TO s"),
        (
            trace("eight"),
            "UPDATE a SET d = NULL, r = NULL, t = CONCAT(t, mysql_query_attribute_string('trace'))",
        ),
        (trace("done"), "COMMIT"),
        (
            vec![],
            "CREATE PROCEDURE p() UPDATE a SET t = CONCAT('p', mysql_query_attribute_string('trace')) WHERE id = 1",
        ),
        (trace("nine"), "CALL p()"),
        (
            vec![],
            "PREPARE s FROM 'INSERT INTO a (t) VALUES (CONCAT(?, mysql_query_attribute_string(@name)))'",
        ),
        (trace("ten"), "EXECUTE s USING @a"),
        (
            trace("eleven"),
            "CREATE TABLE b SELECT t, mysql_query_attribute_string('trace') AS trace FROM a",
        ),
        (vec![], "INSERT INTO a (t) VALUES ('four')"),
        (vec![], "SHOW WARNINGS"),
        (vec![], "SELECT id, t FROM a ORDER BY id"),
        (vec![], "SELECT * FROM b ORDER BY t"),
    ] {
        send(n, &mut client, &query(&attributes, sql)).await;
    }
    prepared(n, &mut client).await;
    for sql in [
        "SELECT id, t FROM a ORDER BY id",
        "UNINSTALL COMPONENT 'file://component_query_attributes'",
    ] {
        send(n, &mut client, &query(&[], sql)).await;
    }
    notes
}

async fn prepared(n: &mut Notes, client: &mut RawClient) {
    let (id, packets) = client
        .prepare("INSERT INTO a (t) VALUES (CONCAT(?, mysql_query_attribute_string('trace')))")
        .await
        .unwrap();
    n.packets("prepare", &packets[1..]);
    let trace = || text("trace", "-traced");
    for execution in [
        execution(id, &[text("", "e1"), trace()], true),
        // An attribute always needs types; a parameter's own serve later executions.
        execution(id, &[text("", "e2"), trace()], false),
        execution(id, &[text("", "e3")], false),
        execution(id, &[text("", "e4"), trace()], true),
        execution(
            id,
            &[
                ("", LONGLONG, Some(5i64.to_le_bytes().to_vec())),
                trace(),
                text("more", "x"),
            ],
            true,
        ),
        execution(id, &[("", LONGLONG, Some(6i64.to_le_bytes().to_vec()))], false),
        execution(id, &[], true),
    ] {
        send(n, client, &execution).await;
    }
    for sql in [
        "SELECT mysql_query_attribute_string('trace'), 5",
        "UPDATE a SET r = 5 WHERE t LIKE mysql_query_attribute_string('trace')",
    ] {
        let (id, _) = client.prepare(sql).await.unwrap();
        let bare = [&[COM_STMT_EXECUTE][..], &id.to_le_bytes(), &[0, 1, 0, 0, 0]].concat();
        let mut counted = bare.clone();
        counted[5] = COUNTED;
        for execution in [
            bare,
            counted.clone(),
            [counted, vec![0]].concat(),
            execution(id, &[text("trace", "e%")], true),
            execution(id, &[text("trace", "e%")], false),
        ] {
            send(n, client, &execution).await;
        }
    }
    let (id, _) = client.prepare("SELECT ?").await.unwrap();
    send(n, client, &execution(id, &[text("", "untyped")], false)).await;
    send(n, client, &execution(id, &[text("", "typed")], true)).await;
}

async fn send(notes: &mut Notes, client: &mut RawClient, payload: &[u8]) {
    let packets = client.command(payload).await.unwrap();
    let (command, rest) = payload.split_at(1);
    // The ids of prepared statements differ.
    let rest = if command == [COM_STMT_EXECUTE] {
        &rest[4..]
    } else {
        rest
    };
    notes.packets(&format!("{command:?} {}", rest.escape_ascii()), &packets);
}

#[tokio::test]
async fn query_attributes_are_read_as_a_mysql_server_does() {
    let stage = Stage::open(Kind::MySql).await;
    for capabilities in [
        ATTRIBUTES,
        ATTRIBUTES | CapabilityFlags::DEPRECATE_EOF | CapabilityFlags::SESSION_TRACK,
    ] {
        stage
            .same_as_direct(async |place| {
                let notes = texts(place, capabilities).await;
                assert!(notes.contains("in force: true"));
                notes
            })
            .await;
        stage.same_as_direct(|place| writes(place, capabilities)).await;
    }
    stage.same_as_direct(malformed).await;
}

/// What the lost server alone was sent is sent to the others with its attributes.
#[tokio::test]
async fn a_transaction_with_query_attributes_survives_the_lead() {
    let cluster = Cluster::start(Kind::MySql, 3, PROXYD).await.unwrap();
    let mut client = Place::of(&cluster).raw(ATTRIBUTES).await;
    for sql in [
        "INSTALL COMPONENT 'file://component_query_attributes'",
        "CREATE TABLE a (id INT AUTO_INCREMENT PRIMARY KEY, t VARCHAR(40))",
        "BEGIN",
    ] {
        client.command(&query(&[], sql)).await.unwrap();
    }
    let sql = "INSERT INTO a (t) VALUES (mysql_query_attribute_string('trace'))";
    let read = "SELECT t, mysql_query_attribute_string('trace') FROM a ORDER BY id";
    client.command(&query(&[text("trace", "one")], sql)).await.unwrap();
    client.command(&query(&[text("trace", "read")], read)).await.unwrap();
    let insert = "INSERT INTO a (t) VALUES (CONCAT(?, mysql_query_attribute_string('trace')))";
    let (id, _) = client.prepare(insert).await.unwrap();
    let traced = execution(id, &[text("", "two "), text("trace", "x")], true);
    client.command(&traced).await.unwrap();
    cluster.lead().await.unwrap().kill().await;
    client.command(&query(&[text("trace", "three")], sql)).await.unwrap();
    client
        .command(&execution(id, &[text("", "untraced")], false))
        .await
        .unwrap();
    client.command(&traced).await.unwrap();
    client.command(&query(&[], "COMMIT")).await.unwrap();
    let all = "SELECT GROUP_CONCAT(COALESCE(t, 'none') ORDER BY id) FROM a";
    let rows = client.command(&query(&[], all)).await.unwrap();
    let expected = b"one,two x,three,none,two x";
    assert!(rows.iter().any(|row| row.ends_with(expected)), "{rows:?}");
    assert_eq!(cluster.online().await.unwrap().len(), 2);
    assert_servers_equal(&cluster).await;
}
