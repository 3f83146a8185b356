//! Grove's own connections to one server, over which it asks and kills: kept open, remade when broken, few.
//!
//! They are legs of the backend's configured account and not connections of a driver: the same dialing, TLS and login as the data path is what a probe
//! should find out about, and the greeting that clients are told comes with them. Invariants: a question is bounded in time, waiting for a
//! connection included; a connection with an unknown position in its byte stream is never used again.
//! Dropping a question's future closes its connection and nothing else.

use crate::dialer::Dialer;
use crate::leg::{MysqlLeg, query};
use grove_config::Backend;
use grove_engine::io::{Collect, Identity, Leg, LegError};
use grove_wire::handshake::Greeting;
use grove_wire::packet::{HEADER_LEN, frame_payload_len};
use grove_wire::row::text_row;
use grove_wire::{CapabilityFlags, ErrPacket, ReplyShape, ResultEnd};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// utf8mb4_general_ci: known to every server, and what Grove's own statements are written in.
const COLLATION: u16 = 45;

/// Values of one row, as text.
pub(crate) type Row = Vec<Option<String>>;

/// What the server said to a question.
pub(crate) struct Answer {
    pub rows: Vec<Row>,
    /// Greeting of the connection that was asked.
    pub greeting: Arc<Greeting>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AskError {
    /// The server refused the statement.
    #[error("error {}: {}", .0.code, String::from_utf8_lossy(&.0.message))]
    Refused(ErrPacket),
    /// The server could not be asked.
    #[error(transparent)]
    Leg(#[from] LegError),
}

pub(crate) struct ControlPool {
    dialer: Arc<Dialer>,
    identity: Identity,
    limit: Duration,
    /// Bounds the connections in use.
    turns: Semaphore,
    idle: Mutex<Vec<Control>>,
}

impl ControlPool {
    /// A pool of at most `size` connections, each question bounded by `limit`.
    pub fn new(dialer: Arc<Dialer>, backend: &Backend, size: usize, limit: Duration) -> Self {
        let identity = Identity {
            user: backend.user.clone(),
            password: backend.password.expose().to_owned(),
            capabilities: CapabilityFlags::LONG_FLAG,
            collation: COLLATION,
            max_packet_len: 1 << 24,
            database: Vec::new(),
            connect_attributes: b"\x0cprogram_name\x05grove".to_vec(),
            connection_id: 0,
        };
        Self {
            dialer,
            identity,
            limit,
            turns: Semaphore::new(size),
            idle: Mutex::new(Vec::new()),
        }
    }

    /// Name of the server, for messages.
    pub fn name(&self) -> &str {
        &self.dialer.name
    }

    /// Opens a connection that is none of the pool's.
    pub async fn open(&self) -> Result<MysqlLeg, LegError> {
        self.dialer.open(&self.identity).await.map(|(leg, _)| leg)
    }

    /// Runs one statement of Grove's own.
    pub async fn ask(&self, sql: &str) -> Result<Answer, AskError> {
        match timeout(self.limit, self.ask_unbounded(sql)).await {
            Ok(answer) => answer,
            Err(_) => Err(AskError::Leg(LegError::Timeout(self.limit))),
        }
    }

    async fn ask_unbounded(&self, sql: &str) -> Result<Answer, AskError> {
        // The semaphore is never closed, so a turn always comes.
        let _turn = self.turns.acquire().await;
        if let Some(mut control) = self.take_idle() {
            match control.ask(sql).await {
                // The connection ended while it was idle: that says nothing about the server now.
                Err(AskError::Leg(error)) => tracing::debug!(%error, "control connection is remade"),
                answer => {
                    self.put_back(control);
                    return answer;
                }
            }
        }
        let (leg, greeting) = self.dialer.open(&self.identity).await?;
        let mut control = Control {
            leg,
            greeting: Arc::new(greeting),
        };
        let answer = control.ask(sql).await;
        if !matches!(answer, Err(AskError::Leg(_))) {
            self.put_back(control);
        }
        answer
    }

    fn take_idle(&self) -> Option<Control> {
        let mut control = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()?;
        (!control.leg.is_stale()).then_some(control)
    }

    fn put_back(&self, control: Control) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(control);
    }
}

/// One connection.
struct Control {
    leg: MysqlLeg,
    greeting: Arc<Greeting>,
}

impl Control {
    async fn ask(&mut self, sql: &str) -> Result<Answer, AskError> {
        self.leg.send(&[query(sql)]).await?;
        let mut frames = Collect::default();
        let reply = self.leg.receive(ReplyShape::Query, &mut frames).await?;
        let rows = match reply.reply.last() {
            ResultEnd::Err(err) => return Err(AskError::Refused(err.clone())),
            ResultEnd::Rows { columns, .. } => rows(&frames.bytes, *columns),
            _ => Vec::new(),
        };
        Ok(Answer {
            rows,
            greeting: Arc::clone(&self.greeting),
        })
    }
}

/// The rows among the frames of a result without its last one: head, definitions, EOF (a control connection never has DEPRECATE_EOF), rows.
fn rows(frames: &[u8], columns: u64) -> Vec<Row> {
    let before_rows = usize::try_from(columns).unwrap_or(usize::MAX).saturating_add(2);
    payloads(frames).skip(before_rows).map(values).collect()
}

fn values(payload: &[u8]) -> Row {
    text_row(payload)
        .map(|value| value.map(|bytes| String::from_utf8_lossy(bytes).into_owned()))
        .collect()
}

fn payloads(mut frames: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let length = frame_payload_len(frames.first_chunk::<HEADER_LEN>()?);
        let payload = frames.get(HEADER_LEN..HEADER_LEN + length)?;
        frames = &frames[HEADER_LEN + length..];
        Some(payload)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_begin_after_the_definitions() {
        let frame = |payload: &[u8]| [&[payload.len() as u8, 0, 0, 1][..], payload].concat();
        let frames = [
            frame(&[2]),
            frame(b"\x03def"),
            frame(b"\x03def"),
            frame(&[0xFE, 0, 0, 2, 0]),
            frame(b"\x017\x02ab"),
            frame(b"\xFB\x00"),
        ]
        .concat();
        let wanted = vec![
            vec![Some("7".to_owned()), Some("ab".to_owned())],
            vec![None, Some(String::new())],
        ];
        assert_eq!(rows(&frames, 2), wanted);
        assert!(rows(&frames[..7], 2).is_empty());
        assert!(rows(&frames, u64::MAX).is_empty());
    }
}
