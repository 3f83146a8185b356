//! One statement on a model server: which locks it takes, in which order, and what it changes.
//!
//! The order follows InnoDB in REPEATABLE READ: a range is locked entry by entry while it is scanned (next-key locks, the entry after
//! the range included), a secondary index before the row itself, an insertion waits for gap locks that cover its place. READ COMMITTED
//! takes no gaps, SERIALIZABLE turns plain reads into locking ones. After every wait the place is looked at again.

use super::locks::{Index, Mode, Place, TransactionId, Wanted};
use super::server::{Server, State};
use super::sql::{Change, Filter, Insert, Level, NewRow, RowLock, Sql, Table, Verb};
use super::storage::{Row, Rows};

/// Why a statement failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// 1213: the whole transaction is gone.
    Deadlock,
    /// 1205: only the statement is undone.
    LockWait,
    /// 1317.
    Killed,
    /// 1062.
    Duplicate,
    /// 1305.
    NoSavepoint,
    /// 1412.
    DefinitionChanged,
    /// 1064: a statement was killed while it read a trigger.
    Damaged,
    /// 1467 in place of 1213: MariaDB's answer to a victim that wanted a generated key. The whole transaction is gone.
    VictimWithoutKey,
    /// 1467 in place of 1205: the same packet, but the transaction is still open.
    KeyNotGenerated,
    /// 1064: several statements, which the connection has not been set to take.
    SeveralStatements,
    /// 1048: NULL where none may be.
    NullForbidden,
    /// 1049.
    NoSchema,
    /// 1146.
    NoTable,
}

impl Failure {
    pub fn ends_transaction(self) -> bool {
        matches!(self, Self::Deadlock | Self::VictimWithoutKey)
    }

    pub fn code(self) -> (u16, &'static str) {
        match self {
            Self::Deadlock => (1213, "40001"),
            Self::LockWait => (1205, "HY000"),
            Self::Killed => (1317, "70100"),
            Self::Duplicate => (1062, "23000"),
            Self::NoSavepoint => (1305, "42000"),
            Self::DefinitionChanged => (1412, "HY000"),
            Self::Damaged | Self::SeveralStatements => (1064, "42000"),
            Self::NullForbidden => (1048, "23000"),
            Self::NoSchema => (1049, "42000"),
            Self::NoTable => (1146, "42S02"),
            Self::VictimWithoutKey | Self::KeyNotGenerated => (1467, "HY000"),
        }
    }
}

/// What a statement answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Done {
        affected: u64,
        insert_id: u64,
        info: String,
    },
    Rows(Rows),
    Value(i64),
    /// Columns and rows of one of Grove's own tables.
    Texts(&'static [&'static str], Vec<Vec<String>>),
    /// A prepared statement's id.
    Prepared(u32),
    /// COM_SET_OPTION is answered as if rows ended.
    OptionSet,
}

impl Outcome {
    pub fn nothing() -> Self {
        Self::affected(0, 0, String::new())
    }

    pub fn affected(affected: u64, insert_id: u64, info: String) -> Self {
        Self::Done {
            affected,
            insert_id,
            info,
        }
    }
}

/// What a connection's variables contribute to a statement.
#[derive(Clone, Debug, Default)]
pub struct Variables {
    /// `TIMESTAMP`, in microseconds; the server's own clock if unset.
    pub timestamp: Option<i64>,
    /// `RAND_SEED1` and `RAND_SEED2`; whatever the server started with if unset.
    pub seeds: (u64, u64),
    /// `INSERT_ID`, for the next statement only.
    pub insert_id: Option<i64>,
    pub last_insert_id: i64,
}

/// A statement that is running.
pub struct Running<'a> {
    pub server: &'a Server,
    pub connection: u32,
    pub transaction: TransactionId,
    pub level: Level,
    pub variables: &'a mut Variables,
}

pub enum Inserted {
    Yes,
    DuplicateOf(i64),
}

