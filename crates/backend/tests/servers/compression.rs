//! Compressed connections to servers: the same traffic as over plain ones, and replies that look as if they had come over one.

use crate::lab::{Lab, MODERN, OLD, connect, identity, query, run, value, values};
use crate::traffic;
use grove_backend::MysqlLeg;
use grove_config::{BackendTlsMode, Compression};
use grove_engine::io::{Collect, Leg};
use grove_testkit::Kind;
use grove_wire::packet::{HEADER_LEN, frame_payload_len};
use grove_wire::{CapabilityFlags, ReplyShape, ResultEnd};
use std::time::Duration;

/// The numbers of the frames of a reply, the last one too.
async fn numbers(leg: &mut MysqlLeg, sql: &str) -> Vec<u8> {
    leg.send(&[query(sql)]).await.unwrap();
    let mut frames = Collect::default();
    let reply = leg.receive(ReplyShape::Query, &mut frames).await.unwrap();
    assert!(reply.reply.err().is_none(), "{sql}: {:?}", reply.reply);
    let bytes = [&frames.bytes[..], &reply.last_frame[..]].concat();
    let (mut rest, mut numbers) = (&bytes[..], Vec::new());
    while let Some(header) = rest.first_chunk::<HEADER_LEN>() {
        numbers.push(header[3]);
        rest = &rest[HEADER_LEN + frame_payload_len(header)..];
    }
    numbers
}

/// What the server says about the connection, and replies of several results, which a server with compression numbers anew in their middle.
async fn looks(kind: Kind, algorithm: Compression, modes: &[BackendTlsMode]) {
    let lab = Lab::start(kind).await.compressed(algorithm);
    for mode in modes {
        let mut leg = connect(&lab.servers_with(*mode), &identity(OLD)).await.unwrap();
        let status = values(&mut leg, "SHOW STATUS LIKE 'Compression'").await;
        assert_eq!(status, ["Compression", "ON"]);
        if kind == Kind::MySql {
            let name = if algorithm == Compression::Zlib { "zlib" } else { "zstd" };
            let status = values(&mut leg, "SHOW STATUS LIKE 'Compression\\_algorithm'").await;
            assert_eq!(status, ["Compression_algorithm", name]);
        }
        run(&mut leg, "DROP PROCEDURE IF EXISTS two").await;
        run(&mut leg, "CREATE PROCEDURE two() BEGIN SELECT 1; SELECT 'x', 2; END").await;
        for sql in ["CALL two()", "SELECT 1; SELECT 2; DO 3"] {
            let numbers = numbers(&mut leg, sql).await;
            let expected: Vec<u8> = (1..=numbers.len() as u8).collect();
            assert!(numbers.len() > 10);
            assert_eq!(numbers, expected, "{sql}");
        }
    }
}

#[tokio::test]
async fn replies_of_mariadb_are_numbered_as_without_compression() {
    looks(Kind::MariaDb, Compression::Zlib, &[BackendTlsMode::Disabled]).await;
}

#[tokio::test]
async fn replies_of_mysql_are_numbered_as_without_compression() {
    for algorithm in [Compression::Zlib, Compression::Zstd] {
        let modes = [BackendTlsMode::Disabled, BackendTlsMode::Required];
        looks(Kind::MySql, algorithm, &modes).await;
    }
}

#[tokio::test]
async fn mariadb_traffic_over_zlib() {
    traffic::statements(Lab::start(Kind::MariaDb).await.compressed(Compression::Zlib)).await;
    traffic::large_things(Lab::start(Kind::MariaDb).await.compressed(Compression::Zlib)).await;
    traffic::full_buffers(Lab::start(Kind::MariaDb).await.compressed(Compression::Zlib)).await;
}

#[tokio::test]
async fn mysql_traffic_over_zlib() {
    traffic::statements(Lab::start(Kind::MySql).await.compressed(Compression::Zlib)).await;
    traffic::large_things(Lab::start(Kind::MySql).await.compressed(Compression::Zlib)).await;
    traffic::full_buffers(Lab::start(Kind::MySql).await.compressed(Compression::Zlib)).await;
}

#[tokio::test]
async fn mysql_traffic_over_zstd() {
    traffic::statements(Lab::start(Kind::MySql).await.compressed(Compression::Zstd)).await;
    traffic::large_things(Lab::start(Kind::MySql).await.compressed(Compression::Zstd)).await;
    traffic::full_buffers(Lab::start(Kind::MySql).await.compressed(Compression::Zstd)).await;
}

/// A file in many packets, whose end and whose successor are understood; and a goodbye that is.
async fn files_and_goodbyes(kind: Kind, algorithm: Compression) {
    let lab = Lab::with_options(kind, &["--local-infile=1"])
        .await
        .compressed(algorithm);
    let mut capabilities = MODERN;
    capabilities.insert(CapabilityFlags::LOCAL_FILES);
    let mut leg = connect(&lab.servers(), &identity(capabilities)).await.unwrap();
    run(&mut leg, "CREATE TABLE loaded (id INT PRIMARY KEY)").await;
    for (from, to) in [(0, 3), (1000, 300_000)] {
        let load = query("LOAD DATA LOCAL INFILE 'x' INTO TABLE loaded");
        leg.send(&[load]).await.unwrap();
        let asked = leg.receive(ReplyShape::Query, &mut Collect::default()).await.unwrap();
        assert!(matches!(asked.reply.last(), ResultEnd::LocalInfile));
        let text: String = (from..to).map(|id| format!("{id}\n")).collect();
        let mut number = 2;
        for piece in text.as_bytes().chunks(50_000) {
            leg.send_file(piece, &mut number).await.unwrap();
        }
        leg.send_file(&[], &mut number).await.unwrap();
        let loaded = leg.receive(ReplyShape::Query, &mut Collect::default()).await.unwrap();
        assert_eq!(loaded.reply.ok().map(|ok| ok.affected_rows), Some((to - from) as u64));
        assert_eq!(loaded.last_frame[3], number, "numbered after the file");
    }
    assert_eq!(value(&mut leg, "SELECT COUNT(*) FROM loaded").await, "299003");

    let mut watcher = lab.leg().await;
    let gone = leg.thread_id();
    drop(leg);
    let there = format!("SELECT COUNT(*) FROM information_schema.processlist WHERE id = {gone}");
    while value(&mut watcher, &there).await != "0" {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let aborted = values(&mut watcher, "SHOW GLOBAL STATUS LIKE 'Aborted_clients'").await;
    assert_eq!(aborted[1], "0");
}

#[tokio::test]
async fn mariadb_takes_files_and_goodbyes_over_zlib() {
    files_and_goodbyes(Kind::MariaDb, Compression::Zlib).await;
}

#[tokio::test]
async fn mysql_takes_files_and_goodbyes_over_zlib_and_zstd() {
    files_and_goodbyes(Kind::MySql, Compression::Zlib).await;
    files_and_goodbyes(Kind::MySql, Compression::Zstd).await;
}

#[tokio::test]
async fn a_server_without_the_algorithm_is_talked_to_without() {
    let lab = Lab::start(Kind::MariaDb).await.compressed(Compression::Zstd);
    let mut leg = lab.leg().await;
    let status = values(&mut leg, "SHOW STATUS LIKE 'Compression'").await;
    assert_eq!(status, ["Compression", "OFF"]);
}
