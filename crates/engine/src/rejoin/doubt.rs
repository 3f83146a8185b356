//! Statements of which nobody knows whether a server executed them before it was lost: their intent is noted there, their end is not.
//!
//! One that can be executed twice without harm is; an answer that says "it is so already" counts as done. Before the server joins, the tables
//! that such statements touched must be defined as they are on the lead. The same for statements whose intent is all that the log has: Grove ended in the
//! middle. There the first server that is brought up decides for the others.

use super::execute::beginning;
use grove_recovery_log::{Intent, Outcome, Position, ResultOutcome};
use grove_sql::{Analysis, Class, TouchedTables};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// What is known of a statement on this server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Certainty {
    NotExecuted,
    InDoubt,
}

/// A table whose definition must be compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Doubtful {
    pub schema: Vec<u8>,
    pub table: Vec<u8>,
    pub position: Position,
    pub statement: String,
}

/// What is not known of one server.
#[derive(Debug, Default)]
pub(super) struct Doubts {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Intents that the server has noted, and whose end has not been read.
    begun: BTreeMap<Position, Intent>,
    tables: Vec<Doubtful>,
}

impl Doubts {
    pub fn begin(&self, position: Position, intent: Intent) {
        self.lock().begun.insert(position, intent);
    }

    pub fn end(&self, intent: Position) {
        self.lock().begun.remove(&intent);
    }

    pub fn take_begun(&self) -> BTreeMap<Position, Intent> {
        std::mem::take(&mut self.lock().begun)
    }

    /// The tables that a statement touched must be compared.
    pub fn note(&self, analysis: &Analysis, default_schema: &[u8], position: Position, text: &[u8]) {
        let TouchedTables::Known(tables) = &analysis.tables else {
            return;
        };
        let doubtful = tables.iter().map(|table| Doubtful {
            schema: match &table.schema {
                Some(schema) => schema.as_bytes().to_vec(),
                None => default_schema.to_vec(),
            },
            table: table.name.as_bytes().to_vec(),
            position,
            statement: beginning(text),
        });
        self.lock().tables.extend(doubtful);
    }

    pub fn take_tables(&self) -> Vec<Doubtful> {
        std::mem::take(&mut self.lock().tables)
    }

    /// There is nobody to compare with.
    pub fn forget_tables(&self) {
        self.lock().tables.clear();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a statement names the tables that it touches.
pub(super) fn knows_tables(analysis: &Analysis) -> bool {
    matches!(&analysis.tables, TouchedTables::Known(tables) if !tables.is_empty())
}

/// Whether executing a statement twice, with nothing in between, gives what executing it once gives, or an error that says so.
pub(super) fn is_idempotent(analysis: &Analysis) -> bool {
    matches!(analysis.class, Class::Ddl | Class::Set | Class::TemporaryDdl) && !analysis.flags.swaps_tables
}

/// Errors that tell that what was wanted is so already: tables, columns, keys, schemas, routines, triggers, events, accounts that exist, or do not exist any
/// more. (MySQL error reference: ER_TABLE_EXISTS_ERROR, ER_BAD_TABLE_ERROR, ER_NO_SUCH_TABLE, ER_DUP_FIELDNAME, ER_DUP_KEYNAME, ER_CANT_DROP_FIELD_OR_KEY,
/// ER_BAD_FIELD_ERROR, ER_MULTIPLE_PRI_KEY, ER_DB_CREATE_EXISTS, ER_DB_DROP_EXISTS, ER_SP_ALREADY_EXISTS, ER_SP_DOES_NOT_EXIST, ER_TRG_ALREADY_EXISTS,
/// ER_TRG_DOES_NOT_EXIST, ER_EVENT_ALREADY_EXISTS, ER_EVENT_DOES_NOT_EXIST, ER_CANNOT_USER, ER_NONEXISTING_GRANT, ER_DUP_CONSTRAINT_NAME,
/// ER_DUP_ENTRY of a foreign key's name, ER_SAME_NAME_PARTITION, ER_DROP_PARTITION_NON_EXISTENT, ER_KEY_DOES_NOT_EXITS, ER_FK_DUP_NAME.)
pub(super) fn says_it_is_done(outcome: &Outcome) -> bool {
    matches!(
        outcome.results.last(),
        Some(ResultOutcome::Err {
            code: 1050
                | 1051
                | 1146
                | 1060
                | 1061
                | 1091
                | 1054
                | 1068
                | 1007
                | 1008
                | 1304
                | 1305
                | 1359
                | 1360
                | 1537
                | 1539
                | 1396
                | 1141
                | 3822
                | 1022
                | 1517
                | 1507
                | 1176
                | 1826
        })
    ) || matches!(outcome.results.last(), Some(ResultOutcome::Ok { .. }))
}
