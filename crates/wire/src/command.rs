//! Commands: the first byte of a client's payload and what follows it.

use crate::CapabilityFlags;
use crate::handshake::ChangeUser;
use crate::query_attributes::{HasNames, pass_over_types};
use crate::read::{Reader, WireError};
use bytes::{BufMut, Bytes, BytesMut};
use std::ops::Range;

/// COM_QUIT
pub const COM_QUIT: u8 = 0x01;
/// COM_INIT_DB
pub const COM_INIT_DB: u8 = 0x02;
/// COM_QUERY
pub const COM_QUERY: u8 = 0x03;
/// COM_FIELD_LIST
pub const COM_FIELD_LIST: u8 = 0x04;
/// COM_STATISTICS
pub const COM_STATISTICS: u8 = 0x09;
/// COM_PROCESS_KILL
pub const COM_PROCESS_KILL: u8 = 0x0C;
/// COM_DEBUG
pub const COM_DEBUG: u8 = 0x0D;
/// COM_PING
pub const COM_PING: u8 = 0x0E;
/// COM_CHANGE_USER
pub const COM_CHANGE_USER: u8 = 0x11;
/// COM_STMT_PREPARE
pub const COM_STMT_PREPARE: u8 = 0x16;
/// COM_STMT_EXECUTE
pub const COM_STMT_EXECUTE: u8 = 0x17;
/// COM_STMT_SEND_LONG_DATA
pub const COM_STMT_SEND_LONG_DATA: u8 = 0x18;
/// COM_STMT_CLOSE
pub const COM_STMT_CLOSE: u8 = 0x19;
/// COM_STMT_RESET
pub const COM_STMT_RESET: u8 = 0x1A;
/// COM_SET_OPTION
pub const COM_SET_OPTION: u8 = 0x1B;
/// COM_SET_OPTION: MYSQL_OPTION_MULTI_STATEMENTS_ON.
pub const MULTI_STATEMENTS_ON: u16 = 0;
/// COM_SET_OPTION: MYSQL_OPTION_MULTI_STATEMENTS_OFF.
pub const MULTI_STATEMENTS_OFF: u16 = 1;
/// COM_STMT_FETCH
pub const COM_STMT_FETCH: u8 = 0x1C;
/// COM_RESET_CONNECTION
pub const COM_RESET_CONNECTION: u8 = 0x1F;

/// MariaDB: COM_STMT_BULK_EXECUTE
pub const COM_STMT_BULK_EXECUTE: u8 = 0xFA;

