//! A client with a session of its own: random transactions, and checks of everything that a single server would promise it.

mod checks;
mod statement;
mod transaction;

use crate::answer::Answer;
use crate::board::{Board, Verdict};
use crate::model::sql::{Change, Filter, Insert, Level, NewRow, Reach, Sql, Table, Verb};
use crate::model::storage::Rows;
use crate::random::Random;
use crate::statements::lex_mode;
use crate::trace::Trace;
use crate::workload::Workload;
use crate::world::SimulatedWorld;
use grove_engine::io::Identity;
use grove_engine::{Group, Session};
use grove_sql::Analyser;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// Sum of all accounts, always.
pub const ACCOUNTS_SUM: i64 = 500;

/// Transactions of a client when servers have come to rest.
const LEAST_AFTERWARDS: u64 = 3;
/// Between two transactions of a client that only waits for that, in milliseconds.
const LONGEST_WAIT: u64 = 600;

/// What all clients of a seed share.
#[derive(Clone)]
pub struct Surroundings {
    pub group: Arc<Group<SimulatedWorld>>,
    pub analyser: Arc<Analyser>,
    pub board: Arc<Board>,
    pub trace: Arc<Trace>,
}

impl Surroundings {
    pub async fn open_session(&self, connection_id: u32) -> Result<Session<SimulatedWorld>, String> {
        let identity = identity(connection_id);
        let opened = Session::open(
            Arc::clone(&self.group),
            Arc::clone(&self.analyser),
            identity,
            lex_mode(),
        )
        .await;
        opened.map_err(|error| error.to_string())
    }
}

/// Who every client is.
pub fn identity(connection_id: u32) -> Identity {
    Identity {
        user: "app".into(),
        password: String::new(),
        capabilities: crate::model::CAPABILITIES,
        collation: 45,
        max_packet_len: 1 << 24,
        database: b"app".to_vec(),
        connect_attributes: Vec::new(),
        connection_id,
    }
}

/// What a client is to do.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub transactions: u64,
    pub workload: Workload,
    /// In how many of 1000 statements the client does not wait for the answer and goes away.
    pub leaves: u64,
    /// In how many of 1000 statements somebody kills the client's statement.
    pub kills: u64,
    /// Whether sessions choose isolation levels and `autocommit=0`.
    pub varies_sessions: bool,
    /// Whether READ COMMITTED means REPEATABLE READ, by Grove's configuration.
    pub upgrades: bool,
    /// Whether clients empty a table now and then.
    pub truncates: bool,
    /// Nearly nothing but writes, without a pause.
    pub storms: bool,
    /// How many of 1000 commits the recovery log refuses.
    pub refusals: u64,
    /// Longest idle time between two things, in milliseconds, so that servers go and come back meanwhile.
    pub idles: u64,
}

impl Plan {
    pub fn draw(random: &mut Random) -> Self {
        Self {
            transactions: random.between(2, 6) as u64,
            workload: Workload::draw(random),
            leaves: random.pick(&[0, 0, 0, 30]),
            kills: random.pick(&[0, 0, 0, 50]),
            varies_sessions: random.chance(300),
            upgrades: false,
            refusals: 0,
            idles: 0,
            truncates: random.chance(250),
            storms: random.chance(300),
        }
    }
}

/// A client.
pub struct Client {
    pub id: i64,
    pub around: Surroundings,
    pub random: Random,
    plan: Plan,
    session: Session<SimulatedWorld>,
    level: Level,
    autocommit: bool,
    next_ledger_key: i64,
    next_statement_id: u32,
    /// The newest value of each counter that the client has been shown.
    seen: BTreeMap<i64, i64>,
    open: Option<OpenTransaction>,
    last: Option<Answer>,
    /// What LAST_INSERT_ID() must say, if that is certain.
    last_insert_id: Option<i64>,
}

/// What the client knows of its open transaction.
#[derive(Default)]
struct OpenTransaction {
    effects: Vec<Effect>,
    savepoints: Vec<Savepoint>,
    /// Plain reads since the snapshot, for comparison.
    reads: BTreeMap<(Table, Filter), Rows>,
    /// Tables that the transaction has changed itself.
    changed: BTreeSet<Table>,
    /// What the counters must at least be in the snapshot; `None` before the first read.
    floor: Option<BTreeMap<i64, i64>>,
    /// COMMIT has been sent.
    commits: bool,
}

