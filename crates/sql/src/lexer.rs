//! Bytes to tokens, without copying, as MySQL's and MariaDB's own lexers (`sql_lex.cc`) cut them.
//!
//! The ranges of the tokens tile the input: white space and comments are tokens too, so that a statement can be rewritten
//! token by token. An executable comment that this server would run is not one token: its opening and its `*/` are, and
//! what stands between them are ordinary tokens. Deliberately absent: keywords. A word is a word; the grammar is above.

use std::ops::Range;

use memchr::{memchr, memchr2, memmem};

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

/// Versions of MySQL in which dollar signs may quote, and in which they do.
const DOLLAR_QUOTES_PERHAPS: u32 = 80_000;
const DOLLAR_QUOTES_SURELY: u32 = 80_400;
/// From this version on MySQL takes six digits after `/*!` for a version, if a blank follows.
const SIX_DIGIT_VERSIONS: u32 = 80_100;

/// Whether dots are part of a variable's name.
#[derive(Clone, Copy)]
enum Dots {
    Allowed,
    Separate,
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

    /// The end of an unquoted word that goes on at `from`.
    fn word_end(&self, from: usize) -> usize {
        let mut at = from;
        loop {
            while let Some(&byte) = self.text.get(at)
                && BYTES[byte as usize] & IN_ASCII_NAME != 0
            {
                at += 1;
            }
            match self.text.get(at) {
                Some(&byte) if byte >= 0x80 && byte != self.blank => at += self.character_len(at, byte),
                _ => return at.min(self.text.len()),
            }
        }
    }

    /// The end of a variable's name that starts at `from`. Here the servers look at single bytes: a quote or a backslash in the second byte of a
    /// character ends the name.
    fn variable_end(&self, from: usize, may_have_dots: Dots) -> usize {
        let is_part = |&&byte: &&u8| {
            is_ident(byte) && byte != self.blank || byte == b'.' && matches!(may_have_dots, Dots::Allowed)
        };
        from + self.text[from.min(self.text.len())..]
            .iter()
            .take_while(is_part)
            .count()
    }

    /// `$tag$ .. $tag$`, which MySQL has had as a string since 8.4 at the latest; else a word that begins with a dollar sign.
    fn scan_dollar(&mut self) -> TokenKind {
        let word = self.word_end(self.at);
        let tag = memchr(b'$', &self.text[self.at + 1..word]).map(|i| self.at + 2 + i);
        let Some(tag_end) = tag.filter(|_| self.mode.version >= DOLLAR_QUOTES_PERHAPS) else {
            return self.take(TokenKind::Word, Some(word));
        };
        if self.mode.version < DOLLAR_QUOTES_SURELY {
            return self.take(TokenKind::Unterminated, None);
        }
        let tag = &self.text[self.at..tag_end];
        let end = memmem::find(&self.text[tag_end..], tag).map(|i| tag_end + i + tag.len());
        self.take(TokenKind::String, end)
    }

    fn character_len(&self, at: usize, byte: u8) -> usize {
        if byte < 0x80 || !self.multi_byte {
            1
        } else {
            self.mode.charset.character_len(&self.text[at..])
        }
    }

    /// The end of the string whose opening quote is at `open`.
    fn string_end(&self, open: usize) -> Option<usize> {
        let quote = self.text[open];
        let escapes = !self.mode.no_backslash_escapes;
        let mut at = open + 1;
        loop {
            if !self.multi_byte {
                let rest = self.text.get(at..)?;
                at += if escapes {
                    memchr2(quote, b'\\', rest)?
                } else {
                    memchr(quote, rest)?
                };
            }
            let byte = *self.text.get(at)?;
            if byte == quote {
                if self.text.get(at + 1) != Some(&quote) {
                    return Some(at + 1);
                }
                at += 2;
            } else if byte == b'\\' && escapes {
                // The servers skip one byte here even when a multi-byte character follows.
                at += 2;
            } else {
                at += self.character_len(at, byte);
            }
        }
    }

