//! Rows with their versions: what a transaction sees, what it changed, and how it is undone.
//!
//! A row's last version is the current one; a version without a commit number belongs to an open transaction. Deleted rows stay in the
//! indexes, as delete-marked entries, until they are purged at a moment that differs between servers.

use super::locks::{IndexKey, TransactionId};
use super::sql::Table;
use crate::random::Random;
use std::collections::BTreeMap;

/// Columns other than the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    pub g: i64,
    pub v: i64,
}

struct Version {
    writer: TransactionId,
    /// `None` while the writer is open.
    committed: Option<u64>,
    row: Option<Row>,
    /// The secondary index has it.
    indexed: bool,
}

/// Everything that a transaction has changed, newest last.
#[derive(Default)]
pub struct Undo(Vec<(Table, i64)>);

impl Undo {
    /// A place to come back to.
    pub fn mark(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[derive(Default)]
struct TableData {
    records: BTreeMap<i64, Vec<Version>>,
    next_key: i64,
    /// The commit that emptied the table; older snapshots cannot read it any more.
    truncated: u64,
}

/// The tables of a server.
pub struct Storage {
    tables: BTreeMap<Table, TableData>,
    commits: u64,
}

/// The rows of a table by key.
pub type Rows = Vec<(i64, Row)>;

/// Every table's rows and its next generated key.
pub type Copied = BTreeMap<Table, (Rows, i64)>;

impl Storage {
    /// The same rows on every server.
    pub fn new() -> Self {
        let mut tables: BTreeMap<Table, TableData> = BTreeMap::new();
        for table in Table::ALL.into_iter().chain(Table::OWN) {
            let rows: Vec<(i64, Row)> = match table {
                Table::T => (1..=6).map(|k| (k * 2, Row { g: k % 3, v: k })).collect(),
                Table::A => (1..=2).map(|k| (k, Row { g: k, v: k })).collect(),
                Table::U => (1..=3).map(|k| (k, Row { g: k * 2, v: k })).collect(),
                Table::B => (1..=5).map(|k| (k, Row { g: k % 2, v: 100 })).collect(),
                Table::C => (1..=3).map(|k| (k, Row { g: 0, v: 0 })).collect(),
                Table::L | Table::Standing | Table::Fence | Table::Applied => Vec::new(),
            };
            let data = tables.entry(table).or_default();
            data.next_key = rows.last().map_or(1, |(k, _)| k + 1);
            for (k, row) in rows {
                let version = Version {
                    writer: 0,
                    committed: Some(0),
                    row: Some(row),
                    indexed: true,
                };
                data.records.insert(k, vec![version]);
            }
        }
        Self { tables, commits: 0 }
    }

    /// Tables without rows.
    pub fn empty() -> Self {
        Self::of(&Copied::new())
    }

    /// What has been copied from another server.
    pub fn of(copied: &Copied) -> Self {
        let mut tables: BTreeMap<Table, TableData> = BTreeMap::new();
        for table in Table::ALL.into_iter().chain(Table::OWN) {
            let (rows, next_key) = copied.get(&table).cloned().unwrap_or((Rows::new(), 1));
            let version = |row| Version {
                writer: 0,
                committed: Some(0),
                row: Some(row),
                indexed: true,
            };
            let records = rows.into_iter().map(|(k, row)| (k, vec![version(row)])).collect();
            let data = TableData {
                records,
                next_key,
                truncated: 0,
            };
            tables.insert(table, data);
        }
        Self { tables, commits: 0 }
    }

    /// The committed rows of all tables, Grove's own among them, and the next generated keys.
    pub fn copy(&self) -> Copied {
        let rows = |table| (self.committed_rows(table), self.data(table).next_key);
        let tables = Table::ALL.into_iter().chain(Table::OWN);
        tables.map(|table| (table, rows(table))).collect()
    }

    fn data(&self, table: Table) -> &TableData {
        &self.tables[&table]
    }

    fn data_mut(&mut self, table: Table) -> &mut TableData {
        self.tables.entry(table).or_default()
    }

    /// The number of the newest commit: a snapshot.
    pub fn now(&self) -> u64 {
        self.commits
    }

    /// The current version of a row, whoever wrote it.
    pub fn current(&self, table: Table, k: i64) -> Option<Row> {
        self.data(table).records.get(&k)?.last()?.row
    }

    /// Whether the primary index has an entry, live or delete-marked.
    pub fn has_entry(&self, table: Table, k: i64) -> bool {
        self.data(table).records.contains_key(&k)
    }

    /// The first entry of the primary index at or after `from`.
    pub fn entry_at_or_after(&self, table: Table, from: i64) -> Option<i64> {
        self.data(table).records.range(from..).next().map(|(k, _)| *k)
    }

    /// The last entry of the primary index before `before`.
    pub fn entry_before(&self, table: Table, before: i64) -> Option<i64> {
        self.data(table).records.range(..before).next_back().map(|(k, _)| *k)
    }

    /// Entries of the secondary index around `from`: the last one before it and the first one at or after it. An entry exists as long
    /// as any version of the row has it.
    pub fn group_entries(&self, table: Table, from: IndexKey) -> (Option<IndexKey>, Option<IndexKey>) {
        let (mut before, mut after) = (None, None);
        for (&k, versions) in &self.data(table).records {
            for row in versions
                .iter()
                .filter(|version| version.indexed)
                .filter_map(|version| version.row)
            {
                let entry = (row.g, k);
                if entry < from {
                    before = before.max(Some(entry));
                } else {
                    after = Some(after.map_or(entry, |known: IndexKey| known.min(entry)));
                }
            }
        }
        (before, after)
    }

    /// Empties a table at once, for everybody.
    pub fn truncate(&mut self, table: Table) {
        self.commits += 1;
        let truncated = self.commits;
        *self.data_mut(table) = TableData {
            next_key: 1,
            truncated,
            ..TableData::default()
        };
    }

    /// Whether a snapshot is older than the table's definition.
    pub fn is_newer_than(&self, table: Table, snapshot: u64) -> bool {
        self.data(table).truncated > snapshot
    }

    /// What a transaction sees of a table through its snapshot.
    pub fn visible(&self, table: Table, snapshot: u64, reader: TransactionId) -> Rows {
        let sees =
            |version: &&Version| version.writer == reader || version.committed.is_some_and(|commit| commit <= snapshot);
        let records = self.data(table).records.iter();
        records
            .filter_map(|(k, versions)| Some((*k, versions.iter().rev().find(sees)?.row?)))
            .collect()
    }

    /// The committed rows of one table.
    pub fn committed_rows(&self, table: Table) -> Rows {
        self.visible(table, self.commits, TransactionId::MAX)
    }

    /// A crash may lose what generated keys have grown by: then they go on behind the last row.
    pub fn forget_generated_keys(&mut self) {
        for data in self.tables.values_mut() {
            data.next_key = data.records.last_key_value().map_or(1, |(k, _)| k + 1);
        }
    }

    /// The committed rows of the clients' tables, and the next generated keys.
    pub fn committed(&self) -> BTreeMap<Table, (Rows, i64)> {
        let rows = |table| (self.committed_rows(table), self.data(table).next_key);
        Table::ALL.into_iter().map(|table| (table, rows(table))).collect()
    }

    /// Gives a row a new version; `None` deletes it.
    pub fn put(&mut self, writer: TransactionId, undo: &mut Undo, table: Table, k: i64, row: Option<Row>) {
        let data = self.data_mut(table);
        data.records.entry(k).or_default().push(Version {
            writer,
            committed: None,
            row,
            indexed: true,
        });
        if row.is_some() && table.has_generated_keys() {
            data.next_key = data.next_key.max(k + 1);
        }
        undo.0.push((table, k));
    }

    /// Whether the secondary index already has the current version of a row.
    pub fn set_indexed(&mut self, table: Table, k: i64, indexed: bool) {
        let versions = self.data_mut(table).records.get_mut(&k);
        if let Some(version) = versions.and_then(|versions| versions.last_mut()) {
            version.indexed = indexed;
        }
    }

    /// Takes the next `count` generated keys.
    pub fn generate_keys(&mut self, table: Table, count: i64) -> i64 {
        let data = self.data_mut(table);
        data.next_key += count;
        data.next_key - count
    }

    /// Undoes what was done after `mark`.
    pub fn undo(&mut self, undo: &mut Undo, mark: usize) {
        while undo.0.len() > mark {
            let Some((table, k)) = undo.0.pop() else { return };
            let data = self.data_mut(table);
            if let Some(versions) = data.records.get_mut(&k) {
                versions.pop();
                if versions.is_empty() {
                    data.records.remove(&k);
                }
            }
        }
    }

    pub fn commit(&mut self, writer: TransactionId, undo: &Undo) {
        if undo.is_empty() {
            return;
        }
        self.commits += 1;
        let commit = self.commits;
        for &(table, k) in &undo.0 {
            for version in self.data_mut(table).records.get_mut(&k).into_iter().flatten() {
                if version.writer == writer {
                    version.committed.get_or_insert(commit);
                }
            }
        }
    }

    /// Forgets versions that nobody can see any more, and delete-marked entries.
    pub fn purge(&mut self, oldest_snapshot: u64, random: &mut Random) {
        for data in self.tables.values_mut() {
            data.records.retain(|_, versions| {
                let seen = versions
                    .iter()
                    .rposition(|version| version.committed.is_some_and(|commit| commit <= oldest_snapshot));
                let Some(seen) = seen else { return true };
                if versions.len() > 1 || versions[seen].row.is_none() {
                    if random.chance(300) {
                        return true;
                    }
                    versions.drain(..seen);
                }
                !(versions.len() == 1 && versions[0].row.is_none())
            });
        }
    }
}
