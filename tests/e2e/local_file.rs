//! LOAD DATA LOCAL: the client's file reaches every server, as a single server would take it, also when the lead is lost on the way.

use std::time::Duration;

use grove_testkit::equality::assert_servers_equal;
use grove_testkit::raw_client::{EVERYDAY, Login, error_of};
use grove_testkit::{Cluster, Kind, RawClient};
use grove_wire::{CapabilityFlags, OkPacket};
use mysql_async::Conn;
use mysql_async::prelude::Queryable;

use crate::stage::{Notes, PROXYD, Place, Stage, one, run};

pub const WITH_FILES: CapabilityFlags = CapabilityFlags(EVERYDAY.0 | CapabilityFlags::LOCAL_FILES.0);
const TABLE: &str =
    "CREATE TABLE loaded (id INT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(40) UNIQUE, n INT) DEFAULT CHARSET=utf8mb4";
const LOAD: &str = "LOAD DATA LOCAL INFILE 'some file' INTO TABLE loaded FIELDS TERMINATED BY ',' (name, n)";

/// Lines in packets that do not end where lines end.
fn lines(from: usize, to: usize, packet_len: usize) -> Vec<Vec<u8>> {
    let text: String = (from..to).map(|n| format!("name {n},{n}\n")).collect();
    text.as_bytes().chunks(packet_len).map(<[u8]>::to_vec).collect()
}

async fn allow_files(place: Place) {
    if place.kind == Kind::MySql {
        run(&mut place.client().await, &["SET GLOBAL local_infile = 1"]).await;
    }
}

pub async fn loads(place: Place, capabilities: CapabilityFlags) -> Notes {
    allow_files(place).await;
    let mut notes = Notes::default();
    let mut client = place.raw(capabilities).await;
    client.query(TABLE).await.unwrap();
    let load = async |client: &mut RawClient, file: Vec<Vec<u8>>, sql: &str, notes: &mut Notes| {
        client.file = file;
        notes.packets(sql, &client.query(sql).await.unwrap());
        client.file.clear();
        let sum = "SELECT COUNT(*), SUM(n), MAX(id) FROM loaded";
        notes.packets("then", &client.query(sum).await.unwrap());
    };
    load(&mut client, lines(0, 5, 7), LOAD, &mut notes).await;
    notes.packets(
        "id",
        &client.query("SELECT LAST_INSERT_ID(), ROW_COUNT()").await.unwrap(),
    );
    load(&mut client, Vec::new(), LOAD, &mut notes).await;
    // Two of them are there, one has no number.
    let mut file = lines(3, 8, 1000);
    file.push(b"without\n".to_vec());
    load(&mut client, file, LOAD, &mut notes).await;
    notes.packets("warnings", &client.query("SHOW WARNINGS").await.unwrap());
    load(
        &mut client,
        lines(3, 9, 20),
        &LOAD.replace("INTO", "REPLACE INTO"),
        &mut notes,
    )
    .await;
    load(
        &mut client,
        lines(0, 2, 9),
        &LOAD.replace("loaded", "missing"),
        &mut notes,
    )
    .await;
    load(
        &mut client,
        lines(0, 2, 9),
        &LOAD.replace("name, n)", "name, nothing)"),
        &mut notes,
    )
    .await;
    let several = format!("SELECT 'before'; {LOAD}; SELECT COUNT(*) FROM loaded");
    load(&mut client, lines(10, 20, 50), &several, &mut notes).await;
    client.query("BEGIN").await.unwrap();
    load(&mut client, lines(20, 30, 50), LOAD, &mut notes).await;
    client.query("ROLLBACK").await.unwrap();
    load(&mut client, lines(20, 40, 1 << 14), LOAD, &mut notes).await;
    client.query("LOCK TABLES loaded WRITE").await.unwrap();
    load(&mut client, lines(50, 60, 30), LOAD, &mut notes).await;
    client.query("UNLOCK TABLES").await.unwrap();
    // Longer than what is kept in memory.
    load(&mut client, lines(1000, 60_000, 16_000), LOAD, &mut notes).await;
    notes
}

async fn all(kind: Kind) {
    let stage = Stage::open(kind).await;
    stage.same_as_direct(|place| loads(place, WITH_FILES)).await;
    let modern = WITH_FILES | CapabilityFlags::DEPRECATE_EOF | CapabilityFlags::SESSION_TRACK;
    stage.same_as_direct(|place| loads(place, modern)).await;
    // A client that cannot send files.
    stage
        .same_as_direct(async |place| {
            let mut notes = Notes::default();
            let mut client = place.raw(EVERYDAY).await;
            client.query(TABLE).await.unwrap();
            notes.packets("refused", &client.query(LOAD).await.unwrap());
            notes
        })
        .await;
}

#[tokio::test]
async fn files_are_loaded_as_mariadb_does() {
    all(Kind::MariaDb).await;
}

#[tokio::test]
async fn files_are_loaded_as_mysql_does() {
    all(Kind::MySql).await;
}

