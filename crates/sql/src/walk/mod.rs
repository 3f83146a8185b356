//! A walk over the tokens of a query or of the expressions of any statement: which tables, functions and variables are named, and
//! whether rows are locked.
//!
//! It is no parser. It follows parentheses with a stack of its own (hostile nesting costs memory, not the thread's stack) and knows at each level
//! whether table references may stand there. Where the grammar leaves room for doubt it names too much: a table that is only an alias, a
//! function call that is none. What it must not do is to miss one.

mod expressions;

use crate::analysis::TableName;
use crate::facts::{Facts, TableReference};
use crate::lexer::TokenKind;
use crate::mode::Flavor;
use crate::name::Name;
use crate::tokens::Tokens;

/// The walk, which can be stopped at a position and continued with other expectations.
pub(crate) struct Walker<'t, 'a> {
    tokens: &'t Tokens<'a>,
    at: usize,
    levels: Vec<Level>,
    /// Common table expressions that are visible, innermost last.
    ctes: Vec<Name>,
    pub facts: Facts,
}

/// What may stand between one pair of parentheses, or outside of all.
#[derive(Clone, Debug, Default)]
struct Level {
    /// SELECT was seen here, so FROM begins table references.
    query: bool,
    /// Table references stand here, so a comma or JOIN leads to another one.
    in_from: bool,
    /// The next name is a table.
    expects_table: bool,
    /// Tables here are only read, whatever the statement does.
    in_query: bool,
    with: With,
    /// How many common table expressions were visible when the level began.
    ctes_outside: usize,
}

/// Where in a WITH clause the walk is.
#[derive(Clone, Debug, Default, PartialEq)]
enum With {
    #[default]
    Outside,
    /// Before the name of an expression.
    Name { recursive: bool },
    /// After the name, before the parenthesis with the query.
    Query { name: Name, recursive: bool },
    /// In that query.
    Inside { name: Name, recursive: bool },
    /// After it: a comma, or the statement.
    After { recursive: bool },
}

impl<'t, 'a> Walker<'t, 'a> {
    pub fn new(tokens: &'t Tokens<'a>, at: usize) -> Self {
        Self {
            tokens,
            at,
            levels: vec![Level::default()],
            ctes: Vec::new(),
            facts: Facts::default(),
        }
    }

    /// The findings of a walk over everything from `at`.
    pub fn over(tokens: &'t Tokens<'a>, at: usize) -> Facts {
        let mut walker = Self::new(tokens, at);
        walker.walk_to(usize::MAX);
        walker.close_walk()
    }

    /// The findings of a walk that ends here.
    pub fn close_walk(mut self) -> Facts {
        self.check_end();
        self.facts
    }

    pub fn tokens(&self) -> &'t Tokens<'a> {
        self.tokens
    }

    /// Continues at `at`, outside of all parentheses.
    pub fn go_to(&mut self, at: usize) {
        self.at = at;
    }

    /// The tables that follow are those that the statement works on.
    pub fn expect_tables(&mut self) {
        let level = self.level();
        level.in_from = true;
        level.expects_table = true;
        level.in_query = false;
    }

    pub fn walk_to(&mut self, end: usize) {
        while self.at < end.min(self.tokens.len()) {
            self.step();
        }
    }

    /// Walks to the end of the statement.
    pub fn finish(&mut self) {
        self.walk_to(usize::MAX);
        self.check_end();
    }

    fn check_end(&mut self) {
        // Parentheses that do not match are a syntax error for the server; nothing is claimed about such a statement.
        self.facts.opaque |= self.levels.len() != 1;
    }

    fn level(&mut self) -> &mut Level {
        // The outermost level is never removed.
        let last = self.levels.len() - 1;
        &mut self.levels[last]
    }

    fn is_outside_parentheses(&self) -> bool {
        self.levels.len() == 1
    }

    fn step(&mut self) {
        let at = self.at;
        self.at += 1;
        match self.tokens.kind(at) {
            Some(TokenKind::Punctuation(b'(')) => self.open(at),
            Some(TokenKind::Punctuation(b')')) => self.close(),
            Some(TokenKind::Punctuation(b',')) => self.comma(),
            Some(TokenKind::Word) => self.word(at),
            Some(TokenKind::QuotedName) => self.quoted_name(at),
            Some(TokenKind::UserVariable) => self.user_variable(at),
            Some(TokenKind::SystemVariable) => self.system_variable(at),
            _ => {}
        }
    }

