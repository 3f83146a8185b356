//! Logging in: what the greeting offers, wrong passwords, missing schemas, and too many clients.

use std::collections::HashSet;

use grove_testkit::raw_client::{EVERYDAY, Login, RawClient};
use grove_testkit::{Cluster, ClusterOptions, Kind};
use grove_wire::CapabilityFlags;

use crate::stage::{Notes, PROXYD, Place, Stage};

/// The message without the client's own address, which is not the same everywhere.
fn refusal(error: &anyhow::Error) -> String {
    let text = format!("{error:#}");
    match text.split_once("'@'") {
        Some((before, after)) => format!("{before}'@…{}", after.split_once('\'').map_or("", |(_, rest)| rest)),
        None => text,
    }
}

async fn refusals(place: Place) -> Notes {
    let mut notes = Notes::default();
    drop(place.client().await);
    let app = Login::app();
    let attempts = [
        ("right", app.clone()),
        (
            "wrong password",
            Login {
                password: "wrong".into(),
                ..app.clone()
            },
        ),
        (
            "no password",
            Login {
                password: String::new(),
                ..app.clone()
            },
        ),
        (
            "missing schema",
            Login {
                database: "missing".into(),
                ..app.clone()
            },
        ),
        (
            "no schema",
            Login {
                database: String::new(),
                ..app.clone()
            },
        ),
    ];
    for (title, login) in attempts {
        match RawClient::login(place.address, &login).await {
            Ok(mut client) => notes.packets(title, &client.query("SELECT DATABASE(), CURRENT_USER()").await.unwrap()),
            Err(error) => notes.note(title, refusal(&error)),
        }
    }
    notes
}

#[tokio::test]
async fn logins_are_refused_with_mariadbs_own_errors() {
    Stage::open(Kind::MariaDb).await.same_as_direct(refusals).await;
}

/// The full path of caching_sha2_password, which a wrong password leads to, is beyond the raw client.
async fn drivers_refusals(place: Place) {
    for (password, database) in [("wrong", "app"), ("", "app"), ("app", "missing")] {
        let opts = mysql_async::OptsBuilder::from_opts(place.opts())
            .pass(Some(password))
            .db_name(Some(database));
        let refused = mysql_async::Conn::new(opts).await.unwrap_err();
        let expected = if database == "missing" { 1049 } else { 1045 };
        assert_eq!(crate::stage::code(&refused), expected, "{refused}");
    }
}

/// What a client may need of the servers' capabilities.
const NEEDED: CapabilityFlags = CapabilityFlags(
    EVERYDAY.0
        | CapabilityFlags::DEPRECATE_EOF.0
        | CapabilityFlags::CONNECT_ATTRS.0
        | CapabilityFlags::PLUGIN_AUTH_LENENC_DATA.0,
);

async fn greeting(kind: Kind) {
    let cluster = Cluster::start(kind, 3, PROXYD).await.unwrap();
    let server = RawClient::connect(cluster.servers()[0].address())
        .await
        .unwrap()
        .greeting;
    let grove = RawClient::connect(cluster.grove_address()).await.unwrap().greeting;
    assert_eq!(grove.version, server.version);
    assert_eq!(grove.auth_plugin, server.auth_plugin);
    let beyond = grove.capabilities.0 & !(server.capabilities.0 | CapabilityFlags::SSL.0);
    assert_eq!(beyond, 0, "Grove offers {beyond:#x}, which its servers do not");
    let missing = NEEDED.0 & server.capabilities.0 & !grove.capabilities.0;
    assert_eq!(missing, 0, "Grove does not offer {missing:#x}");
    drivers_refusals(Place::of(&cluster)).await;
    let mut challenges = HashSet::new();
    for _ in 0..50 {
        let greeting = RawClient::connect(cluster.grove_address()).await.unwrap().greeting;
        assert!(
            !greeting.challenge.contains(&0),
            "a NUL in a challenge cuts it short for some clients"
        );
        assert!(challenges.insert(greeting.challenge), "a challenge came twice");
    }
}

#[tokio::test]
async fn the_greeting_is_a_mariadb_servers_with_a_fresh_challenge() {
    greeting(Kind::MariaDb).await;
}

#[tokio::test]
async fn the_greeting_is_a_mysql_servers_with_a_fresh_challenge() {
    greeting(Kind::MySql).await;
}

#[tokio::test]
async fn one_client_too_many_is_refused_and_the_others_go_on() {
    let options = ClusterOptions::new(Kind::MariaDb, 1).grove_listen("max_connections: 3");
    let cluster = Cluster::start_with(options, PROXYD).await.unwrap();
    let place = Place::of(&cluster);
    let mut kept = Vec::new();
    for _ in 0..3 {
        kept.push(RawClient::login(place.address, &Login::app()).await.unwrap());
    }
    let refused = RawClient::login(place.address, &Login::app()).await.unwrap_err();
    assert!(format!("{refused:#}").contains("ERROR 1040"), "{refused:#}");
    for client in &mut kept {
        client.query("SELECT 1").await.unwrap();
    }
    kept.pop();
    // The place becomes free when Grove has noticed the end of the connection.
    for attempt in 0.. {
        match RawClient::login(place.address, &Login::app()).await {
            Ok(_) => break,
            Err(error) => assert!(attempt < 100, "{error:#}"),
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}
