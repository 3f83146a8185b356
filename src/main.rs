//! `proxyd`: the Grove proxy, its configuration check, its look into recovery logs, and its playground.
//!
//! The way of a packet begins in `commands/run.rs`, which forms the group of servers and hands it to the frontend
//! (`crates/frontend`); that reads clients' commands and gives each statement to its session (`crates/engine`), which
//! reaches the servers through `crates/backend`. docs/architecture.md tells it in full.
//!
//! Exit codes are a promise to scripts: 0 after an orderly end, 1 when something failed while running or a recovery log is
//! not sound, 2 when the
//! configuration or the command line has errors.

mod commands;
mod descriptors;
mod logging;
mod memory;
mod recovery_log;
mod signals;
mod startup;
mod world;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use commands::Failure;

/// A SQL-aware proxy that keeps ordinary MySQL and MariaDB servers identical.
#[derive(Parser)]
#[command(name = "proxyd", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the proxy until SIGTERM or SIGINT.
    Run {
        /// The configuration file.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Print every error of a configuration file.
    Check {
        /// The configuration file.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Look into a recovery log, also one that is damaged or in use.
    Log(commands::log::Arguments),
    /// Run private servers with Grove in front of them, to try things out.
    Playground(commands::playground::Arguments),
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Run { config } => commands::run::run(&config),
        Command::Check { config } => commands::check::check(&config),
        Command::Log(arguments) => commands::log::log(&arguments),
        Command::Playground(arguments) => commands::playground::playground(arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Configuration(report)) => {
            eprintln!("{report}");
            ExitCode::from(2)
        }
        Err(Failure::Runtime(error)) => {
            eprintln!("proxyd: {}", explain(&error));
            ExitCode::FAILURE
        }
    }
}

/// An error with its causes. Some errors say their cause themselves; it is not said twice then.
fn explain(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn a_cause_is_said_once() {
        let cause = std::io::Error::other("disk is full");
        let error = anyhow::Error::from(cause)
            .context("cannot write: disk is full")
            .context("no log");
        assert_eq!(explain(&error), "no log: cannot write: disk is full");
    }

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }
}
