//! Replies as the bytes that a server sends.

use super::execute::{Failure, Outcome};
use bytes::{Bytes, BytesMut};
use grove_wire::packet::encode_frames;
use grove_wire::{CapabilityFlags, ErrPacket, OkPacket, StatusFlags};

/// Capabilities of every connection in the simulation.
pub const CAPABILITIES: CapabilityFlags = CapabilityFlags(
    CapabilityFlags::PROTOCOL_41.0
        | CapabilityFlags::LONG_PASSWORD.0
        | CapabilityFlags::TRANSACTIONS.0
        | CapabilityFlags::DEPRECATE_EOF.0,
);

/// A reply, framed.
pub struct ReplyWriter {
    bytes: BytesMut,
    sequence: u8,
}

impl ReplyWriter {
    fn new() -> Self {
        Self {
            bytes: BytesMut::new(),
            sequence: 1,
        }
    }

    fn frame(&mut self, payload: &[u8]) {
        encode_frames(payload, &mut self.sequence, &mut self.bytes);
    }

    fn finish(self) -> Bytes {
        self.bytes.freeze()
    }
}

pub fn error(failure: Failure) -> Bytes {
    let (code, state) = failure.code();
    err(code, state, &format!("{failure:?}"))
}

pub fn err(code: u16, state: &str, message: &str) -> Bytes {
    let mut writer = ReplyWriter::new();
    writer.frame(&ErrPacket::new(code, state, message).encode(CAPABILITIES));
    writer.finish()
}

pub fn reply(outcome: &Outcome, status: StatusFlags) -> Bytes {
    match outcome {
        Outcome::Done {
            affected,
            insert_id,
            info,
        } => {
            let ok = OkPacket {
                affected_rows: *affected,
                last_insert_id: *insert_id,
                status,
                info: Bytes::copy_from_slice(info.as_bytes()),
                ..OkPacket::default()
            };
            let mut writer = ReplyWriter::new();
            writer.frame(&ok.encode(CAPABILITIES));
            writer.finish()
        }
        Outcome::Rows(rows) => {
            let rows = rows.iter().map(|(k, row)| vec![*k, row.g, row.v]);
            result_set(&["k", "g", "v"], rows, status)
        }
        Outcome::Value(value) => result_set(&["value"], std::iter::once(vec![*value]), status),
        Outcome::Prepared(id) => prepared(*id),
    }
}

/// The head of a COM_STMT_PREPARE reply for a statement without parameters; its columns are not described.
pub fn prepared(id: u32) -> Bytes {
    let mut payload = vec![0];
    payload.extend_from_slice(&id.to_le_bytes());
    payload.extend_from_slice(&[0; 7]);
    let mut writer = ReplyWriter::new();
    writer.frame(&payload);
    writer.finish()
}

/// A text result of BIGINT columns.
fn result_set(columns: &[&str], rows: impl Iterator<Item = Vec<i64>>, status: StatusFlags) -> Bytes {
    let mut writer = ReplyWriter::new();
    writer.frame(&[columns.len() as u8]);
    for name in columns {
        writer.frame(&column(name));
    }
    let mut payload = Vec::new();
    for row in rows {
        payload.clear();
        for value in row {
            let digits = value.to_string();
            payload.push(digits.len() as u8);
            payload.extend_from_slice(digits.as_bytes());
        }
        writer.frame(&payload);
    }
    let mut end = OkPacket {
        status,
        ..OkPacket::default()
    }
    .encode(CAPABILITIES);
    end[0] = 0xFE;
    writer.frame(&end);
    writer.finish()
}

fn column(name: &str) -> Vec<u8> {
    let mut payload = Vec::new();
    for field in ["def", "app", "t", "t", name, name] {
        payload.push(field.len() as u8);
        payload.extend_from_slice(field.as_bytes());
    }
    payload.push(0x0C);
    payload.extend_from_slice(&63u16.to_le_bytes());
    payload.extend_from_slice(&20u32.to_le_bytes());
    payload.extend_from_slice(&[0x08, 0, 0, 0, 0, 0]);
    payload
}
