//! OK, ERR and EOF packets.

use crate::read::{Reader, WireError, put_lenenc_bytes, put_lenenc_int};
use crate::{CapabilityFlags, StatusFlags};
use bytes::Bytes;

/// An OK packet, also in the form that ends a result under DEPRECATE_EOF.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OkPacket {
    /// Affected rows.
    pub affected_rows: u64,
    /// Insert id.
    pub last_insert_id: u64,
    /// Server status.
    pub status: StatusFlags,
    /// Number of warnings.
    pub warnings: u16,
    /// Human-readable text.
    pub info: Bytes,
    /// Session-track block as it came; empty if none.
    pub session_state: Bytes,
}

impl OkPacket {
    /// Reads a payload that begins with 0x00 or 0xFE.
    pub fn parse(payload: &[u8], capabilities: CapabilityFlags) -> Result<Self, WireError> {
        let mut reader = Reader::new(payload);
        reader.u8("OK header")?;
        let affected_rows = reader.lenenc_int("affected rows")?;
        let last_insert_id = reader.lenenc_int("insert id")?;
        let status = StatusFlags(reader.u16("status")?);
        let warnings = reader.u16("warnings")?;
        let (info, session_state) = if capabilities.contains(CapabilityFlags::SESSION_TRACK) {
            let info = if reader.is_empty() {
                &[][..]
            } else {
                reader.lenenc_bytes("info")?
            };
            let changed = status.contains(StatusFlags::SESSION_STATE_CHANGED) && !reader.is_empty();
            (
                info,
                if changed {
                    reader.lenenc_bytes("session state")?
                } else {
                    &[][..]
                },
            )
        } else {
            (reader.rest(), &[][..])
        };
        Ok(Self {
            affected_rows,
            last_insert_id,
            status,
            warnings,
            info: Bytes::copy_from_slice(info),
            session_state: Bytes::copy_from_slice(session_state),
        })
    }

    /// The same packet, saying that `schema` is the default one now: servers tell it at login to clients with SESSION_TRACK.
    pub fn tracking_schema(mut self, schema: &[u8]) -> Self {
        const SESSION_TRACK_SCHEMA: u8 = 1;
        let mut name = Vec::with_capacity(schema.len() + 3);
        put_lenenc_bytes(&mut name, schema);
        let mut state = vec![SESSION_TRACK_SCHEMA];
        put_lenenc_bytes(&mut state, &name);
        self.status.insert(StatusFlags::SESSION_STATE_CHANGED);
        self.session_state = state.into();
        self
    }

    /// The payload, with header 0x00.
    pub fn encode(&self, capabilities: CapabilityFlags) -> Vec<u8> {
        let mut out = vec![0];
        put_lenenc_int(&mut out, self.affected_rows);
        put_lenenc_int(&mut out, self.last_insert_id);
        out.extend_from_slice(&self.status.0.to_le_bytes());
        out.extend_from_slice(&self.warnings.to_le_bytes());
        if capabilities.contains(CapabilityFlags::SESSION_TRACK) {
            let changed = self.status.contains(StatusFlags::SESSION_STATE_CHANGED);
            if changed || !self.info.is_empty() {
                put_lenenc_bytes(&mut out, &self.info);
            }
            if changed {
                put_lenenc_bytes(&mut out, &self.session_state);
            }
        } else {
            out.extend_from_slice(&self.info);
        }
        out
    }
}

/// An ERR packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrPacket {
    /// MySQL error code.
    pub code: u16,
    /// SQLSTATE.
    pub sql_state: [u8; 5],
    /// Message, in the client's character set.
    pub message: Vec<u8>,
}

impl ErrPacket {
    /// An error of Grove's own. `sql_state` has five characters; others become HY000.
    pub fn new(code: u16, sql_state: &str, message: &str) -> Self {
        let sql_state = sql_state.as_bytes().try_into().unwrap_or(*b"HY000");
        Self {
            code,
            sql_state,
            message: message.as_bytes().to_vec(),
        }
    }

    /// Reads a payload that begins with 0xFF. The SQLSTATE may be missing, as before authentication.
    pub fn parse(payload: &[u8], _capabilities: CapabilityFlags) -> Result<Self, WireError> {
        let mut reader = Reader::new(payload);
        if reader.u8("ERR header")? != 0xFF {
            return Err(WireError::Malformed("an ERR packet begins with 0xFF"));
        }
        let code = reader.u16("error code")?;
        let rest = reader.rest();
        let (sql_state, message) = match rest {
            [b'#', a, b, c, d, e, message @ ..] => ([*a, *b, *c, *d, *e], message),
            message => (*b"HY000", message),
        };
        Ok(Self {
            code,
            sql_state,
            message: message.to_vec(),
        })
    }

