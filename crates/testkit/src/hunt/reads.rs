//! What a client can check by reading: money, its own account, snapshots, and that time never goes backwards.

use std::time::Duration;

use anyhow::{Context, ensure};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Opts, Row};
use std::sync::atomic::Ordering;

use super::client::{Client, Failure, Outcome, Session};
use super::schema::{ACCOUNTS, BALANCE};
use super::shared::Shared;

const SUM: &str = "SELECT CAST(SUM(balance) AS SIGNED) FROM account";

impl Session<'_> {
    /// Whether this client's account is as acknowledged. False when the reading transaction was lost meanwhile.
    pub(super) async fn own_account_is(&mut self, commits: u64, receipts: u64) -> Result<bool, Failure> {
        let client = self.client.number;
        let sql = format!(
            "SELECT commits, (SELECT COUNT(*) FROM receipt WHERE client = {client}),
                    (SELECT COALESCE(MAX(number), 0) FROM receipt WHERE client = {client})
             FROM ledger WHERE client = {client}"
        );
        let Outcome::Done { rows, .. } = self.text(&sql).await? else {
            return Ok(false);
        };
        let seen = rows.first().map(numbers).unwrap_or_default();
        if seen != [Some(commits), Some(receipts), Some(receipts)] {
            return Err(Failure(format!(
                "its account should show {commits} commits and {receipts} receipts, but shows {seen:?}"
            )));
        }
        Ok(true)
    }

    /// Moves money from one account to another.
    pub(super) async fn transfer(&mut self) -> Result<(), Failure> {
        let random = &mut self.client.random;
        let (from, to) = (random.between(1, ACCOUNTS), random.between(1, ACCOUNTS));
        let (amount, reads_first) = (random.between(1, 50), random.chance(50));
        let style = self.begin().await?;
        let mut updates = vec![
            format!("UPDATE account SET balance = balance - {amount} WHERE id = {from}"),
            format!("UPDATE account SET balance = balance + {amount} WHERE id = {to}"),
        ];
        if reads_first && from != to {
            // The way of most applications: read under a lock, compute, write the result.
            let sql = format!("SELECT id, balance FROM account WHERE id IN ({from}, {to}) FOR UPDATE");
            let Outcome::Done { rows, .. } = self.text(&sql).await? else {
                return self.abandon(style).await;
            };
            let balance = |id: u64| {
                let row = rows.iter().find(|row| row.get::<u64, _>(0) == Some(id));
                let balance = row.and_then(|row| row.get::<i64, _>(1));
                balance.ok_or_else(|| Failure(format!("{sql}: no row for {id}")))
            };
            let amount = amount as i64;
            updates = vec![
                format!(
                    "UPDATE account SET balance = {} WHERE id = {from}",
                    balance(from)? - amount
                ),
                format!("UPDATE account SET balance = {} WHERE id = {to}", balance(to)? + amount),
            ];
        }
        for update in updates {
            match self.text(&update).await? {
                Outcome::Done { affected: 1, .. } => {}
                Outcome::Done { affected, .. } => {
                    return Err(Failure(format!("{update}: {affected} rows instead of 1")));
                }
                Outcome::Lost | Outcome::Failed(_) => return self.abandon(style).await,
            }
        }
        if !self.account().await? {
            return self.abandon(style).await;
        }
        self.commit(style).await
    }

    pub(super) async fn money_is_conserved(&mut self) -> Result<(), Failure> {
        match self.text(SUM).await? {
            Outcome::Done { rows, .. } => expect_sum(&rows),
            Outcome::Lost | Outcome::Failed(_) => Ok(()),
        }
    }

    /// Reads the same twice in a transaction, with a pause and perhaps a write elsewhere in between.
    pub(super) async fn snapshot_stands_still(&mut self) -> Result<(), Failure> {
        const QUESTIONS: &[&str] = &[
            "SELECT COUNT(*), SUM(val), MAX(changed) FROM item",
            "SELECT name, n FROM counter ORDER BY name",
            "SELECT COUNT(*), MAX(id) FROM entry",
        ];
        let style = self.begin().await?;
        let question = *self.client.random.pick(QUESTIONS);
        let (Outcome::Done { rows: sum, .. }, Outcome::Done { rows: before, .. }) =
            (self.text(SUM).await?, self.text(question).await?)
        else {
            return self.abandon(style).await;
        };
        expect_sum(&sum)?;
        tokio::time::sleep(Duration::from_millis(self.client.random.below(15))).await;
        let writes = self.client.random.chance(50);
        if writes && !self.account().await? {
            return self.abandon(style).await;
        }
        let Outcome::Done { rows: after, .. } = self.text(question).await? else {
            return self.abandon(style).await;
        };
        let (before, after) = (format!("{before:?}"), format!("{after:?}"));
        if before != after {
            return Err(Failure(format!(
                "a snapshot moved: {question} showed {before}, then {after}"
            )));
        }
        match writes {
            true => self.commit(style).await,
            false => self.abandon(style).await,
        }
    }

    /// One row that many clients raise: a read may never show less than what was acknowledged before it began.
    pub(super) async fn pulse(&mut self) -> Result<(), Failure> {
        const READ: &str = "SELECT value FROM pulse WHERE id = 1";
        if self.client.random.chance(60) {
            let floor = self.client.shared.pulse.load(Ordering::SeqCst).max(self.client.pulse);
            let Outcome::Done { rows, .. } = self.text(READ).await? else {
                return Ok(());
            };
            let seen = first_number(&rows);
            if seen < Some(floor) {
                return Err(Failure(format!("time went backwards: {seen:?} after {floor}")));
            }
            self.client.pulse = seen.unwrap_or(0);
            return Ok(());
        }
        let style = self.begin().await?;
        let raise = self.text("UPDATE pulse SET value = value + 1 WHERE id = 1").await?;
        let (Outcome::Done { .. }, true) = (raise, self.account().await?) else {
            return self.abandon(style).await;
        };
        let Outcome::Done { rows, .. } = self.text(READ).await? else {
            return self.abandon(style).await;
        };
        let commits = self.client.commits;
        self.commit(style).await?;
        if let Some(value) = first_number(&rows)
            && self.client.commits > commits
        {
            self.client.shared.pulse.fetch_max(value, Ordering::SeqCst);
        }
        Ok(())
    }
}

