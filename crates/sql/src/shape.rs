//! The shape of a statement: its tokens without literals, comments and white space, as bytes to be hashed and compared.
//!
//! This is the hot path: one pass over the text, no allocation for ordinary statements. Two texts of one shape have one analysis, so whatever the
//! classifier may look at has to be in the shape. A literal is one byte, and lists collapse: `1, 2, 3` to one literal, rows of equal shape to the
//! first row and a mark that there are more.

use memchr::{memchr, memchr3};
use smallvec::SmallVec;

use crate::functions;
use crate::lexer::{Lexer, Token, TokenKind};
use crate::mode::LexMode;

/// Marks that no token's own first byte can be confused with: words begin with a blank here, other tokens with themselves.
const LITERAL: u8 = 0x01;
const MORE_ROWS: u8 = 0x02;
const QUOTED: u8 = 0x03;
const END_OF_VARIABLE: u8 = 0x04;
const GAP: u8 = 0x05;
const DOUBTFUL: u8 = 0x06;
const WORD: u8 = b' ';

/// A statement's shape.
#[derive(Debug)]
pub(crate) struct Shape {
    bytes: SmallVec<[u8; 512]>,
    doubtful: bool,
}

impl Shape {
    pub fn of(text: &[u8], mode: LexMode) -> Self {
        let mut builder = Builder {
            text,
            mode,
            shape: Self {
                bytes: SmallVec::new(),
                doubtful: false,
            },
            before: None,
            gap: false,
            group: Group::default(),
            outer: SmallVec::new(),
        };
        let mut lexer = Lexer::new(text, mode);
        while let Some(token) = lexer.next() {
            builder.token(token);
        }
        builder.shape.doubtful |= lexer.in_executable_comment();
        builder.finish()
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether something in the text is read differently by some server or some version, or is no SQL: nothing is to be concluded from its tokens.
    pub fn is_doubtful(&self) -> bool {
        self.doubtful
    }

    pub fn digest(&self) -> u64 {
        xxhash_rust::xxh3::xxh3_64(&self.bytes)
    }
}

/// A token that the servers' lexers return as a literal though it is a word.
pub(crate) fn is_literal_word(word: &[u8]) -> bool {
    match word.len() {
        4 => word.eq_ignore_ascii_case(b"NULL") || word.eq_ignore_ascii_case(b"TRUE"),
        5 => word.eq_ignore_ascii_case(b"FALSE"),
        _ => false,
    }
}

struct Builder<'a> {
    text: &'a [u8],
    mode: LexMode,
    shape: Shape,
    /// The significant token before the current one.
    before: Option<Token>,
    /// Something insignificant stands between them.
    gap: bool,
    group: Group,
    outer: SmallVec<[Group; 8]>,
}

/// A pair of parentheses that is open, and the last pair that was closed directly inside it. Positions are in the shape.
#[derive(Clone, Copy, Default)]
struct Group {
    start: usize,
    row_start: usize,
    row_end: usize,
    /// The end of the row with the mark that there are more.
    rows_end: usize,
    /// The number of literals inside matters.
    counts: bool,
}