/// A client's command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command<'a> {
    /// Ends the connection.
    Quit,
    /// Default schema.
    InitDb(&'a [u8]),
    /// A statement; see [`crate::query_attributes::text_start`].
    Query,
    /// Column definitions of a table, in a packet that nobody needs to understand.
    FieldList,
    /// The server's figures in one line of text.
    Statistics,
    /// Ends the connection with this id.
    ProcessKill(u32),
    /// Switches a capability of the running session; see [`MULTI_STATEMENTS_ON`].
    SetOption(u16),
    /// Asks whether the server answers.
    Ping,
    /// Session state as after the login.
    ResetConnection,
    /// Another account on the same connection.
    ChangeUser(ChangeUser),
    /// A statement to prepare.
    StmtPrepare(&'a [u8]),
    /// An execution; see [`StmtExecute`].
    StmtExecute {
        /// Statement id.
        id: u32,
    },
    /// MariaDB: an execution for many rows of parameters; see [`StmtBulkExecute`].
    StmtBulkExecute {
        /// Statement id.
        id: u32,
    },
    /// A piece of a long parameter.
    StmtSendLongData {
        /// Statement id.
        id: u32,
        /// Parameter index.
        parameter: u16,
        /// The piece.
        data: &'a [u8],
    },
    /// Frees a statement.
    StmtClose(u32),
    /// Forgets long data and cursor of a statement.
    StmtReset(u32),
    /// Rows of a cursor.
    StmtFetch {
        /// Statement id.
        id: u32,
        /// Number of rows.
        rows: u32,
    },
    /// The server writes debug information to its log.
    Debug,
    /// Any other command byte.
    Unknown(u8),
}

impl<'a> Command<'a> {
    /// Reads a payload. An empty one is malformed.
    pub fn parse(payload: &'a [u8], capabilities: CapabilityFlags) -> Result<Self, WireError> {
        let mut reader = Reader::new(payload);
        Ok(match reader.u8("command")? {
            COM_QUIT => Self::Quit,
            COM_INIT_DB => Self::InitDb(reader.rest()),
            COM_QUERY => Self::Query,
            COM_FIELD_LIST => Self::FieldList,
            COM_STATISTICS => Self::Statistics,
            COM_PROCESS_KILL => Self::ProcessKill(reader.u32("connection id")?),
            COM_SET_OPTION => Self::SetOption(reader.u16("option")?),
            COM_PING => Self::Ping,
            COM_RESET_CONNECTION => Self::ResetConnection,
            COM_CHANGE_USER => Self::ChangeUser(ChangeUser::parse(reader.rest(), capabilities)?),
            COM_STMT_PREPARE => Self::StmtPrepare(reader.rest()),
            COM_STMT_EXECUTE => Self::StmtExecute {
                id: reader.u32("statement id")?,
            },
            COM_STMT_BULK_EXECUTE if capabilities.contains(CapabilityFlags::STMT_BULK_OPERATIONS) => {
                Self::StmtBulkExecute {
                    id: reader.u32("statement id")?,
                }
            }
            COM_STMT_SEND_LONG_DATA => Self::StmtSendLongData {
                id: reader.u32("statement id")?,
                parameter: reader.u16("parameter index")?,
                data: reader.rest(),
            },
            COM_STMT_CLOSE => Self::StmtClose(reader.u32("statement id")?),
            COM_STMT_FETCH => Self::StmtFetch {
                id: reader.u32("statement id")?,
                rows: reader.u32("number of rows")?,
            },
            COM_DEBUG => Self::Debug,
            COM_STMT_RESET => Self::StmtReset(reader.u32("statement id")?),
            other => Self::Unknown(other),
        })
    }
}

/// COM_STMT_EXECUTE, in its flags: a number of parameters follows, and attributes may be among them.
const PARAMETER_COUNT_AVAILABLE: u8 = 8;
/// COM_STMT_EXECUTE, in its flags: the kinds of cursors.
pub const CURSOR_TYPES: u8 = 7;

/// The parts of a COM_STMT_EXECUTE payload, as ranges of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StmtExecute {
    /// Cursor type, and under QUERY_ATTRIBUTES whether a number of parameters follows.
    pub flags: u8,
    /// Number of values: the statement's parameters first, then query attributes.
    pub count: usize,
    /// NULL bitmap; empty without values.
    pub null_bitmap: Range<usize>,
    /// Two bytes for each value, and its name under QUERY_ATTRIBUTES; empty if the client relies on earlier ones.
    pub types: Range<usize>,
    /// The beginning of `types`: those of the statement's own parameters.
    pub own_types: Range<usize>,
    /// The values.
    pub values: Range<usize>,
}

