//! Words, strings, quoted names and variables: everything whose end depends on the charset.

use memchr::{memchr, memchr2, memmem};

use super::{BYTES, IN_ASCII_NAME, Lexer, TokenKind, is_ident};

/// Versions of MySQL in which dollar signs may quote, and in which they do.
const DOLLAR_QUOTES_PERHAPS: u32 = 80_000;
const DOLLAR_QUOTES_SURELY: u32 = 80_400;

/// Whether dots are part of a variable's name.
#[derive(Clone, Copy)]
enum Dots {
    Allowed,
    Separate,
}

impl Lexer<'_> {
    /// The end of an unquoted word that goes on at `from`.
    pub(super) fn word_end(&self, from: usize) -> usize {
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
    pub(super) fn scan_dollar(&mut self) -> TokenKind {
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

    pub(super) fn character_len(&self, at: usize, byte: u8) -> usize {
        if byte < 0x80 || !self.multi_byte {
            1
        } else {
            self.mode.charset.character_len(&self.text[at..])
        }
    }

    /// The end of the string whose opening quote is at `open`.
    pub(super) fn string_end(&self, open: usize) -> Option<usize> {
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
    pub(super) fn name_end(&self, open: usize) -> Option<usize> {
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

    pub(super) fn scan_at(&mut self) -> TokenKind {
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
}
