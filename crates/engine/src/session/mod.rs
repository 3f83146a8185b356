//! A client's session inside the engine: its legs, its state, its transaction, and which path each statement takes.
//!
//! The session's task owns everything here. A leg is `Mine` (in the session's hands) or `Away` (with a follower's task, while a transaction
//! writes). Invariants: a session reads from one server while that is healthy; every online server has a leg in every transaction that
//! commits writes; a server without its part of a committed transaction is evicted.

mod end;
mod legs;
mod read;
mod set;
mod standalone;
mod write;

use crate::error::SessionError;
use crate::follower::FollowerHandle;
use crate::group::Group;
use crate::io::{BackendId, ClientReply, Identity, LegReply, Servers, World};
use crate::leg::OpenLeg;
use crate::state::SessionState;
use crate::statement::{Body, Statement};
use crate::transaction::Transaction;
use bytes::{Bytes, BytesMut};
use grove_sql::{Analyser, Analysis, Class, LexMode};
use grove_wire::ReplyShape;
use std::collections::HashMap;
use std::sync::Arc;

type LegOf<W> = OpenLeg<<<W as World>::Servers as Servers>::Leg>;

enum Slot<W: World> {
    Closed,
    Mine(Box<LegOf<W>>),
    Away(FollowerHandle<W>),
}

/// A session.
pub struct Session<W: World> {
    group: Arc<Group<W>>,
    analyser: Arc<Analyser>,
    identity: Arc<Identity>,
    state: SessionState,
    slots: Vec<Slot<W>>,
    /// The server that it reads from.
    reader: BackendId,
    transaction: Option<Transaction>,
    /// Owner of the gates of `LOCK TABLES`, while that is in force.
    table_locks: Option<u64>,
    /// What text-protocol `PREPARE` named.
    prepared_texts: HashMap<Vec<u8>, Arc<Analysis>>,
    /// Statements that the client closed while a leg was away.
    closed_statements: Vec<u32>,
    /// The answer to SHOW WARNINGS after an autocommit write, asked for before its COMMIT cleared it.
    warnings: Option<LegReplyBytes>,
}

/// A whole reply kept as bytes.
pub(crate) struct LegReplyBytes {
    frames: Vec<u8>,
    last_frame: BytesMut,
}

impl<W: World> Session<W> {
    /// Opens a session for a client that Grove has authenticated; connects to the server that it will read from.
    pub async fn open(
        group: Arc<Group<W>>,
        analyser: Arc<Analyser>,
        identity: Identity,
        lex_mode: LexMode,
    ) -> Result<Self, SessionError> {
        let reader = group.choose_reader();
        group.count_reader(reader, true);
        let read_committed = group.default_isolation_is_read_committed();
        let mut session = Self {
            slots: (0..group.member_count()).map(|_| Slot::Closed).collect(),
            state: SessionState::new(lex_mode, identity.database.clone(), read_committed),
            identity: Arc::new(identity),
            group,
            analyser,
            reader,
            transaction: None,
            table_locks: None,
            prepared_texts: HashMap::new(),
            closed_statements: Vec::new(),
            warnings: None,
        };
        session.reader_leg().await?;
        Ok(session)
    }

    /// How the client's statements are to be read now.
    pub fn lex_mode(&self) -> LexMode {
        self.state.lex_mode
    }

    /// Whether a transaction is open that the client knows of.
    pub fn in_transaction(&self) -> bool {
        self.transaction.is_some()
    }

    /// Runs one statement. All frames of the reply but the last go to `sink`; the last is returned, for the caller to send.
    pub async fn execute<S: ClientReply>(
        &mut self,
        statement: &Statement,
        sink: &mut S,
    ) -> Result<BytesMut, SessionError> {
        let class = statement.analysis.class;
        if statement.analysis.flags.is_show_warnings_or_errors {
            if let Some(kept) = self.kept_warnings(statement) {
                sink.forward(&kept.frames).await.map_err(SessionError::Fatal)?;
                return Ok(kept.last_frame);
            }
        } else {
            self.warnings = None;
        }
        let result = self.dispatch(class, statement, sink).await;
        if let Err(SessionError::Retry(_) | SessionError::Fatal(_) | SessionError::NoServer(_)) = &result {
            self.abort().await;
        }
        result
    }