impl StmtExecute {
    /// Type and sign (the high byte is 0x80 for unsigned integers) of each of the statement's own parameters; nothing if the payload says none.
    pub fn parameter_types<'a>(
        &self,
        payload: &'a [u8],
        capabilities: CapabilityFlags,
    ) -> impl Iterator<Item = u16> + use<'a> {
        let mut reader = Reader::new(payload.get(self.own_types.clone()).unwrap_or_default());
        let named = capabilities.contains(CapabilityFlags::QUERY_ATTRIBUTES);
        std::iter::from_fn(move || {
            let code = reader.u16("parameter type").ok()?;
            if named {
                reader.lenenc_bytes("parameter name").ok()?;
            }
            Some(code)
        })
    }

    /// Reads a payload (with its command byte) for a statement of `params` parameters.
    pub fn parse(payload: &[u8], params: u16, capabilities: CapabilityFlags) -> Result<Self, WireError> {
        let mut reader = Reader::new(payload);
        reader.bytes(5, "statement id")?;
        let flags = reader.u8("cursor flags")?;
        reader.u32("iteration count")?;
        let at = |reader: &Reader<'_>| payload.len() - reader.len();
        let params = usize::from(params);
        let attributes = capabilities.contains(CapabilityFlags::QUERY_ATTRIBUTES);
        // The servers read the number wherever there are parameters, whatever the flag says.
        let count = if attributes && (params > 0 || flags & PARAMETER_COUNT_AVAILABLE != 0) {
            let count = reader.lenenc_int("number of parameters")?;
            usize::try_from(count).map_err(|_| WireError::Truncated("parameters"))?
        } else {
            params
        };
        if count == 0 || count < params {
            let end = at(&reader);
            return Ok(Self {
                flags,
                count,
                null_bitmap: end..end,
                types: end..end,
                own_types: end..end,
                values: end..payload.len(),
            });
        }
        let start = at(&reader);
        reader.bytes(count.div_ceil(8), "NULL bitmap")?;
        let null_bitmap = start..at(&reader);
        let has_types = reader.u8("new-params-bound flag")? != 0;
        let start = at(&reader);
        let mut own_end = start;
        if has_types {
            let names = if attributes { HasNames::Yes } else { HasNames::No };
            pass_over_types(&mut reader, params, names)?;
            own_end = at(&reader);
            pass_over_types(&mut reader, count - params, names)?;
        }
        let types = start..at(&reader);
        Ok(Self {
            flags,
            count,
            null_bitmap,
            values: types.end..payload.len(),
            types,
            own_types: start..own_end,
        })
    }

    /// The payload with `types` in it, so that it can be executed where no earlier execution told them.
    pub fn with_types(&self, payload: &[u8], types: &[u8]) -> Bytes {
        let mut out = BytesMut::with_capacity(payload.len() + types.len());
        out.put_slice(&payload[..self.null_bitmap.end]);
        out.put_u8(1);
        out.put_slice(types);
        out.put_slice(&payload[self.values.clone()]);
        out.freeze()
    }
}

/// The parts of a COM_STMT_BULK_EXECUTE payload (MariaDB Knowledge Base, "COM_STMT_BULK_EXECUTE"), as ranges of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StmtBulkExecute {
    /// Two bytes for each parameter; empty if the client relies on earlier ones.
    pub types: Range<usize>,
    /// The rows: an indicator for each value, and the value if it has one.
    pub rows: Range<usize>,
}

impl StmtBulkExecute {
    /// Where the flags are: behind command byte and statement id.
    const FLAGS: Range<usize> = 5..7;
    /// In the flags: types follow.
    const SEND_TYPES: u8 = 0x80;

    /// Reads a payload (with its command byte) for a statement of `params` parameters.
    pub fn parse(payload: &[u8], params: u16) -> Result<Self, WireError> {
        let mut reader = Reader::new(payload);
        reader.bytes(Self::FLAGS.start, "statement id")?;
        let [low, _] = reader.u16("bulk flags")?.to_le_bytes();
        if low & Self::SEND_TYPES != 0 {
            reader.bytes(2 * usize::from(params), "parameter types")?;
        }
        let rows = payload.len() - reader.len();
        Ok(Self {
            types: Self::FLAGS.end..rows,
            rows: rows..payload.len(),
        })
    }

