//! One statement on its way through the session: as text or prepared, waited for or not, killed by somebody else or not.

use super::{Client, Stop, wrong};
use crate::answer::{Answer, HeldBack};
use crate::model::sql::Sql;
use crate::statements::statement;
use bytes::Bytes;
use grove_engine::{Body, Prepared, SessionError, Statement};
use grove_wire::command::COM_STMT_EXECUTE;
use std::sync::Arc;
use std::time::Duration;

/// A statement that can be executed, or what came in its place.
pub(super) enum Prepares {
    Statement(Statement),
    Failed(Answer),
}

impl Client {
    pub(super) async fn execute(&mut self, sql: &Sql) -> Result<Answer, Stop> {
        self.note(sql.to_string());
        self.around
            .trace
            .event(&[80, self.id as u64], || format!("client {}: {sql}", self.id));
        let statement = match self.statement(sql).await? {
            Prepares::Statement(statement) => statement,
            Prepares::Failed(answer) => {
                self.note_answer(sql, &answer);
                return Ok(answer);
            }
        };
        // What cannot be rolled back is the worst moment to leave.
        let decisive = matches!(sql, Sql::Commit | Sql::Truncate(_));
        let leaves = if decisive {
            5 * self.plan.leaves
        } else {
            self.plan.leaves
        };
        let patience = self.random.chance(leaves).then(|| self.random.below(30));
        if self.random.chance(self.plan.kills) {
            let delay = self.random.below(15);
            self.kill_in(delay);
        }
        let mut sink = HeldBack::default();
        let result = tokio::select! {
            biased;
            result = self.session.execute(&statement, &mut sink) => result,
            () = tokio::time::sleep(Duration::from_millis(patience.unwrap_or(0))), if patience.is_some() => {
                self.around.trace.event(&[82, self.id as u64], || format!("client {} leaves", self.id));
                return Err(Stop::Left);
            }
        };
        let answer = match result {
            Ok(last_frame) => {
                sink.0.extend_from_slice(&last_frame);
                Answer::read(&sink.0)
            }
            Err(error) => self.error(sql, &error)?,
        };
        self.note_answer(sql, &answer);
        Ok(answer)
    }

    pub(super) fn note_answer(&mut self, sql: &Sql, answer: &Answer) {
        let code = answer.code().unwrap_or(0);
        self.around.trace.event(&[81, self.id as u64, u64::from(code)], || {
            format!("client {}: {sql} -> {answer:?}", self.id)
        });
        if code > 0 {
            *self.around.board.notes().errors.entry(code).or_default() += 1;
        }
        self.note_insert_id(sql, answer);
    }

    /// As text, or prepared first.
    pub(super) async fn statement(&mut self, sql: &Sql) -> Result<Prepares, Stop> {
        let plain = statement(sql, &self.around.analyser);
        let rows = sql.is_write() || matches!(sql, Sql::Select { .. });
        if !rows || !self.random.chance(100) {
            return Ok(Prepares::Statement(plain));
        }
        if self.next_statement_id > 0 && self.random.chance(500) {
            self.session.close_statement(self.next_statement_id).await;
        }
        self.next_statement_id += 1;
        let id = self.next_statement_id;
        let text = Bytes::from(sql.to_string());
        let mut sink = HeldBack::default();
        let prepared = self.session.prepare(id, &text, &mut sink).await;
        if let Err(error) = prepared {
            return self.error(sql, &error).map(Prepares::Failed);
        }
        let mut payload = vec![COM_STMT_EXECUTE];
        payload.extend_from_slice(&id.to_le_bytes());
        payload.extend_from_slice(&[0, 1, 0, 0, 0]);
        let prepared = Prepared {
            id,
            text,
            analysis: Arc::clone(&plain.analysis),
            params: 0,
        };
        Ok(Prepares::Statement(Statement {
            body: Body::Execute {
                prepared: Arc::new(prepared),
                payload: payload.into(),
                long_data: Arc::default(),
            },
            analysis: plain.analysis,
        }))
    }

    pub(super) fn error(&self, sql: &Sql, error: &SessionError) -> Result<Answer, Stop> {
        match error {
            SessionError::Fatal(_) => wrong(format!("{sql} closed the connection: {error}")),
            _ => Ok(Answer::Error(error.to_err_packet().code, error.to_string())),
        }
    }

    /// Somebody else kills whatever the client is running then.
    pub(super) fn kill_in(&self, delay: u64) {
        let interrupter = self.session.interrupter();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(delay)).await;
            interrupter.interrupt().await;
        });
    }
}
