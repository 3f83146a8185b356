//! The part of the walk that looks at keywords: which clause begins, and what may stand in it.

use super::{Walker, With};
use crate::lexer::TokenKind;
use crate::mode::Flavor;

impl Walker<'_, '_> {
    pub(super) fn word(&mut self, at: usize) {
        let keyword = self.tokens.keyword(at);
        let keyword = keyword.as_str();
        match self.level().with {
            With::Name { recursive } => return self.common_table(at, recursive),
            With::Query { .. } => return,
            With::After { .. } if keyword == "CYCLE" => {
                // MariaDB: `CYCLE a, b RESTRICT`.
                while self.at < self.tokens.len() && !self.tokens.is(self.at, "RESTRICT") {
                    self.at += 1;
                }
                return;
            }
            With::After { .. } => self.level().with = With::Outside,
            _ => {}
        }
        if self.level().expects_table {
            match keyword {
                "LATERAL" | "TABLE" => return,
                "OJ" if self.tokens.is_punctuation(at.wrapping_sub(1), b'{') => return,
                "DUAL" => {
                    self.level().expects_table = false;
                    return;
                }
                "SELECT" | "WITH" | "VALUES" => self.level().expects_table = false,
                _ => return self.table(at),
            }
        }
        self.clause(at, keyword);
    }

    /// Keywords that begin a clause, and with it other expectations.
    pub(super) fn clause(&mut self, at: usize, keyword: &str) {
        let tokens = self.tokens;
        match keyword {
            "SELECT" => {
                let level = self.level();
                level.query = true;
                level.in_from = false;
                level.in_query = true;
            }
            "FROM" if self.level().query => {
                let level = self.level();
                level.in_from = true;
                level.expects_table = true;
            }
            "TABLE" => {
                let level = self.level();
                level.in_from = true;
                level.expects_table = true;
                level.in_query = true;
            }
            "JOIN" | "STRAIGHT_JOIN" if self.level().in_from && !self.follows_for(at) => {
                self.level().expects_table = true;
            }
            // `USE INDEX FOR ORDER BY (i)` is still among the tables.
            "WHERE" | "GROUP" | "HAVING" | "ORDER" | "SET" if !self.follows_for(at) => {
                let level = self.level();
                level.in_from = false;
                level.is_ordered |= keyword == "ORDER";
                level.condition.begun |= keyword == "WHERE";
            }
            "LIMIT" => {
                self.level().in_from = false;
                self.limit();
            }
            "FETCH" if tokens.is_any(at + 1, &["FIRST", "NEXT"]) => self.limit(),
            // Not reserved in MySQL 5.6 and 5.7, where it may be an alias.
            "WINDOW" if tokens.is_name(at + 1) && tokens.is(at + 2, "AS") => self.level().in_from = false,
            "PROCEDURE" => self.level().in_from = false,
            "WITH" if tokens.begins_cte(at) => {
                let recursive = tokens.is(at + 1, "RECURSIVE");
                self.at += usize::from(recursive);
                self.level().with = With::Name { recursive };
            }
            "INTO" => self.into(at),
            "FOR" if tokens.is_any(at + 1, &["UPDATE", "SHARE"]) => self.facts.locks_rows = true,
            "LOCK" if tokens.is(at + 1, "IN") => self.facts.locks_rows = true,
            "SKIP" if self.facts.locks_rows && tokens.is(at + 1, "LOCKED") => self.facts.flags.skips_locked = true,
            "RETURNING" if self.is_outside_parentheses() => {
                self.facts.saw_returning = true;
                if tokens.flavor() == Flavor::MariaDb {
                    self.level().in_from = false;
                }
            }
            "ON" if tokens.is(at + 1, "DUPLICATE") => self.facts.flags.on_duplicate_key = true,
            "OR" | "XOR" => self.alternative(),
            "SQL_CALC_FOUND_ROWS" => self.facts.flags.calculates_found_rows = true,
            _ => self.expression_word(at, keyword),
        }
    }

    pub(super) fn follows_for(&self, at: usize) -> bool {
        at > 0 && self.tokens.is(at - 1, "FOR")
    }

    /// INTO of a SELECT.
    pub(super) fn into(&mut self, at: usize) {
        self.level().in_from = false;
        let mut next = at + 1;
        if self.tokens.is_any(next, &["OUTFILE", "DUMPFILE"]) {
            self.facts.flags.into_outfile = true;
            return;
        }
        // A variable of a stored program, or a syntax that is not known, is no variable of the session.
        self.facts.opaque |= !self.tokens.is_kind(next, TokenKind::UserVariable);
        while self.tokens.is_kind(next, TokenKind::UserVariable) {
            self.assign_variable(next);
            next += 1;
            self.at = next;
            if !self.tokens.is_punctuation(next, b',') {
                return;
            }
            next += 1;
        }
        self.facts.opaque = true;
    }
}
