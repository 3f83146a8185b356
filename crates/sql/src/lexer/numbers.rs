//! Numbers, and the dots that may begin one.

use super::{Lexer, TokenKind, is_ident};

impl Lexer<'_> {
    pub(super) fn scan_dot(&mut self) -> TokenKind {
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

    pub(super) fn digits_end(&self, from: usize) -> usize {
        from + self.text[from..].iter().take_while(|b| b.is_ascii_digit()).count()
    }

    /// The end of the fraction and exponent whose first digit may be at `from`.
    pub(super) fn fraction_end(&self, from: usize) -> usize {
        let digits = self.digits_end(from);
        self.exponent_end(digits).unwrap_or(digits)
    }

    pub(super) fn exponent_end(&self, at: usize) -> Option<usize> {
        if !matches!(self.text.get(at), Some(b'e' | b'E')) {
            return None;
        }
        let sign = usize::from(matches!(self.text.get(at + 1), Some(b'+' | b'-')));
        let from = at + 1 + sign;
        let end = self.digits_end(from.min(self.text.len()));
        (end > from).then_some(end)
    }

    pub(super) fn scan_number(&mut self) -> TokenKind {
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
}
