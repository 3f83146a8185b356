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
    pub fn new() -> Self {
        Self {
            bytes: BytesMut::new(),
            sequence: 1,
        }
    }

    fn frame(&mut self, payload: &[u8]) {
        encode_frames(payload, &mut self.sequence, &mut self.bytes);
    }

    pub fn finish(self) -> Bytes {
        self.bytes.freeze()
    }
}

impl ReplyWriter {
    pub fn error(&mut self, failure: Failure) {
        let (code, state) = failure.code();
        self.frame(&ErrPacket::new(code, state, &format!("{failure:?}")).encode(CAPABILITIES));
    }

    pub fn outcome(&mut self, outcome: &Outcome, status: StatusFlags) {
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
                self.frame(&ok.encode(CAPABILITIES));
            }
            Outcome::Rows(rows) => {
                let rows = rows
                    .iter()
                    .map(|(k, row)| [*k, row.g, row.v].map(|value| value.to_string()));
                self.result_set(&["k", "g", "v"], rows, status);
            }
            Outcome::Value(value) => self.result_set(&["value"], std::iter::once([value.to_string()]), status),
            Outcome::Texts(columns, rows) => self.result_set(columns, rows.iter(), status),
            Outcome::Prepared(id) => self.prepared(*id),
            Outcome::OptionSet => self.end_of_rows(status),
        }
    }

    /// The head of a COM_STMT_PREPARE reply for a statement without parameters; its columns are not described.
    fn prepared(&mut self, id: u32) {
        let mut payload = vec![0];
        payload.extend_from_slice(&id.to_le_bytes());
        payload.extend_from_slice(&[0; 7]);
        self.frame(&payload);
    }

    /// A text result.
    fn result_set<R: AsRef<[String]>>(&mut self, columns: &[&str], rows: impl Iterator<Item = R>, status: StatusFlags) {
        self.frame(&[columns.len() as u8]);
        for name in columns {
            self.frame(&column(name));
        }
        let mut payload = Vec::new();
        for row in rows {
            payload.clear();
            for value in row.as_ref() {
                payload.push(value.len() as u8);
                payload.extend_from_slice(value.as_bytes());
            }
            self.frame(&payload);
        }
        self.end_of_rows(status);
    }

    fn end_of_rows(&mut self, status: StatusFlags) {
        let mut end = OkPacket {
            status,
            ..OkPacket::default()
        }
        .encode(CAPABILITIES);
        end[0] = 0xFE;
        self.frame(&end);
    }
}

/// A BIGINT, or a VARCHAR.
fn column(name: &str) -> Vec<u8> {
    let mut payload = Vec::new();
    for field in ["def", "app", "t", "t", name, name] {
        payload.push(field.len() as u8);
        payload.extend_from_slice(field.as_bytes());
    }
    payload.push(0x0C);
    payload.extend_from_slice(&63u16.to_le_bytes());
    payload.extend_from_slice(&20u32.to_le_bytes());
    let kind = if name == "log" { 0xFD } else { 0x08 };
    payload.extend_from_slice(&[kind, 0, 0, 0, 0, 0]);
    payload
}
