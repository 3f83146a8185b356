//! Query attributes (QUERY_ATTRIBUTES, MySQL 8.0.23 and later): named values before the text of a COM_QUERY.
//!
//! They are passed over to find the text, and forwarded as they came. Invariant: a section is passed over as the servers pass over it, or refused;
//! otherwise a server would run another text than Grove has read. Source: MySQL's "Protocol::COM_QUERY"; how long a value of each type is,
//! and which lengths of dates and times are refused, was compared with MySQL 9.7.4.

use crate::CapabilityFlags;
use crate::command::COM_QUERY;
use crate::read::{Reader, WireError};
use bytes::{BufMut, Bytes, BytesMut};

/// A section without attributes: none of them, in one set.
const NONE: [u8; 2] = [0, 1];

/// Where the text begins in the payload of a COM_QUERY, which has its command byte.
pub fn text_start(payload: &[u8], capabilities: CapabilityFlags) -> Result<usize, WireError> {
    let section = payload.get(1..).unwrap_or_default();
    if !capabilities.contains(CapabilityFlags::QUERY_ATTRIBUTES) {
        return Ok(payload.len() - section.len());
    }
    if section.starts_with(&NONE) {
        return Ok(1 + NONE.len());
    }
    let mut reader = Reader::new(section);
    pass_over(&mut reader)?;
    Ok(payload.len() - reader.len())
}

/// A COM_QUERY payload without attributes (command byte and text), laid out by `capabilities`. Other commands are left alone.
pub fn laid_out(payload: Bytes, capabilities: CapabilityFlags) -> Bytes {
    match payload.split_first() {
        Some((&COM_QUERY, text)) if capabilities.contains(CapabilityFlags::QUERY_ATTRIBUTES) => {
            let mut out = BytesMut::with_capacity(payload.len() + NONE.len());
            out.put_u8(COM_QUERY);
            out.put_slice(&NONE);
            out.put_slice(text);
            out.freeze()
        }
        _ => payload,
    }
}

fn pass_over(reader: &mut Reader<'_>) -> Result<(), WireError> {
    let count = reader.lenenc_int("number of attributes")?;
    if reader.lenenc_int("number of attribute sets")? != 1 {
        return Err(WireError::Malformed("query attributes come in one set"));
    }
    if count == 0 {
        return Ok(());
    }
    let count = usize::try_from(count).map_err(|_| WireError::Truncated("attributes"))?;
    let nulls = reader.bytes(count.div_ceil(8), "NULL bitmap")?;
    if reader.u8("new-params-bound flag")? == 0 {
        return Err(WireError::Malformed("query attributes come without types"));
    }
    let mut types = reader.clone();
    pass_over_types(reader, count, HasNames::Yes)?;
    for index in 0..count {
        let [kind, _flags] = types.u16("type")?.to_le_bytes();
        types.lenenc_bytes("name")?;
        let is_null = nulls[index / 8] & 1 << (index % 8) != 0;
        if !is_null {
            pass_over_value(reader, kind)?;
        }
    }
    Ok(())
}

/// Whether each type of a parameter is followed by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HasNames {
    Yes,
    No,
}

/// Passes over `count` types, with the names if they have any.
pub(crate) fn pass_over_types(reader: &mut Reader<'_>, count: usize, names: HasNames) -> Result<(), WireError> {
    if names == HasNames::No {
        return reader.bytes(2 * count, "parameter types").map(|_| ());
    }
    for _ in 0..count {
        reader.u16("parameter type")?;
        reader.lenenc_bytes("parameter name")?;
    }
    Ok(())
}

/// Passes over a value in the binary protocol's form. Type codes are `enum_field_types`.
fn pass_over_value(reader: &mut Reader<'_>, kind: u8) -> Result<(), WireError> {
    let fixed = match kind {
        0x01 => 1,
        0x02 => 2,
        0x03 | 0x04 => 4,
        0x05 | 0x08 => 8,
        // TIMESTAMP and DATETIME, DATE, TIME.
        0x07 | 0x0C => return pass_over_time(reader, &[0, 4, 7, 11, 13]),
        0x0A => return pass_over_time(reader, &[0, 4]),
        0x0B => return pass_over_time(reader, &[0, 8, 12]),
        // BOOL has no form on the wire.
        0xF4 => return Err(WireError::Malformed("an attribute of type BOOL")),
        // Text and bytes; the servers read what they do not know in the same way.
        _ => return reader.lenenc_bytes("attribute").map(|_| ()),
    };
    reader.bytes(fixed, "attribute").map(|_| ())
}

