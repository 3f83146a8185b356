//! `EXPLAIN GROVE`: what Grove would do with a statement, without doing it.

use super::Session;
use crate::gate::{GateKey, GateMode};
use crate::io::World;
use crate::settings::UnsafeStatements;
use crate::state::Isolation;
use crate::statement::Statement;
use grove_sql::{Class, Reason, TouchedTables, Verdict, WriteKind, permits_unsafe};

/// What is told about a statement, in the order of the columns; empty where there is nothing to tell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Explanation {
    /// What kind of statement it is.
    pub class: String,
    /// The tables that it names, with `!` before those that it may write.
    pub tables: String,
    /// deterministic, rewritten or unsafe.
    pub verdict: String,
    /// Why it is unsafe.
    pub reason: String,
    /// What would be right, and what happens if it stays as it is.
    pub remedy: String,
    /// What it waits for inside Grove.
    pub gates: String,
    /// Which servers would run it.
    pub servers: String,
}

impl<W: World> Session<W> {
    /// What would become of the statement now.
    pub fn explain(&self, statement: &Statement) -> Explanation {
        let class = statement.analysis.class;
        let mut explanation = Explanation {
            class: name_of(class),
            tables: self.tables_of(statement),
            ..Explanation::default()
        };
        let verdict = match statement.analysis.verdict {
            Verdict::Rewritable => self
                .rewriting_fails(statement)
                .map_or(Verdict::Rewritable, Verdict::Unsafe),
            verdict => verdict,
        };
        match verdict {
            Verdict::Unsafe(reason) => {
                "unsafe".clone_into(&mut explanation.verdict);
                explanation.reason = reason.to_string();
                explanation.remedy = format!("{}; {}", reason.remedy(), self.consequence(statement));
            }
            Verdict::Rewritable => "rewritten".clone_into(&mut explanation.verdict),
            Verdict::Deterministic if writes(class) => "deterministic".clone_into(&mut explanation.verdict),
            Verdict::Deterministic => {}
        }
        if self.is_plain_read(class) {
            explanation.servers = format!("one: {}", self.group.name(self.current()));
            return explanation;
        }
        let gates = self.wanted_gates(statement).into_iter();
        let gates: Vec<String> = gates.map(|(key, mode)| gate_name(&key, mode)).collect();
        explanation.gates = gates.join(", ");
        explanation.servers = match class {
            Class::Set | Class::Use | Class::Prepare | Class::Deallocate => {
                format!("{}, the others are told later", self.group.name(self.current()))
            }
            _ => format!("all, {} first", self.group.name(self.group.view().lead)),
        };
        explanation
    }

    fn is_plain_read(&self, class: Class) -> bool {
        let inside = self.in_transaction() || !self.state.autocommit;
        match class {
            Class::Read => !inside || self.isolation() != Isolation::Serializable,
            Class::LockingRead => !inside,
            _ => false,
        }
    }

    fn rewriting_fails(&self, statement: &Statement) -> Option<Reason> {
        let mut values = self.values();
        let rewritten = self
            .analyser
            .rewrite(statement.body.text(), self.state.lex_mode, &mut values);
        rewritten.err()
    }

    fn consequence(&self, statement: &Statement) -> &'static str {
        match self.group.settings.unsafe_statements {
            _ if permits_unsafe(statement.body.text(), self.state.lex_mode) => "its comment permits it",
            UnsafeStatements::Reject => "it is refused",
            UnsafeStatements::Warn => "it runs, and the log names it",
            UnsafeStatements::Allow => "it runs",
        }
    }

    fn tables_of(&self, statement: &Statement) -> String {
        let analysis = &statement.analysis;
        let TouchedTables::Known(tables) = &analysis.tables else {
            return "any".to_owned();
        };
        let names = tables.iter().map(|table| {
            let is_written = match &analysis.written {
                TouchedTables::Known(written) => written.contains(table),
                TouchedTables::Unknown => writes(analysis.class),
            };
            let mark = if is_written { "!" } else { "" };
            format!("{mark}{}", shown_gate(&self.gate_key(table)))
        });
        names.collect::<Vec<_>>().join(", ")
    }
}

fn gate_name(key: &GateKey, mode: GateMode) -> String {
    let mode = match mode {
        GateMode::Shared => "shared",
        GateMode::Exclusive => "exclusive",
    };
    format!("{} {mode}", shown_gate(key))
}

fn shown_gate(key: &GateKey) -> String {
    match key {
        GateKey::Global => "everything".to_owned(),
        GateKey::Server => "the servers".to_owned(),
        GateKey::Table(schema, table) => {
            format!("{}.{}", String::from_utf8_lossy(schema), String::from_utf8_lossy(table))
        }
    }
}

fn writes(class: Class) -> bool {
    matches!(class, Class::Write(_) | Class::Ddl | Class::TemporaryDdl | Class::Call)
}

fn name_of(class: Class) -> String {
    match class {
        Class::Read => "read",
        Class::LockingRead => "locking read",
        Class::Write(WriteKind::Insert) => "insert",
        Class::Write(WriteKind::Replace) => "replace",
        Class::Write(WriteKind::Update) => "update",
        Class::Write(WriteKind::Delete) => "delete",
        Class::Write(WriteKind::LoadData) => "load data",
        Class::Write(WriteKind::Sequence) => "sequence",
        Class::Ddl => "definition",
        Class::TemporaryDdl => "temporary table",
        Class::Unknown => "not understood",
        Class::LockTables => "lock tables",
        Class::UnlockTables => "unlock tables",
        Class::Savepoint | Class::RollbackToSavepoint | Class::ReleaseSavepoint => "savepoint",
        Class::Begin { .. } => "begin",
        Class::Commit { .. } => "commit",
        Class::Rollback { .. } => "rollback",
        other => return format!("{other:?}").to_lowercase(),
    }
    .to_owned()
}
