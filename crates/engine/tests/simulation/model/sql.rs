//! The tiny SQL that clients of the simulation speak: a statement as a value, its text, and the text read back.
//!
//! Every table has the columns `k` (primary key), `g` (secondary index) and `v`.

use super::own::Own;
use std::fmt;

/// A statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sql {
    Begin,
    BeginWithSnapshot,
    Commit,
    Rollback,
    Savepoint(String),
    RollbackTo(String),
    Release(String),
    /// `SET a=1,b=2`.
    Set(Vec<(String, String)>),
    /// `SET TRANSACTION ISOLATION LEVEL ..`, with or without SESSION.
    Isolation {
        session: Reach,
        level: Level,
    },
    Update {
        table: Table,
        change: Change,
        filter: Filter,
    },
    Delete {
        table: Table,
        filter: Filter,
    },
    Insert(Insert),
    /// `INSERT INTO a (k,g,v) SELECT k+100,g,v FROM b WHERE ..`, or without `k` where it is generated.
    InsertSelect {
        into: Table,
        from: Table,
        shift: Option<i64>,
        filter: Filter,
    },
    Select {
        table: Table,
        filter: Filter,
        lock: RowLock,
    },
    SelectLastInsertId,
    ShowWarnings,
    /// `TRUNCATE TABLE t`: commits by itself, and waits for everybody who uses the table.
    Truncate(Table),
    /// `DO 0`: nothing, but on every server.
    Nothing,
    /// About the schema `_grove`.
    Own(Own),
}

/// Whether a SET TRANSACTION is for the next transaction or for the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    Next,
    Session,
}

/// An isolation level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    ReadCommitted,
    RepeatableRead,
    Serializable,
}

/// The tables of the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    /// Rows with a plain secondary index.
    T,
    /// Generated keys.
    A,
    /// Generated keys and a unique secondary index.
    U,
    /// Accounts whose sum never changes.
    B,
    /// Counters that only grow.
    C,
    /// One row for every transaction that a client committed.
    L,
    /// Grove's own: the log that the server follows, and how far it has all of it.
    Standing,
    /// Grove's own: the token that units need.
    Fence,
    /// Grove's own: positions of entries that the server holds.
    Applied,
}

impl Table {
    /// The clients' tables.
    pub const ALL: [Self; 6] = [Self::T, Self::A, Self::U, Self::B, Self::C, Self::L];
    /// Grove's own tables.
    pub const OWN: [Self; 3] = [Self::Standing, Self::Fence, Self::Applied];

    pub fn name(self) -> &'static str {
        match self {
            Self::T => "t",
            Self::A => "a",
            Self::U => "u",
            Self::B => "b",
            Self::C => "c",
            Self::L => "l",
            Self::Standing => "standing",
            Self::Fence => "fence",
            Self::Applied => "applied",
        }
    }

    pub fn has_generated_keys(self) -> bool {
        matches!(self, Self::A | Self::U)
    }

    pub fn has_unique_group(self) -> bool {
        self == Self::U
    }

    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|table| table.name() == name)
    }
}

/// The WHERE clause.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Filter {
    All,
    Key(i64),
    Range(i64, i64),
    Group(i64),
}

/// The SET clause of an UPDATE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Add(i64),
    Multiply(i64),
    Put(i64),
    Group(i64),
    /// `v=UNIX_TIMESTAMP()`.
    Clock,
    /// `v=FLOOR(RAND()*1000)`.
    Chance,
}

/// INSERT and REPLACE with VALUES.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Insert {
    pub table: Table,
    pub verb: Verb,
    pub rows: Vec<NewRow>,
    /// `ON DUPLICATE KEY UPDATE v=v+n`.
    pub on_duplicate_add: Option<i64>,
}

/// The verb of an [`Insert`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    Insert,
    InsertIgnore,
    Replace,
}

/// A row to insert; without `k` the key is generated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewRow {
    pub k: Option<i64>,
    pub g: i64,
    pub v: i64,
}

/// The locking clause of a SELECT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowLock {
    None,
    Share,
    Update,
}

impl Sql {
    /// Whether the statement may change rows, or locks some.
    pub fn is_write(&self) -> bool {
        match self {
            Self::Update { .. } | Self::Delete { .. } | Self::Insert(_) | Self::InsertSelect { .. } => true,
            Self::Select { lock, .. } => *lock != RowLock::None,
            _ => false,
        }
    }

    /// The tables that the statement uses and does not redefine.
    pub fn tables(&self) -> Vec<Table> {
        match self {
            Self::Update { table, .. } | Self::Delete { table, .. } | Self::Select { table, .. } => vec![*table],
            Self::Insert(insert) => vec![insert.table],
            Self::InsertSelect { into, from, .. } => vec![*into, *from],
            Self::Own(own) => own.tables(),
            _ => Vec::new(),
        }
    }

