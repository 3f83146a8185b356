//! Servers that are killed in the midst of something long: a definition, a file, their own return. Clients go on without an error, and everything is where it
//! belongs afterwards.

use grove_testkit::bank::BankOptions;
use grove_testkit::raw_client::error_of;
use grove_testkit::{Kind, RawClient};
use mysql_async::prelude::Queryable;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::{LIMIT, Scene, wait_until_all_online, with_log};
use crate::local_file::WITH_FILES;
use crate::stage::{Place, run};

/// What is long under way has the machine for itself, nearly.
fn few_clients(seed: u64) -> BankOptions {
    BankOptions {
        clients: 3,
        longest_rest: Duration::from_millis(60),
        ..BankOptions::new(seed)
    }
}

impl Scene {
    /// Kills one server after another, the lead too, each at a random instant, and waits until it is back; `most` is the longest time before a blow.
    async fn kill_in_turn(&mut self, rounds: usize, most: Duration) {
        let most = u64::try_from(most.as_millis()).unwrap();
        for round in 0..rounds {
            let pause = Duration::from_millis(self.random.between(0, most));
            tokio::time::sleep(pause).await;
            let lead = self.cluster.lead().await.unwrap();
            let victim = match round % 2 {
                0 => lead,
                _ => {
                    let others = self.cluster.servers().iter();
                    others.into_iter().find(|server| server.name() != lead.name()).unwrap()
                }
            };
            eprintln!("kill {} after {pause:?}", victim.name());
            victim.kill().await;
            self.cluster.wait_for_eviction(victim.name(), LIMIT).await.unwrap();
            victim.start().await.unwrap();
            wait_until_all_online(&self.cluster).await;
        }
    }
}

/// Every one of them commits by itself, and most of them take long. Together they leave things as they were, but for one more row each time.
const DEFINITIONS: [&str; 11] = [
    "ALTER TABLE wide ADD COLUMN a INT NOT NULL DEFAULT 7, ALGORITHM=COPY",
    "CREATE INDEX by_a ON wide (a)",
    "INSERT INTO wide (filler, a) VALUES ('more', 8)",
    "CREATE TABLE made AS SELECT id, a FROM wide WHERE id % 3 = 0",
    "RENAME TABLE wide TO wider",
    "ALTER TABLE wider DROP INDEX by_a",
    "ALTER TABLE wider RENAME TO wide",
    "DROP TABLE made",
    "CREATE OR REPLACE VIEW seen AS SELECT COUNT(*) AS rows_there FROM wide",
    "ALTER TABLE wide DROP COLUMN a, ALGORITHM=COPY",
    "TRUNCATE TABLE short",
];

async fn definitions_under_way(kind: Kind) {
    let mut scene = Scene::begin_with(with_log(kind), few_clients).await;
    let mut conn = scene.cluster.client().await.unwrap();
    run(
        &mut conn,
        &[
            "CREATE TABLE short (id INT PRIMARY KEY)",
            "INSERT INTO short VALUES (1)",
            "CREATE TABLE wide (id INT AUTO_INCREMENT PRIMARY KEY, filler VARCHAR(200) NOT NULL)",
            "INSERT INTO wide (filler) VALUES (REPEAT('x', 200)), (REPEAT('y', 200))",
        ],
    )
    .await;
    for _ in 0..12 {
        run(&mut conn, &["INSERT INTO wide (filler) SELECT filler FROM wide"]).await;
    }
    let is_over = AtomicBool::new(false);
    let defining = async {
        let mut rounds = 0;
        while !is_over.load(Ordering::SeqCst) {
            run(&mut conn, &DEFINITIONS).await;
            rounds += 1;
        }
        rounds
    };
    let killing = async {
        scene.kill_in_turn(3, Duration::from_millis(1200)).await;
        is_over.store(true, Ordering::SeqCst);
    };
    let (rounds, ()) = tokio::join!(defining, killing);
    eprintln!("{rounds} rounds of definitions");
    let rows: Option<u64> = conn.query_first("SELECT COUNT(*) FROM wide").await.unwrap();
    assert_eq!(rows, Some(2 * (1 << 12) + rounds));
    scene.end().await;
}

#[tokio::test]
async fn servers_killed_in_the_midst_of_definitions_come_back_on_mariadb() {
    definitions_under_way(Kind::MariaDb).await;
}

#[tokio::test]
async fn servers_killed_in_the_midst_of_definitions_come_back_on_mysql() {
    definitions_under_way(Kind::MySql).await;
}

