//! Every mistake of a configuration at once, in words that say what would be right.
//!
//! Invariant: a [`Report`] holds at least one [`Problem`], ordered by place, and never shows a secret's value.
//! Deliberately absent: warnings; a key is right or it is an error.

use std::fmt;
use std::path::{Path, PathBuf};

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// The file as a whole: it could not be read.
    File,
    /// A line of the file, counted from 1.
    Line(usize),
    /// An environment variable that overrides the file.
    Variable(String),
}

/// One mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where it was made.
    pub origin: Origin,
    /// The key's path, such as `backends[1].address`; empty for the file as a whole.
    pub key: String,
    /// What is wrong.
    pub wrong: String,
    /// What would be right.
    pub right: String,
}

/// All mistakes of one configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Report {
    file: PathBuf,
    problems: Vec<Problem>,
}

impl Report {
    /// A report about `file`; `problems` must not be empty.
    pub(crate) fn new(file: &Path, mut problems: Vec<Problem>) -> Self {
        // A stable sort: problems of one line stay in the order in which the keys are read.
        problems.sort_by(|a, b| a.origin.cmp(&b.origin));
        Self {
            file: file.to_owned(),
            problems,
        }
    }

    /// The mistakes, by place.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.file.display();
        for problem in &self.problems {
            match &problem.origin {
                Origin::File => write!(f, "{file}: ")?,
                Origin::Line(line) => write!(f, "{file}:{line}: ")?,
                Origin::Variable(name) => write!(f, "environment variable {name}: ")?,
            }
            if !problem.key.is_empty() {
                write!(f, "{}: ", problem.key)?;
            }
            writeln!(f, "{}; {}", problem.wrong, problem.right)?;
        }
        match self.problems.len() {
            1 => write!(f, "1 error in {file}"),
            count => write!(f, "{count} errors in {file}"),
        }
    }
}
