//! JSON documents of MySQL. Their text does not carry everything: inside a document a number may be a DECIMAL, and what looks like a string a date or bytes.
//! A document that holds such scalars is asked for as an expression that makes them again; the donor writes it.
//!
//! `json.sql` is the question. `part` walks through a document, a level at a time, and keeps what holds such scalars or is one. An expression gives them the type of
//! its parts: CAST makes a DECIMAL, a DATE, a TIME and a DATETIME; only JSON_TABLE makes a TIMESTAMP, a BLOB and a BIT; the longest that it may become
//! makes a MEDIUMBLOB and a LONGBLOB. Deliberately absent: TINYBLOB, which nothing makes; a document with one gives a statement that fails and says so. The precision
//! of a DECIMAL is not copied, only its digits.
//!
//! In the character set `binary` MySQL takes no string for JSON or a path, so these say their own.

use crate::literal::put_quoted;

const QUESTION: &str = include_str!("json.sql");
/// How an expression begins. No document as text begins with a J.
const EXPRESSION: &[u8] = b"JSON_SET(";

/// What is selected for a column: each document as text or as an expression.
pub(crate) fn question(column: &str) -> String {
    QUESTION.trim_end().replace("{column}", column)
}

/// Appends a document.
pub(crate) fn put(sql: &mut Vec<u8>, value: &[u8]) {
    if value.starts_with(EXPRESSION) {
        sql.extend_from_slice(value);
        return;
    }
    sql.extend_from_slice(b"CONVERT(");
    put_quoted(sql, value);
    sql.extend_from_slice(b" USING utf8mb4)");
}
