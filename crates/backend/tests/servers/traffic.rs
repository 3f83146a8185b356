//! Commands and replies: pipelines, prepared statements, large things in both directions, connections that end.

use crate::lab::{Count, Lab, MODERN, OLD, connect, identity, query, run, try_run, value};
use bytes::{BufMut, Bytes, BytesMut};
use grove_engine::io::{Discard, Leg, LegError, ReplySink};
use grove_testkit::Kind;
use grove_wire::command::{COM_PING, COM_STMT_EXECUTE, COM_STMT_PREPARE, COM_STMT_SEND_LONG_DATA};
use grove_wire::{ReplyShape, ResultEnd, StatusFlags};
use std::time::Duration;

pub async fn statements(lab: Lab) {
    for capabilities in [MODERN, OLD] {
        let mut leg = connect(&lab.servers(), &identity(capabilities)).await.unwrap();
        run(&mut leg, "CREATE OR REPLACE VIEW v AS SELECT 1").await;
        run(&mut leg, "DROP TABLE IF EXISTS t").await;
        run(
            &mut leg,
            "CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY, b LONGBLOB)",
        )
        .await;

        // A pipeline: replies in order, an error in the middle, status after it.
        leg.send(&[
            query("BEGIN"),
            query("INSERT INTO t VALUES (NULL, 'a'), (NULL, 'b')"),
            query("INSERT INTO t VALUES (1, 'c')"),
            Bytes::from_static(&[COM_PING]),
            query("SELECT * FROM t"),
        ])
        .await
        .unwrap();
        let shapes = [
            ReplyShape::Query,
            ReplyShape::Query,
            ReplyShape::Query,
            ReplyShape::SingleOk,
            ReplyShape::Query,
        ];
        let mut replies = Vec::new();
        for shape in shapes {
            replies.push(leg.receive(shape, &mut Discard).await.unwrap().reply);
        }
        assert_eq!(
            replies[1].ok().map(|ok| (ok.affected_rows, ok.last_insert_id)),
            Some((2, 1))
        );
        assert_eq!(replies[2].err().map(|err| err.code), Some(1062));
        assert!(replies[3].status().unwrap().contains(StatusFlags::IN_TRANS));
        assert_eq!(replies[4].rows, 2);
        run(&mut leg, "ROLLBACK").await;

        // Several results, the last of them an error.
        let reply = try_run(
            &mut leg,
            "SELECT 1; SET @a = 1; SELECT 1, 2 UNION SELECT 3, 4; SELECT nowhere",
        )
        .await;
        assert_eq!(reply.reply.results.len(), 4);
        assert_eq!(reply.reply.rows, 3);
        assert_eq!(reply.reply.err().map(|err| err.code), Some(1054));
        assert_eq!(value(&mut leg, "SELECT @a").await, "1");
        prepared(&mut leg).await;
        assert!(!leg.is_stale());
    }
}

async fn prepared(leg: &mut grove_backend::MysqlLeg) {
    let id = prepare(leg, "INSERT INTO t VALUES (?, ?)", (0, 2)).await;
    let piece = |data: &[u8]| {
        let mut command = BytesMut::new();
        command.put_u8(COM_STMT_SEND_LONG_DATA);
        command.put_u32_le(id);
        command.put_u16_le(1);
        command.put_slice(data);
        command.freeze()
    };
    let execute = |id: u32, tail: &[u8]| {
        let mut command = BytesMut::new();
        command.put_u8(COM_STMT_EXECUTE);
        command.put_u32_le(id);
        command.put_slice(&[0, 1, 0, 0, 0]);
        command.put_slice(tail);
        command.freeze()
    };
    // NULL bitmap, new types (LONG, LONG_BLOB), the first parameter's value.
    let parameters = [0, 1, 3, 0, 251, 0, 77, 0, 0, 0];
    leg.send(&[
        query("SET @x = 1"),
        piece(&[b'x'; 100_000]),
        piece(&[b'y'; 100_000]),
        execute(id, &parameters),
    ])
    .await
    .unwrap();
    leg.receive(ReplyShape::Query, &mut Discard).await.unwrap();
    let reply = leg.receive(ReplyShape::Query, &mut Discard).await.unwrap();
    assert_eq!(
        reply.reply.ok().map(|ok| ok.affected_rows),
        Some(1),
        "{:?}",
        reply.reply
    );
    assert_eq!(value(leg, "SELECT LENGTH(b) FROM t WHERE id = 77").await, "200000");

    let id = prepare(leg, "SELECT id, b FROM t WHERE id = ? OR id = ?", (2, 2)).await;
    leg.send(&[execute(id, &[0, 1, 3, 0, 3, 0, 77, 0, 0, 0, 78, 0, 0, 0])])
        .await
        .unwrap();
    let mut count = Count::default();
    let reply = leg.receive(ReplyShape::Query, &mut count).await.unwrap();
    assert!(matches!(
        reply.reply.last(),
        ResultEnd::Rows {
            rows: 1,
            columns: 2,
            ..
        }
    ));
    assert!(count.bytes > 200_000);
    prepare(leg, "DO 1", (0, 0)).await;
    prepare(leg, "SELECT 1", (1, 0)).await;
}

