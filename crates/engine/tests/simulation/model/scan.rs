//! Locks that a statement takes on its way: rows, ranges and groups, entry by entry, with the gaps between them.
//!
//! After every wait the place is looked at again, because it may have changed meanwhile.

use super::execute::{Failure, Running};
use super::locks::{HIGHEST, Index, IndexKey, LOWEST, Mode, Place, WaitEnd, Wanted};
use super::sql::{Filter, Level, Table};
use std::time::Duration;

/// `lock_wait_timeout`, which is a day by default: whoever relies on it hangs.
const METADATA_WAIT: Duration = Duration::from_secs(86_400);

impl Running<'_> {
    /// Locks what `filter` covers, entry by entry, and returns the live rows in the order of the index.
    pub async fn lock_rows(&mut self, table: Table, filter: Filter, mode: Mode) -> Result<Vec<i64>, Failure> {
        match filter {
            Filter::Key(k) => self.lock_key(table, k, mode).await,
            Filter::Range(low, high) => self.lock_range(table, low, high, mode).await,
            Filter::All => self.lock_range(table, i64::MIN, i64::MAX, mode).await,
            Filter::Group(g) => self.lock_group(table, g, mode).await,
        }
    }

    async fn lock_key(&mut self, table: Table, k: i64, mode: Mode) -> Result<Vec<i64>, Failure> {
        self.breathe().await?;
        loop {
            if !self.step(|state| state.storage.has_entry(table, k)) {
                self.lock_gap_around(table, Index::Primary, (k, 0));
                return Ok(Vec::new());
            }
            if !self.acquire_point(table, Index::Primary, (k, 0), mode).await? {
                let live = self.step(|state| state.storage.current(table, k)).is_some();
                return Ok(if live { vec![k] } else { Vec::new() });
            }
        }
    }

    async fn lock_range(&mut self, table: Table, low: i64, high: i64, mode: Mode) -> Result<Vec<i64>, Failure> {
        let (mut keys, mut from) = (Vec::new(), low);
        loop {
            self.breathe().await?;
            let Some(k) = self.step(|state| state.storage.entry_at_or_after(table, from)) else {
                self.lock_gap_around(table, Index::Primary, (i64::MAX, 0));
                return Ok(keys);
            };
            if k > high && !self.server.policy.locks_entry_after_range {
                self.lock_gap_below(table, Index::Primary, (k, 0));
                return Ok(keys);
            }
            let gap_counts = k != low;
            if gap_counts && self.server.policy.gap_before_entry {
                self.lock_gap_below(table, Index::Primary, (k, 0));
            }
            if self.acquire_point(table, Index::Primary, (k, 0), mode).await? {
                continue;
            }
            if gap_counts {
                self.lock_gap_below(table, Index::Primary, (k, 0));
            }
            if k > high {
                return Ok(keys);
            }
            if self.step(|state| state.storage.current(table, k)).is_some() {
                keys.push(k);
            }
            from = k + 1;
        }
    }

    async fn lock_group(&mut self, table: Table, g: i64, mode: Mode) -> Result<Vec<i64>, Failure> {
        let (mut keys, mut from) = (Vec::new(), (g, i64::MIN));
        loop {
            self.breathe().await?;
            let entry = self.step(|state| state.storage.group_entries(table, from).1);
            let Some(entry) = entry.filter(|entry| entry.0 == g) else {
                self.lock_gap_around(table, Index::Secondary, (g, i64::MAX));
                return Ok(keys);
            };
            if self.server.policy.gap_before_entry {
                self.lock_gap_below(table, Index::Secondary, entry);
            }
            if self.acquire_point(table, Index::Secondary, entry, mode).await? {
                continue;
            }
            self.lock_gap_below(table, Index::Secondary, entry);
            let k = entry.1;
            if self.acquire_point(table, Index::Primary, (k, 0), mode).await? {
                continue;
            }
            let row = self.step(|state| state.storage.current(table, k));
            if row.is_some_and(|row| row.g == g) {
                keys.push(k);
            }
            from = (g, k + 1);
        }
    }

    /// The gap that ends at an entry.
    pub fn lock_gap_below(&mut self, table: Table, index: Index, entry: IndexKey) {
        self.lock_gap(table, index, entry, entry);
    }

    /// The gap in which a place without an entry lies.
    fn lock_gap_around(&mut self, table: Table, index: Index, place: IndexKey) {
        let above = self.step(|state| match index {
            Index::Primary => state.storage.entry_at_or_after(table, place.0).map(|k| (k, 0)),
            Index::Secondary => state.storage.group_entries(table, place).1,
            Index::Definition => None,
        });
        self.lock_gap(table, index, place, above.unwrap_or(HIGHEST));
    }

    fn lock_gap(&mut self, table: Table, index: Index, before: IndexKey, high: IndexKey) {
        if self.level == Level::ReadCommitted {
            return;
        }
        let transaction = self.transaction;
        self.step(|state| {
            let low = match index {
                Index::Primary => state.storage.entry_before(table, before.0).map(|k| (k, 0)),
                Index::Secondary => state.storage.group_entries(table, before).0,
                Index::Definition => None,
            };
            state
                .locks
                .lock_gap(transaction, table, index, low.unwrap_or(LOWEST), high);
        });
    }

    pub async fn acquire_point(
        &mut self,
        table: Table,
        index: Index,
        key: IndexKey,
        mode: Mode,
    ) -> Result<bool, Failure> {
        self.acquire(Wanted::Point(Place { table, index, key }, mode)).await
    }

    /// Takes a lock. True if it had to be waited for: the place may look different now.
    pub async fn acquire(&mut self, wanted: Wanted) -> Result<bool, Failure> {
        let transaction = self.transaction;
        let Some(woken) = self.step(|state| state.locks.request(transaction, wanted)) else {
            return Ok(false);
        };
        let server = self.server;
        server.trace_wait(self.connection, wanted);
        let patience = match wanted {
            Wanted::Point(place, _) if place.index == Index::Definition => METADATA_WAIT,
            _ => server.policy.lock_wait_timeout,
        };
        tokio::select! {
            biased;
            end = woken => match end {
                Ok(WaitEnd::Granted) => Ok(true),
                Ok(WaitEnd::Deadlock) => Err(Failure::Deadlock),
                Ok(WaitEnd::Killed) | Err(_) => Err(Failure::Killed),
            },
            () = tokio::time::sleep(patience) => {
                self.step(|state| state.locks.cancel(transaction));
                Err(Failure::LockWait)
            }
        }
    }

    /// A moment in which others may run, and a kill is noticed.
    pub async fn breathe(&mut self) -> Result<(), Failure> {
        let connection = self.connection;
        let draw = self.step(|state| state.random.below(100));
        match draw {
            0..4 => tokio::time::sleep(Duration::from_millis(1)).await,
            4..20 => tokio::task::yield_now().await,
            _ => {}
        }
        if self.step(|state| state.is_killed(connection)) {
            return Err(Failure::Killed);
        }
        Ok(())
    }
}
