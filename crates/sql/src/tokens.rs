//! The tokens of a statement that its grammar sees, and the questions that the classifier asks about them.
//!
//! White space and comments are left out, and what stands in an executable comment is in line with the rest. Every question about a position
//! past the end has an answer, so that the classifier never checks bounds.

use std::ops::Range;

use crate::analysis::TableName;
use crate::lexer::{Lexer, Token, TokenKind};
use crate::mode::{Flavor, LexMode};
use crate::name::Name;
use crate::shape::is_literal_word;

/// More tokens than this are not looked at: the statement is then unknown. Twelve bytes are kept for each.
const MOST_TOKENS: usize = 4_000_000;
/// In longer texts, lists of literals and of rows of literals are cut short, as they are in the shape.
const LONG_TEXT: usize = 16 * 1024;

/// The significant tokens of one statement.
#[derive(Debug)]
pub(crate) struct Tokens<'a> {
    text: &'a [u8],
    mode: LexMode,
    list: Vec<Significant>,
    too_many: bool,
}

/// A token. Four bytes for a position are enough: a packet of the protocol has at most 1 GiB.
#[derive(Clone, Copy, Debug)]
struct Significant {
    start: u32,
    end: u32,
    kind: TokenKind,
    /// A word that stands after a dot is a name, whatever it spells.
    follows_dot: bool,
}

impl Significant {
    fn is(self, byte: u8) -> bool {
        self.kind == TokenKind::Punctuation(byte)
    }

    fn is_literal(self) -> bool {
        matches!(
            self.kind,
            TokenKind::String | TokenKind::Number | TokenKind::Placeholder
        )
    }
}

/// A word in upper case. Empty for everything that is no keyword in any case: other tokens, what follows a dot, long words.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Keyword {
    bytes: [u8; Self::LONGEST],
    len: u8,
}

impl Keyword {
    /// `WAIT_UNTIL_SQL_THREAD_AFTER_GTIDS` is the longest word that the classifier knows.
    const LONGEST: usize = 36;
    const NONE: Self = Self {
        bytes: [0; Self::LONGEST],
        len: 0,
    };

    pub fn new(word: &[u8]) -> Self {
        let mut keyword = Self::NONE;
        if let Some(space) = keyword.bytes.get_mut(..word.len()) {
            space.copy_from_slice(word);
            space.make_ascii_uppercase();
            keyword.len = word.len() as u8;
        }
        keyword
    }

    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..usize::from(self.len)]).unwrap_or_default()
    }
}

impl std::fmt::Debug for Keyword {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl<'a> Tokens<'a> {
    pub fn new(text: &'a [u8], mode: LexMode) -> Self {
        let mut tokens = Self {
            text,
            mode,
            list: Vec::with_capacity((text.len() / 5 + 1).min(1024)),
            too_many: text.len() > u32::MAX as usize,
        };
        let mut lexer = Lexer::new(text, mode);
        while let Some(token) = lexer.next().filter(|_| !tokens.too_many) {
            tokens.push(token);
        }
        while tokens.list.last().is_some_and(|t| t.is(b';')) {
            tokens.list.pop();
        }
        tokens
    }

    fn push(&mut self, token: Token) {
        let follows_dot = self.list.last().is_some_and(|t| t.is(b'.'));
        let kind = match token.kind {
            TokenKind::Whitespace | TokenKind::Comment | TokenKind::ExecutableOpen | TokenKind::ExecutableClose => {
                return;
            }
            // The shape does not tell these from other literals, so nothing else may.
            TokenKind::Word if !follows_dot && is_literal_word(&self.text[token.range.clone()]) => TokenKind::Number,
            kind => kind,
        };
        self.list.push(Significant {
            start: token.range.start as u32,
            end: token.range.end as u32,
            kind,
            follows_dot,
        });
        if self.text.len() > LONG_TEXT {
            self.cut_list_short();
        }
        self.too_many = self.list.len() > MOST_TOKENS;
    }

