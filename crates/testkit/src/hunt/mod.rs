//! The divergence hunt: many clients with random conflicting transactions, then a comparison of every table on every server.
//!
//! Each client draws its statements from a generator seeded by the hunt's seed and the client's number, in REPEATABLE READ over a few
//! small tables, so that conflicts, deadlocks, gap locks and failing statements are common. A client accepts the errors that a single
//! server gives for the statement at hand, and 1213 and 1205; everything else is a failure. On the way it checks what it can know:
//! money is conserved, its own writes are there, snapshots stand still, time never goes backwards. In the end every acknowledged
//! commit must be there once. Absent on purpose: statements that `docs/consistency.md` calls unsafe.

mod client;
mod history;
mod reads;
mod schema;
mod shared;
mod statement;
mod steps;
mod verdict;
mod writes;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use mysql_async::{Conn, Opts};
use tokio::task::JoinSet;

use crate::equality::Comparison;
use crate::{Cluster, Random};
use client::Client;
use shared::Shared;

/// What to run.
#[derive(Clone, Debug)]
pub struct HuntOptions {
    /// How many clients at a time.
    pub clients: u32,
    /// Decides every client's statements.
    pub seed: u64,
    /// How many of 100 units of work are DDL.
    pub ddl_percent: u64,
    /// Whether clients use temporary tables.
    pub temporary_tables: TemporaryTables,
}

/// Whether clients use temporary tables: a session that has one does not survive the loss of a connection to a server that lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TemporaryTables {
    /// Now and then.
    Used,
    /// Never.
    Unused,
}

impl HuntOptions {
    /// Twelve clients and a little DDL.
    pub fn new(seed: u64) -> Self {
        Self {
            clients: 12,
            seed,
            ddl_percent: 1,
            temporary_tables: TemporaryTables::Used,
        }
    }

    /// The same without temporary tables.
    pub fn without_temporary_tables(mut self) -> Self {
        self.temporary_tables = TemporaryTables::Unused;
        self
    }
}

/// A hunt under way.
#[derive(Debug)]
pub struct Hunt {
    shared: Arc<Shared>,
    opts: Opts,
    clients: JoinSet<Client>,
}

impl Hunt {
    /// Creates the tables through `opts` and sets the clients off.
    pub async fn start(opts: Opts, options: &HuntOptions) -> anyhow::Result<Self> {
        let mut conn = Conn::new(opts.clone()).await.context("connect for the set-up")?;
        schema::create(&mut conn, options.clients)
            .await
            .context("create the hunt's tables")?;
        conn.disconnect().await?;
        let shared = Arc::new(Shared::new(options));
        let mut clients = JoinSet::new();
        for number in 0..options.clients {
            let (opts, shared) = (opts.clone(), Arc::clone(&shared));
            clients.spawn(async move { Client::new(number, opts, shared).run().await });
        }
        Ok(Self { shared, opts, clients })
    }

    /// How many commits were acknowledged so far.
    pub fn commits(&self) -> u64 {
        self.shared.commits()
    }

    /// Whether a client has seen something wrong.
    pub fn has_failed(&self) -> bool {
        self.shared.has_failed()
    }

