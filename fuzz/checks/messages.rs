//! Whatever can be read of a message of the protocol can be written, and then reads the same; nothing else is read at all.

use grove_wire::column::ColumnDefinition;
use grove_wire::command::{Command, StmtExecute};
use grove_wire::handshake::{AuthSwitchRequest, ChangeUser, Greeting, HandshakeResponse};
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
    match kind % 9 {
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
            let _ = ColumnDefinition::parse(payload);
            let values: usize = text_row(payload)
                .map(|value| value.map_or(1, |bytes| bytes.len() + 1))
                .sum();
            assert!(values <= payload.len(), "more values than bytes");
        }
        7 => drop(Command::parse(payload, capabilities)),
        _ => {
            let params = u16::from_le_bytes([flags[0], flags[1]]);
            if let Ok(execute) = StmtExecute::parse(payload, params) {
                for range in [&execute.null_bitmap, &execute.types, &execute.values] {
                    assert!(payload.get(range.clone()).is_some());
                }
                let types = vec![3; 2 * usize::from(params)];
                if params > 0 {
                    let typed = execute.with_types(payload, &types);
                    let again = StmtExecute::parse(&typed, params).unwrap();
                    assert_eq!(&typed[again.types], types);
                    assert_eq!(typed[again.values], payload[execute.values]);
                }
            }
        }
    }
}
