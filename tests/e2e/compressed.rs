//! Compressed connections of clients: the same packets as from a single server, and servers behind Grove that are compressed themselves.

use grove_testkit::raw_client::EVERYDAY;
use grove_testkit::{ClusterOptions, Kind};
use grove_wire::CapabilityFlags;
use grove_wire::command::{COM_CHANGE_USER, COM_PING, COM_RESET_CONNECTION};

use crate::stage::{Notes, Place, Stage};
use crate::{bytes, cursor, local_file, prepared};

const ZLIB: CapabilityFlags = CapabilityFlags(EVERYDAY.0 | CapabilityFlags::COMPRESS.0);
const ZSTD: CapabilityFlags = CapabilityFlags(EVERYDAY.0 | CapabilityFlags::ZSTD.0);

/// What a connection says of itself, also after it has begun anew, and commands that come in many compressed packets.
async fn life(place: Place, capabilities: CapabilityFlags) -> Notes {
    let mut notes = Notes::default();
    let mut client = place.raw(capabilities).await;
    assert!(client.capabilities.contains(capabilities), "not offered");
    let status = "SHOW STATUS LIKE 'Compression%'";
    notes.packets(status, &client.query(status).await.unwrap());
    for length in [0, 40, 50, 60, 1000, 65_530, 65_540, 1 << 20, 5 << 20] {
        let sql = format!("SELECT LENGTH('{}'), REPEAT('abc', {length})", "x".repeat(length));
        notes.packets(&format!("{length} bytes"), &client.query(&sql).await.unwrap());
    }
    for command in [COM_PING, COM_RESET_CONNECTION] {
        notes.packets("a small command", &client.command(&[command]).await.unwrap());
    }
    let plugin = client.greeting.auth_plugin.clone();
    let names = [&[COM_CHANGE_USER][..], b"app\0\0app\0\x2d\0", &plugin[..], &[0]].concat();
    client.send(&names).await.unwrap();
    client.finish_authentication("app").await.unwrap();
    notes.packets(status, &client.query(status).await.unwrap());
    notes
}

async fn all(kind: Kind, compressed: &[CapabilityFlags]) {
    let stage = Stage::open(kind).await;
    for capabilities in compressed {
        let modern = *capabilities | CapabilityFlags::DEPRECATE_EOF;
        let with_files = *capabilities | local_file::WITH_FILES;
        stage.same_as_direct(|place| life(place, *capabilities)).await;
        stage
            .same_as_direct(|place| bytes::every_statement(place, modern))
            .await;
        stage
            .same_as_direct(|place| bytes::large_packets(place, *capabilities))
            .await;
        stage
            .same_as_direct(|place| prepared::life_of_statements(place, *capabilities))
            .await;
        stage.same_as_direct(|place| cursor::cursors(place, modern)).await;
        stage.same_as_direct(|place| local_file::loads(place, with_files)).await;
    }
}

#[tokio::test]
async fn compressed_clients_are_answered_as_on_mariadb() {
    all(Kind::MariaDb, &[ZLIB]).await;
}

#[tokio::test]
async fn compressed_clients_are_answered_as_on_mysql() {
    all(Kind::MySql, &[ZLIB, ZSTD]).await;
}

/// Servers that are each reached in another way lay their replies out in the same way: what clients see does not depend on it, and no
/// server is taken for one that answers differently.
async fn all_over_compressed_servers(kind: Kind, servers: [&str; 3]) {
    let mut options = ClusterOptions::new(kind, 3);
    for (place, algorithm) in servers.into_iter().enumerate() {
        options = options.grove_backend(place, &format!("compression: {algorithm}"));
    }
    let stage = Stage::open_with(options).await;
    let plain = EVERYDAY | CapabilityFlags::DEPRECATE_EOF;
    for capabilities in [plain, ZLIB] {
        stage
            .same_as_direct(|place| bytes::every_statement(place, capabilities))
            .await;
        stage
            .same_as_direct(|place| prepared::life_of_statements(place, capabilities))
            .await;
        stage.same_as_direct(|place| cursor::cursors(place, capabilities)).await;
    }
    stage.same_as_direct(|place| bytes::large_packets(place, plain)).await;
    let with_files = plain | local_file::WITH_FILES;
    stage.same_as_direct(|place| local_file::loads(place, with_files)).await;
}

#[tokio::test]
async fn clients_do_not_see_that_mariadb_servers_are_compressed() {
    all_over_compressed_servers(Kind::MariaDb, ["zlib", "none", "zlib"]).await;
}

#[tokio::test]
async fn clients_do_not_see_that_mysql_servers_are_compressed() {
    all_over_compressed_servers(Kind::MySql, ["zlib", "zstd", "none"]).await;
}
