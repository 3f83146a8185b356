//! One file per subcommand of `proxyd`.

pub mod check;
pub mod log;
pub mod playground;
pub mod run;

use grove_config::Report;

/// Why a command did not end well; the exit code follows from it.
#[derive(Debug)]
pub enum Failure {
    /// The configuration has errors: exit code 2.
    Configuration(Report),
    /// Something failed while running: exit code 1.
    Runtime(anyhow::Error),
}

impl From<Report> for Failure {
    fn from(report: Report) -> Self {
        Self::Configuration(report)
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Runtime(error)
    }
}
