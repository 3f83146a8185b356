//! `EXPLAIN GROVE statement`: what Grove would do with it.
//!
//! The answer is one row of literals, which a server is asked for: so it is laid out as the client expects any other result.

use super::query::Outcome;
use super::{After, Client};
use crate::error::LinkError;
use crate::reply::Next;
use grove_engine::io::World;
use grove_engine::{Body, Explanation, Statement};
use grove_sql::Class;

const WORDS: [&[u8]; 2] = [b"explain", b"grove"];

/// The statement that is to be explained. `EXPLAIN grove` and `EXPLAIN grove column` are about a table of that name.
pub(super) fn explained(statement: &Statement) -> Option<&[u8]> {
    let Body::Query(query) = &statement.body else {
        return None;
    };
    if statement.analysis.class != Class::Read || !statement.analysis.flags.describes_server {
        return None;
    }
    let mut rest = query.text().trim_ascii_start();
    for word in WORDS {
        let (first, after) = rest.split_at_checked(word.len())?;
        if !first.eq_ignore_ascii_case(word) || !after.first()?.is_ascii_whitespace() {
            return None;
        }
        rest = after.trim_ascii_start();
    }
    rest.trim_ascii_end()
        .iter()
        .any(u8::is_ascii_whitespace)
        .then_some(rest)
}

impl<W: World> Client<W> {
    pub(super) async fn explain(&mut self, text: Vec<u8>, next: Next) -> Result<(After, Outcome), LinkError> {
        let analyser = &self.shared.analyser;
        let mode = self.session.lex_mode();
        let explanation = self.session.explain(&Statement {
            analysis: analyser.analyse(&text, mode),
            body: Body::query(&text),
        });
        let question = question(&explanation);
        let answer = Statement {
            analysis: analyser.analyse(question.as_bytes(), mode),
            body: Body::query(question.as_bytes()),
        };
        Box::pin(self.run_statement(answer, next)).await
    }
}

/// The query whose one row is the explanation.
fn question(explanation: &Explanation) -> String {
    let columns = [
        ("class", &explanation.class),
        ("tables", &explanation.tables),
        ("verdict", &explanation.verdict),
        ("reason", &explanation.reason),
        ("remedy", &explanation.remedy),
        ("gates", &explanation.gates),
        ("servers", &explanation.servers),
    ];
    let columns = columns.map(|(name, value)| {
        let digits: String = value.bytes().map(|byte| format!("{byte:02x}")).collect();
        format!("_utf8mb4 x'{digits}' AS `{name}`")
    });
    format!("SELECT {}", columns.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use grove_sql::{Analyser, Flavor, LexMode};

    #[test]
    fn only_a_statement_is_explained() {
        let analyser = Analyser::new(16);
        let check = |text: &str, expected: Option<&str>| {
            let statement = Statement {
                analysis: analyser.analyse(text.as_bytes(), LexMode::new(Flavor::MariaDb, 101_119)),
                body: Body::query(text.as_bytes()),
            };
            assert_eq!(explained(&statement), expected.map(str::as_bytes), "{text}");
        };
        check("EXPLAIN GROVE UPDATE t SET a = 1", Some("UPDATE t SET a = 1"));
        check(" explain\n grove  SELECT 1", Some("SELECT 1"));
        check(
            "EXPLAIN GROVE INSERT INTO t VALUES (UUID())",
            Some("INSERT INTO t VALUES (UUID())"),
        );
        check("EXPLAIN grove", None);
        check("EXPLAIN grove id", None);
        check("EXPLAIN SELECT 1 FROM grove", None);
        check("SELECT 1", None);
    }

    #[test]
    fn the_answer_is_one_row_of_texts() {
        let explanation = Explanation {
            class: "read".to_owned(),
            ..Explanation::default()
        };
        let question = question(&explanation);
        assert!(
            question.starts_with("SELECT _utf8mb4 x'72656164' AS `class`, _utf8mb4 x'' AS `tables`"),
            "{question}"
        );
    }
}
