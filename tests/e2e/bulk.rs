//! MariaDB's COM_STMT_BULK_EXECUTE: rows of parameters in one command, packet by packet as a single server answers, and equal on every server.

use grove_testkit::equality::assert_servers_equal;
use grove_testkit::raw_client::{EVERYDAY, Login, error_of};
use grove_testkit::{Cluster, ClusterOptions, Kind, RawClient};
use grove_wire::CapabilityFlags;
use grove_wire::command::{COM_STMT_BULK_EXECUTE, COM_STMT_EXECUTE};

use crate::stage::{Notes, PROXYD, Place, Stage, assert_all_online};

/// A MariaDB client: without LONG_PASSWORD, so that extended capabilities are read.
const MARIADB: CapabilityFlags = CapabilityFlags(EVERYDAY.0 & !CapabilityFlags::LONG_PASSWORD.0);
const BULK: CapabilityFlags = CapabilityFlags(MARIADB.0 | CapabilityFlags::STMT_BULK_OPERATIONS.0);

const LONGLONG: u8 = 8;
const VAR_STRING: u8 = 253;
/// The flag that types follow.
const SEND_TYPES: u16 = 0x80;
/// The flag that asks for a result of each row, which is not offered.
const SEND_UNIT_RESULTS: u16 = 0x40;

/// One value of a row.
#[derive(Clone, Copy)]
enum Cell {
    Text(&'static str),
    Number(i64),
    Null,
    Default,
    Ignore,
}
use Cell::{Default as D, Ignore, Null, Number as N, Text as T};

fn bulk(id: u32, flags: u16, types: &[u8], rows: &[&[Cell]]) -> Vec<u8> {
    let mut payload = [&[COM_STMT_BULK_EXECUTE][..], &id.to_le_bytes(), &flags.to_le_bytes()].concat();
    if flags & SEND_TYPES != 0 {
        payload.extend(types.iter().flat_map(|kind| [*kind, 0]));
    }
    for cell in rows.iter().copied().flatten() {
        match cell {
            Cell::Text(text) => {
                payload.extend([0, text.len() as u8]);
                payload.extend(text.as_bytes());
            }
            Cell::Number(number) => {
                payload.push(0);
                payload.extend(number.to_le_bytes());
            }
            Cell::Null => payload.push(1),
            Cell::Default => payload.push(2),
            Cell::Ignore => payload.push(3),
        }
    }
    payload
}

struct Played {
    notes: Notes,
    client: RawClient,
}

impl Played {
    async fn query(&mut self, sql: &str) {
        self.notes.packets(sql, &self.client.query(sql).await.unwrap());
    }

    async fn send(&mut self, title: &str, payload: &[u8]) {
        self.notes.packets(title, &self.client.command(payload).await.unwrap());
    }

    async fn prepare(&mut self, sql: &str) -> u32 {
        let (id, packets) = self.client.prepare(sql).await.unwrap();
        self.notes.packets(sql, &packets[1..]);
        id
    }