fn pass_over_time(reader: &mut Reader<'_>, lengths: &[u8]) -> Result<(), WireError> {
    let length = reader.u8("length of a time")?;
    if !lengths.contains(&length) {
        return Err(WireError::Malformed("a date or time of an unknown length"));
    }
    reader.bytes(usize::from(length), "time").map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ON: CapabilityFlags = CapabilityFlags::QUERY_ATTRIBUTES;

    /// The text that is found behind a section.
    fn text(section: &[u8]) -> Result<Vec<u8>, WireError> {
        let payload = [&[COM_QUERY], section, b"SELECT 1"].concat();
        text_start(&payload, ON).map(|at| payload[at..].to_vec())
    }

    #[test]
    fn without_the_capability_everything_is_text() {
        assert_eq!(text_start(&[COM_QUERY, 0, 1, b'x'], CapabilityFlags(0)), Ok(1));
        assert_eq!(text_start(&[COM_QUERY], CapabilityFlags(0)), Ok(1));
        assert_eq!(text_start(&[], CapabilityFlags(0)), Ok(0));
    }

    #[test]
    fn the_text_is_found_behind_values_of_every_type() {
        let cases: [&[u8]; 9] = [
            &NONE,
            // One text; a NULL; a text with lengths in two bytes.
            b"\x01\x01\x00\x01\xFD\x00\x01a\x05hello",
            b"\x01\x01\x01\x01\xFD\x00\x01a",
            b"\x01\x01\x00\x01\xFD\x00\xFC\x01\x00a\xFC\x02\x00xy",
            // Numbers of every width.
            b"\x04\x01\x00\x01\x01\x00\x00\x02\x00\x00\x03\x80\x00\x08\x00\x00\x01\x02\x02\x03\x03\x03\x03\x08\x08\x08\x08\x08\x08\x08\x08",
            b"\x02\x01\x00\x01\x04\x00\x00\x05\x00\x00\x04\x04\x04\x04\x05\x05\x05\x05\x05\x05\x05\x05",
            // Times of every length.
            b"\x03\x01\x00\x01\x0C\x00\x00\x0A\x00\x00\x0B\x00\x00\x07ABCDEFG\x04ABCD\x08ABCDEFGH",
            b"\x02\x01\x00\x01\x07\x00\x00\x0B\x00\x00\x00\x00",
            // Nine attributes need two bytes for their NULLs.
            b"\x09\x01\xFF\x00\x01\x01\x00\x00\x01\x00\x00\x01\x00\x00\x01\x00\x00\x01\x00\x00\x01\x00\x00\x01\x00\x00\x01\x00\x00\x01\x00\x00\x07",
        ];
        for section in cases {
            assert_eq!(text(section).unwrap(), b"SELECT 1", "{}", section.escape_ascii());
        }
    }

    #[test]
    fn what_a_server_refuses_is_refused() {
        let cases: [&[u8]; 10] = [
            b"\x00\x00",
            b"\x00\x02",
            b"\x01\x00\x00\x01\xFD\x00\x01a\x01x",
            b"\x01\x01\x00\x00\xFD\x00\x01a\x01x",
            b"\x01\x01\x00\x01\xF4\x00\x01a\x01",
            b"\x01\x01\x00\x01\x0A\x00\x01a\x07ABCDEFG",
            b"\x01\x01\x00\x01\xFD\x00\x01a\xFFx",
            b"\x01\x01\x00\x01\xFD\x00\xFBa\x01x",
            b"\xFB\x01\x00\x01\xFD\x00\x01a\x01x",
            b"\xFE\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01",
        ];
        for section in cases {
            assert!(text(section).is_err(), "{}", section.escape_ascii());
        }
        assert!(text_start(&[COM_QUERY], ON).is_err());
        assert!(text_start(&[COM_QUERY, 0], ON).is_err());
    }

    #[test]
    fn own_statements_get_an_empty_section_where_one_is_expected() {
        let plain = Bytes::from_static(b"\x03BEGIN");
        assert_eq!(laid_out(plain.clone(), CapabilityFlags(0)), plain);
        assert_eq!(laid_out(plain, ON), &b"\x03\x00\x01BEGIN"[..]);
        let ping = Bytes::from_static(&[crate::command::COM_PING]);
        assert_eq!(laid_out(ping.clone(), ON), ping);
    }

    proptest::proptest! {
        #[test]
        fn hostile_sections_never_panic(bytes in proptest::collection::vec(0u8.., 0..80)) {
            if let Ok(at) = text_start(&bytes, ON) {
                assert!(at <= bytes.len());
            }
        }
    }
}
