//! What becomes of a statement that would not leave the same rows on every server: values in its text, a message, or an error.
//!
//! It is decided once, before the statement takes its way, so that the lead, the followers and the log have the same text, and an attempt that
//! is made again the same values. See `docs/consistency.md` for what is unsafe.

use super::Session;
use crate::error::SessionError;
use crate::group::Group;
use crate::io::{Clock, Entropy, World};
use crate::settings::UnsafeStatements;
use crate::statement::Statement;
use grove_sql::{Lexer, OwnValues, Reason, TokenKind, Verdict, permits_unsafe};
use grove_wire::ErrPacket;

/// ER_BINLOG_UNSAFE_STATEMENT: what a server says of the same statements under statement-based replication.
const UNSAFE_STATEMENT: u16 = 1592;
/// Bytes of a statement in the log.
const LONGEST_LOGGED: usize = 300;

impl<W: World> Session<W> {
    /// The statement as all servers are to execute it, if that is another one than the client's.
    pub(super) fn judged(&self, statement: &Statement) -> Result<Option<Statement>, SessionError> {
        match statement.analysis.verdict {
            Verdict::Deterministic => Ok(None),
            Verdict::Unsafe(reason) => self.condemned(statement, reason).map(|()| None),
            Verdict::Rewritable if statement.body.is_bulk() => self.condemned(statement, Reason::Bulk).map(|()| None),
            Verdict::Rewritable => {
                let text = statement.body.text();
                match self.analyser.rewrite(text, self.state.lex_mode, &mut self.values()) {
                    Ok(text) => {
                        self.group.metrics().rewritten_statements.add(1);
                        Ok(Some(statement.with_text(&text)))
                    }
                    Err(reason) => self.condemned(statement, reason).map(|()| None),
                }
            }
        }
    }

    /// The same for `EXECUTE`, whose analysis is that of another text, which stays as it is.
    pub(super) fn judged_elsewhere(&self, statement: &Statement) -> Result<(), SessionError> {
        match statement.analysis.verdict {
            Verdict::Deterministic => Ok(()),
            Verdict::Unsafe(reason) => self.condemned(statement, reason),
            Verdict::Rewritable => self.condemned(statement, Reason::PreparedText),
        }
    }

    /// Values for one statement.
    pub(super) fn values(&self) -> Values<'_, W> {
        Values {
            group: &self.group,
            unix_micros: self.group.world.clock().unix_micros(),
            connection_id: self.identity.connection_id,
        }
    }

    /// Refuses the statement, or lets it run as it is.
    fn condemned(&self, statement: &Statement, reason: Reason) -> Result<(), SessionError> {
        let (text, mode) = (statement.body.text(), self.state.lex_mode);
        let policy = self.group.settings.unsafe_statements;
        if policy == UnsafeStatements::Allow || permits_unsafe(text, mode) {
            return Ok(());
        }
        self.group.metrics().unsafe_statements.add(1);
        if policy == UnsafeStatements::Reject {
            return Err(SessionError::Refused(refusal(reason)));
        }
        let (digest, now) = (statement.analysis.digest, self.group.world.clock().now());
        if self.group.notices.is_due(digest, now) {
            let statement = without_literals(text, mode);
            tracing::warn!(%reason, remedy = reason.remedy(), statement, "a statement may leave other rows on each server");
        }
        Ok(())
    }
}

fn refusal(reason: Reason) -> ErrPacket {
    let remedy = reason.remedy();
    let message = format!("Unsafe statement: {reason}; {remedy}, or permit it with /* grove:unsafe=allow */");
    ErrPacket::new(UNSAFE_STATEMENT, "HY000", &message)
}

/// The beginning of a statement, without what its writer may not want to see in a log.
fn without_literals(sql: &[u8], mode: grove_sql::LexMode) -> String {
    let mut shown = Vec::new();
    for token in Lexer::new(sql, mode) {
        match token.kind {
            TokenKind::String | TokenKind::Number => shown.push(b'?'),
            TokenKind::Comment | TokenKind::Unterminated => {}
            _ => shown.extend_from_slice(&sql[token.range]),
        }
        if shown.len() > LONGEST_LOGGED {
            break;
        }
    }
    shown.truncate(LONGEST_LOGGED);
    String::from_utf8_lossy(&shown).into_owned()
}

/// Values for one statement.
pub(super) struct Values<'a, W: World> {
    group: &'a Group<W>,
    unix_micros: u64,
    connection_id: u32,
}

impl<W: World> OwnValues for Values<'_, W> {
    fn uuid(&mut self) -> [u8; 16] {
        self.group.unique.uuid(self.unix_micros)
    }

    fn short_uuid(&mut self) -> u64 {
        self.group.unique.short(self.unix_micros)
    }

    fn random_bytes(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.group.world.entropy().fill_secret(&mut bytes);
        bytes
    }

    fn unix_micros(&mut self) -> u64 {
        self.unix_micros
    }

    fn connection_id(&mut self) -> u32 {
        self.connection_id
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use grove_sql::{Flavor, LexMode};

    #[test]
    fn a_refusal_names_the_reason_and_the_way_out() {
        let refused = refusal(Reason::EachRow("UUID()"));
        let message = String::from_utf8(refused.message.to_vec()).unwrap();
        let expected = "Unsafe statement: UUID() gives each row another value, on each server; select the value first and write it as a \
                        literal or a parameter, or permit it with /* grove:unsafe=allow */";
        assert_eq!((refused.code, message.as_str()), (1592, expected));
    }

    #[test]
    fn the_log_shows_no_literals_and_not_too_much() {
        let mode = LexMode::new(Flavor::MariaDb, 101_119);
        let sql = b"UPDATE t SET a = 'secret', b = UUID() /* mine */ WHERE c = 5 LIMIT 1";
        let shown = without_literals(sql, mode);
        assert_eq!(shown, "UPDATE t SET a = ?, b = UUID()  WHERE c = ? LIMIT ?");
        let long = "x ".repeat(1_000);
        assert_eq!(without_literals(long.as_bytes(), mode).len(), LONGEST_LOGGED);
    }
}
