//! Statements as the engine takes them: the client's bytes with the production analyser's word on them.

use crate::model::sql::Sql;
use grove_engine::{Body, Statement};
use grove_sql::{Analyser, Analysis, Class, Flavor, LexMode, TouchedTables};
use std::sync::Arc;

/// How the clients' statements are read.
pub fn lex_mode() -> LexMode {
    LexMode::new(Flavor::MariaDb, 101_119)
}

/// A statement for the engine.
pub fn statement(sql: &Sql, analyser: &Analyser) -> Statement {
    let text = sql.to_string();
    let analysis = analyser.analyse(text.as_bytes(), lex_mode());
    assert_ne!(analysis.class, Class::Unknown, "the analyser does not know {text}");
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