    /// The payload.
    pub fn encode(&self, capabilities: CapabilityFlags) -> Vec<u8> {
        let mut out = vec![0xFF];
        out.extend_from_slice(&self.code.to_le_bytes());
        if capabilities.contains(CapabilityFlags::PROTOCOL_41) {
            out.push(b'#');
            out.extend_from_slice(&self.sql_state);
        }
        out.extend_from_slice(&self.message);
        out
    }
}

/// An EOF packet of the protocol before DEPRECATE_EOF.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EofPacket {
    /// Number of warnings.
    pub warnings: u16,
    /// Server status.
    pub status: StatusFlags,
}

impl EofPacket {
    /// Reads a payload that begins with 0xFE.
    pub fn parse(payload: &[u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(payload);
        reader.u8("EOF header")?;
        Ok(Self {
            warnings: reader.u16("warnings")?,
            status: StatusFlags(reader.u16("status")?),
        })
    }
}

/// Whether a whole frame (with its header) is an ERR packet.
pub fn is_err_frame(frame: &[u8]) -> bool {
    frame.get(4) == Some(&0xFF)
}

/// The number of columns that the first packet of a result announces; `None` for OK, ERR and requests for a file.
pub fn column_count(payload: &[u8]) -> Option<u64> {
    match payload.first()? {
        0x00 | 0xFB | 0xFE | 0xFF => None,
        _ => Reader::new(payload).lenenc_int("column count").ok(),
    }
}

/// Changes the status flags in a reply's last frame (with its header): OK, EOF, or OK in the place of EOF. Others are left alone.
pub fn patch_status(frame: &mut [u8], set: StatusFlags, clear: StatusFlags, capabilities: CapabilityFlags) {
    let Some(payload) = frame.get_mut(4..) else { return };
    let old_eof = payload.len() == 5 && !capabilities.contains(CapabilityFlags::DEPRECATE_EOF);
    let at = match payload.first() {
        Some(0xFE) if old_eof => 3,
        Some(0x00 | 0xFE) => {
            let before = payload.len();
            let mut reader = Reader::new(&payload[1..]);
            if reader.lenenc_int("affected rows").is_err() || reader.lenenc_int("insert id").is_err() {
                return;
            }
            before - reader.len()
        }
        _ => return,
    };
    if let Some([low, high]) = payload.get_mut(at..at + 2) {
        let status = u16::from_le_bytes([*low, *high]);
        [*low, *high] = ((status | set.0) & !clear.0).to_le_bytes();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ok_survives_a_round_trip_and_patching_touches_only_the_status() {
        for capabilities in [CapabilityFlags(0), CapabilityFlags::SESSION_TRACK] {
            let ok = OkPacket {
                affected_rows: 300,
                last_insert_id: 1 << 40,
                status: StatusFlags::IN_TRANS | StatusFlags::AUTOCOMMIT,
                warnings: 2,
                info: Bytes::from_static(b"Rows matched: 1"),
                session_state: Bytes::new(),
            };
            let mut frame = vec![0, 0, 0, 1];
            frame.extend(ok.encode(capabilities));
            patch_status(&mut frame, StatusFlags(0), StatusFlags::IN_TRANS, capabilities);
            let patched = OkPacket::parse(&frame[4..], capabilities).unwrap();
            assert_eq!(
                patched,
                OkPacket {
                    status: StatusFlags::AUTOCOMMIT,
                    ..ok
                }
            );
        }
        let mut eof = [5, 0, 0, 1, 0xFE, 0, 0, 3, 0];
        patch_status(
            &mut eof,
            StatusFlags::MORE_RESULTS,
            StatusFlags::IN_TRANS,
            CapabilityFlags(0),
        );
        assert_eq!(eof[7], 10);
    }

    #[test]
    fn a_tracked_schema_is_laid_out_as_servers_do() {
        let ok = OkPacket {
            status: StatusFlags::AUTOCOMMIT,
            ..OkPacket::default()
        };
        let payload = ok.tracking_schema(b"mysql").encode(CapabilityFlags::SESSION_TRACK);
        // From MariaDB 10.11.19 and MySQL 9.7.4.
        assert_eq!(payload, b"\x00\x00\x00\x02@\x00\x00\x00\x08\x01\x06\x05mysql");
    }

    #[test]
    fn err_survives_a_round_trip() {
        let err = ErrPacket::new(1062, "23000", "Duplicate entry");
        let payload = err.encode(CapabilityFlags::PROTOCOL_41);
        assert_eq!(ErrPacket::parse(&payload, CapabilityFlags::PROTOCOL_41).unwrap(), err);
    }
}
