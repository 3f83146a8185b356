//! What a client makes of the bytes that the engine gives it.

use crate::model::CAPABILITIES;
use crate::model::storage::{Row, Rows};
use grove_engine::io::{ClientReply, ReplySink};
use grove_wire::{ErrPacket, OkPacket, StatusFlags, row};

/// An answer to a statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Done(OkPacket),
    Rows(Rows, StatusFlags),
    /// One number.
    Value(i64),
    Error(u16, String),
}

impl Answer {
    pub fn code(&self) -> Option<u16> {
        match self {
            Self::Error(code, _) => Some(*code),
            _ => None,
        }
    }

    pub fn status(&self) -> Option<StatusFlags> {
        match self {
            Self::Done(ok) => Some(ok.status),
            Self::Rows(_, status) => Some(*status),
            Self::Value(_) | Self::Error(..) => None,
        }
    }

    /// Reads a whole reply.
    pub fn read(bytes: &[u8]) -> Self {
        let mut frames = frames(bytes);
        let first = frames.next().unwrap_or_default();
        match first.first() {
            Some(0x00) => Self::Done(OkPacket::parse(first, CAPABILITIES).unwrap()),
            Some(0xFF) => {
                let err = ErrPacket::parse(first, CAPABILITIES).unwrap();
                Self::Error(err.code, String::from_utf8_lossy(&err.message).into_owned())
            }
            Some(&columns) => {
                let (mut rows, mut status) = (Vec::new(), StatusFlags(0));
                for frame in frames.skip(usize::from(columns)) {
                    match frame.first() {
                        Some(0xFE) => status = OkPacket::parse(frame, CAPABILITIES).unwrap().status,
                        _ => rows.push(numbers(frame)),
                    }
                }
                if columns == 1 {
                    return Self::Value(rows[0][0]);
                }
                let row = |values: Vec<i64>| {
                    (
                        values[0],
                        Row {
                            g: values[1],
                            v: values[2],
                        },
                    )
                };
                Self::Rows(rows.into_iter().map(row).collect(), status)
            }
            None => panic!("an empty reply"),
        }
    }
}

fn numbers(frame: &[u8]) -> Vec<i64> {
    let number = |value: Option<&[u8]>| std::str::from_utf8(value.unwrap()).unwrap().parse().unwrap();
    row::text_row(frame).map(number).collect()
}

fn frames(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let (header, after) = rest.split_at_checked(4)?;
        let length = usize::from(header[0]) | usize::from(header[1]) << 8 | usize::from(header[2]) << 16;
        let (payload, next) = after.split_at(length);
        rest = next;
        Some(payload)
    })
}

/// A client that holds a reply back until it is whole, as the front end does with small ones.
#[derive(Default)]
pub struct HeldBack(pub Vec<u8>);

impl ReplySink for HeldBack {
    async fn forward(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }
}

impl ClientReply for HeldBack {
    fn start_over(&mut self) -> bool {
        self.0.clear();
        true
    }
}
