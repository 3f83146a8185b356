//! One client of the hunt: what it does, and the account it keeps of what was acknowledged.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Opts, Params, Row};

use super::history::History;
use super::shared::{Shared, lock};
use super::statement::Statement;
use super::verdict::{self, Verdict};
use super::{steps, writes};
use crate::Random;

/// Longer than any lock wait: a client that waits so long is hanging.
const ANSWER_LIMIT: Duration = Duration::from_secs(90);

/// A client and its account.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) number: u32,
    /// Acknowledged additions to its row of `ledger`.
    pub(super) commits: u64,
    /// Acknowledged rows of `receipt`, numbered from 1.
    pub(super) receipts: u64,
    pub(super) random: Random,
    pub(super) shared: Arc<Shared>,
    opts: Opts,
    history: Arc<Mutex<History>>,
    /// The highest value of the pulse that it has seen.
    pub(super) pulse: u64,
}

/// Something that no single server would have done; ends the hunt.
#[derive(Debug)]
pub(super) struct Failure(pub(super) String);

/// How a statement ended, when nothing is wrong.
#[derive(Debug)]
pub(super) enum Outcome {
    Done {
        rows: Vec<Row>,
        affected: u64,
    },
    /// The transaction is gone.
    Lost,
    /// Only the statement was undone.
    Failed(u16),
}

/// How a transaction was begun, and so how it must be ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    Explicit,
    AutocommitOff,
}

impl Client {
    pub(super) fn new(number: u32, opts: Opts, shared: Arc<Shared>) -> Self {
        let seed = shared.seed.wrapping_mul(1_000_003).wrapping_add(u64::from(number));
        Self {
            number,
            commits: 0,
            receipts: 0,
            random: Random::new(seed),
            history: shared.history(number),
            shared,
            opts,
            pulse: 0,
        }
    }

    /// Works until the hunt stops, and comes back with its account.
    pub(super) async fn run(mut self) -> Self {
        let shared = Arc::clone(&self.shared);
        if let Err(Failure(failure)) = self.work().await {
            let history = lock(&self.history).last(60);
            shared.fail(format!("client {}: {failure}\n  its history:\n{history}", self.number));
        }
        self
    }

    async fn work(&mut self) -> Result<(), Failure> {
        let connecting = tokio::time::timeout(ANSWER_LIMIT, Conn::new(self.opts.clone())).await;
        let conn = connecting
            .map_err(|_| Failure(format!("no connection after {ANSWER_LIMIT:?}")))?
            .map_err(|error| Failure(format!("connect: {error}")))?;
        let mut session = Session { client: self, conn };
        session.must("USE hunt").await?;
        session
            .must("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            .await?;
        // A row lock and a metadata lock can wait for each other, which no server detects: such waits must end within the hunt.
        session
            .must("SET SESSION innodb_lock_wait_timeout = 4, SESSION lock_wait_timeout = 4")
            .await?;
        while !session.client.shared.is_stopping() {
            session.unit().await?;
        }
        session
            .conn
            .disconnect()
            .await
            .map_err(|error| Failure(format!("disconnect: {error}")))
    }
}

/// A client with its connection.
pub(super) struct Session<'a> {
    pub(super) client: &'a mut Client,
    conn: Conn,
}

