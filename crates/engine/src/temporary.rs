//! Which temporary tables a session has: while it has any, no connection of its own can stand for another.

use grove_sql::{Analysis, Class, TouchedTables};
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

#[cfg(test)]
mod tests {
    use super::*;
    use grove_sql::{Analyser, Flavor, LexMode};

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