async fn prepare(leg: &mut grove_backend::MysqlLeg, text: &str, wanted: (u16, u16)) -> u32 {
    let command = [&[COM_STMT_PREPARE], text.as_bytes()].concat();
    leg.send(&[command.into()]).await.unwrap();
    let reply = leg.receive(ReplyShape::Prepare, &mut Discard).await.unwrap();
    match reply.reply.last() {
        ResultEnd::Prepared {
            statement_id,
            columns,
            params,
            ..
        } => {
            assert_eq!((*columns, *params), wanted, "{text}");
            *statement_id
        }
        other => panic!("{text}: {other:?}"),
    }
}

#[tokio::test]
async fn mariadb_statements() {
    statements(Lab::start(Kind::MariaDb).await).await;
}

#[tokio::test]
async fn mysql_statements() {
    statements(Lab::start(Kind::MySql).await).await;
}

pub async fn large_things(lab: Lab) {
    for capabilities in [MODERN, OLD] {
        let mut leg = connect(&lab.servers(), &identity(capabilities)).await.unwrap();
        run(&mut leg, "SET SESSION group_concat_max_len = 1000").await;
        // 40 MB of rows, and one row longer than a frame.
        let rows = "WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 1000) \
                    SELECT a.i, REPEAT('x', 400) FROM n a, (SELECT i FROM n LIMIT 100) b";
        let mut count = Count::default();
        leg.send(&[query(rows)]).await.unwrap();
        let reply = leg.receive(ReplyShape::Query, &mut count).await.unwrap();
        assert_eq!(reply.reply.rows, 100_000);
        assert!(count.bytes > 40_000_000);
        assert!(
            count.largest_piece <= 64 << 10,
            "{} bytes at a time",
            count.largest_piece
        );

        let mut count = Count::default();
        leg.send(&[query("SELECT REPEAT('x', 20 << 20), 1; SELECT 2")])
            .await
            .unwrap();
        let reply = leg.receive(ReplyShape::Query, &mut count).await.unwrap();
        assert_eq!((reply.reply.rows, reply.reply.results.len()), (2, 2));
        assert!(count.bytes > 20 << 20);
        assert!(
            count.largest_piece <= 64 << 10,
            "{} bytes at a time",
            count.largest_piece
        );

        // A 20 MB statement, and exact multiples of a frame's length.
        for length in [20 << 20, (1 << 24) - 1, (1 << 25) - 2] {
            let text = format!(
                "SELECT LENGTH('{}')",
                "x".repeat(length - "\u{3}SELECT LENGTH('')".len())
            );
            let wanted = length - "\u{3}SELECT LENGTH('')".len();
            assert_eq!(value(&mut leg, &text).await, wanted.to_string());
        }
    }
}

#[tokio::test]
async fn mariadb_large_things() {
    large_things(Lab::start(Kind::MariaDb).await).await;
}

#[tokio::test]
async fn mysql_large_things() {
    large_things(Lab::start(Kind::MySql).await).await;
}

