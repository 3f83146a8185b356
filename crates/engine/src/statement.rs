//! A statement on its way: the client's bytes and what the analysis says about them.

use crate::io::LegReply;
use crate::local_file::{LocalFile, read_whole};
use bytes::{BufMut, Bytes, BytesMut};
use grove_recovery_log::{Outcome, ResultOutcome, StatementBody};
use grove_sql::{Analysis, Class, WriteKind};
use grove_wire::command::{COM_QUERY, COM_STMT_BULK_EXECUTE};
use grove_wire::{CapabilityFlags, Reply, ResultEnd, StatusFlags, query_attributes};
use std::sync::Arc;

/// A longer file of a LOAD DATA LOCAL is not in the log.
const LONGEST_LOGGED_FILE: usize = 64 << 20;

/// A prepared statement of a session, prepared on a server when it is first needed there.
#[derive(Debug)]
pub struct Prepared {
    /// The id that the client knows, or [`Self::ONLY_ONCE`].
    pub id: u32,
    /// Statement text.
    pub text: Bytes,
    /// What the text means.
    pub analysis: Arc<Analysis>,
    /// Number of parameters.
    pub params: u16,
}

impl Prepared {
    /// The id of a text that is executed once and never again. No client has it.
    pub(crate) const ONLY_ONCE: u32 = u32::MAX;
}

/// A COM_QUERY as it came. Query attributes, if any, stand before its text; they are part of what a statement may read, so every server is given them.
#[derive(Clone, Debug)]
pub struct Query {
    /// With its command byte.
    payload: Bytes,
    text_at: usize,
}

impl Query {
    /// A payload whose text begins at `text_at`: at 1, behind the command byte, if it was not laid out for attributes.
    pub fn new(payload: Bytes, text_at: usize) -> Self {
        let text_at = text_at.min(payload.len());
        Self { payload, text_at }
    }

    /// The statement's text.
    pub fn text(&self) -> &[u8] {
        &self.payload[self.text_at..]
    }

    /// What is between the command byte and the text.
    fn attributes(&self) -> &[u8] {
        self.payload.get(1..self.text_at).unwrap_or_default()
    }

    /// Part of a text of several statements, with the attributes of all of them.
    pub fn part(&self, statement: &[u8]) -> Self {
        let attributes = self.attributes();
        let mut payload = BytesMut::with_capacity(1 + attributes.len() + statement.len());
        payload.put_u8(COM_QUERY);
        payload.put_slice(attributes);
        payload.put_slice(statement);
        Self::new(payload.freeze(), 1 + attributes.len())
    }

    /// The payload for a leg with `capabilities`. A client's statement is on its way to a leg with the client's own, and not copied.
    pub(crate) fn laid_out(&self, capabilities: CapabilityFlags) -> Bytes {
        let has_section = self.text_at > 1;
        if has_section == capabilities.contains(CapabilityFlags::QUERY_ATTRIBUTES) {
            return self.payload.clone();
        }
        query_attributes::laid_out(query_payload(self.text()), capabilities)
    }

    fn logged(&self) -> StatementBody {
        let text = self.payload.slice(self.text_at..);
        // The first value of a section is the number of attributes.
        match self.attributes().first() {
            None | Some(0) => StatementBody::Text(text),
            Some(_) => StatementBody::Attributed {
                text,
                attributes: self.payload.slice(1..self.text_at),
            },
        }
    }
}

