//! CREATE, ALTER, DROP, RENAME and TRUNCATE.

use crate::analysis::{Analysis, Class, TableName, TouchedTables};
use crate::facts::Facts;
use crate::tokens::Tokens;
use crate::walk::Walker;

use super::without_tables;

/// What a definition is about, as far as tables are concerned.
const TABULAR: [&str; 5] = ["TABLE", "TABLES", "VIEW", "INDEX", "SEQUENCE"];
/// Programs that statements call. Defining one touches no table; whatever calls one may touch any.
const PROGRAMS: [&str; 5] = ["PROCEDURE", "FUNCTION", "EVENT", "PACKAGE", "LIBRARY"];
/// What has tables that its name does not tell.
const CONTAINERS: [&str; 4] = ["TRIGGER", "DATABASE", "SCHEMA", "MATERIALIZED"];
/// What no table is part of.
const OTHER: [&str; 12] = [
    "USER",
    "ROLE",
    "SERVER",
    "TABLESPACE",
    "LOGFILE",
    "RESOURCE",
    "INSTANCE",
    "SPATIAL",
    "UNDO",
    "CATALOG",
    "MASKING",
    "IMPORT",
];

/// The object's word after the verb at `at`: its position.
fn object(tokens: &Tokens, at: usize) -> Option<usize> {
    (at + 1..tokens.len()).find(|&i| {
        if tokens.is(i, "SPATIAL") {
            return !tokens.is(i + 1, "INDEX");
        }
        let kinds: [&[&str]; 4] = [&TABULAR, &PROGRAMS, &CONTAINERS, &OTHER];
        kinds.iter().any(|kind| tokens.is_any(i, kind))
    })
}

/// CREATE.
pub(super) fn create(tokens: &Tokens, at: usize) -> Option<Analysis> {
    let object = object(tokens, at)?;
    let temporary = (at + 1..object).any(|i| tokens.is(i, "TEMPORARY"));
    let name = tokens.after_all(object + 1, &["IF", "NOT", "EXISTS"]);
    Some(match tokens.keyword(object).as_str() {
        "TABLE" => create_table(tokens, name, class(temporary))?,
        "VIEW" => {
            let (view, end) = tokens.table_name(name)?;
            Walker::over(tokens, end).into_analysis(Class::Ddl, vec![view])
        }
        "SEQUENCE" => {
            let (sequence, _) = tokens.table_name(name)?;
            Facts::default().into_analysis(class(temporary), vec![sequence])
        }
        "INDEX" | "TRIGGER" => on_table(tokens, object),
        // A new schema is empty.
        "DATABASE" | "SCHEMA" => without_tables(Class::Ddl),
        word => of_object(word),
    })
}

fn class(temporary: bool) -> Class {
    if temporary { Class::TemporaryDdl } else { Class::Ddl }
}

/// A definition of something that is no table.
fn of_object(word: &str) -> Analysis {
    if OTHER.contains(&word) || PROGRAMS.contains(&word) {
        without_tables(Class::Ddl)
    } else {
        Analysis::new(Class::Ddl)
    }
}

/// CREATE TABLE, whose name is at `name`.
fn create_table(tokens: &Tokens, name: usize, class: Class) -> Option<Analysis> {
    let (table, end) = tokens.table_name(name)?;
    let query = query_start(tokens, end);
    let mut walker = Walker::new(tokens, query.unwrap_or(tokens.len()));
    walker.finish();
    let mut facts = walker.facts;
    facts.flags.insert_select = query.is_some();
    facts.flags.ignore = query.is_some_and(|query| (end..query).any(|i| tokens.is(i, "IGNORE")));
    note_referenced(tokens, end, query.unwrap_or(tokens.len()), &mut facts);
    Some(facts.into_analysis(class, vec![table]))
}

/// Where the query of CREATE TABLE .. SELECT begins, with its parentheses.
fn query_start(tokens: &Tokens, from: usize) -> Option<usize> {
    let mut depth = 0usize;
    let begins = |at: usize, depth: usize| {
        tokens.is(at, "SELECT") || tokens.begins_cte(at) || depth == 0 && tokens.is_any(at, &["VALUES", "TABLE"])
    };
    let mut at = from;
    while at < tokens.len() && !begins(at, depth) {
        if tokens.is_punctuation(at, b'(') {
            depth += 1;
        } else if tokens.is_punctuation(at, b')') {
            depth = depth.saturating_sub(1);
        }
        at += 1;
    }
    if at >= tokens.len() {
        return None;
    }
    while tokens.is_punctuation(at - 1, b'(') {
        at -= 1;
    }
    Some(at)
}

