//! The last steps of a client, kept for the message of a failure.

use std::collections::VecDeque;
use std::fmt::Write;
use std::time::{Duration, Instant};

/// Steps that are kept.
const KEPT: usize = 60;
/// Bytes of a step's text that are kept.
const LONGEST: usize = 300;

#[derive(Debug)]
struct Step {
    begun: Duration,
    text: String,
    outcome: Option<(Duration, String)>,
}

/// A bounded list of steps.
#[derive(Debug)]
pub(super) struct History {
    origin: Instant,
    steps: VecDeque<Step>,
}

impl History {
    pub(super) fn new(origin: Instant) -> Self {
        Self {
            origin,
            steps: VecDeque::with_capacity(KEPT),
        }
    }

    /// Notes a step that begins now.
    pub(super) fn begin(&mut self, text: &str) {
        // Statements are laid out over several lines in the source; a line of the history is one step.
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        if self.steps.len() == KEPT {
            self.steps.pop_front();
        }
        let end = text.char_indices().map(|(at, _)| at).find(|at| *at >= LONGEST);
        self.steps.push_back(Step {
            begun: self.origin.elapsed(),
            text: text[..end.unwrap_or(text.len())].to_owned(),
            outcome: None,
        });
    }

    /// Notes how the last step ended.
    pub(super) fn end(&mut self, outcome: impl Into<String>) {
        let now = self.origin.elapsed();
        if let Some(step) = self.steps.back_mut() {
            step.outcome = Some((now, outcome.into()));
        }
    }

    /// The last steps as text, one a line.
    pub(super) fn last(&self, count: usize) -> String {
        let mut text = String::new();
        for step in self.steps.iter().skip(self.steps.len().saturating_sub(count)) {
            let begun = step.begun.as_secs_f64();
            let line = match &step.outcome {
                Some((ended, outcome)) => {
                    let took = ended.saturating_sub(step.begun).as_secs_f64() * 1000.0;
                    writeln!(text, "    {begun:9.4}s {} -> {outcome} ({took:.1} ms)", step.text)
                }
                None => writeln!(text, "    {begun:9.4}s {} -> (no answer yet)", step.text),
            };
            // Writing to a String cannot fail.
            line.unwrap_or_default();
        }
        text
    }
}