    fn open(&mut self, at: usize) {
        let ctes_outside = self.ctes.len();
        let begins_query = self.tokens.begins_query(at + 1);
        let level = self.level();
        if let With::Query { name, recursive } = std::mem::take(&mut level.with) {
            if begins_query || self.tokens.is_punctuation(at + 1, b'(') {
                self.level().with = With::Inside { name, recursive };
            } else {
                // The list of its columns.
                self.level().with = With::Query { name, recursive };
                self.at = self.tokens.after_parentheses(at);
                return;
            }
        }
        let level = self.level();
        let expects_table = level.expects_table;
        level.expects_table = false;
        let child = Level {
            in_from: expects_table,
            expects_table: expects_table && !begins_query,
            in_query: level.in_query || !expects_table || begins_query,
            ctes_outside,
            ..Level::default()
        };
        self.levels.push(child);
    }

    fn close(&mut self) {
        if self.is_outside_parentheses() {
            self.facts.opaque = true;
            return;
        }
        if let Some(level) = self.levels.pop() {
            self.ctes.truncate(level.ctes_outside);
        }
        let level = self.level();
        if let With::Inside { name, recursive } = std::mem::take(&mut level.with) {
            level.with = With::After { recursive };
            if !recursive {
                self.ctes.push(name);
            }
        }
    }

    fn comma(&mut self) {
        let level = self.level();
        if let With::After { recursive } = level.with {
            level.with = With::Name { recursive };
        } else if level.in_from {
            level.expects_table = true;
        }
    }

    fn quoted_name(&mut self, at: usize) {
        if let With::Name { recursive } = self.level().with {
            self.common_table(at, recursive);
        } else if self.level().expects_table {
            self.table(at);
        } else {
            self.call(at);
        }
    }

    fn common_table(&mut self, at: usize, recursive: bool) {
        let Some(name) = self.tokens.name(at) else { return };
        if recursive {
            self.ctes.push(name.clone());
        }
        self.level().with = With::Query { name, recursive };
    }

    fn word(&mut self, at: usize) {
        let keyword = self.tokens.keyword(at);
        let keyword = keyword.as_str();
        match self.level().with {
            With::Name { recursive } => return self.common_table(at, recursive),
            With::Query { .. } => return,
            With::After { .. } if keyword == "CYCLE" => {
                // MariaDB: `CYCLE a, b RESTRICT`.
                while self.at < self.tokens.len() && !self.tokens.is(self.at, "RESTRICT") {
                    self.at += 1;
                }
                return;
            }
            With::After { .. } => self.level().with = With::Outside,
            _ => {}
        }
        if self.level().expects_table {
            match keyword {
                "LATERAL" | "TABLE" => return,
                "OJ" if self.tokens.is_punctuation(at.wrapping_sub(1), b'{') => return,
                "DUAL" => {
                    self.level().expects_table = false;
                    return;
                }
                "SELECT" | "WITH" | "VALUES" => self.level().expects_table = false,
                _ => return self.table(at),
            }
        }
        self.clause(at, keyword);
    }

    /// Keywords that begin a clause, and with it other expectations.
    fn clause(&mut self, at: usize, keyword: &str) {
        let tokens = self.tokens;
        match keyword {
            "SELECT" => {
                let level = self.level();
                level.query = true;
                level.in_from = false;
                level.in_query = true;
            }
            "FROM" if self.level().query => {
                let level = self.level();
                level.in_from = true;
                level.expects_table = true;
            }
            "TABLE" => {
                let level = self.level();
                level.in_from = true;
                level.expects_table = true;
                level.in_query = true;
            }
            "JOIN" | "STRAIGHT_JOIN" if self.level().in_from && !self.follows_for(at) => {
                self.level().expects_table = true;
            }
            // `USE INDEX FOR ORDER BY (i)` is still among the tables.
            "WHERE" | "GROUP" | "HAVING" | "ORDER" | "SET" if !self.follows_for(at) => self.level().in_from = false,
            "LIMIT" => {
                self.level().in_from = false;
                self.facts.flags.has_limit = true;
            }
            "FETCH" if tokens.is_any(at + 1, &["FIRST", "NEXT"]) => self.facts.flags.has_limit = true,
            // Not reserved in MySQL 5.6 and 5.7, where it may be an alias.
            "WINDOW" if tokens.is_name(at + 1) && tokens.is(at + 2, "AS") => self.level().in_from = false,
            "PROCEDURE" => self.level().in_from = false,
            "WITH" if tokens.begins_cte(at) => {
                let recursive = tokens.is(at + 1, "RECURSIVE");
                self.at += usize::from(recursive);
                self.level().with = With::Name { recursive };
            }
            "INTO" => self.into(at),
            "FOR" if tokens.is_any(at + 1, &["UPDATE", "SHARE"]) => self.facts.locks_rows = true,
            "LOCK" if tokens.is(at + 1, "IN") => self.facts.locks_rows = true,
            "RETURNING" if self.is_outside_parentheses() => {
                self.facts.saw_returning = true;
                if tokens.flavor() == Flavor::MariaDb {
                    self.level().in_from = false;
                }
            }
            "ON" if tokens.is(at + 1, "DUPLICATE") => self.facts.flags.on_duplicate_key = true,
            "SQL_CALC_FOUND_ROWS" => self.facts.flags.calculates_found_rows = true,
            _ => self.expression_word(at, keyword),
        }
    }

