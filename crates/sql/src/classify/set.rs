//! SET in all its forms: assignments with their scopes, and the forms that have a syntax of their own.

use std::ops::Range;

use crate::analysis::{Analysis, Class, SetItem, SetScope};
use crate::facts::Facts;
use crate::functions;
use crate::lexer::TokenKind;
use crate::mode::Flavor;
use crate::name::Name;
use crate::tokens::Tokens;
use crate::walk::Walker;

use super::statement;

/// SET, whose keyword is at `at`.
pub(super) fn set(tokens: &Tokens, at: usize) -> Option<Analysis> {
    if tokens.is(at + 1, "STATEMENT") && tokens.flavor() == Flavor::MariaDb {
        return set_statement(tokens, at);
    }
    let items = items(tokens, at + 1, tokens.len())?;
    let mut facts = facts_of_values(tokens, &items);
    for Item { item, .. } in items.iter().filter(|item| item.item.scope == SetScope::User) {
        facts.write_variable(item.name.clone());
    }
    let class = if facts.only_reads() { Class::Set } else { Class::Unknown };
    let mut analysis = facts.into_analysis(class, Vec::new());
    analysis.set = items.into_iter().map(|item| item.item).collect();
    Some(analysis)
}

/// MariaDB's SET STATEMENT x=1 FOR ..: the class is that of the inner statement.
fn set_statement(tokens: &Tokens, at: usize) -> Option<Analysis> {
    let mut end = at + 2;
    while end < tokens.len() && !tokens.is(end, "FOR") {
        end = if tokens.is_punctuation(end, b'(') {
            tokens.after_parentheses(end)
        } else {
            end + 1
        };
    }
    let items = items(tokens, at + 2, end)?;
    let facts = facts_of_values(tokens, &items);
    let mut inner = statement(tokens, end + 1);
    let is_understood = facts.only_reads() && facts.tables.is_empty() && facts.variables_written.is_empty();
    if !is_understood || inner.class == Class::Set || items.iter().any(|item| item.item.scope != SetScope::Session) {
        return None;
    }
    inner.user_variables_read.extend(facts.variables_read);
    inner.flags.reads_system_variable |= facts.flags.reads_system_variable;
    let items = items.into_iter().map(|Item { item, .. }| SetItem {
        scope: SetScope::Statement,
        ..item
    });
    inner.set = items.chain(inner.set).collect();
    Some(inner)
}

/// An item, and where its value is if it is an expression.
struct Item {
    item: SetItem,
    expression: Range<usize>,
}

fn items(tokens: &Tokens, from: usize, end: usize) -> Option<Vec<Item>> {
    let mut items = Vec::new();
    let mut scope = SetScope::Session;
    let mut at = from;
    loop {
        let item_end = item_end(tokens, at, end);
        items.push(item(tokens, at, item_end, &mut scope)?);
        if item_end >= end {
            return Some(items);
        }
        at = item_end + 1;
    }
}

fn facts_of_values(tokens: &Tokens, items: &[Item]) -> Facts {
    let mut walker = Walker::new(tokens, 0);
    for item in items {
        walker.go_to(item.expression.start);
        walker.walk_to(item.expression.end);
    }
    walker.close_walk()
}

/// The end of the item that begins at `at`: a comma outside of parentheses, or `end`.
fn item_end(tokens: &Tokens, at: usize, end: usize) -> usize {
    let takes_rest = tokens.is(at, "TRANSACTION")
        || tokens.is(at + 1, "TRANSACTION")
        || tokens.flavor() == Flavor::Mysql && tokens.is_any(at, &["ROLE", "DEFAULT", "PASSWORD", "RESOURCE"]);
    if takes_rest {
        return end;
    }
    let mut next = at;
    while next < end && !tokens.is_punctuation(next, b',') {
        next = if tokens.is_punctuation(next, b'(') {
            tokens.after_parentheses(next)
        } else {
            next + 1
        };
    }
    next.min(end)
}