#[derive(Clone)]
struct Savepoint {
    name: String,
    /// How many effects there were.
    effects: usize,
    /// Nothing had been read or written: going back to it ends the storage engine's part of the transaction, and its snapshot with it (ADR 0007).
    is_first: bool,
}

#[derive(Clone, Copy)]
enum Effect {
    Ledger(i64),
    Increment(i64),
}

/// Why a client does not go on.
pub enum Stop {
    /// It went away without waiting for an answer.
    Left,
    /// It was shown what a client must never see.
    Wrong(String),
}

fn wrong<T>(what: String) -> Result<T, Stop> {
    Err(Stop::Wrong(what))
}

/// What to do with a transaction after a statement.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    GoOn,
    /// The servers have rolled it back.
    Gone,
    RollBack,
}

impl Client {
    pub async fn new(id: i64, around: Surroundings, random: Random, plan: Plan) -> Result<Self, Stop> {
        let session = around.open_session(id as u32).await.map_err(Stop::Wrong)?;
        Ok(Self {
            id,
            around,
            random,
            plan,
            session,
            level: Level::RepeatableRead,
            autocommit: true,
            next_ledger_key: id * 1000,
            next_statement_id: 0,
            seen: BTreeMap::new(),
            open: None,
            last: None,
            last_insert_id: Some(0),
        })
    }

    /// Runs all transactions. An error is something that a client must never see.
    pub async fn run(&mut self) -> Result<(), String> {
        let mut done = 0;
        let mut prepared_session = false;
        while done <= self.plan.transactions {
            let result = if prepared_session {
                if self.around.board.notes().is_restless && done + LEAST_AFTERWARDS > self.plan.transactions {
                    let idles = self.random.below(LONGEST_WAIT);
                    tokio::time::sleep(Duration::from_millis(idles)).await;
                } else {
                    done += 1;
                }
                self.next_thing(done > self.plan.transactions).await
            } else {
                prepared_session = true;
                self.choose_session().await
            };
            match result {
                Ok(()) => {}
                Err(Stop::Left) => {
                    let reopened = self.around.open_session(self.id as u32).await;
                    self.session = reopened?;
                    self.last_insert_id = Some(0);
                    // What a session has seen binds that session only, see docs/consistency.md.
                    self.seen.clear();
                    (self.level, self.autocommit, prepared_session) = (Level::RepeatableRead, true, false);
                }
                Err(Stop::Wrong(what)) => return Err(what),
            }
        }
        self.session.close().await;
        self.note("done".into());
        Ok(())
    }

    async fn choose_session(&mut self) -> Result<(), Stop> {
        if !self.plan.varies_sessions {
            return Ok(());
        }
        if self.random.chance(600) {
            let level = self
                .random
                .pick(&[Level::ReadCommitted, Level::RepeatableRead, Level::Serializable]);
            let session = Reach::Session;
            if self.is_set(&Sql::Isolation { session, level }).await? {
                let upgraded = level == Level::ReadCommitted && self.plan.upgrades;
                self.level = if upgraded { Level::RepeatableRead } else { level };
            }
        }
        if self.random.chance(300) {
            let off = ("autocommit".to_owned(), "0".to_owned());
            self.autocommit = !self.is_set(&Sql::Set(vec![off])).await?;
        }
        Ok(())
    }

    async fn next_thing(&mut self, last: bool) -> Result<(), Stop> {
        self.pause().await;
        let kind = if last { 0 } else { self.random.below(10) };
        match kind {
            _ if !self.autocommit => self.transaction().await,
            0 | 1 => self.plain_read().await,
            2 if self.plan.truncates && self.random.chance(300) => self.truncate().await,
            2 | 3 => self.single_write().await,
            4 => self.check_last_insert_id().await.map(|_| ()),
            _ => self.transaction().await,
        }
    }

