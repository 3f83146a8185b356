//! What can go wrong with private servers, split by who can do something about it.

use std::io;
use std::path::PathBuf;

/// Why a sandbox or a playground did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The server software is not on this machine.
    #[error("{what} is not installed: run {remedy}")]
    NotInstalled {
        /// The program that was looked for.
        what: String,
        /// The command that installs it.
        remedy: &'static str,
    },
    /// A program of the server software ran and failed.
    #[error("{what} failed: {detail}")]
    Program {
        /// The program and what it was to do.
        what: String,
        /// Its exit status and the end of its output.
        detail: String,
    },
    /// A server ended, or did not answer, while it was expected to come up.
    #[error("server {name} did not start: {detail}")]
    NotStarted {
        /// The server's name.
        name: String,
        /// What happened, with the end of the server's log.
        detail: String,
    },
    /// The caller asked for something that does not fit the state of the sandbox.
    #[error("{0}")]
    Refused(String),
    /// The operating system refused a file or process operation.
    #[error("{what}: {source}")]
    Io {
        /// The operation and the path.
        what: String,
        /// The system's error.
        source: io::Error,
    },
}

impl SandboxError {
    /// Returns a closure for `map_err` that adds the operation and the path to a system error.
    pub(crate) fn io(operation: &str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let what = format!("{operation} {}", path.into().display());
        move |source| Self::Io { what, source }
    }
}
