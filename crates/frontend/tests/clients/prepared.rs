//! Prepared statements: ids, types, long data.

use crate::raw::Raw;
use crate::stage::{Stage, mariadb, mysql};
use bytes::Bytes;
use grove_wire::ErrPacket;
use grove_wire::command::*;

async fn prepare(client: &mut Raw, text: &str) -> u32 {
    client.command(&[b"\x16", text.as_bytes()].concat()).await;
    let head = client.packet().await;
    assert_eq!(head[0], 0, "{head:?}");
    let params = u16::from_le_bytes([head[7], head[8]]);
    for _ in 0..params {
        client.packet().await;
    }
    u32::from_le_bytes(head[1..5].try_into().unwrap())
}

fn execute(id: u32, rest: &[u8]) -> Vec<u8> {
    [&[COM_STMT_EXECUTE][..], &id.to_le_bytes(), &[0, 1, 0, 0, 0], rest].concat()
}

/// One parameter of type VARCHAR with its types sent.
fn with_types(id: u32, value: &[u8]) -> Vec<u8> {
    execute(id, &[&[0, 1, 0x0F, 0, value.len() as u8][..], value].concat())
}

async fn error(client: &mut Raw, payload: &[u8]) -> ErrPacket {
    client.command(payload).await;
    let packet = client.packet().await;
    client.ok_or_err(&packet).unwrap_err()
}

fn long_data(id: u32, parameter: u16, data: &[u8]) -> Vec<u8> {
    [
        &[COM_STMT_SEND_LONG_DATA][..],
        &id.to_le_bytes(),
        &parameter.to_le_bytes(),
        data,
    ]
    .concat()
}

async fn check_rows(client: &mut Raw, payload: &[u8]) {
    client.command(payload).await;
    assert_eq!(client.result().await.len(), 4);
}

#[tokio::test]
async fn ids_are_groves_own_and_the_server_gets_its_own() {
    let stage = Stage::with(mariadb(), |_| {}).await;
    let mut client = Raw::login(stage.address, "app", "app secret").await;
    let ids = [
        prepare(&mut client, "select 1").await,
        prepare(&mut client, "select ?, ?").await,
    ];
    assert_eq!(ids, [1, 2]);
    check_rows(&mut client, &execute(ids[0], &[])).await;
    let executed = stage.seen.payloads(COM_STMT_EXECUTE);
    assert_eq!(executed[0][1..5], 7001_u32.to_le_bytes());
    client
        .command(&[&[COM_STMT_CLOSE][..], &1_u32.to_le_bytes()].concat())
        .await;
    let err = error(&mut client, &execute(1, &[])).await;
    assert_eq!((err.code, &err.sql_state), (1243, b"HY000"));
    let message = b"Unknown prepared statement handler (1) given to mysqld_stmt_execute";
    assert_eq!(err.message, message);
    assert_eq!(stage.seen.payloads(COM_STMT_CLOSE)[0][1..5], 7001_u32.to_le_bytes());
}

#[tokio::test]
async fn a_text_that_the_server_refuses_takes_no_id() {
    let stage = Stage::open().await;
    let mut client = Raw::login(stage.address, "app", "app secret").await;
    assert_eq!(error(&mut client, b"\x16fail").await.code, 1146);
    assert_eq!(error(&mut client, &execute(1, &[])).await.code, 1243);
    drop(stage);
}

#[tokio::test]
async fn types_sent_once_serve_later_executions_and_only_reads_ask_for_cursors() {
    let stage = Stage::open().await;
    let mut client = Raw::login(stage.address, "app", "app secret").await;
    let id = prepare(&mut client, "select ?").await;
    assert_eq!(error(&mut client, &execute(id, &[0, 0, 1, b'a'])).await.code, 1210);
    check_rows(&mut client, &with_types(id, b"a")).await;
    let mut later = execute(id, &[0, 0, 1, b'b']);
    later[5] = 1;
    check_rows(&mut client, &later).await;
    let executed = stage.seen.payloads(COM_STMT_EXECUTE);
    let mut expected = with_types(7001, b"b");
    expected[5] = 1;
    assert_eq!(executed.last().unwrap()[..], expected[..]);

    let id = prepare(&mut client, "insert ?").await;
    let mut insert = with_types(id, b"c");
    insert[5] = 1;
    check_rows(&mut client, &insert).await;
    assert_eq!(
        stage.seen.payloads(COM_STMT_EXECUTE).last().unwrap()[..],
        with_types(7002, b"c")[..]
    );
}

#[tokio::test]
async fn long_data_is_joined_and_used_once() {
    let stage = Stage::open().await;
    let mut client = Raw::login(stage.address, "app", "app secret").await;
    let id = prepare(&mut client, "insert ?").await;
    for piece in [b"long ", b"data."] {
        client.command(&long_data(id, 0, piece)).await;
    }
    client.command(&long_data(99, 0, b"for nobody")).await;
    let once = execute(id, &[0, 1, 0xFC, 0]);
    check_rows(&mut client, &once).await;
    check_rows(&mut client, &with_types(id, b"x")).await;
    let sent: Vec<Bytes> = stage.seen.payloads(COM_STMT_SEND_LONG_DATA);
    assert_eq!(sent, [Bytes::from(long_data(7001, 0, b"long data."))]);
}

#[tokio::test]
async fn wrong_long_data_refuses_executions_until_a_reset() {
    let stage = Stage::with(mysql(), |config| config.limits.max_packet_bytes = 4096).await;
    let mut client = Raw::login(stage.address, "app", "app secret").await;
    let id = prepare(&mut client, "insert ?").await;
    for (parameter, code) in [(7, 1210), (0, 1105)] {
        for _ in 0..3 {
            client.command(&long_data(id, parameter, &[b'x'; 2000])).await;
        }
        for _ in 0..2 {
            assert_eq!(error(&mut client, &with_types(id, b"a")).await.code, code);
        }
        client
            .command(&[&[COM_STMT_RESET][..], &id.to_le_bytes()].concat())
            .await;
        let packet = client.packet().await;
        client.ok_or_err(&packet).unwrap();
        check_rows(&mut client, &with_types(id, b"a")).await;
    }
    assert!(stage.seen.payloads(COM_STMT_SEND_LONG_DATA).is_empty());
}

#[tokio::test]
async fn a_client_has_so_many_statements_and_no_more() {
    let stage = Stage::open().await;
    let mut client = Raw::login(stage.address, "app", "app secret").await;
    for _ in 0..16_382 {
        prepare(&mut client, "select 1").await;
    }
    let err = error(&mut client, b"\x16select 1").await;
    assert_eq!((err.code, &err.sql_state), (1461, b"42000"));
    client.command(&[COM_STMT_CLOSE, 5, 0, 0, 0]).await;
    prepare(&mut client, "select 1").await;
    drop(stage);
}

#[tokio::test]
async fn fetching_without_a_cursor_is_the_servers_error() {
    let stage = Stage::open().await;
    let mut client = Raw::login(stage.address, "app", "app secret").await;
    let id = prepare(&mut client, "select 1").await;
    let fetch = |id: u32| [&[COM_STMT_FETCH][..], &id.to_le_bytes(), &[1, 0, 0, 0]].concat();
    assert_eq!(error(&mut client, &fetch(id)).await.code, 1421);
    assert_eq!(error(&mut client, &fetch(9)).await.code, 1243);
    drop(stage);
}