/// The server answers early commands of a batch, and stops reading while nobody takes the answers.
pub async fn full_buffers(lab: Lab) {
    let mut leg = lab.leg().await;
    let statement = query(&format!("SELECT '{}'", "x".repeat(8000)));
    let batch = vec![statement; 120];
    for _ in 0..3 {
        tokio::time::timeout(Duration::from_secs(60), leg.send(&batch))
            .await
            .expect("must not wait for ever")
            .unwrap();
        for _ in &batch {
            let reply = leg.receive(ReplyShape::Query, &mut Discard).await.unwrap();
            assert_eq!(reply.reply.rows, 1);
        }
    }
    // Large commands behind a large answer.
    let batch = [
        query("SELECT REPEAT('y', 700000)"),
        query(&format!("SELECT LENGTH('{}')", "x".repeat(30 << 20))),
        query("SELECT 1"),
    ];
    tokio::time::timeout(Duration::from_secs(60), leg.send(&batch))
        .await
        .expect("must not wait for ever")
        .unwrap();
    for _ in &batch {
        assert_eq!(
            leg.receive(ReplyShape::Query, &mut Discard).await.unwrap().reply.rows,
            1
        );
    }
}

#[tokio::test]
async fn mariadb_full_buffers_on_both_sides() {
    full_buffers(Lab::start(Kind::MariaDb).await).await;
}

#[tokio::test]
async fn mysql_full_buffers_on_both_sides() {
    full_buffers(Lab::start(Kind::MySql).await).await;
}

/// Takes one piece, then is gone.
struct Gone(bool);

impl ReplySink for Gone {
    async fn forward(&mut self, _bytes: &[u8]) -> Result<(), String> {
        match std::mem::replace(&mut self.0, true) {
            false => Ok(()),
            true => Err("hung up".into()),
        }
    }
}

async fn endings(kind: Kind) {
    let lab = Lab::start(kind).await;
    let mut leg = lab.leg().await;
    leg.send(&[query("SELECT REPEAT('x', 10 << 20)")]).await.unwrap();
    let error = leg.receive(ReplyShape::Query, &mut Gone(false)).await.err();
    assert!(
        matches!(&error, Some(LegError::ClientGone(reason)) if reason == "hung up"),
        "{error:?}"
    );

    let mut admin = lab.leg().await;
    let mut idle = lab.leg().await;
    value(&mut idle, "SELECT 1").await;
    assert!(!idle.is_stale());
    run(&mut admin, &format!("KILL CONNECTION {}", idle.thread_id())).await;
    let mut rounds = 0;
    while !idle.is_stale() {
        rounds += 1;
        assert!(rounds < 500, "a killed connection is stale");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }

    // Refused by the server in the middle: its answer, if it comes, and then a lost connection.
    run(&mut admin, "SET GLOBAL max_allowed_packet = 1048576").await;
    let mut small = lab.leg().await;
    small
        .send(&[query(&format!("SELECT LENGTH('{}')", "x".repeat(30 << 20)))])
        .await
        .unwrap();
    match small.receive(ReplyShape::Query, &mut Discard).await {
        Ok(reply) => assert_eq!(reply.reply.err().map(|err| err.code), Some(1153)),
        Err(error) => assert!(matches!(error, LegError::Lost(_)), "{error}"),
    }

    lab.server().kill().await;
    admin.send(&[query("SELECT 1")]).await.unwrap_or(());
    let error = admin.receive(ReplyShape::Query, &mut Discard).await.err();
    assert!(
        matches!(&error, Some(LegError::Lost(reason)) if reason.contains("db1")),
        "{error:?}"
    );
    assert!(admin.is_stale());
    assert!(admin.send(&[query("SELECT 1")]).await.is_err());
}

#[tokio::test]
async fn mariadb_connections_that_end() {
    endings(Kind::MariaDb).await;
}

#[tokio::test]
async fn mysql_connections_that_end() {
    endings(Kind::MySql).await;
}

#[tokio::test]
async fn a_slow_client_slows_the_server_down() {
    let lab = Lab::start(Kind::MariaDb).await;
    let mut leg = lab.leg().await;
    leg.send(&[query("SELECT REPEAT('x', 2 << 20)")]).await.unwrap();
    let mut slow = Count {
        pause: Duration::from_millis(2),
        ..Count::default()
    };
    leg.receive(ReplyShape::Query, &mut slow).await.unwrap();
    assert!(slow.bytes > 2 << 20);
    assert!(slow.largest_piece <= 64 << 10);
}
