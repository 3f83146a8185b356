//! All that a server holds, read as definitions; and its way onto another one.

use futures_util::future::try_join_all;
use grove_engine::io::{CopyError, CopyProgress, Leg};
use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError};

use crate::accounts::{self, Account};
use crate::connection::{Connection, text};
use crate::definitions::{self, Program, Table};
use crate::literal::{Form, name};
use crate::rows::Writer;
use crate::sequences::Sequence;

/// Tables that have more rows are copied by ranges of about so many.
const ROWS_AT_ONCE: u64 = 100_000;
/// However many rows the server believes that there are.
const MOST_RANGES: u64 = 256;

/// The definitions.
#[derive(Default)]
pub(crate) struct Survey {
    pub schemas: Vec<(String, String)>,
    pub tables: Vec<Table>,
    /// With their values at the instant.
    pub sequences: Vec<(Sequence, String)>,
    pub routines: Vec<Program>,
    pub views: Vec<Program>,
    pub triggers: Vec<Program>,
    pub events: Vec<Program>,
    pub accounts: Vec<Account>,
    /// What the server holds of the log at the instant, as INSERT statements.
    pub standing: Vec<String>,
}

/// Rows that are copied with one question.
struct Piece {
    table: usize,
    condition: String,
}

/// What the server holds of the log, at the instant.
async fn standing<L: Leg>(from: &mut Connection<L>) -> Result<Vec<String>, CopyError> {
    let mut statements = Vec::new();
    for row in from
        .ask("SELECT `only`,`log`,`prefix` FROM `_grove`.`standing`")
        .await?
    {
        let values = (text(&row, 0), text(&row, 1), text(&row, 2));
        statements.push(format!(
            "INSERT INTO `_grove`.`standing` VALUES ({},'{}',{})",
            values.0, values.1, values.2
        ));
    }
    let applied = from.ask("SELECT `position`,`fence` FROM `_grove`.`applied`").await?;
    for some in applied.chunks(1000) {
        let rows: Vec<String> = some
            .iter()
            .map(|row| format!("({},{})", text(row, 0), text(row, 1)))
            .collect();
        // Before the standing, without which they say nothing.
        let insert = format!("INSERT INTO `_grove`.`applied` VALUES {}", rows.join(","));
        statements.insert(0, insert);
    }
    Ok(statements)
}

impl Survey {
    /// Reads all definitions. They are those of now, not of the instant: whoever asks sees to it that none has changed since.
    pub async fn read<L: Leg>(
        now: &mut Connection<L>,
        snapshot: &mut Connection<L>,
        sequences: Vec<(Sequence, String)>,
    ) -> Result<Self, CopyError> {
        Ok(Self {
            schemas: definitions::schemas(now).await?,
            tables: definitions::tables(now).await?,
            routines: definitions::routines(now).await?,
            views: definitions::views(now).await?,
            triggers: definitions::triggers(now).await?,
            events: definitions::events(now).await?,
            accounts: accounts::read(now).await?,
            standing: standing(snapshot).await?,
            sequences,
        })
    }

    /// Fills the tables, as many at once as there are connections.
    pub async fn copy_rows<L: Leg>(
        &self,
        from: &mut [Connection<L>],
        into: &mut [Connection<L>],
        progress: &CopyProgress,
    ) -> Result<(), CopyError> {
        let expected = self.tables.iter().map(|table| table.rows).sum();
        progress.expected.store(expected, Ordering::Relaxed);
        let Some(first) = from.first_mut() else { return Ok(()) };
        let mut pieces = VecDeque::new();
        for (at, table) in self.tables.iter().enumerate() {
            for condition in ranges(first, table).await? {
                pieces.push_back(Piece { table: at, condition });
            }
        }
        first.release_tables().await?;
        let pieces = Mutex::new(pieces);
        let next = || pieces.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        let tables = &self.tables;
        try_join_all(from.iter_mut().zip(into).map(|(from, into)| async {
            from.say("SET NAMES binary").await?;
            into.say("SET NAMES binary").await?;
            while let Some(piece) = next() {
                copy_piece(from, into, &tables[piece.table], &piece.condition, progress).await?;
                from.release_tables().await?;
            }
            into.say("SET NAMES utf8mb4").await
        }))
        .await?;
        Ok(())
    }
}

