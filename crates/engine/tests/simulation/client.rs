//! A client with a session of its own: random transactions, and checks of everything that a single server would promise it.

use crate::answer::{Answer, HeldBack};
use crate::board::{Board, Verdict};
use crate::model::sql::{Change, Filter, Insert, Level, NewRow, Reach, RowLock, Sql, Table, Verb};
use crate::model::storage::Rows;
use crate::random::Random;
use crate::statements::{lex_mode, statement};
use crate::trace::Trace;
use crate::workload::Workload;
use crate::world::SimulatedWorld;
use bytes::Bytes;
use grove_engine::io::Identity;
use grove_engine::{Body, Group, Prepared, Session, SessionError, Statement};
use grove_sql::Analyser;
use grove_wire::StatusFlags;
use grove_wire::command::COM_STMT_EXECUTE;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// Sum of all accounts, always.
pub const ACCOUNTS_SUM: i64 = 500;

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
    /// Nearly nothing but writes, without a pause.
    pub storms: bool,
}

impl Plan {
    pub fn draw(random: &mut Random) -> Self {
        Self {
            transactions: random.between(2, 7) as u64,
            workload: Workload::draw(random),
            leaves: random.pick(&[0, 0, 0, 30]),
            kills: random.pick(&[0, 0, 0, 50]),
            varies_sessions: random.chance(300),
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
    savepoints: Vec<(String, usize)>,
    /// Plain reads since the snapshot, for comparison.
    reads: BTreeMap<(Table, Filter), Rows>,
    /// Tables that the transaction has changed itself.
    changed: BTreeSet<Table>,
    /// What the counters must at least be in the snapshot; `None` before the first read.
    floor: Option<BTreeMap<i64, i64>>,
    /// COMMIT has been sent.
    commits: bool,
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

/// A statement that can be executed, or what came in its place.
enum Prepares {
    Statement(Statement),
    Failed(Answer),
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
                done += 1;
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
                self.level = level;
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

    async fn transaction(&mut self) -> Result<(), Stop> {
        self.open = Some(OpenTransaction::default());
        let result = self.transaction_to_its_end().await;
        if let (Err(Stop::Left), Some(open)) = (&result, self.open.take()) {
            let verdict = if open.commits {
                Verdict::Unknown
            } else {
                Verdict::RolledBack
            };
            self.settle(&open.effects, verdict);
        }
        result
    }

    async fn transaction_to_its_end(&mut self) -> Result<(), Stop> {
        if self.autocommit {
            let with_snapshot = self.random.chance(200);
            let floor = self.floor_now();
            self.expect_ok(&if with_snapshot {
                Sql::BeginWithSnapshot
            } else {
                Sql::Begin
            })
            .await?;
            if let Some(open) = &mut self.open
                && with_snapshot
            {
                open.floor = Some(floor);
            }
        }
        let mut next = Next::GoOn;
        let longest = if self.plan.storms { 7 } else { 5 };
        for _ in 0..self.random.between(1, longest) {
            self.pause().await;
            next = self.transaction_step().await?;
            if next != Next::GoOn {
                break;
            }
        }
        self.pause().await;
        if next == Next::GoOn && self.random.chance(850) {
            return self.commit().await;
        }
        if let Some(open) = &mut self.open {
            let effects = std::mem::take(&mut open.effects);
            self.settle(&effects, Verdict::RolledBack);
        }
        self.last_insert_id = None;
        if next != Next::Gone || self.random.chance(300) {
            self.expect_ok(&Sql::Rollback).await?;
        }
        if self.session.in_transaction() {
            return wrong("a transaction is open after its end".into());
        }
        self.open = None;
        Ok(())
    }

    async fn commit(&mut self) -> Result<(), Stop> {
        if let Some(open) = &mut self.open {
            open.commits = true;
        }
        let answer = self.execute(&Sql::Commit).await?;
        let Some(open) = self.open.take() else { return Ok(()) };
        match answer.code() {
            None => {
                self.around.board.notes().commits += 1;
                self.settle(&open.effects, Verdict::Committed);
            }
            Some(_) => {
                self.allow(&Sql::Commit, &answer)?;
                self.settle(&open.effects, Verdict::RolledBack);
            }
        }
        if self.session.in_transaction() {
            return wrong("a transaction is open after COMMIT".into());
        }
        Ok(())
    }

    /// The last generated key, wherever the session reads.
    async fn check_last_insert_id(&mut self) -> Result<Next, Stop> {
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

    async fn transaction_step(&mut self) -> Result<Next, Stop> {
        let kind = self.random.below(20);
        match if self.plan.storms && kind < 18 { kind.max(6) } else { kind } {
            0..6 => {
                let sql = self.plan.workload.read(&mut self.random);
                self.checked_read(&sql).await
            }
            6 => {
                let sql = self.plan.workload.locking_read(&mut self.random);
                self.checked_read(&sql).await
            }
            7 => self.transfer().await,
            8 if !self.session.in_transaction() => Ok(Next::GoOn),
            8 => {
                let name = self.random.pick(&["s1", "s2"]).to_owned();
                self.step(&Sql::Savepoint(name), None).await
            }
            9 => {
                let known = self
                    .open
                    .as_ref()
                    .map(|open| open.savepoints.clone())
                    .unwrap_or_default();
                if known.is_empty() {
                    return Ok(Next::GoOn);
                }
                let (name, _) = self.random.pick(&known);
                self.step(&Sql::RollbackTo(name), None).await
            }
            10 => self.check_last_insert_id().await,
            _ => {
                let (sql, effect) = self.write_with_effect();
                self.step(&sql, effect).await
            }
        }
    }

    /// Moves money: both halves or none.
    async fn transfer(&mut self) -> Result<Next, Stop> {
        let (from, to, amount) = (
            self.random.between(1, 5),
            self.random.between(1, 5),
            self.random.between(1, 20),
        );
        for (k, amount) in [(from, -amount), (to, amount)] {
            let sql = Sql::Update {
                table: Table::B,
                change: Change::Add(amount),
                filter: Filter::Key(k),
            };
            match self.step(&sql, None).await? {
                Next::GoOn if matches!(&self.last, Some(Answer::Error(..))) => return Ok(Next::RollBack),
                Next::GoOn => {}
                end => return Ok(end),
            }
        }
        Ok(Next::GoOn)
    }

    /// One statement inside the transaction.
    async fn step(&mut self, sql: &Sql, effect: Option<Effect>) -> Result<Next, Stop> {
        let answer = self.execute(sql).await?;
        let next = self.after(sql, &answer)?;
        let Some(open) = &mut self.open else { return Ok(next) };
        if answer.code().is_none() {
            open.effects.extend(effect);
            open.changed.extend(sql.changed_table());
            match sql {
                Sql::Savepoint(name) => {
                    open.savepoints.retain(|(other, _)| other != name);
                    open.savepoints.push((name.clone(), open.effects.len()));
                }
                Sql::RollbackTo(name) => {
                    if let Some(at) = open.savepoints.iter().position(|(other, _)| other == name) {
                        open.savepoints.truncate(at + 1);
                        let undone = open.effects.split_off(open.savepoints[at].1);
                        self.settle(&undone, Verdict::RolledBack);
                    }
                }
                _ => {}
            }
        } else if let Some(effect) = effect {
            self.settle(&[effect], Verdict::RolledBack);
        }
        self.last = Some(answer);
        Ok(next)
    }

    /// What becomes of the transaction after an answer; and whether the session agrees.
    fn after(&mut self, sql: &Sql, answer: &Answer) -> Result<Next, Stop> {
        let open = self.session.in_transaction();
        let Some(code) = answer.code() else {
            let flagged = answer
                .status()
                .is_none_or(|status| status.contains(StatusFlags::IN_TRANS));
            if !open || !flagged {
                return wrong(format!(
                    "{sql} was answered as if no transaction were open ({open}, {flagged})"
                ));
            }
            return Ok(Next::GoOn);
        };
        self.allow(sql, answer)?;
        match code {
            1213 if open => wrong(format!("1213 for {sql} left a transaction open")),
            1213 => Ok(Next::Gone),
            // It does not say whether the transaction survived.
            1467 => Ok(Next::RollBack),
            // With autocommit=0 the first statement's failure leaves nothing open.
            _ if !open && !self.autocommit => Ok(Next::RollBack),
            _ if !open => wrong(format!("{code} for {sql} ended the transaction")),
            1205 if self.random.chance(500) => Ok(Next::RollBack),
            _ => Ok(Next::GoOn),
        }
    }

    /// Errors that a single server gives, too.
    fn allow(&self, sql: &Sql, answer: &Answer) -> Result<(), Stop> {
        match answer {
            Answer::Error(1213 | 1205, _) => Ok(()),
            Answer::Error(1317, _) if self.plan.kills > 0 && !matches!(sql, Sql::Commit) => Ok(()),
            Answer::Error(1062 | 1467, _) if sql.is_write() => Ok(()),
            other => wrong(format!("{sql} was answered with {other:?}")),
        }
    }

    async fn checked_read(&mut self, sql: &Sql) -> Result<Next, Stop> {
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
        if !own {
            self.check_rows(sql, &rows, &floor)?;
            self.remember_counters(table, &rows);
        }
        Ok(next)
    }

    fn check_rows(&self, sql: &Sql, rows: &Rows, floor: &BTreeMap<i64, i64>) -> Result<(), Stop> {
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

    fn remember_counters(&mut self, table: Table, rows: &Rows) {
        if table == Table::C {
            for (k, row) in rows {
                let seen = self.seen.entry(*k).or_default();
                *seen = row.v.max(*seen);
            }
        }
    }

    /// What a snapshot taken now must at least show.
    fn floor_now(&self) -> BTreeMap<i64, i64> {
        let mut floor = self.around.board.notes().counters.clone();
        for (&k, &seen) in &self.seen {
            let least = floor.entry(k).or_default();
            *least = seen.max(*least);
        }
        floor
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

    async fn execute(&mut self, sql: &Sql) -> Result<Answer, Stop> {
        self.note(sql.to_string());
        self.around
            .trace
            .event(&[80, self.id as u64], || format!("client {}: {sql}", self.id));
        let statement = match self.statement(sql).await? {
            Prepares::Statement(statement) => statement,
            Prepares::Failed(answer) => {
                self.note_answer(sql, &answer);
                return Ok(answer);
            }
        };
        let patience = self.random.chance(self.plan.leaves).then(|| self.random.below(30));
        if self.random.chance(self.plan.kills) {
            let delay = self.random.below(15);
            self.kill_in(delay);
        }
        let mut sink = HeldBack::default();
        let result = tokio::select! {
            biased;
            result = self.session.execute(&statement, &mut sink) => result,
            () = tokio::time::sleep(Duration::from_millis(patience.unwrap_or(0))), if patience.is_some() => {
                self.around.trace.event(&[82, self.id as u64], || format!("client {} leaves", self.id));
                return Err(Stop::Left);
            }
        };
        let answer = match result {
            Ok(last_frame) => {
                sink.0.extend_from_slice(&last_frame);
                Answer::read(&sink.0)
            }
            Err(error) => self.error(sql, &error)?,
        };
        self.note_answer(sql, &answer);
        Ok(answer)
    }

    fn note_answer(&mut self, sql: &Sql, answer: &Answer) {
        let code = answer.code().unwrap_or(0);
        self.around.trace.event(&[81, self.id as u64, u64::from(code)], || {
            format!("client {}: {sql} -> {answer:?}", self.id)
        });
        if code > 0 {
            *self.around.board.notes().errors.entry(code).or_default() += 1;
        }
        self.note_insert_id(sql, answer);
    }

    /// As text, or prepared first.
    async fn statement(&mut self, sql: &Sql) -> Result<Prepares, Stop> {
        let plain = statement(sql, &self.around.analyser);
        let rows = sql.is_write() || matches!(sql, Sql::Select { .. });
        if !rows || !self.random.chance(100) {
            return Ok(Prepares::Statement(plain));
        }
        if self.next_statement_id > 0 && self.random.chance(500) {
            self.session.close_statement(self.next_statement_id).await;
        }
        self.next_statement_id += 1;
        let id = self.next_statement_id;
        let text = Bytes::from(sql.to_string());
        let mut sink = HeldBack::default();
        let prepared = self.session.prepare(id, &text, &mut sink).await;
        if let Err(error) = prepared {
            return self.error(sql, &error).map(Prepares::Failed);
        }
        let mut payload = vec![COM_STMT_EXECUTE];
        payload.extend_from_slice(&id.to_le_bytes());
        payload.extend_from_slice(&[0, 1, 0, 0, 0]);
        let prepared = Prepared {
            id,
            text,
            analysis: Arc::clone(&plain.analysis),
            params: 0,
        };
        Ok(Prepares::Statement(Statement {
            body: Body::Execute {
                prepared: Arc::new(prepared),
                payload: payload.into(),
                long_data: Arc::default(),
            },
            analysis: plain.analysis,
        }))
    }

    fn error(&self, sql: &Sql, error: &SessionError) -> Result<Answer, Stop> {
        match error.to_err_packet() {
            Some(err) => Ok(Answer::Error(err.code, error.to_string())),
            None => wrong(format!("{sql} closed the connection: {error}")),
        }
    }

    /// Somebody else kills whatever the client is running then.
    fn kill_in(&self, delay: u64) {
        let interrupter = self.session.interrupter();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(delay)).await;
            interrupter.interrupt().await;
        });
    }

    fn note_insert_id(&mut self, sql: &Sql, answer: &Answer) {
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

    fn note(&self, doing: String) {
        self.around.board.notes().doing.insert(self.id, doing);
    }

    async fn pause(&mut self) {
        let thinks = self.random.pick(&[0, 0, 0, 1, 2, 10]);
        if thinks > 0 && !self.plan.storms {
            tokio::time::sleep(Duration::from_millis(self.random.below(thinks + 1))).await;
        }
    }
}