    /// Lets the clients work for this long, or until one of them fails.
    pub async fn run_for(&self, time: Duration) {
        let deadline = tokio::time::Instant::now() + time;
        while tokio::time::Instant::now() < deadline && !self.has_failed() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Lets the clients work for this long while connections to the servers are cut, five a second. A server whose connection is cut
    /// in the middle of a COMMIT or a DDL statement may be evicted; the last one is left alone.
    pub async fn run_while_cutting(
        &self,
        cluster: &Cluster,
        time: Duration,
        random: &mut Random,
    ) -> anyhow::Result<()> {
        let deadline = tokio::time::Instant::now() + time;
        while tokio::time::Instant::now() < deadline && !self.has_failed() {
            let online = cluster.online().await?;
            if online.len() > 1 {
                cluster
                    .cut_a_connection(online[random.below(online.len() as u64) as usize], random)
                    .await?;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        Ok(())
    }

    /// Lets the clients work for this long while servers stand still now and then, each for less than makes Grove give it up. Ends early when a
    /// server is evicted.
    pub async fn run_while_stalling(
        &self,
        cluster: &Cluster,
        time: Duration,
        random: &mut Random,
    ) -> anyhow::Result<()> {
        let deadline = tokio::time::Instant::now() + time;
        let everyone = cluster.servers().len();
        while tokio::time::Instant::now() < deadline && !self.has_failed() {
            if cluster.online().await?.len() < everyone {
                break;
            }
            let server = random.pick(cluster.servers());
            server.pause();
            tokio::time::sleep(Duration::from_millis(random.between(100, 2500))).await;
            server.resume();
            let next = tokio::time::Instant::now() + Duration::from_millis(random.between(100, 1500));
            while tokio::time::Instant::now() < next && cluster.online().await?.len() == everyone {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        Ok(())
    }

    /// Waits until this many more commits were acknowledged: the proof that work goes on.
    pub async fn wait_for_commits(&self, more: u64, limit: Duration) -> anyhow::Result<()> {
        let goal = self.commits() + more;
        let deadline = tokio::time::Instant::now() + limit;
        while self.commits() < goal && !self.has_failed() {
            anyhow::ensure!(
                tokio::time::Instant::now() < deadline,
                "seed {}: only {} of {more} commits within {limit:?}\n{}",
                self.shared.seed,
                more - (goal - self.commits()),
                self.shared.last_steps_of_all()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// Stops the clients at the end of their transactions and checks that every acknowledged commit is there once.
    pub async fn finish(mut self) -> Report {
        self.shared.stop();
        let mut finished = Vec::new();
        while let Some(client) = self.clients.join_next().await {
            match client {
                Ok(client) => finished.push(client),
                Err(error) => self.shared.fail(format!("a client's task ended: {error}")),
            }
        }
        if !self.has_failed()
            && let Err(error) = reads::check_ledger(&self.opts, &finished, &self.shared).await
        {
            self.shared.fail(format!("{error:#}"));
        }
        self.shared.report()
    }
}

/// How a hunt went.
#[derive(Clone, Debug)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// Acknowledged units of work that wrote.
    pub commits: u64,
    /// Transactions that the clients rolled back themselves.
    pub rollbacks: u64,
    /// Errors that a single server gives too: how often, by code and beginning of the message.
    pub errors: Vec<(String, u64)>,
    /// Transactions that ended with 1213.
    pub deadlocks: u64,
    /// The longest time without an acknowledged commit.
    pub longest_pause: Duration,
    /// The step that took longest, with its time.
    pub slowest: (Duration, String),
    /// The first thing that went wrong, with what the client did before.
    pub failure: Option<String>,
}

impl Report {
    /// Panics unless nothing went wrong, enough was done, and the servers are equal.
    pub fn assert_clean(&self, comparison: &Comparison, least_commits: u64) {
        assert!(self.failure.is_none(), "{self}");
        assert!(
            comparison.differences.is_empty(),
            "{self}\nthe servers differ:\n{}",
            comparison.differences.join("\n")
        );
        assert!(comparison.tables > 0, "{self}\nno table was compared");
        assert!(
            self.commits >= least_commits,
            "{self}\nonly {} commits, {least_commits} expected",
            self.commits
        );
    }
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(
            f,
            "seed {}: {} commits, {} rollbacks, {} deadlocks, longest pause {:?}",
            self.seed, self.commits, self.rollbacks, self.deadlocks, self.longest_pause
        )?;
        for (error, count) in &self.errors {
            writeln!(f, "  {count:>6} x {error}")?;
        }
        writeln!(f, "  slowest step, {:?}: {}", self.slowest.0, self.slowest.1)?;
        match &self.failure {
            Some(failure) => write!(f, "FAILED with seed {}: {failure}", self.seed),
            None => write!(f, "no client saw anything wrong"),
        }
    }
}
