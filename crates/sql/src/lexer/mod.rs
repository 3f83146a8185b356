//! Bytes to tokens, without copying, as MySQL's and MariaDB's own lexers (`sql_lex.cc`) cut them.
//!
//! The ranges of the tokens tile the input: white space and comments are tokens too, so that a statement can be rewritten
//! token by token. An executable comment that this server would run is not one token: its opening and its `*/` are, and
//! what stands between them are ordinary tokens. Deliberately absent: keywords. A word is a word; the grammar is above.

mod comments;
mod numbers;
mod quoted;

use std::ops::Range;

use memchr::memchr;

use crate::mode::{Flavor, LexMode};

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TokenKind {
    /// A run of blanks and line ends.
    Whitespace,
    /// A comment that this server ignores, in any of the styles.
    Comment,
    /// The opening of an executable comment that this server runs: `/*!`, `/*!50110`, `/*M!100100`.
    ExecutableOpen,
    /// The `*/` that ends an executable comment.
    ExecutableClose,
    /// A keyword or an unquoted identifier.
    Word,
    /// An identifier in backticks, or in double quotes under ANSI_QUOTES.
    QuotedName,
    /// A string, with its quotes: `'..'`, `".."`, `x'..'`, `b'..'`, `N'..'`.
    String,
    /// A number: decimal, float, `0x..`, `0b..`; also `\N`.
    Number,
    /// `@x`, @`x`, `@'x'`, `@"x"`; also the host part of an account name.
    UserVariable,
    /// `@@x`, `@@global.x`.
    SystemVariable,
    /// `?`.
    Placeholder,
    /// `:=`.
    Assign,
    /// Any other single byte.
    Punctuation(u8),
    /// A comment, string or quoted name without an end: it runs to the end of the input.
    Unterminated,
}

/// One token: its kind and where it is in the input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// What it is.
    pub kind: TokenKind,
    /// Where it is.
    pub range: Range<usize>,
}

/// An iterator over the tokens of a text.
#[derive(Clone, Debug)]
pub struct Lexer<'a> {
    text: &'a [u8],
    at: usize,
    mode: LexMode,
    in_executable: bool,
    after_dot: bool,
    multi_byte: bool,
    /// The charset's own white space; an ASCII blank if it has none.
    blank: u8,
}

/// What a byte begins, as far as it alone decides.
const SIGN: u8 = 0;
const BLANK: u8 = 1;
const LETTER: u8 = 2;
/// It depends on what follows, or on the mode.
const OTHER: u8 = 3;
/// Bit: the byte may stand in an unquoted name.
const IN_NAME: u8 = 4;
/// Bit: and it is ASCII, so it is a character by itself.
const IN_ASCII_NAME: u8 = 8;

/// One look-up per byte in the hot loops.
static BYTES: [u8; 256] = classes_of_bytes();

const fn classes_of_bytes() -> [u8; 256] {
    let mut table = [0; 256];
    let mut i = 0;
    while i < 256 {
        let byte = i as u8;
        table[i] = match byte {
            // x'41', b'01', n'text'
            b'x' | b'X' | b'b' | b'B' | b'n' | b'N' | b'$' => OTHER | IN_NAME | IN_ASCII_NAME,
            b'a'..=b'z' | b'A'..=b'Z' | b'_' => LETTER | IN_NAME | IN_ASCII_NAME,
            b'0'..=b'9' => OTHER | IN_NAME | IN_ASCII_NAME,
            0x80.. => OTHER | IN_NAME,
            b' ' | 9..=13 => BLANK,
            b'\'' | b'"' | b'`' | b'.' | b'#' | b'-' | b'/' | b'*' | b'@' | b'?' | b':' | b'\\' => OTHER,
            _ => SIGN,
        };
        i += 1;
    }
    table
}

fn is_ident(byte: u8) -> bool {
    BYTES[byte as usize] & IN_NAME != 0
}

fn is_ascii_space(byte: u8) -> bool {
    BYTES[byte as usize] == BLANK
}

impl<'a> Lexer<'a> {
    /// A lexer at the start of `text`.
    pub fn new(text: &'a [u8], mode: LexMode) -> Self {
        Self {
            text,
            at: 0,
            mode,
            in_executable: false,
            after_dot: false,
            multi_byte: mode.charset.is_multi_byte(),
            blank: mode.charset.blank().unwrap_or(b' '),
        }
    }

    /// Whether the next token stands inside an executable comment.
    pub fn in_executable_comment(&self) -> bool {
        self.in_executable
    }

