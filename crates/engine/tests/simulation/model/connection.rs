//! One connection to a model server: commands in, replies out, and what the connection remembers in between.
//!
//! Deliberately absent: the wire itself, see [`super::serving`].

use super::execute::{Failure, Outcome, Running, Variables};
use super::locks::TransactionId;
use super::replies::ReplyWriter;
use super::server::{Savepoint, Server};
use super::sql::{Insert, Level, Reach, RowLock, Sql};
use bytes::Bytes;
use grove_wire::StatusFlags;
use grove_wire::command::{COM_INIT_DB, COM_PING, COM_QUERY, COM_SET_OPTION, COM_STMT_EXECUTE, COM_STMT_PREPARE};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// COM_SET_OPTION's argument that allows several statements in one command.
const MULTI_STATEMENTS_ON: [u8; 2] = [0, 0];

/// A connection and what it remembers.
pub struct Connection {
    pub server: Arc<Server>,
    pub id: u32,
    transaction: Option<TransactionId>,
    autocommit: bool,
    level: Level,
    next_level: Option<Level>,
    variables: Variables,
    pub prepared: BTreeMap<u32, Sql>,
    takes_several_statements: bool,
    /// The network was cut in its life: its end may be noticed very late.
    pub was_cut: bool,
}

impl Connection {
    pub fn new(server: &Arc<Server>, id: u32) -> Self {
        Self {
            server: Arc::clone(server),
            id,
            transaction: None,
            autocommit: true,
            level: Server::level_default(),
            next_level: None,
            variables: Variables {
                seeds: (u64::from(server.id) * 77 + 1, u64::from(id)),
                ..Variables::default()
            },
            prepared: BTreeMap::new(),
            takes_several_statements: false,
            was_cut: false,
        }
    }

    /// Runs a command. Several statements in one are answered with as many results, up to the first that fails.
    pub async fn execute(&mut self, command: &Bytes) -> Bytes {
        let parts = self.parts(command);
        let mut reply = ReplyWriter::new();
        for (index, part) in parts.iter().enumerate() {
            if index > 0 {
                let server = Arc::clone(&self.server);
                server.runs().await;
            }
            match self.execute_one(part).await {
                Ok(outcome) => {
                    let mut status = self.status();
                    if index + 1 < parts.len() {
                        status.insert(StatusFlags::MORE_RESULTS);
                    }
                    reply.outcome(&outcome, status);
                }
                Err(failure) => {
                    reply.error(failure);
                    break;
                }
            }
        }
        reply.finish()
    }

    /// The statements of a command, each as a command. A connection that does not take several sees them as one, which it refuses.
    fn parts(&self, command: &Bytes) -> Vec<Bytes> {
        if command.first() != Some(&COM_QUERY) || !self.takes_several_statements {
            return vec![command.clone()];
        }
        let texts = command[1..].split(|byte| *byte == b';');
        let texts = texts.filter(|text| !text.trim_ascii().is_empty());
        texts.map(|text| Bytes::from([&[COM_QUERY], text].concat())).collect()
    }

    async fn execute_one(&mut self, command: &Bytes) -> Result<Outcome, Failure> {
        // These take the kill upon themselves.
        let absorbs = matches!(command.first(), Some(&(COM_PING | COM_INIT_DB | COM_SET_OPTION)));
        let kill_waits = self.server.policy.kill_waits_for_statement && !absorbs;
        let begun = self.server.step(|state| state.begin_statement(self.id, kill_waits));
        let result = match begun {
            Ok(()) => self.dispatch(command).await,
            Err(failure) => Err(failure),
        };
        self.server.step(|state| state.end_statement(self.id));
        let mut numbers = [63, u64::from(self.id), command.len() as u64, 0, 0];
        match &result {
            Ok(Outcome::Done {
                affected, insert_id, ..
            }) => (numbers[3], numbers[4]) = (*affected, *insert_id),
            Ok(Outcome::Rows(rows)) => numbers[3] = rows.len() as u64 + 1000,
            Ok(Outcome::Value(value)) => numbers[3] = *value as u64,
            Ok(Outcome::Texts(_, rows)) => numbers[3] = rows.len() as u64 + 2000,
            Ok(Outcome::OptionSet) => numbers[3] = u64::from(self.takes_several_statements),
            Ok(Outcome::Prepared(id)) => numbers[3] = u64::from(*id),
            Err(failure) => numbers[4] = u64::from(failure.code().0),
        }
        self.server.trace.event(&numbers, || {
            let text = match command.first() {
                Some(&(COM_QUERY | COM_STMT_PREPARE)) => String::from_utf8_lossy(&command[1..]).into_owned(),
                Some(&COM_STMT_EXECUTE) => format!("EXECUTE {}", self.prepared[&statement_id(command)]),
                other => format!("command {other:?}"),
            };
            let open = if self.transaction.is_some() {
                "in transaction"
            } else {
                ""
            };
            format!("s{} #{} {text} -> {result:?} {open}", self.server.id, self.id)
        });
        result
    }