/// Conditions that divide a table's rows; one that is empty if the table is not divided.
async fn ranges<L: Leg>(from: &mut Connection<L>, table: &Table) -> Result<Vec<String>, CopyError> {
    let parts = (table.rows / ROWS_AT_ONCE).min(MOST_RANGES);
    let Some(column) = table.range_column.as_ref().filter(|_| parts > 1) else {
        return Ok(vec![String::new()]);
    };
    let column = name(column);
    let question = format!(
        "SELECT MIN({column}), MAX({column}) FROM {}.{}",
        name(&table.schema),
        name(&table.name)
    );
    let bounds = from.ask(question).await?;
    let bound = |at| {
        bounds
            .first()
            .and_then(|row: &crate::connection::Row| text(row, at).parse::<i128>().ok())
    };
    let (Some(least), Some(most)) = (bound(0), bound(1)) else {
        return Ok(vec![String::new()]);
    };
    Ok(divide(&column, least, most, i128::from(parts)))
}

fn divide(column: &str, least: i128, most: i128, parts: i128) -> Vec<String> {
    let step = (most - least) / parts + 1;
    let starts: Vec<i128> = (1..parts).map(|part| least + part * step).collect();
    let mut conditions = Vec::with_capacity(starts.len() + 1);
    let mut from: Option<i128> = None;
    for start in starts {
        conditions.push(match from {
            None => format!(" WHERE {column}<{start}"),
            Some(from) => format!(" WHERE {column}>={from} AND {column}<{start}"),
        });
        from = Some(start);
    }
    conditions.push(from.map_or_else(String::new, |from| format!(" WHERE {column}>={from}")));
    conditions
}

async fn copy_piece<L: Leg>(
    from: &mut Connection<L>,
    into: &mut Connection<L>,
    table: &Table,
    condition: &str,
    progress: &CopyProgress,
) -> Result<(), CopyError> {
    if table.columns.is_empty() {
        return Ok(());
    }
    let place = format!("{}.{}", name(&table.schema), name(&table.name));
    let names: Vec<String> = table.columns.iter().map(|(column, _)| name(column)).collect();
    let selected: Vec<String> = table
        .columns
        .iter()
        .zip(&names)
        .map(|((_, form), name)| form.question(name))
        .collect();
    let forms: Vec<Form> = table.columns.iter().map(|(_, form)| *form).collect();
    let question = format!("SELECT {} FROM {place}{condition}", selected.join(","));
    let head = format!("INSERT INTO {place} ({}) VALUES ", names.join(","));
    let mut writer = Writer::new(into, &head, &forms, &progress.rows);
    let answer = from.run(question.as_bytes(), &mut writer).await;
    if writer.failure.is_none() {
        match answer {
            Ok(None) => {}
            Ok(Some(err)) => return Err(crate::connection::refused(question.as_bytes(), &err)),
            Err(error) => return Err(error),
        }
    }
    writer.finish().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_leave_no_key_out() {
        let conditions = divide("`id`", -5, 12, 3);
        assert_eq!(
            conditions,
            [" WHERE `id`<1", " WHERE `id`>=1 AND `id`<7", " WHERE `id`>=7"]
        );
        assert_eq!(divide("`id`", 1, 1, 2), [" WHERE `id`<2", " WHERE `id`>=2"]);
        let whole = divide("`id`", i128::from(i64::MIN), i128::from(u64::MAX), 256);
        assert_eq!(whole.len(), 256);
    }
}
