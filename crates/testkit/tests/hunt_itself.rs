//! The hunt against one real server without Grove: it must find nothing there, and it must find a difference where there is one.

#![allow(clippy::unwrap_used, reason = "a test fails where it stands")]

use std::time::Duration;

use grove_testkit::equality::{Subject, compare};
use grove_testkit::hunt::{Hunt, HuntOptions};
use grove_testkit::{Kind, Random, Sandbox, SandboxOptions, TestDirectory, accounts, options_of};

async fn hunts(kind: Kind) {
    let directory = TestDirectory::create().unwrap();
    let sandbox = Sandbox::start(SandboxOptions::new(kind, 2, directory.path()))
        .await
        .unwrap();
    let subject = |index: usize| Subject {
        name: sandbox.servers[index].name().to_owned(),
        opts: options_of(
            sandbox.servers[index].address(),
            accounts::SUPERUSER,
            accounts::SUPERUSER_PASSWORD,
        ),
    };
    let options = HuntOptions::new(Random::fresh_seed());
    let hunt = Hunt::start(subject(0).opts, &options).await.unwrap();
    hunt.run_for(Duration::from_secs(5)).await;
    let report = hunt.finish().await;
    eprintln!("{report}");
    report.assert_clean(&compare(&[subject(0)]).await.unwrap(), 100);

    // The other server has none of it.
    let both = [subject(0), subject(1)];
    let missing = compare(&both).await.unwrap();
    assert!(
        missing.differences.iter().any(|line| line.contains("missing")),
        "{missing:?}"
    );

    // The same tables, but one row differs.
    for one in &both {
        let mut conn = mysql_async::Conn::new(one.opts.clone()).await.unwrap();
        let is_first = one.name == both[0].name;
        for sql in [
            "DROP DATABASE IF EXISTS hunt",
            "CREATE DATABASE pair",
            "CREATE TABLE pair.t (id INT PRIMARY KEY, v DOUBLE)",
            if is_first {
                "INSERT INTO pair.t VALUES (1, 0.1), (2, 2)"
            } else {
                "INSERT INTO pair.t VALUES (1, 0.1), (2, 3)"
            },
        ] {
            mysql_async::prelude::Queryable::query_drop(&mut conn, sql)
                .await
                .unwrap();
        }
        conn.disconnect().await.unwrap();
    }
    let unequal = compare(&both).await.unwrap().differences;
    assert!(
        unequal.len() == 1 && unequal[0].contains("first: (2, 2) | (2, 3)"),
        "{unequal:?}"
    );
}

#[tokio::test]
async fn the_hunt_finds_nothing_wrong_with_a_mariadb_server_but_sees_a_difference() {
    hunts(Kind::MariaDb).await;
}

#[tokio::test]
async fn the_hunt_finds_nothing_wrong_with_a_mysql_server_but_sees_a_difference() {
    hunts(Kind::MySql).await;
}
