//! Deadlocks among rows that foreign keys tie together. MySQL 9.7 answers some of their victims with OK and no affected rows: only the status
//! says that the transaction is gone, with everything that the client did before.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use grove_testkit::equality::assert_servers_equal;
use grove_testkit::{Cluster, ClusterOptions, Kind, Random};
use mysql_async::Error;
use mysql_async::prelude::Queryable;

use crate::stage::{PROXYD, Place, assert_all_online, run};

const CLIENTS: u64 = 12;
const TRANSACTIONS: u32 = 3000;
const PARENTS: u64 = 4;

fn statement(random: &mut Random) -> String {
    let (parent, val) = (random.between(1, PARENTS), random.below(20));
    match random.below(6) {
        0 => format!("INSERT INTO child (parent, val) VALUES ({parent}, {val})"),
        1 => format!("INSERT INTO ward (parent, val) VALUES ({parent}, {val})"),
        2 => format!("DELETE FROM parent WHERE id = {parent}"),
        3 => format!("INSERT INTO parent (id) VALUES ({parent})"),
        4 => format!("DELETE FROM ward WHERE parent = {parent}"),
        _ => format!("UPDATE child SET parent = {parent} WHERE val = {val}"),
    }
}

/// Leaves a mark in each transaction, and gives the marks whose COMMIT was answered with OK.
async fn work(place: Place, client: u64, next: Arc<AtomicU32>) -> Vec<u32> {
    let mut random = Random::new(client);
    let mut conn = place.client().await;
    let mut committed = Vec::new();
    loop {
        let mark = next.fetch_add(1, Ordering::Relaxed);
        if mark > TRANSACTIONS {
            return committed;
        }
        let mut statements = vec!["BEGIN".to_owned(), format!("INSERT INTO mark VALUES ({mark})")];
        statements.extend((0..random.between(1, 3)).map(|_| statement(&mut random)));
        statements.push("COMMIT".into());
        let mut is_gone = false;
        for sql in statements {
            match conn.query_drop(&sql).await {
                Ok(()) => {}
                Err(Error::Server(error)) if error.code == 1213 => {
                    is_gone = true;
                    break;
                }
                // Duplicate keys, and rows that others refer to.
                Err(Error::Server(error)) if [1062, 1451, 1452].contains(&error.code) => {}
                Err(error) => panic!("client {client}: {sql}: {error}"),
            }
        }
        if !is_gone {
            committed.push(mark);
        }
    }
}

async fn nothing_acknowledged_is_lost(kind: Kind) {
    let cluster = Cluster::start_with(ClusterOptions::new(kind, 2).heavy(), PROXYD)
        .await
        .unwrap();
    let place = Place::of(&cluster);
    let mut conn = place.client().await;
    run(
        &mut conn,
        &[
            "CREATE TABLE mark (id INT PRIMARY KEY)",
            "CREATE TABLE parent (id INT PRIMARY KEY)",
            "CREATE TABLE child (id INT AUTO_INCREMENT PRIMARY KEY, parent INT NOT NULL, val INT NOT NULL, KEY (val),
               FOREIGN KEY (parent) REFERENCES parent (id) ON DELETE CASCADE)",
            "CREATE TABLE ward (id INT AUTO_INCREMENT PRIMARY KEY, parent INT NOT NULL, val INT NOT NULL,
               FOREIGN KEY (parent) REFERENCES parent (id))",
            "INSERT INTO parent VALUES (1), (2), (3), (4)",
        ],
    )
    .await;
    let next = Arc::new(AtomicU32::new(1));
    let clients = (0..CLIENTS).map(|client| tokio::spawn(work(Place::of(&cluster), client, Arc::clone(&next))));
    let mut committed = Vec::new();
    for client in clients.collect::<Vec<_>>() {
        committed.extend(client.await.unwrap());
    }
    committed.sort_unstable();
    let there: Vec<u32> = conn.query("SELECT id FROM mark ORDER BY id").await.unwrap();
    let lost: Vec<&u32> = committed
        .iter()
        .filter(|mark| there.binary_search(mark).is_err())
        .collect();
    assert!(lost.is_empty(), "acknowledged and not there: {lost:?}");
    assert_eq!(there, committed);
    assert!(committed.len() > 500, "{} commits", committed.len());
    assert_all_online(&cluster).await;
    assert_servers_equal(&cluster).await;
}

#[tokio::test]
async fn silent_victims_of_deadlocks_lose_nothing_acknowledged_on_mariadb() {
    nothing_acknowledged_is_lost(Kind::MariaDb).await;
}

#[tokio::test]
async fn silent_victims_of_deadlocks_lose_nothing_acknowledged_on_mysql() {
    nothing_acknowledged_is_lost(Kind::MySql).await;
}