impl Session<'_> {
    async fn unit(&mut self) -> Result<(), Failure> {
        if self.client.random.chance(self.client.shared.ddl_percent) {
            let ddl = steps::ddl(&mut self.client.random);
            return self.run(&ddl).await.map(drop);
        }
        match self.client.random.below(100) {
            0..62 => self.transaction().await,
            62..74 => self.autocommit_write().await,
            74..78 => self.autocommit_account().await,
            78..86 => self.transfer().await,
            86..92 => self.snapshot_stands_still().await,
            92..97 => self.pulse().await,
            _ => self.money_is_conserved().await,
        }
    }

    /// A transaction of a few statements.
    async fn transaction(&mut self) -> Result<(), Failure> {
        let style = self.begin().await?;
        let accounts_first = self.client.random.chance(50);
        if accounts_first && !self.account().await? {
            return self.abandon(style).await;
        }
        let mut has_savepoint = false;
        for _ in 0..self.client.random.between(1, 5) {
            let savepoint = match self.client.random.below(100) {
                0..8 => Some("SAVEPOINT here"),
                8..24 if has_savepoint => Some("ROLLBACK TO SAVEPOINT here"),
                24..28 if has_savepoint => Some("RELEASE SAVEPOINT here"),
                _ => None,
            };
            if let Some(sql) = savepoint {
                match self.text(sql).await? {
                    Outcome::Done { .. } => has_savepoint = !sql.starts_with("RELEASE"),
                    // The transaction may have been lost with a server.
                    Outcome::Lost => return self.abandon(style).await,
                    Outcome::Failed(code) => return Err(Failure(format!("{sql} answered {code}"))),
                }
            }
            let tables = self.client.shared.temporary_tables;
            for statement in steps::inside_transaction(&mut self.client.random, self.client.number, tables) {
                match self.run(&statement).await? {
                    Outcome::Lost => return self.abandon(style).await,
                    // After a timeout a client may give up or go on; after other errors most go on.
                    Outcome::Failed(verdict::LOCK_WAIT_TIMEOUT) if self.client.random.chance(50) => {
                        return self.abandon(style).await;
                    }
                    Outcome::Failed(_) if self.client.random.chance(10) => return self.abandon(style).await,
                    Outcome::Failed(_) | Outcome::Done { .. } => {}
                }
            }
        }
        if self.client.random.chance(12) {
            self.client.shared.count_rollback();
            return self.abandon(style).await;
        }
        if !accounts_first && !self.account().await? {
            return self.abandon(style).await;
        }
        self.commit(style).await
    }

    pub(super) async fn begin(&mut self) -> Result<Style, Failure> {
        let choices = [
            "BEGIN",
            "START TRANSACTION",
            "START TRANSACTION WITH CONSISTENT SNAPSHOT",
            "SET autocommit = 0",
        ];
        let choice = *self.client.random.pick(&choices);
        self.must(choice).await?;
        Ok(if choice.starts_with("SET") {
            Style::AutocommitOff
        } else {
            Style::Explicit
        })
    }

    /// Writes down, inside the transaction, that it was committed. False when the transaction must be given up.
    pub(super) async fn account(&mut self) -> Result<bool, Failure> {
        let (client, next) = (self.client.number, self.client.receipts + 1);
        let statements = [
            format!("UPDATE ledger SET commits = commits + 1 WHERE client = {client}"),
            format!("INSERT INTO receipt (client, number) VALUES ({client}, {next})"),
        ];
        for sql in statements {
            match self.text(&sql).await? {
                Outcome::Done { affected: 1, .. } => {}
                Outcome::Done { affected, .. } => return Err(Failure(format!("{sql}: {affected} rows instead of 1"))),
                Outcome::Lost | Outcome::Failed(_) => return Ok(false),
            }
        }
        if self.client.random.chance(30) {
            return self.own_account_is(self.client.commits + 1, next).await;
        }
        Ok(true)
    }

    pub(super) async fn commit(&mut self, style: Style) -> Result<(), Failure> {
        match self.text("COMMIT").await? {
            Outcome::Done { .. } => {}
            Outcome::Lost => return self.abandon(style).await,
            Outcome::Failed(code) => return Err(Failure(format!("COMMIT answered {code}"))),
        }
        self.client.commits += 1;
        self.client.receipts += 1;
        self.client.shared.count_commit();
        if style == Style::AutocommitOff {
            self.must("SET autocommit = 1").await?;
        }
        if self.client.random.chance(40) {
            self.own_account_is(self.client.commits, self.client.receipts).await?;
        }
        Ok(())
    }

    /// Ends a transaction without its changes. After a deadlock there is nothing to roll back, but most clients say it all the same.
    pub(super) async fn abandon(&mut self, style: Style) -> Result<(), Failure> {
        self.must("ROLLBACK").await?;
        if style == Style::AutocommitOff {
            self.must("SET autocommit = 1").await?;
        }
        if self.client.random.chance(20) {
            self.own_account_is(self.client.commits, self.client.receipts).await?;
        }
        Ok(())
    }

    async fn autocommit_write(&mut self) -> Result<(), Failure> {
        let statement = writes::write(&mut self.client.random, self.client.number);
        if let Outcome::Done { .. } = self.run(&statement).await? {
            self.client.shared.count_commit();
        }
        Ok(())
    }

    /// One autocommit write of the kind that is counted: it must not be lost, and not be applied twice.
    async fn autocommit_account(&mut self) -> Result<(), Failure> {
        let (client, next) = (self.client.number, self.client.receipts + 1);
        let is_receipt = self.client.random.chance(50);
        let sql = match is_receipt {
            true => format!("INSERT INTO receipt (client, number) VALUES ({client}, {next})"),
            false => format!("UPDATE ledger SET commits = commits + 1 WHERE client = {client}"),
        };
        if let Outcome::Done { .. } = self.text(&sql).await? {
            let counter = match is_receipt {
                true => &mut self.client.receipts,
                false => &mut self.client.commits,
            };
            *counter += 1;
            self.client.shared.count_commit();
        }
        self.own_account_is(self.client.commits, self.client.receipts)
            .await
            .map(drop)
    }

    /// Runs a statement of the text protocol that no mistake is expected of.
    pub(super) async fn text(&mut self, sql: &str) -> Result<Outcome, Failure> {
        self.run(&Statement {
            sql: sql.to_owned(),
            params: None,
            expected: &[],
        })
        .await
    }

    /// Runs a statement that cannot fail on any server.
    pub(super) async fn must(&mut self, sql: &str) -> Result<(), Failure> {
        match self.text(sql).await? {
            Outcome::Done { .. } => Ok(()),
            other => Err(Failure(format!("{sql} ended with {other:?}"))),
        }
    }

    pub(super) async fn run(&mut self, statement: &Statement) -> Result<Outcome, Failure> {
        let sql = &statement.sql;
        match &statement.params {
            None => lock(&self.client.history).begin(sql),
            Some(params) => {
                let values: Vec<String> = params.iter().map(|value| value.as_sql(true)).collect();
                lock(&self.client.history).begin(&format!("{sql} with {}", values.join(", ")));
            }
        }
        let execution = async {
            match &statement.params {
                None => self.conn.query::<Row, _>(sql.as_str()).await,
                Some(params) => {
                    let params = Params::Positional(params.clone());
                    self.conn.exec::<Row, _, _>(sql.as_str(), params).await
                }
            }
        };
        let begun = Instant::now();
        let Ok(result) = tokio::time::timeout(ANSWER_LIMIT, execution).await else {
            return Err(Failure(format!("{sql}: no answer after {ANSWER_LIMIT:?}")));
        };
        let number = self.client.number;
        let step = || {
            let end = result.as_ref().err().map_or("ok".to_owned(), ToString::to_string);
            format!("client {number}: {sql} -> {end}")
        };
        self.client.shared.note_step(begun.elapsed(), step);
        let error = match result {
            Ok(rows) => {
                let affected = self.conn.affected_rows();
                lock(&self.client.history).end(format!("{} rows, {affected} affected", rows.len()));
                return Ok(Outcome::Done { rows, affected });
            }
            Err(error) => error,
        };
        lock(&self.client.history).end(error.to_string());
        let verdict = verdict::judge(&error, statement.expected);
        if verdict != Verdict::Wrong {
            self.client.shared.count_error(verdict::kind_of(&error));
        }
        match verdict {
            Verdict::TransactionLost(code) => {
                if code == verdict::DEADLOCK {
                    self.client.shared.count_deadlock();
                }
                Ok(Outcome::Lost)
            }
            Verdict::StatementFailed(code) => Ok(Outcome::Failed(code)),
            Verdict::Wrong => Err(Failure(format!("{sql}: {error}"))),
        }
    }
}