    fn status(&self) -> StatusFlags {
        let mut status = StatusFlags(0);
        if self.transaction.is_some() {
            status.insert(StatusFlags::IN_TRANS);
        }
        if self.autocommit {
            status.insert(StatusFlags::AUTOCOMMIT);
        }
        status
    }

    async fn dispatch(&mut self, command: &Bytes) -> Result<Outcome, Failure> {
        match command.first() {
            Some(&COM_QUERY) => {
                let text = command[1..].trim_ascii();
                let text = text.strip_suffix(b";").unwrap_or(text);
                if text.contains(&b';') {
                    return Err(Failure::SeveralStatements);
                }
                let sql = parse(text);
                self.query(&sql).await
            }
            Some(&COM_SET_OPTION) => {
                self.takes_several_statements = command[1..] == MULTI_STATEMENTS_ON;
                Ok(Outcome::OptionSet)
            }
            Some(&COM_STMT_PREPARE) => {
                let id = self.prepared.last_key_value().map_or(1, |(id, _)| id + 1);
                self.prepared.insert(id, parse(&command[1..]));
                Ok(Outcome::Prepared(id))
            }
            Some(&COM_STMT_EXECUTE) => {
                let id = statement_id(command);
                let sql = self.prepared.get(&id).cloned();
                let sql =
                    sql.unwrap_or_else(|| panic!("statement {id} is not prepared on s{} #{}", self.server.id, self.id));
                self.query(&sql).await
            }
            Some(&(COM_PING | COM_INIT_DB)) => Ok(Outcome::nothing()),
            other => panic!("the model does not understand command {other:?}"),
        }
    }

    async fn query(&mut self, sql: &Sql) -> Result<Outcome, Failure> {
        match sql {
            Sql::Begin | Sql::BeginWithSnapshot => {
                let level = self.next_level.take();
                self.end(End::Commit);
                self.next_level = level;
                let id = self.begin();
                if *sql == Sql::BeginWithSnapshot {
                    self.server.step(|state| {
                        let now = state.storage.now();
                        if let Some(open) = state.transactions.get_mut(&id) {
                            open.uses_engine = true;
                            open.snapshot = Some(now);
                        }
                    });
                }
            }
            Sql::Commit => self.end(End::Commit),
            Sql::Rollback => self.end(End::RollBack),
            Sql::Savepoint(name) => self.savepoint(name),
            Sql::RollbackTo(name) => self.roll_back_to(name)?,
            Sql::Release(_) | Sql::ShowWarnings => {}
            Sql::Set(items) => items.iter().for_each(|(name, value)| self.set(name, value)),
            Sql::Isolation { session, level } => match session {
                Reach::Next => self.next_level = Some(*level),
                Reach::Session => self.level = *level,
            },
            Sql::SelectLastInsertId => return Ok(Outcome::Value(self.variables.last_insert_id)),
            Sql::Nothing => {}
            Sql::Own(own) if !own.commits() => return self.run(sql).await,
            Sql::Truncate(_) | Sql::Own(_) => {
                self.end(End::Commit);
                let result = self.run(sql).await;
                self.end(End::Commit);
                return result;
            }
            Sql::Update { .. }
            | Sql::Delete { .. }
            | Sql::Insert(_)
            | Sql::InsertSelect { .. }
            | Sql::Select { .. } => {
                return self.run(sql).await;
            }
        }
        Ok(Outcome::nothing())
    }

