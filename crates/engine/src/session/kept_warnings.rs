//! The answer to SHOW WARNINGS after an autocommit write, which was asked for before the COMMIT that clears it.
//!
//! It was given in the text protocol. A prepared SHOW WARNINGS gets the same rows in the binary one: Level and Message as they are, Code as the
//! 32-bit number that its column definition announces (MySQL internals, "Binary Protocol Resultset Row").

use super::{LegReplyBytes, Session};
use crate::io::World;
use crate::statement::{Body, Statement};
use grove_wire::command::COM_STMT_EXECUTE;
use grove_wire::{CapabilityFlags, OkPacket};

/// Columns: Level, Code, Message.
const COLUMNS: usize = 3;

impl<W: World> Session<W> {
    /// What is kept, if that is what the statement asks for.
    pub(super) fn kept_warnings(&self, statement: &Statement) -> Option<LegReplyBytes> {
        if !is_question(statement.body.text()) {
            return None;
        }
        let kept = self.warnings.as_ref()?;
        let frames = match &statement.body {
            Body::Query(_) => kept.frames.clone(),
            Body::Execute { payload, .. } if is_plain_execution(payload) => {
                in_binary(&kept.frames, self.identity.capabilities)?
            }
            Body::Execute { .. } | Body::Load { .. } => return None,
        };
        Some(LegReplyBytes {
            frames,
            last_frame: kept.last_frame.clone(),
        })
    }
}

/// Whether a text is `SHOW WARNINGS` and nothing else.
pub(super) fn is_question(text: &[u8]) -> bool {
    let text = text.trim_ascii();
    let text = text.strip_suffix(b";").unwrap_or(text);
    text.eq_ignore_ascii_case(b"show warnings")
}

/// Whether the last frame of a reply says that there are warnings.
pub(super) fn tells_of_warnings(frame: &[u8], capabilities: CapabilityFlags) -> bool {
    let Some(payload) = frame.get(4..) else { return false };
    match payload.first() {
        Some(0xFE) if payload.len() == 5 => payload[1..3] != [0, 0],
        Some(0x00 | 0xFE) => OkPacket::parse(payload, capabilities).is_ok_and(|ok| ok.warnings > 0),
        _ => false,
    }
}

/// COM_STMT_EXECUTE without a cursor.
fn is_plain_execution(payload: &[u8]) -> bool {
    matches!(payload, [COM_STMT_EXECUTE, _, _, _, _, 0, ..])
}

/// The frames of the text result with their rows in the binary protocol.
fn in_binary(frames: &[u8], capabilities: CapabilityFlags) -> Option<Vec<u8>> {
    let ends_definitions = usize::from(!capabilities.contains(CapabilityFlags::DEPRECATE_EOF));
    let before_rows = 1 + COLUMNS + ends_definitions;
    let mut binary = Vec::with_capacity(frames.len() + 16);
    let (mut rest, mut number) = (frames, 0);
    while !rest.is_empty() {
        let header: &[u8; 4] = rest.first_chunk()?;
        let (frame, next) = rest.split_at_checked(4 + grove_wire::packet::frame_payload_len(header))?;
        if number < before_rows {
            binary.extend_from_slice(frame);
        } else {
            let row = binary_row(&frame[4..])?;
            let length = u32::try_from(row.len()).ok()?.to_le_bytes();
            binary.extend_from_slice(&[length[0], length[1], length[2], header[3]]);
            binary.extend_from_slice(&row);
        }
        rest = next;
        number += 1;
    }
    Some(binary)
}

fn binary_row(text: &[u8]) -> Option<Vec<u8>> {
    // Both are shorter than 251 bytes, so their lengths are one byte each.
    let (level, rest) = text.split_at_checked(1 + usize::from(*text.first()?))?;
    let (code, message) = rest.split_at_checked(1 + usize::from(*rest.first()?))?;
    let code: u32 = std::str::from_utf8(&code[1..]).ok()?.parse().ok()?;
    // Header, and a bitmap of NULLs, of which there are none.
    Some([&[0, 0], level, &code.to_le_bytes(), message].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_change_their_form_and_nothing_else_does() {
        let text = b"\x01\0\0\x01\x03\x01\0\0\x02A\x01\0\0\x03B\x01\0\0\x04C\x0D\0\0\x05\x07Warning\x031062\x01x";
        // A length that is wrong on purpose is found.
        assert_eq!(in_binary(text, CapabilityFlags::DEPRECATE_EOF), None);
        let text = b"\x01\0\0\x01\x03\x01\0\0\x02A\x01\0\0\x03B\x01\0\0\x04C\x0F\0\0\x05\x07Warning\x041062\x01x";
        let binary =
            b"\x01\0\0\x01\x03\x01\0\0\x02A\x01\0\0\x03B\x01\0\0\x04C\x10\0\0\x05\0\0\x07Warning\x26\x04\0\0\x01x";
        assert_eq!(in_binary(text, CapabilityFlags::DEPRECATE_EOF).unwrap(), binary);
    }
}
