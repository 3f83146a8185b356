//! Commands and broken packets.

use crate::raw::{EVERYDAY, Raw};
use crate::stage::{Stage, mariadb, mysql};
use grove_wire::command::*;
use grove_wire::packet::{MAX_PAYLOAD_LEN, encode_frames};
use grove_wire::{CapabilityFlags, ErrPacket, StatusFlags};

async fn stage_and_client() -> (Stage, Raw) {
    let stage = Stage::open().await;
    let client = Raw::login(stage.address, "app", "app secret").await;
    (stage, client)
}

async fn check_ends_with(client: &mut Raw, code: u16) -> ErrPacket {
    let packet = client.packet().await;
    let err = client.ok_or_err(&packet).unwrap_err();
    assert_eq!(err.code, code);
    assert!(client.read().await.is_none(), "the connection ends");
    err
}

#[tokio::test]
async fn unknown_commands_are_refused_and_the_connection_goes_on() {
    let (_stage, mut client) = stage_and_client().await;
    for payload in [&[0x1D][..], &[0xEE, 1, 2, 3], &[]] {
        check_is_unknown(&mut client, payload).await;
    }
    client.query("anything").await.unwrap();
}

/// Commands of replication and cloning, those that servers have replaced by statements, and names of a server's own threads.
#[tokio::test]
async fn commands_that_grove_does_not_pass_on_are_refused() {
    const EITHER: [u8; 20] = [
        0x05, 0x06, 0x07, 0x08, 0x0A, 0x0B, 0x0F, 0x10, 0x12, 0x13, 0x14, 0x15, 0x1D, 0x1E, 0x20, 0x21, 0xFB, 0xFC,
        0xFD, 0xFE,
    ];
    for facts in [mysql(), mariadb()] {
        let stage = Stage::with(facts, |_| {}).await;
        let mut client = Raw::login(stage.address, "app", "app secret").await;
        for command in EITHER {
            check_is_unknown(&mut client, &[command]).await;
            check_is_unknown(&mut client, &[command, 1, 0, 0, 0, 2, 3, 4]).await;
        }
        client.query("anything").await.unwrap();
        let sent = stage.seen.commands.lock().unwrap();
        assert!(sent.iter().all(|command| !EITHER.contains(&command[0])), "{sent:?}");
    }
    let (_stage, mut client) = stage_and_client().await;
    for command in [COM_PROCESS_KILL, COM_STMT_BULK_EXECUTE] {
        check_is_unknown(&mut client, &[command, 1, 0, 0, 0, 2, 3, 4]).await;
    }
}

async fn check_is_unknown(client: &mut Raw, payload: &[u8]) {
    client.command(payload).await;
    let packet = client.packet().await;
    let err = client.ok_or_err(&packet).unwrap_err();
    assert_eq!(
        (err.code, &err.sql_state, &err.message[..]),
        (1047, b"08S01", &b"Unknown command"[..]),
        "{payload:?}"
    );
}

#[tokio::test]
async fn ping_and_init_db_are_the_servers() {
    let (stage, mut client) = stage_and_client().await;
    client.command(&[COM_PING]).await;
    let packet = client.packet().await;
    assert_eq!(client.ok_or_err(&packet).unwrap().status, StatusFlags::AUTOCOMMIT);
    client.command(b"\x02shop").await;
    let packet = client.packet().await;
    client.ok_or_err(&packet).unwrap();
    assert_eq!(stage.seen.payloads(COM_INIT_DB)[0][..], b"\x02shop"[..]);
    client.command(b"\x02nowhere").await;
    let packet = client.packet().await;
    assert_eq!(client.ok_or_err(&packet).unwrap_err().code, 1049);
}

