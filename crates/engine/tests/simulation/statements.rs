//! What the analyser says about the simulation's statements.
//!
//! Deliberately built by hand for what the real analyser does not classify yet; otherwise the real one's word is taken.

use crate::model::sql::{Insert, Reach, RowLock, Sql, Verb};
use grove_engine::{Body, Statement};
use grove_sql::{
    Analyser, Analysis, Class, Flavor, LexMode, Name, SetItem, SetScope, TableName, TouchedTables, WriteKind,
};
use std::sync::Arc;

/// How the clients' statements are read.
pub fn lex_mode() -> LexMode {
    LexMode::new(Flavor::MariaDb, 101_119)
}

/// A statement for the engine.
pub fn statement(sql: &Sql, analyser: &Analyser) -> Statement {
    let text = sql.to_string();
    let real = analyser.analyse(text.as_bytes(), lex_mode());
    let analysis = if real.class == Class::Unknown {
        Arc::new(by_hand(sql, &text, &real))
    } else {
        real
    };
    Statement {
        body: Body::query(text.as_bytes()),
        analysis,
    }
}

/// `DO 0` as a statement of which nothing is known, so that it waits until it is alone.
pub fn alone(analyser: &Analyser) -> Statement {
    let text = Sql::Nothing.to_string();
    let mut analysis = Analysis::clone(&analyser.analyse(text.as_bytes(), lex_mode()));
    analysis.class = Class::Unknown;
    analysis.tables = TouchedTables::Unknown;
    analysis.written = TouchedTables::Unknown;
    Statement {
        body: Body::query(text.as_bytes()),
        analysis: Arc::new(analysis),
    }
}

fn by_hand(sql: &Sql, text: &str, blank: &Analysis) -> Analysis {
    let mut analysis = blank.clone();
    let tables = |names: &[&str]| {
        let table = |name: &&str| TableName {
            schema: None,
            name: Name::new(name.as_bytes()),
        };
        TouchedTables::Known(names.iter().map(table).collect())
    };
    analysis.tables = TouchedTables::none();
    analysis.written = TouchedTables::none();
    analysis.class = match sql {
        Sql::Begin => Class::Begin {
            consistent_snapshot: false,
            read_only: false,
        },
        Sql::BeginWithSnapshot => Class::Begin {
            consistent_snapshot: true,
            read_only: false,
        },
        Sql::Commit => Class::Commit {
            chain: false,
            release: false,
        },
        Sql::Rollback => Class::Rollback {
            chain: false,
            release: false,
        },
        Sql::Savepoint(_) => Class::Savepoint,
        Sql::RollbackTo(_) => Class::RollbackToSavepoint,
        Sql::Release(_) => Class::ReleaseSavepoint,
        Sql::Set(_) | Sql::Isolation { .. } => {
            analysis.set = set_items(sql, text);
            Class::Set
        }
        Sql::Select { table, lock, .. } => {
            analysis.tables = tables(&[table.name()]);
            if *lock == RowLock::None {
                Class::Read
            } else {
                Class::LockingRead
            }
        }
        Sql::SelectLastInsertId => {
            analysis.flags.uses_last_insert_id = true;
            Class::Read
        }
        Sql::ShowWarnings => {
            analysis.flags.is_show_warnings_or_errors = true;
            Class::Read
        }
        Sql::Nothing => Class::Do,
        Sql::Truncate(table) => {
            (analysis.tables, analysis.written) = (tables(&[table.name()]), tables(&[table.name()]));
            Class::Ddl
        }
        Sql::Update { table, .. } => {
            analysis.flags.reads_clock = text.contains("UNIX_TIMESTAMP");
            analysis.flags.uses_rand = text.contains("RAND");
            (analysis.tables, analysis.written) = (tables(&[table.name()]), tables(&[table.name()]));
            Class::Write(WriteKind::Update)
        }
        Sql::Delete { table, .. } => {
            (analysis.tables, analysis.written) = (tables(&[table.name()]), tables(&[table.name()]));
            Class::Write(WriteKind::Delete)
        }
        Sql::Insert(Insert {
            table,
            verb,
            rows,
            on_duplicate_add,
        }) => {
            (analysis.tables, analysis.written) = (tables(&[table.name()]), tables(&[table.name()]));
            analysis.flags.multi_row_insert = rows.len() > 1;
            analysis.flags.on_duplicate_key = on_duplicate_add.is_some();
            analysis.flags.ignore = *verb == Verb::InsertIgnore;
            Class::Write(if *verb == Verb::Replace {
                WriteKind::Replace
            } else {
                WriteKind::Insert
            })
        }
        Sql::InsertSelect { into, from, .. } => {
            analysis.tables = if into == from {
                tables(&[into.name()])
            } else {
                tables(&[into.name(), from.name()])
            };
            analysis.written = tables(&[into.name()]);
            analysis.flags.insert_select = true;
            Class::Write(WriteKind::Insert)
        }
    };
    analysis
}

fn set_items(sql: &Sql, text: &str) -> Vec<SetItem> {
    let item = |scope, name: &str, assignment: &str, value: &str| {
        let begin = text.find(assignment).unwrap_or(0);
        let end = begin + assignment.len();
        SetItem {
            scope,
            name: Name::new(name.as_bytes()),
            literal: true,
            text: begin..end,
            value: end - value.len()..end,
        }
    };
    match sql {
        Sql::Set(items) => items
            .iter()
            .map(|(name, value)| item(SetScope::Session, name, &format!("{name}={value}"), value))
            .collect(),
        Sql::Isolation { session, .. } => {
            let scope = if *session == Reach::Session {
                SetScope::SessionTransaction
            } else {
                SetScope::Transaction
            };
            vec![item(scope, "", text.trim_start_matches("SET "), "")]
        }
        _ => Vec::new(),
    }
}
