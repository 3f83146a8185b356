//! ROW_COUNT() after a write: Grove's own statements behind it (its COMMIT, its questions) have reset what the legs would say.
//!
//! The number is put into the answer's row, so that the column keeps its name and type. Deliberately absent: ROW_COUNT() inside larger
//! expressions, in SET and in writes, which see the leg's own.

use super::Session;
use crate::error::SessionError;
use crate::io::{ClientReply, Collect, World};
use crate::statement::{Body, Statement};
use crate::value::frames;
use bytes::BytesMut;
use grove_wire::Reply;
use grove_wire::packet::{HEADER_LEN, encode_frames};

/// Header and NULL bitmap of a binary row of one column.
const BINARY_ROW_PREFIX: usize = 2;

impl<W: World> Session<W> {
    /// Takes note of the lead's answer to a write.
    pub(super) fn note_row_count(&mut self, reply: &Reply) {
        self.row_count = match (reply.err(), reply.ok()) {
            (Some(_), _) => Some(-1),
            (None, ok) => ok.and_then(|ok| i64::try_from(ok.affected_rows).ok()),
        };
    }

    /// Runs a query for ROW_COUNT() and puts `count` into its row.
    pub(super) async fn read_row_count<S: ClientReply>(
        &mut self,
        statement: &Statement,
        count: i64,
        sink: &mut S,
    ) -> Result<BytesMut, SessionError> {
        let mut collect = Collect::default();
        let last_frame = self.read(statement, &mut collect).await?;
        let columns = &statement.analysis.row_count_columns;
        let is_binary = matches!(statement.body, Body::Execute { .. });
        let row = frames(&collect.bytes).last().map(<[u8]>::len);
        let put = row.and_then(|len| {
            let at = collect.bytes.len() - len;
            let row = if is_binary {
                binary_row(&collect.bytes[at..], columns, count)
            } else {
                Some(text_row(&collect.bytes[at..], columns, count))
            };
            let mut sequence = *collect.bytes.get(at - 1)?;
            let mut frame = BytesMut::new();
            encode_frames(&row?, &mut sequence, &mut frame);
            Some((at - HEADER_LEN, frame))
        });
        let is_success = !grove_wire::is_err_frame(&last_frame);
        if let (true, Some((at, frame))) = (is_success, put) {
            collect.bytes.truncate(at);
            collect.bytes.extend_from_slice(&frame);
        }
        sink.forward(&collect.bytes).await.map_err(SessionError::Fatal)?;
        Ok(last_frame)
    }
}

/// The row with `count` as text in `columns`.
fn text_row(row: &[u8], columns: &[u16], count: i64) -> Vec<u8> {
    let text = count.to_string();
    let mut out = Vec::with_capacity(row.len() + columns.len() * text.len());
    for (value, column) in grove_wire::row::text_row(row).zip(0_u16..) {
        let value = if columns.contains(&column) {
            Some(text.as_bytes())
        } else {
            value
        };
        grove_wire::row::put_text_value(&mut out, value);
    }
    out
}

/// The row with `count` as its only value; `None` if it has others, whose lengths depend on their types.
fn binary_row(row: &[u8], columns: &[u16], count: i64) -> Option<Vec<u8>> {
    let is_only_value = columns == [0] && row.len() == BINARY_ROW_PREFIX + size_of::<i64>();
    is_only_value.then(|| [&row[..BINARY_ROW_PREFIX], &count.to_le_bytes()].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_replaces_the_value_of_its_column_only() {
        assert_eq!(text_row(b"\x02ab\x010\xFB", &[1], 250), b"\x02ab\x03250\xFB");
        assert_eq!(text_row(b"\x010", &[0], -1), b"\x02-1");
        assert_eq!(binary_row(&[0; 10], &[0], 3).unwrap(), [0, 0, 3, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(binary_row(&[0; 12], &[0], 3), None);
        assert_eq!(binary_row(&[0; 10], &[1], 3), None);
    }
}
