//! Operators' commands: servers are taken out, brought back and made anew from others while clients work.

mod compared;
mod copied;
mod first_start;
mod full_log;
mod remembered;
mod renamed;

use std::time::Duration;

use grove_testkit::bank::{Bank, BankOptions};
use grove_testkit::equality::{Subject, assert_servers_equal};
use grove_testkit::{Cluster, ClusterOptions, Kind, Random, Weight};
use mysql_async::prelude::Queryable;
use serde_json::json;

use crate::stage::{PROXYD, assert_all_online, run};

/// A busy machine takes its time.
const LIMIT: Duration = Duration::from_secs(90);

fn options(kind: Kind) -> ClusterOptions {
    let mut options = ClusterOptions::new(kind, 3).configuration("recovery_log:\n  directory: recovery-log\n");
    options.weight = Weight::Heavy;
    options
}

async fn open_bank(cluster: &Cluster) -> Bank {
    let seed = Random::fresh_seed();
    eprintln!("seed {seed}");
    let bank = Bank::open(cluster.grove_opts(), &BankOptions::new(seed)).await.unwrap();
    bank.wait_for_commits(40, LIMIT).await.unwrap();
    bank
}

/// Every server is there, and holds what the bank's clients know.
async fn close_bank(cluster: &Cluster, bank: Bank) {
    bank.wait_for_commits(40, LIMIT).await.unwrap();
    let servers: Vec<Subject> = cluster.servers().iter().map(Subject::of).collect();
    let progress = bank.finish(&servers).await;
    eprintln!("{progress}");
    progress.assert_clean(80);
    assert_all_online(cluster).await;
    assert_servers_equal(cluster).await;
}

/// Makes a server hold something else, past Grove, while it is out.
async fn spoil(cluster: &Cluster, place: usize) {
    let mut conn = cluster.look_at(place).await.unwrap();
    let user = "'stranger'@'%'";
    let sql = [
        "DROP DATABASE _grove".to_owned(),
        "DROP DATABASE app".to_owned(),
        "CREATE DATABASE leftover".to_owned(),
        "CREATE TABLE leftover.t (a INT)".to_owned(),
        format!("CREATE USER {user} IDENTIFIED BY 'x'"),
        format!("GRANT SELECT ON leftover.* TO {user}"),
    ];
    for statement in sql {
        conn.query_drop(statement).await.unwrap();
    }
}

