//! A bank with known totals, whose clients survive the loss of the proxy.
//!
//! Clients transfer money between accounts, in transactions that deadlock now and then, and leave a receipt in each. A client that is told 1213 or 1205 does
//! the same again. One whose connection breaks connects again and finds out by its receipt whether its last commit was done: what was acknowledged must be there,
//! what was not may be there, wholly or not at all. A connection may only be lost when the test said before that Grove would go, see [`Bank::grove_goes`].
//! In the end every receipt, balance and counter is known exactly, and is looked up on each server ([`Bank::finish`]).
//!
//! Deliberately absent: statements that differ between servers, DDL, and errors of any other kind: those are what the hunt is for.

mod audit;
mod client;
mod shared;
mod statement;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use mysql_async::{Conn, Opts};
use tokio::task::JoinSet;

use crate::equality::Subject;
use audit::Account;
use client::Client;
use shared::Shared;

/// What to run.
#[derive(Clone, Debug)]
pub struct BankOptions {
    /// How many clients at a time.
    pub clients: u32,
    /// How many accounts: the fewer, the more deadlocks.
    pub accounts: u32,
    /// How long a client may rest after each order: zero for all that the servers can take, which a server that comes back may then never catch up with.
    pub longest_rest: Duration,
    /// Decides every client's statements.
    pub seed: u64,
}

impl BankOptions {
    /// Eight clients, thirty accounts, and a machine that is not at its limit.
    pub fn new(seed: u64) -> Self {
        Self {
            clients: 8,
            accounts: 30,
            longest_rest: Duration::from_millis(80),
            seed,
        }
    }
}

/// A bank that is open.
#[derive(Debug)]
pub struct Bank {
    shared: Arc<Shared>,
    clients: JoinSet<Account>,
}

impl Bank {
    /// Creates the tables through `opts` and sets the clients off.
    pub async fn open(opts: Opts, options: &BankOptions) -> anyhow::Result<Self> {
        let mut conn = Conn::new(opts.clone()).await.context("connect for the set-up")?;
        audit::create(&mut conn, options)
            .await
            .context("create the bank's tables")?;
        conn.disconnect().await?;
        let shared = Arc::new(Shared::new(options, opts));
        let mut clients = JoinSet::new();
        for number in 0..options.clients {
            let shared = Arc::clone(&shared);
            clients.spawn(async move { Client::new(number, shared).run().await });
        }
        Ok(Self { shared, clients })
    }

    /// How it goes.
    pub fn progress(&self) -> Progress {
        self.shared.progress()
    }

    /// From now on connections to Grove may break, until [`Bank::grove_is_at`]. To be called before Grove is killed.
    pub fn grove_goes(&self) {
        self.shared.grove_goes();
    }

    /// Grove runs again, at this address.
    pub fn grove_is_at(&self, opts: Opts) {
        self.shared.grove_is_at(opts);
    }

    /// Lets the clients work for this long, or until one of them fails.
    pub async fn run_for(&self, time: Duration) {
        let deadline = tokio::time::Instant::now() + time;
        while tokio::time::Instant::now() < deadline && !self.shared.has_failed() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until this many more commits were acknowledged: the proof that work goes on.
    pub async fn wait_for_commits(&self, more: u64, limit: Duration) -> anyhow::Result<()> {
        let goal = self.shared.commits() + more;
        let deadline = tokio::time::Instant::now() + limit;
        while self.shared.commits() < goal {
            let progress = self.progress();
            ensure!(progress.failure.is_none(), "{progress}");
            ensure!(
                tokio::time::Instant::now() < deadline,
                "{} of {more} commits are missing after {limit:?}: {progress}",
                goal.saturating_sub(self.shared.commits())
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// Stops the clients at the end of their transactions and looks everything up: through Grove, and on every one of these servers.
    pub async fn finish(mut self, servers: &[Subject]) -> Progress {
        self.shared.stop();
        let mut accounts = Vec::new();
        while let Some(client) = self.clients.join_next().await {
            match client {
                Ok(account) => accounts.push(account),
                Err(error) => self.shared.fail(format!("a client's task ended: {error}")),
            }
        }
        if self.shared.has_failed() {
            return self.progress();
        }
        let grove = self.shared.address().1.map(|opts| Subject {
            name: "Grove".to_owned(),
            opts,
        });
        if grove.is_none() {
            self.shared.fail("Grove is away at the end".to_owned());
        }
        for subject in grove.iter().chain(servers) {
            let audited = audit::audit(&subject.opts, &accounts, &self.shared.options).await;
            if let Err(error) = audited {
                self.shared.fail(format!("on {}: {error:#}", subject.name));
            }
        }
        self.progress()
    }
}

/// How a bank goes, or went.
#[derive(Clone, Debug)]
pub struct Progress {
    /// The seed.
    pub seed: u64,
    /// Acknowledged commits.
    pub commits: u64,
    /// Orders that were under way when a connection was lost, and that had been done.
    pub doubtful_done: u64,
    /// Orders that were under way when a connection was lost, and that had not been done.
    pub doubtful_undone: u64,
    /// Transactions that were told 1213 or 1205 and tried again.
    pub retries: u64,
    /// Connections that broke while Grove should have been there: must be 0.
    pub losses: u64,
    /// Connections that broke because Grove was gone.
    pub losses_with_grove: u64,
    /// Clients that gave up, because they were told what no single server would have told them.
    pub clients_failed: u64,
    /// The longest time without a success of any client, including that which passes now.
    pub longest_gap: Duration,
    /// The first thing that went wrong.
    pub failure: Option<String>,
}

impl Progress {
    /// Errors that clients saw. Deadlocks are none: every application has to try again after them, and every server has them.
    pub fn errors(&self) -> u64 {
        self.losses + self.clients_failed
    }

    /// Panics unless nothing went wrong and enough was done.
    pub fn assert_clean(&self, least_commits: u64) {
        assert!(self.failure.is_none() && self.losses == 0, "{self}");
        assert!(
            self.commits >= least_commits,
            "{least_commits} commits were expected: {self}"
        );
    }
}

impl std::fmt::Display for Progress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "seed {}: {} commits, {} retries, {} connections lost, {} lost with Grove ({} orders in doubt were done, {} were not), longest gap {:?}",
            self.seed,
            self.commits,
            self.retries,
            self.losses,
            self.losses_with_grove,
            self.doubtful_done,
            self.doubtful_undone,
            self.longest_gap
        )?;
        match &self.failure {
            Some(failure) => write!(f, "\nFAILED with seed {}: {failure}", self.seed),
            None => Ok(()),
        }
    }
}
