//! The side-by-side benchmark of reads from the command line: prints Markdown tables. `make bench` runs it.
//!
//! `BENCH_SECONDS`, `BENCH_ROUNDS`, `BENCH_CLIENTS`, `BENCH_CROWDS` and `BENCH_IDLE` make it shorter or longer. Ctrl-C and SIGTERM end it together with
//! everything that it started.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, ensure};
use clap::Parser;
use grove_testkit::bench::{self, Plan, Programs};
use tokio::signal::unix::{SignalKind, signal};

#[derive(Debug, Parser)]
#[command(about = "One server directly, through HAProxy and through Grove, measured with sysbench in one run")]
struct Arguments {
    /// The proxyd to measure; by default the one beside this program.
    #[arg(long)]
    proxyd: Option<PathBuf>,
    /// The script that sysbench runs.
    #[arg(long, default_value = "benches/reads.lua")]
    script: PathBuf,
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    let proxyd = match arguments.proxyd {
        Some(path) => path,
        None => std::env::current_exe()?.with_file_name("proxyd"),
    };
    let programs = Programs {
        proxyd,
        script: arguments.script,
    };
    for file in [&programs.proxyd, &programs.script] {
        ensure!(
            file.is_file(),
            "{} is missing; `make bench` does it all",
            file.display()
        );
    }
    let plan = Plan::from_environment()?;
    let mut terminated = signal(SignalKind::terminate()).context("wait for SIGTERM")?;
    // Dropping the comparison kills its processes, whatever it is at.
    tokio::select! {
        report = bench::compare(&plan, &programs) => {
            println!("{}", report?);
            Ok(ExitCode::SUCCESS)
        }
        interrupted = tokio::signal::ctrl_c() => {
            interrupted.context("wait for Ctrl-C")?;
            Ok(ExitCode::FAILURE)
        }
        _ = terminated.recv() => Ok(ExitCode::FAILURE),
    }
}