impl Running<'_> {
    pub async fn run(&mut self, sql: &Sql) -> Result<Outcome, Failure> {
        for table in sql.tables() {
            self.acquire_point(table, Index::Definition, (0, 0), Mode::Shared)
                .await?;
        }
        match sql {
            Sql::Update { table, change, filter } => self.update(*table, *change, *filter).await,
            Sql::Delete { table, filter } => self.delete(*table, *filter).await,
            Sql::Insert(insert) => self.insert(insert).await,
            Sql::InsertSelect {
                into,
                from,
                shift,
                filter,
            } => self.insert_select(*into, *from, *shift, *filter).await,
            Sql::Select { table, filter, lock } => {
                let mode = match lock {
                    RowLock::None => None,
                    RowLock::Share => Some(Mode::Shared),
                    RowLock::Update => Some(Mode::Exclusive),
                };
                self.select(*table, *filter, mode).await
            }
            Sql::Truncate(table) => {
                self.acquire_point(*table, Index::Definition, (0, 0), Mode::Exclusive)
                    .await?;
                self.step(|state| state.storage.truncate(*table));
                Ok(Outcome::nothing())
            }
            Sql::Own(own) => self.run_own(own).await,
            _ => Ok(Outcome::nothing()),
        }
    }

    async fn select(&mut self, table: Table, filter: Filter, mode: Option<Mode>) -> Result<Outcome, Failure> {
        let Some(mode) = mode else {
            self.breathe().await?;
            return self.consistent_read(table, filter).map(Outcome::Rows);
        };
        let keys = self.lock_rows(table, filter, mode).await?;
        let rows = self.step(|state| {
            let row = |&k: &i64| state.storage.current(table, k).map(|row| (k, row));
            keys.iter().filter_map(row).collect()
        });
        Ok(Outcome::Rows(rows))
    }

    pub fn consistent_read(&mut self, table: Table, filter: Filter) -> Result<Rows, Failure> {
        let (transaction, keeps) = (self.transaction, self.level != Level::ReadCommitted);
        let rows = self.step(|state| {
            let now = state.storage.now();
            let snapshot = match state.transactions.get_mut(&transaction) {
                Some(open) if keeps => *open.snapshot.get_or_insert(now),
                _ => now,
            };
            if state.storage.is_newer_than(table, snapshot) {
                return Err(Failure::DefinitionChanged);
            }
            Ok(state.storage.visible(table, snapshot, transaction))
        })?;
        Ok(rows.into_iter().filter(|(k, row)| filter.holds(*k, *row)).collect())
    }

    async fn update(&mut self, table: Table, change: Change, filter: Filter) -> Result<Outcome, Failure> {
        let (mut matched, mut changed) = (0, 0);
        for k in self.lock_rows(table, filter, Mode::Exclusive).await? {
            let Some(old) = self.step(|state| state.storage.current(table, k)) else {
                continue;
            };
            let new = self.changed(old, change);
            matched += 1;
            if new != old {
                changed += 1;
                self.change_row(table, k, old, new).await?;
            }
        }
        let info = format!("Rows matched: {matched}  Changed: {changed}  Warnings: 0");
        Ok(Outcome::affected(changed, 0, info))
    }

    fn changed(&mut self, row: Row, change: Change) -> Row {
        let Row { g, v } = row;
        // Numbers stay small, so that a wrong order of `+` and `*` is never lost in an overflow.
        let small = |v: i64| v.rem_euclid(1_000_003);
        match change {
            Change::Add(n) => Row { g, v: v + n },
            Change::Multiply(n) => Row { g, v: small(v * n) },
            Change::Put(n) => Row { g, v: n },
            Change::Group(g) => Row { g, v },
            Change::Clock => {
                let timestamp = self.variables.timestamp;
                let v = timestamp.unwrap_or_else(|| self.server.own_clock());
                Row { g, v }
            }
            Change::Chance => {
                let seeds = &mut self.variables.seeds;
                let next = seeds.0.wrapping_mul(3).wrapping_add(seeds.1) % 0x3FFF_FFFF;
                *seeds = (next, (next + seeds.1 + 33) % 0x3FFF_FFFF);
                Row {
                    g,
                    v: (next % 1000) as i64,
                }
            }
        }
    }

    async fn change_row(&mut self, table: Table, k: i64, old: Row, new: Row) -> Result<(), Failure> {
        if old.g != new.g {
            self.acquire_point(table, Index::Secondary, (old.g, k), Mode::Exclusive)
                .await?;
            if let Inserted::DuplicateOf(_) = self.enter_group(table, k, new.g, Mode::Shared).await? {
                return Err(Failure::Duplicate);
            }
        }
        self.put(table, k, Some(new));
        Ok(())
    }

    pub async fn delete(&mut self, table: Table, filter: Filter) -> Result<Outcome, Failure> {
        let mut deleted = 0;
        if self.breathe().await.is_err() && self.server.policy.is_mariadb {
            // It was looking for its range, found that it had been killed, and says that there is none.
            return Ok(Outcome::affected(0, 0, String::new()));
        }
        for k in self.lock_rows(table, filter, Mode::Exclusive).await? {
            deleted += u64::from(self.delete_row(table, k).await?);
        }
        Ok(Outcome::affected(deleted, 0, String::new()))
    }

    /// Deletes a row that is locked. False if it is gone.
    async fn delete_row(&mut self, table: Table, k: i64) -> Result<bool, Failure> {
        let Some(row) = self.step(|state| state.storage.current(table, k)) else {
            return Ok(false);
        };
        self.acquire_point(table, Index::Secondary, (row.g, k), Mode::Exclusive)
            .await?;
        self.put(table, k, None);
        Ok(true)
    }

    async fn insert(&mut self, insert: &Insert) -> Result<Outcome, Failure> {
        let generates = insert.rows.iter().any(|row| row.k.is_none());
        let mut next = None;
        if generates {
            let count = insert.rows.len() as i64;
            next = Some(match self.variables.insert_id.take() {
                Some(forced) => forced,
                None => self.generate(insert.table, count, Bulk::No).await?,
            });
        }
        let (mut affected, mut duplicates, mut first_id, mut last_updated) = (0, 0, None, None);
        for row in &insert.rows {
            let k = row.k.or(next).unwrap_or_default();
            let generated = row.k.is_none();
            let inserted = self.insert_one(insert, *row, k, &mut affected).await?;
            match inserted {
                Inserted::Yes if generated => {
                    first_id.get_or_insert(k);
                }
                Inserted::Yes => {}
                Inserted::DuplicateOf(other) => {
                    duplicates += 1;
                    last_updated = Some(other);
                }
            }
            if generated && (matches!(inserted, Inserted::Yes) || self.server.policy.lost_keys_stay_lost) {
                next = next.map(|k| k + 1);
            }
        }
        let updated = last_updated.filter(|_| insert.on_duplicate_add.is_some() && insert.table.has_generated_keys());
        let insert_id = first_id.or(updated).unwrap_or(0);
        if let Some(first) = first_id {
            self.variables.last_insert_id = first;
        }
        let info = match insert.rows.len() {
            1 => String::new(),
            records => format!("Records: {records}  Duplicates: {duplicates}  Warnings: 0"),
        };
        Ok(Outcome::affected(affected, insert_id as u64, info))
    }

    async fn insert_one(
        &mut self,
        insert: &Insert,
        row: NewRow,
        k: i64,
        affected: &mut u64,
    ) -> Result<Inserted, Failure> {
        let table = insert.table;
        let new = Row { g: row.g, v: row.v };
        let overwrites = insert.verb == Verb::Replace || insert.on_duplicate_add.is_some();
        let mode = if overwrites { Mode::Exclusive } else { Mode::Shared };
        loop {
            let duplicate = match self.insert_row(table, k, new, mode).await? {
                Inserted::Yes => {
                    *affected += 1;
                    return Ok(Inserted::Yes);
                }
                Inserted::DuplicateOf(other) => other,
            };
            if !overwrites {
                return match insert.verb {
                    Verb::InsertIgnore => Ok(Inserted::DuplicateOf(duplicate)),
                    _ => Err(Failure::Duplicate),
                };
            }
            self.acquire_point(table, Index::Primary, (duplicate, 0), Mode::Exclusive)
                .await?;
            if let Some(add) = insert.on_duplicate_add {
                let Some(old) = self.step(|state| state.storage.current(table, duplicate)) else {
                    continue;
                };
                if add != 0 {
                    let v = old.v + add;
                    self.put(table, duplicate, Some(Row { g: old.g, v }));
                    *affected += 2;
                }
                return Ok(Inserted::DuplicateOf(duplicate));
            }
            *affected += u64::from(self.delete_row(table, duplicate).await?);
        }
    }

    async fn insert_select(
        &mut self,
        into: Table,
        from: Table,
        shift: Option<i64>,
        filter: Filter,
    ) -> Result<Outcome, Failure> {
        // In READ COMMITTED the source is read without locks.
        let rows: Rows = if self.level == Level::ReadCommitted {
            self.consistent_read(from, filter)?
        } else {
            match self.select(from, filter, Some(Mode::Shared)).await? {
                Outcome::Rows(rows) => rows,
                _ => Rows::new(),
            }
        };
        let mut forced = self.variables.insert_id.take();
        let (mut first_id, mut affected) = (None, 0);
        for (source, row) in &rows {
            let k = match (shift, &mut forced) {
                (Some(shift), _) => source + shift,
                (None, Some(next)) => {
                    *next += 1;
                    *next - 1
                }
                (None, None) => self.generate(into, 1, Bulk::Yes).await?,
            };
            if shift.is_none() {
                first_id.get_or_insert(k);
            }
            match self.insert_row(into, k, *row, Mode::Shared).await? {
                Inserted::Yes => affected += 1,
                Inserted::DuplicateOf(_) => return Err(Failure::Duplicate),
            }
        }
        if let Some(first) = first_id {
            self.variables.last_insert_id = first;
        }
        let info = format!("Records: {}  Duplicates: 0  Warnings: 0", rows.len());
        Ok(Outcome::affected(affected, first_id.unwrap_or(0) as u64, info))
    }

    /// Generated keys. In mode 1 a bulk insert keeps the right to generate to its end, in mode 2 nobody does.
    async fn generate(&mut self, table: Table, count: i64, bulk: Bulk) -> Result<i64, Failure> {
        if self.server.policy.autoinc_lock_mode == 1 {
            match self.acquire(Wanted::Generator(table)).await {
                Err(Failure::Deadlock) if self.server.policy.is_mariadb => return Err(Failure::VictimWithoutKey),
                Err(Failure::LockWait) if self.server.policy.is_mariadb => return Err(Failure::KeyNotGenerated),
                Err(failure) => return Err(failure),
                Ok(_) => {}
            }
        }
        let transaction = self.transaction;
        let first = self.step(|state| {
            if bulk == Bulk::No {
                state.locks.release_generator(transaction, table);
            }
            state.storage.generate_keys(table, count)
        });
        self.breathe().await?;
        Ok(first)
    }

    /// Inserts a row or says which live row is in its way. Nothing is left of a row that was not inserted, except locks.
    pub async fn insert_row(&mut self, table: Table, k: i64, row: Row, mode: Mode) -> Result<Inserted, Failure> {
        self.breathe().await?;
        loop {
            if self.step(|state| state.storage.has_entry(table, k)) {
                if self.acquire_point(table, Index::Primary, (k, 0), mode).await? {
                    continue;
                }
                if self.step(|state| state.storage.current(table, k)).is_some() {
                    if mode == Mode::Exclusive {
                        self.lock_gap_below(table, Index::Primary, (k, 0));
                    }
                    return Ok(Inserted::DuplicateOf(k));
                }
            } else {
                let place = Place {
                    table,
                    index: Index::Primary,
                    key: (k, 0),
                };
                if self.acquire(Wanted::Insertion(place)).await? {
                    continue;
                }
            }
            if !self
                .acquire_point(table, Index::Primary, (k, 0), Mode::Exclusive)
                .await?
            {
                break;
            }
        }
        let mark = self.mark();
        self.put(table, k, Some(row));
        self.step(|state| state.storage.set_indexed(table, k, false));
        match self.enter_group(table, k, row.g, mode).await? {
            Inserted::Yes => {
                self.step(|state| state.storage.set_indexed(table, k, true));
                Ok(Inserted::Yes)
            }
            Inserted::DuplicateOf(other) => {
                self.undo_to(mark);
                Ok(Inserted::DuplicateOf(other))
            }
        }
    }

    /// Puts row `k` into the secondary index under `g`.
    async fn enter_group(&mut self, table: Table, k: i64, g: i64, mode: Mode) -> Result<Inserted, Failure> {
        'again: loop {
            if table.has_unique_group() {
                let mut from = (g, i64::MIN);
                while let Some(entry) = self.step(|state| state.storage.group_entries(table, from).1) {
                    if entry.0 != g {
                        break;
                    }
                    if entry.1 != k {
                        if self.acquire_point(table, Index::Secondary, entry, mode).await? {
                            continue 'again;
                        }
                        self.lock_gap_below(table, Index::Secondary, entry);
                        let row = self.step(|state| state.storage.current(table, entry.1));
                        if row.is_some_and(|row| row.g == g) {
                            return Ok(Inserted::DuplicateOf(entry.1));
                        }
                    }
                    from = (g, entry.1 + 1);
                }
            }
            let place = Place {
                table,
                index: Index::Secondary,
                key: (g, k),
            };
            if self.acquire(Wanted::Insertion(place)).await? {
                continue;
            }
            if !self
                .acquire_point(table, Index::Secondary, (g, k), Mode::Exclusive)
                .await?
            {
                return Ok(Inserted::Yes);
            }
        }
    }

    pub fn put(&mut self, table: Table, k: i64, row: Option<Row>) {
        let transaction = self.transaction;
        self.step(|state| {
            if let Some(open) = state.transactions.get_mut(&transaction) {
                state.storage.put(transaction, &mut open.undo, table, k, row);
            }
        });
    }

    fn mark(&self) -> usize {
        let transaction = self.transaction;
        self.step(|state| state.transactions.get(&transaction).map_or(0, |open| open.undo.mark()))
    }

    fn undo_to(&mut self, mark: usize) {
        let transaction = self.transaction;
        self.step(|state| {
            if let Some(open) = state.transactions.get_mut(&transaction) {
                state.storage.undo(&mut open.undo, mark);
            }
        });
    }

    pub fn step<R>(&self, action: impl FnOnce(&mut State) -> R) -> R {
        self.server.step(action)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Bulk {
    Yes,
    No,
}

impl Filter {
    pub fn holds(self, k: i64, row: Row) -> bool {
        match self {
            Self::All => true,
            Self::Key(key) => k == key,
            Self::Range(low, high) => (low..=high).contains(&k),
            Self::Group(g) => row.g == g,
        }
    }
}
