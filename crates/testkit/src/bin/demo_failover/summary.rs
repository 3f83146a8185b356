//! What the demonstration has found in the end.

use std::fmt;
use std::time::Duration;

use grove_testkit::bank::Progress;
use grove_testkit::equality::Comparison;

use crate::watch::Replay;

/// Everything that was counted and compared.
#[derive(Debug)]
pub(crate) struct Summary {
    pub(crate) progress: Progress,
    /// The server that was killed.
    pub(crate) server: String,
    /// From the start of its process until it was online.
    pub(crate) returned_after: Duration,
    pub(crate) replay: Option<Replay>,
    pub(crate) comparison: Comparison,
    /// How many servers there are.
    pub(crate) servers: usize,
    /// How many of them are online in the end.
    pub(crate) online: usize,
}

impl Summary {
    /// Whether everything is as promised.
    pub(crate) fn holds(&self) -> bool {
        let bank_is_right = self.progress.errors() == 0 && self.progress.failure.is_none();
        bank_is_right && self.comparison.differences.is_empty() && self.online == self.servers
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (progress, comparison) = (&self.progress, &self.comparison);
        let mut line = |what: &str, found: String| writeln!(f, "{what:<16}{found}");
        line("commits", progress.commits.to_string())?;
        line("client errors", progress.errors().to_string())?;
        line(
            "deadlocks",
            format!("{} (clients try again, as with a single server)", progress.retries),
        )?;
        line(
            "longest gap",
            format!(
                "{} ms without an answer to any client",
                progress.longest_gap.as_millis()
            ),
        )?;
        let replayed = match &self.replay {
            Some(replay) => format!(
                "{} entries replayed in the last {:.1} s of that",
                replay.entries,
                replay.time.as_secs_f64()
            ),
            None => "too few entries replayed to be seen".to_owned(),
        };
        line(
            "rejoin",
            format!(
                "{} online {:.1} s after its process was started again, {replayed}",
                self.server,
                self.returned_after.as_secs_f64()
            ),
        )?;
        line("online", format!("{} of {} servers", self.online, self.servers))?;
        let totals = match &progress.failure {
            None => format!(
                "nothing acknowledged is lost, nothing is there twice: through Grove and on {} servers",
                self.servers
            ),
            Some(failure) => failure.clone(),
        };
        line("bank", totals)?;
        let verdict = match comparison.differences.is_empty() {
            true => "equal".to_owned(),
            false => format!("they differ\n{}", comparison.differences.join("\n")),
        };
        line(
            "servers",
            format!(
                "{} tables, {} rows compared: {verdict}",
                comparison.tables, comparison.rows
            ),
        )?;
        write!(f, "{}", if self.holds() { "everything holds" } else { "FAILED" })
    }
}
