//! Commands besides queries: COM_PING, COM_INIT_DB, COM_RESET_CONNECTION, COM_CHANGE_USER, KILL, and unknown ones.

use std::time::{Duration, Instant};

use grove_testkit::raw_client::{EVERYDAY, error_of};
use grove_testkit::{Cluster, Kind, accounts};
use grove_wire::command::{COM_INIT_DB, COM_PING, COM_QUIT, COM_RESET_CONNECTION};
use mysql_async::prelude::Queryable;
use mysql_async::{ChangeUserOpts, Conn};

use crate::stage::{Notes, PROXYD, Place, Stage, assert_all_online, code, failing, one, run};

async fn small_commands(place: Place) -> Notes {
    let mut notes = Notes::default();
    let mut client = place.raw(EVERYDAY).await;
    notes.packets("ping", &client.command(&[COM_PING]).await.unwrap());
    for schema in ["missing", "app", "mysql", "app"] {
        let command = [&[COM_INIT_DB], schema.as_bytes()].concat();
        notes.packets(schema, &client.command(&command).await.unwrap());
        notes.packets("schema", &client.query("SELECT DATABASE()").await.unwrap());
    }
    for unknown in [
        0x05, 0x06, 0x0B, 0x0F, 0x10, 0x13, 0x14, 0x1D, 0x50, 0x7F, 0xFB, 0xFC, 0xFD, 0xFE,
    ] {
        notes.packets("unknown command", &client.command(&[unknown, 1, 2]).await.unwrap());
    }
    if place.kind == Kind::MySql {
        // MariaDB has not given these up.
        for unknown in [0x07, 0x0A, 0xFA] {
            notes.packets("unknown command", &client.command(&[unknown, 1, 2]).await.unwrap());
        }
    }
    notes.packets("ping in a transaction", &{
        client.query("BEGIN").await.unwrap();
        client.query("CREATE TABLE IF NOT EXISTS pinged (a INT)").await.unwrap();
        client.query("BEGIN").await.unwrap();
        client.query("INSERT INTO pinged VALUES (1)").await.unwrap();
        client.command(&[COM_PING]).await.unwrap()
    });
    client.send(&[COM_QUIT]).await.unwrap();
    notes.note(
        "closed after COM_QUIT",
        client.is_closed_within(Duration::from_secs(5)).await,
    );
    notes.note(
        "rolled back",
        one(&mut place.client().await, "SELECT COUNT(*) FROM pinged").await,
    );
    notes
}

/// COMMIT RELEASE and ROLLBACK RELEASE end the connection.
async fn released(place: Place) -> Notes {
    let mut notes = Notes::default();
    for (end, title) in [("COMMIT RELEASE", "committed"), ("ROLLBACK RELEASE", "rolled back")] {
        let mut client = place.raw(EVERYDAY).await;
        for sql in [
            "CREATE TABLE IF NOT EXISTS released (a INT)",
            "BEGIN",
            "INSERT INTO released VALUES (1)",
            end,
        ] {
            notes.packets(sql, &client.query(sql).await.unwrap());
        }
        notes.note("closed", client.is_closed_within(Duration::from_secs(5)).await);
        let rows = one(&mut place.client().await, "SELECT COUNT(*) FROM released").await;
        notes.note(title, rows);
    }
    notes
}

const DIRTY: &[&str] = &[
    "CREATE TABLE IF NOT EXISTS kept (a INT)",
    "SET @a = 1, sql_mode = 'ANSI_QUOTES', NAMES latin1",
    "CREATE TEMPORARY TABLE temporary (a INT)",
    "PREPARE p FROM 'SELECT 1'",
    "SET autocommit = 0",
    "SET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE",
    "INSERT INTO kept VALUES (1)",
];

const QUESTIONS: &[&str] = &[
    "SELECT @a, @@sql_mode, @@character_set_client, @@autocommit, DATABASE()",
    "SELECT \"text\"",
    "SELECT * FROM temporary",
    "EXECUTE p",
    "SELECT COUNT(*) FROM app.kept",
    "SHOW VARIABLES LIKE 't%_isolation'",
];

async fn ask_all(notes: &mut Notes, client: &mut grove_testkit::RawClient) {
    for question in QUESTIONS {
        notes.packets(question, &client.query(question).await.unwrap());
    }
}

