//! Queries, and the statements that are little more than expressions: CALL, DO, HANDLER, diagnostics.

use crate::analysis::{Analysis, Class, TouchedTables};
use crate::facts::Facts;
use crate::tokens::Tokens;
use crate::walk::Walker;

/// SELECT, VALUES, TABLE, and parentheses around them.
pub(super) fn query(mut walker: Walker) -> Analysis {
    walker.finish();
    let class = walker.facts.class_of_query();
    walker.facts.into_analysis(class, Vec::new())
}

/// The position of the statement that follows a WITH clause at `at`.
pub(super) fn after_common_tables(tokens: &Tokens, at: usize) -> usize {
    let mut next = tokens.after_optional(at + 1, "RECURSIVE");
    while next < tokens.len() {
        // The name, its columns, AS and the query.
        next += 1;
        if tokens.is_punctuation(next, b'(') {
            next = tokens.after_parentheses(next);
        }
        next = tokens.after_parentheses(tokens.after_optional(next, "AS"));
        if tokens.is(next, "CYCLE") {
            while next < tokens.len() && !tokens.is(next, "RESTRICT") {
                next += 1;
            }
            next += 1;
        }
        if !tokens.is_punctuation(next, b',') {
            break;
        }
        next += 1;
    }
    next
}

/// CALL: a routine may do anything, and may assign the variables that it is given.
pub(super) fn call(tokens: &Tokens, at: usize) -> Option<Analysis> {
    let (_, arguments) = tokens.table_name(at + 1)?;
    let mut facts = Walker::over(tokens, arguments);
    for name in facts.variables_read.clone() {
        facts.write_variable(name);
    }
    let mut analysis = facts.into_analysis(Class::Call, Vec::new());
    analysis.tables = TouchedTables::Unknown;
    analysis.written = TouchedTables::Unknown;
    Some(analysis)
}

/// DO: a query without an answer.
pub(super) fn evaluate(tokens: &Tokens, at: usize) -> Option<Analysis> {
    let facts = Walker::over(tokens, at + 1);
    let class = match facts.class_of_query() {
        Class::Read => Class::Read,
        _ => Class::Do,
    };
    Some(facts.into_analysis(class, Vec::new()))
}

/// HANDLER t OPEN, READ, CLOSE.
pub(super) fn handler(tokens: &Tokens, at: usize) -> Option<Analysis> {
    let (table, end) = tokens.table_name(at + 1)?;
    let mut facts = Walker::over(tokens, end);
    facts.name_table(table);
    Some(facts.into_analysis(Class::Handler, Vec::new()))
}

/// SIGNAL, RESIGNAL and GET DIAGNOSTICS. They answer from the session's diagnostics area, or fill it, and touch nothing else.
pub(super) fn diagnostics(tokens: &Tokens, at: usize, word: &str) -> Option<Analysis> {
    if word != "GET" {
        let facts = Walker::over(tokens, at + 1);
        let class = if facts.only_reads() {
            Class::Read
        } else {
            Class::Unknown
        };
        return Some(facts.into_analysis(class, Vec::new()));
    }
    let next = tokens.after_any(at + 1, &["CURRENT", "STACKED"]);
    if !tokens.is(next, "DIAGNOSTICS") {
        return None;
    }
    let mut facts = Facts::default();
    for position in next..tokens.len() {
        if let Some(name) = tokens.user_variable(position) {
            if tokens.is_punctuation(position + 1, b'=') {
                facts.write_variable(name);
            } else {
                facts.read_variable(name);
            }
        }
    }
    facts.flags.is_show_warnings_or_errors = true;
    Some(facts.into_analysis(Class::Read, Vec::new()))
}
