//! A walk over the tokens of a query or of the expressions of any statement: which tables, functions and variables are named, and
//! whether rows are locked.
//!
//! It is no parser. It follows parentheses with a stack of its own (hostile nesting costs memory, not the thread's stack) and knows at each level
//! whether table references may stand there. Where the grammar leaves room for doubt it names too much: a table that is only an alias, a
//! function call that is none. What it must not do is to miss one.

mod clauses;
mod expressions;
mod limit;
mod tables;

use crate::facts::Facts;
use crate::lexer::TokenKind;
use crate::name::Name;
use crate::tokens::Tokens;

/// More common table expressions than this are not told apart.
const MOST_COMMON_TABLES: usize = 1_024;

/// The walk, which can be stopped at a position and continued with other expectations.
pub(crate) struct Walker<'t, 'a> {
    tokens: &'t Tokens<'a>,
    at: usize,
    levels: Vec<Level>,
    /// Common table expressions that are visible, innermost last.
    ctes: Vec<Name>,
    counted_calls: u32,
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
    /// It stands between the parentheses of a query, or is one.
    in_subquery: bool,
    /// The rows here come out of tables, in whatever order the server visits them.
    reads_tables: bool,
    condition: limit::Condition,
    /// ORDER BY was seen here.
    is_ordered: bool,
    /// Only whether there are rows matters: EXISTS.
    asks_existence: bool,
    /// It stands where a table may stand.
    is_table_reference: bool,
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
            counted_calls: 0,
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
            Some(TokenKind::Punctuation(b'=')) => self.equals(at),
            Some(TokenKind::Punctuation(b'|')) => self.alternative(),
            Some(TokenKind::Word) => self.word(at),
            Some(TokenKind::QuotedName) => self.quoted_name(at),
            Some(TokenKind::UserVariable) => self.user_variable(at),
            Some(TokenKind::SystemVariable) => self.system_variable(at),
            // No table is called by a literal; what follows would be taken for one.
            Some(TokenKind::String | TokenKind::Number | TokenKind::Placeholder) => {
                self.facts.opaque |= std::mem::take(&mut self.level().expects_table);
            }
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
        let asks_existence = self.tokens.is(at.wrapping_sub(1), "EXISTS");
        let level = self.level();
        let expects_table = level.expects_table;
        level.expects_table = false;
        let child = Level {
            in_from: expects_table && !begins_query,
            expects_table: expects_table && !begins_query,
            in_query: level.in_query || !expects_table || begins_query,
            ctes_outside,
            in_subquery: level.in_subquery || begins_query,
            asks_existence,
            is_table_reference: expects_table,
            ..Level::default()
        };
        self.levels.push(child);
    }

    fn close(&mut self) {
        if self.is_outside_parentheses() {
            self.facts.opaque = true;
            return;
        }
        let mut gives_rows = false;
        if let Some(level) = self.levels.pop() {
            self.ctes.truncate(level.ctes_outside);
            gives_rows = level.is_table_reference && level.reads_tables;
        }
        let level = self.level();
        level.reads_tables |= gives_rows;
        if let With::Inside { name, recursive } = std::mem::take(&mut level.with) {
            level.with = With::After { recursive };
            if !recursive {
                self.make_visible(name);
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

    fn make_visible(&mut self, name: Name) {
        // Every table is looked up among them.
        self.facts.opaque |= self.ctes.len() >= MOST_COMMON_TABLES;
        if !self.facts.opaque {
            self.ctes.push(name);
        }
    }

    fn common_table(&mut self, at: usize, recursive: bool) {
        let Some(name) = self.tokens.name(at) else { return };
        if recursive {
            self.make_visible(name.clone());
        }
        self.level().with = With::Query { name, recursive };
    }
}