/// Tables that a definition refers to: foreign keys, LIKE, renaming, partitions that change places.
fn note_referenced(tokens: &Tokens, from: usize, end: usize, facts: &mut Facts) {
    for at in from..end {
        let next = match tokens.keyword(at).as_str() {
            "REFERENCES" | "LIKE" => at + 1,
            "TABLE" if tokens.is_any(at.wrapping_sub(1), &["WITH", "TO", "CONVERT"]) => at + 1,
            "RENAME" if !tokens.is_any(at + 1, &["COLUMN", "INDEX", "KEY"]) => {
                let next = tokens.after_any(at + 1, &["TO", "AS"]);
                next + usize::from(tokens.is_punctuation(next, b'='))
            }
            "UNION" => {
                let list = at + 1 + usize::from(tokens.is_punctuation(at + 1, b'='));
                if let (true, Some((tables, _))) = (tokens.is_punctuation(list, b'('), tokens.table_list(list + 1)) {
                    tables.into_iter().for_each(|table| facts.name_table(table));
                }
                continue;
            }
            _ => continue,
        };
        if let Some((table, _)) = tokens.table_name(next) {
            facts.name_table(table);
        }
    }
}

/// CREATE and DROP INDEX, CREATE TRIGGER: `.. ON table`.
fn on_table(tokens: &Tokens, from: usize) -> Analysis {
    let on = (from..tokens.len()).find(|&i| tokens.is(i, "ON"));
    match on.and_then(|on| tokens.table_name(on + 1)) {
        Some((table, _)) => Facts::default().into_analysis(Class::Ddl, vec![table]),
        None => Analysis::new(Class::Ddl),
    }
}

/// ALTER.
pub(super) fn alter(tokens: &Tokens, at: usize) -> Option<Analysis> {
    let object = object(tokens, at)?;
    let name = tokens.after_all(object + 1, &["IF", "EXISTS"]);
    Some(match tokens.keyword(object).as_str() {
        "TABLE" => {
            let (table, end) = tokens.table_name(name)?;
            let mut facts = Facts::default();
            note_referenced(tokens, end, tokens.len(), &mut facts);
            facts.flags.swaps_tables = (end..tokens.len()).any(|i| tokens.is(i, "EXCHANGE"));
            let mut written = vec![table];
            written.extend(facts.tables.iter().map(|reference| reference.table.clone()));
            facts.into_analysis(Class::Ddl, written)
        }
        "VIEW" => {
            let (view, end) = tokens.table_name(name)?;
            Walker::over(tokens, end).into_analysis(Class::Ddl, vec![view])
        }
        "SEQUENCE" => {
            let (sequence, _) = tokens.table_name(name)?;
            Facts::default().into_analysis(Class::Ddl, vec![sequence])
        }
        // Defaults for tables to come.
        "DATABASE" | "SCHEMA" => without_tables(Class::Ddl),
        word => of_object(word),
    })
}

/// DROP.
pub(super) fn drop(tokens: &Tokens, at: usize) -> Option<Analysis> {
    let object = object(tokens, at)?;
    let temporary = (at + 1..object).any(|i| tokens.is(i, "TEMPORARY"));
    let name = tokens.after_all(object + 1, &["IF", "EXISTS"]);
    Some(match tokens.keyword(object).as_str() {
        "TABLE" | "TABLES" | "VIEW" | "SEQUENCE" => {
            let mut analysis = listed(tokens, name);
            analysis.class = class(temporary);
            analysis.flags.drops_tables = !tokens.is(object, "VIEW");
            analysis
        }
        "INDEX" => on_table(tokens, object),
        word => of_object(word),
    })
}

/// RENAME TABLE a TO b, c TO d, and RENAME USER.
pub(super) fn rename(tokens: &Tokens, at: usize) -> Option<Analysis> {
    if tokens.is(at + 1, "USER") {
        return Some(without_tables(Class::Ddl));
    }
    if !tokens.is_any(at + 1, &["TABLE", "TABLES"]) {
        return None;
    }
    let mut written: Vec<TableName> = Vec::new();
    let mut next = tokens.after_all(at + 2, &["IF", "EXISTS"]);
    loop {
        let (from, end) = tokens.table_name(next)?;
        let to = (end..tokens.len()).find(|&i| tokens.is(i, "TO"))?;
        let (to, end) = tokens.table_name(to + 1)?;
        written.extend([from, to]);
        if !tokens.is_punctuation(end, b',') {
            let mut facts = Facts::default();
            let has_twice = |at: usize| written[at + 1..].contains(&written[at]);
            facts.flags.swaps_tables = (0..written.len()).any(has_twice);
            return Some(facts.into_analysis(Class::Ddl, written));
        }
        next = end + 1;
    }
}

/// TRUNCATE [TABLE] t.
pub(super) fn truncate(tokens: &Tokens, at: usize) -> Option<Analysis> {
    let (table, _) = tokens.table_name(tokens.after_optional(at + 1, "TABLE"))?;
    Some(Facts::default().into_analysis(Class::Ddl, vec![table]))
}

/// A statement with an implicit commit on the tables of the list at `at`.
pub(super) fn listed(tokens: &Tokens, at: usize) -> Analysis {
    match tokens.table_list(at) {
        Some((tables, _)) => Facts::default().into_analysis(Class::Ddl, tables),
        None => Analysis {
            tables: TouchedTables::Unknown,
            ..Analysis::new(Class::Ddl)
        },
    }
}
