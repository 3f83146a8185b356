//! A deterministic simulation: the production engine against model servers, in virtual time, without sockets.
//!
//! A seed decides everything: the number of servers, their quirks, the network's delays, what breaks and when, what the clients do. The same
//! seed gives the same trace, so a failure is a number. `GROVE_SIM_SEED=n` runs one seed with its full trace, `GROVE_SIM_SEEDS=n` sets the
//! number of seeds, `GROVE_SIM_FIRST=n` the first of them, and with `GROVE_SIM_ALL=1` a failure does not stop the others. Each test has seeds of
//! its own kind: name the test together with `GROVE_SIM_SEED`.
#![allow(clippy::unwrap_used, reason = "a simulation is a test from end to end")]

mod answer;
mod board;
mod client;
mod comebacks;
mod comparison;
mod copy;
mod faults;
mod leg;
mod model;
mod random;
mod refusals;
mod replay;
mod scenario;
mod statements;
mod trace;
mod verdict;
mod workload;
mod world;

use comebacks::Comebacks;
use scenario::{Report, Scenario};
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use trace::Detail;

/// Seeds by default.
const SEEDS: u64 = 2_000;
/// Events that are printed of the first seed that fails.
const LAST_EVENTS: usize = 120;

#[test]
fn the_engine_keeps_its_promises_under_every_schedule() {
    explore(Comebacks::Never, SEEDS);
}

/// Whatever a server that was given up does when it is back, nobody is the worse for it.
#[test]
fn servers_that_come_back_unasked_disturb_nobody() {
    explore(Comebacks::Ignored, SEEDS / 5);
}

#[test]
fn servers_that_come_back_hold_everything_again() {
    explore(Comebacks::Required, SEEDS / 4);
}

fn explore(comebacks: Comebacks, seeds: u64) {
    let run = |seed, detail| Scenario::draw(seed, comebacks).run(detail);
    if let Some(seed) = number("GROVE_SIM_SEED") {
        let report = run(seed, Detail::Full);
        print!("{}", report.trace);
        assert!(report.violations.is_empty(), "{}", complaint(seed, &report));
        return;
    }
    let (next, failed) = (AtomicU64::new(first_seed()), AtomicBool::new(false));
    let end = first_seed() + number("GROVE_SIM_SEEDS").unwrap_or(seeds);
    let totals = Mutex::new(Totals::default());
    let keeps_going = std::env::var_os("GROVE_SIM_ALL").is_some();
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end || (failed.load(Ordering::Relaxed) && !keeps_going) {
                        return;
                    }
                    let report = run(seed, Detail::DigestOnly);
                    if !report.violations.is_empty() {
                        failed.store(true, Ordering::Relaxed);
                    }
                    totals.lock().unwrap().add(seed, report);
                }
            });
        }
    });
    let totals = totals.into_inner().unwrap();
    println!("{}", totals.summary());
    if let Some((&seed, first)) = totals.failures.first_key_value() {
        for (seed, violation) in &totals.failures {
            println!("seed {seed}: {violation}");
        }
        let report = run(seed, Detail::Full);
        let lines: Vec<&str> = report.trace.lines().collect();
        println!("the last events of seed {seed}:");
        lines[lines.len().saturating_sub(LAST_EVENTS)..]
            .iter()
            .for_each(|line| println!("{line}"));
        panic!("seed {seed}: {first}\n{}", complaint(seed, &report));
    }
}

#[test]
fn a_seed_gives_the_same_trace_again() {
    for seed in first_seed()..first_seed() + 40 {
        let run = || Scenario::draw(seed, Comebacks::Never).run(Detail::Full);
        let (first, second) = (run(), run());
        let mut lines = first.trace.lines().zip(second.trace.lines());
        let differs = lines.find(|(first, second)| first != second);
        assert_eq!(
            first.digest, second.digest,
            "seed {seed} took another way the second time: {differs:#?}"
        );
    }
}

fn first_seed() -> u64 {
    number("GROVE_SIM_FIRST").unwrap_or(1)
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

fn complaint(seed: u64, report: &Report) -> String {
    let violations = report.violations.join("\n  ");
    format!("seed {seed} (again with GROVE_SIM_SEED={seed}):\n  {violations}")
}

#[derive(Default)]
struct Totals {
    seeds: u64,
    commits: u64,
    evictions: u64,
    deadlocks: u64,
    restarts: u64,
    events: u64,
    virtual_ms: u64,
    errors: BTreeMap<u16, u64>,
    failures: BTreeMap<u64, String>,
}

impl Totals {
    fn add(&mut self, seed: u64, report: Report) {
        self.seeds += 1;
        self.commits += report.commits;
        self.evictions += report.evictions;
        self.deadlocks += report.deadlocks;
        self.restarts += report.restarts;
        self.events += report.digest.0;
        self.virtual_ms += report.virtual_ms;
        for (code, count) in report.errors {
            *self.errors.entry(code).or_default() += count;
        }
        if let Some(violation) = report.violations.into_iter().next() {
            self.failures.insert(seed, violation);
        }
    }

    fn summary(&self) -> String {
        format!(
            "{} seeds, {} failed: {} commits, {} evictions, {} deadlocks, {} restarts of followers, {} events, {} s of virtual time, errors to clients {:?}",
            self.seeds,
            self.failures.len(),
            self.commits,
            self.evictions,
            self.deadlocks,
            self.restarts,
            self.events,
            self.virtual_ms / 1000,
            self.errors
        )
    }
}
