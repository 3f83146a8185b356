//! Prepared statements in packets: types sent once, NULLs, long data, reset, close, and their life across the session's legs.

use bytes::Bytes;
use grove_testkit::raw_client::{EVERYDAY, error_of};
use grove_testkit::{Kind, RawClient};
use grove_wire::CapabilityFlags;
use grove_wire::command::{COM_STMT_CLOSE, COM_STMT_EXECUTE, COM_STMT_RESET, COM_STMT_SEND_LONG_DATA};
use mysql_async::prelude::Queryable;
use mysql_async::{Params, Row, Value};

use crate::stage::{Notes, Place, Stage, code, row_text};

const LONGLONG: u8 = 8;
const DOUBLE: u8 = 5;
const VAR_STRING: u8 = 253;
const BLOB: u8 = 252;

/// A parameter: type code and encoded value; `None` is NULL.
type Parameter = (u8, Option<Vec<u8>>);

fn integer(value: i64) -> Parameter {
    (LONGLONG, Some(value.to_le_bytes().to_vec()))
}

fn string(value: &str) -> Parameter {
    (VAR_STRING, Some([&[value.len() as u8], value.as_bytes()].concat()))
}

/// A COM_STMT_EXECUTE payload.
fn execution(id: u32, parameters: &[Parameter], sends_types: bool) -> Vec<u8> {
    let mut payload = [&[COM_STMT_EXECUTE][..], &id.to_le_bytes(), &[0, 1, 0, 0, 0]].concat();
    if parameters.is_empty() {
        return payload;
    }
    let mut nulls = vec![0u8; parameters.len().div_ceil(8)];
    for (index, (_, value)) in parameters.iter().enumerate() {
        if value.is_none() {
            nulls[index / 8] |= 1 << (index % 8);
        }
    }
    payload.extend(nulls);
    payload.push(u8::from(sends_types));
    if sends_types {
        payload.extend(parameters.iter().flat_map(|(kind, _)| [*kind, 0]));
    }
    payload.extend(parameters.iter().filter_map(|(_, value)| value.clone()).flatten());
    payload
}

fn long_data(id: u32, parameter: u16, data: &[u8]) -> Vec<u8> {
    [
        &[COM_STMT_SEND_LONG_DATA][..],
        &id.to_le_bytes(),
        &parameter.to_le_bytes(),
        data,
    ]
    .concat()
}

/// The answer to a prepare without the statement's id.
fn without_id(packets: &[Bytes]) -> Vec<Vec<u8>> {
    let mut packets: Vec<Vec<u8>> = packets.iter().map(|packet| packet.to_vec()).collect();
    if packets[0][0] == 0 {
        packets[0][1..5].fill(0);
    }
    packets
}

async fn prepare(notes: &mut Notes, client: &mut RawClient, sql: &str) -> u32 {
    let (id, packets) = client.prepare(sql).await.unwrap();
    notes.packets(&format!("prepare {sql}"), &without_id(&packets));
    id
}

async fn execute(notes: &mut Notes, client: &mut RawClient, payload: &[u8]) {
    let packets = client.command(payload).await.unwrap();
    let unknown = error_of(&packets[0]).filter(|error| error.code == 1243);
    match unknown {
        // The message names the id.
        Some(_) => notes.note("execute", "unknown statement"),
        None => notes.packets("execute", &packets),
    }
}

