//! Kill and rejoin, to look at: three private servers with Grove in front, a bank's clients, and a lead that is killed and comes back.
//!
//! It ends with a check of what it showed: nothing acknowledged is lost, nothing is there twice, all servers hold the same. The exit code is 0 only then.
//! `make demo-failover` runs it. Ctrl-C and SIGTERM end it together with everything that it started.

mod screen;
mod summary;
mod table;
mod watch;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use clap::Parser;
use grove_testkit::bank::{Bank, BankOptions};
use grove_testkit::equality::{self, Subject};
use grove_testkit::{Cluster, ClusterOptions, Kind, Random};
use tokio::signal::unix::{SignalKind, signal};

use screen::Screen;
use summary::Summary;
use watch::Watch;

const SERVERS: usize = 3;
/// Grove tries again after at most 15 s; a server that is not back long after that does not come back by itself.
const RETURN_LIMIT: Duration = Duration::from_secs(120);

#[derive(Debug, Parser)]
#[command(
    about = "Kills the lead of three servers under load, starts it again, and checks that nothing is lost and all are equal"
)]
struct Arguments {
    /// The servers to start: mariadb or mysql.
    #[arg(long, value_name = "KIND", default_value = "mariadb")]
    server: Kind,
    /// How many clients work at a time.
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=100))]
    clients: u32,
    /// Seconds of load before the lead is killed.
    #[arg(long, value_name = "SECONDS", default_value_t = 5)]
    before: u64,
    /// Seconds of load while it is away.
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    away: u64,
    /// Seconds of load once it is back.
    #[arg(long, value_name = "SECONDS", default_value_t = 5)]
    after: u64,
    /// Repeats the clients' choices of an earlier run; fresh ones by default.
    #[arg(long)]
    seed: Option<u64>,
    /// The proxyd to start; by default the one beside this program.
    #[arg(long, value_name = "FILE")]
    proxyd: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    let mut terminated = signal(SignalKind::terminate()).context("wait for SIGTERM")?;
    // Dropping the demonstration kills its processes, whatever it is at.
    tokio::select! {
        holds = demonstrate(&arguments) => Ok(match holds {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::FAILURE,
            Err(error) => {
                // For people: without the backtrace that anyhow may have kept.
                eprintln!("FAILED: {error:#}");
                ExitCode::FAILURE
            }
        }),
        interrupted = tokio::signal::ctrl_c() => {
            interrupted.context("wait for Ctrl-C")?;
            Ok(ExitCode::FAILURE)
        }
        _ = terminated.recv() => Ok(ExitCode::FAILURE),
    }
}

/// Whether everything that is promised was seen. The logs stay if not.
async fn demonstrate(arguments: &Arguments) -> anyhow::Result<bool> {
    let proxyd = match &arguments.proxyd {
        Some(path) => path.clone(),
        None => std::env::current_exe()?.with_file_name("proxyd"),
    };
    ensure!(
        proxyd.is_file(),
        "{} is missing; `make demo-failover` does it all",
        proxyd.display()
    );
    let screen = Screen::of_standard_output();
    screen.say(&format!("starting {SERVERS} {} servers and Grove", arguments.server))?;
    let mut cluster = Cluster::start_with(ClusterOptions::new(arguments.server, SERVERS), proxyd).await?;
    let holds = lose_and_regain(arguments, &cluster, screen).await;
    if !matches!(holds, Ok(true)) {
        cluster.keep_logs();
    }
    holds
}

async fn lose_and_regain(arguments: &Arguments, cluster: &Cluster, screen: Screen) -> anyhow::Result<bool> {
    let options = BankOptions {
        clients: arguments.clients,
        ..BankOptions::new(arguments.seed.unwrap_or_else(Random::fresh_seed))
    };
    let bank = Bank::open(cluster.grove_opts(), &options).await?;
    let mut watch = Watch::new(cluster.admin_address(), bank, screen);
    watch.say(&format!(
        "{} clients transfer money through Grove at {} (seed {})",
        options.clients,
        cluster.grove_address(),
        options.seed
    ))?;
    watch.load_goes_on(Duration::from_secs(arguments.before)).await?;

    let lead = cluster.lead().await?;
    let pid = lead.pid().context("the lead does not run")?;
    watch.say(&format!("kill -9 {pid}: {}, the lead", lead.name()))?;
    let kill = Instant::now();
    watch.during(lead.kill()).await?;
    watch.until_out(lead.name(), kill, RETURN_LIMIT).await?;
    watch.load_goes_on(Duration::from_secs(arguments.away)).await?;

    watch.say(&format!("the process of {} is started again", lead.name()))?;
    let restart = Instant::now();
    watch.during(lead.start()).await??;
    watch.say(&format!(
        "{} answers; Grove notices at its next attempt, within 15 s",
        lead.name()
    ))?;
    watch.until_online(lead.name(), restart, RETURN_LIMIT).await?;
    let returned_after = restart.elapsed();
    let replay = watch.replay_of(lead.name());
    watch.load_goes_on(Duration::from_secs(arguments.after)).await?;
    watch.show_now().await?;

    watch.say("the load stops; every balance and row is looked up on every server")?;
    let subjects: Vec<Subject> = cluster.servers().iter().map(Subject::of).collect();
    let progress = watch.into_bank().finish(&subjects).await;
    let summary = Summary {
        progress,
        server: lead.name().to_owned(),
        returned_after,
        replay,
        comparison: equality::compare(&subjects).await?,
        servers: subjects.len(),
        online: cluster.online().await?.len(),
    };
    writeln!(io::stdout(), "\n{summary}")?;
    Ok(summary.holds())
}