    /// The end of the quoted name whose opening quote is at `open`. There are no escapes, only doubled quotes.
    fn name_end(&self, open: usize) -> Option<usize> {
        let quote = self.text[open];
        let mut at = open + 1;
        loop {
            if !self.multi_byte {
                at += memchr(quote, self.text.get(at..)?)?;
            }
            let byte = *self.text.get(at)?;
            if byte != quote {
                at += self.character_len(at, byte);
            } else if self.text.get(at + 1) == Some(&quote) {
                at += 2;
            } else {
                return Some(at + 1);
            }
        }
    }

    /// The end of the line, with its line feed.
    fn line_end(&self) -> usize {
        memchr(b'\n', &self.text[self.at..]).map_or(self.text.len(), |i| self.at + i + 1)
    }

    fn scan_dot(&mut self) -> TokenKind {
        // `.5` is a number unless a name stands directly before the dot, as in `t.5a`.
        let after_name = self.at > 0 && {
            let before = self.text[self.at - 1];
            is_ident(before) || before == b'`' || (before == b'"' && self.mode.ansi_quotes)
        };
        if self.peek(1).is_ascii_digit() && !after_name {
            let end = self.fraction_end(self.at + 1);
            return self.take(TokenKind::Number, Some(end));
        }
        self.after_dot = self.text.get(self.at + 1).is_some_and(|&b| is_ident(b));
        self.take_len(TokenKind::Punctuation(b'.'), 1)
    }

    fn digits_end(&self, from: usize) -> usize {
        from + self.text[from..].iter().take_while(|b| b.is_ascii_digit()).count()
    }

    /// The end of the fraction and exponent whose first digit may be at `from`.
    fn fraction_end(&self, from: usize) -> usize {
        let digits = self.digits_end(from);
        self.exponent_end(digits).unwrap_or(digits)
    }

    fn exponent_end(&self, at: usize) -> Option<usize> {
        if !matches!(self.text.get(at), Some(b'e' | b'E')) {
            return None;
        }
        let sign = usize::from(matches!(self.text.get(at + 1), Some(b'+' | b'-')));
        let from = at + 1 + sign;
        let end = self.digits_end(from.min(self.text.len()));
        (end > from).then_some(end)
    }

    fn scan_number(&mut self) -> TokenKind {
        let base = match (self.peek(0), self.peek(1)) {
            (b'0', b'x') => Some(u8::is_ascii_hexdigit as fn(&u8) -> bool),
            (b'0', b'b') => Some((|b: &u8| matches!(b, b'0' | b'1')) as fn(&u8) -> bool),
            _ => None,
        };
        if let Some(is_digit) = base {
            let from = self.at + 2;
            let len = self.text[from..].iter().take_while(|b| is_digit(b)).count();
            if len > 0 && !self.text.get(from + len).is_some_and(|&b| is_ident(b)) {
                return self.take(TokenKind::Number, Some(from + len));
            }
            let end = self.word_end(self.at);
            return self.take(TokenKind::Word, Some(end));
        }
        let digits = self.digits_end(self.at);
        if let Some(end) = self.exponent_end(digits) {
            return self.take(TokenKind::Number, Some(end));
        }
        match self.text.get(digits) {
            Some(b'.') => {
                let end = self.fraction_end(digits + 1);
                self.take(TokenKind::Number, Some(end))
            }
            Some(&byte) if is_ident(byte) => {
                let end = self.word_end(self.at);
                self.take(TokenKind::Word, Some(end))
            }
            _ => self.take(TokenKind::Number, Some(digits)),
        }
    }

