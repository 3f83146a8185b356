//! The bank's tables, and what must be true of them at the end.
//!
//! Balances follow from receipts: each is the opening balance and the transfers of all receipts, so a transfer that was done twice, by half, or without
//! its receipt shows in one account, not only in a sum.

use anyhow::{Context, ensure};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Opts};

use super::BankOptions;

const OPENING_BALANCE: i64 = 1_000;
/// Rows of a batch, which one autocommit statement inserts.
pub(super) const ROWS_OF_A_BATCH: u64 = 3;

/// What one client knows to be committed.
#[derive(Clone, Debug, Default)]
pub(super) struct Account {
    pub(super) client: u32,
    /// Its receipts are numbered from 1 to this.
    pub(super) receipts: u64,
    /// Its batches are numbered from 1 to this.
    pub(super) batches: u64,
}

pub(super) async fn create(conn: &mut Conn, options: &BankOptions) -> anyhow::Result<()> {
    conn.query_drop("CREATE DATABASE bank").await?;
    conn.query_drop("USE bank").await?;
    let tables = [
        "CREATE TABLE account (id INT PRIMARY KEY, balance BIGINT NOT NULL)",
        "CREATE TABLE drawer (id INT PRIMARY KEY, amount BIGINT NOT NULL)",
        "CREATE TABLE receipt (client INT, number BIGINT, source INT NOT NULL, target INT NOT NULL, amount BIGINT NOT NULL, PRIMARY KEY (client, number))",
        "CREATE TABLE counter (client INT PRIMARY KEY, receipts BIGINT NOT NULL)",
        "CREATE TABLE batch (id BIGINT AUTO_INCREMENT PRIMARY KEY, client INT NOT NULL, number BIGINT NOT NULL, KEY (client, number))",
    ];
    for table in tables {
        conn.query_drop(table).await?;
    }
    let rows = |count: u32, value: i64| {
        let rows: Vec<String> = (0..count).map(|id| format!("({id}, {value})")).collect();
        rows.join(", ")
    };
    let (accounts, clients) = (options.accounts, options.clients);
    for (table, count, value) in [
        ("account", accounts, OPENING_BALANCE),
        ("drawer", accounts, 0),
        ("counter", clients, 0),
    ] {
        conn.query_drop(format!("INSERT INTO {table} VALUES {}", rows(count, value)))
            .await?;
    }
    Ok(())
}

/// Everything that must be true, of Grove or of one server.
pub(super) async fn audit(opts: &Opts, accounts: &[Account], options: &BankOptions) -> anyhow::Result<()> {
    let mut conn = Conn::new(opts.clone()).await.context("connect for the audit")?;
    conn.query_drop("USE bank").await?;
    let total = i64::from(options.accounts) * OPENING_BALANCE;
    let unfounded = format!(
        "SELECT COUNT(*) FROM account a WHERE a.balance - {OPENING_BALANCE} <>
           (SELECT COALESCE(SUM(r.amount), 0) FROM receipt r WHERE r.target = a.id) -
           (SELECT COALESCE(SUM(r.amount), 0) FROM receipt r WHERE r.source = a.id)"
    );
    for (what, query, expected) in [
        (
            "sum of all balances",
            "SELECT CAST(SUM(balance) AS SIGNED) FROM account",
            total,
        ),
        (
            "sum of all drawers",
            "SELECT CAST(SUM(amount) AS SIGNED) FROM drawer",
            0,
        ),
        (
            "number of accounts that do not follow from the receipts",
            unfounded.as_str(),
            0,
        ),
    ] {
        let found: Option<i64> = conn.query_first(query).await.context(what)?;
        ensure!(found == Some(expected), "the {what} is {found:?} instead of {expected}");
    }
    for account in accounts {
        let client = account.client;
        let receipts = format!("SELECT COUNT(*), COALESCE(MAX(number), 0) FROM receipt WHERE client = {client}");
        let found: Option<(u64, u64)> = conn.query_first(receipts).await?;
        let expected = account.receipts;
        ensure!(
            found == Some((expected, expected)),
            "client {client} has (receipts, highest number) {found:?} instead of {expected}"
        );
        let counter = format!("SELECT receipts FROM counter WHERE client = {client}");
        let found: Option<u64> = conn.query_first(counter).await?;
        ensure!(
            found == Some(expected),
            "client {client} has counted {found:?} receipts instead of {expected}"
        );
        let batches = format!(
            "SELECT COUNT(*), COALESCE(MAX(number), 0), COUNT(DISTINCT number) FROM batch WHERE client = {client}"
        );
        let found: Option<(u64, u64, u64)> = conn.query_first(batches).await?;
        let expected = account.batches;
        ensure!(
            found == Some((expected * ROWS_OF_A_BATCH, expected, expected)),
            "client {client} has (rows, highest number, batches) {found:?} instead of {expected} batches of {ROWS_OF_A_BATCH}"
        );
    }
    conn.disconnect().await?;
    Ok(())
}
