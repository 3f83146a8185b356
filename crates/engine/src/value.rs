//! Literals: a value that one server returned, written so that another server takes it with the same type.
//!
//! Only for Grove's own questions about variables; clients' results are never decoded.

use crate::io::Collect;
use grove_wire::CapabilityFlags;
use grove_wire::column::ColumnDefinition;

/// Values of the single row of a small text result: a literal for SQL, and the plain bytes.
pub(crate) struct Answer {
    pub literal: Vec<u8>,
    pub plain: Vec<u8>,
    pub is_text: bool,
    pub is_null: bool,
}

/// Reads the collected frames of a one-row result (column count, definitions, perhaps EOF, row), which came from a leg with `capabilities`.
pub(crate) fn read_one_row(collected: &Collect, capabilities: CapabilityFlags) -> Option<Vec<Answer>> {
    let mut frames = frames(&collected.bytes);
    let count = *frames.next()?.first()? as usize;
    let mut columns = Vec::with_capacity(count);
    for _ in 0..count {
        columns.push(ColumnDefinition::parse(frames.next()?, capabilities).ok()?);
    }
    let mut row = frames.next()?;
    if row.first() == Some(&0xFE) && row.len() < 9 {
        row = frames.next()?;
    }
    let answers = grove_wire::row::text_row(row)
        .zip(&columns)
        .map(|(value, column)| Answer {
            literal: literal(column, value),
            plain: value.unwrap_or_default().to_vec(),
            is_text: matches!(column.column_type, 0x0F | 0xFA..=0xFE),
            is_null: value.is_none(),
        });
    Some(answers.collect())
}

/// Every row of a small text result.
pub(crate) fn read_rows(collected: &Collect, capabilities: CapabilityFlags) -> Vec<Vec<Option<Vec<u8>>>> {
    let mut frames = frames(&collected.bytes);
    let columns = column_count(frames.next());
    let ends_definitions = usize::from(!capabilities.contains(CapabilityFlags::DEPRECATE_EOF));
    let rows = frames.skip(columns + ends_definitions);
    rows.map(|row| {
        grove_wire::row::text_row(row)
            .map(|value| value.map(<[u8]>::to_vec))
            .collect()
    })
    .collect()
}

/// Every row of a small text result, as texts; NULL as an empty one.
pub(crate) fn read_all_rows(collected: &Collect, capabilities: CapabilityFlags) -> Vec<Vec<String>> {
    let text = |value: Option<Vec<u8>>| String::from_utf8_lossy(&value.unwrap_or_default()).into_owned();
    let rows = read_rows(collected, capabilities).into_iter();
    rows.map(|row| row.into_iter().map(text).collect()).collect()
}

/// The columns of a small result.
pub(crate) fn read_definitions(collected: &Collect, capabilities: CapabilityFlags) -> Vec<ColumnDefinition> {
    let mut frames = frames(&collected.bytes);
    let columns = column_count(frames.next());
    let definitions = frames.take(columns);
    definitions
        .filter_map(|frame| ColumnDefinition::parse(frame, capabilities).ok())
        .collect()
}

fn column_count(head: Option<&[u8]>) -> usize {
    let count = head.and_then(grove_wire::column_count);
    count.and_then(|count| usize::try_from(count).ok()).unwrap_or(0)
}

/// Payloads of whole frames.
pub(crate) fn frames(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let (header, after) = rest.split_at_checked(4)?;
        let length = usize::from(header[0]) | usize::from(header[1]) << 8 | usize::from(header[2]) << 16;
        let (payload, next) = after.split_at_checked(length)?;
        rest = next;
        Some(payload)
    })
}

/// Whole frames with their headers, to be changed in place.
pub(crate) fn frames_mut(bytes: &mut [u8]) -> impl Iterator<Item = &mut [u8]> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let length = grove_wire::packet::frame_payload_len(rest.first_chunk()?);
        let (frame, next) = std::mem::take(&mut rest).split_at_mut_checked(4 + length)?;
        rest = next;
        Some(frame)
    })
}

