//! The part of the walk that looks at expressions: functions, variables, sequences.

use super::Walker;
use crate::functions::{self, Effect};
use crate::lexer::TokenKind;
use crate::mode::Flavor;
use crate::own_value::{Found, OwnValue};
use crate::tokens::Keyword;

/// Calls whose arguments are counted, in one statement.
const MOST_COUNTED_CALLS: u32 = 200;

impl Walker<'_, '_> {
    /// A word that begins no clause.
    pub(super) fn expression_word(&mut self, at: usize, keyword: &str) {
        let tokens = self.tokens;
        match keyword {
            "NEXT" if tokens.are(at, &["NEXT", "VALUE", "FOR"]) => {
                self.at = at + 3;
                self.advance_sequence(at + 3);
                return;
            }
            "PREVIOUS" if tokens.are(at, &["PREVIOUS", "VALUE", "FOR"]) => {
                self.at = at + 3;
                self.name_sequence(at + 3);
                return;
            }
            // MariaDB counts the rows of a result with it, with and without parentheses.
            "ROWNUM" if tokens.flavor() == Flavor::MariaDb => self.facts.flags.has_limit = true,
            "" => self.oracle_sequence(at),
            _ => {}
        }
        if tokens.is_punctuation(at + 1, b'(') {
            self.call(at);
        } else if let Some(effect) = functions::effect_of_bare_word(keyword) {
            effect.note(&mut self.facts.flags);
            // MariaDB's Oracle mode. A column of that name is taken for it.
            if keyword == "SYSDATE" && tokens.flavor() == Flavor::MariaDb {
                self.note_own_value(OwnValue::Other("SYSDATE"), at);
            }
        }
    }

    /// A value that each server makes for itself is asked for at `at`.
    fn note_own_value(&mut self, value: OwnValue, at: usize) {
        let tokens = self.tokens;
        // In MySQL the word may be a column's name.
        if self.facts.saw_returning && tokens.flavor() == Flavor::MariaDb {
            // The client sees the lead's, and no row holds it.
            return;
        }
        let close = (at + 2..at + 4).find(|&close| tokens.is_punctuation(close, b')'));
        let argument = close
            .filter(|&close| close == at + 3)
            .map(|close| tokens.bytes(close - 1));
        let found = Found {
            value,
            in_subquery: self.level().in_subquery,
            in_upsert: self.facts.flags.on_duplicate_key,
            call: close.map(|close| tokens.range(at, close + 1)),
            argument: argument.map(<[u8]>::to_vec),
        };
        self.facts.own_values.push(found);
    }

    /// `s.NEXTVAL` and `s.CURRVAL` of MariaDB's Oracle mode. A column of that name is taken for one.
    fn oracle_sequence(&mut self, at: usize) {
        if self.tokens.flavor() != Flavor::MariaDb || self.tokens.is_punctuation(at + 1, b'(') {
            return;
        }
        let word = self.tokens.bytes(at);
        let (advances, repeats) = (
            word.eq_ignore_ascii_case(b"NEXTVAL"),
            word.eq_ignore_ascii_case(b"CURRVAL"),
        );
        if !advances && !repeats {
            return;
        }
        match self.name_before(at) {
            Some(sequence) if advances => self.facts.advance_sequence(sequence),
            Some(sequence) => {
                self.facts.reads_own_sequence = true;
                self.facts.name_table(sequence);
            }
            None => self.facts.opaque = true,
        }
    }

