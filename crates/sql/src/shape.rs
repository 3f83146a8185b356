//! The shape of a statement: its tokens without literals, comments and white space, as bytes to be hashed and compared.
//!
//! This is the hot path: one pass over the text, in memory that the thread uses again. Two texts of one shape have one analysis, so whatever the
//! classifier may look at has to be in the shape. A literal is one byte, and lists collapse: `1, 2, 3` to one literal, rows of equal shape to the
//! first row and a mark that there are more.

use std::cell::Cell;
use std::ops::Range;

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
/// `:=`, which is not what a colon and an equals sign apart are.
const ASSIGN: u8 = 0x07;
const WORD: u8 = b' ';

/// A statement's shape.
#[derive(Debug)]
pub(crate) struct Shape {
    bytes: Vec<u8>,
    doubtful: bool,
}

thread_local! {
    /// The memory of the last shape that this thread made, for the next one.
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// What is kept as spare memory.
const MOST_SPARE: usize = 64 * 1024;

impl Drop for Shape {
    fn drop(&mut self) {
        if self.bytes.capacity() <= MOST_SPARE {
            SPARE.set(std::mem::take(&mut self.bytes));
        }
    }
}

impl Shape {
    pub fn of(text: &[u8], mode: LexMode) -> Self {
        let mut bytes = SPARE.take();
        bytes.clear();
        bytes.reserve(text.len().min(MOST_SPARE / 2) + 16);
        let mut builder = Builder {
            text,
            mode,
            bytes,
            doubtful: false,
            before: TokenKind::Whitespace,
            word: 0..0,
            gap: false,
            group: Group::default(),
            outer: SmallVec::new(),
        };
        let mut lexer = Lexer::new(text, mode);
        for token in lexer.by_ref() {
            builder.token(token);
        }
        builder.doubtful |= lexer.in_executable_comment();
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
    if !matches!(word.first(), Some(b'n' | b'N' | b't' | b'T' | b'f' | b'F')) {
        return false;
    }
    match word.len() {
        4 => word.eq_ignore_ascii_case(b"NULL") || word.eq_ignore_ascii_case(b"TRUE"),
        5 => word.eq_ignore_ascii_case(b"FALSE"),
        _ => false,
    }
}

struct Builder<'a> {
    text: &'a [u8],
    mode: LexMode,
    bytes: Vec<u8>,
    doubtful: bool,
    /// The significant token before the current one; white space before the first.
    before: TokenKind,
    /// Where the last word is.
    word: Range<usize>,
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
                self.doubtful |= is_doubtful_comment(&self.text[range]);
                return;
            }
            TokenKind::Word => self.word(range),
            TokenKind::String | TokenKind::Placeholder => self.literal(),
            TokenKind::Number => {
                self.drop_sign();
                self.literal();
            }
            TokenKind::QuotedName => {
                let name = &self.text[range];
                // MySQL ends a quoted name at a NUL byte.
                self.doubtful |= memchr(0, name).is_some();
                self.bytes.push(QUOTED);
                self.bytes.extend_from_slice(name);
            }
            TokenKind::UserVariable | TokenKind::SystemVariable => {
                let variable = &self.text[range];
                self.doubtful |= matches!(variable.last(), Some(b'@' | b'.')) || memchr(0, variable).is_some();
                self.bytes.extend_from_slice(variable);
                self.bytes.push(END_OF_VARIABLE);
            }
            TokenKind::Assign => self.bytes.push(ASSIGN),
            TokenKind::Punctuation(byte) => self.punctuation(byte),
            TokenKind::Unterminated => self.doubtful = true,
        }
        self.before = token.kind;
        self.gap = false;
    }

    fn word(&mut self, range: Range<usize>) {
        let word = &self.text[range.clone()];
        self.word = range;
        if is_literal_word(word) && self.before != TokenKind::Punctuation(b'.') {
            return self.literal();
        }
        // `1.e(` is a parenthesis and nothing else for the servers. What they make of `1e1x` need not be known either.
        self.doubtful |= self.before == TokenKind::Number && !self.gap;
        self.bytes.push(WORD);
        self.copy_word(self.word.clone());
    }

    /// Words are short: sixteen bytes are copied at once and those too many taken back, which is faster than a copy of just the right length.
    fn copy_word(&mut self, range: Range<usize>) {
        let len = range.len();
        match self.text[range.start..].first_chunk::<16>() {
            Some(chunk) if len <= 16 => {
                let end = self.bytes.len() + len;
                self.bytes.extend_from_slice(chunk);
                self.bytes.truncate(end);
            }
            _ => self.bytes.extend_from_slice(&self.text[range]),
        }
    }

    /// In a list that has held nothing but literals, one more says nothing new. (Elsewhere a comma may begin something else: a table, the second
    /// number of LIMIT.)
    fn literal(&mut self) {
        let bytes = &mut self.bytes;
        if bytes.ends_with(&[b'(', LITERAL, b',']) && !self.group.counts {
            bytes.pop();
        } else {
            bytes.push(LITERAL);
        }
    }

    /// The sign of a number in a list or after `=` belongs to the literal.
    fn drop_sign(&mut self) {
        let bytes = &mut self.bytes;
        if let [.., b'(' | b',' | b'=', b'-' | b'+'] = bytes.as_slice() {
            bytes.pop();
        }
    }

    fn punctuation(&mut self, byte: u8) {
        match byte {
            b'(' => {
                let is_after_word = self.before == TokenKind::Word;
                let word = if is_after_word {
                    &self.text[self.word.clone()]
                } else {
                    b""
                };
                if self.gap && functions::needs_adjacent_parenthesis(word, self.mode) {
                    self.bytes.push(GAP);
                }
                self.outer.push(self.group);
                self.group = Group {
                    start: self.bytes.len(),
                    // MariaDB calls a stored function if there are not two arguments.
                    counts: word.eq_ignore_ascii_case(b"POINT"),
                    ..Group::default()
                };
                self.bytes.push(byte);
            }
            b')' => {
                self.bytes.push(byte);
                self.close();
            }
            // `@@global . x` is one variable for the servers.
            b'.' if self.before == TokenKind::SystemVariable => self.doubtful = true,
            0..0x20 | 0x7F..=0xFF | b'@' | b'\\' => self.doubtful = true,
            _ => self.bytes.push(byte),
        }
    }

    /// Closes a group, and drops it if it repeats the one before it in a list.
    fn close(&mut self) {
        let Some(outer) = self.outer.pop() else { return };
        let start = self.group.start;
        self.group = outer;
        let bytes = &mut self.bytes;
        let group = &mut self.group;
        let follows =
            !group.counts && start > 0 && bytes[start - 1] == b',' && group.rows_end == start - 1 && group.row_end > 0;
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
        let bytes = &mut self.bytes;
        while bytes.last() == Some(&b';') {
            bytes.pop();
        }
        if self.doubtful {
            bytes.push(DOUBTFUL);
        }
        Shape {
            bytes: self.bytes,
            doubtful: self.doubtful,
        }
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
