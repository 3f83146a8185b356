//! What a client may rely on, checked at every answer: snapshots, sums, counters that never fall, generated keys, the errors it may see.

use super::{Client, Effect, Next, Stop, wrong};
use crate::answer::Answer;
use crate::client::ACCOUNTS_SUM;
use crate::model::sql::{Filter, Insert, Level, RowLock, Sql, Table};
use crate::model::storage::Rows;
use grove_wire::StatusFlags;
use std::collections::BTreeMap;

impl Client {
    /// The last generated key, wherever the session reads.
    pub(super) async fn check_last_insert_id(&mut self) -> Result<Next, Stop> {
        let sql = Sql::SelectLastInsertId;
        let answer = self.execute(&sql).await?;
        match (&answer, self.last_insert_id) {
            (Answer::Value(found), Some(wanted)) if *found != wanted => {
                wrong(format!("{sql} is {found} instead of {wanted}"))
            }
            (Answer::Error(..), _) if self.open.is_some() => self.after(&sql, &answer),
            (Answer::Error(..), _) => self.allow(&sql, &answer).map(|()| Next::GoOn),
            _ => Ok(Next::GoOn),
        }
    }

    /// Errors that a single server gives, too.
    pub(super) fn allow(&self, sql: &Sql, answer: &Answer) -> Result<(), Stop> {
        match answer {
            Answer::Error(1213 | 1205, _) => Ok(()),
            Answer::Error(1180, _) if self.plan.refusals > 0 => Ok(()),
            Answer::Error(1317, _) if self.plan.kills > 0 && !matches!(sql, Sql::Commit) => Ok(()),
            Answer::Error(1412, _) if self.plan.truncates && !matches!(sql, Sql::Commit) => Ok(()),
            Answer::Error(1062 | 1467, _) if sql.is_write() => Ok(()),
            other => wrong(format!("{sql} was answered with {other:?}")),
        }
    }

    pub(super) async fn checked_read(&mut self, sql: &Sql) -> Result<Next, Stop> {
        let Sql::Select { table, filter, lock } = *sql else {
            return Ok(Next::GoOn);
        };
        let now = self.floor_now();
        let answer = self.execute(sql).await?;
        let next = if self.open.is_some() {
            self.after(sql, &answer)?
        } else {
            Next::GoOn
        };
        let Answer::Rows(rows, status) = answer else {
            self.allow(sql, &answer)?;
            return Ok(next);
        };
        let plain = lock == RowLock::None;
        let Some(open) = &mut self.open else {
            if status.contains(StatusFlags::IN_TRANS) {
                return wrong(format!("{sql} outside a transaction was answered as if one were open"));
            }
            self.check_rows(sql, &rows, &now)?;
            self.remember_counters(table, &rows);
            return Ok(next);
        };
        let own = open.changed.contains(&table);
        let keeps_snapshot = self.level == Level::RepeatableRead;
        let floor = if plain && keeps_snapshot {
            open.floor.get_or_insert(now).clone()
        } else {
            now
        };
        if plain && !own && self.level != Level::ReadCommitted {
            match open.reads.get(&(table, filter)) {
                Some(before) if *before != rows => {
                    return wrong(format!("{sql} is not repeatable: {before:?}, then {rows:?}"));
                }
                _ => {
                    open.reads.insert((table, filter), rows.clone());
                }
            }
        }
        if own {
            self.check_own_increments(sql, &rows)?;
        } else {
            self.check_rows(sql, &rows, &floor)?;
            self.remember_counters(table, &rows);
        }
        Ok(next)
    }

    /// A transaction sees its own increments, on top of what was acknowledged: its lock keeps everybody else's away.
    fn check_own_increments(&self, sql: &Sql, rows: &Rows) -> Result<(), Stop> {
        let (Some(open), Sql::Select { table: Table::C, .. }) = (&self.open, sql) else {
            return Ok(());
        };
        let notes = self.around.board.notes();
        for (k, row) in rows {
            let own = open
                .effects
                .iter()
                .filter(|effect| matches!(effect, Effect::Increment(at) if at == k));
            let own = own.count() as i64;
            let least = notes.counters.get(k).copied().unwrap_or(0) + own;
            if own > 0 && row.v < least {
                return wrong(format!(
                    "{sql} shows counter {k} at {} in spite of {own} own increments on {}",
                    row.v,
                    least - own
                ));
            }
        }
        Ok(())
    }

    pub(super) fn check_rows(&self, sql: &Sql, rows: &Rows, floor: &BTreeMap<i64, i64>) -> Result<(), Stop> {
        match sql {
            Sql::Select {
                table: Table::B,
                filter: Filter::All,
                ..
            } => {
                let sum: i64 = rows.iter().map(|(_, row)| row.v).sum();
                if sum != ACCOUNTS_SUM {
                    return wrong(format!("{sql} shows a transfer's half: {rows:?}"));
                }
            }
            Sql::Select { table: Table::C, .. } => {
                for (k, row) in rows {
                    let least = floor.get(k).copied().unwrap_or(0);
                    if row.v < least {
                        return wrong(format!("{sql} shows counter {k} at {} after {least}", row.v));
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    pub(super) fn remember_counters(&mut self, table: Table, rows: &Rows) {
        if table == Table::C {
            for (k, row) in rows {
                let seen = self.seen.entry(*k).or_default();
                *seen = row.v.max(*seen);
            }
        }
    }

    /// What a snapshot taken now must at least show.
    pub(super) fn floor_now(&self) -> BTreeMap<i64, i64> {
        let mut floor = self.around.board.notes().counters.clone();
        for (&k, &seen) in &self.seen {
            let least = floor.entry(k).or_default();
            *least = seen.max(*least);
        }
        floor
    }

    pub(super) fn note_insert_id(&mut self, sql: &Sql, answer: &Answer) {
        let generates = match sql {
            Sql::Insert(insert) => insert.table.has_generated_keys(),
            Sql::InsertSelect { shift, .. } => shift.is_none(),
            _ => return,
        };
        match (sql, answer) {
            _ if !generates => {}
            (
                Sql::Insert(Insert {
                    on_duplicate_add: Some(_),
                    ..
                }),
                _,
            )
            | (_, Answer::Error(..)) => {
                self.last_insert_id = None;
            }
            (_, Answer::Done(ok)) if ok.last_insert_id > 0 => self.last_insert_id = Some(ok.last_insert_id as i64),
            _ => {}
        }
    }
}
