//! A transaction's savepoints, by the place that each has among its statements.
//!
//! ROLLBACK TO SAVEPOINT matters for the order of statements: an engine that joined the transaction only after the savepoint is rolled back as a
//! whole and releases its locks (handler.cc of both servers, `ha_rollback_to_savepoint`), although the transaction goes on.

use grove_sql::{Analysis, Class};
use std::ops::Range;

/// The savepoints that exist, in the order in which they were set.
#[derive(Debug, Default)]
pub(crate) struct Savepoints {
    /// Name, and number of statements up to it, its own included.
    set: Vec<(Box<[u8]>, usize)>,
    /// A name was met of which it is not known here which others the servers take for the same.
    is_unclear: bool,
}

impl Savepoints {
    /// Notes a statement about savepoints that has succeeded and that `before` statements precede; gives those that it takes back.
    pub fn note(&mut self, analysis: &Analysis, before: usize) -> Range<usize> {
        let nothing = before..before;
        let Some(name) = &analysis.savepoint else {
            return nothing;
        };
        // Servers compare names by a collation, which knows more letters than ASCII.
        self.is_unclear |= !name.as_bytes().is_ascii();
        if self.is_unclear {
            return nothing;
        }
        let found = self.set.iter().position(|(other, _)| name.eq_ignore_case(other));
        match (analysis.class, found) {
            (Class::Savepoint, _) => {
                if let Some(at) = found {
                    self.set.remove(at);
                }
                self.set.push((name.as_bytes().into(), before + 1));
            }
            (Class::ReleaseSavepoint, Some(at)) => self.set.truncate(at),
            (Class::RollbackToSavepoint, Some(at)) => {
                self.set.truncate(at + 1);
                return self.set[at].1..before;
            }
            _ => {}
        }
        nothing
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use grove_sql::{Analyser, Flavor, LexMode};

    fn note(savepoints: &mut Savepoints, sql: &str, before: usize) -> Range<usize> {
        let analysis = Analyser::new(10).analyse(sql.as_bytes(), LexMode::new(Flavor::MariaDb, 101_119));
        savepoints.note(&analysis, before)
    }

    #[test]
    fn what_stands_behind_a_savepoint_is_taken_back() {
        let mut savepoints = Savepoints::default();
        note(&mut savepoints, "SAVEPOINT a", 2);
        note(&mut savepoints, "SAVEPOINT b", 5);
        assert_eq!(note(&mut savepoints, "ROLLBACK TO B", 7), 6..7);
        assert_eq!(note(&mut savepoints, "ROLLBACK TO a", 9), 3..9);
        assert!(note(&mut savepoints, "ROLLBACK TO b", 10).is_empty(), "b went with a");
    }

    #[test]
    fn a_savepoint_of_the_same_name_takes_the_place_of_the_old_one() {
        let mut savepoints = Savepoints::default();
        note(&mut savepoints, "SAVEPOINT a", 0);
        note(&mut savepoints, "SAVEPOINT b", 2);
        note(&mut savepoints, "SAVEPOINT A", 4);
        assert_eq!(note(&mut savepoints, "ROLLBACK TO a", 6), 5..6);
        note(&mut savepoints, "RELEASE SAVEPOINT b", 7);
        assert!(note(&mut savepoints, "ROLLBACK TO a", 8).is_empty(), "a went with b");
    }

    #[test]
    fn nothing_is_said_once_a_name_is_not_ascii() {
        let mut savepoints = Savepoints::default();
        note(&mut savepoints, "SAVEPOINT \u{e9}", 0);
        note(&mut savepoints, "SAVEPOINT a", 1);
        assert!(note(&mut savepoints, "ROLLBACK TO a", 6).is_empty());
    }
}