async fn reset_forgets(place: Place) -> Notes {
    let mut notes = Notes::default();
    let mut client = place.raw(EVERYDAY).await;
    for round in 0..2 {
        for sql in DIRTY {
            notes.packets(sql, &client.query(sql).await.unwrap());
        }
        let (id, packets) = client.prepare("SELECT 1").await.unwrap();
        assert!(id > 0, "round {round}: {packets:?}");
        notes.packets("reset", &client.command(&[COM_RESET_CONNECTION]).await.unwrap());
        ask_all(&mut notes, &mut client).await;
        let execute = [&[0x17][..], &id.to_le_bytes(), &[0, 1, 0, 0, 0]].concat();
        let answer = client.command(&execute).await.unwrap();
        // The message names the id, which is Grove's own.
        notes.note(
            "a statement from before",
            answer
                .last()
                .and_then(|packet| error_of(packet))
                .map(|error| error.code),
        );
    }
    notes
}

fn app_again(password: &str, database: Option<&str>) -> ChangeUserOpts {
    ChangeUserOpts::default()
        .with_user(Some(accounts::APP_USER.to_owned()))
        .with_pass(Some(password.to_owned()))
        .with_db_name(database.map(str::to_owned))
}

async fn change_user(place: Place) -> Notes {
    let mut notes = Notes::default();
    let mut conn = place.client().await;
    run(&mut conn, DIRTY).await;
    conn.change_user(app_again(accounts::APP_PASSWORD, Some("mysql")))
        .await
        .unwrap();
    for question in QUESTIONS {
        notes.query(&mut conn, question).await;
    }
    conn.change_user(app_again(accounts::APP_PASSWORD, None)).await.unwrap();
    notes.query(&mut conn, "SELECT DATABASE()").await;

    let refused = conn.change_user(app_again("wrong", None)).await.unwrap_err();
    notes.note("wrong password", code(&refused));
    notes.note("usable after that", conn.query_drop("SELECT 1").await.is_ok());
    let mut conn = place.client().await;
    let refused = conn.change_user(app_again("", None)).await.unwrap_err();
    notes.note("no password", code(&refused));
    let mut conn = place.client().await;
    let refused = conn
        .change_user(app_again(accounts::APP_PASSWORD, Some("missing")))
        .await
        .unwrap_err();
    notes.note("missing schema", code(&refused));
    notes
}

async fn small_commands_reset_and_change_user(kind: Kind) {
    let stage = Stage::open(kind).await;
    stage.same_as_direct(small_commands).await;
    stage.same_as_direct(released).await;
    stage.same_as_direct(reset_forgets).await;
    stage.same_as_direct(change_user).await;
}

#[tokio::test]
async fn commands_are_answered_as_mariadb_does() {
    small_commands_reset_and_change_user(Kind::MariaDb).await;
}

#[tokio::test]
async fn commands_are_answered_as_mysql_does() {
    small_commands_reset_and_change_user(Kind::MySql).await;
}