/// Waits until a rebuild has ended well.
async fn wait_until_rebuilt(cluster: &Cluster, name: &str) {
    let begun = tokio::time::Instant::now();
    loop {
        let members = cluster.members().await.unwrap();
        let member = members.iter().find(|member| member.name == name).unwrap();
        if member.is_online() {
            eprintln!("rebuilt in {:?}", begun.elapsed());
            return;
        }
        assert!(member.state != "diverged" && begun.elapsed() < LIMIT, "{member:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn every_server_in_turn_is_disabled_and_enabled_and_no_client_notices() {
    let cluster = Cluster::start_with(options(Kind::MariaDb), PROXYD).await.unwrap();
    let bank = open_bank(&cluster).await;
    let mut reader = cluster.client().await.unwrap();
    for server in cluster.servers() {
        let name = server.name();
        // A result that is under way on a server is sent to its end.
        let long = async {
            let sql = "SELECT REPEAT('x', 500), SLEEP(IF(seq % 400 = 0, 0.1, 0)) FROM seq_1_to_6000";
            let rows: Vec<(String, u32)> = reader.query(sql).await.unwrap();
            assert_eq!(rows.len(), 6000);
        };
        let leave = async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            let answer = cluster.command(name, "disable", &json!({"reason": "new disks"})).await;
            assert!(answer.unwrap().contains("leaves the group"));
            let reason = cluster.wait_for_state(name, "disabled", LIMIT).await.unwrap();
            assert_eq!(reason, "disabled by an operator: new disks");
        };
        tokio::join!(long, leave);
        bank.wait_for_commits(40, LIMIT).await.unwrap();
        cluster.command(name, "enable", &json!({})).await.unwrap();
        cluster.wait_until_online(name, LIMIT).await.unwrap();
    }
    close_bank(&cluster, bank).await;
}

#[tokio::test]
async fn a_disabled_server_stays_out_over_a_restart_of_grove() {
    let mut cluster = Cluster::start_with(options(Kind::MariaDb), PROXYD).await.unwrap();
    let mut conn = cluster.client().await.unwrap();
    run(&mut conn, &["CREATE TABLE t (a INT PRIMARY KEY)"]).await;
    cluster
        .command("db1", "disable", &json!({"reason": "new disks"}))
        .await
        .unwrap();
    cluster.wait_for_state("db1", "disabled", LIMIT).await.unwrap();
    run(&mut conn, &["INSERT INTO t VALUES (1)"]).await;
    cluster.kill_grove().await.unwrap();
    cluster.start_grove().await.unwrap();
    let reason = cluster.wait_for_state("db1", "disabled", LIMIT).await.unwrap();
    assert_eq!(reason, "disabled by an operator: new disks");
    let mut conn = cluster.client().await.unwrap();
    run(&mut conn, &["INSERT INTO t VALUES (2)"]).await;
    cluster.command("db1", "enable", &json!({})).await.unwrap();
    cluster.wait_until_online("db1", LIMIT).await.unwrap();
    assert_servers_equal(&cluster).await;
}

#[tokio::test]
async fn commands_that_cannot_be_carried_out_say_why() {
    let cluster = Cluster::start_with(options(Kind::MariaDb), PROXYD).await.unwrap();
    let refused = async |server, command, body| {
        let answer = cluster.command(server, command, &body).await;
        answer.unwrap_err().to_string()
    };
    assert!(
        refused("db9", "enable", json!({}))
            .await
            .contains("there are db1, db2, db3")
    );
    assert!(refused("db1", "enable", json!({})).await.contains("online already"));
    assert!(refused("db1", "rebuild", json!({})).await.contains("disable it first"));
    for name in ["db3", "db2"] {
        cluster.command(name, "disable", &json!({})).await.unwrap();
        cluster.wait_for_state(name, "disabled", LIMIT).await.unwrap();
    }
    assert!(
        refused("db1", "disable", json!({}))
            .await
            .contains("the only server that is online")
    );
    assert!(refused("db2", "disable", json!({})).await.contains("disabled already"));
    assert!(
        refused("db2", "rebuild", json!({"from": "db3"}))
            .await
            .contains("db3 is not online")
    );
    assert!(
        refused("db2", "rebuild", json!({"from": "db2"}))
            .await
            .contains("cannot be a copy of itself")
    );
    cluster.command("db2", "enable", &json!({})).await.unwrap();
    cluster.wait_until_online("db2", LIMIT).await.unwrap();
}

async fn a_spoilt_server_is_rebuilt(kind: Kind) {
    let cluster = Cluster::start_with(options(kind), PROXYD).await.unwrap();
    let bank = open_bank(&cluster).await;
    cluster.command("db3", "disable", &json!({})).await.unwrap();
    cluster.wait_for_state("db3", "disabled", LIMIT).await.unwrap();
    spoil(&cluster, 2).await;
    bank.wait_for_commits(40, LIMIT).await.unwrap();
    cluster.command("db3", "rebuild", &json!({})).await.unwrap();
    wait_until_rebuilt(&cluster, "db3").await;
    close_bank(&cluster, bank).await;
}

#[tokio::test]
async fn a_spoilt_server_is_rebuilt_under_load_on_mariadb() {
    a_spoilt_server_is_rebuilt(Kind::MariaDb).await;
}

#[tokio::test]
async fn a_spoilt_server_is_rebuilt_under_load_on_mysql() {
    a_spoilt_server_is_rebuilt(Kind::MySql).await;
}

/// The donor, the target and Grove are killed while the copy is under way: it begins again, and nothing that is there by half is believed.
#[tokio::test]
async fn a_rebuild_survives_the_loss_of_its_donor_and_of_its_target() {
    let cluster = Cluster::start_with(options(Kind::MariaDb), PROXYD).await.unwrap();
    let mut conn = cluster.client().await.unwrap();
    run(
        &mut conn,
        &[
            "CREATE TABLE bulk (id INT PRIMARY KEY, filler VARCHAR(200) NOT NULL)",
            "INSERT INTO bulk SELECT seq, REPEAT(CHAR(65 + seq % 26), 200) FROM seq_1_to_150000",
        ],
    )
    .await;
    let bank = open_bank(&cluster).await;
    cluster.command("db3", "disable", &json!({})).await.unwrap();
    cluster.wait_for_state("db3", "disabled", LIMIT).await.unwrap();
    spoil(&cluster, 2).await;
    cluster
        .command("db3", "rebuild", &json!({"from": "db2"}))
        .await
        .unwrap();
    let copies = async || {
        loop {
            let reason = cluster.wait_for_state("db3", "rebuilding", LIMIT).await.unwrap();
            if reason.contains("rows") {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    copies().await;
    let target = cluster.server("db3").unwrap();
    target.kill().await;
    bank.wait_for_commits(20, LIMIT).await.unwrap();
    target.start().await.unwrap();
    copies().await;
    let donor = cluster.server("db2").unwrap();
    donor.kill().await;
    cluster.wait_for_eviction("db2", LIMIT).await.unwrap();
    bank.wait_for_commits(20, LIMIT).await.unwrap();
    donor.start().await.unwrap();
    cluster.wait_until_online("db2", LIMIT).await.unwrap();
    wait_until_rebuilt(&cluster, "db3").await;
    close_bank(&cluster, bank).await;
}
