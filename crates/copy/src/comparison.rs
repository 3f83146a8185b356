//! Whether servers hold the same at one instant, while clients go on writing: all definitions, and every row by checksums that the servers compute.
//!
//! Tables are compared by ranges of their primary key, in transactions with a consistent snapshot; where a range differs it is divided until few keys
//! are left. Definitions of servers of different versions are worded differently, so of these only names are compared.

use futures_util::future::{try_join, try_join_all};
use grove_engine::io::{Compared, Comparer, ComparisonProgress, CopyError, Difference, Leg};
use std::sync::atomic::Ordering;

use crate::compare::{self, Holdings};
use crate::connection::{Connection, text};
use crate::definitions::{self, Table};
use crate::literal::{Form, name};
use crate::prepare_to_read;
use crate::ranges::{Range, bounds, ranges};

/// Rows of one question. The servers answer it in some tenths of a second.
const ROWS_AT_ONCE: u64 = 50_000;
/// Keys that are not divided any further.
const FEW_KEYS: i128 = 16;
/// Differences of one table that are named.
const MOST_NAMED: usize = 20;

/// A comparison of servers with the first of them.
pub struct LogicalComparison<L: Leg> {
    first: Connection<L>,
    others: Vec<Connection<L>>,
    tables: Vec<Table>,
    compared: Compared,
}

impl<L: Leg> LogicalComparison<L> {
    /// Takes a fresh connection of Grove's own account to each server.
    pub async fn prepare(first: L, others: Vec<L>) -> Result<Self, CopyError> {
        let mut first = Connection::new(first);
        let mut others: Vec<_> = others.into_iter().map(Connection::new).collect();
        prepare_to_read(&mut first).await?;
        try_join_all(others.iter_mut().map(prepare_to_read)).await?;
        Ok(Self {
            first,
            others,
            tables: Vec::new(),
            compared: Compared::default(),
        })
    }

    async fn table(&mut self, table: &Table, progress: &ComparisonProgress) -> Result<(), CopyError> {
        let checksum = checksum_of(table);
        let mut left = ranges(&mut self.first, table, ROWS_AT_ONCE).await?;
        // Those in front are the next ones.
        left.reverse();
        let mut named = vec![0; self.others.len()];
        while let Some(range) = left.pop() {
            let question = format!("{checksum}{}", range.condition(table.range_column.as_ref()));
            let answers = try_join(
                answer(&mut self.first, &question),
                try_join_all(self.others.iter_mut().map(|other| answer(other, &question))),
            );
            let (right, answers) = answers.await?;
            progress.rows.fetch_add(right.rows, Ordering::Relaxed);
            for (server, there) in answers.iter().enumerate().filter(|(_, there)| **there != right) {
                if named[server] > MOST_NAMED {
                    continue;
                }
                if named[server] == MOST_NAMED {
                    named[server] += 1;
                    self.compared.differences.push(Difference {
                        server,
                        what: format!("{}.{} differs further on", table.schema, table.name),
                    });
                    continue;
                }
                let parts = self.parts(table, range, server).await?;
                if parts.is_empty() {
                    named[server] += 1;
                    self.compared.differences.push(Difference {
                        server,
                        what: format!(
                            "the rows of {}.{}{}: {} there, and {} rows",
                            table.schema,
                            table.name,
                            range.condition(table.range_column.as_ref()).to_lowercase(),
                            there.rows,
                            right.rows
                        ),
                    });
                } else {
                    left.extend(parts.into_iter().rev());
                    break;
                }
            }
        }
        Ok(())
    }

    /// Smaller ranges, if there are more than few keys.
    async fn parts(&mut self, table: &Table, range: Range, server: usize) -> Result<Vec<Range>, CopyError> {
        let Some(other) = self.others.get_mut(server) else {
            return Ok(Vec::new());
        };
        let both = try_join(bounds(&mut self.first, table, range), bounds(other, table, range)).await?;
        let (least, most) = match both {
            (Some(here), Some(there)) => (here.0.min(there.0), here.1.max(there.1)),
            (Some(one), None) | (None, Some(one)) => one,
            (None, None) => return Ok(Vec::new()),
        };
        Ok(match most - least < FEW_KEYS {
            true => Vec::new(),
            false => range.divided(least, most, FEW_KEYS),
        })
    }
}