pub async fn life_of_statements(place: Place, capabilities: CapabilityFlags) -> Notes {
    let (mut notes, mut client) = (Notes::default(), place.raw(capabilities).await);
    let n = &mut notes;
    let c = &mut client;
    c.query("CREATE TABLE p (id INT PRIMARY KEY, a BIGINT, t VARCHAR(50), b LONGBLOB)")
        .await
        .unwrap();

    let insert = prepare(n, c, "INSERT INTO p VALUES (?, ?, ?, ?)").await;
    execute(
        n,
        c,
        &execution(
            insert,
            &[integer(1), integer(-5), string("one"), (BLOB, Some(vec![2, 0, 255]))],
            true,
        ),
    )
    .await;
    let count = prepare(n, c, "SELECT ROW_COUNT()").await;
    execute(n, c, &execution(count, &[], true)).await;
    execute(n, c, &execution(count, &[], false)).await;
    // The types of the first execution go on to hold; NULLs have no type of their own.
    execute(
        n,
        c,
        &execution(insert, &[integer(2), integer(7), string("two"), (BLOB, None)], false),
    )
    .await;
    execute(
        n,
        c,
        &execution(
            insert,
            &[integer(3), (LONGLONG, None), (VAR_STRING, None), (BLOB, None)],
            false,
        ),
    )
    .await;
    execute(
        n,
        c,
        &execution(insert, &[integer(3), integer(7), string("again"), (BLOB, None)], false),
    )
    .await;
    // Other types than before.
    execute(
        n,
        c,
        &execution(
            insert,
            &[
                string("4"),
                (DOUBLE, Some(2.5f64.to_le_bytes().to_vec())),
                integer(44),
                string("x"),
            ],
            true,
        ),
    )
    .await;

    // Long data comes in pieces, without answers, and holds for one execution.
    for piece in [&b"long "[..], b"", b"data"] {
        c.send(&long_data(insert, 3, piece)).await.unwrap();
    }
    execute(
        n,
        c,
        &execution(
            insert,
            &[integer(5), integer(5), string("five"), (BLOB, Some(Vec::new()))],
            true,
        ),
    )
    .await;
    c.send(&long_data(insert, 3, b"forgotten")).await.unwrap();
    n.packets(
        "reset",
        &c.command(&[&[COM_STMT_RESET][..], &insert.to_le_bytes()].concat())
            .await
            .unwrap(),
    );
    execute(
        n,
        c,
        &execution(
            insert,
            &[integer(6), integer(6), string("six"), (BLOB, Some(vec![1, 66]))],
            true,
        ),
    )
    .await;
    n.packets(
        "all",
        &c.query("SELECT id, a, t, HEX(b) FROM p ORDER BY id").await.unwrap(),
    );

    let select = prepare(
        n,
        c,
        "SELECT id, a, t, b, 1.5, NOW() > '2000-01-01' FROM p WHERE id >= ? ORDER BY id",
    )
    .await;
    execute(n, c, &execution(select, &[integer(2)], true)).await;
    execute(n, c, &execution(select, &[integer(99)], false)).await;
    let one_more = prepare(n, c, "SELECT COUNT(*) FROM p").await;
    execute(n, c, &execution(one_more, &[], false)).await;

    // Inside a transaction, after a write, on the leg that holds it.
    for sql in ["BEGIN", "DELETE FROM p WHERE id = 6"] {
        n.packets(sql, &c.query(sql).await.unwrap());
    }
    execute(n, c, &execution(one_more, &[], false)).await;
    execute(
        n,
        c,
        &execution(insert, &[integer(7), integer(7), string("seven"), (BLOB, None)], true),
    )
    .await;
    execute(n, c, &execution(select, &[integer(5)], true)).await;
    n.packets("ROLLBACK", &c.query("ROLLBACK").await.unwrap());
    execute(n, c, &execution(one_more, &[], false)).await;

    // Mistakes.
    for wrong in ["SELECT nothing FROM p", "SELEC ?", "", "SELECT ? FROM missing"] {
        prepare(n, c, wrong).await;
    }
    c.send(&[&[COM_STMT_CLOSE][..], &select.to_le_bytes()].concat())
        .await
        .unwrap();
    execute(n, c, &execution(select, &[integer(2)], true)).await;
    let packets = c
        .command(&[&[COM_STMT_RESET][..], &select.to_le_bytes()].concat())
        .await
        .unwrap();
    n.note(
        "reset of a closed statement",
        error_of(&packets[0]).map(|error| error.code),
    );
    execute(n, c, &execution(one_more, &[], false)).await;

    // The table changes under a prepared statement.
    c.query("ALTER TABLE p ADD COLUMN more INT DEFAULT 9").await.unwrap();
    let all = prepare(n, c, "SELECT * FROM p WHERE id = 1").await;
    c.query("ALTER TABLE p DROP COLUMN b").await.unwrap();
    execute(n, c, &execution(all, &[], false)).await;
    execute(
        n,
        c,
        &execution(insert, &[integer(8), integer(8), string("8"), integer(8)], true),
    )
    .await;
    n.packets("all", &c.query("SELECT * FROM p ORDER BY id").await.unwrap());

    // Statements that are not queries or simple writes.
    for sql in [
        "SET @a = ?",
        "CREATE TABLE q (a INT)",
        "BEGIN",
        "INSERT INTO q VALUES (1)",
        "COMMIT",
        "DO ?",
        "DROP TABLE q",
    ] {
        let id = prepare(n, c, sql).await;
        let parameters = if sql.contains('?') { vec![integer(5)] } else { vec![] };
        execute(n, c, &execution(id, &parameters, true)).await;
    }
    n.packets("@a", &c.query("SELECT @a").await.unwrap());
    c.query("CREATE PROCEDURE pp(IN a INT, OUT b INT) BEGIN SELECT a, 'x'; SELECT a + 1; SET b = a + 2; END")
        .await
        .unwrap();
    let call = prepare(n, c, "CALL pp(?, @out)").await;
    execute(n, c, &execution(call, &[integer(3)], true)).await;
    n.packets("@out", &c.query("SELECT @out").await.unwrap());
    notes
}

