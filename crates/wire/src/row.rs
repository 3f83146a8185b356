//! Rows of the text protocol, for Grove's own small questions only.

use crate::read::{Reader, put_lenenc_bytes};

/// Appends a value to a text row.
pub fn put_text_value(row: &mut Vec<u8>, value: Option<&[u8]>) {
    match value {
        None => row.push(0xFB),
        Some(value) => put_lenenc_bytes(row, value),
    }
}

/// The values of a text row; `None` is NULL. Ends early at malformed bytes.
pub fn text_row(payload: &[u8]) -> impl Iterator<Item = Option<&[u8]>> {
    let mut rest = payload;
    std::iter::from_fn(move || {
        if let [0xFB, tail @ ..] = rest {
            rest = tail;
            return Some(None);
        }
        let mut reader = Reader::new(rest);
        let value = reader.lenenc_bytes("value").ok()?;
        rest = reader.rest();
        Some(Some(value))
    })
}
