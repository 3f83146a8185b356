//! Statements that describe: SHOW, EXPLAIN, DESCRIBE, HELP, CHECKSUM; and those of the same family that execute what they describe.

use crate::analysis::{Analysis, Class, TouchedTables};
use crate::facts::Facts;
use crate::lexer::TokenKind;
use crate::tokens::Tokens;
use crate::walk::Walker;

use super::definition::listed;
use super::statement;

const STATEMENTS: [&str; 8] = [
    "SELECT", "INSERT", "REPLACE", "UPDATE", "DELETE", "TABLE", "VALUES", "WITH",
];

/// HELP.
pub(super) fn help() -> Analysis {
    reads(Facts::default())
}

fn reads(mut facts: Facts) -> Analysis {
    facts.flags.describes_server = true;
    let class = if facts.only_reads() {
        Class::Read
    } else {
        Class::Unknown
    };
    facts.into_analysis(class, Vec::new())
}

/// SHOW. Its WHERE may hold any expression.
pub(super) fn show(tokens: &Tokens, at: usize) -> Option<Analysis> {
    let filter = (at + 1..tokens.len()).find(|&i| tokens.is(i, "WHERE"));
    let mut facts = Walker::over(tokens, filter.unwrap_or(tokens.len()));
    let what = tokens.after_any(at + 1, &["FULL", "EXTENDED"]);
    let named = match tokens.keyword(what).as_str() {
        "COLUMNS" | "FIELDS" | "INDEX" | "INDEXES" | "KEYS" if tokens.is_any(what + 1, &["FROM", "IN"]) => {
            Some(what + 2)
        }
        "CREATE" if tokens.is_any(what + 1, &["TABLE", "VIEW", "SEQUENCE"]) => Some(what + 2),
        "WARNINGS" | "ERRORS" | "COUNT" => {
            facts.flags.is_show_warnings_or_errors = true;
            None
        }
        _ => None,
    };
    if let Some((mut table, end)) = named.and_then(|named| tokens.table_name(named)) {
        // SHOW COLUMNS FROM t FROM schema
        if tokens.is_any(end, &["FROM", "IN"]) {
            table.schema = tokens.name(end + 1).or(table.schema);
        }
        facts.name_table(table);
    }
    Some(reads(facts))
}

/// EXPLAIN and its synonyms, of a table or of a statement.
pub(super) fn explain(tokens: &Tokens, at: usize) -> Option<Analysis> {
    let mut next = at + 1;
    let mut executes = false;
    let mut into = None;
    loop {
        if tokens.is(next, "ANALYZE") {
            executes = true;
            next += 1;
        } else if tokens.is_any(next, &["EXTENDED", "PARTITIONS"]) && next + 1 < tokens.len() {
            next += 1;
        } else if tokens.is(next, "FORMAT") && tokens.is_punctuation(next + 1, b'=') {
            next += 3;
        } else if tokens.is(next, "INTO") && tokens.is_kind(next + 1, TokenKind::UserVariable) {
            into = Some(tokens.user_variable(next + 1)?);
            next += 2;
        } else if tokens.is(next, "FOR") && tokens.is_any(next + 1, &["SCHEMA", "DATABASE"]) {
            next += 3;
        } else {
            break;
        }
    }
    let mut analysis = if tokens.is(next, "FOR") {
        reads(Facts::default())
    } else if tokens.is_any(next, &STATEMENTS) || tokens.is_punctuation(next, b'(') {
        let inner = statement(tokens, next);
        if executes { executed(inner) } else { planned(inner) }
    } else {
        // DESCRIBE t [column]
        let (table, _) = tokens.table_name(next)?;
        let mut facts = Facts::default();
        facts.name_table(table);
        reads(facts)
    };
    analysis.user_variables_written.extend(into);
    Some(analysis)
}

/// A statement that is executed while it is described.
fn executed(mut analysis: Analysis) -> Analysis {
    analysis.flags.describes_server = true;
    analysis
}

/// A statement that is only planned. Planning evaluates what it takes for constant, subqueries and functions included, and reads rows that it finds
/// by a unique key with the lock that the statement asks for.
fn planned(mut analysis: Analysis) -> Analysis {
    let flags = &mut analysis.flags;
    flags.describes_server = true;
    flags.returning = false;
    match analysis.class {
        Class::Write(_) if !flags.calls_unknown_function && analysis.tables != TouchedTables::Unknown => {
            analysis.class = Class::Read;
            analysis.written = TouchedTables::none();
        }
        Class::Write(_) => analysis.class = Class::Unknown,
        _ => {}
    }
    analysis
}

/// ANALYZE TABLE, and MariaDB's ANALYZE of a statement, which executes it.
pub(super) fn analyze(tokens: &Tokens, at: usize) -> Option<Analysis> {
    let table = tokens.after_any(at + 1, &["NO_WRITE_TO_BINLOG", "LOCAL"]);
    if tokens.is_any(table, &["TABLE", "TABLES"]) {
        return Some(listed(tokens, table + 1));
    }
    let mut next = at + 1;
    if tokens.is(next, "FORMAT") && tokens.is_punctuation(next + 1, b'=') {
        next += 3;
    }
    let is_statement = tokens.is_any(next, &STATEMENTS) || tokens.is_punctuation(next, b'(');
    is_statement.then(|| executed(statement(tokens, next)))
}

/// CHECKSUM TABLE, which reads.
pub(super) fn checksum(tokens: &Tokens, at: usize) -> Option<Analysis> {
    if !tokens.is_any(at + 1, &["TABLE", "TABLES"]) {
        return None;
    }
    let (tables, _) = tokens.table_list(at + 2)?;
    let mut facts = Facts::default();
    tables.into_iter().for_each(|table| facts.name_table(table));
    Some(facts.into_analysis(Class::Read, Vec::new()))
}
