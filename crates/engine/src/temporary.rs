//! Which temporary tables a session has: while it has any, no connection of its own can stand for another.

use crate::state::contains_word;
use bytes::Bytes;
use grove_recovery_log::TemporaryUse;
use grove_sql::{Analysis, Class, TableName, TouchedTables};
use std::collections::BTreeSet;

/// The names of a session's temporary tables, as far as its statements tell.
#[derive(Clone, Debug, Default)]
pub(crate) struct TemporaryTables {
    names: BTreeSet<(Vec<u8>, Vec<u8>)>,
    /// A statement made some whose names are not known: there may be one to the session's end.
    unnamed: bool,
}

impl TemporaryTables {
    pub fn any(&self) -> bool {
        self.unnamed || !self.names.is_empty()
    }

    /// Schemas and names in lower case; `None` if there may be others.
    pub fn names(&self) -> Option<Vec<(Vec<u8>, Vec<u8>)>> {
        (!self.unnamed).then(|| self.names.iter().cloned().collect())
    }

    /// Takes note of a definition that succeeded, under the default schema `schema`.
    pub fn note(&mut self, analysis: &Analysis, schema: &[u8]) {
        let makes = analysis.class == Class::TemporaryDdl && !analysis.flags.drops_tables;
        match &analysis.written {
            TouchedTables::Known(tables) => {
                for table in tables {
                    let schema = table.schema.as_ref().map_or(schema, |name| name.as_bytes());
                    let name = (schema.to_ascii_lowercase(), table.name.as_bytes().to_ascii_lowercase());
                    if makes {
                        self.names.insert(name);
                    } else if analysis.flags.drops_tables {
                        // Also without TEMPORARY: the session's own table comes first.
                        self.names.remove(&name);
                    }
                }
            }
            TouchedTables::Unknown => self.unnamed |= makes,
        }
    }
}

/// What a transaction has to do with temporary tables, so that a server which comes back knows what it needs for it.
#[derive(Clone, Debug)]
pub(crate) struct TemporaryWork {
    /// Made by the transaction itself, or dropped.
    own: BTreeSet<(Vec<u8>, Vec<u8>)>,
    makes: bool,
    needs_older: bool,
    writes_older: bool,
    only_temporary: bool,
}

impl Default for TemporaryWork {
    fn default() -> Self {
        Self {
            own: BTreeSet::new(),
            makes: false,
            needs_older: false,
            writes_older: false,
            only_temporary: true,
        }
    }
}

impl TemporaryWork {
    /// Takes note of a statement of the transaction that has succeeded, before [`TemporaryTables::note`] does.
    pub fn note(&mut self, tables: &TemporaryTables, analysis: &Analysis, text: &[u8], schema: &[u8]) {
        let named = |table: &TableName| {
            let schema = table.schema.as_ref().map_or(schema, |name| name.as_bytes());
            (schema.to_ascii_lowercase(), table.name.as_bytes().to_ascii_lowercase())
        };
        let makes = analysis.class == Class::TemporaryDdl && !analysis.flags.drops_tables;
        let drops_if_exists = analysis.flags.drops_tables && contains_word(text, b"exists");
        let is_own_or_new = |name: &(Vec<u8>, Vec<u8>)| self.own.contains(name) || !tables.names.contains(name);
        let written: Option<Vec<_>> = match &analysis.written {
            TouchedTables::Known(written) => Some(written.iter().map(named).collect()),
            TouchedTables::Unknown => None,
        };
        let needs_older = match &analysis.tables {
            TouchedTables::Known(touched) => {
                !drops_if_exists && !touched.iter().map(named).all(|name| is_own_or_new(&name))
            }
            TouchedTables::Unknown => true,
        };
        self.needs_older |= tables.any() && (needs_older || tables.unnamed);
        self.writes_older |= tables.any() && written.as_ref().is_none_or(|names| !names.iter().all(is_own_or_new));
        self.makes |= makes;
        self.only_temporary &= analysis.class == Class::TemporaryDdl
            || written.as_ref().is_some_and(|names| {
                names
                    .iter()
                    .all(|name| self.own.contains(name) || tables.names.contains(name))
            });
        if analysis.class == Class::TemporaryDdl || analysis.flags.drops_tables {
            self.own.extend(written.into_iter().flatten());
        }
    }

