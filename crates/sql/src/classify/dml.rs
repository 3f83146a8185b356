//! INSERT, REPLACE, UPDATE and DELETE.

use crate::analysis::{Analysis, Class, TableName, WriteKind};
use crate::facts::Facts;
use crate::name::Name;
use crate::parser;
use crate::tokens::Tokens;
use crate::walk::Walker;

use super::unknown;

/// More targets than this are not looked up among the tables.
const MOST_TARGETS: usize = 256;

/// INSERT and REPLACE, whose verb is at `verb`.
pub(super) fn insert(mut walker: Walker, verb: usize) -> Analysis {
    let tokens = walker.tokens();
    let kind = if tokens.is(verb, "REPLACE") {
        WriteKind::Replace
    } else {
        WriteKind::Insert
    };
    let modifiers = ["LOW_PRIORITY", "HIGH_PRIORITY", "DELAYED", "IGNORE"];
    let after_modifiers = tokens.after_any(verb + 1, &modifiers);
    walker.facts.flags.ignore = (verb + 1..after_modifiers).any(|at| tokens.is(at, "IGNORE"));
    let Some((table, mut next)) = tokens.table_name(tokens.after_optional(after_modifiers, "INTO")) else {
        return unknown();
    };
    if tokens.is(next, "PARTITION") {
        next = tokens.after_parentheses(next + 1);
    }
    // Columns, unless it is a query in parentheses.
    if tokens.is_punctuation(next, b'(') && !begins_query_in_parentheses(tokens, next) {
        next = tokens.after_parentheses(next);
    }
    let flags = &mut walker.facts.flags;
    if tokens.is_any(next, &["VALUES", "VALUE"]) {
        // VALUES ROW(..) is a query of its own, whose rows are inserted.
        flags.insert_select = tokens.is(next + 1, "ROW");
        flags.multi_row_insert = has_more_rows(tokens, next + 1);
    } else {
        flags.insert_select = !tokens.is(next, "SET");
    }
    walker.go_to(next);
    walker.finish();
    write(walker.facts, kind, vec![table])
}

fn begins_query_in_parentheses(tokens: &Tokens, at: usize) -> bool {
    let mut inner = at;
    while tokens.is_punctuation(inner, b'(') {
        inner += 1;
    }
    tokens.begins_query(inner)
}

/// Whether the rows at `at` are more than one.
fn has_more_rows(tokens: &Tokens, at: usize) -> bool {
    let row = tokens.after_optional(at, "ROW");
    tokens.is_punctuation(tokens.after_parentheses(row), b',')
}

/// UPDATE, of one table or of several.
pub(super) fn update(mut walker: Walker, verb: usize) -> Analysis {
    let tokens = walker.tokens();
    let tables = tokens.after_any(verb + 1, &["LOW_PRIORITY", "IGNORE"]);
    walker.facts.flags.ignore = (verb + 1..tables).any(|at| tokens.is(at, "IGNORE"));
    walker.go_to(tables);
    walker.expect_tables();
    walker.finish();
    let all = targets(&walker.facts);
    let written = match all.len() {
        0 | 1 => all,
        _ => parser::assigned_tables(tokens, tables)
            .and_then(|named| resolve(&walker.facts, named))
            .unwrap_or(all),
    };
    write(walker.facts, WriteKind::Update, written)
}

/// DELETE in its three forms.
pub(super) fn delete(mut walker: Walker, verb: usize) -> Analysis {
    let tokens = walker.tokens();
    let next = tokens.after_any(verb + 1, &["LOW_PRIORITY", "QUICK", "IGNORE", "HISTORY"]);
    walker.facts.flags.ignore = (verb + 1..next).any(|at| tokens.is(at, "IGNORE"));
    let named = if tokens.is(next, "FROM") {
        let list = target_list(tokens, next + 1);
        match list {
            // DELETE FROM a, b USING a JOIN b
            Some((named, end)) if tokens.is(end, "USING") => {
                walker.go_to(end + 1);
                Some(named)
            }
            _ => {
                walker.go_to(next + 1);
                None
            }
        }
    } else {
        // DELETE a, b FROM a JOIN b
        let Some((named, end)) = target_list(tokens, next) else {
            return unknown();
        };
        if !tokens.is(end, "FROM") {
            return unknown();
        }
        walker.go_to(end + 1);
        Some(named)
    };
    walker.expect_tables();
    walker.finish();
    let all = targets(&walker.facts);
    let written = match named {
        Some(named) => resolve(&walker.facts, named).unwrap_or(all),
        None => all,
    };
    write(walker.facts, WriteKind::Delete, written)
}

/// The tables that a DELETE of several names: `a, b.*, c.d.*`.
fn target_list(tokens: &Tokens, mut at: usize) -> Option<(Vec<TableName>, usize)> {
    let mut targets = Vec::new();
    loop {
        let (table, mut end) = tokens.table_name(at)?;
        targets.push(table);
        if tokens.is_punctuation(end, b'.') && tokens.is_punctuation(end + 1, b'*') {
            end += 2;
        }
        if !tokens.is_punctuation(end, b',') {
            return Some((targets, end));
        }
        at = end + 1;
    }
}

/// The tables that names in a DELETE or an UPDATE of several tables mean, which may be aliases; `None` if one of them means none or several.
fn resolve(facts: &Facts, targets: Vec<TableName>) -> Option<Vec<TableName>> {
    if targets.len() > MOST_TARGETS {
        return None;
    }
    let means = |name: &Name, target: &TableName| name.eq_ignore_case(&target.name);
    targets
        .into_iter()
        .map(|target| {
            let mut meant = facts.tables.iter().filter(|reference| {
                !reference.in_query
                    && match &reference.alias {
                        Some(alias) => target.schema.is_none() && means(alias, &target),
                        None => means(&reference.table.name, &target),
                    }
            });
            match (meant.next(), meant.next()) {
                (Some(reference), None) => Some(reference.table.clone()),
                _ => None,
            }
        })
        .collect()
}

/// The tables that the statement works on, as far as they are no queries.
fn targets(facts: &Facts) -> Vec<TableName> {
    let references = facts.tables.iter().filter(|reference| !reference.in_query);
    references.map(|reference| reference.table.clone()).collect()
}

fn write(mut facts: Facts, kind: WriteKind, written: Vec<TableName>) -> Analysis {
    facts.flags.returning = facts.saw_returning;
    // A write without a target that was understood is no statement that is understood.
    facts.opaque |= written.is_empty();
    facts.into_analysis(Class::Write(kind), written)
}