impl<L: Leg> Comparer for LogicalComparison<L> {
    async fn freeze(&mut self) -> Result<(), CopyError> {
        let others = try_join_all(self.others.iter_mut().map(Connection::begin_snapshot));
        try_join(self.first.begin_snapshot(), others).await?;
        Ok(())
    }

    async fn definitions(&mut self) -> Result<(), CopyError> {
        (self.tables, self.compared.left_out) = definitions::readable_tables(&mut self.first).await?;
        let version = compare::version(&mut self.first).await?;
        let right = compare::defined(&mut self.first).await?;
        for (server, other) in self.others.iter_mut().enumerate() {
            let is_same_version = compare::version(other).await? == version;
            let there = compare::defined(other).await?;
            let found = match is_same_version {
                true => compare::compare(&right, &there),
                false => {
                    let columns = definitions::readable_tables(other).await?.0;
                    let there = names_and_columns(&there, &columns);
                    compare::compare(&names_and_columns(&right, &self.tables), &there)
                }
            };
            let differences = found.into_iter().map(|what| Difference { server, what });
            self.compared.differences.extend(differences);
            other.release_tables().await?;
        }
        self.first.release_tables().await
    }

    async fn rows(mut self, progress: &ComparisonProgress) -> Result<Compared, CopyError> {
        let tables = std::mem::take(&mut self.tables);
        progress.tables.store(tables.len() as u64, Ordering::Relaxed);
        for table in &tables {
            match self.table(table, progress).await {
                Err(CopyError::Changed(reason)) => {
                    let place = format!("{}.{}", table.schema, table.name);
                    self.compared
                        .left_out
                        .push(format!("{place} (not the same table any more: {reason})"));
                }
                result => result?,
            }
            let others = try_join_all(self.others.iter_mut().map(Connection::release_tables));
            try_join(self.first.release_tables(), others).await?;
            progress.done.fetch_add(1, Ordering::Relaxed);
        }
        Ok(self.compared)
    }
}

/// What is worded alike in every version.
fn names_and_columns(holdings: &Holdings, tables: &[Table]) -> Holdings {
    let names = holdings.keys().map(|thing| (thing.clone(), String::new()));
    let columns = tables.iter().map(|table| {
        let columns: Vec<&str> = table.columns.iter().map(|(column, _)| column.as_str()).collect();
        (
            format!("the columns of {}.{}", table.schema, table.name),
            columns.join(", "),
        )
    });
    names.chain(columns).collect()
}

/// A range's rows as one server has them.
#[derive(Debug, PartialEq, Eq)]
struct Rows {
    rows: u64,
    checksum: String,
}

async fn answer<L: Leg>(of: &mut Connection<L>, question: &str) -> Result<Rows, CopyError> {
    let rows = of.ask(question).await?;
    let row = rows.first();
    Ok(Rows {
        rows: row.and_then(|row| text(row, 0).parse().ok()).unwrap_or(0),
        checksum: row.map(|row| text(row, 1)).unwrap_or_default(),
    })
}

/// The question without its condition. Each value has a checksum of its own, so that no row is too long for the server.
fn checksum_of(table: &Table) -> String {
    let values = table.columns.iter().map(|(column, form)| {
        let value = match form {
            // Its text; types of scalars that the text does not show are not compared.
            Form::Json => name(column),
            form => form.question(&name(column)),
        };
        format!("COALESCE(CRC32({value}),'NULL')")
    });
    let values: Vec<String> = values.collect();
    let row = match values.is_empty() {
        true => "0".to_owned(),
        false => format!("CRC32(CONCAT_WS(',',{}))", values.join(",")),
    };
    format!("SELECT COUNT(*), COALESCE(SUM({row}),0) FROM {}", table.place())
}
