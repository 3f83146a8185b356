//! Workers that take jobs from a table with SKIP LOCKED: every job once, no server left out, whatever is locked where.

use grove_testkit::equality::assert_servers_equal;
use grove_testkit::{Cluster, Kind};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error};

use crate::stage::{PROXYD, Place, assert_all_online, one, run};

const JOBS: u32 = 240;
const WORKERS: u32 = 6;

/// Takes one job and does it; `None` when there is none left.
async fn take(conn: &mut Conn, worker: u32) -> Result<Option<u32>, Error> {
    conn.query_drop("BEGIN").await?;
    let next = "SELECT id FROM job WHERE worker IS NULL ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED";
    let id: Option<u32> = conn.query_first(next).await?;
    if let Some(id) = id {
        // Fails if another worker has it too.
        let done = format!("INSERT INTO done (id, worker) VALUES ({id}, {worker})");
        conn.query_drop(format!("UPDATE job SET worker = {worker} WHERE id = {id}"))
            .await?;
        conn.query_drop(done).await?;
    }
    conn.query_drop("COMMIT").await?;
    Ok(id)
}

async fn work(place: Place, worker: u32) -> u32 {
    let mut conn = place.client().await;
    let mut taken = 0;
    loop {
        match take(&mut conn, worker).await {
            Ok(Some(_)) => taken += 1,
            Ok(None) => return taken,
            // A deadlock, or the lead was lost: the job is free again.
            Err(Error::Server(error)) if error.code == 1213 => {}
            Err(error) => panic!("worker {worker}: {error}"),
        }
    }
}

async fn every_job_is_done_once(kind: Kind) {
    let cluster = Cluster::start(kind, 3, PROXYD).await.unwrap();
    let place = Place::of(&cluster);
    let mut conn = place.client().await;
    run(
        &mut conn,
        &[
            "CREATE TABLE job (id INT PRIMARY KEY, worker INT, KEY (worker))",
            "CREATE TABLE done (id INT PRIMARY KEY, worker INT NOT NULL)",
        ],
    )
    .await;
    let rows: Vec<String> = (1..=JOBS).map(|id| format!("({id})")).collect();
    conn.query_drop(format!("INSERT INTO job (id) VALUES {}", rows.join(",")))
        .await
        .unwrap();
    let workers = (1..=WORKERS).map(|worker| tokio::spawn(work(Place::of(&cluster), worker)));
    let mut taken = 0;
    for worker in workers.collect::<Vec<_>>() {
        taken += worker.await.unwrap();
    }
    assert_eq!(taken, JOBS);
    assert_eq!(one(&mut conn, "SELECT COUNT(*) FROM done").await, JOBS.to_string());
    assert_all_online(&cluster).await;
    assert_servers_equal(&cluster).await;
}

#[tokio::test]
async fn workers_share_a_queue_on_mariadb() {
    every_job_is_done_once(Kind::MariaDb).await;
}

#[tokio::test]
async fn workers_share_a_queue_on_mysql() {
    every_job_is_done_once(Kind::MySql).await;
}