/// One item. `scope` is the scope keyword that was seen last: the servers let it hold for the assignments that follow without one.
fn item(tokens: &Tokens, at: usize, end: usize, scope: &mut SetScope) -> Option<Item> {
    if at >= end {
        return None;
    }
    let special = |scope, value: usize| Some(without_name(scope, tokens.range(at, end), tokens.range(value, end)));
    match tokens.keyword(at).as_str() {
        "TRANSACTION" => return special(SetScope::Transaction, at + 1),
        "SESSION" | "LOCAL" if tokens.is(at + 1, "TRANSACTION") => {
            return special(SetScope::SessionTransaction, at + 2);
        }
        "GLOBAL" if tokens.is(at + 1, "TRANSACTION") => return special(SetScope::GlobalTransaction, at + 2),
        "NAMES" => return charset(tokens, SetScope::Names, at, at + 1, end),
        "CHARSET" => return charset(tokens, SetScope::CharacterSet, at, at + 1, end),
        "CHARACTER" | "CHAR" if tokens.is(at + 1, "SET") => {
            return charset(tokens, SetScope::CharacterSet, at, at + 2, end);
        }
        "PASSWORD" => return special(SetScope::Password, at + 1),
        "ROLE" => return special(SetScope::Role, at + 1),
        "DEFAULT" if tokens.is(at + 1, "ROLE") => return special(SetScope::DefaultRole, at + 2),
        "RESOURCE" if tokens.is(at + 1, "GROUP") => return special(SetScope::ResourceGroup, at + 2),
        _ => {}
    }
    assignment(tokens, at, end, scope)
}

/// SET NAMES and SET CHARACTER SET. The value is the charset alone, without COLLATE.
fn charset(tokens: &Tokens, scope: SetScope, at: usize, value: usize, end: usize) -> Option<Item> {
    let is_value = tokens.is_name(value) || tokens.is_kind(value, TokenKind::String);
    let collates = tokens.is(value + 1, "COLLATE") && value + 3 == end;
    if !is_value || !(collates || value + 1 == end) {
        return None;
    }
    Some(without_name(
        scope,
        tokens.range(at, end),
        tokens.range(value, value + 1),
    ))
}

/// An item of a form that names no variable.
fn without_name(scope: SetScope, text: Range<usize>, value: Range<usize>) -> Item {
    let item = SetItem {
        scope,
        name: Name::from(""),
        literal: true,
        text,
        value,
    };
    Item { item, expression: 0..0 }
}

fn assignment(tokens: &Tokens, at: usize, end: usize, scope: &mut SetScope) -> Option<Item> {
    let is_assignment = |at| tokens.is_punctuation(at, b'=') || tokens.is_kind(at, TokenKind::Assign);
    let mut target = at;
    let explicit = scope_named(tokens.keyword(at).as_str()).filter(|_| !is_assignment(at + 1));
    if let Some(explicit) = explicit {
        *scope = explicit;
        target += 1;
    }
    let (scope, name, value) = match tokens.kind(target)? {
        TokenKind::UserVariable if explicit.is_none() => (SetScope::User, tokens.user_variable(target)?, target + 1),
        TokenKind::SystemVariable if explicit.is_none() => {
            let (scope, name) = system_variable(tokens.bytes(target))?;
            (scope, name, target + 1)
        }
        TokenKind::Word | TokenKind::QuotedName => {
            let (table, value) = tokens.table_name(target)?;
            let name = match table.schema {
                // A variable of a component or of a key cache.
                Some(owner) => [owner.as_bytes(), b".", table.name.as_bytes()]
                    .concat()
                    .as_slice()
                    .into(),
                None => table.name,
            };
            (*scope, name, value)
        }
        _ => return None,
    };
    if !is_assignment(value) || value + 1 >= end {
        return None;
    }
    let value = value + 1;
    let item = SetItem {
        scope,
        literal: is_literal(tokens, value, end) && is_plain_for(&name, tokens, value, scope),
        name,
        text: tokens.range(at, end),
        value: tokens.range(value, end),
    };
    let expression = value..end;
    Some(Item { item, expression })
}