    /// Of a list of literals the first is enough, of rows of literals the first two.
    fn cut_list_short(&mut self) {
        let is_row = |row: &[Significant]| matches!(row, [open, literal, close] if open.is(b'(') && literal.is_literal() && close.is(b')'));
        let drop = match self.list.as_slice() {
            [.., first, comma, second] if first.is_literal() && comma.is(b',') && second.is_literal() => 2,
            [.., a1, a2, a3, comma, b1, b2, b3, again, c1, c2, c3]
                if comma.is(b',')
                    && again.is(b',')
                    && is_row(&[*a1, *a2, *a3])
                    && is_row(&[*b1, *b2, *b3])
                    && is_row(&[*c1, *c2, *c3]) =>
            {
                4
            }
            _ => 0,
        };
        self.list.truncate(self.list.len() - drop);
    }

    /// Whether there are more tokens than are looked at.
    pub fn are_too_many(&self) -> bool {
        self.too_many
    }

    pub fn len(&self) -> usize {
        self.list.len()
    }

    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Whether a semicolon stands before the end.
    pub fn has_semicolon(&self) -> bool {
        self.list.iter().any(|t| t.is(b';'))
    }

    pub fn mode(&self) -> LexMode {
        self.mode
    }

    pub fn flavor(&self) -> Flavor {
        self.mode.flavor
    }

    pub fn version(&self) -> u32 {
        self.mode.version
    }

    pub fn kind(&self, at: usize) -> Option<TokenKind> {
        self.list.get(at).map(|t| t.kind)
    }

    pub fn is_kind(&self, at: usize, kind: TokenKind) -> bool {
        self.kind(at) == Some(kind)
    }

    pub fn is_punctuation(&self, at: usize, byte: u8) -> bool {
        self.is_kind(at, TokenKind::Punctuation(byte))
    }

    /// The word at `at`, if it can be a keyword there.
    pub fn keyword(&self, at: usize) -> Keyword {
        self.keyword_bytes(at).map_or(Keyword::NONE, Keyword::new)
    }

    fn keyword_bytes(&self, at: usize) -> Option<&'a [u8]> {
        let token = self.list.get(at)?;
        let is_keyword = token.kind == TokenKind::Word && !token.follows_dot;
        is_keyword.then(|| self.bytes(at))
    }

    /// Whether the token is the keyword `word`, which is in upper case.
    pub fn is(&self, at: usize, word: &str) -> bool {
        self.keyword_bytes(at)
            .is_some_and(|bytes| bytes.eq_ignore_ascii_case(word.as_bytes()))
    }

    pub fn is_any(&self, at: usize, words: &[&str]) -> bool {
        words.iter().any(|word| self.is(at, word))
    }

    /// Whether `words` stand one after the other from `at`.
    pub fn are(&self, at: usize, words: &[&str]) -> bool {
        words.iter().enumerate().all(|(i, word)| self.is(at + i, word))
    }

    /// The position after the keyword `word` if it stands at `at`, else `at`.
    pub fn after_optional(&self, at: usize, word: &str) -> usize {
        at + usize::from(self.is(at, word))
    }

    /// The position after all of `words` that stand at `at`, in any order and number.
    pub fn after_any(&self, mut at: usize, words: &[&str]) -> usize {
        while self.is_any(at, words) {
            at += 1;
        }
        at
    }

    pub fn after_all(&self, at: usize, words: &[&str]) -> usize {
        if self.are(at, words) { at + words.len() } else { at }
    }

    /// Whether anything, if only a blank, stands between the token and the one before it.
    pub fn has_gap_before(&self, at: usize) -> bool {
        match (self.list.get(at.wrapping_sub(1)), self.list.get(at)) {
            (Some(before), Some(token)) => before.end != token.start,
            _ => false,
        }
    }

