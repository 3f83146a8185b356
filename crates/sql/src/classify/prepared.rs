//! USE, and prepared statements of the text protocol.

use crate::analysis::{Analysis, Class};
use crate::facts::Facts;
use crate::lexer::TokenKind;
use crate::tokens::Tokens;
use crate::walk::Walker;

use super::without_tables;

/// USE schema.
pub(super) fn use_schema(tokens: &Tokens, at: usize) -> Option<Analysis> {
    let schema = tokens.name(at + 1)?;
    if tokens.len() != at + 2 {
        return None;
    }
    let mut analysis = without_tables(Class::Use);
    analysis.schema = Some(schema);
    Some(analysis)
}

/// PREPARE name FROM text.
pub(super) fn prepare(tokens: &Tokens, at: usize) -> Option<Analysis> {
    let name = tokens.name(at + 1)?;
    if !tokens.is(at + 2, "FROM") {
        return None;
    }
    let facts = Walker::over(tokens, at + 3);
    if !facts.only_reads() {
        return None;
    }
    let mut analysis = facts.into_analysis(Class::Prepare, Vec::new());
    analysis.prepared_name = Some(name);
    if tokens.len() == at + 4 {
        note_text(&mut analysis, tokens, at + 3);
    }
    Some(analysis)
}

/// EXECUTE name, or EXECUTE IMMEDIATE text, and the values after USING.
pub(super) fn execute(tokens: &Tokens, at: usize) -> Option<Analysis> {
    let immediate = tokens.is(at + 1, "IMMEDIATE") && tokens.len() > at + 2 && !tokens.is(at + 2, "USING");
    let facts = Walker::over(tokens, at + 2);
    if !facts.only_reads() {
        return None;
    }
    let mut analysis = Analysis::new(Class::Execute);
    note_variables(&mut analysis, facts);
    if !immediate {
        if tokens.len() > at + 2 && !tokens.is(at + 2, "USING") {
            return None;
        }
        analysis.prepared_name = Some(tokens.name(at + 1)?);
    } else if tokens.len() == at + 3 || tokens.is(at + 3, "USING") {
        note_text(&mut analysis, tokens, at + 2);
    }
    Some(analysis)
}

/// DEALLOCATE PREPARE name and DROP PREPARE name.
pub(super) fn deallocate(tokens: &Tokens, at: usize) -> Option<Analysis> {
    if !tokens.is(at + 1, "PREPARE") || tokens.len() != at + 3 {
        return None;
    }
    let mut analysis = without_tables(Class::Deallocate);
    analysis.prepared_name = Some(tokens.name(at + 2)?);
    Some(analysis)
}

fn note_variables(analysis: &mut Analysis, facts: Facts) {
    // A routine's OUT parameter may be bound to any of them.
    analysis.user_variables_written = facts.variables_read.clone();
    analysis.user_variables_read = facts.variables_read;
    analysis.flags = facts.flags;
}

/// A string with nothing before its quotes.
fn note_text(analysis: &mut Analysis, tokens: &Tokens, at: usize) {
    if tokens.is_kind(at, TokenKind::String) && matches!(tokens.bytes(at).first(), Some(b'\'' | b'"')) {
        analysis.prepared_text = Some(tokens.range(at, at + 1));
    }
}
