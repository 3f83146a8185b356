//! What a walk over a statement's tokens has found out, before a class is made of it.

use smallvec::SmallVec;

use crate::analysis::{Analysis, AnalysisFlags, Class, TableName, TouchedTables, WriteKind};
use crate::name::Name;
use crate::own_value::Found;
use crate::verdict::judge;

/// More tables or variables than this are not told apart: looking each of them up among the others would take too long.
const MOST_NAMES: usize = 1_024;

/// Findings about a statement or a part of one.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    pub flags: AnalysisFlags,
    pub tables: Vec<TableReference>,
    pub variables_read: Vec<Name>,
    pub variables_written: Vec<Name>,
    /// Sequences that the statement advances.
    pub sequences: Vec<TableName>,
    /// FOR UPDATE, FOR SHARE or LOCK IN SHARE MODE.
    pub locks_rows: bool,
    /// LASTVAL or PREVIOUS VALUE FOR: what the session itself has drawn before.
    pub reads_own_sequence: bool,
    /// What is asked for that each server makes for itself.
    pub own_values: Vec<Found>,
    /// LIMIT without ORDER BY.
    pub choice: Choice,
    /// RETURNING outside of parentheses.
    pub saw_returning: bool,
    /// Something was not understood: nothing may be concluded from what was not found.
    pub opaque: bool,
}

/// Which rows LIMIT leaves, where no ORDER BY says it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Choice {
    /// There is no such LIMIT.
    #[default]
    None,
    /// Some of those with one value in some column: few, often one.
    OfOneValue,
    /// Any.
    Any,
}

/// A table where a statement names it.
#[derive(Clone, Debug)]
pub(crate) struct TableReference {
    pub table: TableName,
    pub alias: Option<Name>,
    /// It stands in a query, where it is only read; else it is one of the tables that an UPDATE or DELETE works on.
    pub in_query: bool,
}

impl Facts {
    pub fn read_variable(&mut self, name: Name) {
        self.opaque = self.opaque || !remember(&mut self.variables_read, name);
    }

    pub fn write_variable(&mut self, name: Name) {
        self.opaque = self.opaque || !remember(&mut self.variables_written, name);
    }

    pub fn name_table(&mut self, table: TableName) {
        self.refer_to(TableReference {
            table,
            alias: None,
            in_query: true,
        });
    }

    pub fn refer_to(&mut self, reference: TableReference) {
        const DESCRIBING: [&str; 3] = ["information_schema", "performance_schema", "sys"];
        if let Some(schema) = &reference.table.schema {
            self.flags.touches_information_schema |= DESCRIBING.iter().any(|name| schema.eq_ignore_case(name));
        }
        if self.opaque {
            return;
        }
        // An alias matters only where the statement works on the table.
        if reference.in_query && self.tables.iter().any(|known| known.table == reference.table) {
            return;
        }
        if self.tables.len() < MOST_NAMES {
            self.tables.push(reference);
        } else {
            self.opaque = true;
        }
    }

    pub fn advance_sequence(&mut self, sequence: TableName) {
        self.flags.advances_sequence = true;
        if self.sequences.len() < MOST_NAMES {
            self.sequences.push(sequence);
        } else {
            self.opaque = true;
        }
    }

    /// Whether the statement may do more than its verb says: nothing that is written may then be excluded.
    pub fn is_unproven(&self) -> bool {
        self.opaque || self.flags.calls_unknown_function
    }

    /// The class of a query with these findings.
    pub fn class_of_query(&self) -> Class {
        if self.is_unproven() || self.flags.named_lock || self.flags.into_outfile || self.reads_own_sequence {
            Class::Unknown
        } else if !self.sequences.is_empty() {
            Class::Write(WriteKind::Sequence)
        } else if self.locks_rows {
            Class::LockingRead
        } else {
            Class::Read
        }
    }

    /// Whether evaluating the expressions here leaves no trace but in user variables.
    pub fn only_reads(&self) -> bool {
        matches!(self.class_of_query(), Class::Read)
    }

    /// The analysis of a statement of class `class` that writes `written`, and what the findings say in addition.
    pub fn into_analysis(self, class: Class, written: Vec<TableName>) -> Analysis {
        let mut analysis = Analysis::new(class);
        (analysis.verdict, analysis.replaceable) = judge(class, &self);
        let mut changed = written;
        changed.extend(self.sequences.iter().cloned());
        if !self.opaque && changed.len() <= 2 * MOST_NAMES {
            let named = self.tables.into_iter().map(|reference| reference.table);
            analysis.tables = known(changed.iter().cloned().chain(named).chain(self.sequences));
            if !self.flags.calls_unknown_function {
                analysis.written = known(changed);
            }
        }
        analysis.user_variables_read = self.variables_read;
        analysis.user_variables_written = self.variables_written;
        analysis.flags = self.flags;
        analysis
    }
}

/// False if there is no room.
fn remember(names: &mut Vec<Name>, name: Name) -> bool {
    if names.contains(&name) {
        return true;
    }
    let has_room = names.len() < MOST_NAMES;
    if has_room {
        names.push(name);
    }
    has_room
}

/// These tables, each once.
pub(crate) fn known(tables: impl IntoIterator<Item = TableName>) -> TouchedTables {
    let mut list: SmallVec<[TableName; 2]> = SmallVec::new();
    for table in tables {
        if !list.contains(&table) {
            list.push(table);
        }
    }
    TouchedTables::Known(list)
}
