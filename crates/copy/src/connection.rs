//! Questions and orders over one connection.

use bytes::Bytes;
use grove_engine::io::{CopyError, Discard, Leg, LegError, ReplySink};
use grove_wire::{ErrPacket, Reply, ReplyShape};

use crate::PASSING;
use crate::rows::Frames;

/// Answers to Grove's own questions are definitions and lists of them.
const LONGEST_ANSWER: usize = 256 << 20;
/// ER_UNKNOWN_SYSTEM_VARIABLE, and what MySQL says where a variable is not for the session.
const NOT_KNOWN: [u16; 3] = [1193, 1229, 1238];
const COM_QUERY: u8 = 3;

/// The values of one row; `None` is NULL.
pub(crate) type Row = Vec<Option<Vec<u8>>>;

pub(crate) struct Connection<L: Leg> {
    leg: L,
    /// In bytes; for a connection that is written to.
    pub longest_statement: usize,
}

impl<L: Leg> Connection<L> {
    pub fn new(leg: L) -> Self {
        Self {
            leg,
            longest_statement: usize::MAX,
        }
    }

    /// Fixes the instant of which everything that is read from now on is.
    pub async fn begin_snapshot(&mut self) -> Result<(), CopyError> {
        self.say("START TRANSACTION WITH CONSISTENT SNAPSHOT").await?;
        self.say("SAVEPOINT nothing_read").await
    }

    /// Gives up the metadata locks of all tables that have been read since the instant, for which an ALTER would wait. The snapshot stays.
    pub async fn release_tables(&mut self) -> Result<(), CopyError> {
        self.say("ROLLBACK TO SAVEPOINT nothing_read").await
    }

    /// Has a statement executed that gives no rows, or whose rows do not matter.
    pub async fn say(&mut self, sql: impl AsRef<[u8]>) -> Result<(), CopyError> {
        let sql = sql.as_ref();
        match self.attempt(sql).await? {
            None => Ok(()),
            Some(err) => Err(refused(sql, &err)),
        }
    }

    /// The same, for a setting that not every server has.
    pub async fn try_to_say(&mut self, sql: &str) -> Result<(), CopyError> {
        match self.attempt(sql.as_bytes()).await? {
            Some(err) if !NOT_KNOWN.contains(&err.code) => Err(refused(sql.as_bytes(), &err)),
            _ => Ok(()),
        }
    }

    /// Has a statement executed. Gives the server's error, if it has one.
    pub async fn attempt(&mut self, sql: &[u8]) -> Result<Option<ErrPacket>, CopyError> {
        self.run(sql, &mut Discard).await
    }

    /// Has a statement executed. Gives how many warnings it has left; they can be asked for next.
    pub async fn warnings_of(&mut self, sql: &[u8]) -> Result<u16, CopyError> {
        let reply = self.execute(sql, &mut Discard).await?;
        match reply.err() {
            Some(err) => Err(refused(sql, err)),
            None => Ok(reply.ok().map_or(0, |ok| ok.warnings)),
        }
    }

    /// The rows that a question gives.
    pub async fn ask(&mut self, sql: impl AsRef<[u8]>) -> Result<Vec<Row>, CopyError> {
        let rows = self.ask_unless(sql, &[]).await?;
        Ok(rows.unwrap_or_default())
    }

    /// The rows that a question gives, or `None` if the server answers with one of these errors.
    pub async fn ask_unless(&mut self, sql: impl AsRef<[u8]>, errors: &[u16]) -> Result<Option<Vec<Row>>, CopyError> {
        let sql = sql.as_ref();
        let mut rows = Collected::default();
        match self.run(sql, &mut rows).await? {
            None => Ok(Some(rows.rows)),
            Some(err) if errors.contains(&err.code) => Ok(None),
            Some(err) => Err(refused(sql, &err)),
        }
    }

    /// Sends the rows that a question gives to a sink of frames.
    pub async fn run<S: ReplySink>(&mut self, sql: &[u8], sink: &mut S) -> Result<Option<ErrPacket>, CopyError> {
        Ok(self.execute(sql, sink).await?.err().cloned())
    }

    async fn execute<S: ReplySink>(&mut self, sql: &[u8], sink: &mut S) -> Result<Reply, CopyError> {
        let mut command = Vec::with_capacity(sql.len() + 1);
        command.push(COM_QUERY);
        command.extend_from_slice(sql);
        self.leg.send(&[Bytes::from(command)]).await?;
        Ok(self.leg.receive(ReplyShape::Query, sink).await?.reply)
    }
}

/// What a server's refusal means for the copy.
pub(crate) fn refused(sql: &[u8], err: &ErrPacket) -> CopyError {
    let statement: String = String::from_utf8_lossy(sql).chars().take(200).collect();
    let message = String::from_utf8_lossy(&err.message);
    let reason = format!("error {}: {message}, on: {statement}", err.code);
    match PASSING.contains(&err.code) {
        true => CopyError::Changed(reason),
        false => CopyError::Unsuitable(reason),
    }
}

#[derive(Default)]
struct Collected {
    frames: Frames,
    rows: Vec<Row>,
    len: usize,
}

impl ReplySink for Collected {
    async fn forward(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.len += bytes.len();
        if self.len > LONGEST_ANSWER {
            return Err(format!("an answer is longer than {LONGEST_ANSWER} bytes"));
        }
        self.frames.take(bytes);
        while let Some(row) = self.frames.next_row() {
            let values = grove_wire::row::text_row(&row);
            self.rows.push(values.map(|value| value.map(<[u8]>::to_vec)).collect());
        }
        Ok(())
    }
}

/// The text of a value in a row of names and definitions.
pub(crate) fn text(row: &Row, at: usize) -> String {
    let value = row.get(at).and_then(Option::as_deref).unwrap_or_default();
    String::from_utf8_lossy(value).into_owned()
}

/// A connection that broke, in the words of the copy.
pub(crate) fn lost(reason: impl Into<String>) -> CopyError {
    CopyError::Lost(LegError::Lost(reason.into()))
}
