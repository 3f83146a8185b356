//! A prepared statement as one server has it.
//!
//! MySQL (from 8.0.22 on) derives the types of parameters from the first execution and converts later values to them: 114 bound as a number
//! becomes a date where a date was bound before. What a value becomes would thus depend on what a connection has executed, and connections differ:
//! followers do not get what failed on the lead, and a fresh connection has executed nothing. So a write is prepared anew, on every server, where the
//! types of its parameters are others than before. Integers of all lengths are one type there, and a NULL has none.

use crate::statement::Prepared;
use grove_sql::Class;
use grove_wire::CapabilityFlags;
use grove_wire::command::{COM_STMT_EXECUTE, StmtExecute};
use smallvec::SmallVec;

/// What a parameter is to a server; `None` for one that was NULL so far.
pub(crate) type Types = SmallVec<[Option<u16>; 8]>;

/// The statement's id, and what its parameters were in the executions so far.
#[derive(Debug)]
pub(crate) struct OnServer {
    pub id: u32,
    types: Types,
}

impl OnServer {
    pub fn new(id: u32) -> Self {
        Self {
            id,
            types: Types::new(),
        }
    }

    /// Whether an execution with these types fits to the ones before; if so, they are remembered.
    pub fn takes(&mut self, types: &Types) -> bool {
        if self.types.is_empty() {
            self.types.clone_from(types);
        }
        let mut pairs = self.types.iter_mut().zip(types);
        pairs.all(|(known, new)| match (*known, *new) {
            (Some(known), Some(new)) => known == new,
            (None, new) => {
                *known = new;
                true
            }
            (Some(_), None) => true,
        })
    }
}

/// The types of an execution's parameters, if it writes; nothing otherwise.
pub(crate) fn types_that_matter(prepared: &Prepared, payload: &[u8], capabilities: CapabilityFlags) -> Types {
    let writes = matches!(prepared.analysis.class, Class::Write(_) | Class::Call);
    if !writes || prepared.params == 0 || payload.first() != Some(&COM_STMT_EXECUTE) {
        return Types::new();
    }
    let Ok(execute) = StmtExecute::parse(payload, prepared.params, capabilities) else {
        return Types::new();
    };
    execute.parameter_types(payload, capabilities).map(kind).collect()
}

/// TINY, SHORT, LONG, LONGLONG, INT24 and YEAR are one kind, as are FLOAT and DOUBLE, the decimals, and the strings and blobs.
fn kind(code: u16) -> Option<u16> {
    const UNSIGNED: u16 = 0x8000;
    match code & 0xFF {
        6 => None,
        1 | 2 | 3 | 8 | 9 | 13 => Some(8 | (code & UNSIGNED)),
        4 | 5 => Some(5),
        0 | 246 => Some(246),
        15 | 249..=254 => Some(253),
        other => Some(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn types(codes: &[u16]) -> Types {
        codes.iter().map(|code| kind(*code)).collect()
    }

    #[test]
    fn other_types_want_another_statement_and_null_has_none() {
        let mut known = OnServer::new(1);
        assert!(known.takes(&types(&[3, 6])), "the first execution");
        assert!(
            known.takes(&types(&[8, 12])),
            "integers of another length, and a date for what was NULL"
        );
        assert!(known.takes(&types(&[6, 6])));
        assert!(!known.takes(&types(&[8, 1])), "a number for what was a date");
        assert!(!known.takes(&types(&[0x8008, 12])), "unsigned");
        assert!(OnServer::new(1).takes(&types(&[])));
    }
}