    /// Whether a SET was not killed.
    async fn is_set(&mut self, sql: &Sql) -> Result<bool, Stop> {
        match self.execute(sql).await?.code() {
            None => Ok(true),
            Some(1317) if self.plan.kills > 0 => Ok(false),
            Some(code) => wrong(format!("{sql} failed with {code}")),
        }
    }

    async fn expect_ok(&mut self, sql: &Sql) -> Result<(), Stop> {
        match self.execute(sql).await? {
            Answer::Error(code, message) => wrong(format!("{sql} failed with {code} {message}")),
            _ => Ok(()),
        }
    }

    async fn plain_read(&mut self) -> Result<(), Stop> {
        let sql = self.plan.workload.read(&mut self.random);
        self.checked_read(&sql).await.map(|_| ())
    }

    /// A write that commits by itself.
    async fn single_write(&mut self) -> Result<(), Stop> {
        let (sql, effect) = self.write_with_effect();
        let answer = match self.execute(&sql).await {
            Err(Stop::Left) => {
                self.settle(&effect.into_iter().collect::<Vec<_>>(), Verdict::Unknown);
                return Err(Stop::Left);
            }
            other => other?,
        };
        let verdict = match answer.code() {
            None => Verdict::Committed,
            Some(_) => Verdict::RolledBack,
        };
        if verdict == Verdict::RolledBack {
            self.allow(&sql, &answer)?;
        }
        self.settle(&effect.into_iter().collect::<Vec<_>>(), verdict);
        Ok(())
    }

    /// DDL: every server, or an error that says that nothing was done.
    async fn truncate(&mut self) -> Result<(), Stop> {
        let sql = Sql::Truncate(Table::T);
        let answer = self.execute(&sql).await?;
        match answer.code() {
            None => Ok(()),
            Some(_) => self.allow(&sql, &answer),
        }
    }

    fn write_with_effect(&mut self) -> (Sql, Option<Effect>) {
        match self.random.below(8) {
            0 => {
                let (sql, effect) = self.ledger_row();
                (sql, Some(effect))
            }
            1 => {
                let (sql, effect) = self.increment();
                (sql, Some(effect))
            }
            _ => (self.plan.workload.write(&mut self.random), None),
        }
    }

    /// A row that shows whether the transaction is in effect, and how often.
    fn ledger_row(&mut self) -> (Sql, Effect) {
        self.next_ledger_key += 1;
        let k = self.next_ledger_key;
        let row = NewRow {
            k: Some(k),
            g: self.id,
            v: 1,
        };
        let sql = Sql::Insert(Insert {
            table: Table::L,
            verb: Verb::Insert,
            rows: vec![row],
            on_duplicate_add: Some(1),
        });
        (sql, Effect::Ledger(k))
    }

    fn increment(&mut self) -> (Sql, Effect) {
        let k = self.random.between(1, 3);
        let sql = Sql::Update {
            table: Table::C,
            change: Change::Add(1),
            filter: Filter::Key(k),
        };
        (sql, Effect::Increment(k))
    }

    fn settle(&mut self, effects: &[Effect], verdict: Verdict) {
        let mut notes = self.around.board.notes();
        for effect in effects {
            match (*effect, verdict) {
                (Effect::Ledger(k), _) => {
                    notes.ledger.insert(k, verdict);
                }
                (Effect::Increment(k), Verdict::Committed) => *notes.counters.entry(k).or_default() += 1,
                (Effect::Increment(k), Verdict::Unknown) => *notes.doubtful.entry(k).or_default() += 1,
                (Effect::Increment(_), Verdict::RolledBack) => {}
            }
        }
    }

    fn note(&self, doing: String) {
        self.around.board.notes().doing.insert(self.id, doing);
    }

    async fn pause(&mut self) {
        if self.plan.idles > 0 {
            let idles = self.random.below(self.plan.idles + 1);
            tokio::time::sleep(Duration::from_millis(idles)).await;
        }
        let thinks = self.random.pick(&[0, 0, 0, 1, 2, 10]);
        if thinks > 0 && !self.plan.storms {
            tokio::time::sleep(Duration::from_millis(self.random.below(thinks + 1))).await;
        }
    }
}