/// A driver with a cache of statements: more of them than it keeps, values of every type, long blobs, wrong counts.
async fn with_a_driver(place: Place) -> Notes {
    let mut notes = Notes::default();
    let opts = mysql_async::OptsBuilder::from_opts(place.opts()).stmt_cache_size(Some(5));
    let mut conn = mysql_async::Conn::new(opts).await.unwrap();
    conn.query_drop("CREATE TABLE d (id INT AUTO_INCREMENT PRIMARY KEY, v VARCHAR(100), b LONGBLOB, at DATETIME(6), took TIME(6), f FLOAT) DEFAULT CHARSET=utf8mb4")
        .await
        .unwrap();
    let rows: Vec<Vec<Value>> = vec![
        vec![
            "text".into(),
            vec![0u8, 255, 10].into(),
            Value::Date(2024, 2, 29, 1, 2, 3, 456_789),
            Value::Time(true, 1, 2, 3, 4, 5),
            0.5f32.into(),
        ],
        vec![Value::NULL; 5],
        vec![
            "żółć 🦀".into(),
            vec![7u8; 300_000].into(),
            Value::Date(1999, 1, 1, 0, 0, 0, 0),
            Value::Time(false, 0, 0, 0, 0, 0),
            (-1.25f32).into(),
        ],
        // More than one packet of a driver that sends long values as long data.
        vec![
            "big".into(),
            vec![9u8; 17 << 20].into(),
            Value::NULL,
            Value::NULL,
            Value::NULL,
        ],
    ];
    for row in rows {
        conn.exec_drop(
            "INSERT INTO d (v, b, at, took, f) VALUES (?, ?, ?, ?, ?)",
            Params::Positional(row),
        )
        .await
        .unwrap();
        notes.note("inserted", (conn.affected_rows(), conn.last_insert_id()));
    }
    let read: Vec<Row> = conn
        .exec(
            "SELECT id, v, SHA2(b, 256), LENGTH(b), at, took, f FROM d WHERE id > ? ORDER BY id",
            (0,),
        )
        .await
        .unwrap();
    notes.note("read", read.iter().map(row_text).collect::<Vec<_>>());
    for number in 0..30 {
        let sql = format!("SELECT ? + {number}, COUNT(*) FROM d");
        let row: Option<Row> = conn.exec_first(sql, (number % 7,)).await.unwrap();
        notes.note("cached", row.map(|row| row_text(&row)));
        if number % 10 == 0 {
            conn.exec_drop("UPDATE d SET v = ? WHERE id = ?", (format!("round {number}"), 1))
                .await
                .unwrap();
        }
    }
    let wrong = conn.exec_drop("INSERT INTO d (id) VALUES (?)", (1,)).await.unwrap_err();
    notes.note("duplicate", code(&wrong));
    notes.query(&mut conn, "SELECT COUNT(*), MAX(id) FROM d").await;
    notes
}

async fn all_of_it(kind: Kind) {
    let stage = Stage::open(kind).await;
    for capabilities in [EVERYDAY, EVERYDAY | CapabilityFlags::DEPRECATE_EOF] {
        stage
            .same_as_direct(async |place| life_of_statements(place, capabilities).await)
            .await;
    }
    stage.same_as_direct(with_a_driver).await;
}

#[tokio::test]
async fn prepared_statements_work_as_on_a_mariadb_server() {
    all_of_it(Kind::MariaDb).await;
}

#[tokio::test]
async fn prepared_statements_work_as_on_a_mysql_server() {
    all_of_it(Kind::MySql).await;
}