fn scope_named(word: &str) -> Option<SetScope> {
    match word {
        "GLOBAL" => Some(SetScope::Global),
        "SESSION" | "LOCAL" => Some(SetScope::Session),
        "PERSIST" | "PERSIST_ONLY" => Some(SetScope::Persist),
        _ => None,
    }
}

/// The scope and name of `@@x` and `@@scope.x` as a target.
fn system_variable(variable: &[u8]) -> Option<(SetScope, Name)> {
    let path: Vec<u8> = variable.iter().copied().filter(|byte| *byte != b'`').collect();
    let path = path.strip_prefix(b"@@")?;
    let (scope, name) = match path.iter().position(|&byte| byte == b'.') {
        Some(dot) => {
            let owner = path[..dot].to_ascii_uppercase();
            match scope_named(std::str::from_utf8(&owner).unwrap_or_default()) {
                Some(scope) => (scope, &path[dot + 1..]),
                // A key cache, which is one of the server's.
                None => (SetScope::Global, path),
            }
        }
        None if scope_named(&String::from_utf8_lossy(&path.to_ascii_uppercase())).is_some() => return None,
        // These two mean the next transaction only when they are written with @@ and without a scope.
        None if is_transaction_variable(path) => (SetScope::Transaction, path),
        None => (SetScope::Session, path),
    };
    (!name.is_empty()).then(|| (scope, Name::from(name)))
}

fn is_transaction_variable(name: &[u8]) -> bool {
    [
        "transaction_isolation",
        "tx_isolation",
        "transaction_read_only",
        "tx_read_only",
    ]
    .iter()
    .any(|variable| name.eq_ignore_ascii_case(variable.as_bytes()))
}

/// Whether the value is one literal, bare word or signed number.
fn is_literal(tokens: &Tokens, at: usize, end: usize) -> bool {
    match tokens.kind(at) {
        Some(TokenKind::Punctuation(b'-' | b'+')) => at + 2 == end && tokens.is_kind(at + 1, TokenKind::Number),
        Some(TokenKind::String | TokenKind::Number) => at + 1 == end,
        // CURRENT_TIMESTAMP is a function all the same.
        Some(TokenKind::Word) => at + 1 == end && functions::effect_of_bare_word(tokens.keyword(at).as_str()).is_none(),
        _ => false,
    }
}

/// Whether the literal says by itself what Grove must know of the variable. A number for a charset or a sql_mode, or DEFAULT for autocommit, does not:
/// such a value has to be asked for.
fn is_plain_for(name: &Name, tokens: &Tokens, value: usize, scope: SetScope) -> bool {
    if scope != SetScope::Session {
        return true;
    }
    let is_word = tokens.is_kind(value, TokenKind::Word);
    let is_string = tokens.is_kind(value, TokenKind::String);
    let text = tokens.bytes(value);
    let bare = text.trim_ascii();
    let bare = match bare {
        [b'\'', inner @ .., b'\''] | [b'"', inner @ .., b'"'] => inner,
        other => other,
    };
    if name.eq_ignore_case("autocommit") {
        return ["0", "1", "on", "off", "true", "false"]
            .iter()
            .any(|word| bare.eq_ignore_ascii_case(word.as_bytes()));
    }
    if name.eq_ignore_case("sql_mode") {
        // Combinations such as ORACLE and MSSQL contain ANSI_QUOTES without saying so; an escape may spell anything.
        const COMBINED: [&str; 6] = ["DB2", "MAXDB", "MSSQL", "ORACLE", "POSTGRESQL", "\\"];
        let upper = String::from_utf8_lossy(bare).to_ascii_uppercase();
        return (is_string || is_word && upper != "DEFAULT") && !COMBINED.iter().any(|word| upper.contains(word));
    }
    if name.eq_ignore_case("character_set_client") || is_transaction_variable(name.as_bytes()) {
        return (is_string || is_word) && !bare.eq_ignore_ascii_case(b"DEFAULT") && !bare.contains(&b'\\');
    }
    true
}
