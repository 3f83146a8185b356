//! The second opinion of a full parser (sqlparser), asked once per distinct shape.
//!
//! The classifier decides; the parser may only make its answer more careful (a "read" that the parser takes for something else) or, where the
//! classifier named too much, more precise. It never sees the client's text but one that is put together from the tokens: executable comments, quotes and
//! escapes mean other things to it than to the servers. What it does not understand, which is much, leaves the answer as it is.

use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};

use sqlparser::ast::{AssignmentTarget, ObjectName, ObjectNamePart, Query, SetExpr, Statement};
use sqlparser::dialect::MySqlDialect;
use sqlparser::parser::Parser;

use crate::analysis::{Analysis, Class, TableName};
use crate::lexer::TokenKind;
use crate::name::Name;
use crate::shape::is_literal_word;
use crate::tokens::Tokens;

/// Bounds of what the parser is asked about: it tries several readings of each parenthesis, so nesting costs it exponentially.
const MOST_TOKENS: usize = 400;
const DEEPEST: usize = 6;
const RECURSION_LIMIT: usize = 30;

/// The tables, or aliases of tables, that the assignments of an UPDATE name; `tables` is the position after UPDATE and its modifiers. `None` if the
/// parser does not understand the statement, or a column stands without its table.
pub(crate) fn assigned_tables(tokens: &Tokens, tables: usize) -> Option<Vec<TableName>> {
    let set = (tables..tokens.len()).find(|&at| tokens.is(at, "SET"))?;
    // The parser wants JOIN where MySQL also takes a comma.
    let text = text_of(tokens, tables, |at| at < set && tokens.is_punctuation(at, b','))?;
    let Statement::Update(update) = parse(&format!("UPDATE {text}"))? else {
        return None;
    };
    let columns = update.assignments.iter().map(|assignment| match &assignment.target {
        AssignmentTarget::ColumnName(column) => table_of(column),
        AssignmentTarget::Tuple(_) => None,
    });
    columns.collect()
}

/// Takes a read back that the parser takes for something else.
pub(crate) fn doubt(analysis: Analysis, tokens: &Tokens) -> Analysis {
    let is_query = tokens.is_any(0, &["SELECT", "WITH", "VALUES"]) || tokens.is_punctuation(0, b'(');
    if analysis.class != Class::Read || !is_query {
        return analysis;
    }
    match text_of(tokens, 0, |_| false).and_then(|text| parse(&text)) {
        None => analysis,
        Some(Statement::Query(query)) if is_plain(&query) => analysis,
        Some(_) => Analysis::new(Class::Unknown),
    }
}

fn is_plain(query: &Query) -> bool {
    let with = query.with.iter().flat_map(|with| &with.cte_tables);
    query.locks.is_empty() && is_plain_body(&query.body) && with.map(|cte| &cte.query).all(|query| is_plain(query))
}

fn is_plain_body(body: &SetExpr) -> bool {
    match body {
        SetExpr::Query(query) => is_plain(query),
        SetExpr::SetOperation { left, right, .. } => is_plain_body(left) && is_plain_body(right),
        // INTO @x assigns variables, which reads may.
        SetExpr::Select(_) | SetExpr::Values(_) | SetExpr::Table(_) => true,
        SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_) => false,
    }
}

/// The tokens from `from` as text for the parser, with literals of its own and JOIN for the commas that `is_join` points at.
fn text_of(tokens: &Tokens, from: usize, is_join: impl Fn(usize) -> bool) -> Option<String> {
    if tokens.len() > MOST_TOKENS {
        return None;
    }
    let mut text = String::new();
    let mut depth = 0usize;
    for at in from..tokens.len() {
        match tokens.kind(at)? {
            TokenKind::Punctuation(b'(') => depth += 1,
            TokenKind::Punctuation(b')') => depth = depth.checked_sub(1)?,
            _ => {}
        }
        if depth > DEEPEST {
            return None;
        }
        let bytes = std::str::from_utf8(tokens.bytes(at)).ok()?;
        match tokens.kind(at)? {
            TokenKind::String => text.push_str("'x'"),
            TokenKind::Number if is_literal_word(tokens.bytes(at)) => text.push_str(bytes),
            TokenKind::Number | TokenKind::Placeholder => text.push('1'),
            TokenKind::UserVariable => text.push_str("@x"),
            TokenKind::SystemVariable => text.push_str("@@x"),
            TokenKind::QuotedName => {
                let name = tokens.name(at)?;
                write!(text, "`{}`", name.to_string().replace('`', "``")).ok()?;
            }
            TokenKind::Punctuation(_) if depth == 0 && is_join(at) => text.push_str(" JOIN"),
            _ => text.push_str(bytes),
        }
        // What stands together may be an operator of two signs; words need a blank.
        let joins_next = matches!(tokens.kind(at), Some(TokenKind::Punctuation(_))) && !tokens.has_gap_before(at + 1);
        if !joins_next {
            text.push(' ');
        }
    }
    Some(text)
}

fn parse(text: &str) -> Option<Statement> {
    let parsed = catch_unwind(AssertUnwindSafe(|| {
        let parser = Parser::new(&MySqlDialect {}).with_recursion_limit(RECURSION_LIMIT);
        parser.try_with_sql(text)?.parse_statements()
    }));
    let mut statements = parsed.ok()?.ok()?;
    let statement = statements.pop();
    statement.filter(|_| statements.is_empty())
}

/// The table of a qualified column.
fn table_of(column: &ObjectName) -> Option<TableName> {
    let part = |part: &ObjectNamePart| match part {
        ObjectNamePart::Identifier(name) => Some(Name::from(name.value.as_str())),
        ObjectNamePart::Function(_) => None,
    };
    match column.0.as_slice() {
        [table, _] => Some(TableName {
            schema: None,
            name: part(table)?,
        }),
        [schema, table, _] => Some(TableName {
            schema: Some(part(schema)?),
            name: part(table)?,
        }),
        _ => None,
    }
}
