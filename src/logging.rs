//! Where log lines go: standard error, as text for people or as one JSON object per line.

use std::io::{self, IsTerminal as _};

use anyhow::Context as _;
use grove_config::{Log, LogFormat};
use tracing_subscriber::EnvFilter;

/// A playground tells its user everything in plain words, so only trouble is logged besides.
pub fn for_playground() -> Log {
    Log {
        filter: "warn".to_owned(),
        format: LogFormat::Text,
    }
}

/// Starts logging as configured, once per process.
pub fn start(log: &Log) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&log.filter).context("log.filter")?;
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal());
    let started = match log.format {
        LogFormat::Text => lines.try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
    started.map_err(|error| anyhow::anyhow!("cannot start logging: {error}"))
}
