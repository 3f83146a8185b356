//! Whatever can be read of a message of the protocol can be written, and then reads the same; nothing else is read at all.

use grove_wire::column::ColumnDefinition;
use grove_wire::command::{COM_QUERY, Command, StmtBulkExecute, StmtExecute};
use grove_wire::handshake::{AuthSwitchRequest, ChangeUser, Greeting, HandshakeResponse};
use grove_wire::query_attributes::{laid_out, text_start};
use grove_wire::row::text_row;
use grove_wire::{CapabilityFlags, EofPacket, ErrPacket, OkPacket};

/// Panics if it does not hold for this input: a byte that chooses the message, eight bytes of capabilities, the payload.
pub fn check(input: &[u8]) {
    let Some((&[kind], rest)) = input.split_first_chunk::<1>() else {
        return;
    };
    let Some((flags, payload)) = rest.split_first_chunk::<8>() else {
        return;
    };
    let capabilities = CapabilityFlags(u64::from_le_bytes(*flags));
    match kind % 11 {
        0 => {
            if let Ok(greeting) = Greeting::parse(payload) {
                assert_eq!(Greeting::parse(&greeting.encode()), Ok(greeting));
            }
        }
        1 => {
            if let Ok(response) = HandshakeResponse::parse(payload) {
                let again = HandshakeResponse::parse(&response.encode()).unwrap();
                assert_eq!(
                    (&again.user, &again.auth_response),
                    (&response.user, &response.auth_response)
                );
                assert_eq!(again.capabilities, response.capabilities);
            }
        }
        2 => {
            if let Ok(switch) = AuthSwitchRequest::parse(payload) {
                assert_eq!(AuthSwitchRequest::parse(&switch.encode()), Ok(switch));
            }
        }
        3 => drop(ChangeUser::parse(payload, capabilities)),
        4 => {
            if let Ok(ok) = OkPacket::parse(payload, capabilities) {
                assert_eq!(OkPacket::parse(&ok.encode(capabilities), capabilities), Ok(ok));
            }
        }
        5 => {
            if let Ok(err) = ErrPacket::parse(payload, capabilities) {
                assert_eq!(ErrPacket::parse(&err.encode(capabilities), capabilities), Ok(err));
            }
        }
        6 => {
            let _ = EofPacket::parse(payload);
            let _ = ColumnDefinition::parse(payload, capabilities);
            let values: usize = text_row(payload)
                .map(|value| value.map_or(1, |bytes| bytes.len() + 1))
                .sum();
            assert!(values <= payload.len(), "more values than bytes");
        }
        7 => drop(Command::parse(payload, capabilities)),
        8 => check_execution(payload, u16::from_le_bytes([flags[0], flags[1]]), capabilities),
        9 => {
            if let Ok(at) = text_start(payload, capabilities) {
                let text = &payload[at..];
                let own = laid_out([&[COM_QUERY], text].concat().into(), capabilities);
                let found = text_start(&own, capabilities).unwrap();
                assert_eq!(&own[found..], text);
            }
        }
        _ => {
            let params = u16::from_le_bytes([flags[0], flags[1]]);
            if let Ok(bulk) = StmtBulkExecute::parse(payload, params) {
                let types = vec![3; 2 * usize::from(params)];
                let typed = bulk.with_types(payload, &types);
                let again = StmtBulkExecute::parse(&typed, params).unwrap();
                assert_eq!(&typed[again.types], types);
                assert_eq!(typed[again.rows], payload[bulk.rows]);
            }
        }
    }
}

fn check_execution(payload: &[u8], params: u16, capabilities: CapabilityFlags) {
    let Ok(execute) = StmtExecute::parse(payload, params, capabilities) else {
        return;
    };
    for range in [
        &execute.null_bitmap,
        &execute.types,
        &execute.own_types,
        &execute.values,
    ] {
        assert!(payload.get(range.clone()).is_some());
    }
    if params == 0 || execute.count != usize::from(params) {
        return;
    }
    let has_names = capabilities.contains(CapabilityFlags::QUERY_ATTRIBUTES);
    let one: &[u8] = if has_names { &[3, 3, 1, b'n'] } else { &[3, 3] };
    let types = one.repeat(usize::from(params));
    let typed = execute.with_types(payload, &types);
    let again = StmtExecute::parse(&typed, params, capabilities).unwrap();
    assert_eq!(&typed[again.own_types], types);
    assert_eq!(typed[again.values], payload[execute.values]);
}
