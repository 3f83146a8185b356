//! Transactions, savepoints, XA, table locks.

use crate::analysis::{Analysis, Class};
use crate::facts::{Facts, TableReference};
use crate::tokens::Tokens;

use super::{unknown, without_tables};

/// BEGIN, START, COMMIT, ROLLBACK, SAVEPOINT, RELEASE and XA, whose first word is at `at`.
pub(super) fn transaction(tokens: &Tokens, at: usize, word: &str) -> Option<Analysis> {
    match word {
        // BEGIN NOT ATOMIC, and the blocks of the Oracle mode, are compound statements.
        "BEGIN" => ends(tokens, tokens.after_optional(at + 1, "WORK")).then(|| {
            without_tables(Class::Begin {
                consistent_snapshot: false,
                read_only: false,
            })
        }),
        "START" if tokens.is(at + 1, "TRANSACTION") => start(tokens, at + 2),
        // START REPLICA and the like commit what is open.
        "START" => Some(without_tables(Class::Ddl)),
        "COMMIT" => {
            let (chain, release) = completion(tokens, at + 1)?;
            Some(without_tables(Class::Commit { chain, release }))
        }
        "ROLLBACK" => {
            let next = tokens.after_optional(at + 1, "WORK");
            if tokens.is(next, "TO") {
                let name = tokens.after_optional(next + 1, "SAVEPOINT");
                return savepoint(tokens, name, Class::RollbackToSavepoint);
            }
            let (chain, release) = completion(tokens, at + 1)?;
            Some(without_tables(Class::Rollback { chain, release }))
        }
        "SAVEPOINT" => savepoint(tokens, at + 1, Class::Savepoint),
        "RELEASE" if tokens.is(at + 1, "SAVEPOINT") => savepoint(tokens, at + 2, Class::ReleaseSavepoint),
        // Whatever the branch did before or will do: any table.
        "XA" => Some(Analysis::new(Class::Xa)),
        _ => None,
    }
}

fn ends(tokens: &Tokens, at: usize) -> bool {
    at >= tokens.len()
}

/// START TRANSACTION with its characteristics.
fn start(tokens: &Tokens, mut at: usize) -> Option<Analysis> {
    let (mut consistent_snapshot, mut read_only) = (false, false);
    while !ends(tokens, at) {
        if tokens.are(at, &["WITH", "CONSISTENT", "SNAPSHOT"]) {
            consistent_snapshot = true;
            at += 3;
            // Percona Server: FROM SESSION n, which is another server's session.
            if tokens.is(at, "FROM") {
                return None;
            }
        } else if tokens.are(at, &["READ", "ONLY"]) {
            read_only = true;
            at += 2;
        } else if tokens.are(at, &["READ", "WRITE"]) {
            at += 2;
        } else {
            return None;
        }
        if !ends(tokens, at) {
            if !tokens.is_punctuation(at, b',') {
                return None;
            }
            at += 1;
        }
    }
    Some(without_tables(Class::Begin {
        consistent_snapshot,
        read_only,
    }))
}

/// `[WORK] [AND [NO] CHAIN] [[NO] RELEASE]`: whether it chains and whether it releases.
fn completion(tokens: &Tokens, at: usize) -> Option<(bool, bool)> {
    let mut next = tokens.after_optional(at, "WORK");
    let (mut chain, mut release) = (false, false);
    if tokens.is(next, "AND") {
        chain = tokens.is(next + 1, "CHAIN");
        next = tokens.after_optional(next + 1, "NO");
        if !tokens.is(next, "CHAIN") {
            return None;
        }
        next += 1;
    }
    if tokens.are(next, &["NO", "RELEASE"]) {
        next += 2;
    } else if tokens.is(next, "RELEASE") {
        release = true;
        next += 1;
    }
    ends(tokens, next).then_some((chain, release))
}

fn savepoint(tokens: &Tokens, at: usize, class: Class) -> Option<Analysis> {
    let name = tokens.name(at)?;
    if !ends(tokens, at + 1) {
        return None;
    }
    let mut analysis = without_tables(class);
    analysis.savepoint = Some(name);
    Some(analysis)
}

/// LOCK and UNLOCK of tables and of the instance, and MariaDB's BACKUP stages and locks, which a session holds as it holds table locks.
pub(super) fn locks(tokens: &Tokens, at: usize, word: &str) -> Option<Analysis> {
    let next = at + 1;
    match word {
        "LOCK" if tokens.is_any(next, &["TABLE", "TABLES"]) => Some(lock_tables(tokens, next + 1)),
        "LOCK" if tokens.is_any(next, &["INSTANCE", "BINLOG"]) => Some(Analysis::new(Class::LockTables)),
        "UNLOCK" if tokens.is_any(next, &["TABLE", "TABLES", "INSTANCE", "BINLOG"]) => {
            Some(without_tables(Class::UnlockTables))
        }
        "BACKUP" if tokens.is(next, "UNLOCK") || tokens.are(next, &["STAGE", "END"]) => {
            Some(without_tables(Class::UnlockTables))
        }
        "BACKUP" if tokens.is_any(next, &["LOCK", "STAGE"]) => Some(Analysis::new(Class::LockTables)),
        _ => None,
    }
}

/// `LOCK TABLES t [AS a] READ [LOCAL], u [LOW_PRIORITY] WRITE [WAIT n]`.
fn lock_tables(tokens: &Tokens, mut at: usize) -> Analysis {
    let mut facts = Facts::default();
    let mut written = Vec::new();
    while !ends(tokens, at) {
        let Some((table, end)) = tokens.table_name(at) else {
            return Analysis::new(Class::LockTables);
        };
        let mut next = end;
        while !ends(tokens, next) && !tokens.is_punctuation(next, b',') {
            if tokens.is(next, "WRITE") {
                written.push(table.clone());
            }
            next += 1;
        }
        facts.refer_to(TableReference {
            table,
            alias: None,
            in_query: true,
        });
        at = next + 1;
    }
    if facts.tables.is_empty() {
        return unknown();
    }
    facts.into_analysis(Class::LockTables, written)
}
