//! The results as Markdown tables: what was measured, and what it says about Grove.

use std::fs;

use anyhow::Context;
use mysql_async::prelude::Queryable;
use tokio::process::Command;

use super::crowds::Crowd;
use super::idle::IdleClients;
use super::plan::{Cell, Read};
use super::sample::{Sample, median};
use crate::Cluster;

/// Position of the targets in every round.
const DIRECT: usize = 0;
const HAPROXY: usize = 1;
const GROVE: usize = 2;

/// All samples.
#[derive(Debug)]
pub(super) struct Results {
    targets: Vec<&'static str>,
    /// The rounds of each cell, each with one sample per target.
    cells: Vec<(Cell, Vec<Vec<Sample>>)>,
}

impl Results {
    /// Without any sample.
    pub(super) fn new(targets: Vec<&'static str>) -> Self {
        Self {
            targets,
            cells: Vec::new(),
        }
    }

    /// Adds one round of a cell: one sample per target, in their order.
    pub(super) fn add(&mut self, cell: Cell, round: Vec<Sample>) {
        match self.cells.iter_mut().find(|(other, _)| *other == cell) {
            Some((_, rounds)) => rounds.push(round),
            None => self.cells.push((cell, vec![round])),
        }
    }

    /// All tables.
    pub(super) fn markdown(&self) -> String {
        let mut text = self.ratios();
        for read in [Read::Point, Read::Range, Read::Large] {
            text.push_str(&self.measurements(read));
        }
        text
    }

    /// Ratios of the same round, and their median.
    fn ratios(&self) -> String {
        let mut text = String::from(
            "\n### Grove against HAProxy and no proxy\n\n\
             | read | protocol | clients | q/s, of HAProxy's | q/s, of direct | CPU per query, of HAProxy's | added latency, HAProxy us | added latency, Grove us | p99, of HAProxy's |\n\
             |---|---|---|---|---|---|---|---|---|\n",
        );
        for (cell, rounds) in &self.cells {
            let over = |value: &dyn Fn(&[Sample]) -> f64| median(rounds.iter().map(|round| value(round)));
            text.push_str(&format!(
                "| {} | {} | {} | {:.2} | {:.2} | {:.2} | {:.0} | {:.0} | {:.2} |\n",
                cell.read.title(),
                cell.protocol.title(),
                cell.clients,
                over(&|round| round[GROVE].queries_per_second / round[HAPROXY].queries_per_second),
                over(&|round| round[GROVE].queries_per_second / round[DIRECT].queries_per_second),
                over(&|round| round[GROVE].cpu_us / round[HAPROXY].cpu_us),
                over(&|round| round[HAPROXY].average_us - round[DIRECT].average_us),
                over(&|round| round[GROVE].average_us - round[DIRECT].average_us),
                over(&|round| round[GROVE].p99_us / round[HAPROXY].p99_us),
            ));
        }
        text
    }

    /// What was measured for one kind of read; each value is the median over the rounds.
    fn measurements(&self, read: Read) -> String {
        let mut text = format!(
            "\n### Measured: {}\n\n\
             | protocol | clients | target | q/s | average us | p95 us | p99 us | proxy CPU us per query | proxy peak MB |\n\
             |---|---|---|---|---|---|---|---|---|\n",
            read.title()
        );
        for (cell, rounds) in self.cells.iter().filter(|(cell, _)| cell.read == read) {
            for (index, target) in self.targets.iter().enumerate() {
                let over = |value: fn(&Sample) -> f64| median(rounds.iter().map(|round| value(&round[index])));
                let proxy = match index {
                    DIRECT => "- | -".to_owned(),
                    _ => format!(
                        "{:.1} | {:.1}",
                        over(|sample| sample.cpu_us),
                        over(|sample| sample.peak_bytes) / 1e6
                    ),
                };
                text.push_str(&format!(
                    "| {} | {} | {target} | {:.0} | {:.0} | {:.0} | {:.0} | {proxy} |\n",
                    cell.protocol.title(),
                    cell.clients,
                    over(|sample| sample.queries_per_second),
                    over(|sample| sample.average_us),
                    over(|sample| sample.p95_us),
                    over(|sample| sample.p99_us),
                ));
            }
        }
        text
    }
}

/// Memory of idle clients.
pub(super) fn idle_table(measured: &[IdleClients]) -> String {
    if measured.is_empty() {
        return String::new();
    }
    let mut text = String::from(
        "\n### Memory of idle clients\n\n| target | clients | MB before | MB after | kB per client |\n|---|---|---|---|---|\n",
    );
    for idle in measured {
        text.push_str(&format!(
            "| {} | {} | {:.1} | {:.1} | {:.1} |\n",
            idle.name,
            idle.clients,
            idle.before_bytes as f64 / 1e6,
            idle.after_bytes as f64 / 1e6,
            idle.bytes_per_client() / 1e3,
        ));
    }
    text
}

/// Time and memory of crowds.
pub(super) fn crowds_table(measured: &[Crowd]) -> String {
    if measured.is_empty() {
        return String::new();
    }
    let mut text =
        String::from("\n### Crowds\n\n| target | crowd | seconds | MB before | MB at most |\n|---|---|---|---|---|\n");
    for crowd in measured {
        text.push_str(&format!(
            "| {} | {} | {:.1} | {:.1} | {:.1} |\n",
            crowd.target,
            crowd.what,
            crowd.took.as_secs_f64(),
            crowd.before_bytes as f64 / 1e6,
            crowd.peak_bytes as f64 / 1e6,
        ));
    }
    text
}

/// The machine and the versions of everything that took part.
pub(super) async fn versions(cluster: &Cluster) -> anyhow::Result<String> {
    let mut look = cluster.look_at(0).await?;
    let server: Option<String> = look.query_first("SELECT VERSION()").await?;
    look.disconnect().await?;
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let cpu = cpu.lines().find_map(|line| line.strip_prefix("model name"));
    let cpu = cpu.map_or("unknown CPU", |line| line.trim_start_matches(['\t', ' ', ':']));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    Ok(format!(
        "{cores} cores of {cpu}, Linux {}; server {}; {}; {}; Grove {}\n",
        kernel.trim(),
        server.unwrap_or_default(),
        first_line("haproxy", "-v").await?,
        first_line("sysbench", "--version").await?,
        env!("CARGO_PKG_VERSION"),
    ))
}

async fn first_line(program: &str, argument: &str) -> anyhow::Result<String> {
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
    let output = Command::new(program).arg(argument).env("PATH", path).output().await;
    let output = output.with_context(|| format!("run {program}; scripts/install-bench-peers.sh installs it"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(text.lines().next().unwrap_or_default().to_owned())
}