    /// The table that the statement changes.
    pub fn changed_table(&self) -> Option<Table> {
        match self {
            Self::Update { table, .. } | Self::Delete { table, .. } => Some(*table),
            Self::Insert(insert) => Some(insert.table),
            Self::InsertSelect { into, .. } => Some(*into),
            _ => None,
        }
    }
}

impl fmt::Display for Sql {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Begin => f.write_str("BEGIN"),
            Self::BeginWithSnapshot => f.write_str("START TRANSACTION WITH CONSISTENT SNAPSHOT"),
            Self::Commit => f.write_str("COMMIT"),
            Self::Rollback => f.write_str("ROLLBACK"),
            Self::Savepoint(name) => write!(f, "SAVEPOINT {name}"),
            Self::RollbackTo(name) => write!(f, "ROLLBACK TO {name}"),
            Self::Release(name) => write!(f, "RELEASE SAVEPOINT {name}"),
            Self::Set(items) => {
                f.write_str("SET ")?;
                for (index, (name, value)) in items.iter().enumerate() {
                    write!(f, "{}{name}={value}", if index > 0 { "," } else { "" })?;
                }
                Ok(())
            }
            Self::Isolation { session, level } => {
                let session = if *session == Reach::Session { "SESSION " } else { "" };
                let level = match level {
                    Level::ReadCommitted => "READ COMMITTED",
                    Level::RepeatableRead => "REPEATABLE READ",
                    Level::Serializable => "SERIALIZABLE",
                };
                write!(f, "SET {session}TRANSACTION ISOLATION LEVEL {level}")
            }
            Self::Update { table, change, filter } => write!(f, "UPDATE {} SET {change}{filter}", table.name()),
            Self::Delete { table, filter } => write!(f, "DELETE FROM {}{filter}", table.name()),
            Self::Insert(insert) => insert.fmt(f),
            Self::InsertSelect {
                into,
                from,
                shift: Some(shift),
                filter,
            } => write!(
                f,
                "INSERT INTO {} (k,g,v) SELECT k+{shift},g,v FROM {}{filter}",
                into.name(),
                from.name()
            ),
            Self::InsertSelect {
                into,
                from,
                shift: None,
                filter,
            } => write!(
                f,
                "INSERT INTO {} (g,v) SELECT g,v FROM {}{filter}",
                into.name(),
                from.name()
            ),
            Self::Select { table, filter, lock } => {
                let lock = match lock {
                    RowLock::None => "",
                    RowLock::Share => " LOCK IN SHARE MODE",
                    RowLock::Update => " FOR UPDATE",
                };
                write!(f, "SELECT * FROM {}{filter}{lock}", table.name())
            }
            Self::SelectLastInsertId => f.write_str("SELECT LAST_INSERT_ID()"),
            Self::ShowWarnings => f.write_str("SHOW WARNINGS"),
            Self::Truncate(table) => write!(f, "TRUNCATE TABLE {}", table.name()),
            Self::Nothing => f.write_str("DO 0"),
            Self::Own(own) => own.fmt(f),
        }
    }
}

impl fmt::Display for Insert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = match self.verb {
            Verb::Insert => "INSERT",
            Verb::InsertIgnore => "INSERT IGNORE",
            Verb::Replace => "REPLACE",
        };
        let generated = self.rows.iter().any(|row| row.k.is_none());
        let columns = if generated { "(g,v)" } else { "(k,g,v)" };
        write!(f, "{verb} INTO {} {columns} VALUES ", self.table.name())?;
        for (index, row) in self.rows.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            match row.k {
                Some(k) => write!(f, "{comma}({k},{},{})", row.g, row.v)?,
                None => write!(f, "{comma}({},{})", row.g, row.v)?,
            }
        }
        match self.on_duplicate_add {
            Some(n) => write!(f, " ON DUPLICATE KEY UPDATE v=v+{n}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => Ok(()),
            Self::Key(k) => write!(f, " WHERE k={k}"),
            Self::Range(low, high) => write!(f, " WHERE k BETWEEN {low} AND {high}"),
            Self::Group(g) => write!(f, " WHERE g={g}"),
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Add(n) => write!(f, "v=v+{n}"),
            Self::Multiply(n) => write!(f, "v=v*{n}"),
            Self::Put(n) => write!(f, "v={n}"),
            Self::Group(g) => write!(f, "g={g}"),
            Self::Clock => f.write_str("v=UNIX_TIMESTAMP()"),
            Self::Chance => f.write_str("v=FLOOR(RAND()*1000)"),
        }
    }
}