    /// The payload with `types` in it, so that it can be executed where no earlier execution told them.
    pub fn with_types(&self, payload: &[u8], types: &[u8]) -> Bytes {
        let mut out = BytesMut::with_capacity(payload.len() + types.len());
        out.put_slice(&payload[..Self::FLAGS.start]);
        out.put_u8(payload[Self::FLAGS.start] | Self::SEND_TYPES);
        out.put_slice(&payload[Self::FLAGS.start + 1..Self::FLAGS.end]);
        out.put_slice(types);
        out.put_slice(&payload[self.rows.clone()]);
        out.freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_execution_without_types_can_be_given_them() {
        let first = [
            &[COM_STMT_EXECUTE, 1, 0, 0, 0, 0, 1, 0, 0, 0][..],
            &[0, 1, 8, 0],
            &[7; 8],
        ]
        .concat();
        let parsed = StmtExecute::parse(&first, 1, CapabilityFlags(0)).unwrap();
        assert_eq!(&first[parsed.own_types.clone()], [8, 0]);
        let later = [&[COM_STMT_EXECUTE, 1, 0, 0, 0, 0, 1, 0, 0, 0][..], &[0, 0], &[7; 8]].concat();
        let untyped = StmtExecute::parse(&later, 1, CapabilityFlags(0)).unwrap();
        assert!(untyped.types.is_empty());
        assert_eq!(untyped.with_types(&later, &[8, 0]), first);
    }

    #[test]
    fn a_bulk_execution_without_types_can_be_given_them() {
        let first = b"\xFA\x01\x00\x00\x00\x80\x00\xFD\x00\x08\x00\x00\x01a\x01";
        let parsed = StmtBulkExecute::parse(first, 2).unwrap();
        assert_eq!(&first[parsed.types.clone()], b"\xFD\x00\x08\x00");
        let later = b"\xFA\x01\x00\x00\x00\x00\x00\x00\x01a\x01";
        let untyped = StmtBulkExecute::parse(later, 2).unwrap();
        assert!(untyped.types.is_empty());
        assert_eq!(untyped.with_types(later, &first[parsed.types]), &first[..]);
        assert!(StmtBulkExecute::parse(&first[..9], 2).is_err());
        assert!(StmtBulkExecute::parse(&first[..6], 2).is_err());
    }

    #[test]
    fn attributes_stand_behind_the_parameters() {
        const ON: CapabilityFlags = CapabilityFlags::QUERY_ATTRIBUTES;
        let head = |flags| [COM_STMT_EXECUTE, 1, 0, 0, 0, flags, 1, 0, 0, 0];
        let both = [
            &head(8)[..],
            b"\x02\x00\x01\xFD\x00\x00\x08\x00\x05trace",
            b"\x01x",
            &[7; 8],
        ]
        .concat();
        let parsed = StmtExecute::parse(&both, 1, ON).unwrap();
        assert_eq!(
            (parsed.count, &both[parsed.own_types.clone()]),
            (2, &b"\xFD\x00\x00"[..])
        );
        assert_eq!(&both[parsed.types.clone()], b"\xFD\x00\x00\x08\x00\x05trace");
        assert_eq!(both.len() - parsed.values.start, 10);
        // The types of its own parameter serve a later execution.
        let later = [&head(0)[..], b"\x01\x00\x00\x01y"].concat();
        let untyped = StmtExecute::parse(&later, 1, ON).unwrap();
        let typed = untyped.with_types(&later, &both[parsed.own_types]);
        assert_eq!(typed, [&head(0)[..], b"\x01\x00\x01\xFD\x00\x00\x01y"].concat());
        // Without parameters the flag decides whether there is a number.
        let none = StmtExecute::parse(&head(0), 0, ON).unwrap();
        assert_eq!((none.count, none.types.is_empty()), (0, true));
        assert!(StmtExecute::parse(&head(8), 0, ON).is_err());
        let alone = [&head(8)[..], b"\x01\x00\x01\xFD\x00\x01a\x01y"].concat();
        let parsed = StmtExecute::parse(&alone, 0, ON).unwrap();
        assert_eq!(
            (parsed.count, parsed.own_types.is_empty(), parsed.types.len()),
            (1, true, 4)
        );
    }

    proptest::proptest! {
        #[test]
        fn hostile_commands_never_panic(bytes in proptest::collection::vec(0u8.., 0..80), params in 0u16..20) {
            let _ = Command::parse(&bytes, CapabilityFlags(u64::MAX));
            for capabilities in [CapabilityFlags(0), CapabilityFlags(u64::MAX)] {
                let _ = StmtExecute::parse(&bytes, params, capabilities);
                let _ = StmtBulkExecute::parse(&bytes, params);
            }
        }
    }
}
