//! What Grove's own statements do on a model server, and what a server's tables say in the end.
//!
//! Reused is the machinery of the clients' tables, so that the marks meet row and gap locks, duplicates and deadlocks as in InnoDB. The fence's
//! token is no key: whoever looks for it locks all there is in the table.

use super::execute::{Failure, Inserted, Outcome, Running};
use super::locks::{Index, Mode};
use super::own::Own;
use super::server::Server;
use super::sql::{Filter, Table};
use super::storage::Row;
use std::collections::BTreeSet;

/// Key of the only row of a table that has one.
const ONLY: i64 = 1;

/// What a server's `_grove` tables say to everybody: committed rows alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    pub log: Option<String>,
    pub prefix: Option<u64>,
    pub token: Option<u64>,
    pub applied: BTreeSet<u64>,
}

impl Standing {
    /// Whether the server says that it holds the entry at `position`.
    pub fn holds(&self, position: u64) -> bool {
        self.prefix.is_some_and(|prefix| position <= prefix) || self.applied.contains(&position)
    }
}

/// Which of Grove's tables exist, and texts that their rows name by number. DDL is not undone, and survives a crash.
#[derive(Clone, Default)]
pub struct OwnSchema {
    exists: bool,
    tables: BTreeSet<Table>,
    logs: Vec<String>,
}

impl OwnSchema {
    fn needs(&self, tables: &[Table], is_mariadb: bool) -> Result<(), Failure> {
        if !(self.exists || tables.is_empty() || is_mariadb) {
            return Err(Failure::NoSchema);
        }
        match tables.iter().all(|table| self.tables.contains(table)) {
            true => Ok(()),
            false => Err(Failure::NoTable),
        }
    }

    fn number_of(&mut self, log: &str) -> i64 {
        let known = self.logs.iter().position(|known| known == log);
        known.unwrap_or_else(|| {
            self.logs.push(log.to_owned());
            self.logs.len() - 1
        }) as i64
    }
}

impl Server {
    /// What its own tables say now.
    pub fn standing(&self) -> Standing {
        self.step(|state| {
            let rows = |table| state.storage.committed_rows(table);
            let standing = rows(Table::Standing).first().map(|(_, row)| *row);
            Standing {
                log: standing.map(|row| state.own.logs[row.g as usize].clone()),
                prefix: standing.map(|row| row.v as u64),
                token: rows(Table::Fence).first().map(|(_, row)| row.v as u64),
                applied: rows(Table::Applied).iter().map(|(k, _)| *k as u64).collect(),
            }
        })
    }
}

impl Running<'_> {
    pub async fn run_own(&mut self, own: &Own) -> Result<Outcome, Failure> {
        self.step(|state| state.own.needs(&own.tables(), self.server.policy.is_mariadb))?;
        match own {
            Own::CreateSchema => self.step(|state| state.own.exists = true),
            Own::CreateTable(table) => self.step(|state| {
                if !state.own.exists {
                    return Err(Failure::NoSchema);
                }
                state.own.tables.insert(*table);
                Ok(())
            })?,
            Own::Definition(table) => {
                let row = vec![table.name().to_owned(), format!("CREATE TABLE `{}` (..)", table.name())];
                return Ok(Outcome::Texts(&["Table", "Create Table"], vec![row]));
            }
            Own::ReadStanding => {
                self.breathe().await?;
                let rows = self.consistent_read(Table::Standing, Filter::All)?;
                let text = |row: Row| self.step(|state| state.own.logs[row.g as usize].clone());
                let rows = rows.into_iter().map(|(_, row)| vec![text(row), row.v.to_string()]);
                return Ok(Outcome::Texts(&["log", "prefix"], rows.collect()));
            }
            Own::ReadApplied(above) => {
                self.breathe().await?;
                let filter = Filter::Range(*above as i64 + 1, i64::MAX);
                let rows = self.consistent_read(Table::Applied, filter)?;
                let rows = rows.into_iter().map(|(k, _)| vec![k.to_string()]);
                return Ok(Outcome::Texts(&["position"], rows.collect()));
            }
            Own::WriteStanding { log, prefix } => {
                let g = self.step(|state| state.own.number_of(log));
                return self.write_only_row(Table::Standing, Row { g, v: *prefix as i64 }).await;
            }
            Own::RaisePrefix { log, prefix } => {
                let g = self.step(|state| state.own.number_of(log));
                self.acquire_point(Table::Standing, Index::Primary, (ONLY, 0), Mode::Exclusive)
                    .await?;
                let old = self.step(|state| state.storage.current(Table::Standing, ONLY));
                if let Some(old) = old.filter(|old| old.g == g && old.v < *prefix as i64) {
                    self.put(
                        Table::Standing,
                        ONLY,
                        Some(Row {
                            g: old.g,
                            v: *prefix as i64,
                        }),
                    );
                }
            }
            Own::WriteFence(token) => {
                return self.write_only_row(Table::Fence, Row { g: 0, v: *token as i64 }).await;
            }
            Own::Mark { position, token } => return self.mark_position(*position, *token).await,
            Own::FencedMark { position, token } => {
                let rows = self.lock_rows(Table::Fence, Filter::All, Mode::Shared).await?;
                let current = |&k: &i64| self.step(|state| state.storage.current(Table::Fence, k));
                if !rows.iter().filter_map(current).any(|row| row.v as u64 == *token) {
                    return Err(Failure::NullForbidden);
                }
                return self.mark_position(*position, *token).await;
            }
            Own::Fold(position) => {
                let filter = Filter::Range(i64::MIN, i64::try_from(*position).unwrap_or(i64::MAX));
                return self.delete(Table::Applied, filter).await;
            }
        }
        Ok(Outcome::nothing())
    }

    async fn mark_position(&mut self, position: u64, token: u64) -> Result<Outcome, Failure> {
        let row = Row { g: 0, v: token as i64 };
        match self
            .insert_row(Table::Applied, position as i64, row, Mode::Shared)
            .await?
        {
            Inserted::Yes => Ok(Outcome::affected(1, 0, String::new())),
            Inserted::DuplicateOf(_) => Err(Failure::Duplicate),
        }
    }

    /// `INSERT .. ON DUPLICATE KEY UPDATE` of the only row.
    async fn write_only_row(&mut self, table: Table, row: Row) -> Result<Outcome, Failure> {
        loop {
            if let Inserted::Yes = self.insert_row(table, ONLY, row, Mode::Exclusive).await? {
                return Ok(Outcome::affected(1, 0, String::new()));
            }
            self.acquire_point(table, Index::Primary, (ONLY, 0), Mode::Exclusive)
                .await?;
            let Some(old) = self.step(|state| state.storage.current(table, ONLY)) else {
                continue;
            };
            if old != row {
                self.put(table, ONLY, Some(row));
            }
            return Ok(Outcome::affected(if old == row { 0 } else { 2 }, 0, String::new()));
        }
    }
}
