//! One client of the bank: what it does, tries again, and finds out after its connection was lost.

use std::sync::Arc;
use std::time::{Duration, Instant};

use mysql_async::Conn;
use mysql_async::prelude::Queryable;

use super::audit::{Account, ROWS_OF_A_BATCH};
use super::shared::Shared;
use super::statement::{Protocol, Trouble, change};
use crate::Random;

/// Longer than any lock wait: a client that waits so long is hanging.
const ANSWER_LIMIT: Duration = Duration::from_secs(60);
/// How long a client tries to get a connection.
const CONNECT_LIMIT: Duration = Duration::from_secs(60);
const CONNECT_PAUSE: Duration = Duration::from_millis(50);
/// A transfer that was tried so often does not meet chance any more.
const MOST_ATTEMPTS: u32 = 500;

/// A client and its account.
#[derive(Debug)]
pub(super) struct Client {
    account: Account,
    random: Random,
    shared: Arc<Shared>,
}

/// Something to do, decided once and then tried until it is done.
#[derive(Clone, Copy, Debug)]
enum Order {
    /// A transaction that leaves a receipt.
    Transfer {
        source: i64,
        target: i64,
        amount: i64,
        locks_first: bool,
        protocol: Protocol,
    },
    /// One autocommit statement that inserts some rows.
    Batch(Protocol),
    /// One autocommit statement that changes two rows. Whether it was done shows in nothing but the sum that it keeps.
    Shift {
        source: i64,
        target: i64,
        amount: i64,
        protocol: Protocol,
    },
}

impl Client {
    pub(super) fn new(number: u32, shared: Arc<Shared>) -> Self {
        let seed = shared
            .options
            .seed
            .wrapping_mul(1_000_003)
            .wrapping_add(u64::from(number));
        Self {
            account: Account {
                client: number,
                ..Account::default()
            },
            random: Random::new(seed),
            shared,
        }
    }

    /// Works until the bank closes, and comes back with its account.
    pub(super) async fn run(mut self) -> Account {
        if let Err(failure) = self.work().await {
            let client = self.account.client;
            self.shared.count_failed_client();
            self.shared.fail(format!("client {client}: {failure}"));
        }
        self.account
    }

    async fn work(&mut self) -> Result<(), String> {
        let (mut number, mut conn) = self.connect().await?;
        while !self.shared.is_stopping() {
            let order = self.order();
            let mut attempts = 0;
            loop {
                attempts += 1;
                let attempt = tokio::time::timeout(ANSWER_LIMIT, self.attempt(&mut conn, order)).await;
                match attempt.map_err(|_| format!("{order:?}: no end after {ANSWER_LIMIT:?}"))? {
                    Ok(()) => {
                        self.acknowledged(order);
                        break;
                    }
                    Err(Trouble::TryAgain) if attempts < MOST_ATTEMPTS => {
                        self.shared.count_retry();
                        let jitter = self.random.below(u64::from(attempts.min(20)) * 2);
                        tokio::time::sleep(Duration::from_millis(jitter)).await;
                    }
                    Err(Trouble::TryAgain) => return Err(format!("{order:?} was tried {attempts} times")),
                    Err(Trouble::Wrong(failure)) => return Err(failure),
                    Err(Trouble::Lost(what)) => {
                        self.shared.count_loss(number);
                        let was_done;
                        (number, conn, was_done) = self.recover(order, what).await?;
                        if was_done {
                            break;
                        }
                    }
                }
            }
            let longest = self.shared.options.longest_rest.as_millis() as u64;
            let rest = Duration::from_millis(self.random.between(0, longest));
            tokio::time::sleep(rest).await;
        }
        // Grove may be gone by now; there is nothing left that it could lose.
        let _ = conn.disconnect().await;
        Ok(())
    }

    fn order(&mut self) -> Order {
        let accounts = u64::from(self.shared.options.accounts);
        let source = self.random.below(accounts);
        let target = (source + self.random.between(1, accounts - 1)) % accounts;
        let (mut source, mut target) = (source as i64, target as i64);
        // Half of the transfers take their locks in one order, and meet no deadlock among themselves.
        if self.random.chance(50) && source > target {
            (source, target) = (target, source);
        }
        let amount = self.random.between(1, 100) as i64;
        let protocol = match self.random.chance(50) {
            true => Protocol::Text,
            false => Protocol::Prepared,
        };
        match self.random.below(100) {
            0..70 => Order::Transfer {
                source,
                target,
                amount,
                locks_first: self.random.chance(20),
                protocol,
            },
            70..85 => Order::Batch(protocol),
            _ => Order::Shift {
                source,
                target,
                amount,
                protocol,
            },
        }
    }

    async fn attempt(&mut self, conn: &mut Conn, order: Order) -> Result<(), Trouble> {
        let result = self.statements(conn, order).await;
        if let (Err(Trouble::TryAgain), Order::Transfer { .. }) = (&result, order) {
            // After 1205 the transaction is still there.
            change(conn, Protocol::Text, "ROLLBACK", &[], 0).await?;
        }
        result
    }