    pub fn bytes(&self, at: usize) -> &'a [u8] {
        self.list
            .get(at)
            .map_or(b"", |t| &self.text[t.start as usize..t.end as usize])
    }

    /// Where the tokens from `first` up to `end` stand in the text; empty if there are none.
    pub fn range(&self, first: usize, end: usize) -> Range<usize> {
        match (self.list.get(first), self.list.get(end.wrapping_sub(1))) {
            (Some(from), Some(to)) if first < end => from.start as usize..to.end as usize,
            _ => 0..0,
        }
    }

    /// The identifier at `at`, without quotes.
    pub fn name(&self, at: usize) -> Option<Name> {
        match self.kind(at)? {
            TokenKind::Word => Some(Name::from(self.bytes(at))),
            TokenKind::QuotedName => Some(unquoted(self.bytes(at))),
            _ => None,
        }
    }

    pub fn is_name(&self, at: usize) -> bool {
        matches!(self.kind(at), Some(TokenKind::Word | TokenKind::QuotedName))
    }

    /// The table name that begins at `at`, perhaps with a schema, and the position after it.
    pub fn table_name(&self, at: usize) -> Option<(TableName, usize)> {
        let mut end = at;
        // MySQL accepts `.t` for a table of the default schema.
        if self.is_punctuation(end, b'.') {
            end += 1;
        }
        let mut table = TableName {
            schema: None,
            name: self.name(end)?,
        };
        end += 1;
        while self.is_punctuation(end, b'.')
            && let Some(name) = self.name(end + 1)
        {
            table = TableName {
                schema: Some(table.name),
                name,
            };
            end += 2;
        }
        Some((table, end))
    }

    /// The table names of a list such as that of DROP TABLE, and the position after the list.
    pub fn table_list(&self, mut at: usize) -> Option<(Vec<TableName>, usize)> {
        let mut tables = Vec::new();
        loop {
            let (table, end) = self.table_name(at)?;
            tables.push(table);
            if !self.is_punctuation(end, b',') {
                return Some((tables, end));
            }
            at = end + 1;
        }
    }

    /// The variable at `at` (`@x`), without `@` and quotes. `None` also for a name with escapes, which nobody uses.
    pub fn user_variable(&self, at: usize) -> Option<Name> {
        if !self.is_kind(at, TokenKind::UserVariable) {
            return None;
        }
        let name = self.bytes(at).strip_prefix(b"@")?;
        match name.first() {
            Some(b'\'' | b'"') if name.contains(&b'\\') => None,
            Some(b'`' | b'"' | b'\'') => Some(unquoted(name)),
            _ => Some(Name::from(name)),
        }
    }

    /// The position after the parenthesis that closes the one at `at`; the end if none does; `at` if there is none.
    pub fn after_parentheses(&self, at: usize) -> usize {
        if !self.is_punctuation(at, b'(') {
            return at;
        }
        let mut depth = 0usize;
        for i in at..self.len() {
            match self.kind(i) {
                Some(TokenKind::Punctuation(b'(')) => depth += 1,
                Some(TokenKind::Punctuation(b')')) => {
                    depth = depth.saturating_sub(1);
                    if depth == 0 {
                        return i + 1;
                    }
                }
                _ => {}
            }
        }
        self.len()
    }

    /// How many arguments stand in the parentheses at `at`.
    pub fn arguments(&self, at: usize) -> usize {
        let end = self.after_parentheses(at);
        if end == at + 2 {
            return 0;
        }
        let mut depth = 0usize;
        let commas = (at..end).filter(|&i| {
            match self.kind(i) {
                Some(TokenKind::Punctuation(b'(')) => depth += 1,
                Some(TokenKind::Punctuation(b')')) => depth = depth.saturating_sub(1),
                Some(TokenKind::Punctuation(b',')) => return depth == 1,
                _ => {}
            }
            false
        });
        commas.count() + 1
    }

    /// Whether a query begins at `at`, apart from parentheses.
    pub fn begins_query(&self, at: usize) -> bool {
        self.is_any(at, &["SELECT", "VALUES", "TABLE"]) || self.begins_cte(at)
    }

    /// Whether a WITH clause of common table expressions begins at `at`: not WITH ROLLUP, not WITH CHECK OPTION.
    pub fn begins_cte(&self, at: usize) -> bool {
        let name = at + 1;
        self.is(at, "WITH")
            && (self.is(name, "RECURSIVE")
                || self.is_name(name) && (self.is(name + 1, "AS") || self.is_punctuation(name + 1, b'(')))
    }
}

/// A quoted name without its quotes; doubled quotes inside become single.
fn unquoted(quoted: &[u8]) -> Name {
    let Some((&quote, rest)) = quoted.split_first() else {
        return Name::from(quoted);
    };
    let inner = rest.strip_suffix(&[quote]).unwrap_or(rest);
    if !inner.contains(&quote) {
        return Name::from(inner);
    }
    let mut name = Vec::with_capacity(inner.len());
    let mut bytes = inner.iter().copied();
    while let Some(byte) = bytes.next() {
        name.push(byte);
        if byte == quote {
            bytes.next();
        }
    }
    Name::new(name)
}
