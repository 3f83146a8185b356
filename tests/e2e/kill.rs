//! kill -9 and SIGSTOP of each server under the hunt's load: no client notices more than 1213 and 1205, the server comes back by itself when it runs
//! again, and all are equal.

use std::time::Duration;

use grove_testkit::equality::compare_online;
use grove_testkit::hunt::{Hunt, HuntOptions};
use grove_testkit::{Cluster, ClusterOptions, Kind, Random};

use crate::stage::PROXYD;

/// What happens to a server.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// kill -9: connections break.
    Killed,
    /// SIGSTOP: connections stay and nothing answers.
    Stopped,
}

/// A hung server is noticed by three probes of a second each, with pauses; a busy machine takes longer.
const EVICTION_LIMIT: Duration = Duration::from_secs(20);

/// Work goes on while the server executes what it has missed.
const RETURN_LIMIT: Duration = Duration::from_secs(150);

struct Scene {
    cluster: Cluster,
    hunt: Hunt,
    seed: u64,
}

impl Scene {
    async fn begin(kind: Kind) -> Self {
        let seed = Random::fresh_seed();
        eprintln!("seed {seed}");
        let cluster = Cluster::start_with(ClusterOptions::new(kind, 3).heavy(), PROXYD)
            .await
            .unwrap();
        let hunt = Hunt::start(cluster.grove_opts(), &HuntOptions::new(seed))
            .await
            .unwrap();
        let scene = Self { cluster, hunt, seed };
        scene.goes_on().await;
        scene
    }

    /// Commits happen, also after what came before.
    async fn goes_on(&self) {
        self.hunt.wait_for_commits(60, Duration::from_secs(60)).await.unwrap();
        self.hunt.run_for(Duration::from_secs(1)).await;
    }

    async fn inflict(&self, fault: Fault, name: &str) {
        let server = self.cluster.server(name).unwrap();
        match fault {
            Fault::Killed => server.kill().await,
            Fault::Stopped => server.pause(),
        }
        let reason = self.cluster.wait_for_eviction(name, EVICTION_LIMIT).await;
        let reason = reason.unwrap_or_else(|error| panic!("seed {}: {error:#}", self.seed));
        eprintln!("{name} is {fault:?} and was evicted: {reason}");
        assert!(
            !reason.is_empty(),
            "seed {}: no reason for the eviction of {name}",
            self.seed
        );
    }

    /// The server runs again, and Grove takes it back.
    async fn undo(&self, fault: Fault, name: &str) {
        let server = self.cluster.server(name).unwrap();
        match fault {
            Fault::Killed => server.start().await.unwrap(),
            Fault::Stopped => server.resume(),
        }
        let back = self.cluster.wait_until_online(name, RETURN_LIMIT).await;
        let took = back.unwrap_or_else(|error| panic!("seed {}: {error:#}", self.seed));
        eprintln!("{name} is back after {took:?}");
    }

    /// Ends the hunt; exactly these servers must be online, and equal.
    async fn end(self, survivors: &[&str]) {
        let report = self.hunt.finish().await;
        eprintln!("{report}");
        assert!(report.failure.is_none(), "{report}");
        let members = self.cluster.members().await.unwrap();
        let online: Vec<&str> = members
            .iter()
            .filter(|member| member.is_online())
            .map(|member| member.name.as_str())
            .collect();
        assert_eq!(online, survivors, "seed {}: {members:?}", self.seed);
        assert_eq!(
            members.iter().filter(|member| member.is_lead).count(),
            1,
            "seed {}: {members:?}",
            self.seed
        );
        report.assert_clean(&compare_online(&self.cluster).await.unwrap(), 120);
    }
}

const EVERYBODY: [&str; 3] = ["db1", "db2", "db3"];

async fn one_of_three(kind: Kind, fault: Fault, victim: &str) {
    let scene = Scene::begin(kind).await;
    scene.inflict(fault, victim).await;
    scene.goes_on().await;
    scene.undo(fault, victim).await;
    scene.goes_on().await;
    scene.end(&EVERYBODY).await;
}

async fn the_lead(kind: Kind, fault: Fault) {
    let scene = Scene::begin(kind).await;
    let victim = scene.cluster.lead().await.unwrap().name().to_owned();
    scene.inflict(fault, &victim).await;
    assert_ne!(
        scene.cluster.lead().await.unwrap().name(),
        victim,
        "seed {}",
        scene.seed
    );
    scene.goes_on().await;
    scene.undo(fault, &victim).await;
    scene.goes_on().await;
    scene.end(&EVERYBODY).await;
}

#[tokio::test]
async fn kill_of_db1_under_load() {
    one_of_three(Kind::MariaDb, Fault::Killed, "db1").await;
}

#[tokio::test]
async fn kill_of_db2_under_load() {
    one_of_three(Kind::MariaDb, Fault::Killed, "db2").await;
}

#[tokio::test]
async fn kill_of_db3_under_load() {
    one_of_three(Kind::MariaDb, Fault::Killed, "db3").await;
}

#[tokio::test]
async fn stop_of_db1_under_load() {
    one_of_three(Kind::MariaDb, Fault::Stopped, "db1").await;
}

#[tokio::test]
async fn stop_of_db2_under_load() {
    one_of_three(Kind::MariaDb, Fault::Stopped, "db2").await;
}

#[tokio::test]
async fn stop_of_db3_under_load() {
    one_of_three(Kind::MariaDb, Fault::Stopped, "db3").await;
}

#[tokio::test]
async fn kill_of_the_lead_under_load_on_mysql() {
    the_lead(Kind::MySql, Fault::Killed).await;
}

#[tokio::test]
async fn stop_of_the_lead_under_load_on_mysql() {
    the_lead(Kind::MySql, Fault::Stopped).await;
}

#[tokio::test]
async fn lead_after_lead_is_lost_and_the_last_server_is_never_evicted() {
    let scene = Scene::begin(Kind::MariaDb).await;
    let mut lost = Vec::new();
    for fault in [Fault::Killed, Fault::Stopped] {
        let lead = scene.cluster.lead().await.unwrap().name().to_owned();
        scene.inflict(fault, &lead).await;
        scene.goes_on().await;
        lost.push((fault, lead));
    }
    let last = scene.cluster.lead().await.unwrap().name().to_owned();
    // Longer than the probes take to give a server up, shorter than clients wait for one.
    let server = scene.cluster.server(&last).unwrap();
    server.pause();
    scene.hunt.run_for(Duration::from_secs(6)).await;
    server.resume();
    scene.goes_on().await;
    for (fault, name) in lost {
        scene.undo(fault, &name).await;
    }
    scene.goes_on().await;
    scene.end(&EVERYBODY).await;
}
