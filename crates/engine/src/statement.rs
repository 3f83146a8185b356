//! A statement on its way: the client's bytes and what the analysis says about them.

use crate::io::LegReply;
use crate::local_file::LocalFile;
use bytes::{Bytes, BytesMut};
use grove_recovery_log::{Outcome, ResultOutcome, StatementBody};
use grove_sql::Analysis;
use grove_wire::{Reply, ResultEnd, StatusFlags};
use std::sync::Arc;

/// A prepared statement of a session, prepared on a server when it is first needed there.
#[derive(Debug)]
pub struct Prepared {
    /// The id that the client knows.
    pub id: u32,
    /// Statement text.
    pub text: Bytes,
    /// What the text means.
    pub analysis: Arc<Analysis>,
    /// Number of parameters.
    pub params: u16,
}

/// A command that carries a statement.
#[derive(Clone, Debug)]
pub enum Body {
    /// COM_QUERY: the payload with its command byte.
    Query(Bytes),
    /// COM_QUERY of a LOAD DATA LOCAL whose file is known.
    Load {
        /// The payload with its command byte.
        payload: Bytes,
        /// What the server is given when it asks for the file.
        file: Arc<dyn LocalFile>,
    },
    /// COM_STMT_EXECUTE.
    Execute {
        /// The statement.
        prepared: Arc<Prepared>,
        /// The payload with its command byte and parameter types; the statement id in it is replaced per server.
        payload: Bytes,
        /// Values that came through COM_STMT_SEND_LONG_DATA, by parameter index.
        long_data: Arc<Vec<(u16, Bytes)>>,
    },
}

impl Body {
    /// A COM_QUERY with `sql`.
    pub fn query(sql: &[u8]) -> Self {
        Self::Query(query_payload(sql))
    }

    /// The statement's text, whichever way it came.
    pub fn text(&self) -> &[u8] {
        match self {
            Self::Query(payload) | Self::Load { payload, .. } => payload.get(1..).unwrap_or_default(),
            Self::Execute { prepared, .. } => &prepared.text,
        }
    }

    /// Bytes that the body keeps in memory.
    pub fn len(&self) -> usize {
        match self {
            Self::Query(payload) => payload.len(),
            Self::Load { payload, file } => payload.len() + file.cost(),
            Self::Execute { payload, long_data, .. } => {
                payload.len() + long_data.iter().map(|(_, data)| data.len()).sum::<usize>()
            }
        }
    }

    /// True for a body without bytes, which no client sends.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn logged(&self) -> StatementBody {
        match self {
            Self::Query(payload) => StatementBody::Text(payload.slice(1..)),
            Self::Load { payload, .. } => StatementBody::LoadWithoutFile(payload.slice(1..)),
            Self::Execute {
                prepared,
                payload,
                long_data,
            } => StatementBody::Execute {
                text: prepared.text.clone(),
                parameters: payload.clone(),
                long_data: long_data.to_vec(),
            },
        }
    }
}

/// A statement.
#[derive(Clone, Debug)]
pub struct Statement {
    /// The command.
    pub body: Body,
    /// What it means.
    pub analysis: Arc<Analysis>,
}

impl Statement {
    /// The same statement, which now has its file.
    pub(crate) fn with_file(&self, file: Arc<dyn LocalFile>) -> Self {
        let body = match &self.body {
            Body::Query(payload) | Body::Load { payload, .. } => Body::Load {
                payload: payload.clone(),
                file,
            },
            body @ Body::Execute { .. } => body.clone(),
        };
        Self {
            body,
            analysis: Arc::clone(&self.analysis),
        }
    }
}

/// Whether the server waits for a file of the client's.
pub(crate) fn asks_for_file(reply: &LegReply) -> bool {
    matches!(reply.reply.last(), ResultEnd::LocalInfile)
}

/// COM_QUERY payload for one of Grove's own statements.
pub(crate) fn query_payload(sql: &[u8]) -> Bytes {
    let mut payload = BytesMut::with_capacity(sql.len() + 1);
    payload.extend_from_slice(&[grove_wire::command::COM_QUERY]);
    payload.extend_from_slice(sql);
    payload.freeze()
}

/// Tells a leg what LAST_INSERT_ID() is to say.
pub(crate) fn set_last_insert_id(id: u64) -> Bytes {
    query_payload(format!("SET LAST_INSERT_ID={id}").as_bytes())
}

/// What servers must agree on, out of a reply.
pub(crate) fn outcome_of(reply: &Reply) -> Outcome {
    let results = reply
        .results
        .iter()
        .map(|end| match end {
            ResultEnd::Ok(ok) => ResultOutcome::Ok {
                affected_rows: ok.affected_rows,
                last_insert_id: ok.last_insert_id,
                info: ok.info.clone(),
            },
            ResultEnd::Err(err) => ResultOutcome::Err { code: err.code },
            ResultEnd::Rows { rows, .. } => ResultOutcome::Rows { rows: *rows },
            ResultEnd::Prepared { .. } | ResultEnd::LocalInfile | ResultEnd::Packet => ResultOutcome::Rows { rows: 0 },
        })
        .collect();
    let in_transaction = reply
        .status()
        .is_some_and(|status| status.contains(StatusFlags::IN_TRANS));
    Outcome {
        results,
        in_transaction,
    }
}

/// The insert id that a reply reports, 0 if none.
pub(crate) fn insert_id(outcome: &Outcome) -> u64 {
    match outcome.results.last() {
        Some(ResultOutcome::Ok { last_insert_id, .. }) => *last_insert_id,
        _ => 0,
    }
}
