//! One run of sysbench 1.0 against one target, with the proxy's CPU time and memory beside it.
//!
//! The proxy's CPU time is taken from the moment when all clients are logged in and have prepared their statement, which sysbench
//! announces, to its end; so logging in does not count. The percentiles come from sysbench's histogram, whose steps are 2 % wide.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use super::plan::Cell;
use super::sample::Sample;
use super::table;
use super::target::Target;
use super::usage;
use crate::accounts;

/// What sysbench prints when every client has logged in and the time begins to run.
const STARTED: &str = "Threads started!";
/// Time for logging in and for the end, beyond the measured time.
const MARGIN: Duration = Duration::from_secs(60);

/// What to run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sysbench<'a> {
    pub(super) script: &'a Path,
    pub(super) cell: Cell,
    pub(super) seconds: u32,
}

impl Sysbench<'_> {
    /// Runs it against this target.
    pub(super) async fn run(&self, target: &Target) -> anyhow::Result<Sample> {
        let limit = Duration::from_secs(self.seconds.into()) + MARGIN;
        let run = tokio::time::timeout(limit, self.run_unbounded(target)).await;
        run.with_context(|| format!("sysbench did not end within {limit:?}"))?
    }

    async fn run_unbounded(&self, target: &Target) -> anyhow::Result<Sample> {
        let mut child = self.command(target).spawn().context("start sysbench")?;
        let mut lines = BufReader::new(child.stdout.take().context("sysbench's output")?).lines();
        let (mut text, mut cpu_before) = (String::new(), None);
        while let Some(line) = lines.next_line().await.context("read sysbench's output")? {
            if line == STARTED {
                cpu_before = target.proxy.map(usage::cpu_time).transpose()?;
                target.proxy.inspect(|pid| usage::forget_peak(*pid));
            }
            text.push_str(&line);
            text.push('\n');
        }
        let status = child.wait().await.context("wait for sysbench")?;
        ensure!(status.success(), "sysbench ended with {status}:\n{text}");
        let outcome = Outcome::parse(&text).with_context(|| format!("sysbench's report:\n{text}"))?;
        let mut sample = outcome.sample();
        if let Some(pid) = target.proxy {
            let before = cpu_before.with_context(|| format!("{STARTED:?} in sysbench's output:\n{text}"))?;
            let used = usage::cpu_time(pid)?.saturating_sub(before);
            sample.cpu_us = used.as_secs_f64() * 1e6 / outcome.events;
            sample.peak_bytes = usage::peak_memory(pid)? as f64;
        }
        Ok(sample)
    }

    fn command(&self, target: &Target) -> Command {
        // setpriv makes the kernel kill sysbench when the benchmark dies without dropping anything.
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL", "--", "sysbench"])
            .arg(self.script)
            .args(["--db-driver=mysql", "--histogram=on", "--events=0"])
            .arg(format!("--mysql-host={}", target.address.ip()))
            .arg(format!("--mysql-port={}", target.address.port()))
            .arg(format!("--mysql-user={}", accounts::APP_USER))
            .arg(format!("--mysql-password={}", accounts::APP_PASSWORD))
            .arg(format!("--mysql-db={}", accounts::APP_DATABASE))
            .arg(format!("--threads={}", self.cell.clients))
            .arg(format!("--time={}", self.seconds))
            .arg(format!("--db-ps-mode={}", self.cell.protocol.argument()))
            .arg(format!("--read={}", self.cell.read.argument()))
            .arg(format!("--rows={}", table::ROWS))
            .arg("run")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            // A Ctrl-C on the terminal is for the benchmark, which then ends what it has started.
            .process_group(0)
            .kill_on_drop(true);
        command
    }
}

/// What is read from sysbench's report.
#[derive(Debug, PartialEq)]
struct Outcome {
    events: f64,
    seconds: f64,
    latency_sum_ms: f64,
    /// Latency in milliseconds and how many queries took it, ascending.
    histogram: Vec<(f64, u64)>,
}

impl Outcome {
    fn parse(text: &str) -> anyhow::Result<Self> {
        let field = |name: &str| {
            let line = text.lines().find_map(|line| line.trim().strip_prefix(name));
            let value = line.with_context(|| format!("no line {name:?}"))?.trim();
            let value = value.trim_end_matches('s').parse::<f64>();
            value.with_context(|| format!("a number in the line {name:?}"))
        };
        let histogram: Vec<_> = text.lines().filter_map(histogram_step).collect();
        let outcome = Self {
            events: field("total number of events:")?,
            seconds: field("total time:")?,
            latency_sum_ms: field("sum:")?,
            histogram,
        };
        if outcome.events < 1.0 || outcome.histogram.is_empty() {
            bail!("no query was answered");
        }
        Ok(outcome)
    }

    fn sample(&self) -> Sample {
        Sample {
            queries_per_second: self.events / self.seconds,
            average_us: self.latency_sum_ms * 1000.0 / self.events,
            p95_us: self.percentile_us(0.95),
            p99_us: self.percentile_us(0.99),
            ..Sample::default()
        }
    }

    fn percentile_us(&self, share: f64) -> f64 {
        let all: u64 = self.histogram.iter().map(|(_, count)| count).sum();
        let wanted = all as f64 * share;
        let mut seen = 0;
        for (latency_ms, count) in &self.histogram {
            seen += count;
            if seen as f64 >= wanted {
                return latency_ms * 1000.0;
            }
        }
        0.0
    }
}

/// A line such as `0.069 |*********      1234`.
fn histogram_step(line: &str) -> Option<(f64, u64)> {
    let (latency_ms, rest) = line.split_once('|')?;
    let count = rest.trim_start_matches('*').trim();
    Some((latency_ms.trim().parse().ok()?, count.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::Outcome;

    const REPORT: &str = "\
Latency histogram (values are in milliseconds)
       value  ------------- distribution ------------- count
       0.100 |*******************************          90
       0.200 |**                                       6
       1.500 |*                                        4

General statistics:
    total time:                          2.0000s
    total number of events:              100

Latency (ms):
         min:                                    0.10
         avg:                                    0.16
         95th percentile:                        0.20
         sum:                                   16.20
";

    #[test]
    fn a_report_of_sysbench_is_read() {
        let sample = Outcome::parse(REPORT).unwrap().sample();
        assert_eq!(sample.queries_per_second, 50.0);
        assert_eq!(sample.average_us, 162.0);
        assert_eq!((sample.p95_us, sample.p99_us), (200.0, 1500.0));
    }
}
