//! Seeded statements: conflicting, failing, generated keys, unique groups, whole-table scans.

use crate::model::sql::{Change, Filter, Insert, NewRow, RowLock, Sql, Table, Verb};
use crate::random::Random;

/// How crowded the tables are: the fewer keys and groups, the more conflicts.
#[derive(Clone, Copy, Debug)]
pub struct Workload {
    keys: i64,
    groups: i64,
}

impl Workload {
    pub fn draw(random: &mut Random) -> Self {
        let (keys, groups) = random.pick(&[(3, 1), (6, 2), (8, 3), (15, 4)]);
        Self { keys, groups }
    }

    /// A statement that writes to the tables without invariants of their own.
    pub fn write(self, random: &mut Random) -> Sql {
        let table = random.pick(&[Table::T, Table::T, Table::T, Table::A, Table::U]);
        match random.below(12) {
            0..5 => Sql::Update {
                table,
                change: self.change(random),
                filter: self.filter(random),
            },
            5 => Sql::Delete {
                table,
                filter: self.narrow_filter(random),
            },
            6 | 7 => Sql::Insert(self.insert(table, Verb::Insert, random)),
            8 => Sql::Insert(self.insert(table, Verb::InsertIgnore, random)),
            9 => Sql::Insert(self.insert(table, Verb::Replace, random)),
            10 => Sql::Insert(Insert {
                on_duplicate_add: Some(random.between(1, 9)),
                ..self.insert(table, Verb::Insert, random)
            }),
            _ => {
                let into = random.pick(&[Table::T, Table::A, Table::A]);
                Sql::InsertSelect {
                    into,
                    from: Table::T,
                    shift: (into == Table::T).then(|| random.between(1, self.keys)),
                    filter: self.filter(random),
                }
            }
        }
    }

    /// A read whose answer the client compares.
    pub fn read(self, random: &mut Random) -> Sql {
        let table = random.pick(&[Table::T, Table::A, Table::U, Table::B, Table::C, Table::C]);
        let whole = matches!(table, Table::B | Table::C) || random.chance(500);
        Sql::Select {
            table,
            filter: if whole { Filter::All } else { self.filter(random) },
            lock: RowLock::None,
        }
    }

    /// A read that locks.
    pub fn locking_read(self, random: &mut Random) -> Sql {
        Sql::Select {
            table: random.pick(&[Table::T, Table::U, Table::C]),
            filter: self.filter(random),
            lock: random.pick(&[RowLock::Share, RowLock::Update]),
        }
    }

    fn filter(self, random: &mut Random) -> Filter {
        match random.below(10) {
            0 => Filter::All,
            1..5 => Filter::Key(random.between(1, self.keys)),
            5..8 => {
                let low = random.between(1, self.keys);
                Filter::Range(low, low + random.between(0, self.keys / 4 + 1))
            }
            _ => Filter::Group(random.between(0, self.groups)),
        }
    }

    fn narrow_filter(self, random: &mut Random) -> Filter {
        match random.below(3) {
            0 => Filter::Group(random.between(0, self.groups)),
            1 => {
                let low = random.between(1, self.keys);
                Filter::Range(low, low + random.between(0, 2))
            }
            _ => Filter::Key(random.between(1, self.keys)),
        }
    }

    fn change(self, random: &mut Random) -> Change {
        match random.below(8) {
            0..2 => Change::Add(random.between(-9, 9)),
            2..4 => Change::Multiply(random.between(2, 5)),
            4 => Change::Put(random.between(0, 99)),
            5 => Change::Group(random.between(0, self.groups)),
            6 => Change::Clock,
            _ => Change::Chance,
        }
    }

    fn insert(self, table: Table, verb: Verb, random: &mut Random) -> Insert {
        let count = random.pick(&[1, 1, 2, 3]);
        let has_key = !table.has_generated_keys();
        let rows = (0..count).map(|_| NewRow {
            k: has_key.then(|| random.between(1, self.keys + 2)),
            g: random.between(0, self.groups),
            v: random.between(0, 99),
        });
        Insert {
            table,
            verb,
            rows: rows.collect(),
            on_duplicate_add: None,
        }
    }
}
