//! The analysis of statements, done once per shape.

use std::sync::Arc;

use crate::analysis::{Analysis, Class};
use crate::cache::Cache;
use crate::classify::classify;
use crate::mode::LexMode;
use crate::parser;
use crate::shape::Shape;
use crate::split::split;
use crate::tokens::Tokens;
use crate::verdict::Verdict;

/// Longer shapes and texts are analysed each time: there are few, and remembering them would cost more memory than it saves time.
const LONGEST_SHAPE: usize = 8 * 1024;
const LONGEST_TEXT: usize = 1024;

/// Analyses statements, once per shape. Shared by all sessions.
#[derive(Debug)]
pub struct Analyser {
    shapes: Cache<Answer>,
    texts: Cache<Arc<Analysis>>,
}

/// What is remembered for a shape.
#[derive(Clone, Debug)]
enum Answer {
    Analysis(Arc<Analysis>),
    /// The literals matter: the answer is remembered for each text.
    PerText,
}

impl Analyser {
    /// An analyser that remembers at most about `capacity` shapes, and as many texts of those statements whose literals matter.
    pub fn new(capacity: usize) -> Self {
        Self {
            shapes: Cache::new(capacity),
            texts: Cache::new(capacity),
        }
    }

    /// The analysis of one statement.
    pub fn analyse(&self, sql: &[u8], mode: LexMode) -> Arc<Analysis> {
        let shape = Shape::of(sql, mode);
        let digest = shape.digest();
        match self.shapes.find(digest, shape.as_bytes(), mode) {
            Some(Answer::Analysis(analysis)) => analysis,
            Some(Answer::PerText) => self.analyse_text(sql, mode, &shape, digest),
            None => self.analyse_shape(sql, mode, &shape, digest),
        }
    }

    fn analyse_text(&self, sql: &[u8], mode: LexMode, shape: &Shape, digest: u64) -> Arc<Analysis> {
        let hash = xxhash_rust::xxh3::xxh3_64(sql);
        if let Some(analysis) = self.texts.find(hash, sql, mode) {
            return analysis;
        }
        let analysis = Arc::new(analyse(sql, mode, &Tokens::new(sql, mode), shape, digest));
        if sql.len() <= LONGEST_TEXT {
            self.texts.insert(hash, sql, mode, Arc::clone(&analysis));
        }
        analysis
    }

    fn analyse_shape(&self, sql: &[u8], mode: LexMode, shape: &Shape, digest: u64) -> Arc<Analysis> {
        let tokens = Tokens::new(sql, mode);
        let remember = |answer| {
            if shape.as_bytes().len() <= LONGEST_SHAPE {
                self.shapes.insert(digest, shape.as_bytes(), mode, answer);
            }
        };
        if tokens.is_any(0, &["SET", "PREPARE", "EXECUTE", "KILL"]) {
            remember(Answer::PerText);
            return self.analyse_text(sql, mode, shape, digest);
        }
        let analysis = Arc::new(analyse(sql, mode, &tokens, shape, digest));
        if tokens.are_too_many() {
            // Of shorter texts of this shape more is known.
            return analysis;
        }
        remember(Answer::Analysis(Arc::clone(&analysis)));
        analysis
    }
}

fn analyse(sql: &[u8], mode: LexMode, tokens: &Tokens, shape: &Shape, digest: u64) -> Analysis {
    let mut analysis = if shape.is_doubtful() || tokens.are_too_many() {
        Analysis::new(Class::Unknown)
    } else {
        parser::doubt(classify(tokens), tokens)
    };
    if tokens.has_semicolon() && (analysis.class != Class::Ddl || split(sql, mode).len() != 1) {
        // Several statements. Only the definition of a stored program holds semicolons of its own.
        analysis = Analysis::new(Class::Unknown);
    }
    analysis.digest = digest;
    analysis.replaceable = Vec::new();
    if matches!(analysis.class, Class::Read | Class::Unknown) {
        // It turned out to be no write, or something else than it seemed.
        analysis.verdict = Verdict::Deterministic;
    }
    analysis
}
