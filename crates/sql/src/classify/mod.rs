//! From tokens to an [`Analysis`]: one file per family of statements, chosen by the first words.
//!
//! What is not recognised here, and what is recognised but holds something that is not, is [`Class::Unknown`].

mod administration;
mod definition;
mod describe;
mod dml;
mod load;
mod prepared;
mod query;
mod row_count;
mod set;
mod transaction;

use crate::analysis::{Analysis, Class};
use crate::facts::Facts;
use crate::tokens::Tokens;
use crate::walk::Walker;

/// The analysis of the statement, but for its digest.
pub(crate) fn classify(tokens: &Tokens) -> Analysis {
    if tokens.is_empty() {
        // The server answers with its own error, ER_EMPTY_QUERY.
        return Facts::default().into_analysis(Class::Read, Vec::new());
    }
    statement(tokens, 0)
}

/// The statement that begins at `at`: the whole text, or what EXPLAIN and SET STATEMENT .. FOR are about.
fn statement(tokens: &Tokens, at: usize) -> Analysis {
    let mut walker = Walker::new(tokens, at);
    let verb = if tokens.begins_cte(at) {
        query::after_common_tables(tokens, at)
    } else {
        at
    };
    walker.walk_to(verb);
    if tokens.is_punctuation(verb, b'(') {
        return query::query(walker);
    }
    match tokens.keyword(verb).as_str() {
        "SELECT" | "VALUES" | "TABLE" => Analysis {
            row_count_columns: row_count::columns(tokens, verb),
            ..query::query(walker)
        },
        "INSERT" | "REPLACE" => dml::insert(walker, verb),
        "UPDATE" => dml::update(walker, verb),
        "DELETE" => dml::delete(walker, verb),
        _ if verb != at => unknown(),
        word => other(tokens, at, word),
    }
}

/// Statements that no WITH clause can precede.
fn other(tokens: &Tokens, at: usize, word: &str) -> Analysis {
    let analysis = match word {
        "SET" => set::set(tokens, at),
        "BEGIN" | "START" | "COMMIT" | "ROLLBACK" | "SAVEPOINT" | "RELEASE" | "XA" => {
            transaction::transaction(tokens, at, word)
        }
        "LOCK" | "UNLOCK" | "BACKUP" => transaction::locks(tokens, at, word),
        "USE" => prepared::use_schema(tokens, at),
        "PREPARE" => prepared::prepare(tokens, at),
        "EXECUTE" => prepared::execute(tokens, at),
        "DEALLOCATE" => prepared::deallocate(tokens, at),
        "DROP" if tokens.is(at + 1, "PREPARE") => prepared::deallocate(tokens, at),
        "CALL" => query::call(tokens, at),
        "DO" => query::evaluate(tokens, at),
        "HANDLER" => query::handler(tokens, at),
        "SIGNAL" | "RESIGNAL" | "GET" => query::diagnostics(tokens, at, word),
        "LOAD" => load::load(tokens, at),
        "CREATE" => definition::create(tokens, at),
        "ALTER" => definition::alter(tokens, at),
        "DROP" => definition::drop(tokens, at),
        "RENAME" => definition::rename(tokens, at),
        "TRUNCATE" => definition::truncate(tokens, at),
        // Accounts are written everywhere, and no table of the application's.
        "GRANT" | "REVOKE" => Some(without_tables(Class::Ddl)),
        "SHOW" => describe::show(tokens, at),
        "EXPLAIN" | "DESCRIBE" | "DESC" => describe::explain(tokens, at),
        "HELP" => Some(describe::help()),
        "ANALYZE" => describe::analyze(tokens, at),
        "CHECKSUM" => describe::checksum(tokens, at),
        "KILL" => Some(administration::kill(tokens, at)),
        _ => administration::administration(tokens, at, word),
    };
    analysis.unwrap_or_else(unknown)
}

fn unknown() -> Analysis {
    Analysis::new(Class::Unknown)
}

/// An analysis of a statement that touches no table.
fn without_tables(class: Class) -> Analysis {
    Facts::default().into_analysis(class, Vec::new())
}