#[tokio::test]
async fn quit_closes_the_connection_and_the_legs() {
    let (stage, mut client) = stage_and_client().await;
    client.query("anything").await.unwrap();
    client.command(&[COM_QUIT]).await;
    assert!(client.read().await.is_none());
    while stage.metrics.sessions.value() > 0 || stage.seen.open_legs.load(std::sync::atomic::Ordering::Relaxed) > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn results_are_forwarded_with_old_and_new_ends() {
    let stage = Stage::open().await;
    for (capabilities, packets) in [
        (EVERYDAY, 1 + 1 + 5 + 1),
        (
            CapabilityFlags(EVERYDAY.0 & !CapabilityFlags::DEPRECATE_EOF.0),
            1 + 1 + 1 + 5 + 1,
        ),
    ] {
        let mut client = Raw::login_with(stage.address, "app", "app secret", capabilities).await;
        client.command(b"\x03rows 5 10").await;
        for _ in 0..packets {
            client.packet().await;
        }
        client.query("anything").await.unwrap();
    }
}

#[tokio::test]
async fn large_results_and_rows_longer_than_a_packet_come_whole() {
    let (_stage, mut client) = stage_and_client().await;
    client.command(b"\x03rows 20000 100").await;
    assert_eq!(client.result().await.len(), 20_003);
    let width = MAX_PAYLOAD_LEN - 4;
    client.command(format!("\x03rows 2 {width}").as_bytes()).await;
    let packets = client.result().await;
    assert_eq!(packets[2].len(), MAX_PAYLOAD_LEN);
    assert_eq!(packets.len(), 5);
    client.query("anything").await.unwrap();
}

#[tokio::test]
async fn statements_of_sixteen_mebibytes_and_more_arrive_whole() {
    let (stage, mut client) = stage_and_client().await;
    let sql = format!("rows 1 {}10", " ".repeat(MAX_PAYLOAD_LEN));
    client.command(&[b"\x03", sql.as_bytes()].concat()).await;
    // The scripted server numbers from 1; the client's command had two frames, so the reply begins at 2.
    let packets = client.result().await;
    assert_eq!(packets.len(), 4);
    assert!(stage.seen.queries().contains(&sql));
}

#[tokio::test]
async fn commands_that_were_sent_ahead_are_answered_in_order() {
    let (_stage, mut client) = stage_and_client().await;
    let mut ahead = bytes::BytesMut::new();
    for round in 1..=20 {
        encode_frames(format!("\x03rows {round} 8").as_bytes(), &mut 0, &mut ahead);
        encode_frames(&[COM_PING], &mut 0, &mut ahead);
    }
    client.send_bytes(&ahead).await;
    for round in 1..=20 {
        client.sequence = 1;
        assert_eq!(client.result().await.len(), round + 3);
        client.sequence = 1;
        assert_eq!(client.result().await.len(), 1);
    }
}

#[tokio::test]
async fn a_command_that_comes_byte_by_byte_is_understood() {
    let (_stage, mut client) = stage_and_client().await;
    let mut frame = bytes::BytesMut::new();
    encode_frames(b"\x03anything", &mut 0, &mut frame);
    for byte in frame {
        client.send_bytes(&[byte]).await;
        tokio::task::yield_now().await;
    }
    client.sequence = 1;
    client.packet().await;
}

#[tokio::test]
async fn a_packet_over_the_limit_is_refused_unread() {
    let stage = Stage::with(mysql(), |config| config.limits.max_packet_bytes = 4096).await;
    let mut client = Raw::login(stage.address, "app", "app secret").await;
    client.command(&[b"\x03", &vec![b'x'; 4095][..]].concat()).await;
    client.packet().await;
    client.command(&[b"\x03", &vec![b'x'; 1_000_000][..]].concat()).await;
    let err = check_ends_with(&mut client, 1153).await;
    assert_eq!(err.message, b"Got a packet bigger than 'max_allowed_packet' bytes");
    assert_eq!(stage.metrics.protocol_errors.value(), 1);
}

#[tokio::test]
async fn packets_out_of_order_end_the_connection() {
    let (stage, mut client) = stage_and_client().await;
    client.sequence = 9;
    client.send_packet(b"\x03anything").await;
    client.sequence = 0;
    let err = check_ends_with(&mut client, 1156).await;
    assert_eq!(&err.sql_state, b"08S01");
    assert_eq!(stage.metrics.protocol_errors.value(), 1);
}

#[tokio::test]
async fn malformed_commands_end_the_connection() {
    for payload in [
        &[COM_STMT_EXECUTE, 1][..],
        &[COM_STMT_CLOSE],
        &[COM_STMT_SEND_LONG_DATA, 1, 0, 0, 0],
        &[COM_CHANGE_USER],
    ] {
        let (stage, mut client) = stage_and_client().await;
        client.command(payload).await;
        check_ends_with(&mut client, 1835).await;
        assert_eq!(stage.metrics.protocol_errors.value(), 1);
    }
}

#[tokio::test]
async fn reset_connection_forgets_statements_and_asks_the_server_again() {
    let (stage, mut client) = stage_and_client().await;
    client.command(b"\x16select ?").await;
    client.packet().await;
    client.packet().await;
    client.command(&[COM_RESET_CONNECTION]).await;
    let packet = client.packet().await;
    client.ok_or_err(&packet).unwrap();
    assert_eq!(stage.seen.identities.lock().unwrap().len(), 2);
    client.command(&[COM_STMT_RESET, 1, 0, 0, 0]).await;
    let packet = client.packet().await;
    assert_eq!(client.ok_or_err(&packet).unwrap_err().code, 1243);
}
