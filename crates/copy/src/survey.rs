//! All that a server holds, read as definitions; and its way onto another one.

use futures_util::future::try_join_all;
use grove_engine::io::{CopyError, CopyProgress, Leg};
use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError};

use crate::accounts::{self, Account};
use crate::connection::{Connection, text};
use crate::definitions::{self, Program, Table};
use crate::literal::name;
use crate::ranges::{Range, ranges};
use crate::rows::Writer;
use crate::sequences::Sequence;

/// Tables that have more rows are copied by ranges of about so many.
const ROWS_AT_ONCE: u64 = 100_000;

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
    range: Range,
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
            for range in ranges(first, table, ROWS_AT_ONCE).await? {
                pieces.push_back(Piece { table: at, range });
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
                copy_piece(from, into, &tables[piece.table], piece.range, progress).await?;
                from.release_tables().await?;
            }
            into.say("SET NAMES utf8mb4").await
        }))
        .await?;
        Ok(())
    }
}

async fn copy_piece<L: Leg>(
    from: &mut Connection<L>,
    into: &mut Connection<L>,
    table: &Table,
    range: Range,
    progress: &CopyProgress,
) -> Result<(), CopyError> {
    if table.columns.is_empty() {
        return Ok(());
    }
    let place = table.place();
    let names: Vec<String> = table.columns.iter().map(|(column, _)| name(column)).collect();
    let selected: Vec<String> = table
        .columns
        .iter()
        .zip(&names)
        .map(|((_, form), name)| form.question(&format!("{place}.{name}")))
        .collect();
    let condition = range.condition(table.range_column.as_ref());
    let question = format!("SELECT {} FROM {place}{condition}", selected.join(","));
    let head = format!("INSERT INTO {place} ({}) VALUES ", names.join(","));
    let mut writer = Writer::new(into, &head, table, &progress.rows);
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
