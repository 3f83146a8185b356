//! Cursors of prepared statements: opened, fetched from and closed as on a single server, and what becomes of them when their server is lost.

use ::bytes::Bytes;
use grove_testkit::raw_client::{EVERYDAY, Login, error_of};
use grove_testkit::{Cluster, Kind, RawClient};
use grove_wire::CapabilityFlags;
use grove_wire::command::{COM_STMT_CLOSE, COM_STMT_EXECUTE, COM_STMT_FETCH, COM_STMT_RESET};

use crate::stage::{Notes, PROXYD, Place, Stage, run};

const READ_ONLY: u8 = 1;

async fn execute(client: &mut RawClient, id: u32, cursor: u8) -> Vec<Bytes> {
    let command = [&[COM_STMT_EXECUTE][..], &id.to_le_bytes(), &[cursor, 1, 0, 0, 0]].concat();
    client.command(&command).await.unwrap()
}

/// The packets of one fetch; of an error only its code, because the text names the statement's id.
async fn fetch(client: &mut RawClient, id: u32, rows: u32) -> Vec<Bytes> {
    let command = [&[COM_STMT_FETCH][..], &id.to_le_bytes(), &rows.to_le_bytes()].concat();
    client.send(&command).await.unwrap();
    let packets = client.read_to_end_of_rows().await.unwrap();
    let only_code = |packet: Bytes| match error_of(&packet) {
        Some(error) => error.code.to_be_bytes().to_vec().into(),
        None => packet,
    };
    packets.into_iter().map(only_code).collect()
}

pub async fn cursors(place: Place, capabilities: CapabilityFlags) -> Notes {
    let mut notes = Notes::default();
    let mut client = place.raw(capabilities).await;
    for sql in [
        "CREATE TABLE rolled (id INT PRIMARY KEY, t VARCHAR(20))",
        "INSERT INTO rolled VALUES (1, 'a'), (2, NULL), (3, 'c'), (4, 'd'), (5, 'e')",
    ] {
        client.query(sql).await.unwrap();
    }
    let (all, _) = client.prepare("SELECT id, t FROM rolled ORDER BY id").await.unwrap();
    let (none, _) = client.prepare("SELECT * FROM rolled WHERE FALSE").await.unwrap();
    let (write, _) = client.prepare("UPDATE rolled SET t = 'w' WHERE id = 5").await.unwrap();
    let (show, _) = client.prepare("SHOW TABLES").await.unwrap();

    notes.packets("without", &execute(&mut client, all, 0).await);
    notes.packets("no cursor", &fetch(&mut client, all, 1).await);
    for begin in ["DO 0", "BEGIN", "SET autocommit = 0"] {
        notes.packets(begin, &client.query(begin).await.unwrap());
        notes.packets("open", &execute(&mut client, all, READ_ONLY).await);
        notes.packets("two", &fetch(&mut client, all, 2).await);
        notes.packets("write", &execute(&mut client, write, READ_ONLY).await);
        notes.packets(
            "other read",
            &client.query("SELECT COUNT(*) FROM rolled").await.unwrap(),
        );
        notes.packets("one", &fetch(&mut client, all, 1).await);
        notes.packets("commit", &client.query("COMMIT").await.unwrap());
        notes.packets("rest", &fetch(&mut client, all, 100).await);
        notes.packets("after the end", &fetch(&mut client, all, 1).await);
        notes.packets("empty", &execute(&mut client, none, READ_ONLY).await);
        notes.packets("empty", &fetch(&mut client, none, 5).await);
        client.query("ROLLBACK").await.unwrap();
    }
    client.query("SET autocommit = 1").await.unwrap();
    notes.packets("again", &execute(&mut client, all, READ_ONLY).await);
    notes.packets("one", &fetch(&mut client, all, 1).await);
    notes.packets("and again", &execute(&mut client, all, READ_ONLY).await);
    notes.packets("from the start", &fetch(&mut client, all, 1).await);
    notes.packets("show", &execute(&mut client, show, READ_ONLY).await);
    let reset = [&[COM_STMT_RESET][..], &all.to_le_bytes()].concat();
    notes.packets("reset", &client.command(&reset).await.unwrap());
    notes.packets("closed", &fetch(&mut client, all, 1).await);
    notes.packets("reset again", &client.command(&reset).await.unwrap());
    execute(&mut client, all, READ_ONLY).await;
    let close = [&[COM_STMT_CLOSE][..], &all.to_le_bytes()].concat();
    client.send(&close).await.unwrap();
    notes.packets("unknown", &fetch(&mut client, all, 1).await);
    notes
}

async fn all(kind: Kind) {
    let stage = Stage::open(kind).await;
    for capabilities in [EVERYDAY, EVERYDAY | CapabilityFlags::DEPRECATE_EOF] {
        stage.same_as_direct(|place| cursors(place, capabilities)).await;
    }
}

#[tokio::test]
async fn cursors_work_as_on_a_mariadb_server() {
    all(Kind::MariaDb).await;
}

#[tokio::test]
async fn cursors_work_as_on_a_mysql_server() {
    all(Kind::MySql).await;
}

async fn with_open_cursor(cluster: &Cluster, begin: &str) -> (RawClient, u32) {
    run(
        &mut cluster.client().await.unwrap(),
        &[
            "CREATE OR REPLACE TABLE r (id INT PRIMARY KEY)",
            "INSERT INTO r VALUES (1), (2), (3)",
        ],
    )
    .await;
    let login = Login::app().with(EVERYDAY);
    let mut client = RawClient::login(cluster.grove_address(), &login).await.unwrap();
    client.query(begin).await.unwrap();
    let (id, _) = client.prepare("SELECT id FROM r").await.unwrap();
    execute(&mut client, id, READ_ONLY).await;
    assert_eq!(fetch(&mut client, id, 1).await.len(), 2);
    (client, id)
}

/// The server from which the session reads.
async fn kill_reader(cluster: &Cluster, client: &mut RawClient) {
    let packets = client.query("SELECT @@port").await.unwrap();
    let row = &packets[packets.len() - 2];
    let port: u16 = std::str::from_utf8(&row[1..]).unwrap().parse().unwrap();
    let server = cluster.servers().iter().find(|server| server.address().port() == port);
    server.unwrap().kill().await;
}

#[tokio::test]
async fn a_cursor_ends_with_its_server_and_the_session_goes_on() {
    let cluster = Cluster::start(Kind::MariaDb, 3, PROXYD).await.unwrap();
    let (mut client, id) = with_open_cursor(&cluster, "DO 0").await;
    kill_reader(&cluster, &mut client).await;
    assert_eq!(fetch(&mut client, id, 1).await, [1421_u16.to_be_bytes().to_vec()]);
    execute(&mut client, id, READ_ONLY).await;
    assert_eq!(fetch(&mut client, id, 5).await.len(), 4);
}

#[tokio::test]
async fn a_transaction_with_a_cursor_does_not_move() {
    let cluster = Cluster::start(Kind::MariaDb, 3, PROXYD).await.unwrap();
    let (mut client, id) = with_open_cursor(&cluster, "BEGIN").await;
    kill_reader(&cluster, &mut client).await;
    assert_eq!(fetch(&mut client, id, 1).await, [1213_u16.to_be_bytes().to_vec()]);
    client.query("BEGIN").await.unwrap();
    execute(&mut client, id, READ_ONLY).await;
    assert_eq!(fetch(&mut client, id, 5).await.len(), 4);
}
