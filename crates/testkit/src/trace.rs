//! What the servers executed before one of them answered differently: their general logs, as far as they are about the same table.

use std::fs;
use std::path::Path;

use grove_sandbox::Server;

/// A server's general log, in its directory.
pub(crate) const FILE: &str = "general.log";
/// How many lines of each server are shown.
const LINES: usize = 150;
/// Words before the first table of a statement.
const BEFORE_TABLE: [&str; 4] = ["UPDATE", "INTO", "FROM", "TABLE"];

/// The statements about the table of the first statement that Grove's log says was answered differently, of all connections, with the
/// beginnings and ends of their transactions. Empty if there was none.
pub(crate) fn of_difference(directory: &Path, servers: &[Server]) -> String {
    let log = fs::read(directory.join("grove.log")).unwrap_or_default();
    let log = String::from_utf8_lossy(&log);
    let Some(table) = log.lines().find_map(table_of_difference) else {
        return String::new();
    };
    let mut text = String::new();
    for server in servers {
        let path = directory.join(server.name()).join(FILE);
        let trace = fs::read(path).unwrap_or_default();
        let trace = String::from_utf8_lossy(&trace);
        let about: Vec<&str> = trace.lines().filter(|line| is_about(line, table)).collect();
        let last = &about[about.len().saturating_sub(LINES)..];
        text.push_str(&format!("--- {} about {table}\n{}\n", server.name(), last.join("\n")));
    }
    text
}

/// The first table of the statement that a line of Grove's log says was answered differently.
fn table_of_difference(line: &str) -> Option<&str> {
    let (_, after) = line.split_once("answered differently")?;
    let (_, statement) = after.split_once(" to: ")?;
    let mut words = statement.split_ascii_whitespace();
    words.find(|word| BEFORE_TABLE.contains(word))?;
    words.next()
}

fn is_about(line: &str, table: &str) -> bool {
    let ends = ["BEGIN", "START TRANSACTION", "COMMIT", "ROLLBACK", "SAVEPOINT", "KILL"];
    let words = line.split(|c: char| !c.is_alphanumeric() && c != '_');
    words.into_iter().any(|word| word == table) || ends.iter().any(|end| line.contains(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_that_of_the_statement() {
        let line = "server evicted reason=\"answered differently from the lead: [] instead of [] to: UPDATE uniq SET code = 1\"";
        assert_eq!(table_of_difference(line), Some("uniq"));
        assert_eq!(
            table_of_difference("server evicted reason=\"answered differently: [] instead of []\""),
            None
        );
        assert!(is_about("  7 Query\tDELETE FROM uniq WHERE val = 2", "uniq"));
        assert!(!is_about("  7 Query\tDELETE FROM item WHERE val = 2", "uniq"));
        assert!(is_about("  7 Query\tCOMMIT", "uniq"));
    }
}
