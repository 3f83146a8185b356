//! The divergence hunt without faults; `make hunt` runs the same for minutes.

use std::time::Duration;

use grove_testkit::equality::compare_online;
use grove_testkit::hunt::{Hunt, HuntOptions};
use grove_testkit::{Cluster, ClusterOptions, Kind, Random};

use crate::stage::{PROXYD, assert_all_online};

async fn hunt(kind: Kind, time: Duration, least_commits: u64) {
    let seed = Random::fresh_seed();
    eprintln!("seed {seed}");
    let cluster = Cluster::start_with(ClusterOptions::new(kind, 3).heavy(), PROXYD)
        .await
        .unwrap();
    let hunt = Hunt::start(cluster.grove_opts(), &HuntOptions::new(seed))
        .await
        .unwrap();
    hunt.run_for(time).await;
    let report = hunt.finish().await;
    eprintln!("{report}");
    report.assert_clean(&compare_online(&cluster).await.unwrap(), least_commits);
    // Deadlocks are the price of conflicts, on a single server too; more of them than commits would be Grove's doing.
    assert!(report.deadlocks < report.commits, "{report}");
    assert_all_online(&cluster).await;
}

#[tokio::test]
async fn no_mariadb_server_diverges_under_random_conflicts() {
    hunt(Kind::MariaDb, Duration::from_secs(30), 500).await;
}

#[tokio::test]
async fn no_mysql_server_diverges_under_random_conflicts() {
    hunt(Kind::MySql, Duration::from_secs(15), 200).await;
}