/// Waits until a statement of that session is seen to run.
async fn runs_something(place: Place, looker: &Cluster, text: &str) {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        for index in 0..looker.servers().len() {
            let mut conn = looker.look_at(index).await.unwrap();
            let sql = format!(
                "SELECT COUNT(*) FROM information_schema.processlist WHERE info LIKE '{text}%' AND id <> CONNECTION_ID()"
            );
            let count = one(&mut conn, &sql).await;
            conn.disconnect().await.unwrap();
            if count != "0" {
                return;
            }
        }
        assert!(Instant::now() < deadline, "{text} is not seen behind {place:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn kill_by_groves_ids(kind: Kind) {
    let cluster = Cluster::start(kind, 3, PROXYD).await.unwrap();
    let place = Place::of(&cluster);
    let mut killer = place.client().await;
    run(
        &mut killer,
        &[
            "CREATE TABLE t (id INT PRIMARY KEY, v INT)",
            "INSERT INTO t VALUES (1, 1)",
        ],
    )
    .await;

    // A session's id is the one in its greeting.
    let mut victim = place.client().await;
    let id = victim.id();
    assert_eq!(one(&mut victim, "SELECT CONNECTION_ID()").await, id.to_string());

    // KILL QUERY interrupts a read, and the session goes on.
    let sleeping = tokio::spawn(async move {
        let begun = Instant::now();
        let slept = victim.query_first::<u8, _>("SELECT SLEEP(20) FROM t").await;
        (victim, slept, begun.elapsed())
    });
    runs_something(place, &cluster, "SELECT SLEEP").await;
    run(&mut killer, &[&format!("KILL QUERY {id}")]).await;
    let (mut victim, slept, took) = sleeping.await.unwrap();
    assert!(took < Duration::from_secs(15), "interrupted after {took:?}");
    match slept {
        Ok(value) => assert_eq!(value, Some(1), "an interrupted SLEEP answers 1"),
        Err(error) => assert_eq!(code(&error), 1317),
    }
    run(&mut victim, &["UPDATE t SET v = v + 1"]).await;

    // KILL QUERY interrupts a write that waits for a lock; its transaction stays.
    run(&mut killer, &["BEGIN", "UPDATE t SET v = 10 WHERE id = 1"]).await;
    run(&mut victim, &["BEGIN", "INSERT INTO t VALUES (2, 2)"]).await;
    let waiting = tokio::spawn(async move {
        let interrupted = failing(&mut victim, "UPDATE t SET v = 20 WHERE id = 1").await;
        (victim, interrupted)
    });
    runs_something(place, &cluster, "UPDATE t SET v = 20").await;
    let mut third = place.client().await;
    run(&mut third, &[&format!("KILL QUERY {id}")]).await;
    let (mut victim, interrupted) = waiting.await.unwrap();
    assert_eq!(interrupted, 1317);
    run(&mut killer, &["COMMIT"]).await;
    run(&mut victim, &["COMMIT"]).await;
    assert_eq!(
        one(&mut killer, "SELECT GROUP_CONCAT(id, '=', v ORDER BY id) FROM t").await,
        "1=10,2=2"
    );

    // KILL ends a session in the middle of a transaction.
    run(&mut victim, &["BEGIN", "DELETE FROM t"]).await;
    run(&mut third, &[&format!("KILL {id}")]).await;
    assert!(victim.query_drop("SELECT 1").await.is_err());
    run(&mut killer, &["UPDATE t SET v = v + 1"]).await;
    assert_eq!(failing(&mut killer, &format!("KILL {id}")).await, 1094);
    assert_eq!(one(&mut killer, "SELECT COUNT(*) FROM t").await, "2");

    // A session may end itself.
    let mut itself = place.client().await;
    let own = itself.id();
    let ended: Result<(), _> = itself.query_drop(format!("KILL CONNECTION {own}")).await;
    assert!(ended.is_err() || itself.query_drop("SELECT 1").await.is_err());
    assert_all_online(&cluster).await;
    grove_testkit::equality::assert_servers_equal(&cluster).await;
}

#[tokio::test]
async fn kill_takes_groves_ids_on_mariadb() {
    kill_by_groves_ids(Kind::MariaDb).await;
}

#[tokio::test]
async fn kill_takes_groves_ids_on_mysql() {
    kill_by_groves_ids(Kind::MySql).await;
}

#[tokio::test]
async fn a_client_that_vanishes_leaves_no_transaction_and_no_lock() {
    let cluster = Cluster::start(Kind::MariaDb, 3, PROXYD).await.unwrap();
    let place = Place::of(&cluster);
    let mut conn = place.client().await;
    run(
        &mut conn,
        &[
            "CREATE TABLE t (id INT PRIMARY KEY, v INT)",
            "INSERT INTO t VALUES (1, 1)",
        ],
    )
    .await;
    for rude in 0..5 {
        let mut client = place.raw(EVERYDAY).await;
        client.query("BEGIN").await.unwrap();
        client.query("UPDATE t SET v = v + 100").await.unwrap();
        if rude % 2 == 0 {
            // Half a command, then nothing.
            client.send_bytes(&[200, 0, 0, 0, 3, b'S']).await.unwrap();
        }
        drop(client);
        run(
            &mut conn,
            &["SET innodb_lock_wait_timeout = 5", "UPDATE t SET v = v + 1"],
        )
        .await;
    }
    assert_eq!(one(&mut conn, "SELECT v FROM t").await, "6");
    let _: Conn = conn;
    assert_all_online(&cluster).await;
    grove_testkit::equality::assert_servers_equal(&cluster).await;
}