/// Counters of followers that lag behind: a key that only the lead has used up, by an insert that failed there.
#[tokio::test]
async fn generated_keys_are_the_same_everywhere() {
    for kind in [Kind::MariaDb, Kind::MySql] {
        let cluster = Cluster::start(kind, 3, PROXYD).await.unwrap();
        let place = Place::of(&cluster);
        let mut conn = place.client().await;
        run(&mut conn, &[TABLE, "INSERT INTO loaded (name, n) VALUES ('name 3', 0)"]).await;
        let mut client = place.raw(WITH_FILES).await;
        for (round, lock) in [false, true].into_iter().enumerate() {
            for _ in 0..3 {
                assert!(
                    conn.query_drop("INSERT INTO loaded (name, n) VALUES ('name 3', 1)")
                        .await
                        .is_err()
                );
            }
            let wrap = if lock {
                ["LOCK TABLES loaded WRITE", "UNLOCK TABLES"]
            } else {
                ["DO 0", "DO 0"]
            };
            client.query(wrap[0]).await.unwrap();
            // Without locks the first line is a duplicate, which uses up a key.
            client.file = lines(3 + 10 * round + usize::from(lock), 8 + 10 * round, 100);
            client.query(LOAD).await.unwrap();
            client.query(wrap[1]).await.unwrap();
            assert_servers_equal(&cluster).await;
            crate::stage::assert_all_online(&cluster).await;
        }
        assert_eq!(one(&mut conn, "SELECT COUNT(*) FROM loaded").await, "9");
    }
}

async fn client_in_the_middle(cluster: &Cluster) -> (RawClient, Conn) {
    let mut conn = cluster.client().await.unwrap();
    run(&mut conn, &[TABLE]).await;
    let login = Login::app().with(WITH_FILES);
    let mut client = RawClient::login(cluster.grove_address(), &login).await.unwrap();
    client.send(&[b"\x03", LOAD.as_bytes()].concat()).await.unwrap();
    assert_eq!(client.read().await.unwrap()[0], 0xFB);
    (client, conn)
}

#[tokio::test]
async fn a_file_under_way_survives_the_lead() {
    let cluster = Cluster::start(Kind::MariaDb, 3, PROXYD).await.unwrap();
    let (mut client, mut conn) = client_in_the_middle(&cluster).await;
    // The first packet, numbered after the request.
    client.send_bytes(b"\x09\x00\x00\x02name 1,1\n").await.unwrap();
    let lead = cluster.lead().await.unwrap();
    let name = lead.name().to_owned();
    lead.kill().await;
    client
        .send_bytes(b"\x09\x00\x00\x03name 2,2\n\x00\x00\x00\x04")
        .await
        .unwrap();
    client.expect_number(5);
    let answer = client.read().await.unwrap();
    assert_eq!(error_of(&answer), None);
    assert_eq!(OkPacket::parse(&answer, client.capabilities).unwrap().affected_rows, 2);
    assert_eq!(one(&mut conn, "SELECT SUM(n) FROM loaded").await, "3");
    cluster.wait_for_eviction(&name, Duration::from_secs(10)).await.unwrap();
    assert_servers_equal(&cluster).await;
}

/// Longer than what is kept in memory, so that pieces are on their way to the disk when the lead dies.
#[tokio::test]
async fn a_long_file_under_way_survives_the_lead() {
    let cluster = Cluster::start(Kind::MariaDb, 3, PROXYD).await.unwrap();
    let (mut client, mut conn) = client_in_the_middle(&cluster).await;
    let packets = lines(0, 60_000, 16_000);
    let middle = packets.len() / 2;
    let mut number = 2_u8;
    for (index, packet) in packets.iter().chain([&Vec::new()]).enumerate() {
        if index == middle {
            cluster.lead().await.unwrap().kill().await;
        }
        let header = [&(packet.len() as u32).to_le_bytes()[..3], &[number]].concat();
        client.send_bytes(&[&header[..], packet].concat()).await.unwrap();
        number = number.wrapping_add(1);
    }
    client.expect_number(number);
    let answer = client.read().await.unwrap();
    assert_eq!(error_of(&answer), None);
    assert_eq!(one(&mut conn, "SELECT COUNT(*) FROM loaded").await, "60000");
    assert_eq!(one(&mut conn, "SELECT SUM(n) FROM loaded").await, "1799970000");
    assert_servers_equal(&cluster).await;
}

#[tokio::test]
async fn a_client_that_leaves_in_the_middle_of_its_file_leaves_nothing() {
    let cluster = Cluster::start(Kind::MariaDb, 3, PROXYD).await.unwrap();
    let (mut client, mut conn) = client_in_the_middle(&cluster).await;
    client.send_bytes(b"\x09\x00\x00\x02name 1,1\n").await.unwrap();
    drop(client);
    // Waits for the lock of the half-loaded row, if there is one.
    run(&mut conn, &["INSERT INTO loaded (name, n) VALUES ('name 1', 7)"]).await;
    assert_eq!(one(&mut conn, "SELECT SUM(n) FROM loaded").await, "7");
    crate::stage::assert_all_online(&cluster).await;
    assert_servers_equal(&cluster).await;
}