/// ER_LOCK_DEADLOCK: the client has to send its transaction again, as on a single server.
const AGAIN: u16 = 1213;

async fn load(client: &mut RawClient, round: u64) -> bool {
    let lines: String = (0..20_000)
        .map(|n| format!("{round},{n},{}\n", "z".repeat(20)))
        .collect();
    client.file = lines.as_bytes().chunks(4096).map(<[u8]>::to_vec).collect();
    let answer = client
        .query("LOAD DATA LOCAL INFILE 'lines' INTO TABLE loaded FIELDS TERMINATED BY ',' (round, n, filler)")
        .await
        .unwrap();
    client.file.clear();
    match error_of(answer.last().unwrap()) {
        None => true,
        Some(error) => {
            assert_eq!(error.code, AGAIN, "{error:?}");
            false
        }
    }
}

async fn files_under_way(kind: Kind) {
    let mut scene = Scene::begin_with(with_log(kind), few_clients).await;
    let mut conn = scene.cluster.client().await.unwrap();
    run(
        &mut conn,
        &["CREATE TABLE loaded (round INT, n INT, filler VARCHAR(20), PRIMARY KEY (round, n))"],
    )
    .await;
    for place in 0..scene.cluster.servers().len() {
        let mut server = scene.cluster.look_at(place).await.unwrap();
        server.query_drop("SET GLOBAL local_infile = ON").await.unwrap();
    }
    let mut client = Place::of(&scene.cluster).raw(WITH_FILES).await;
    let is_over = AtomicBool::new(false);
    let loading = async {
        let mut loaded = Vec::new();
        for round in 0.. {
            if is_over.load(Ordering::SeqCst) {
                break;
            }
            if load(&mut client, round).await {
                loaded.push(round);
            }
        }
        loaded
    };
    let killing = async {
        scene.kill_in_turn(3, Duration::from_millis(1200)).await;
        is_over.store(true, Ordering::SeqCst);
    };
    let (loaded, ()) = tokio::join!(loading, killing);
    let rows: Vec<(u64, u64)> = conn
        .query("SELECT round, COUNT(*) FROM loaded GROUP BY round ORDER BY round")
        .await
        .unwrap();
    let expected: Vec<(u64, u64)> = loaded.iter().map(|&round| (round, 20_000)).collect();
    assert_eq!(rows, expected);
    assert!(loaded.len() > 2, "{loaded:?}");
    scene.end().await;
}

#[tokio::test]
async fn servers_killed_in_the_midst_of_files_come_back_on_mariadb() {
    files_under_way(Kind::MariaDb).await;
}

#[tokio::test]
async fn servers_killed_in_the_midst_of_files_come_back_on_mysql() {
    files_under_way(Kind::MySql).await;
}

/// Its return begins anew each time, from where it was.
async fn a_return_under_way(kind: Kind) {
    let mut scene = Scene::begin_with(with_log(kind), few_clients).await;
    let mut conn = scene.cluster.client().await.unwrap();
    run(&mut conn, &["CREATE TABLE backlog (id INT PRIMARY KEY, v INT)"]).await;
    let kill = async |scene: &Scene| {
        scene.cluster.server("db3").unwrap().kill().await;
        scene.cluster.wait_for_eviction("db3", LIMIT).await.unwrap();
    };
    kill(&scene).await;
    for id in 0..1500 {
        conn.query_drop(format!("INSERT INTO backlog VALUES ({id}, 0)"))
            .await
            .unwrap();
    }
    let mut blows = 0;
    while blows < 2 {
        scene.cluster.server("db3").unwrap().start().await.unwrap();
        scene.cluster.wait_for_state("db3", "replaying", LIMIT).await.unwrap();
        let pause = Duration::from_millis(scene.random.between(0, 150));
        tokio::time::sleep(pause).await;
        if scene.cluster.online().await.unwrap().len() < 3 {
            blows += 1;
        }
        kill(&scene).await;
    }
    scene.cluster.server("db3").unwrap().start().await.unwrap();
    scene.end().await;
}

#[tokio::test]
async fn a_server_killed_in_the_midst_of_its_return_returns_on_mariadb() {
    a_return_under_way(Kind::MariaDb).await;
}

#[tokio::test]
async fn a_server_killed_in_the_midst_of_its_return_returns_on_mysql() {
    a_return_under_way(Kind::MySql).await;
}
