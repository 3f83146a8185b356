//! What an operator or Grove has said of a server is not forgotten: not by a restart of Grove, and not because something else is said meanwhile.

use grove_testkit::equality::assert_servers_equal;
use grove_testkit::{Cluster, Kind};
use mysql_async::prelude::Queryable;
use serde_json::json;

use super::{LIMIT, options, wait_until_rebuilt};
use crate::stage::{PROXYD, run};

/// db2 holds another row than the others, and the group knows it.
async fn with_a_server_that_differs() -> Cluster {
    let cluster = Cluster::start_with(options(Kind::MariaDb), PROXYD).await.unwrap();
    let mut conn = cluster.client().await.unwrap();
    run(
        &mut conn,
        &[
            "CREATE TABLE t (id INT PRIMARY KEY, v INT)",
            "INSERT INTO t VALUES (1, 1), (2, 2)",
        ],
    )
    .await;
    let mut past_grove = cluster.look_at(1).await.unwrap();
    past_grove.query_drop("UPDATE app.t SET v = 7").await.unwrap();
    run(&mut conn, &["UPDATE t SET v = 7 WHERE id = 1"]).await;
    let reason = cluster.wait_for_state("db2", "diverged", LIMIT).await.unwrap();
    assert!(reason.contains("UPDATE t SET v = 7"), "{reason}");
    cluster
}

async fn refusal(cluster: &Cluster, command: &str) -> String {
    let answer = cluster.command("db2", command, &json!({})).await;
    answer.unwrap_err().to_string()
}

#[tokio::test]
async fn a_server_that_differs_takes_no_part_until_it_is_a_copy() {
    let mut cluster = with_a_server_that_differs().await;
    cluster.kill_grove().await.unwrap();
    cluster.start_grove().await.unwrap();
    let reason = cluster.wait_for_state("db2", "diverged", LIMIT).await.unwrap();
    assert!(reason.contains("UPDATE t SET v = 7"), "{reason}");
    assert!(refusal(&cluster, "enable").await.contains("rebuild it"));
    // Nobody can begin a copy onto a server that does not answer.
    cluster.server("db2").unwrap().pause();
    cluster.command("db2", "rebuild", &json!({})).await.unwrap();
    cluster.command("db2", "disable", &json!({})).await.unwrap();
    cluster.server("db2").unwrap().resume();
    let said = refusal(&cluster, "enable").await;
    assert!(
        said.contains("must be rebuilt") && said.contains("UPDATE t SET v = 7"),
        "{said}"
    );
    cluster.kill_grove().await.unwrap();
    cluster.start_grove().await.unwrap();
    let reason = cluster.wait_for_state("db2", "disabled", LIMIT).await.unwrap();
    assert!(reason.contains("it must be rebuilt"), "{reason}");
    assert!(refusal(&cluster, "enable").await.contains("must be rebuilt"));
    cluster.command("db2", "rebuild", &json!({})).await.unwrap();
    wait_until_rebuilt(&cluster, "db2").await;
    assert_servers_equal(&cluster).await;
    cluster.kill_grove().await.unwrap();
    cluster.start_grove().await.unwrap();
    cluster.wait_until_online("db2", LIMIT).await.unwrap();
}

#[tokio::test]
async fn a_rebuild_goes_on_after_a_restart_of_grove() {
    let mut cluster = with_a_server_that_differs().await;
    cluster.server("db2").unwrap().pause();
    cluster
        .command("db2", "rebuild", &json!({"from": "db3"}))
        .await
        .unwrap();
    cluster.kill_grove().await.unwrap();
    cluster.server("db2").unwrap().resume();
    cluster.start_grove().await.unwrap();
    wait_until_rebuilt(&cluster, "db2").await;
    assert_servers_equal(&cluster).await;
}

/// What an earlier copy has sent must not arrive later: its connections are ended first.
#[tokio::test]
async fn a_rebuild_begins_by_ending_what_grove_has_left_there() {
    let cluster = with_a_server_that_differs().await;
    let mut left = cluster.look_at(1).await.unwrap();
    let user: String = left
        .query_first("SELECT SUBSTRING_INDEX(USER(), '@', 1)")
        .await
        .unwrap()
        .unwrap();
    let file = std::fs::read_to_string(cluster.directory().join("grove.yaml")).unwrap();
    assert!(
        file.contains(&format!("user: {user}")),
        "{user} is not Grove's account: {file}"
    );
    let sleeps = left.query_drop("DO SLEEP(1000)");
    let rebuilt = async {
        cluster.command("db2", "rebuild", &json!({})).await.unwrap();
        wait_until_rebuilt(&cluster, "db2").await;
    };
    let (slept, ()) = tokio::join!(sleeps, rebuilt);
    slept.unwrap_err();
    assert_servers_equal(&cluster).await;
}
