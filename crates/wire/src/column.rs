//! Column definitions (protocol 4.1), for Grove's own small questions only.

use crate::read::{Reader, WireError};

/// A column definition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColumnDefinition {
    /// Name or alias of the column, as bytes.
    pub name: Vec<u8>,
    /// Collation id.
    pub charset: u16,
    /// Display length, in bytes.
    pub length: u32,
    /// Type code (`enum_field_types`).
    pub column_type: u8,
    /// Column flags.
    pub flags: u16,
    /// Digits after the decimal point.
    pub decimals: u8,
}

impl ColumnDefinition {
    /// Reads a definition's payload.
    pub fn parse(payload: &[u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(payload);
        for field in ["catalog", "schema", "table", "original table"] {
            reader.lenenc_bytes(field)?;
        }
        let name = reader.lenenc_bytes("name")?.to_vec();
        reader.lenenc_bytes("original name")?;
        reader.lenenc_int("length of the fixed fields")?;
        Ok(Self {
            name,
            charset: reader.u16("charset")?,
            length: reader.u32("length")?,
            column_type: reader.u8("type")?,
            flags: reader.u16("flags")?,
            decimals: reader.u8("decimals")?,
        })
    }
}