    /// A statement that reads or writes rows, in the open transaction or in one of its own.
    async fn run(&mut self, sql: &Sql) -> Result<Outcome, Failure> {
        let inside = self.transaction.is_some() || !self.autocommit;
        let transaction = match self.transaction {
            Some(id) => id,
            None => self.begin(),
        };
        let server = Arc::clone(&self.server);
        let pause = server.step(|state| {
            state.is_opening(self.id, true);
            if let Some(open) = state.transactions.get_mut(&transaction) {
                open.uses_engine = true;
            }
            state.random.below(server.policy.slowness + 1)
        });
        if pause > 0 {
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
        let is_damaged = server.step(|state| {
            state.is_opening(self.id, false);
            state.is_damaged
        });
        if is_damaged && matches!(sql, Sql::Update { .. }) {
            // The damage is in a trigger, which only updates need.
            return Err(Failure::Damaged);
        }
        let level = self.next_level.unwrap_or(self.level);
        let locking = match sql {
            Sql::Select {
                table,
                filter,
                lock: RowLock::None,
            } if inside && level == Level::Serializable => Some(Sql::Select {
                table: *table,
                filter: *filter,
                lock: RowLock::Share,
            }),
            _ => None,
        };
        let mark = server.step(|state| state.transactions.get(&transaction).map_or(0, |open| open.undo.mark()));
        let mut running = Running {
            server: &server,
            connection: self.id,
            transaction,
            level,
            variables: &mut self.variables,
        };
        let mut result = running.run(locking.as_ref().unwrap_or(sql)).await;
        self.variables.insert_id = None;
        if result == Err(Failure::Deadlock) && wants_generated_key(sql) && server.policy.is_mariadb {
            let surprises = server.step(|state| state.random.chance(500));
            if surprises {
                result = Err(Failure::VictimWithoutKey);
            }
        }
        let is_silent = result == Err(Failure::Deadlock)
            && matches!(sql, Sql::Delete { .. })
            && !server.policy.is_mariadb
            && server.step(|state| state.random.chance(300));
        match result {
            Err(_) if is_silent => {
                // MySQL 9.7 does this to DELETE on a table with foreign keys; only the status tells it.
                self.end(End::RollBack);
                result = Ok(Outcome::Done {
                    affected: 0,
                    insert_id: 0,
                    info: String::new(),
                });
            }
            Err(failure) if failure.ends_transaction() => self.end(End::RollBack),
            Err(_) if inside => server.step(|state| {
                if let Some(open) = state.transactions.get_mut(&transaction) {
                    state.storage.undo(&mut open.undo, mark);
                }
                release_generators(state, transaction, sql);
            }),
            Err(_) => self.end(End::RollBack),
            Ok(_) if inside => server.step(|state| release_generators(state, transaction, sql)),
            Ok(_) => self.end(End::Commit),
        }
        result
    }

    fn begin(&mut self) -> TransactionId {
        let id = self.server.step(|state| state.begin(self.id));
        self.transaction = Some(id);
        id
    }

    fn end(&mut self, end: End) {
        self.next_level = None;
        if let Some(id) = self.transaction.take() {
            self.server.step(|state| match end {
                End::Commit => state.commit(id),
                End::RollBack => state.roll_back(id),
            });
        }
    }

    fn savepoint(&mut self, name: &str) {
        let Some(id) = self.transaction else { return };
        self.server.step(|state| {
            if let Some(open) = state.transactions.get_mut(&id) {
                let mark = open.undo.mark();
                open.savepoints.retain(|savepoint| savepoint.name != name);
                open.savepoints.push(Savepoint {
                    name: name.to_owned(),
                    mark,
                    precedes_engine: !open.uses_engine,
                });
            }
        });
    }

    fn roll_back_to(&mut self, name: &str) -> Result<(), Failure> {
        let id = self.transaction.ok_or(Failure::NoSavepoint)?;
        self.server.step(|state| {
            let open = state.transactions.get_mut(&id).ok_or(Failure::NoSavepoint)?;
            let at = open.savepoints.iter().position(|savepoint| savepoint.name == name);
            let at = at.ok_or(Failure::NoSavepoint)?;
            let Savepoint {
                mark, precedes_engine, ..
            } = open.savepoints[at];
            open.savepoints.truncate(at + 1);
            state.storage.undo(&mut open.undo, mark);
            if precedes_engine {
                // An engine that joined the transaction after the savepoint is rolled back as a whole.
                open.snapshot = None;
                open.uses_engine = false;
                state.locks.release_all(id);
            }
            Ok(())
        })
    }

    fn set(&mut self, name: &str, value: &str) {
        match name.to_ascii_uppercase().as_str() {
            "TIMESTAMP" => self.variables.timestamp = value.replace('.', "").parse().ok(),
            "RAND_SEED1" => self.variables.seeds.0 = value.parse().unwrap_or_default(),
            "RAND_SEED2" => self.variables.seeds.1 = value.parse().unwrap_or_default(),
            "INSERT_ID" => self.variables.insert_id = value.parse().ok(),
            "LAST_INSERT_ID" => self.variables.last_insert_id = value.parse().unwrap_or_default(),
            "AUTOCOMMIT" => {
                self.autocommit = value != "0";
                if self.autocommit {
                    self.end(End::Commit);
                }
            }
            _ => {}
        }
    }
}

enum End {
    Commit,
    RollBack,
}

fn parse(text: &[u8]) -> Sql {
    let text = String::from_utf8_lossy(text);
    Sql::parse(&text).unwrap_or_else(|| panic!("the model does not understand: {text}"))
}

pub fn statement_id(command: &Bytes) -> u32 {
    u32::from_le_bytes(command[1..5].try_into().unwrap())
}

fn wants_generated_key(sql: &Sql) -> bool {
    match sql {
        Sql::Insert(Insert { rows, .. }) => rows.iter().any(|row| row.k.is_none()),
        Sql::InsertSelect { shift, .. } => shift.is_none(),
        _ => false,
    }
}

fn release_generators(state: &mut super::server::State, transaction: TransactionId, sql: &Sql) {
    if let Some(table) = sql.changed_table() {
        state.locks.release_generator(transaction, table);
    }
}
