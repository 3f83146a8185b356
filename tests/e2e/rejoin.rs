//! Servers that come back and a Grove that comes back: nothing acknowledged is lost, nothing is there by half, and all servers are equal afterwards.
//!
//! The load is the bank's (`grove_testkit::bank`), which knows what must be there. A server that cannot be brought up from the log says so and stays out:
//! that is in [`refused`].

mod midst;
mod missed;
mod refused;

use std::time::Duration;

use grove_testkit::bank::{Bank, BankOptions};
use grove_testkit::equality::{Subject, assert_servers_equal};
use grove_testkit::{Cluster, ClusterOptions, Kind, Random};

use crate::stage::{PROXYD, assert_all_online};

/// Waits of this test end long before; a busy machine takes its time.
const LIMIT: Duration = Duration::from_secs(150);

/// Three servers, and a Grove with its log in a directory.
fn with_log(kind: Kind) -> ClusterOptions {
    ClusterOptions::new(kind, 3).configuration("recovery_log:\n  directory: recovery-log\n  segment_bytes: 1048576\n")
}

async fn wait_until_all_online(cluster: &Cluster) {
    for server in cluster.servers() {
        cluster.wait_until_online(server.name(), LIMIT).await.unwrap();
    }
}

struct Scene {
    cluster: Cluster,
    bank: Bank,
    random: Random,
}

impl Scene {
    async fn begin(options: ClusterOptions) -> Self {
        Self::begin_with(options, BankOptions::new).await
    }

    async fn begin_with(options: ClusterOptions, bank: impl FnOnce(u64) -> BankOptions) -> Self {
        let seed = Random::fresh_seed();
        eprintln!("seed {seed}");
        let mut cluster_options = options;
        cluster_options.weight = grove_testkit::Weight::Heavy;
        let cluster = Cluster::start_with(cluster_options, PROXYD).await.unwrap();
        let bank = Bank::open(cluster.grove_opts(), &bank(seed)).await.unwrap();
        let scene = Self {
            cluster,
            bank,
            random: Random::new(seed),
        };
        scene.goes_on().await;
        scene
    }

    /// Commits happen, also after what came before.
    async fn goes_on(&self) {
        self.bank.wait_for_commits(60, LIMIT).await.unwrap();
    }

    async fn random_instant(&mut self) {
        let pause = self.random.between(0, 700);
        self.bank.run_for(Duration::from_millis(pause)).await;
    }

    async fn kill_grove(&mut self) {
        self.bank.grove_goes();
        self.cluster.kill_grove().await.unwrap();
    }

    async fn start_grove(&mut self) {
        self.cluster.start_grove().await.unwrap();
        self.bank.grove_is_at(self.cluster.grove_opts());
    }

    /// All servers are there, hold what the clients know, and hold the same.
    async fn end(self) {
        wait_until_all_online(&self.cluster).await;
        let servers: Vec<Subject> = self.cluster.servers().iter().map(Subject::of).collect();
        let progress = self.bank.finish(&servers).await;
        eprintln!("{progress}");
        progress.assert_clean(120);
        assert_all_online(&self.cluster).await;
        let comparison = assert_servers_equal(&self.cluster).await;
        assert!(comparison.tables >= 5, "{progress}: {comparison:?}");
    }
}

async fn grove_is_killed_three_times(kind: Kind) {
    let mut scene = Scene::begin(with_log(kind)).await;
    for _ in 0..3 {
        scene.random_instant().await;
        scene.kill_grove().await;
        scene.start_grove().await;
        scene.goes_on().await;
    }
    scene.end().await;
}

#[tokio::test]
async fn grove_killed_three_times_under_load_loses_nothing_on_mariadb() {
    grove_is_killed_three_times(Kind::MariaDb).await;
}

#[tokio::test]
async fn grove_killed_three_times_under_load_loses_nothing_on_mysql() {
    grove_is_killed_three_times(Kind::MySql).await;
}

#[tokio::test]
async fn a_server_that_is_lost_while_grove_is_away_comes_back_later() {
    let options = with_log(Kind::MariaDb).configuration("timeouts:\n  no_backend_wait_ms: 5000\n");
    let mut scene = Scene::begin(options).await;
    scene.random_instant().await;
    scene.kill_grove().await;
    scene.cluster.server("db1").unwrap().kill().await;
    scene.start_grove().await;
    // While it waited for the one that is away it has brought the others to the log's end.
    let online = scene.cluster.online().await.unwrap();
    let online: Vec<&str> = online.iter().map(|server| server.name()).collect();
    assert_eq!(online, ["db2", "db3"]);
    scene.goes_on().await;
    scene.cluster.server("db1").unwrap().start().await.unwrap();
    scene.cluster.wait_until_online("db1", LIMIT).await.unwrap();
    scene.goes_on().await;
    scene.end().await;
}

#[tokio::test]
async fn two_of_three_servers_are_lost_at_once_and_no_client_loses_its_connection() {
    let scene = Scene::begin(with_log(Kind::MariaDb)).await;
    let lead = scene.cluster.lead().await.unwrap();
    let others = scene
        .cluster
        .servers()
        .iter()
        .filter(|other| other.name() != lead.name());
    let lost = [lead, others.last().unwrap()];
    tokio::join!(lost[0].kill(), lost[1].kill());
    for server in lost {
        scene.cluster.wait_for_eviction(server.name(), LIMIT).await.unwrap();
    }
    scene.goes_on().await;
    for server in lost {
        server.start().await.unwrap();
        scene.cluster.wait_until_online(server.name(), LIMIT).await.unwrap();
        scene.goes_on().await;
    }
    scene.end().await;
}
