//! The part of the walk that looks at LIMIT: whether it leaves the choice of rows to the server.

use super::Walker;
use crate::facts::Choice;
use crate::lexer::TokenKind;

/// What the condition of a level says, as far as LIMIT is concerned.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Condition {
    /// WHERE was seen.
    pub begun: bool,
    /// A column is to have one value, `id = 1`.
    names_a_value: bool,
    /// OR: something else will do as well.
    has_alternative: bool,
}

impl Walker<'_, '_> {
    /// An equals sign.
    pub(super) fn equals(&mut self, at: usize) {
        if !self.level().condition.begun {
            return;
        }
        let tokens = self.tokens;
        // The shape has no sign of a number.
        let is_signed = tokens.is_punctuation(at + 1, b'-') || tokens.is_punctuation(at + 1, b'+');
        let is_value = matches!(
            tokens.kind(at + 1 + usize::from(is_signed)),
            Some(TokenKind::Number | TokenKind::String | TokenKind::Placeholder | TokenKind::UserVariable)
        );
        let is_negated = tokens.is(at.wrapping_sub(2), "NOT");
        let names = is_value && !is_negated && tokens.is_name(at.wrapping_sub(1));
        self.level().condition.names_a_value |= names;
    }

    /// OR, XOR or a vertical bar.
    pub(super) fn alternative(&mut self) {
        self.level().condition.has_alternative = true;
    }

    /// Some of the rows are left out.
    pub(super) fn limit(&mut self) {
        self.facts.flags.has_limit = true;
        let level = self.level();
        if !level.reads_tables || level.is_ordered || level.asks_existence {
            return;
        }
        let condition = level.condition;
        let choice = match condition.names_a_value && !condition.has_alternative {
            true => Choice::OfOneValue,
            false => Choice::Any,
        };
        self.facts.choice = self.facts.choice.max(choice);
    }
}
