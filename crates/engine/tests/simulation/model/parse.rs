//! Statement texts read back: exactly what [`Sql`] writes, and what the engine itself sends.

use super::own::Own;
use super::sql::{Change, Filter, Insert, Level, NewRow, Reach, RowLock, Sql, Table, Verb};

impl Sql {
    /// Reads a statement's text; `None` if it is none of the templates.
    pub fn parse(text: &str) -> Option<Self> {
        if let Some(own) = Own::parse(text) {
            return Some(Self::Own(own));
        }
        let mut words = Words(tokens(text).into_iter().peekable());
        let sql = words.statement()?;
        words.0.next().is_none().then_some(sql)
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
            "TRUNCATE" => {
                self.all(&["TABLE"])?;
                Some(Sql::Truncate(self.table()?))
            }
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
        "TRUNCATE TABLE t",
        "DO 0",
    ];
    for text in texts {
        let sql = Sql::parse(text).unwrap_or_else(|| panic!("{text} is not understood"));
        assert_eq!(sql.to_string(), text);
    }
}
