//! The part of the walk that names tables and sequences.

use super::Walker;
use crate::analysis::TableName;
use crate::facts::TableReference;
use crate::name::Name;

impl Walker<'_, '_> {
    /// A table reference that begins at `at`.
    pub(super) fn table(&mut self, at: usize) {
        let level = self.level();
        level.expects_table = false;
        level.in_from = true;
        let in_query = level.in_query;
        let Some((table, end)) = self.tokens.table_name(at) else {
            self.facts.opaque = true;
            return;
        };
        self.at = end;
        if self.tokens.is_punctuation(end, b'(') {
            // JSON_TABLE is the only table function; its arguments are expressions.
            let is_known = table.schema.is_none() && self.tokens.is(at, "JSON_TABLE");
            self.facts.flags.calls_unknown_function |= !is_known;
            return;
        }
        self.level().reads_tables = true;
        if table.schema.is_none() && !self.facts.opaque && self.ctes.contains(&table.name) {
            return;
        }
        let alias = self.alias(end);
        self.facts.refer_to(TableReference { table, alias, in_query });
    }

    /// The alias of a table reference whose name ends at `at`.
    pub(super) fn alias(&self, mut at: usize) -> Option<Name> {
        let tokens = self.tokens;
        if tokens.is(at, "PARTITION") {
            at = tokens.after_parentheses(at + 1);
        }
        if tokens.is(at, "AS") {
            return tokens.name(at + 1);
        }
        const FOLLOWERS: [&str; 22] = [
            "WHERE",
            "JOIN",
            "INNER",
            "LEFT",
            "RIGHT",
            "CROSS",
            "NATURAL",
            "STRAIGHT_JOIN",
            "ON",
            "USING",
            "SET",
            "USE",
            "FORCE",
            "IGNORE",
            "FOR",
            "ORDER",
            "GROUP",
            "LIMIT",
            "HAVING",
            "UNION",
            "RETURNING",
            "LOCK",
        ];
        if tokens.is_any(at, &FOLLOWERS) {
            return None;
        }
        tokens.name(at)
    }

    /// A sequence that is named at `at` is advanced.
    pub(super) fn advance_sequence(&mut self, at: usize) {
        match self.tokens.table_name(at) {
            Some((sequence, _)) => self.facts.advance_sequence(sequence),
            None => self.facts.opaque = true,
        }
    }

    pub(super) fn name_sequence(&mut self, at: usize) {
        self.facts.reads_own_sequence = true;
        match self.tokens.table_name(at) {
            Some((sequence, _)) => self.facts.name_table(sequence),
            None => self.facts.opaque = true,
        }
    }

    pub(super) fn name_before(&self, at: usize) -> Option<TableName> {
        let name = self.tokens.name(at.checked_sub(2)?)?;
        let schema = match at.checked_sub(4) {
            Some(schema) if self.tokens.is_punctuation(at - 3, b'.') => self.tokens.name(schema),
            _ => None,
        };
        Some(TableName { schema, name })
    }
}
