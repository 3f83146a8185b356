//! What operators run: maintenance of tables, FLUSH, RESET, KILL, plugins, replication.

use crate::analysis::{Analysis, Class, KillTarget};
use crate::lexer::TokenKind;
use crate::tokens::Tokens;

use super::definition::listed;
use super::without_tables;

/// Statements whose first word is at `at`.
pub(super) fn administration(tokens: &Tokens, at: usize, word: &str) -> Option<Analysis> {
    match word {
        // CHECK TABLE commits like the others: on the servers it is one of the statements with an implicit commit.
        "CHECK" | "OPTIMIZE" | "REPAIR" => {
            let next = tokens.after_any(at + 1, &["NO_WRITE_TO_BINLOG", "LOCAL"]);
            tokens
                .is_any(next, &["TABLE", "TABLES", "VIEW"])
                .then(|| listed(tokens, next + 1))
        }
        "CACHE" if tokens.is(at + 1, "INDEX") => Some(listed(tokens, at + 2)),
        "FLUSH" => Some(flush(tokens, at)),
        "RESET" | "INSTALL" | "UNINSTALL" | "CHANGE" | "STOP" => Some(without_tables(Class::Ddl)),
        "IMPORT" if tokens.is(at + 1, "TABLE") => Some(Analysis::new(Class::Ddl)),
        _ => None,
    }
}

/// FLUSH. With the words for it, it locks tables for the session, and without a list all of them.
fn flush(tokens: &Tokens, at: usize) -> Analysis {
    let next = tokens.after_any(at + 1, &["NO_WRITE_TO_BINLOG", "LOCAL"]);
    let locks =
        (next..tokens.len()).any(|i| tokens.are(i, &["WITH", "READ", "LOCK"]) || tokens.are(i, &["FOR", "EXPORT"]));
    let mut analysis = if !tokens.is_any(next, &["TABLE", "TABLES"]) {
        without_tables(Class::Ddl)
    } else if next + 1 == tokens.len() || tokens.is_any(next + 1, &["WITH", "FOR"]) {
        Analysis::new(Class::Ddl)
    } else {
        listed(tokens, next + 1)
    };
    if locks {
        analysis.class = Class::LockTables;
    }
    analysis
}

/// KILL [HARD | SOFT] [CONNECTION | QUERY [ID]] n.
pub(super) fn kill(tokens: &Tokens, at: usize) -> Analysis {
    let mut next = tokens.after_any(at + 1, &["HARD", "SOFT"]);
    let query_only = tokens.is(next, "QUERY");
    next = tokens.after_any(next, &["CONNECTION", "QUERY"]);
    let is_id = next + 1 == tokens.len() && tokens.is_kind(next, TokenKind::Number);
    let id = std::str::from_utf8(tokens.bytes(next))
        .ok()
        .and_then(|text| text.parse().ok());
    let mut analysis = without_tables(Class::Kill);
    analysis.kill = Some(KillTarget {
        id: id.filter(|_| is_id),
        query_only,
    });
    analysis
}
