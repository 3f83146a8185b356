//! Everyday programs over many drivers: their transcripts through Grove are those against a single server.

mod program;
mod rust;

use grove_testkit::{Cluster, Kind};

use crate::stage::{PROXYD, Place, Stage};
use program::Program;

async fn every_driver(kind: Kind) {
    let stage = Stage::open(kind).await;
    for program in Program::ALL {
        stage
            .same_as_direct(async |place| program.transcript(place).await)
            .await;
    }
    stage.same_as_direct(rust::mysql_async_work).await;
}

#[tokio::test]
async fn every_driver_does_its_everyday_work_on_mariadb() {
    every_driver(Kind::MariaDb).await;
}

#[tokio::test]
async fn every_driver_does_its_everyday_work_on_mysql() {
    every_driver(Kind::MySql).await;
}

async fn every_compressing_driver(kind: Kind) {
    let stage = Stage::open(kind).await;
    for program in Program::COMPRESSING {
        let compressed = async |place| {
            let notes = program.compressed_transcript(place).await;
            assert!(
                notes.contains("ompression") && notes.contains("ON"),
                "{program:?} does not compress"
            );
            notes
        };
        stage.same_as_direct(compressed).await;
    }
}

#[tokio::test]
async fn every_compressing_driver_does_its_everyday_work_on_mariadb() {
    every_compressing_driver(Kind::MariaDb).await;
}

#[tokio::test]
async fn every_compressing_driver_does_its_everyday_work_on_mysql() {
    every_compressing_driver(Kind::MySql).await;
}

/// TLS towards clients is Grove's own, whatever its servers have.
#[tokio::test]
async fn clients_may_use_tls_in_front_of_servers_without_it() {
    let cluster = Cluster::start(Kind::MariaDb, 1, PROXYD).await.unwrap();
    let place = Place {
        address: cluster.grove_address(),
        kind: Kind::MySql,
    };
    let notes = Program::CommandLine.transcript(place).await;
    assert!(notes.contains("in use"), "{notes:?}");
    let notes = Program::PyMySql.transcript(place).await;
    assert!(notes.contains("over TLS: (True"), "{notes:?}");
}
