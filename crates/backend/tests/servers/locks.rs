//! Who blocks whom.

use crate::lab::{DB, Lab, MODERN, OLD, connect, identity, query, run};
use grove_backend::{MysqlLeg, MysqlServers};
use grove_engine::io::{Discard, Leg, Servers};
use grove_testkit::Kind;
use grove_wire::ReplyShape;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// Asks until there is an answer, as the engine does.
async fn blockers(servers: &MysqlServers, waiter: &MysqlLeg) -> Vec<u32> {
    for _ in 0..40 {
        let blockers = servers.blockers(DB, waiter.thread_id()).await.unwrap();
        if !blockers.is_empty() {
            return blockers;
        }
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    Vec::new()
}

async fn row_locks(kind: Kind) {
    let lab = Lab::start(kind).await;
    let servers = lab.servers();
    let mut holder = connect(&servers, &identity(MODERN)).await.unwrap();
    let mut reader = connect(&servers, &identity(MODERN)).await.unwrap();
    let mut waiter = connect(&servers, &identity(OLD)).await.unwrap();
    run(&mut holder, "CREATE TABLE t (id INT PRIMARY KEY, n INT)").await;
    run(&mut holder, "INSERT INTO t VALUES (1, 0), (2, 0)").await;
    assert_eq!(
        servers.blockers(DB, waiter.thread_id()).await.unwrap(),
        Vec::<u32>::new()
    );
    run(&mut holder, "BEGIN").await;
    run(&mut holder, "UPDATE t SET n = 1 WHERE id = 1").await;
    run(&mut reader, "BEGIN").await;
    run(&mut reader, "SELECT * FROM t WHERE id = 2 FOR UPDATE").await;

    waiter
        .send(&[query("BEGIN"), query("UPDATE t SET n = 2 WHERE id = 1")])
        .await
        .unwrap();
    assert_eq!(blockers(&servers, &waiter).await, [holder.thread_id()]);
    assert_eq!(
        servers.blockers(DB, holder.thread_id()).await.unwrap(),
        Vec::<u32>::new()
    );
    run(&mut holder, "ROLLBACK").await;
    for _ in 0..2 {
        waiter.receive(ReplyShape::Query, &mut Discard).await.unwrap();
    }
    // A holder that has written nothing.
    waiter.send(&[query("UPDATE t SET n = 2 WHERE id = 2")]).await.unwrap();
    assert_eq!(blockers(&servers, &waiter).await, [reader.thread_id()]);

    // Many who ask at the same time share answers and are not told an old one.
    let (servers, id) = (Arc::new(servers), waiter.thread_id());
    let mut asking = JoinSet::new();
    for _ in 0..100 {
        let servers = Arc::clone(&servers);
        asking.spawn(async move { servers.blockers(DB, id).await.unwrap() });
    }
    let began = Instant::now();
    for blockers in asking.join_all().await {
        assert_eq!(blockers, [reader.thread_id()]);
    }
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    run(&mut reader, "COMMIT").await;
    waiter.receive(ReplyShape::Query, &mut Discard).await.unwrap();
    assert_eq!(
        servers.blockers(DB, waiter.thread_id()).await.unwrap(),
        Vec::<u32>::new()
    );
}

/// What servers have by default, and servers of tests have not.
const DEFAULT_INSTRUMENTS: [&str; 3] = [
    "--performance-schema-instrument=wait/lock/metadata/sql/mdl=ON",
    "--performance-schema-instrument=thread/sql/one_connection=ON",
    "--performance-schema-consumer-global-instrumentation=ON",
];

#[tokio::test]
async fn mariadb_row_locks_have_a_name() {
    row_locks(Kind::MariaDb).await;
}

#[tokio::test]
async fn mysql_row_locks_have_a_name() {
    row_locks(Kind::MySql).await;
}

/// MySQL cannot show INNODB_TRX while a text runs that is not valid in its character set.
#[tokio::test]
async fn mysql_row_locks_have_a_name_whatever_text_runs() {
    let lab = Lab::with_options(Kind::MySql, &DEFAULT_INSTRUMENTS).await;
    let servers = lab.servers();
    let mut holder = lab.leg().await;
    let mut waiter = lab.leg().await;
    run(&mut holder, "CREATE TABLE t (id INT PRIMARY KEY, b VARBINARY(9))").await;
    run(&mut holder, "INSERT INTO t VALUES (1, '')").await;
    run(&mut holder, "BEGIN").await;
    run(&mut holder, "UPDATE t SET b = 'x' WHERE id = 1").await;
    let update = b"\x03UPDATE t SET b = _binary'\xFF01234' WHERE id = 1";
    waiter.send(&[bytes::Bytes::from_static(update)]).await.unwrap();
    assert_eq!(blockers(&servers, &waiter).await, [holder.thread_id()]);
    run(&mut holder, "ROLLBACK").await;
    let reply = waiter.receive(ReplyShape::Query, &mut Discard).await.unwrap();
    assert_eq!(reply.reply.err(), None);
}

#[tokio::test]
async fn mysql_metadata_locks_have_a_name() {
    let lab = Lab::with_options(Kind::MySql, &DEFAULT_INSTRUMENTS).await;
    let servers = lab.servers();
    let mut holder = lab.leg().await;
    let mut bystander = lab.leg().await;
    let mut waiter = lab.leg().await;
    run(&mut holder, "CREATE TABLE t (id INT PRIMARY KEY)").await;
    run(&mut holder, "CREATE TABLE u (id INT PRIMARY KEY)").await;
    run(&mut holder, "BEGIN").await;
    run(&mut holder, "SELECT * FROM t").await;
    run(&mut bystander, "BEGIN").await;
    run(&mut bystander, "SELECT * FROM u").await;
    waiter.send(&[query("ALTER TABLE t ADD COLUMN n INT")]).await.unwrap();
    assert_eq!(blockers(&servers, &waiter).await, [holder.thread_id()]);
    run(&mut holder, "COMMIT").await;
    assert!(
        waiter
            .receive(ReplyShape::Query, &mut Discard)
            .await
            .unwrap()
            .reply
            .err()
            .is_none()
    );
}