    async fn dispatch<S: ClientReply>(
        &mut self,
        class: Class,
        statement: &Statement,
        sink: &mut S,
    ) -> Result<BytesMut, SessionError> {
        let inside = self.transaction.is_some() || !self.state.autocommit;
        match class {
            Class::Read if self.state.serializable && inside => self.write(statement, sink).await,
            Class::Read => self.read(statement, sink).await,
            Class::LockingRead if inside && self.table_locks.is_none() => self.write(statement, sink).await,
            Class::LockingRead => self.read(statement, sink).await,
            Class::Write(_) if self.table_locks.is_some() => self.standalone(statement, sink).await,
            Class::Write(_) => self.write(statement, sink).await,
            Class::TemporaryDdl => {
                self.state.has_temporary_tables = true;
                if self.transaction.is_some() {
                    self.write(statement, sink).await
                } else {
                    self.standalone(statement, sink).await
                }
            }
            Class::Ddl | Class::LockTables | Class::UnlockTables | Class::Kill => {
                self.end_implicitly().await?;
                self.standalone(statement, sink).await
            }
            Class::Call | Class::Unknown | Class::Xa | Class::Handler | Class::Do => {
                if self.transaction.is_some() && self.table_locks.is_none() {
                    self.write(statement, sink).await
                } else {
                    self.standalone(statement, sink).await
                }
            }
            Class::Begin {
                consistent_snapshot, ..
            } => self.begin(statement, consistent_snapshot, sink).await,
            Class::Commit { chain, .. } => self.commit(statement, chain, sink).await,
            Class::Rollback { chain, .. } => self.rollback(statement, chain, sink).await,
            Class::Savepoint | Class::RollbackToSavepoint | Class::ReleaseSavepoint => {
                self.savepoint(statement, sink).await
            }
            Class::Set => self.set(statement, sink).await,
            Class::Use => self.use_schema(statement, sink).await,
            Class::Prepare => self.prepare_text(statement, sink).await,
            Class::Deallocate => self.deallocate_text(statement, sink).await,
            Class::Execute => {
                let inner = self.prepared_analysis(statement);
                let statement = Statement {
                    body: statement.body.clone(),
                    analysis: Arc::clone(&inner),
                };
                match inner.class {
                    Class::Execute | Class::Prepare | Class::Deallocate | Class::Set | Class::Use => {
                        self.standalone(&statement, sink).await
                    }
                    class => Box::pin(self.dispatch(class, &statement, sink)).await,
                }
            }
        }
    }

    /// Runs a raw command that concerns only the session's current leg (COM_PING).
    pub async fn command<S: ClientReply>(
        &mut self,
        payload: Bytes,
        shape: ReplyShape,
        sink: &mut S,
    ) -> Result<BytesMut, SessionError> {
        let mut attempts = 0;
        loop {
            let backend = self.current();
            let leg = match self.take_mine(backend).await {
                Ok(leg) => leg,
                Err(error) => {
                    self.after_failure(backend, error, &mut attempts).await?;
                    continue;
                }
            };
            let result = leg.command(payload.clone(), shape, sink).await;
            match result {
                Ok(reply) => return Ok(reply.last_frame),
                Err(error) => self.current_leg_failed(backend, error, &mut attempts).await?,
            }
        }
    }

    /// COM_INIT_DB.
    pub async fn init_db<S: ClientReply>(&mut self, schema: &[u8], sink: &mut S) -> Result<BytesMut, SessionError> {
        self.warnings = None;
        let payload = [&[grove_wire::command::COM_INIT_DB], schema].concat();
        let frame = self.command(Bytes::from(payload), ReplyShape::SingleOk, sink).await?;
        if !grove_wire::is_err_frame(&frame) {
            self.record_schema(schema);
        }
        Ok(frame)
    }

