//! Cuts a text of several statements at its top-level semicolons.

use std::ops::Range;

use memchr::memchr;
use smallvec::SmallVec;

use crate::lexer::{Lexer, TokenKind};
use crate::mode::{Flavor, LexMode};

/// The statements of a text, without their semicolons.
///
/// Empty statements at the end are dropped. The definition of a stored program, and a compound statement, take all the
/// rest of the text, because their bodies contain semicolons and only a full parser knows where they end. A semicolon inside
/// an executable comment does not cut: the halves would not be what the server runs.
pub fn split(sql: &[u8], mode: LexMode) -> SmallVec<[Range<usize>; 4]> {
    let mut statements = SmallVec::new();
    if memchr(b';', sql).is_none() {
        if !is_empty(sql, mode) {
            statements.push(0..sql.len());
        }
        return statements;
    }
    let mut start = 0;
    let mut head = Head::default();
    let mut lexer = Lexer::new(sql, mode);
    while let Some(token) = lexer.next() {
        match token.kind {
            TokenKind::Punctuation(b';') if !head.takes_rest && !lexer.in_executable_comment() => {
                statements.push(start..token.range.start);
                start = token.range.end;
                head = Head::default();
            }
            TokenKind::Whitespace | TokenKind::Comment | TokenKind::ExecutableOpen | TokenKind::ExecutableClose => {}
            TokenKind::Word => head.word(&sql[token.range], mode.flavor),
            _ => head.other(token.kind),
        }
    }
    statements.push(start..sql.len());
    while statements
        .last()
        .is_some_and(|range: &Range<usize>| is_empty(&sql[range.clone()], mode))
    {
        statements.pop();
    }
    statements
}

/// Whether a text has no token that a server would see.
fn is_empty(sql: &[u8], mode: LexMode) -> bool {
    Lexer::new(sql, mode).all(|t| matches!(t.kind, TokenKind::Whitespace | TokenKind::Comment))
}

/// What the first words of a statement say about its end.
#[derive(Default)]
struct Head {
    words: u32,
    create: bool,
    begin: bool,
    set_statement: u8,
    decided: bool,
    takes_rest: bool,
    /// The next word is a value, as in DEFINER=event.
    value: bool,
}

/// Words that start a compound statement in MariaDB outside of stored programs.
const COMPOUND: [&[u8]; 7] = [b"IF", b"CASE", b"LOOP", b"WHILE", b"REPEAT", b"FOR", b"DECLARE"];
/// Words after CREATE or ALTER that are followed by a body.
const STORED: [&[u8]; 6] = [b"PROCEDURE", b"FUNCTION", b"TRIGGER", b"EVENT", b"PACKAGE", b"LIBRARY"];
/// Words after CREATE after which no body can follow.
const PLAIN: [&[u8]; 12] = [
    b"TABLE",
    b"VIEW",
    b"INDEX",
    b"DATABASE",
    b"SCHEMA",
    b"USER",
    b"ROLE",
    b"SERVER",
    b"SEQUENCE",
    b"TABLESPACE",
    b"LOGFILE",
    b"RESOURCE",
];

impl Head {
    fn word(&mut self, word: &[u8], flavor: Flavor) {
        let is = |other: &[u8]| word.eq_ignore_ascii_case(other);
        let first = self.words == 0;
        self.words += 1;
        if self.set_statement == 2 {
            // SET STATEMENT x=1 FOR BEGIN NOT ATOMIC .. END: what follows FOR is a statement again.
            if is(b"FOR") {
                *self = Self::default();
            }
            return;
        }
        if std::mem::take(&mut self.value) || self.decided {
            return;
        }
        if first {
            let compound = flavor == Flavor::MariaDb && COMPOUND.iter().any(|c| is(c));
            self.takes_rest = compound;
            self.create = is(b"CREATE") || is(b"ALTER");
            self.begin = is(b"BEGIN");
            self.set_statement = u8::from(is(b"SET") && flavor == Flavor::MariaDb);
            self.decided = !(self.create || self.begin || self.set_statement > 0);
            return;
        }
        if self.set_statement == 1 {
            self.set_statement = if is(b"STATEMENT") { 2 } else { 0 };
            self.decided = self.set_statement == 0;
        } else if self.begin {
            self.takes_rest = !is(b"WORK");
            self.decided = true;
        } else if STORED.iter().any(|s| is(s)) {
            self.takes_rest = true;
            self.decided = true;
        } else if PLAIN.iter().any(|p| is(p)) {
            self.decided = true;
        }
    }

    fn other(&mut self, kind: TokenKind) {
        self.value = kind == TokenKind::Punctuation(b'=');
        // `label: BEGIN NOT ATOMIC` in MariaDB.
        if kind == TokenKind::Punctuation(b':') && self.words == 1 {
            self.takes_rest = true;
        }
        if self.words == 0 {
            self.decided = true;
        }
        if self.begin && !self.decided {
            self.takes_rest = true;
            self.decided = true;
        }
    }
}