impl Builder<'_> {
    fn token(&mut self, token: Token) {
        let range = token.range.clone();
        match token.kind {
            TokenKind::Whitespace | TokenKind::ExecutableOpen | TokenKind::ExecutableClose => {
                self.gap = true;
                return;
            }
            TokenKind::Comment => {
                self.gap = true;
                self.shape.doubtful |= is_doubtful_comment(&self.text[range]);
                return;
            }
            TokenKind::Word => self.word(&token),
            TokenKind::String | TokenKind::Placeholder => self.literal(),
            TokenKind::Number => {
                self.drop_sign();
                self.literal();
            }
            TokenKind::QuotedName => {
                let name = &self.text[range];
                // MySQL ends a quoted name at a NUL byte.
                self.shape.doubtful |= memchr(0, name).is_some();
                self.shape.bytes.push(QUOTED);
                self.shape.bytes.extend_from_slice(name);
            }
            TokenKind::UserVariable | TokenKind::SystemVariable => {
                let variable = &self.text[range];
                self.shape.doubtful |= matches!(variable.last(), Some(b'@' | b'.')) || memchr(0, variable).is_some();
                self.shape.bytes.extend_from_slice(variable);
                self.shape.bytes.push(END_OF_VARIABLE);
            }
            TokenKind::Assign => self.shape.bytes.extend_from_slice(b":="),
            TokenKind::Punctuation(byte) => self.punctuation(byte),
            TokenKind::Unterminated => self.shape.doubtful = true,
        }
        self.before = Some(token);
        self.gap = false;
    }

    fn word(&mut self, token: &Token) {
        let word = &self.text[token.range.clone()];
        let before = self.before.as_ref().map(|t| t.kind);
        if is_literal_word(word) && before != Some(TokenKind::Punctuation(b'.')) {
            return self.literal();
        }
        // `1.e(` is a parenthesis and nothing else for the servers. What they make of `1e1x` need not be known either.
        self.shape.doubtful |= before == Some(TokenKind::Number) && !self.gap;
        self.shape.bytes.push(WORD);
        self.shape.bytes.extend_from_slice(word);
    }

    /// A literal after another one and a comma says nothing new.
    fn literal(&mut self) {
        let bytes = &mut self.shape.bytes;
        if bytes.ends_with(&[LITERAL, b',']) && !self.group.counts {
            bytes.pop();
        } else {
            bytes.push(LITERAL);
        }
    }

    /// The sign of a number in a list or after `=` belongs to the literal.
    fn drop_sign(&mut self) {
        let bytes = &mut self.shape.bytes;
        if let [.., b'(' | b',' | b'=', b'-' | b'+'] = bytes.as_slice() {
            bytes.pop();
        }
    }

    fn punctuation(&mut self, byte: u8) {
        let before = self.before.as_ref();
        match byte {
            b'(' => {
                let word = before.filter(|t| t.kind == TokenKind::Word);
                let word = word.map(|t| &self.text[t.range.clone()]).unwrap_or_default();
                if self.gap && functions::needs_adjacent_parenthesis(word, self.mode) {
                    self.shape.bytes.push(GAP);
                }
                self.outer.push(self.group);
                self.group = Group {
                    start: self.shape.bytes.len(),
                    // MariaDB calls a stored function if there are not two arguments.
                    counts: word.eq_ignore_ascii_case(b"POINT"),
                    ..Group::default()
                };
                self.shape.bytes.push(byte);
            }
            b')' => {
                self.shape.bytes.push(byte);
                self.close();
            }
            // `@@global . x` is one variable for the servers.
            b'.' if before.is_some_and(|t| t.kind == TokenKind::SystemVariable) => self.shape.doubtful = true,
            0..0x20 | 0x7F..=0xFF | b'@' | b'\\' => self.shape.doubtful = true,
            _ => self.shape.bytes.push(byte),
        }
    }

    /// Closes a group, and drops it if it repeats the one before it in a list.
    fn close(&mut self) {
        let Some(outer) = self.outer.pop() else { return };
        let start = self.group.start;
        self.group = outer;
        let bytes = &mut self.shape.bytes;
        let group = &mut self.group;
        let follows = !group.counts && start > 0 && bytes[start - 1] == b',' && group.rows_end == start - 1 && group.row_end > 0;
        if follows && bytes[start..] == bytes[group.row_start..group.row_end] {
            bytes.truncate(start - 1);
            if group.rows_end == group.row_end {
                bytes.push(MORE_ROWS);
                group.rows_end += 1;
            }
        } else {
            group.row_start = start;
            group.row_end = bytes.len();
            group.rows_end = bytes.len();
        }
    }

    fn finish(mut self) -> Shape {
        let bytes = &mut self.shape.bytes;
        while bytes.last() == Some(&b';') {
            bytes.pop();
        }
        if self.shape.doubtful {
            bytes.push(DOUBTFUL);
        }
        self.shape
    }
}

/// A comment that some server does not take for one, or whose end it finds elsewhere: optimizer hints have quotes of their own, and a line comment
/// ends at a NUL byte.
fn is_doubtful_comment(comment: &[u8]) -> bool {
    if comment.starts_with(b"/*") {
        comment.get(2) == Some(&b'+') && memchr3(b'`', b'"', b'\'', comment).is_some()
    } else {
        memchr(0, comment).is_some()
    }
}
