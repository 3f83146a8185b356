//! The side-by-side benchmark of reads: the very same server directly, through HAProxy in TCP mode, and through Grove.
//!
//! sysbench is the client of every cell (`benches/reads.lua`). The targets take turns within each cell and each round, so that whatever
//! else the machine does meets all of them; what is compared is therefore ratios of the same round, and their median over the rounds.
//! Deliberately absent: writes, and a verdict that fails a build, because a busy machine would decide it.

mod crowds;
mod haproxy;
mod idle;
mod plan;
mod report;
mod sample;
mod sysbench;
mod table;
mod target;
mod tls_login;
mod usage;

use std::path::{Path, PathBuf};

use anyhow::Context;

pub use plan::Plan;

use crate::{Cluster, ClusterOptions, GroveProcess, Kind};
use crowds::Crowd;
use haproxy::HaProxy;
use idle::IdleClients;
use report::Results;
use sample::Sample;
use sysbench::Sysbench;
use target::Target;

/// Where the programs and files are.
#[derive(Clone, Debug)]
pub struct Programs {
    /// The release build of `proxyd`.
    pub proxyd: PathBuf,
    /// `benches/reads.lua`.
    pub script: PathBuf,
}

/// Runs the whole comparison and returns it as Markdown. Dropping the future ends every process that it started.
pub async fn compare(plan: &Plan, programs: &Programs) -> anyhow::Result<String> {
    let load_before = usage::load_average();
    let descriptors = usage::raise_open_files_limit();
    let idle_clients = plan.idle_clients.min(idle::most_clients(descriptors));
    let mut cluster = start_cluster(idle_clients, &programs.proxyd).await?;
    table::create(&cluster).await.context("make the table")?;
    let server = cluster.servers()[0].address();
    let haproxy = HaProxy::start(server, connections(idle_clients)).await?;
    let grove_pid = cluster.grove().and_then(|grove| grove.pid()).context("Grove's pid")?;
    let targets = [
        Target::direct(server),
        Target::proxy("HAProxy", haproxy.address(), haproxy.pid()),
        Target::proxy("Grove", cluster.grove_address(), grove_pid),
    ];
    let results = measure(plan, &targets, &programs.script).await?;
    let crowds = match plan.crowds {
        true => crowds_on(&targets).await?,
        false => Vec::new(),
    };
    drop(haproxy);
    let idle = idle_memory(&mut cluster, idle_clients).await?;
    let mut text = report::versions(&cluster).await?;
    text.push_str(&plan.to_string());
    text.push_str(&format!(" The load average before was {load_before}.\n"));
    text.push_str(&results.markdown());
    text.push_str(&report::crowds_table(&crowds));
    text.push_str(&report::idle_table(&idle));
    Ok(text)
}

async fn crowds_on(targets: &[Target]) -> anyhow::Result<Vec<Crowd>> {
    let mut measured = Vec::new();
    for target in targets.iter().filter(|target| target.proxy.is_some()) {
        // The server behind HAProxy has no certificate.
        measured.extend(crowds::measure(target, target.name == "Grove").await?);
    }
    Ok(measured)
}

/// What every process must be able to serve at a time: the idle clients, or the most that sysbench stands for, with some to spare.
fn connections(idle_clients: u32) -> u32 {
    idle_clients + 300
}

async fn start_cluster(idle_clients: u32, proxyd: &Path) -> anyhow::Result<Cluster> {
    let connections = connections(idle_clients);
    let options = ClusterOptions::new(Kind::MariaDb, 1)
        .heavy()
        .server_option(&format!("--max-connections={connections}"))
        .grove_listen(&format!("max_connections: {connections}"));
    Cluster::start_with(options, proxyd).await
}

/// Every cell of the plan, round by round.
async fn measure(plan: &Plan, targets: &[Target], script: &Path) -> anyhow::Result<Results> {
    let mut results = Results::new(targets.iter().map(|target| target.name).collect());
    let cells = plan.cells();
    for round in 0..plan.rounds {
        for (number, cell) in cells.iter().enumerate() {
            eprintln!(
                "round {} of {}, cell {} of {}: {cell}",
                round + 1,
                plan.rounds,
                number + 1,
                cells.len()
            );
            let sysbench = Sysbench {
                script,
                cell: *cell,
                seconds: plan.seconds,
            };
            // Another target begins in each cell and round, so that none is always the one after the same neighbour.
            let first = (round as usize + number) % targets.len();
            let mut samples: Vec<Option<Sample>> = vec![None; targets.len()];
            for step in 0..targets.len() {
                let index = (first + step) % targets.len();
                let measured = sysbench.run(&targets[index]).await;
                let sample = measured.with_context(|| format!("{cell} on {}", targets[index].name))?;
                samples[index] = Some(sample);
            }
            results.add(*cell, samples.into_iter().flatten().collect());
        }
    }
    Ok(results)
}

/// Memory per idle client, on processes that have served nobody before: a heap that was larger once would hide it.
async fn idle_memory(cluster: &mut Cluster, clients: u32) -> anyhow::Result<Vec<IdleClients>> {
    if clients == 0 {
        return Ok(Vec::new());
    }
    let mut measured = Vec::new();
    let haproxy = HaProxy::start(cluster.servers()[0].address(), connections(clients)).await?;
    let target = Target::proxy("HAProxy", haproxy.address(), haproxy.pid());
    measured.push(idle::measure(&target, clients).await?);
    drop(haproxy);
    if let Some(grove) = cluster.stop_grove() {
        GroveProcess::terminate(grove).await?;
    }
    cluster.start_grove().await?;
    let pid = cluster.grove().and_then(|grove| grove.pid()).context("Grove's pid")?;
    measured.push(idle::measure(&Target::proxy("Grove", cluster.grove_address(), pid), clients).await?);
    Ok(measured)
}
