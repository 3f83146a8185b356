//! Which errors a client accepts: those that a single server gives too.

use mysql_async::Error;

/// A deadlock victim; the whole transaction is rolled back.
pub(super) const DEADLOCK: u16 = 1213;
/// A lock wait that took too long; the statement is rolled back.
pub(super) const LOCK_WAIT_TIMEOUT: u16 = 1205;
/// MariaDB's answer to a deadlock victim that was about to take an auto-increment number; the whole transaction is rolled back.
pub(super) const AUTO_INCREMENT_FAILED: u16 = 1467;
/// A table was altered after the transaction's snapshot.
pub(super) const DEFINITION_CHANGED: u16 = 1412;

/// How a statement ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The whole transaction is gone, as after a deadlock.
    TransactionLost(u16),
    /// Only the statement was undone.
    StatementFailed(u16),
    /// No single server would have answered this.
    Wrong,
}

/// Judges an error by its code, given the codes that the statement itself may lead to.
pub(super) fn judge(error: &Error, expected: &[u16]) -> Verdict {
    let Error::Server(server) = error else {
        return Verdict::Wrong;
    };
    match server.code {
        code @ (DEADLOCK | AUTO_INCREMENT_FAILED) => Verdict::TransactionLost(code),
        code @ (LOCK_WAIT_TIMEOUT | DEFINITION_CHANGED) => Verdict::StatementFailed(code),
        code if expected.contains(&code) => Verdict::StatementFailed(code),
        _ => Verdict::Wrong,
    }
}

/// An error for the statistics: code and beginning of the message, without the values in it.
pub(super) fn kind_of(error: &Error) -> String {
    match error {
        Error::Server(server) => {
            let words: Vec<&str> = server
                .message
                .split_whitespace()
                .filter(|word| !word.contains('\'') && !word.contains('`'))
                .take(9)
                .collect();
            format!("{} {}", server.code, words.join(" "))
        }
        other => other.to_string(),
    }
}