    fn scan_at(&mut self) -> TokenKind {
        match self.peek(1) {
            b'@' => {
                let mut end = self.at + 2;
                let mut name_end: fn(&Self, usize) -> usize = |lexer, from| lexer.variable_end(from, Dots::Separate);
                loop {
                    end = match self.text.get(end) {
                        Some(b'`') => match self.name_end(end) {
                            Some(end) => end,
                            None => return self.take(TokenKind::Unterminated, None),
                        },
                        Some(&byte) if is_ident(byte) => name_end(self, end),
                        _ => break,
                    };
                    // Only what follows a dot is read as an identifier.
                    name_end = Self::word_end;
                    match self.text.get(end..end + 2) {
                        Some(&[b'.', next]) if is_ident(next) || next == b'`' => end += 1,
                        _ => break,
                    }
                }
                self.take(TokenKind::SystemVariable, Some(end))
            }
            b'`' => {
                let end = self.name_end(self.at + 1);
                self.take(TokenKind::UserVariable, end)
            }
            b'"' if self.mode.ansi_quotes => {
                let end = self.name_end(self.at + 1);
                self.take(TokenKind::UserVariable, end)
            }
            b'\'' | b'"' => {
                let end = self.string_end(self.at + 1);
                self.take(TokenKind::UserVariable, end)
            }
            _ => {
                let end = self.variable_end(self.at + 1, Dots::Allowed);
                if end == self.at + 1 {
                    return self.take_len(TokenKind::Punctuation(b'@'), 1);
                }
                self.take(TokenKind::UserVariable, Some(end))
            }
        }
    }

    /// A comment that starts with `/*`: skipped, or entered when it is executable for this server.
    fn scan_comment(&mut self) -> TokenKind {
        let maria_only = self.peek(2) == b'M' && self.peek(3) == b'!';
        let executable = self.peek(2) == b'!' || (maria_only && self.mode.flavor == Flavor::MariaDb);
        if !executable {
            let end = self.comment_end(self.at + 2, 0);
            return self.take(TokenKind::Comment, end);
        }
        let from = self.at + if maria_only { 4 } else { 3 };
        let digits = self.text[from.min(self.text.len())..]
            .iter()
            .take(6)
            .take_while(|b| b.is_ascii_digit())
            .count();
        let version_len = match digits {
            // Fewer than five digits are no version: the comment runs everywhere and the digits are part of it.
            0..=4 => 0,
            5 => 5,
            _ if self.mode.flavor == Flavor::Mysql => {
                let blank_follows = self.text.get(from + 6).is_some_and(|&byte| self.is_space(byte));
                if self.mode.version >= SIX_DIGIT_VERSIONS && blank_follows {
                    6
                } else {
                    5
                }
            }
            _ => 6,
        };
        let version = self.text[from..from + version_len]
            .iter()
            .fold(0u32, |v, b| v * 10 + u32::from(b - b'0'));
        // MariaDB took its 10.x numbers before MySQL reached 5.7, so it leaves those of MySQL 5.7 to 9.x alone.
        let for_mysql_only = self.mode.flavor == Flavor::MariaDb && !maria_only && (50_700..=99_999).contains(&version);
        if version_len > 0 && (version > self.mode.version || for_mysql_only) {
            // Inside a version comment that is skipped, the servers look through one level of nesting.
            let end = self.comment_end(from, 1);
            return self.take(TokenKind::Comment, end);
        }
        self.in_executable = true;
        self.take(TokenKind::ExecutableOpen, Some(from + version_len))
    }

    /// The end of a comment whose content starts at `from`; `nesting` comments inside it are skipped as a whole.
    fn comment_end(&self, from: usize, nesting: u8) -> Option<usize> {
        let mut at = from;
        let mut depth = 0;
        loop {
            at += memchr2(b'*', b'/', self.text.get(at..)?)?;
            match (self.text[at], self.text.get(at + 1)?) {
                (b'*', b'/') if depth == 0 => return Some(at + 2),
                (b'*', b'/') => {
                    depth -= 1;
                    at += 2;
                }
                (b'/', b'*') if depth < nesting => {
                    depth += 1;
                    at += 2;
                }
                _ => at += 1,
            }
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