    /// COM_STMT_PREPARE under the client's id; the frames carry the server's id, which the caller replaces.
    pub async fn prepare<S: ClientReply>(
        &mut self,
        id: u32,
        text: &[u8],
        sink: &mut S,
    ) -> Result<LegReply, SessionError> {
        self.warnings = None;
        let mut attempts = 0;
        loop {
            let backend = self.current();
            if let Err(error) = self.told_leg(backend).await {
                self.current_leg_failed(backend, error, &mut attempts).await?;
                continue;
            }
            let leg = match self.take_mine(backend).await {
                Ok(leg) => leg,
                Err(error) => {
                    self.after_failure(backend, error, &mut attempts).await?;
                    continue;
                }
            };
            match leg.prepare(id, text, sink).await {
                Ok(reply) => return Ok(reply),
                Err(error) => {
                    if !sink.start_over() {
                        return Err(SessionError::Fatal(error.to_string()));
                    }
                    self.current_leg_failed(backend, error, &mut attempts).await?;
                }
            }
        }
    }

    /// COM_STMT_CLOSE: frees the statement on every leg that has it.
    pub async fn close_statement(&mut self, id: u32) {
        let mut lost = Vec::new();
        for (index, slot) in self.slots.iter_mut().enumerate() {
            match slot {
                Slot::Mine(leg) => lost.extend(leg.close_statement(id).await.is_err().then_some(index)),
                Slot::Away(_) if !self.closed_statements.contains(&id) => self.closed_statements.push(id),
                _ => {}
            }
        }
        // A leg that cannot be written to outside a transaction holds nothing; inside one, the next statement finds out.
        if self.transaction.is_none() {
            lost.into_iter().for_each(|index| self.slots[index] = Slot::Closed);
        }
    }

    /// COM_RESET_CONNECTION: everything as after the login, on every server.
    pub async fn reset(&mut self) -> Result<(), SessionError> {
        self.close().await;
        let lex_mode = LexMode {
            ansi_quotes: false,
            no_backslash_escapes: false,
            ..self.state.lex_mode
        };
        let read_committed = self.group.default_isolation_is_read_committed();
        let schema = std::mem::take(&mut self.state.schema);
        self.state = SessionState::new(lex_mode, self.identity.database.clone(), read_committed);
        if schema != self.identity.database {
            self.state.record_schema(&schema);
        }
        self.prepared_texts.clear();
        self.closed_statements.clear();
        self.warnings = None;
        self.reader_leg().await.map(|_| ())
    }

    /// Rolls back what is open and closes every leg. Also what dropping the session amounts to, but in order.
    pub async fn close(&mut self) {
        self.abort().await;
        if let Some(owner) = self.table_locks.take() {
            self.group.gates.release_all(owner);
        }
        for slot in &mut self.slots {
            *slot = Slot::Closed;
        }
    }

    /// Where a statement about the session itself runs: on the lead while writing, else where it reads.
    fn current(&self) -> BackendId {
        let transaction = self.transaction.as_ref();
        transaction.and_then(|t| t.lead.or(t.reader)).unwrap_or(self.reader)
    }

    fn kept_warnings(&mut self, statement: &Statement) -> Option<LegReplyBytes> {
        let Body::Query(payload) = &statement.body else {
            return None;
        };
        let text = payload[1..].trim_ascii();
        let text = text.strip_suffix(b";").unwrap_or(text);
        if !text.eq_ignore_ascii_case(b"show warnings") {
            return None;
        }
        let kept = self.warnings.as_ref()?;
        Some(LegReplyBytes {
            frames: kept.frames.clone(),
            last_frame: kept.last_frame.clone(),
        })
    }
}

impl<W: World> Drop for Session<W> {
    fn drop(&mut self) {
        self.group.count_reader(self.reader, false);
        if let Some(transaction) = &self.transaction {
            self.group.gates.release_all(transaction.owner);
        }
        if let Some(owner) = self.table_locks {
            self.group.gates.release_all(owner);
        }
    }
}