    /// Prepares a statement and runs it for these rows.
    async fn bulk(&mut self, sql: &str, types: &[u8], rows: &[&[Cell]]) {
        let id = self.prepare(sql).await;
        self.send("bulk", &bulk(id, SEND_TYPES, types, rows)).await;
    }
}

const PAIR: [u8; 2] = [VAR_STRING, LONGLONG];
const INSERT: &str = "INSERT INTO bulk (t, n) VALUES (?, ?)";
const ALL: &str = "SELECT * FROM bulk ORDER BY id";
/// What a statement says about itself afterwards.
const AFTER: &str = "SELECT LAST_INSERT_ID(), ROW_COUNT()";

async fn open(place: Place, capabilities: CapabilityFlags) -> Played {
    let client = place.raw(capabilities).await;
    let mut played = Played {
        notes: Notes::default(),
        client,
    };
    played.notes.note("in force", played.client.capabilities.0 >> 32);
    played
        .query("CREATE TABLE bulk (id INT AUTO_INCREMENT PRIMARY KEY, t VARCHAR(20) UNIQUE, n BIGINT DEFAULT 7, at TIMESTAMP(6) NULL)")
        .await;
    played
}

async fn inserts(place: Place, capabilities: CapabilityFlags) -> Notes {
    let mut p = open(place, capabilities).await;
    let insert = p.prepare(INSERT).await;
    let rows: [&[Cell]; 4] = [&[T("a"), N(1)], &[T("b"), Null], &[T("c"), D], &[T("d"), N(4)]];
    p.send("four rows", &bulk(insert, SEND_TYPES, &PAIR, &rows)).await;
    p.query(AFTER).await;
    let rows: [&[Cell]; 3] = [&[T("e"), N(5)], &[T("f"), N(6)], &[T("g"), Ignore]];
    p.send("the types that were sent before", &bulk(insert, 0, &PAIR, &rows))
        .await;
    p.query(AFTER).await;
    // One that fails leaves nothing but a gap in the ids, on the lead alone.
    let rows: [&[Cell]; 3] = [&[T("h"), N(8)], &[T("a"), N(9)], &[T("i"), N(10)]];
    p.send("a duplicate", &bulk(insert, 0, &PAIR, &rows)).await;
    p.query("SHOW WARNINGS").await;
    p.send(
        "after a duplicate",
        &bulk(insert, 0, &PAIR, &[&[T("j"), N(11)], &[T("k"), N(12)]]),
    )
    .await;
    p.query(AFTER).await;
    let upsert = "INSERT INTO bulk (t, n) VALUES (?, ?) ON DUPLICATE KEY UPDATE n = n + 100";
    p.bulk(upsert, &PAIR, &[&[T("a"), N(1)], &[T("l"), N(13)], &[T("b"), N(2)]])
        .await;
    p.query(AFTER).await;
    p.bulk(upsert, &PAIR, &[&[T("a"), N(1)], &[T("b"), N(2)]]).await;
    p.query(AFTER).await;
    p.bulk(
        "REPLACE INTO bulk (t, n) VALUES (?, ?)",
        &PAIR,
        &[&[T("a"), N(1)], &[T("m"), N(14)]],
    )
    .await;
    p.query(AFTER).await;
    p.bulk(
        "INSERT IGNORE INTO bulk (t, n) VALUES (?, ?)",
        &PAIR,
        &[&[T("a"), N(1)], &[T("n"), N(15)]],
    )
    .await;
    p.query("SHOW WARNINGS").await;
    p.query(AFTER).await;
    let returning = "INSERT INTO bulk (t, n) VALUES (?, ?) RETURNING id, t";
    p.bulk(returning, &PAIR, &[&[T("o"), N(16)], &[T("p"), N(17)]]).await;
    p.query("SELECT LAST_INSERT_ID()").await;
    p.query(
        "INSERT INTO bulk (t) VALUES ('one') RETURNING id; DELETE FROM bulk WHERE t = 'one' RETURNING t, n; SELECT 1",
    )
    .await;
    let twice = [VAR_STRING, LONGLONG, VAR_STRING, LONGLONG];
    p.bulk(
        "INSERT INTO bulk (t, n) VALUES (?, ?), (?, ?)",
        &twice,
        &[&[T("q"), N(1), T("r"), N(2)], &[T("s"), N(3), T("t"), N(4)]],
    )
    .await;
    // Ids that the client chose, and others.
    let chosen = [LONGLONG, VAR_STRING];
    p.bulk(
        "INSERT INTO bulk (id, t) VALUES (?, ?)",
        &chosen,
        &[&[N(1000), T("u")], &[Null, T("v")], &[N(2000), T("w")], &[Null, T("x")]],
    )
    .await;
    p.query(AFTER).await;
    p.bulk(
        "INSERT INTO bulk (t, n, at) VALUES (?, ?, NOW(6))",
        &PAIR,
        &[&[T("y"), N(1)], &[T("z"), N(2)]],
    )
    .await;
    p.query("SELECT id, t, n FROM bulk ORDER BY id").await;
    p.notes
}

/// The servers run these row by row: what was done before an error stays.
async fn row_by_row(place: Place, capabilities: CapabilityFlags) -> Notes {
    let mut p = open(place, capabilities).await;
    p.bulk(
        INSERT,
        &PAIR,
        &[&[T("a"), N(1)], &[T("b"), N(2)], &[T("c"), N(3)], &[T("d"), N(4)]],
    )
    .await;
    let update = p.prepare("UPDATE bulk SET t = ?, n = n + 10 WHERE n = ?").await;
    let half: [&[Cell]; 3] = [&[T("aa"), N(1)], &[T("c"), N(2)], &[T("dd"), N(4)]];
    p.send(
        "two rows",
        &bulk(update, SEND_TYPES, &PAIR, &[&[T("a"), N(1)], &[T("b"), N(99)]]),
    )
    .await;
    p.query("SELECT LAST_INSERT_ID(), @@warning_count").await;
    p.query("UPDATE bulk SET n = id").await;
    p.send("half of it", &bulk(update, 0, &PAIR, &half)).await;
    p.query("SHOW WARNINGS").await;
    p.query(ALL).await;
    p.query("UPDATE bulk SET n = id").await;
    p.query("BEGIN").await;
    p.query("UPDATE bulk SET t = 'before' WHERE id = 1").await;
    p.send("half of it in a transaction", &bulk(update, 0, &PAIR, &half))
        .await;
    p.query(ALL).await;
    p.query("INSERT INTO bulk (t) VALUES ('after')").await;
    p.query("COMMIT").await;
    p.query(ALL).await;
    p.query("BEGIN").await;
    p.bulk(
        "DELETE FROM bulk WHERE t = ? OR n = ?",
        &PAIR,
        &[&[T("after"), N(77)], &[T("none"), N(2)]],
    )
    .await;
    p.query("SELECT LAST_INSERT_ID(), @@warning_count").await;
    p.query("ROLLBACK").await;
    p.bulk(
        "DELETE FROM bulk WHERE t = ? OR n = ?",
        &PAIR,
        &[&[T("after"), N(77)], &[T("none"), N(13)]],
    )
    .await;
    p.query(ALL).await;
    p.query("LOCK TABLES bulk WRITE").await;
    p.query("UPDATE bulk SET n = id").await;
    p.send("half of it under a table lock", &bulk(update, 0, &PAIR, &half))
        .await;
    p.bulk(INSERT, &PAIR, &[&[T("locked"), N(5)], &[T("too"), N(6)]]).await;
    p.query("SELECT LAST_INSERT_ID()").await;
    p.query("UNLOCK TABLES").await;
    p.query(ALL).await;
    p.query("SET autocommit = 0").await;
    p.bulk(INSERT, &PAIR, &[&[T("e"), N(5)], &[T("f"), N(6)]]).await;
    p.query("ROLLBACK").await;
    p.bulk(INSERT, &PAIR, &[&[T("g"), N(5)], &[T("h"), N(6)]]).await;
    p.query("COMMIT").await;
    p.query(ALL).await;
    p.notes
}

/// What the servers do not run in this form, and what is no such command.
async fn refused(place: Place, capabilities: CapabilityFlags) -> Notes {
    let mut p = open(place, capabilities).await;
    let one: &[Cell] = &[T("one")];
    for sql in ["SELECT ?", "DO ?", "SET @a = ?", "INSERT INTO bulk (t) SELECT ?"] {
        p.bulk(sql, &[VAR_STRING], &[one, one]).await;
    }
    for sql in ["INSERT INTO bulk (t) VALUES ('x')", "SELECT 1", "COMMIT"] {
        p.bulk(sql, &[], &[]).await;
    }
    let insert = p.prepare(INSERT).await;
    p.send("no types yet", &bulk(insert, 0, &PAIR, &[&[T("a"), N(1)]]))
        .await;
    p.send("no rows", &bulk(insert, SEND_TYPES, &PAIR, &[])).await;
    p.send(
        "a row too short",
        &bulk(insert, SEND_TYPES, &PAIR, &[&[T("a"), N(1)], &[T("b")]]),
    )
    .await;
    let asked = SEND_TYPES | SEND_UNIT_RESULTS;
    p.send("unit results", &bulk(insert, asked, &PAIR, &[&[T("a"), N(1)]]))
        .await;
    p.send(
        "an unknown statement",
        &bulk(99_999, SEND_TYPES, &PAIR, &[&[T("a"), N(1)]]),
    )
    .await;
    p.send(
        "the last statement",
        &bulk(u32::MAX, SEND_TYPES, &PAIR, &[&[T("last"), N(1)]]),
    )
    .await;
    for length in [7, 9] {
        p.send("too short", &bulk(insert, SEND_TYPES, &PAIR, &[])[..length])
            .await;
    }
    // Types of one form of execution serve the other.
    let execution = [
        &[COM_STMT_EXECUTE][..],
        &insert.to_le_bytes(),
        &[0, 1, 0, 0, 0],
        b"\x00\x00\x02ex",
        &[7; 8],
    ]
    .concat();
    p.send("a plain execution", &execution).await;
    p.query("SELECT t, n FROM bulk ORDER BY id").await;
    p.notes
}

#[tokio::test]
async fn bulk_executions_are_answered_as_mariadb_does() {
    let stage = Stage::open(Kind::MariaDb).await;
    for capabilities in [
        BULK,
        BULK | CapabilityFlags::DEPRECATE_EOF | CapabilityFlags::EXTENDED_METADATA,
    ] {
        stage
            .same_as_direct(async |place| {
                let notes = inserts(place, capabilities).await;
                // The rest would prove nothing without it.
                assert!(notes.contains("Records: 4"));
                notes
            })
            .await;
        stage.same_as_direct(|place| row_by_row(place, capabilities)).await;
        stage.same_as_direct(|place| refused(place, capabilities)).await;
    }
    // Clients that have not announced it.
    stage.same_as_direct(|place| refused(place, MARIADB)).await;
}

/// Several clients insert into one table at once. Each bulk takes its ids piece by piece on the lead; on every server each row must get the same.
#[tokio::test]
async fn bulk_inserts_of_several_clients_get_the_same_ids_everywhere() {
    let cluster = Cluster::start(Kind::MariaDb, 3, PROXYD).await.unwrap();
    let place = Place::of(&cluster);
    let create = "CREATE TABLE ids (id INT AUTO_INCREMENT PRIMARY KEY, who INT, n BIGINT)";
    place.raw(BULK).await.query(create).await.unwrap();
    let mut writers = tokio::task::JoinSet::new();
    for who in 0..6 {
        writers.spawn(insert_again_and_again(place, who));
    }
    while let Some(ended) = writers.join_next().await {
        ended.unwrap();
    }
    assert_all_online(&cluster).await;
    assert_servers_equal(&cluster).await;
}

async fn insert_again_and_again(place: Place, who: i64) {
    let login = Login::app().with(BULK);
    let mut client = RawClient::login(place.address, &login).await.unwrap();
    let (id, _) = client.prepare("INSERT INTO ids (who, n) VALUES (?, ?)").await.unwrap();
    for round in 0..30 {
        if round % 3 == who % 3 {
            let two = format!("INSERT INTO ids (who) VALUES ({who}), ({who})");
            client.query(two).await.unwrap();
        }
        let rows: Vec<[Cell; 2]> = (0..20).map(|n| [N(who), N(n)]).collect();
        let rows: Vec<&[Cell]> = rows.iter().map(|row| &row[..]).collect();
        let command = bulk(id, SEND_TYPES, &[LONGLONG; 2], &rows);
        let answer = client.command(&command).await.unwrap();
        assert_eq!(answer[0][..2], [0, 20], "{:?}", answer[0]);
    }
}

/// Where a bulk execution waits in vain is chance: its rows before that are undone too, in a transaction with all of it.
#[tokio::test]
async fn a_bulk_update_that_waits_in_vain_leaves_nothing_anywhere() {
    let cluster = Cluster::start(Kind::MariaDb, 3, PROXYD).await.unwrap();
    let place = Place::of(&cluster);
    let (mut holder, mut client) = (place.raw(BULK).await, place.raw(BULK).await);
    for sql in [
        "CREATE TABLE waits (id INT PRIMARY KEY, n BIGINT)",
        "INSERT INTO waits VALUES (1, 0), (2, 0)",
        "BEGIN",
        "UPDATE waits SET n = 5 WHERE id = 2",
    ] {
        holder.query(sql).await.unwrap();
    }
    client.query("SET innodb_lock_wait_timeout = 1").await.unwrap();
    let (id, _) = client.prepare("UPDATE waits SET n = n + ? WHERE id = ?").await.unwrap();
    let update = bulk(id, SEND_TYPES, &[LONGLONG; 2], &[&[N(1), N(1)], &[N(1), N(2)]]);
    let alone = client.command(&update).await.unwrap();
    assert_eq!(error_of(&alone[0]).map(|error| error.code), Some(1205));
    client.query("BEGIN").await.unwrap();
    let inside = client.command(&update).await.unwrap();
    assert_eq!(error_of(&inside[0]).map(|error| error.code), Some(1213));
    holder.query("COMMIT").await.unwrap();
    let rows = client.query("SELECT n FROM waits ORDER BY id").await.unwrap();
    assert!(
        rows.iter().any(|row| row[..] == *b"\x010") && rows.iter().any(|row| row[..] == *b"\x015"),
        "{rows:?}"
    );
    client.command(&update).await.unwrap();
    assert_all_online(&cluster).await;
    assert_servers_equal(&cluster).await;
}

/// The servers that are left have the open transaction, and are told the types that only the lost one was sent.
#[tokio::test]
async fn a_transaction_of_bulk_executions_survives_the_lead() {
    let cluster = Cluster::start(Kind::MariaDb, 3, PROXYD).await.unwrap();
    let mut client = Place::of(&cluster).raw(BULK).await;
    client
        .query("CREATE TABLE bulk (id INT AUTO_INCREMENT PRIMARY KEY, t VARCHAR(20) UNIQUE, n BIGINT)")
        .await
        .unwrap();
    let (insert, _) = client.prepare(INSERT).await.unwrap();
    let (update, _) = client.prepare("UPDATE bulk SET t = ? WHERE n = ?").await.unwrap();
    client.query("BEGIN").await.unwrap();
    let first = bulk(insert, SEND_TYPES, &PAIR, &[&[T("a"), N(1)], &[T("b"), N(2)]]);
    assert_eq!(client.command(&first).await.unwrap()[0][..3], [0, 2, 1]);
    let half = bulk(update, SEND_TYPES, &PAIR, &[&[T("c"), N(1)], &[T("c"), N(2)]]);
    let failed = client.command(&half).await.unwrap();
    assert_eq!(error_of(&failed[0]).map(|error| error.code), Some(1062));
    cluster.lead().await.unwrap().kill().await;
    let second = bulk(insert, 0, &PAIR, &[&[T("d"), N(3)], &[T("e"), N(4)]]);
    assert_eq!(client.command(&second).await.unwrap()[0][..2], [0, 2]);
    let rest = bulk(update, 0, &PAIR, &[&[T("f"), N(3)]]);
    assert_eq!(client.command(&rest).await.unwrap()[0][..2], [0, 1]);
    client.query("COMMIT").await.unwrap();
    let rows = client
        .query("SELECT GROUP_CONCAT(t ORDER BY n) FROM bulk")
        .await
        .unwrap();
    assert!(rows.iter().any(|row| row[..] == *b"\x07c,b,f,e"), "{rows:?}");
    assert_eq!(cluster.online().await.unwrap().len(), 2);
    assert_servers_equal(&cluster).await;
}

#[tokio::test]
async fn a_bulk_insert_of_uuids_is_refused_if_unsafe_statements_are() {
    let options = ClusterOptions::new(Kind::MariaDb, 3).configuration("writes:\n  unsafe_statements: reject\n");
    let cluster = Cluster::start_with(options, PROXYD).await.unwrap();
    let mut played = open(Place::of(&cluster), BULK).await;
    let insert = "INSERT INTO bulk (t, n) VALUES (LEFT(CONCAT(?, UUID()), 20), ?)";
    let rows: [&[Cell]; 2] = [&[T("a"), N(1)], &[T("b"), N(2)]];
    played.bulk(insert, &PAIR, &rows).await;
    let reason = "a bulk execution makes a value of its own for each row";
    assert!(played.notes.contains(reason), "{:?}", played.notes);
    played.bulk("INSERT INTO bulk (t, n) VALUES (?, ?)", &PAIR, &rows).await;
    assert_all_online(&cluster).await;
    assert_eq!(assert_servers_equal(&cluster).await.rows, 2);
}
