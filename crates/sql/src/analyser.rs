//! The cache of analyses by statement shape.

use std::sync::Arc;

use crate::analysis::{Analysis, Class};
use crate::mode::LexMode;

/// Analyses statements, once per shape. Shared by all sessions.
#[derive(Debug)]
pub struct Analyser {
    #[allow(dead_code)]
    capacity: usize,
}

impl Analyser {
    /// An analyser that remembers at most about `capacity` shapes.
    pub fn new(capacity: usize) -> Self {
        Self { capacity }
    }

    /// The analysis of one statement.
    pub fn analyse(&self, _sql: &[u8], _mode: LexMode) -> Arc<Analysis> {
        Arc::new(Analysis::new(Class::Unknown))
    }
}
