//! COM_QUERY: one statement, or several when the client may send several.
//!
//! Several statements are cut apart and run one by one, because each has its own class and its own way to the servers. To the client they
//! are one command: the frames are numbered on, every result but the last says that another follows, and the first error ends it.

use super::connection_status::asks_for_connection;
use super::explain::explained;
use super::{After, Client, conclude, run_to_the_end};
use crate::error::LinkError;
use crate::refusal;
use crate::reply::{Next, ReplyWriter};
use bytes::Bytes;
use grove_engine::io::World;
use grove_engine::{Body, Query, Statement};
use grove_sql::{Analysis, Class, split};
use grove_wire::CapabilityFlags;
use grove_wire::query_attributes::text_start;
use std::ops::Range;
use std::sync::Arc;

impl<W: World> Client<W> {
    pub(super) async fn query(&mut self, payload: Bytes) -> Result<After, LinkError> {
        let text_at = match text_start(&payload, self.link.capabilities) {
            Ok(at) => at,
            Err(error) => return self.refuse(&refusal::malformed(&error, self.flavor)).await,
        };
        let query = Query::new(payload, text_at);
        let text = query.text();
        let may_be_several = self.link.capabilities.contains(CapabilityFlags::MULTI_STATEMENTS)
            && memchr::memchr(b';', text).is_some_and(|at| at + 1 < text.len());
        if may_be_several {
            let mode = self.session.lex_mode();
            let parts = split(text, mode);
            if parts.len() > 1 {
                return Box::pin(self.several(&query, &parts)).await;
            }
        }
        let analysis = self.shared.analyser.analyse(text, self.session.lex_mode());
        let body = Body::Query(query);
        let (after, _) = self.run_statement(Statement { body, analysis }, Next::End).await?;
        Ok(after)
    }

    async fn several(&mut self, query: &Query, parts: &[Range<usize>]) -> Result<After, LinkError> {
        let text = query.text();
        let mut mode = self.session.lex_mode();
        let mut rest: Vec<Range<usize>> = parts.iter().rev().cloned().collect();
        while let Some(part) = rest.pop() {
            let mut statement = &text[part.clone()];
            if statement.trim_ascii().is_empty() {
                // Nothing between two semicolons: the server says where the text breaks off.
                statement = &text[part.start..];
                rest.clear();
            }
            let next = if rest.is_empty() { Next::End } else { Next::MoreResults };
            let analysis = self.shared.analyser.analyse(statement, mode);
            let body = Body::Query(query.part(statement));
            match self.run_statement(Statement { body, analysis }, next).await? {
                (After::GoesOn, Outcome::Success) => {}
                (after, _) => return Ok(after),
            }
            if self.link.cut.is_cancelled() {
                return Err(LinkError::Cut);
            }
            if mode != self.session.lex_mode()
                && let Some(next) = rest.last()
            {
                // The statement has changed how the rest is to be read.
                mode = self.session.lex_mode();
                let from = next.start;
                let again = split(&text[from..], mode);
                rest = again
                    .iter()
                    .rev()
                    .map(|part| part.start + from..part.end + from)
                    .collect();
            }
        }
        Ok(After::GoesOn)
    }

    /// Runs a statement and sends its reply.
    pub(super) async fn run_statement(
        &mut self,
        statement: Statement,
        next: Next,
    ) -> Result<(After, Outcome), LinkError> {
        self.shared.metrics().statements.add(1);
        if statement.analysis.class == Class::Kill {
            return Box::pin(self.kill(&statement.analysis, next)).await;
        }
        if let Some(text) = explained(&statement) {
            let text = text.to_vec();
            return Box::pin(self.explain(text, next)).await;
        }
        if asks_for_connection(&statement) {
            return Box::pin(self.show_connection_status(&statement, next)).await;
        }
        let cut = self.link.cut.clone();
        let mut writer = ReplyWriter::new(&mut self.link).followed_by(next);
        let execution = self.session.execute(&statement, &mut writer);
        let result = run_to_the_end(&self.interrupter, &cut, execution).await;
        let outcome = match &result {
            Ok(frame) if !grove_wire::is_err_frame(frame) => Outcome::Success,
            _ => Outcome::Error,
        };
        let after = conclude(writer, result, next_after(outcome, next)).await?;
        if outcome == Outcome::Success && releases(&statement.analysis) {
            return Ok((After::Ends, outcome));
        }
        Ok((after, outcome))
    }
}

/// Whether the statements after this one are run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Success,
    Error,
}

/// Nothing follows an error.
fn next_after(outcome: Outcome, next: Next) -> Next {
    match outcome {
        Outcome::Success => next,
        Outcome::Error => Next::End,
    }
}

/// COMMIT RELEASE and ROLLBACK RELEASE end the connection, as they do on a server.
fn releases(analysis: &Arc<Analysis>) -> bool {
    matches!(
        analysis.class,
        Class::Commit { release: true, .. } | Class::Rollback { release: true, .. }
    )
}
