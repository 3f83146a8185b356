//! A statement of the hunt, and the small random choices that all of them share.

use mysql_async::Value;

use super::schema::{GROUPS, ITEMS};
use crate::Random;

/// A statement and the errors that it may lead to on a single server, besides those of locking.
#[derive(Clone, Debug)]
pub(super) struct Statement {
    pub(super) sql: String,
    /// Values for a prepared statement; `None` for the text protocol.
    pub(super) params: Option<Vec<Value>>,
    pub(super) expected: &'static [u16],
}

/// A duplicate key.
pub(super) const DUPLICATE: u16 = 1062;

/// Text protocol; cannot fail but for locks.
pub(super) fn text(sql: String) -> Statement {
    failing(sql, &[])
}

/// Text protocol; may fail with these codes.
pub(super) fn failing(sql: String, expected: &'static [u16]) -> Statement {
    Statement {
        sql,
        params: None,
        expected,
    }
}

/// A prepared statement with its values.
pub(super) fn prepared(sql: &str, params: Vec<Value>, expected: &'static [u16]) -> Statement {
    Statement {
        sql: sql.to_owned(),
        params: Some(params),
        expected,
    }
}
/// Id of an item that may exist.
pub(super) fn item(random: &mut Random) -> u64 {
    random.between(1, ITEMS)
}

/// A group of items.
pub(super) fn group(random: &mut Random) -> u64 {
    random.between(1, GROUPS)
}

/// Two ends of a short range of items.
pub(super) fn range(random: &mut Random) -> (u64, u64) {
    let from = item(random);
    (from, from + random.below(8))
}
