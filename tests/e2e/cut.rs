//! Cut networks: a server that goes on running and cannot be reached. What was sent into the cut arrives when it is healed, when Grove has given the
//! server up long ago: it must not take effect any more. No client sees an error, and the server comes back by itself.

use std::time::Duration;

use grove_testkit::bank::{Bank, BankOptions};
use grove_testkit::equality::{Subject, assert_servers_equal};
use grove_testkit::{Cluster, ClusterOptions, Kind, Random, Weight};

use crate::stage::{PROXYD, assert_all_online};

/// A busy machine takes its time.
const LIMIT: Duration = Duration::from_secs(90);

/// Which server is cut off.
#[derive(Clone, Copy, Debug)]
enum Part {
    Lead,
    Follower,
}

async fn cut_off(cluster: &Cluster, bank: &Bank, part: Part, random: &mut Random) {
    let lead = cluster.lead().await.unwrap().name();
    let name = match part {
        Part::Lead => lead,
        Part::Follower => {
            let others = cluster.servers().iter().map(grove_testkit::Server::name);
            let others: Vec<&str> = others.filter(|&name| name != lead).collect();
            *random.pick(&others)
        }
    };
    bank.run_for(Duration::from_millis(random.between(0, 700))).await;
    let network = cluster.network(name).unwrap();
    network.cut();
    cluster.wait_for_eviction(name, LIMIT).await.unwrap();
    bank.wait_for_commits(60, LIMIT).await.unwrap();
    network.heal();
    cluster.wait_until_online(name, LIMIT).await.unwrap();
    bank.wait_for_commits(60, LIMIT).await.unwrap();
}

async fn cuts(kind: Kind, parts: &[Part]) {
    let seed = Random::fresh_seed();
    eprintln!("seed {seed}");
    let mut random = Random::new(seed);
    let mut options = ClusterOptions::new(kind, 3).behind_networks();
    options.weight = Weight::Heavy;
    let cluster = Cluster::start_with(options, PROXYD).await.unwrap();
    let bank = Bank::open(cluster.grove_opts(), &BankOptions::new(seed)).await.unwrap();
    bank.wait_for_commits(60, LIMIT).await.unwrap();
    for &part in parts {
        cut_off(&cluster, &bank, part, &mut random).await;
    }
    let servers: Vec<Subject> = cluster.servers().iter().map(Subject::of).collect();
    let progress = bank.finish(&servers).await;
    eprintln!("{progress}");
    progress.assert_clean(240);
    assert_all_online(&cluster).await;
    assert_servers_equal(&cluster).await;
}

#[tokio::test]
async fn a_mariadb_server_that_is_cut_off_comes_back_and_no_client_notices() {
    cuts(Kind::MariaDb, &[Part::Lead, Part::Follower, Part::Lead]).await;
}

#[tokio::test]
async fn a_mysql_server_that_is_cut_off_comes_back_and_no_client_notices() {
    cuts(Kind::MySql, &[Part::Lead, Part::Follower]).await;
}