    /// The name at `at` may be that of a function: it is if a parenthesis follows and no other syntax explains it.
    pub(super) fn call(&mut self, at: usize) {
        let tokens = self.tokens;
        if !tokens.is_punctuation(at + 1, b'(') {
            return;
        }
        let before = at.wrapping_sub(1);
        if tokens.is_punctuation(before, b'.') {
            // A function of a schema is always a stored one.
            self.facts.flags.calls_unknown_function = true;
            return;
        }
        // `(..) dt (a, b)` and `AS new (a, b)` name columns; `CAST(x AS CHAR(9))` names a type.
        // `x MEMBER OF (y)` is an operator.
        if tokens.is_punctuation(before, b')') || tokens.is(before, "AS") || tokens.are(before, &["MEMBER", "OF"]) {
            return;
        }
        let keyword = tokens.keyword(at);
        // `JSON_TABLE(x, '$' COLUMNS (..))`, `PROCEDURE ANALYSE(..)`
        if keyword.as_str() == "COLUMNS" && tokens.is_kind(before, TokenKind::String)
            || tokens.are(before, &["PROCEDURE", "ANALYSE"])
        {
            return;
        }
        if functions::is_syntax(keyword.as_str(), tokens.flavor()) {
            return;
        }
        let counts_rows = keyword.as_str() == "COUNT" && tokens.is_punctuation(at + 2, b'*');
        let built_in = match tokens.kind(at) {
            Some(TokenKind::Word) if tokens.has_gap_before(at + 1) && !counts_rows => {
                if functions::needs_adjacent_parenthesis(tokens.bytes(at), tokens.mode()) {
                    None
                } else {
                    self.effect(keyword)
                }
            }
            Some(TokenKind::Word) => self.effect(keyword),
            _ => None,
        };
        let built_in = built_in.filter(|_| !self.is_overloaded(at, keyword));
        match built_in {
            Some(Effect::AdvanceSequence) => self.advance_sequence(at + 2),
            Some(Effect::OwnSequence) => self.name_sequence(at + 2),
            Some(effect) => {
                effect.note(&mut self.facts.flags);
                if let Some(value) = OwnValue::of_function(keyword.as_str()) {
                    self.note_own_value(value, at);
                }
            }
            // No stored function takes a bare query as its argument: the word is a keyword of this server's version.
            None if tokens.begins_query(at + 2) => {}
            None => self.facts.flags.calls_unknown_function = true,
        }
    }

    /// Whether a stored function is called after all, because of the number of arguments.
    fn is_overloaded(&mut self, at: usize, keyword: Keyword) -> bool {
        if !functions::may_be_overloaded(keyword.as_str(), self.tokens.flavor()) {
            return false;
        }
        // Counting looks at all of the arguments, and they may be nested.
        self.counted_calls += 1;
        self.counted_calls > MOST_COUNTED_CALLS
            || functions::is_overloaded(keyword.as_str(), self.tokens.arguments(at + 1))
    }

    fn effect(&self, keyword: Keyword) -> Option<Effect> {
        functions::effect(keyword.as_str(), self.tokens.flavor(), self.tokens.version())
    }

    pub(super) fn user_variable(&mut self, at: usize) {
        if self.tokens.is_kind(at + 1, TokenKind::Assign) {
            self.assign_variable(at);
        } else {
            match self.tokens.user_variable(at) {
                Some(name) => self.facts.read_variable(name),
                None => self.facts.opaque = true,
            }
        }
    }

    pub(super) fn assign_variable(&mut self, at: usize) {
        match self.tokens.user_variable(at) {
            Some(name) => self.facts.write_variable(name),
            None => self.facts.opaque = true,
        }
    }

    pub(super) fn system_variable(&mut self, at: usize) {
        let flags = &mut self.facts.flags;
        flags.reads_system_variable = true;
        let variable = self.tokens.bytes(at);
        let name = variable.rsplit(|&byte| byte == b'.').next().unwrap_or(variable);
        let name: Vec<u8> = name
            .iter()
            .copied()
            .filter(|byte| !matches!(byte, b'@' | b'`'))
            .collect();
        match Keyword::new(&name).as_str() {
            "PSEUDO_THREAD_ID" => flags.uses_connection_id = true,
            "LAST_INSERT_ID" | "IDENTITY" => flags.uses_last_insert_id = true,
            "TIMESTAMP" => flags.reads_clock = true,
            "RAND_SEED1" | "RAND_SEED2" => flags.uses_rand = true,
            // They count what the session's previous statement left.
            "WARNING_COUNT" | "ERROR_COUNT" => flags.is_show_warnings_or_errors = true,
            "" => self.facts.opaque = true,
            _ => {}
        }
        if let Some(value) = OwnValue::of_variable(Keyword::new(&name).as_str()) {
            self.note_own_value(value, at);
        }
    }
}