/// The literal of a value that is no text, or of a text that is plain ASCII. Type codes of the protocol's column definitions (MySQL
/// internals, `enum_field_types`).
fn literal(column: &ColumnDefinition, value: Option<&[u8]>) -> Vec<u8> {
    let Some(value) = value else { return b"NULL".to_vec() };
    match column.column_type {
        0x01 | 0x02 | 0x03 | 0x08 | 0x09 | 0x0D | 0x00 | 0xF6 => value.to_vec(),
        0x04 | 0x05 if value.contains(&b'e') => value.to_vec(),
        0x04 | 0x05 => [value, b"e0"].concat(),
        _ => {
            let digits = value.iter().flat_map(|byte| format!("{byte:02x}").into_bytes());
            let hex: Vec<u8> = digits.collect();
            [
                if column.charset == BINARY { "x'" } else { "_utf8mb4 x'" }.as_bytes(),
                &hex,
                b"'",
            ]
            .concat()
        }
    }
}

/// Collation id of `binary`.
const BINARY: u16 = 63;

/// The question for a user variable: its value, and what keeps a text's bytes, character set and collation whole on the way.
pub(crate) fn user_variable_question(names: &[&[u8]]) -> Vec<u8> {
    let mut sql = b"SELECT ".to_vec();
    for (index, name) in names.iter().enumerate() {
        if index > 0 {
            sql.push(b',');
        }
        let name = user_variable(name);
        for part in [&b""[..], b",HEX(", b",CHARSET(", b",COLLATION("] {
            sql.extend_from_slice(part);
            sql.extend_from_slice(&name);
            if !part.is_empty() {
                sql.push(b')');
            }
        }
    }
    sql
}

/// The literals in the answer to [`user_variable_question`].
pub(crate) fn user_variable_literals(answers: &[Answer]) -> impl Iterator<Item = Vec<u8>> + '_ {
    answers.chunks_exact(4).map(|parts| match parts {
        [value, hex, charset, collation] if value.is_text && !value.is_null => {
            let bytes = [b"x'", hex.plain.as_slice(), b"'"].concat();
            if charset.plain == b"binary" {
                return bytes;
            }
            [
                b"_",
                charset.plain.as_slice(),
                b" ",
                &bytes,
                b" COLLATE ",
                &collation.plain,
            ]
            .concat()
        }
        [value, ..] => value.literal.clone(),
        [] => b"NULL".to_vec(),
    })
}

/// A user variable's name as SQL.
pub(crate) fn user_variable(name: &[u8]) -> Vec<u8> {
    [b"@`".as_slice(), &escape_backticks(name), b"`"].concat()
}

/// An identifier's bytes with its backticks doubled.
pub(crate) fn escape_backticks(name: &[u8]) -> Vec<u8> {
    name.iter()
        .flat_map(|&byte| std::iter::repeat_n(byte, if byte == b'`' { 2 } else { 1 }))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(literal: &str, plain: &str, is_text: bool) -> Answer {
        Answer {
            literal: literal.into(),
            plain: plain.into(),
            is_text,
            is_null: false,
        }
    }

    #[test]
    fn a_text_keeps_its_character_set_and_a_number_its_type() {
        let answers = [
            answer("?", "\u{fffd}", true),
            answer("", "C4E3", false),
            answer("", "gbk", false),
            answer("", "gbk_chinese_ci", false),
            answer("1.5e0", "1.5", false),
            answer("", "312E35", false),
            answer("", "binary", false),
            answer("", "binary", false),
        ];
        let literals: Vec<_> = user_variable_literals(&answers).collect();
        assert_eq!(
            literals,
            [b"_gbk x'C4E3' COLLATE gbk_chinese_ci".to_vec(), b"1.5e0".to_vec()]
        );
    }

    #[test]
    fn names_are_quoted_in_the_question() {
        let sql = user_variable_question(&[b"a`b"]);
        let expected = "SELECT @`a``b`,HEX(@`a``b`),CHARSET(@`a``b`),COLLATION(@`a``b`)";
        assert_eq!(String::from_utf8(sql).unwrap(), expected);
    }
}