    /// The byte `ahead` of the current one, or 0 at the end, as the servers' lexers see it.
    fn peek(&self, ahead: usize) -> u8 {
        self.text.get(self.at + ahead).copied().unwrap_or(0)
    }

    fn is_space(&self, byte: u8) -> bool {
        is_ascii_space(byte) || byte == self.blank
    }

    /// Moves to `end` and reports `kind`; past the end of the input means that a closing quote is missing.
    fn take(&mut self, kind: TokenKind, end: Option<usize>) -> TokenKind {
        match end {
            Some(end) => {
                self.at = end;
                kind
            }
            None => {
                self.at = self.text.len();
                TokenKind::Unterminated
            }
        }
    }

    fn take_len(&mut self, kind: TokenKind, len: usize) -> TokenKind {
        self.take(kind, Some(self.at + len))
    }

    /// A token whose first byte does not decide by itself.
    fn scan(&mut self, first: u8, after_dot: bool) -> TokenKind {
        if first == self.blank {
            let run = self.text[self.at..].iter().take_while(|&&b| self.is_space(b));
            let len = run.count();
            return self.take_len(TokenKind::Whitespace, len);
        }
        match first {
            b'\'' => {
                let end = self.string_end(self.at);
                self.take(TokenKind::String, end)
            }
            b'"' if self.mode.ansi_quotes => {
                let end = self.name_end(self.at);
                self.take(TokenKind::QuotedName, end)
            }
            b'"' => {
                let end = self.string_end(self.at);
                self.take(TokenKind::String, end)
            }
            b'`' => {
                let end = self.name_end(self.at);
                self.take(TokenKind::QuotedName, end)
            }
            b'0'..=b'9' if !after_dot => self.scan_number(),
            b'.' => self.scan_dot(),
            b'x' | b'X' | b'b' | b'B' if self.peek(1) == b'\'' && !after_dot => {
                // Hexadecimal and bit strings know no escapes and no doubled quotes.
                let end = memchr(b'\'', &self.text[self.at + 2..]).map(|i| self.at + 3 + i);
                self.take(TokenKind::String, end)
            }
            b'n' | b'N' if self.peek(1) == b'\'' && !after_dot => {
                let end = self.string_end(self.at + 1);
                self.take(TokenKind::String, end)
            }
            b'$' if self.mode.flavor == Flavor::Mysql && !after_dot => self.scan_dollar(),
            _ if is_ident(first) => {
                let end = self.word_end(self.at);
                self.take(TokenKind::Word, Some(end))
            }
            b'#' => {
                let end = self.line_end();
                self.take(TokenKind::Comment, Some(end))
            }
            b'-' if self.peek(1) == b'-'
                && (self.peek(2) <= b' ' || self.peek(2) == 0x7F || self.peek(2) == self.blank) =>
            {
                let end = self.line_end();
                self.take(TokenKind::Comment, Some(end))
            }
            b'/' if self.peek(1) == b'*' => self.scan_comment(),
            b'*' if self.in_executable && self.peek(1) == b'/' => {
                self.in_executable = false;
                self.take_len(TokenKind::ExecutableClose, 2)
            }
            b'@' => self.scan_at(),
            b'?' => self.take_len(TokenKind::Placeholder, 1),
            b':' if self.peek(1) == b'=' => self.take_len(TokenKind::Assign, 2),
            b'\\' if self.peek(1) == b'N' => self.take_len(TokenKind::Number, 2),
            other => self.take_len(TokenKind::Punctuation(other), 1),
        }
    }
}

impl Iterator for Lexer<'_> {
    type Item = Token;

    #[inline]
    fn next(&mut self) -> Option<Token> {
        let start = self.at;
        let first = *self.text.get(start)?;
        let after_dot = std::mem::take(&mut self.after_dot);
        let kind = match BYTES[first as usize] & 3 {
            LETTER => {
                self.at = self.word_end(start + 1);
                TokenKind::Word
            }
            BLANK => {
                self.at += 1;
                while self.text.get(self.at).copied().is_some_and(is_ascii_space) {
                    self.at += 1;
                }
                TokenKind::Whitespace
            }
            SIGN => {
                self.at += 1;
                TokenKind::Punctuation(first)
            }
            _ => {
                let kind = self.scan(first, after_dot);
                // `\` or a two-byte skip may point one past the end; a token never does.
                self.at = self.at.min(self.text.len());
                kind
            }
        };
        Some(Token {
            kind,
            range: start..self.at,
        })
    }
}
