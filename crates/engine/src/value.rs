//! Literals: a value that one server returned, written so that another server takes it with the same type.
//!
//! Only for Grove's own questions about variables; clients' results are never decoded.

use crate::io::Collect;
use grove_wire::column::ColumnDefinition;

/// Values of the single row of a small text result: a literal for SQL, and the plain bytes.
pub(crate) struct Answer {
    pub literal: Vec<u8>,
    pub plain: Vec<u8>,
}

/// Reads the collected frames of a one-row result (column count, definitions, perhaps EOF, row).
pub(crate) fn read_one_row(collected: &Collect) -> Option<Vec<Answer>> {
    let mut frames = frames(&collected.bytes);
    let count = *frames.next()?.first()? as usize;
    let mut columns = Vec::with_capacity(count);
    for _ in 0..count {
        columns.push(ColumnDefinition::parse(frames.next()?).ok()?);
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
        });
    Some(answers.collect())
}

fn frames(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let (header, after) = rest.split_at_checked(4)?;
        let length = usize::from(header[0]) | usize::from(header[1]) << 8 | usize::from(header[2]) << 16;
        let (payload, next) = after.split_at_checked(length)?;
        rest = next;
        Some(payload)
    })
}

/// Type codes of the protocol's column definitions (MySQL internals, `enum_field_types`).
fn literal(column: &ColumnDefinition, value: Option<&[u8]>) -> Vec<u8> {
    let Some(value) = value else { return b"NULL".to_vec() };
    match column.column_type {
        0x01 | 0x02 | 0x03 | 0x08 | 0x09 | 0x0D | 0x00 | 0xF6 => value.to_vec(),
        0x04 | 0x05 if value.contains(&b'e') => value.to_vec(),
        0x04 | 0x05 => [value, b"e0"].concat(),
        _ => {
            let mut text = introducer(column.charset).as_bytes().to_vec();
            text.extend_from_slice(b"x'");
            text.extend(value.iter().flat_map(|byte| format!("{byte:02x}").into_bytes()));
            text.push(b'\'');
            text
        }
    }
}

fn introducer(collation: u16) -> &'static str {
    match collation {
        63 => "",
        5 | 8 | 15 | 31 | 47 | 48 | 49 | 94 => "_latin1 ",
        11 | 65 => "_ascii ",
        33 | 83 | 192..=215 | 223 => "_utf8 ",
        _ => "_utf8mb4 ",
    }
}