    async fn statements(&mut self, conn: &mut Conn, order: Order) -> Result<(), Trouble> {
        let client = i64::from(self.account.client);
        let (receipt, batch) = (self.account.receipts as i64 + 1, self.account.batches as i64 + 1);
        match order {
            Order::Transfer {
                source,
                target,
                amount,
                locks_first,
                protocol,
            } => {
                change(conn, Protocol::Text, "BEGIN", &[], 0).await?;
                if locks_first {
                    let sql = format!("SELECT balance FROM account WHERE id IN ({source}, {target}) FOR UPDATE");
                    let rows: Vec<i64> = conn.query(&sql).await.map_err(|error| Trouble::of(&sql, error))?;
                    if rows.len() != 2 {
                        return Err(Trouble::Wrong(format!("{sql}: {rows:?}")));
                    }
                }
                let update = "UPDATE account SET balance = balance + ? WHERE id = ?";
                change(conn, protocol, update, &[-amount, source], 1).await?;
                change(conn, protocol, update, &[amount, target], 1).await?;
                let insert = "INSERT INTO receipt (client, number, source, target, amount) VALUES (?, ?, ?, ?, ?)";
                change(conn, protocol, insert, &[client, receipt, source, target, amount], 1).await?;
                let count = "UPDATE counter SET receipts = receipts + 1 WHERE client = ?";
                change(conn, protocol, count, &[client], 1).await?;
                change(conn, Protocol::Text, "COMMIT", &[], 0).await
            }
            Order::Batch(protocol) => {
                let sql = "INSERT INTO batch (client, number) VALUES (?, ?), (?, ?), (?, ?)";
                let values = [client, batch, client, batch, client, batch];
                change(conn, protocol, sql, &values, ROWS_OF_A_BATCH).await
            }
            Order::Shift {
                source,
                target,
                amount,
                protocol,
            } => {
                let sql = "UPDATE drawer SET amount = amount + CASE id WHEN ? THEN ? ELSE ? END WHERE id IN (?, ?)";
                change(conn, protocol, sql, &[source, -amount, amount, source, target], 2).await
            }
        }
    }

    fn acknowledged(&mut self, order: Order) {
        self.done(order);
        self.shared.count_commit();
    }

    fn done(&mut self, order: Order) {
        match order {
            Order::Transfer { .. } => self.account.receipts += 1,
            Order::Batch(_) => self.account.batches += 1,
            Order::Shift { .. } => {}
        }
    }

    /// Connects again, and finds out whether the order was done. Grove may be lost again meanwhile.
    async fn recover(&mut self, order: Order, mut lost: String) -> Result<(u64, Conn, bool), String> {
        loop {
            let connected = self.connect().await;
            let (number, mut conn) = connected.map_err(|error| format!("after {lost}: {error}"))?;
            match self.find_out(&mut conn, order).await {
                Ok(was_done) => return Ok((number, conn, was_done)),
                Err(Trouble::Lost(what)) => {
                    self.shared.count_loss(number);
                    lost = what;
                }
                Err(Trouble::TryAgain) => "a plain read was told to try again".clone_into(&mut lost),
                Err(Trouble::Wrong(failure)) => return Err(failure),
            }
        }
    }

    /// Whether an order was done whose answer did not arrive. What was acknowledged before must be there.
    async fn find_out(&mut self, conn: &mut Conn, order: Order) -> Result<bool, Trouble> {
        let client = self.account.client;
        let sql = format!(
            "SELECT (SELECT COUNT(*) FROM receipt WHERE client = {client}), (SELECT COUNT(*) FROM batch WHERE client = {client})"
        );
        let found: Result<Option<(u64, u64)>, _> = conn.query_first(&sql).await;
        let (receipts, rows) = found.map_err(|error| Trouble::of(&sql, error))?.unwrap_or_default();
        let before = (self.account.receipts, self.account.batches * ROWS_OF_A_BATCH);
        let expected = match order {
            Order::Transfer { .. } => (before.0 + 1, before.1),
            Order::Batch(_) => (before.0, before.1 + ROWS_OF_A_BATCH),
            // Not to be known, and nothing that would be missed.
            Order::Shift { .. } => before,
        };
        let was_done = (receipts, rows) == expected;
        if !was_done && (receipts, rows) != before {
            return Err(Trouble::Wrong(format!(
                "after the loss of a connection under {order:?} it has {receipts} receipts and {rows} rows; {before:?} were acknowledged"
            )));
        }
        if !matches!(order, Order::Shift { .. }) {
            self.shared.count_doubt(was_done);
        }
        if was_done {
            self.done(order);
        }
        Ok(was_done)
    }

    /// A connection, with the number of the address that it was made to.
    async fn connect(&mut self) -> Result<(u64, Conn), String> {
        let deadline = Instant::now() + CONNECT_LIMIT;
        let mut last = "Grove is away".to_owned();
        while Instant::now() < deadline {
            let (number, opts) = self.shared.address();
            if let Some(opts) = opts {
                match self.open(opts).await {
                    Ok(conn) => return Ok((number, conn)),
                    Err(Trouble::Wrong(failure)) => return Err(failure),
                    Err(Trouble::Lost(what)) => last = what,
                    Err(Trouble::TryAgain) => last = "told to try again".to_owned(),
                }
            }
            tokio::time::sleep(CONNECT_PAUSE).await;
        }
        Err(format!("no connection within {CONNECT_LIMIT:?}: {last}"))
    }

    async fn open(&self, opts: mysql_async::Opts) -> Result<Conn, Trouble> {
        let mut conn = Conn::new(opts).await.map_err(|error| Trouble::of("connect", error))?;
        for sql in ["USE bank", "SET SESSION innodb_lock_wait_timeout = 5"] {
            conn.query_drop(sql).await.map_err(|error| Trouble::of(sql, error))?;
        }
        Ok(conn)
    }
}
