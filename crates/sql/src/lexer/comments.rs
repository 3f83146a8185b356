//! Comments, and what this server executes of them.

use memchr::{memchr, memchr2};

use super::{Lexer, TokenKind};
use crate::mode::Flavor;

/// From this version on MySQL takes six digits after `/*!` for a version, if a blank follows.
const SIX_DIGIT_VERSIONS: u32 = 80_100;

impl Lexer<'_> {
    /// The end of the line, with its line feed.
    pub(super) fn line_end(&self) -> usize {
        memchr(b'\n', &self.text[self.at..]).map_or(self.text.len(), |i| self.at + i + 1)
    }

    /// A comment that starts with `/*`: skipped, or entered when it is executable for this server.
    pub(super) fn scan_comment(&mut self) -> TokenKind {
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
    pub(super) fn comment_end(&self, from: usize, nesting: u8) -> Option<usize> {
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
