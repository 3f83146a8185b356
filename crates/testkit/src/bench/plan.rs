//! Which cells are measured, for how long and how often; the environment can make it shorter.

use std::fmt;
use std::str::FromStr;

use anyhow::{Context, ensure};

/// What to measure.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Time of one cell on one target, in seconds: `BENCH_SECONDS`.
    pub seconds: u32,
    /// How often everything is measured: `BENCH_ROUNDS`.
    pub rounds: u32,
    /// Numbers of clients, separated by commas: `BENCH_CLIENTS`.
    pub clients: Vec<u32>,
    /// Idle clients whose memory is measured; 0 leaves it out: `BENCH_IDLE`.
    pub idle_clients: u32,
    /// Whether crowds of clients are let loose: `BENCH_CROWDS`, 1 or 0.
    pub crowds: bool,
}

impl Plan {
    /// The plan that the environment asks for.
    pub fn from_environment() -> anyhow::Result<Self> {
        let clients: String = variable("BENCH_CLIENTS", "1,8,64")?;
        let clients: Result<Vec<u32>, _> = clients.split(',').map(|number| number.trim().parse()).collect();
        let plan = Self {
            seconds: variable("BENCH_SECONDS", "3")?,
            rounds: variable("BENCH_ROUNDS", "3")?,
            clients: clients.context("BENCH_CLIENTS is not a list of numbers such as 1,8,64")?,
            idle_clients: variable("BENCH_IDLE", "1000")?,
            crowds: variable::<u8>("BENCH_CROWDS", "1")? > 0,
        };
        ensure!(
            plan.seconds > 0 && plan.rounds > 0,
            "BENCH_SECONDS and BENCH_ROUNDS begin at 1"
        );
        ensure!(
            plan.clients.iter().all(|clients| (1..=256).contains(clients)),
            "BENCH_CLIENTS are between 1 and 256"
        );
        Ok(plan)
    }

    /// Every combination.
    pub(super) fn cells(&self) -> Vec<Cell> {
        let mut cells = Vec::new();
        for read in [Read::Point, Read::Range, Read::Large] {
            for protocol in [Protocol::Text, Protocol::Prepared] {
                for clients in &self.clients {
                    cells.push(Cell {
                        read,
                        protocol,
                        clients: *clients,
                    });
                }
            }
        }
        cells
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, rounds) = (self.seconds, self.rounds);
        write!(out, "{rounds} rounds of {seconds} s for each cell and target.")
    }
}

/// One combination of what is read, how, and by how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cell {
    pub(super) read: Read,
    pub(super) protocol: Protocol,
    pub(super) clients: u32,
}

impl fmt::Display for Cell {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "{}, {}, {} clients",
            self.read.title(),
            self.protocol.title(),
            self.clients
        )
    }
}

/// What one query reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Read {
    /// One row by primary key.
    Point,
    /// 100 rows of about 120 bytes.
    Range,
    /// 10,000 rows of about 15 bytes: the number of rows is what costs a proxy that looks at each of them.
    Large,
}

impl Read {
    /// Its name in reports.
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Point => "point select",
            Self::Range => "100 rows",
            Self::Large => "10,000 rows",
        }
    }

    /// Its name in `benches/reads.lua`.
    pub(super) fn argument(self) -> &'static str {
        match self {
            Self::Point => "point",
            Self::Range => "range",
            Self::Large => "large",
        }
    }
}

/// How a query is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    /// COM_QUERY.
    Text,
    /// COM_STMT_EXECUTE of a statement that was prepared once.
    Prepared,
}

impl Protocol {
    /// Its name in reports.
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Prepared => "prepared",
        }
    }

    /// Its value of sysbench's `--db-ps-mode`.
    pub(super) fn argument(self) -> &'static str {
        match self {
            Self::Text => "disable",
            Self::Prepared => "auto",
        }
    }
}

fn variable<T>(name: &str, default: &str) -> anyhow::Result<T>
where
    T: FromStr,
    T::Err: std::error::Error + Send + Sync + 'static,
{
    let text = std::env::var(name).unwrap_or_else(|_| default.to_owned());
    text.parse().with_context(|| format!("{name}={text}"))
}
