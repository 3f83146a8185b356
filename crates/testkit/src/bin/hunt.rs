//! The divergence hunt from the command line, for minutes instead of seconds.
//!
//! Without `--address` it starts private servers and a `proxyd` of its own. With it, it hunts a proxy that runs already, and compares
//! the servers named by `--backend` or by the playground's `playground.json`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, ensure};
use clap::Parser;
use grove_testkit::equality::{self, Comparison, Subject};
use grove_testkit::hunt::{Hunt, HuntOptions, Report, TemporaryTables};
use grove_testkit::{Cluster, ClusterOptions, Kind, Random, accounts, options_of};

#[derive(Debug, Parser)]
#[command(about = "Random conflicting transactions, then a comparison of every table on every server")]
struct Arguments {
    /// How long the clients work.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// How many clients work at a time.
    #[arg(long, default_value_t = 12)]
    clients: u32,
    /// Repeats the statements of an earlier hunt; a fresh one by default.
    #[arg(long)]
    seed: Option<u64>,
    /// How many of 100 units of work are DDL.
    #[arg(long, default_value_t = 1)]
    ddl_percent: u64,
    /// The servers to start: mariadb or mysql.
    #[arg(long, default_value = "mariadb")]
    server: Kind,
    /// How many servers to start.
    #[arg(long, default_value_t = 3)]
    servers: usize,
    /// Let clients do without temporary tables.
    #[arg(long)]
    no_temporary_tables: bool,
    /// Cut a connection to a server several times a second.
    #[arg(long, conflicts_with = "kill")]
    cut: bool,
    /// Let servers stand still now and then, too short for Grove to give them up.
    #[arg(long, conflicts_with_all = ["cut", "kill"])]
    stall: bool,
    /// Kill one server with SIGKILL and stop another with SIGSTOP on the way.
    #[arg(long)]
    kill: bool,
    /// The proxyd to start; by default the one beside this program.
    #[arg(long)]
    proxyd: Option<PathBuf>,
    /// Hunt this proxy instead of starting one.
    #[arg(long)]
    address: Option<SocketAddr>,
    /// The account at that proxy.
    #[arg(long, default_value = accounts::APP_USER)]
    user: String,
    /// Its password.
    #[arg(long, default_value = accounts::APP_PASSWORD)]
    password: String,
    /// A server behind that proxy, to be compared (as the sandbox's superuser); can be given several times.
    #[arg(long)]
    backend: Vec<SocketAddr>,
    /// A playground's playground.json: names the proxy and the servers.
    #[arg(long, conflicts_with_all = ["address", "backend"])]
    playground: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let mut arguments = Arguments::parse();
    let seed = arguments.seed.unwrap_or_else(Random::fresh_seed);
    println!("seed {seed}");
    let options = HuntOptions {
        clients: arguments.clients,
        seed,
        ddl_percent: arguments.ddl_percent,
        temporary_tables: match arguments.no_temporary_tables || arguments.cut {
            true => TemporaryTables::Unused,
            false => TemporaryTables::Used,
        },
    };
    if let Some(file) = arguments.playground.take() {
        read_playground(&mut arguments, &file)?;
    }
    let (report, comparison) = match arguments.address {
        Some(address) => outside(&arguments, address, &options).await?,
        None => inside(&arguments, &options).await?,
    };
    println!("{report}");
    println!("{} tables compared", comparison.tables);
    for line in comparison.differences.iter().chain(&comparison.counters) {
        println!("{line}");
    }
    let is_clean = report.failure.is_none() && comparison.differences.is_empty();
    Ok(if is_clean { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Servers that a hunt with `--kill` loses.
const FAULTS: usize = 2;

/// Starts servers and Grove.
async fn inside(arguments: &Arguments, options: &HuntOptions) -> anyhow::Result<(Report, Comparison)> {
    let proxyd = match &arguments.proxyd {
        Some(path) => path.clone(),
        None => std::env::current_exe()?.with_file_name("proxyd"),
    };
    ensure!(
        proxyd.is_file(),
        "{} is missing: run cargo build, or give --proxyd",
        proxyd.display()
    );
    let options_of_cluster = ClusterOptions::new(arguments.server, arguments.servers).heavy();
    let mut cluster = Cluster::start_with(options_of_cluster, proxyd).await?;
    let hunt = Hunt::start(cluster.grove_opts(), options).await?;
    let part = Duration::from_secs(arguments.seconds) / 3;
    match arguments.stall {
        true => hunt.run_for(Duration::from_secs(1)).await,
        false => hunt.run_for(part).await,
    }
    let mut random = Random::new(options.seed);
    for fault in 0..FAULTS {
        if arguments.kill && !hunt.has_failed() {
            let inflicted = inflict(&cluster, &mut random, fault == 0).await;
            inflicted.with_context(|| cluster.log_tails(200))?;
        }
        match (arguments.cut, arguments.stall) {
            (true, _) => hunt.run_while_cutting(&cluster, part, &mut random).await?,
            (_, true) => hunt.run_while_stalling(&cluster, part, &mut random).await?,
            _ => hunt.run_for(part).await,
        }
    }
    let report = hunt.finish().await;
    let members = cluster.members().await?;
    let lost = members.iter().filter(|member| !member.is_online()).count();
    let may_lose = usize::from(arguments.kill) * FAULTS;
    let is_clean = report.failure.is_none() && (lost == may_lose || arguments.cut);
    if !is_clean {
        println!(
            "{}\n{members:#?}\n{}",
            cluster.log_tails(200),
            cluster.trace_of_difference()
        );
        cluster.keep_logs();
    }
    ensure!(
        report.failure.is_some() || is_clean,
        "{report}\n{lost} servers were evicted"
    );
    Ok((report, equality::compare_online(&cluster).await?))
}

async fn inflict(cluster: &Cluster, random: &mut Random, kills: bool) -> anyhow::Result<()> {
    let online = cluster.online().await?;
    ensure!(online.len() > 1, "only one server is online before a fault");
    let server = random.pick(&online);
    let is_lead = cluster.lead().await?.name() == server.name();
    println!(
        "{} {}{}",
        if kills { "SIGKILL for" } else { "SIGSTOP for" },
        server.name(),
        if is_lead { ", the lead" } else { "" }
    );
    if kills {
        server.kill().await;
    } else {
        server.pause();
    }
    Ok(())
}

/// Hunts a proxy that runs already.
async fn outside(
    arguments: &Arguments,
    address: SocketAddr,
    options: &HuntOptions,
) -> anyhow::Result<(Report, Comparison)> {
    let hunt = Hunt::start(options_of(address, &arguments.user, &arguments.password), options).await?;
    hunt.run_for(Duration::from_secs(arguments.seconds)).await;
    let report = hunt.finish().await;
    let subjects: Vec<Subject> = arguments
        .backend
        .iter()
        .map(|backend| Subject {
            name: backend.to_string(),
            opts: options_of(*backend, accounts::SUPERUSER, accounts::SUPERUSER_PASSWORD),
        })
        .collect();
    Ok((report, equality::compare(&subjects).await?))
}

fn read_playground(arguments: &mut Arguments, file: &PathBuf) -> anyhow::Result<()> {
    let text = std::fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
    let playground: serde_json::Value =
        serde_json::from_str(&text).with_context(|| format!("JSON of {}", file.display()))?;
    let port = |value: &serde_json::Value| {
        let port = value["port"].as_u64().and_then(|port| u16::try_from(port).ok());
        port.with_context(|| format!("a port in {value}"))
    };
    arguments.address = Some(SocketAddr::from(([127, 0, 0, 1], port(&playground)?)));
    for backend in playground["backends"].as_array().context("the playground's backends")? {
        arguments
            .backend
            .push(SocketAddr::from(([127, 0, 0, 1], port(backend)?)));
    }
    Ok(())
}