/// A command that carries a statement.
#[derive(Clone, Debug)]
pub enum Body {
    /// COM_QUERY.
    Query(Query),
    /// COM_QUERY of a LOAD DATA LOCAL whose file is known.
    Load {
        /// The statement.
        query: Query,
        /// What the server is given when it asks for the file.
        file: Arc<dyn LocalFile>,
    },
    /// COM_STMT_EXECUTE, or MariaDB's COM_STMT_BULK_EXECUTE.
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
        Self::own(query_payload(sql))
    }

    /// One of Grove's own statements.
    pub(crate) fn own(payload: Bytes) -> Self {
        Self::Query(Query::new(payload, 1))
    }

    /// The statement's text, whichever way it came.
    pub fn text(&self) -> &[u8] {
        match self {
            Self::Query(query) | Self::Load { query, .. } => query.text(),
            Self::Execute { prepared, .. } => &prepared.text,
        }
    }

    /// Whether it is an execution for many rows of parameters.
    pub(crate) fn is_bulk(&self) -> bool {
        matches!(self, Self::Execute { payload, .. } if payload.first() == Some(&COM_STMT_BULK_EXECUTE))
    }

    /// Bytes that the body keeps in memory.
    pub fn len(&self) -> usize {
        match self {
            Self::Query(query) => query.payload.len(),
            Self::Load { query, file } => query.payload.len() + file.cost(),
            Self::Execute {
                prepared,
                payload,
                long_data,
            } => {
                let own_text = match prepared.id {
                    Prepared::ONLY_ONCE => prepared.text.len(),
                    _ => 0,
                };
                own_text + payload.len() + long_data.iter().map(|(_, data)| data.len()).sum::<usize>()
            }
        }
    }

    /// True for a body without bytes, which no client sends.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The same as [`Self::logged`], with the client's file if it is not too large.
    pub(crate) async fn logged_with_file(&self) -> StatementBody {
        if let Self::Load { query, file } = self
            && let Some(file) = read_whole(file.as_ref(), LONGEST_LOGGED_FILE).await
        {
            let text = query.payload.slice(query.text_at..);
            return StatementBody::Load { text, file };
        }
        self.logged()
    }

    pub(crate) fn logged(&self) -> StatementBody {
        match self {
            Self::Query(query) => query.logged(),
            Self::Load { query, .. } => StatementBody::LoadWithoutFile(query.payload.slice(query.text_at..)),
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
    /// A bulk execution of an UPDATE or a DELETE: the servers run it row by row, so that one which fails leaves what the rows before it have done. An
    /// INSERT for many rows is one statement.
    pub(crate) fn may_fail_half_way(&self) -> bool {
        let is_one_statement = matches!(
            self.analysis.class,
            Class::Write(WriteKind::Insert | WriteKind::Replace)
        );
        self.body.is_bulk() && !is_one_statement
    }

    /// The same statement with values in its text. A prepared one is prepared for this execution alone, because the next one has other values.
    pub(crate) fn with_text(&self, text: &[u8]) -> Self {
        let body = match &self.body {
            Body::Query(query) => Body::Query(query.part(text)),
            Body::Load { query, file } => Body::Load {
                query: query.part(text),
                file: Arc::clone(file),
            },
            Body::Execute {
                prepared,
                payload,
                long_data,
            } => Body::Execute {
                prepared: Arc::new(Prepared {
                    id: Prepared::ONLY_ONCE,
                    text: Bytes::copy_from_slice(text),
                    analysis: Arc::clone(&prepared.analysis),
                    params: prepared.params,
                }),
                payload: payload.clone(),
                long_data: Arc::clone(long_data),
            },
        };
        Self {
            body,
            analysis: Arc::clone(&self.analysis),
        }
    }

    /// The same statement, which now has its file.
    pub(crate) fn with_file(&self, file: Arc<dyn LocalFile>) -> Self {
        let body = match &self.body {
            Body::Query(query) | Body::Load { query, .. } => Body::Load {
                query: query.clone(),
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

/// COM_QUERY payload for one of Grove's own statements, without attributes; [`crate::leg::OpenLeg`] lays it out as its server expects it.
pub(crate) fn query_payload(sql: &[u8]) -> Bytes {
    let mut payload = BytesMut::with_capacity(sql.len() + 1);
    payload.extend_from_slice(&[COM_QUERY]);
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

/// Results for operators to read.
pub(crate) fn words_of(results: &[ResultOutcome]) -> String {
    let words = results.iter().map(|result| match result {
        ResultOutcome::Ok {
            affected_rows,
            last_insert_id,
            info,
        } => {
            let id = match last_insert_id {
                0 => String::new(),
                id => format!(", insert id {id}"),
            };
            // Servers send it with its length.
            let info = match info.split_first() {
                Some((&len, rest)) if usize::from(len) == rest.len() => rest,
                _ => info,
            };
            let info = match info {
                [] => String::new(),
                info => format!(" ({})", String::from_utf8_lossy(info)),
            };
            format!("OK, {affected_rows} rows affected{id}{info}")
        }
        ResultOutcome::Err { code } => format!("error {code}"),
        ResultOutcome::Rows { rows } => format!("{rows} rows"),
    });
    words.collect::<Vec<_>>().join(", then ")
}

/// The insert id that a reply reports, 0 if none.
pub(crate) fn insert_id(outcome: &Outcome) -> u64 {
    match outcome.results.last() {
        Some(ResultOutcome::Ok { last_insert_id, .. }) => *last_insert_id,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ON: CapabilityFlags = CapabilityFlags::QUERY_ATTRIBUTES;
    const SECTION: &[u8] = b"\x01\x01\x00\x01\xFD\x00\x01a\x01x";

    fn attributed(text: &[u8]) -> Query {
        let payload = [&[COM_QUERY], SECTION, text].concat();
        Query::new(payload.into(), 1 + SECTION.len())
    }

    #[test]
    fn a_statement_keeps_its_attributes_and_its_text_is_text_only() {
        let query = attributed(b"DO 1; DO 2");
        assert_eq!(query.text(), b"DO 1; DO 2");
        assert_eq!(query.laid_out(ON), query.payload);
        assert_eq!(query.laid_out(CapabilityFlags(0)), &b"\x03DO 1; DO 2"[..]);
        let part = query.part(b" DO 2");
        assert_eq!((part.text(), part.attributes()), (&b" DO 2"[..], SECTION));
        let plain = Query::new(query_payload(b"DO 1"), 1);
        assert_eq!(plain.laid_out(CapabilityFlags(0)), plain.payload);
        assert_eq!(plain.laid_out(ON), &b"\x03\x00\x01DO 1"[..]);
        assert_eq!(plain.part(b"DO 2").payload, &b"\x03DO 2"[..]);
    }

    #[test]
    fn results_are_told_in_words() {
        let ok = ResultOutcome::Ok {
            affected_rows: 2,
            last_insert_id: 7,
            info: Bytes::from_static(b"\x07Rows: 2"),
        };
        let results = [ok, ResultOutcome::Rows { rows: 3 }, ResultOutcome::Err { code: 1062 }];
        assert_eq!(
            words_of(&results),
            "OK, 2 rows affected, insert id 7 (Rows: 2), then 3 rows, then error 1062"
        );
    }

    #[test]
    fn the_log_has_the_text_and_attributes_beside_it_if_there_are_any() {
        let text = |body: StatementBody| match body {
            StatementBody::Text(text) => (text, Bytes::new()),
            StatementBody::Attributed { text, attributes } => (text, attributes),
            StatementBody::Execute { .. } | StatementBody::LoadWithoutFile(_) | StatementBody::Load { .. } => {
                panic!("a text")
            }
        };
        let none = Query::new(Bytes::from_static(b"\x03\x00\x01DO 1"), 3);
        let cases = [
            (Query::new(query_payload(b"DO 1"), 1), &b""[..]),
            (none, b""),
            (attributed(b"DO 1"), SECTION),
        ];
        for (query, attributes) in cases {
            let logged = text(Body::Query(query).logged());
            assert_eq!((&logged.0[..], &logged.1[..]), (&b"DO 1"[..], attributes));
        }
    }
}
