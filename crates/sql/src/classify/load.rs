//! LOAD DATA, LOAD XML and LOAD INDEX INTO CACHE.

use crate::analysis::{Analysis, Class, WriteKind};
use crate::tokens::Tokens;
use crate::walk::Walker;

use super::definition::listed;

/// LOAD.
pub(super) fn load(tokens: &Tokens, at: usize) -> Option<Analysis> {
    if tokens.are(at + 1, &["INDEX", "INTO", "CACHE"]) {
        return Some(listed(tokens, at + 4));
    }
    if !tokens.is_any(at + 1, &["DATA", "XML"]) {
        return None;
    }
    let into = (at + 2..tokens.len()).find(|&i| tokens.are(i, &["INTO", "TABLE"]))?;
    let (table, mut next) = tokens.table_name(into + 2)?;
    if tokens.is(next, "PARTITION") {
        next = tokens.after_parentheses(next + 1);
    }
    let mut walker = Walker::new(tokens, next);
    walker.finish();
    let mut facts = walker.facts;
    // The list of columns may name variables, which the file's fields are assigned to.
    for name in facts.variables_read.clone() {
        facts.write_variable(name);
    }
    facts.flags.load_local = (at + 2..into).any(|i| tokens.is(i, "LOCAL"));
    facts.flags.ignore = tokens.is(into - 1, "IGNORE");
    facts.flags.has_limit = false;
    Some(facts.into_analysis(Class::Write(WriteKind::LoadData), vec![table]))
}