    fn follows_for(&self, at: usize) -> bool {
        at > 0 && self.tokens.is(at - 1, "FOR")
    }

    /// INTO of a SELECT.
    fn into(&mut self, at: usize) {
        self.level().in_from = false;
        let mut next = at + 1;
        if self.tokens.is_any(next, &["OUTFILE", "DUMPFILE"]) {
            self.facts.flags.into_outfile = true;
            return;
        }
        // A variable of a stored program, or a syntax that is not known, is no variable of the session.
        self.facts.opaque |= !self.tokens.is_kind(next, TokenKind::UserVariable);
        while self.tokens.is_kind(next, TokenKind::UserVariable) {
            self.assign_variable(next);
            next += 1;
            self.at = next;
            if !self.tokens.is_punctuation(next, b',') {
                return;
            }
            next += 1;
        }
        self.facts.opaque = true;
    }

    /// A table reference that begins at `at`.
    fn table(&mut self, at: usize) {
        let level = self.level();
        level.expects_table = false;
        level.in_from = true;
        let in_query = level.in_query;
        let Some((table, end)) = self.tokens.table_name(at) else {
            self.facts.opaque = true;
            return;
        };
        self.at = end;
        if self.tokens.is_punctuation(end, b'(') {
            // JSON_TABLE is the only table function; its arguments are expressions.
            let is_known = table.schema.is_none() && self.tokens.is(at, "JSON_TABLE");
            self.facts.flags.calls_unknown_function |= !is_known;
            return;
        }
        if table.schema.is_none() && self.ctes.contains(&table.name) {
            return;
        }
        let alias = self.alias(end);
        self.facts.refer_to(TableReference { table, alias, in_query });
    }

    /// The alias of a table reference whose name ends at `at`.
    fn alias(&self, mut at: usize) -> Option<Name> {
        let tokens = self.tokens;
        if tokens.is(at, "PARTITION") {
            at = tokens.after_parentheses(at + 1);
        }
        if tokens.is(at, "AS") {
            return tokens.name(at + 1);
        }
        const FOLLOWERS: [&str; 22] = [
            "WHERE",
            "JOIN",
            "INNER",
            "LEFT",
            "RIGHT",
            "CROSS",
            "NATURAL",
            "STRAIGHT_JOIN",
            "ON",
            "USING",
            "SET",
            "USE",
            "FORCE",
            "IGNORE",
            "FOR",
            "ORDER",
            "GROUP",
            "LIMIT",
            "HAVING",
            "UNION",
            "RETURNING",
            "LOCK",
        ];
        if tokens.is_any(at, &FOLLOWERS) {
            return None;
        }
        tokens.name(at)
    }

    /// A sequence that is named at `at` is advanced.
    fn advance_sequence(&mut self, at: usize) {
        match self.tokens.table_name(at) {
            Some((sequence, _)) => self.facts.sequences.push(sequence),
            None => self.facts.opaque = true,
        }
    }

    fn name_sequence(&mut self, at: usize) {
        self.facts.reads_own_sequence = true;
        match self.tokens.table_name(at) {
            Some((sequence, _)) => self.facts.name_table(sequence),
            None => self.facts.opaque = true,
        }
    }

    fn name_before(&self, at: usize) -> Option<TableName> {
        let name = self.tokens.name(at.checked_sub(2)?)?;
        let schema = match at.checked_sub(4) {
            Some(schema) if self.tokens.is_punctuation(at - 3, b'.') => self.tokens.name(schema),
            _ => None,
        };
        Some(TableName { schema, name })
    }
}