/// Every acknowledged commit of every client is there, once, and the money is all there.
pub(super) async fn check_ledger(opts: &Opts, clients: &[Client], shared: &Shared) -> anyhow::Result<()> {
    ensure!(
        clients.len() == shared.clients as usize,
        "a client's account is missing"
    );
    let mut conn = Conn::new(opts.clone()).await.context("connect to check the ledger")?;
    let sql = "SELECT ledger.client, commits, COUNT(number), COALESCE(MAX(number), 0) FROM hunt.ledger
               LEFT JOIN hunt.receipt ON receipt.client = ledger.client GROUP BY ledger.client, commits";
    let rows: Vec<(u32, u64, u64, u64)> = conn.query(sql).await.context("read the ledger")?;
    for client in clients {
        let row = rows.iter().find(|row| row.0 == client.number);
        let expected = (client.number, client.commits, client.receipts, client.receipts);
        ensure!(
            row == Some(&expected),
            "the ledger's row (client, commits, receipts, last receipt) should be {expected:?} and is {row:?}"
        );
    }
    let sum: Option<u64> = conn.query_first(SUM.replace("account", "hunt.account")).await?;
    ensure!(sum == Some(ACCOUNTS * BALANCE), "the sum of all balances is {sum:?}");
    conn.disconnect().await?;
    Ok(())
}

fn expect_sum(rows: &[Row]) -> Result<(), Failure> {
    match first_number(rows) {
        Some(sum) if sum == ACCOUNTS * BALANCE => Ok(()),
        other => Err(Failure(format!("the sum of all balances is {other:?}"))),
    }
}

fn first_number(rows: &[Row]) -> Option<u64> {
    rows.first().and_then(|row| numbers(row).first().copied().flatten())
}

fn numbers(row: &Row) -> Vec<Option<u64>> {
    (0..row.len())
        .map(|index| row.get_opt::<u64, _>(index).and_then(Result::ok))
        .collect()
}
