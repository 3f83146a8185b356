//! Column definitions (protocol 4.1), for Grove's own small questions only.

use crate::CapabilityFlags;
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
    /// Reads a definition's payload, laid out by `capabilities`.
    pub fn parse(payload: &[u8], capabilities: CapabilityFlags) -> Result<Self, WireError> {
        let mut reader = Reader::new(payload);
        for field in ["catalog", "schema", "table", "original table"] {
            reader.lenenc_bytes(field)?;
        }
        let name = reader.lenenc_bytes("name")?.to_vec();
        reader.lenenc_bytes("original name")?;
        if capabilities.contains(CapabilityFlags::EXTENDED_METADATA) {
            reader.lenenc_bytes("extended metadata")?;
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fixed_fields_are_found_behind_extended_metadata() {
        let names = b"\x03def\x03app\x01t\x01t\x01j\x01j";
        let fixed = [0x0C, 0x2D, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0xFC, 0x10, 0, 0, 0, 0];
        let plain = ColumnDefinition::parse(&[&names[..], &fixed].concat(), CapabilityFlags(0)).unwrap();
        assert_eq!(
            (plain.name.as_slice(), plain.column_type, plain.flags),
            (&b"j"[..], 0xFC, 0x10)
        );
        // From MariaDB 10.11: tag 1, "format", and nothing for types that have a code.
        for extended in [&b"\x06\x01\x04json"[..], b"\x00"] {
            let payload = [&names[..], extended, &fixed].concat();
            let parsed = ColumnDefinition::parse(&payload, CapabilityFlags::EXTENDED_METADATA);
            assert_eq!(parsed.unwrap(), plain);
        }
    }
}