    /// Whether temporary tables may no longer be what they were at its beginning.
    pub fn has_changed_any(&self) -> bool {
        self.writes_older || !self.own.is_empty()
    }

    /// What it has to do with those that there were. `had_tables` tells whether the session had any.
    pub fn usage(&self, had_tables: bool) -> TemporaryUse {
        match (had_tables, self.needs_older, self.only_temporary) {
            (false, ..) => TemporaryUse::None,
            (true, false, _) => TemporaryUse::Untouched,
            (true, true, false) => TemporaryUse::Needed,
            (true, true, true) => TemporaryUse::Only,
        }
    }
}

/// Names as the log has them.
pub(crate) fn logged_names(names: &[(Vec<u8>, Vec<u8>)]) -> Vec<(Bytes, Bytes)> {
    let bytes = |name: &Vec<u8>| Bytes::copy_from_slice(name);
    names
        .iter()
        .map(|(schema, name)| (bytes(schema), bytes(name)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use grove_sql::{Analyser, Flavor, LexMode};

    #[test]
    fn a_transaction_needs_only_tables_that_it_has_not_made_itself() {
        let analyser = Analyser::new(16);
        let mode = LexMode::new(Flavor::MariaDb, 101_119);
        let work = |statements: &[&str]| {
            let mut tables = TemporaryTables::default();
            tables.note(
                &analyser.analyse(b"CREATE TEMPORARY TABLE picked (a INT)", mode),
                b"app",
            );
            let mut work = TemporaryWork::default();
            for sql in statements {
                let analysis = analyser.analyse(sql.as_bytes(), mode);
                work.note(&tables, &analysis, sql.as_bytes(), b"app");
                tables.note(&analysis, b"app");
            }
            work.usage(true)
        };
        assert_eq!(work(&["UPDATE t SET a=1"]), TemporaryUse::Untouched);
        assert_eq!(work(&["DELETE t FROM t JOIN picked USING (a)"]), TemporaryUse::Needed);
        assert_eq!(work(&["INSERT INTO picked VALUES (1)"]), TemporaryUse::Only);
        assert_eq!(
            work(&["INSERT INTO picked VALUES (1)", "UPDATE t SET a=1"]),
            TemporaryUse::Needed
        );
        let again = [
            "DROP TEMPORARY TABLE IF EXISTS picked",
            "CREATE TEMPORARY TABLE picked (a INT)",
            "DELETE t FROM t JOIN picked USING (a)",
        ];
        assert_eq!(work(&again), TemporaryUse::Untouched);
        assert_eq!(work(&["CALL p()"]), TemporaryUse::Needed);
    }

    #[test]
    fn a_table_that_was_dropped_is_gone() {
        let analyser = Analyser::new(16);
        let mode = LexMode::new(Flavor::MariaDb, 101_119);
        let mut tables = TemporaryTables::default();
        let mut run = |sql: &str| {
            tables.note(&analyser.analyse(sql.as_bytes(), mode), b"app");
            tables.any()
        };
        assert!(!run("CREATE TABLE t (a INT)"));
        assert!(run("CREATE TEMPORARY TABLE IF NOT EXISTS T (a INT) ENGINE=MEMORY"));
        assert!(run("CREATE TEMPORARY TABLE other.u SELECT * FROM t"));
        assert!(run("TRUNCATE TABLE t"));
        assert!(run("DROP TEMPORARY TABLE IF EXISTS app.t"));
        assert!(run("DROP TABLE u"), "app.u is another table");
        assert!(!run("DROP TABLE v, other.u"));
    }
}
