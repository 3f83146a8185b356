//! Where a query asks for ROW_COUNT() and for nothing else in that column.

use crate::tokens::Tokens;

/// Columns of the one row of a query without FROM, from 0, that are ROW_COUNT() with or without an alias. Empty for other queries.
pub(super) fn columns(tokens: &Tokens, at: usize) -> Vec<u16> {
    let mut columns = Vec::new();
    if !tokens.is(at, "SELECT") {
        return columns;
    }
    let (mut column, mut start) = (0, at + 1);
    loop {
        let end = end_of_item(tokens, start);
        if asks_for_it(tokens, start, end) {
            columns.push(column);
        }
        if end < tokens.len() && !tokens.is_punctuation(end, b',') && !tokens.is_punctuation(end, b';') {
            // FROM, INTO, UNION and the like: not one row, or not for the client.
            return Vec::new();
        }
        if !tokens.is_punctuation(end, b',') || column == u16::MAX {
            return columns;
        }
        (column, start) = (column + 1, end + 1);
    }
}

/// The position after an item of the select list.
fn end_of_item(tokens: &Tokens, mut at: usize) -> usize {
    const CLAUSES: [&str; 12] = [
        "FROM",
        "INTO",
        "UNION",
        "EXCEPT",
        "INTERSECT",
        "WHERE",
        "HAVING",
        "GROUP",
        "ORDER",
        "LIMIT",
        "FOR",
        "LOCK",
    ];
    while at < tokens.len() {
        let ends = tokens.is_punctuation(at, b',') || tokens.is_punctuation(at, b';') || tokens.is_any(at, &CLAUSES);
        if ends {
            break;
        }
        at = if tokens.is_punctuation(at, b'(') {
            tokens.after_parentheses(at)
        } else {
            at + 1
        };
    }
    at
}

/// `ROW_COUNT()`, `ROW_COUNT() x` or `ROW_COUNT() AS x`.
fn asks_for_it(tokens: &Tokens, start: usize, end: usize) -> bool {
    let call = tokens.is(start, "ROW_COUNT")
        && tokens.is_punctuation(start + 1, b'(')
        && tokens.is_punctuation(start + 2, b')');
    let alias = tokens.after_optional(start + 3, "AS");
    call && (start + 3 == end || (alias + 1 == end && !tokens.is_punctuation(alias, b'.')) && is_alias(tokens, alias))
}

/// A name or a text, and no operator.
fn is_alias(tokens: &Tokens, at: usize) -> bool {
    tokens.is_name(at) || matches!(tokens.bytes(at).first(), Some(b'\'' | b'"'))
}

#[cfg(test)]
mod tests {
    use crate::{Analyser, Flavor, LexMode};

    #[test]
    fn columns_of_their_own_are_found_and_nothing_else() {
        let analyser = Analyser::new(16);
        let columns = |sql: &str| {
            let analysis = analyser.analyse(sql.as_bytes(), LexMode::new(Flavor::MariaDb, 101_119));
            analysis.row_count_columns.clone()
        };
        for (sql, expected) in [
            ("SELECT ROW_COUNT()", &[0][..]),
            ("select  row_count ( ) ;", &[0]),
            (
                "SELECT (1), f(2, 3), ROW_COUNT() AS `n`, ROW_COUNT() 'x', ROW_COUNT() y",
                &[2, 3, 4],
            ),
            ("SELECT ROW_COUNT() + 1", &[]),
            ("SELECT -ROW_COUNT()", &[]),
            ("SELECT ROW_COUNT() INTO @n", &[]),
            ("SELECT ROW_COUNT() FROM t", &[]),
            ("SELECT ROW_COUNT() UNION SELECT 1", &[]),
            ("SELECT DISTINCT ROW_COUNT()", &[]),
            ("SELECT row_count", &[]),
            ("SELECT", &[]),
            ("SELECT ,", &[]),
            ("INSERT INTO t SELECT ROW_COUNT()", &[]),
        ] {
            assert_eq!(columns(sql), expected, "{sql}");
        }
    }
}
