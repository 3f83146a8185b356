//! What the recovery log costs, and how fast a server is lost and got back: prints a Markdown table. `make bench-recovery` runs it.
//!
//! Everything is measured under the bank's load (`grove_testkit::bank`), whose clients do not rest here. Each round has the same steps: the load without a log and with one, in turns; then the
//! lead is killed with kill -9, stays away, and comes back. Rates are set against the live rate of the same round, because a busy machine slows both.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use clap::Parser;
use grove_testkit::admin::Member;
use grove_testkit::bank::{Bank, BankOptions};
use grove_testkit::equality::{self, Subject};
use grove_testkit::{Cluster, ClusterOptions, Kind, Random};

const LIMIT: Duration = Duration::from_secs(300);

#[derive(Debug, Parser)]
#[command(about = "What the recovery log costs, and how fast a server is lost and got back")]
struct Arguments {
    /// The servers to start: mariadb or mysql.
    #[arg(long, value_name = "KIND", default_value = "mariadb")]
    server: Kind,
    /// How often everything is measured.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// How many clients work at a time.
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=100))]
    clients: u32,
    /// Seconds of load for one rate.
    #[arg(long, value_name = "SECONDS", default_value_t = 8)]
    seconds: u64,
    /// Seconds for which the lead stays away.
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    away: u64,
    /// The proxyd to start; by default the one beside this program.
    #[arg(long, value_name = "FILE")]
    proxyd: Option<PathBuf>,
}

/// One round.
#[derive(Clone, Copy, Debug)]
struct Round {
    /// Commits per second with the log in memory, and on disk.
    without_log: f64,
    with_log: f64,
    /// From kill -9 of the lead to the next acknowledged commit.
    gap: Duration,
    /// Commits per second while it was away.
    while_away: f64,
    /// From the start of its process until it is online.
    back_after: Duration,
    /// Entries that it executed meanwhile, per second of its replay, under the load.
    replayed: f64,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let proxyd = match &arguments.proxyd {
        Some(path) => path.clone(),
        None => std::env::current_exe()?.with_file_name("proxyd"),
    };
    ensure!(
        proxyd.is_file(),
        "{} is missing; `make bench-recovery` does it all",
        proxyd.display()
    );
    let mut rounds = Vec::new();
    for number in 1..=arguments.rounds {
        let round = measure(&arguments, &proxyd)
            .await
            .with_context(|| format!("round {number}"))?;
        eprintln!("round {number}: {round:?}");
        rounds.push(round);
    }
    print(&arguments, &rounds);
    Ok(())
}

async fn measure(arguments: &Arguments, proxyd: &Path) -> anyhow::Result<Round> {
    let without_log = {
        let options = ClusterOptions::new(arguments.server, 3).configuration("recovery_log:\n  directory: none\n");
        let cluster = Cluster::start_with(options, proxyd).await?;
        let bank = open(&cluster, arguments).await?;
        let rate = rate(&bank, arguments.seconds).await;
        close(&cluster, bank).await?;
        rate
    };
    let cluster = Cluster::start_with(ClusterOptions::new(arguments.server, 3), proxyd).await?;
    let bank = open(&cluster, arguments).await?;
    let with_log = rate(&bank, arguments.seconds).await;
    let lead = cluster.lead().await?;
    let kill = Instant::now();
    lead.kill().await;
    let before = bank.progress().commits;
    while bank.progress().commits == before {
        ensure!(
            kill.elapsed() < LIMIT,
            "nothing was committed after the loss of the lead"
        );
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let gap = kill.elapsed();
    let while_away = rate(&bank, arguments.away).await;
    let start = Instant::now();
    lead.start().await?;
    let replayed = come_back(&cluster, lead.name(), start).await?;
    let back_after = start.elapsed();
    close(&cluster, bank).await?;
    Ok(Round {
        without_log,
        with_log,
        gap,
        while_away,
        back_after,
        replayed,
    })
}

async fn open(cluster: &Cluster, arguments: &Arguments) -> anyhow::Result<Bank> {
    let options = BankOptions {
        clients: arguments.clients,
        longest_rest: Duration::ZERO,
        ..BankOptions::new(Random::fresh_seed())
    };
    let bank = Bank::open(cluster.grove_opts(), &options).await?;
    bank.wait_for_commits(50, LIMIT).await?;
    Ok(bank)
}

/// Commits per second over some seconds.
async fn rate(bank: &Bank, seconds: u64) -> f64 {
    let (before, begun) = (bank.progress().commits, Instant::now());
    bank.run_for(Duration::from_secs(seconds)).await;
    (bank.progress().commits - before) as f64 / begun.elapsed().as_secs_f64()
}

/// Waits until a server is online, and gives the entries per second of its replay.
async fn come_back(cluster: &Cluster, name: &str, start: Instant) -> anyhow::Result<f64> {
    let mut began: Option<(Instant, u64)> = None;
    loop {
        let members = cluster.members().await?;
        let member: &Member = members
            .iter()
            .find(|member| member.name == name)
            .context("the server is not among those of Grove")?;
        let position = member.position.unwrap_or(0);
        match (member.state.as_str(), began) {
            ("online", Some((at, from))) => {
                return Ok(position.saturating_sub(from) as f64 / at.elapsed().as_secs_f64());
            }
            ("online", None) => return Ok(f64::NAN),
            ("replaying" | "joining", None) => began = Some((Instant::now(), position)),
            _ => {}
        }
        ensure!(start.elapsed() < LIMIT, "{member:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// What was measured counts only if nothing was lost.
async fn close(cluster: &Cluster, bank: Bank) -> anyhow::Result<()> {
    let subjects: Vec<Subject> = cluster.servers().iter().map(Subject::of).collect();
    let progress = bank.finish(&subjects).await;
    ensure!(progress.failure.is_none() && progress.errors() == 0, "{progress}");
    let comparison = equality::compare(&subjects).await?;
    ensure!(comparison.differences.is_empty(), "{:?}", comparison.differences);
    Ok(())
}

fn print(arguments: &Arguments, rounds: &[Round]) {
    let median = |value: fn(&Round) -> f64| {
        let mut values: Vec<f64> = rounds.iter().map(value).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    println!(
        "{} clients without rest, 3 {} servers, median of {} rounds; the lead was away for {} s.\n",
        arguments.clients,
        arguments.server,
        rounds.len(),
        arguments.away
    );
    println!("| what | median |");
    println!("|---|---|");
    println!(
        "| commits/s, log in memory | {:.0} |",
        median(|round| round.without_log)
    );
    println!("| commits/s, log on disk | {:.0} |", median(|round| round.with_log));
    println!(
        "| with the log, of without | {:.2} |",
        median(|round| round.with_log / round.without_log)
    );
    println!(
        "| kill -9 of the lead to the next commit | {:.0} ms |",
        median(|round| round.gap.as_secs_f64() * 1000.0)
    );
    println!(
        "| commits/s while it is away | {:.0} |",
        median(|round| round.while_away)
    );
    println!(
        "| start of its process to online, under load | {:.1} s |",
        median(|round| round.back_after.as_secs_f64())
    );
    println!(
        "| entries replayed/s, under load | {:.0} |",
        median(|round| round.replayed)
    );
    println!(
        "| replayed, of the live rate of three servers | {:.1} |",
        median(|round| round.replayed / round.with_log)
    );
}
