//! The rows of one table, or of one range of it, from one server to the other: as they come, in statements of about a MiB.

use bytes::{Buf as _, BytesMut};
use grove_engine::io::{CopyError, Leg, ReplySink};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::connection::{Connection, lost};
use crate::definitions::Table;
use crate::warnings;

/// Size of an INSERT statement, in bytes; a longer row is one statement by itself.
const STATEMENT_LEN: usize = 1 << 20;
const HEADER_LEN: usize = 4;
/// A payload of this length goes on in the next frame.
const FULL_FRAME: usize = 0x00FF_FFFF;

/// Finds the rows in the frames of a text result: head, definitions, EOF, rows. The last frame is not among them.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    buffer: BytesMut,
    /// Frames before the rows that are still to come; `None` before the head.
    before_rows: Option<u64>,
    /// The beginning of a payload that goes on.
    begun: BytesMut,
}

impl Frames {
    pub fn take(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The payload of the next row, if it is there as a whole.
    pub fn next_row(&mut self) -> Option<BytesMut> {
        loop {
            let payload = self.next_payload()?;
            match &mut self.before_rows {
                None => self.before_rows = Some(columns(&payload)? + 1),
                Some(0) => return Some(payload),
                Some(left) => *left -= 1,
            }
        }
    }

    fn next_payload(&mut self) -> Option<BytesMut> {
        loop {
            let header = self.buffer.first_chunk::<HEADER_LEN>()?;
            let len = usize::from(header[0]) | usize::from(header[1]) << 8 | usize::from(header[2]) << 16;
            if self.buffer.len() < HEADER_LEN + len {
                self.buffer.reserve(HEADER_LEN + len);
                return None;
            }
            self.buffer.advance(HEADER_LEN);
            let payload = self.buffer.split_to(len);
            if len == FULL_FRAME {
                self.begun.unsplit(payload);
            } else if self.begun.is_empty() {
                return Some(payload);
            } else {
                let mut whole = self.begun.split();
                whole.unsplit(payload);
                return Some(whole);
            }
        }
    }
}

/// The number of columns in a result's head; tables have up to some thousands.
fn columns(head: &[u8]) -> Option<u64> {
    match head {
        [0xFC, low, high, ..] => Some(u64::from(u16::from_le_bytes([*low, *high]))),
        [few, ..] => Some(u64::from(*few)),
        [] => None,
    }
}

/// Writes what it is sent into a table.
pub(crate) struct Writer<'a, L: Leg> {
    frames: Frames,
    into: &'a mut Connection<L>,
    /// The longest statement that the server takes, in bytes.
    longest: usize,
    /// `INSERT INTO .. VALUES `
    head: &'a str,
    table: &'a Table,
    statement: Vec<u8>,
    rows: u64,
    written: &'a AtomicU64,
    /// Why no more can be written.
    pub failure: Option<CopyError>,
}

impl<'a, L: Leg> Writer<'a, L> {
    pub fn new(into: &'a mut Connection<L>, head: &'a str, table: &'a Table, written: &'a AtomicU64) -> Self {
        Self {
            frames: Frames::default(),
            longest: into.longest_statement,
            into,
            head,
            table,
            statement: Vec::new(),
            rows: 0,
            written,
            failure: None,
        }
    }

    /// Writes what has not filled a statement.
    pub async fn finish(mut self) -> Result<(), CopyError> {
        match self.failure.take() {
            Some(failure) => Err(failure),
            None => self.flush().await,
        }
    }

    fn put(&mut self, row: &[u8]) -> Result<(), CopyError> {
        let begin: &[u8] = match self.statement.is_empty() {
            true => self.head.as_bytes(),
            false => b",",
        };
        self.statement.extend_from_slice(begin);
        let mut values = grove_wire::row::text_row(row);
        for (at, (_, form)) in self.table.columns.iter().enumerate() {
            self.statement.push(if at == 0 { b'(' } else { b',' });
            let value = values
                .next()
                .ok_or_else(|| lost("a row has fewer values than its table columns"))?;
            form.put(&mut self.statement, value);
        }
        self.statement.push(b')');
        self.rows += 1;
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), CopyError> {
        if self.statement.is_empty() {
            return Ok(());
        }
        if self.statement.len() >= self.longest {
            // The server would close the connection.
            return Err(CopyError::Unsuitable(format!(
                "{}.. has a row of {} bytes, and the server takes {}: set max_allowed_packet there to 1G",
                self.head.split(" (").next().unwrap_or_default(),
                self.statement.len(),
                self.longest
            )));
        }
        let warnings = self.into.warnings_of(&self.statement).await?;
        if warnings > 0
            && let Some(change) = warnings::of_a_changed_value(self.into, self.table).await?
        {
            return Err(CopyError::Unsuitable(format!(
                "a value would not arrive in {}.{} as it is: {change}",
                self.table.schema, self.table.name
            )));
        }
        self.statement.clear();
        self.written
            .fetch_add(std::mem::take(&mut self.rows), Ordering::Relaxed);
        Ok(())
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), CopyError> {
        self.frames.take(bytes);
        while let Some(row) = self.frames.next_row() {
            let before = self.statement.len();
            self.put(&row)?;
            if self.statement.len() >= self.longest && before > 0 {
                // The row alone may fit.
                let rest = self.statement.split_off(before);
                self.rows -= 1;
                self.flush().await?;
                self.statement.extend_from_slice(self.head.as_bytes());
                self.statement.extend_from_slice(&rest[1..]);
                self.rows = 1;
            }
            if self.statement.len() >= STATEMENT_LEN {
                self.flush().await?;
            }
        }
        Ok(())
    }
}

impl<L: Leg> ReplySink for Writer<'_, L> {
    async fn forward(&mut self, bytes: &[u8]) -> Result<(), String> {
        let written = self.write(bytes).await;
        written.map_err(|error| {
            let reason = error.to_string();
            self.failure = Some(error);
            reason
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(payload: &[u8]) -> Vec<u8> {
        let len = (payload.len() as u32).to_le_bytes();
        [&len[..3], &[0], payload].concat()
    }

    #[test]
    fn rows_come_whole_however_the_bytes_are_cut() {
        let long = vec![7_u8; FULL_FRAME];
        let bytes = [
            frame(&[2]),
            frame(b"def"),
            frame(b"def"),
            frame(&[0xFE, 0, 0, 2, 0]),
            frame(b"first"),
            frame(&long),
            frame(b"rest"),
            frame(b"third"),
        ]
        .concat();
        for cut in [1, 3, 4, 5, 1000, 1 << 20, bytes.len()] {
            if cut < 1000 && bytes.len() > 1000 {
                // The short pieces only where the structure is.
                let mut frames = Frames::default();
                bytes[..40].chunks(cut).for_each(|piece| frames.take(piece));
                assert_eq!(frames.next_row().unwrap(), &b"first"[..]);
                continue;
            }
            let (mut frames, mut rows) = (Frames::default(), Vec::new());
            for piece in bytes.chunks(cut) {
                frames.take(piece);
                while let Some(row) = frames.next_row() {
                    rows.push(row);
                }
            }
            assert_eq!(rows.len(), 3, "{cut}");
            assert_eq!(rows[1].len(), FULL_FRAME + 4);
            assert_eq!(rows[2], &b"third"[..]);
        }
    }
}
