//! The tiny SQL that clients of the simulation speak: a statement as a value, its text, and the text read back.
//!
//! Every table has the columns `k` (primary key), `g` (secondary index) and `v`.

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
    /// `DO 0`: nothing, but on every server.
    Nothing,
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
}

impl Table {
    pub const ALL: [Self; 6] = [Self::T, Self::A, Self::U, Self::B, Self::C, Self::L];

    pub fn name(self) -> &'static str {
        match self {
            Self::T => "t",
            Self::A => "a",
            Self::U => "u",
            Self::B => "b",
            Self::C => "c",
            Self::L => "l",
        }
    }

    pub fn has_generated_keys(self) -> bool {
        matches!(self, Self::A | Self::U)
    }

    pub fn has_unique_group(self) -> bool {
        self == Self::U
    }

    fn named(name: &str) -> Option<Self> {
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
    /// Reads a statement's text; `None` if it is none of the templates.
    pub fn parse(text: &str) -> Option<Self> {
        let mut words = Words(tokens(text).into_iter().peekable());
        let sql = words.statement()?;
        words.0.next().is_none().then_some(sql)
    }

    /// Whether the statement may change rows, or locks some.
    pub fn is_write(&self) -> bool {
        match self {
            Self::Update { .. } | Self::Delete { .. } | Self::Insert(_) | Self::InsertSelect { .. } => true,
            Self::Select { lock, .. } => *lock != RowLock::None,
            _ => false,
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
            Self::Nothing => f.write_str("DO 0"),
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

/// Words, numbers (with their sign) and single characters.
fn tokens(text: &str) -> Vec<&str> {
    let bytes = text.as_bytes();
    let (mut at, mut found) = (0, Vec::with_capacity(16));
    while at < bytes.len() {
        if bytes[at].is_ascii_whitespace() {
            at += 1;
            continue;
        }
        let word = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.');
        let negative = bytes[at] == b'-' && bytes.get(at + 1).is_some_and(u8::is_ascii_digit);
        let begin = at;
        if word(&bytes[at]) || negative {
            at += 1;
            while at < bytes.len() && word(&bytes[at]) {
                at += 1;
            }
        } else {
            at += 1;
        }
        found.push(&text[begin..at]);
    }
    found
}

struct Words<'a>(std::iter::Peekable<std::vec::IntoIter<&'a str>>);

impl<'a> Words<'a> {
    fn takes(&mut self, word: &str) -> bool {
        self.0.next_if(|next| next.eq_ignore_ascii_case(word)).is_some()
    }

    fn all(&mut self, words: &[&str]) -> Option<()> {
        words.iter().all(|word| self.takes(word)).then_some(())
    }

    fn number(&mut self) -> Option<i64> {
        self.0.next()?.parse().ok()
    }

    fn name(&mut self) -> Option<String> {
        self.0.next().map(str::to_owned)
    }

    fn table(&mut self) -> Option<Table> {
        Table::named(self.0.next()?)
    }

    fn statement(&mut self) -> Option<Sql> {
        match self.0.next()?.to_ascii_uppercase().as_str() {
            "BEGIN" => Some(Sql::Begin),
            "START" => self
                .all(&["TRANSACTION", "WITH", "CONSISTENT", "SNAPSHOT"])
                .map(|()| Sql::BeginWithSnapshot),
            "COMMIT" => Some(Sql::Commit),
            "ROLLBACK" if self.takes("TO") => Some(Sql::RollbackTo(self.name()?)),
            "ROLLBACK" => Some(Sql::Rollback),
            "SAVEPOINT" => Some(Sql::Savepoint(self.name()?)),
            "RELEASE" => {
                self.all(&["SAVEPOINT"])?;
                Some(Sql::Release(self.name()?))
            }
            "SET" => self.set(),
            "UPDATE" => {
                let table = self.table()?;
                self.all(&["SET"])?;
                Some(Sql::Update {
                    table,
                    change: self.change()?,
                    filter: self.filter()?,
                })
            }
            "DELETE" => {
                self.all(&["FROM"])?;
                Some(Sql::Delete {
                    table: self.table()?,
                    filter: self.filter()?,
                })
            }
            "INSERT" if self.takes("IGNORE") => self.insert(Verb::InsertIgnore),
            "INSERT" => self.insert(Verb::Insert),
            "REPLACE" => self.insert(Verb::Replace),
            "SELECT" => self.select(),
            "SHOW" => self.all(&["WARNINGS"]).map(|()| Sql::ShowWarnings),
            "DO" => self.all(&["0"]).map(|()| Sql::Nothing),
            _ => None,
        }
    }

    fn set(&mut self) -> Option<Sql> {
        let session = if self.takes("SESSION") {
            Reach::Session
        } else {
            Reach::Next
        };
        if self.takes("TRANSACTION") {
            self.all(&["ISOLATION", "LEVEL"])?;
            let level = match self.0.next()? {
                "SERIALIZABLE" => Level::Serializable,
                "REPEATABLE" => self.all(&["READ"]).map(|()| Level::RepeatableRead)?,
                _ => self.all(&["COMMITTED"]).map(|()| Level::ReadCommitted)?,
            };
            return Some(Sql::Isolation { session, level });
        }
        let mut items = Vec::new();
        loop {
            self.takes("@");
            let quoted = self.takes("`");
            let name = self.name()?;
            if quoted {
                self.all(&["`"])?;
            }
            self.all(&["="])?;
            items.push((name, self.name()?));
            if !self.takes(",") {
                return Some(Sql::Set(items));
            }
        }
    }

    fn change(&mut self) -> Option<Change> {
        if self.takes("g") {
            self.all(&["="])?;
            return self.number().map(Change::Group);
        }
        self.all(&["v", "="])?;
        if self.takes("v") {
            return match self.0.next()? {
                "+" => self.number().map(Change::Add),
                "*" => self.number().map(Change::Multiply),
                _ => None,
            };
        }
        if self.takes("UNIX_TIMESTAMP") {
            return self.all(&["(", ")"]).map(|()| Change::Clock);
        }
        if self.takes("FLOOR") {
            return self
                .all(&["(", "RAND", "(", ")", "*", "1000", ")"])
                .map(|()| Change::Chance);
        }
        self.number().map(Change::Put)
    }

    fn filter(&mut self) -> Option<Filter> {
        if !self.takes("WHERE") {
            return Some(Filter::All);
        }
        if self.takes("g") {
            self.all(&["="])?;
            return self.number().map(Filter::Group);
        }
        self.all(&["k"])?;
        if self.takes("=") {
            return self.number().map(Filter::Key);
        }
        self.all(&["BETWEEN"])?;
        let low = self.number()?;
        self.all(&["AND"])?;
        Some(Filter::Range(low, self.number()?))
    }

    fn insert(&mut self, verb: Verb) -> Option<Sql> {
        self.all(&["INTO"])?;
        let table = self.table()?;
        self.all(&["("])?;
        let has_key = self.takes("k");
        if has_key {
            self.all(&[","])?;
        }
        self.all(&["g", ",", "v", ")"])?;
        if self.takes("SELECT") {
            let mut shift = None;
            if has_key {
                self.all(&["k", "+"])?;
                shift = Some(self.number()?);
                self.all(&[","])?;
            }
            self.all(&["g", ",", "v", "FROM"])?;
            return Some(Sql::InsertSelect {
                into: table,
                from: self.table()?,
                shift,
                filter: self.filter()?,
            });
        }
        self.all(&["VALUES"])?;
        let mut rows = Vec::new();
        loop {
            self.all(&["("])?;
            let mut k = None;
            if has_key {
                k = Some(self.number()?);
                self.all(&[","])?;
            }
            let g = self.number()?;
            self.all(&[","])?;
            let v = self.number()?;
            self.all(&[")"])?;
            rows.push(NewRow { k, g, v });
            if !self.takes(",") {
                break;
            }
        }
        let mut on_duplicate_add = None;
        if self.takes("ON") {
            self.all(&["DUPLICATE", "KEY", "UPDATE", "v", "=", "v", "+"])?;
            on_duplicate_add = Some(self.number()?);
        }
        Some(Sql::Insert(Insert {
            table,
            verb,
            rows,
            on_duplicate_add,
        }))
    }

    fn select(&mut self) -> Option<Sql> {
        if self.takes("LAST_INSERT_ID") {
            return self.all(&["(", ")"]).map(|()| Sql::SelectLastInsertId);
        }
        self.all(&["*", "FROM"])?;
        let (table, filter) = (self.table()?, self.filter()?);
        let mut lock = RowLock::None;
        if self.takes("FOR") {
            self.all(&["UPDATE"])?;
            lock = RowLock::Update;
        } else if self.takes("LOCK") {
            self.all(&["IN", "SHARE", "MODE"])?;
            lock = RowLock::Share;
        }
        Some(Sql::Select { table, filter, lock })
    }
}

#[test]
fn every_template_is_read_back_as_it_was_written() {
    let texts = [
        "BEGIN",
        "START TRANSACTION WITH CONSISTENT SNAPSHOT",
        "ROLLBACK TO s1",
        "SET TIMESTAMP=1700000000.000123,RAND_SEED1=5",
        "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
        "UPDATE t SET v=v+-3 WHERE k BETWEEN 2 AND 5",
        "UPDATE t SET v=FLOOR(RAND()*1000) WHERE g=1",
        "DELETE FROM t",
        "INSERT INTO t (k,g,v) VALUES (1,2,3),(4,5,-6)",
        "INSERT IGNORE INTO u (g,v) VALUES (2,3)",
        "REPLACE INTO u (g,v) VALUES (2,3)",
        "INSERT INTO l (k,g,v) VALUES (1,2,3) ON DUPLICATE KEY UPDATE v=v+1",
        "INSERT INTO t (k,g,v) SELECT k+100,g,v FROM t WHERE k BETWEEN 1 AND 3",
        "INSERT INTO a (g,v) SELECT g,v FROM t WHERE g=2",
        "SELECT * FROM t WHERE k=3 FOR UPDATE",
        "SELECT * FROM b LOCK IN SHARE MODE",
        "DO 0",
    ];
    for text in texts {
        let sql = Sql::parse(text).unwrap_or_else(|| panic!("{text} is not understood"));
        assert_eq!(sql.to_string(), text);
    }
}
