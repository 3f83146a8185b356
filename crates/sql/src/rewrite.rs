//! Replacing the calls of a rewritable statement by values, token by token in the client's bytes.
//!
//! What is put in is ASCII and an expression of the same type as the call: as far as a column or a function around it can see, nothing has changed, in
//! any character set that a client can have. Tried on both servers:
//! - UUID() is of type UUID in MariaDB from 10.7 on, and text before and in MySQL, there in utf8mb3. MySQL warns of `_utf8mb3'..'`, so it is
//!   written in utf8mb4: both are nothing but ASCII there, which every server converts without being asked.
//! - A binary string is `_binary x'..'`, because `x'..'` alone is a number to MySQL where a number is wanted.
//! - SYSDATE(n) is FROM_UNIXTIME of a number with n decimals: local time with n decimals, whatever the session's time zone is.
//!
//! Deliberately absent: where values come from.

use std::fmt::Write as _;
use std::ops::Range;

use crate::analyser::Analyser;
use crate::classify::classify;
use crate::lexer::{Lexer, TokenKind};
use crate::mode::{Flavor, LexMode};
use crate::own_value::{Found, OwnValue};
use crate::tokens::Tokens;
use crate::verdict::{Reason, Verdict};

/// A statement does not grow by more than this.
const MOST_ADDED: usize = 16 << 20;
/// The servers' own bound of RANDOM_BYTES.
const MOST_RANDOM_BYTES: usize = 1024;
/// MariaDB has had a type of UUIDs since this version.
const UUID_TYPE_SINCE: u32 = 100_700;
/// What permits an unsafe statement, in a comment.
const PERMISSION: &[u8] = b"grove:unsafe=allow";

/// Where the values come from.
pub trait OwnValues {
    /// A UUID that nobody else has.
    fn uuid(&mut self) -> [u8; 16];
    /// A number that nobody else has.
    fn short_uuid(&mut self) -> u64;
    /// Bytes that nobody can guess.
    fn random_bytes(&mut self, length: usize) -> Vec<u8>;
    /// The time, in microseconds since 1970-01-01 UTC: the same for all of one statement.
    fn unix_micros(&mut self) -> u64;
    /// The client's connection.
    fn connection_id(&mut self) -> u32;
}

impl Analyser {
    /// The text of a [`Verdict::Rewritable`] statement with values in place of the calls that each server would answer for itself.
    pub fn rewrite(&self, sql: &[u8], mode: LexMode, values: &mut impl OwnValues) -> Result<Vec<u8>, Reason> {
        let analysis = classify(&Tokens::new(sql, mode));
        if let Verdict::Unsafe(reason) = analysis.verdict {
            return Err(reason);
        }
        if analysis.replaceable.is_empty() {
            // So long that it was not looked at.
            return Err(Reason::TooLong);
        }
        let mut text = Vec::with_capacity(sql.len() + 64 * analysis.replaceable.len().min(1024));
        let mut copied = 0;
        for found in &analysis.replaceable {
            let call = plain_call(found, sql)?;
            let Some(literal) = literal(found, mode, values)? else {
                continue;
            };
            text.extend_from_slice(&sql[copied..call.start]);
            text.extend_from_slice(literal.as_bytes());
            copied = call.end;
            if text.len() > sql.len() + MOST_ADDED {
                return Err(Reason::TooLong);
            }
        }
        text.extend_from_slice(&sql[copied..]);
        Ok(text)
    }
}

/// Where the call is. A comment inside is no reason to lose one that the server may run.
fn plain_call(found: &Found, sql: &[u8]) -> Result<Range<usize>, Reason> {
    let has_no_comment = |call: &Range<usize>| !sql[call.clone()].iter().any(|byte| matches!(byte, b'/' | b'#' | b'-'));
    let call = found.call.clone().filter(has_no_comment);
    call.ok_or(Reason::Argument(found.value.name()))
}

/// What stands for the call; `None` for one that the servers refuse anyway.
fn literal(found: &Found, mode: LexMode, values: &mut impl OwnValues) -> Result<Option<String>, Reason> {
    let argument = found.argument.as_deref();
    let has_type = mode.flavor == Flavor::MariaDb && mode.version >= UUID_TYPE_SINCE;
    Ok(Some(match (found.value, argument) {
        (OwnValue::Uuid, None) if has_type => format!("CAST(_latin1'{}' AS UUID)", hyphenated(values.uuid())),
        // Nothing of the server's own value, but its character set and collation: MySQL warns of whoever writes `_utf8mb3`.
        (OwnValue::Uuid, None) => format!("CONCAT(LEFT(UUID(),0),_latin1'{}')", hyphenated(values.uuid())),
        (OwnValue::SystemGuid, None) => format!("'{}'", hexadecimal(&values.uuid())),
        (OwnValue::UuidShort, None) => format!("CAST({} AS UNSIGNED)", values.short_uuid()),
        (OwnValue::ConnectionId, None) => format!("CAST({} AS UNSIGNED)", values.connection_id()),
        (OwnValue::RandomBytes, Some(argument)) => match number(argument) {
            None => return Err(Reason::Argument(found.value.name())),
            Some(length) if !(1..=MOST_RANDOM_BYTES).contains(&length) => return Ok(None),
            Some(length) => format!("_binary x'{}'", hexadecimal(&values.random_bytes(length))),
        },
        (OwnValue::Sysdate, None) => from_unix_time(values.unix_micros(), 0),
        (OwnValue::Sysdate, Some(argument)) => match number(argument) {
            None => return Err(Reason::Argument(found.value.name())),
            Some(decimals) if decimals > 6 => return Ok(None),
            Some(decimals) => from_unix_time(values.unix_micros(), decimals),
        },
        _ => return Ok(None),
    }))
}

fn number(token: &[u8]) -> Option<usize> {
    let is_plain = token.len() <= 6 && token.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(token).ok().filter(|_| is_plain)?.parse().ok()
}

/// An instant with `decimals` digits of its fraction, the rest cut off as the servers do.
fn from_unix_time(micros: u64, decimals: usize) -> String {
    let seconds = micros / 1_000_000;
    let fraction = format!("{:06}", micros % 1_000_000);
    match fraction.get(..decimals) {
        Some(digits) if decimals > 0 => format!("FROM_UNIXTIME({seconds}.{digits})"),
        _ => format!("FROM_UNIXTIME({seconds})"),
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

fn hyphenated(uuid: [u8; 16]) -> String {
    let digits = hexadecimal(&uuid);
    let parts = [
        &digits[..8],
        &digits[8..12],
        &digits[12..16],
        &digits[16..20],
        &digits[20..],
    ];
    parts.join("-")
}

/// Whether a comment of the statement permits it although it is unsafe: `/* grove:unsafe=allow */`.
pub fn permits_unsafe(sql: &[u8], mode: LexMode) -> bool {
    let mut comments = Lexer::new(sql, mode).filter(|token| token.kind == TokenKind::Comment);
    comments.any(|comment| {
        let words =
            sql[comment.range].split(|byte| byte.is_ascii_whitespace() || matches!(byte, b'*' | b'/' | b'#' | b'-'));
        words.into_iter().any(|word| word.eq_ignore_ascii_case(PERMISSION))
    })
}
