//! A client's session inside the engine: its legs, its state, its transaction, and which path each statement takes.
//!
//! The session's task owns everything here. A leg is `Mine` (in the session's hands) or `Away` (with a follower's task, while a transaction
//! writes). Invariants: a session reads from one server while that is healthy; every online server has a leg in every transaction that
//! commits writes; a server without its part of a committed transaction is evicted.

mod broadcast;
mod commit;
mod cursor;
mod end;
mod explain;
mod gates;
mod insert_id;
mod judge;
mod kept_warnings;
mod legs;
mod mirrored;
mod read;
mod row_count;
mod set;
mod standalone;
mod temporary_copy;
mod unknown;
mod write;
mod writers;

use crate::error::SessionError;
use crate::follower::FollowerHandle;
use crate::gate::Hold;
use crate::group::Group;
use crate::interrupt::{Interrupter, Running};
use crate::io::{BackendId, ClientReply, Identity, LegError, LegReply, Servers, World};
use crate::leg::OpenLeg;
use crate::state::{Isolation, SessionState};
use crate::statement::Statement;
use crate::transaction::Transaction;
use bytes::{Bytes, BytesMut};
use grove_sql::{Analyser, Analysis, Class, LexMode};
use grove_wire::{ErrPacket, ReplyShape};
use std::collections::HashMap;
use std::sync::Arc;

pub use explain::Explanation;

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
    /// Tells it apart from others of the same client connection.
    generation: u64,
    state: SessionState,
    /// How statements are to be read after the login.
    initial_lex_mode: LexMode,
    slots: Vec<Slot<W>>,
    /// The server that it reads from.
    reader: BackendId,
    /// It has read from another one since, which may have shown commits that `reader` has not executed yet.
    has_read_elsewhere: bool,
    transaction: Option<Transaction>,
    /// While `LOCK TABLES` or an XA transaction is in force.
    mirrored: Option<Mirrored>,
    running: Arc<Running>,
    /// What text-protocol `PREPARE` named.
    prepared_texts: HashMap<Vec<u8>, Arc<Analysis>>,
    /// Statements that the client closed while a leg was away.
    closed_statements: Vec<u32>,
    /// The answer to SHOW WARNINGS after an autocommit write, asked for before its COMMIT cleared it.
    warnings: Option<LegReplyBytes>,
    /// What ROW_COUNT() says after the last statement, if that was a write in a transaction, or in Grove's own around it.
    row_count: Option<i64>,
    /// Open cursors by the client's id of their statement.
    cursors: HashMap<u32, cursor::Place>,
    /// The server whose answer to the last statement of a transaction the client has: it knows the warnings.
    answered_by: Option<BackendId>,
    /// The server whose answer to the last statement of a transaction that writes said that there are warnings.
    warned_by: Option<BackendId>,
    /// It keeps something on the servers that one which joins cannot be given.
    is_anchored: bool,
    /// How many servers had been lost when the log last held all that makes its temporary tables.
    tables_logged_at: u64,
}

/// State that every server's leg must go through in step: what is not a plain read runs on the lead and then on the others before the
/// client is answered, and Grove adds no transaction of its own. The gates that were taken at its start are held to its end.
struct Mirrored {
    kind: MirroredKind,
    _hold: Arc<Hold>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum MirroredKind {
    TableLocks,
    Xa,
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
        group.accounts.learn(&identity.user, &identity.password);
        let reader = group.choose_reader();
        group.count_reader(reader, true);
        let isolation = group.default_isolation();
        let mut session = Self {
            slots: (0..group.member_count()).map(|_| Slot::Closed).collect(),
            state: SessionState::new(lex_mode, identity.database.clone(), isolation),
            identity: Arc::new(identity),
            generation: group.next_generation(),
            initial_lex_mode: lex_mode,
            group,
            analyser,
            reader,
            transaction: None,
            mirrored: None,
            running: Arc::default(),
            prepared_texts: HashMap::new(),
            closed_statements: Vec::new(),
            warnings: None,
            row_count: None,
            answered_by: None,
            cursors: HashMap::new(),
            has_read_elsewhere: false,
            warned_by: None,
            is_anchored: false,
            tables_logged_at: 0,
        };
        let running = Arc::clone(&session.running);
        session.group.at_work.insert(session.generation, running);
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

    /// A handle that can stop what this session is running, for `KILL QUERY`.
    pub fn interrupter(&self) -> Interrupter<W> {
        Interrupter::new(Arc::clone(&self.group), Arc::clone(&self.running))
    }

    /// Runs one statement. All frames of the reply but the last go to `sink`; the last is returned, for the caller to send.
    ///
    /// Dropping the future ends the session and rolls its transaction back. A decided COMMIT, and a statement that commits by itself once it has
    /// been sent, go on without the session. To stop only what is running, use an [`Interrupter`].
    pub async fn execute<S: ClientReply>(
        &mut self,
        statement: &Statement,
        sink: &mut S,
    ) -> Result<BytesMut, SessionError> {
        let stripped = self.without_cursor(statement);
        let statement = stripped.as_ref().unwrap_or(statement);
        let class = statement.analysis.class;
        let row_count = self.row_count.take();
        if !read::asks_about_last_statement(statement) {
            self.answered_by = None;
        }
        if statement.analysis.flags.is_show_warnings_or_errors {
            if let Some(kept) = self.kept_warnings(statement) {
                sink.forward(&kept.frames).await.map_err(SessionError::Fatal)?;
                self.row_count = Some(-1);
                return Ok(kept.last_frame);
            }
        } else {
            self.warnings = None;
        }
        let judged = self.judged(statement);
        let result = match (self.doomed(), row_count) {
            (Some(doomed), _) if !matches!(class, Class::Rollback { .. }) => Err(doomed),
            (_, Some(count)) if class == Class::Read && !statement.analysis.row_count_columns.is_empty() => {
                Box::pin(self.read_row_count(statement, count, sink)).await
            }
            _ => match judged {
                Ok(judged) => self.dispatch(class, judged.as_ref().unwrap_or(statement), sink).await,
                Err(refused) => Err(refused),
            },
        };
        let asks_about_last = read::asks_about_last_statement(statement);
        if let (Ok(frame), true, false) = (&result, self.is_writing(), asks_about_last) {
            let has_warnings = kept_warnings::tells_of_warnings(frame, self.identity.capabilities);
            self.warned_by = has_warnings.then(|| self.answered_by.unwrap_or(self.current()));
        }
        self.after(result).await
    }

    fn is_writing(&self) -> bool {
        self.transaction.as_ref().is_some_and(|t| t.lead.is_some())
    }

    /// What the client is told if its transaction cannot be committed because a follower cannot execute it.
    fn doomed(&self) -> Option<SessionError> {
        let doomed = self.transaction.as_ref().is_some_and(|t| t.fate.is_doomed());
        doomed
            .then(|| SessionError::Retry("a server could not execute the transaction again after lock trouble".into()))
    }

    /// What the client is told to run again, or cannot go on with, is rolled back everywhere.
    async fn after<T>(&mut self, result: Result<T, SessionError>) -> Result<T, SessionError> {
        if let Err(SessionError::Retry(_) | SessionError::Fatal(_) | SessionError::NoServer(_)) = &result {
            Box::pin(self.abort()).await;
        }
        self.note_anchor();
        result
    }

    /// Says what the session keeps on the servers: see [`crate::rejoin`].
    fn note_anchor(&mut self) {
        let has_nameless_tables = self.state.temporary_tables.names().is_none();
        self.anchor(self.mirrored.is_some() || has_nameless_tables);
    }

    fn anchor(&mut self, is_anchored: bool) {
        if is_anchored != self.is_anchored {
            self.is_anchored = is_anchored;
            let id = self.identity.connection_id;
            match is_anchored {
                true => self.group.anchored.insert(id),
                false => self.group.anchored.remove(&id).is_some(),
            };
        }
    }

    async fn dispatch<S: ClientReply>(
        &mut self,
        class: Class,
        statement: &Statement,
        sink: &mut S,
    ) -> Result<BytesMut, SessionError> {
        if self.mirrored.is_some()
            && let Some(result) = Box::pin(self.dispatch_mirrored(class, statement, sink)).await
        {
            return result;
        }
        let inside = self.transaction.is_some() || !self.state.autocommit;
        let is_plain_read = match class {
            Class::Read => !inside || self.isolation() != Isolation::Serializable,
            Class::LockingRead => !inside,
            // Without table locks it does nothing, and above all it does not commit.
            Class::UnlockTables => true,
            _ => false,
        };
        match is_plain_read {
            true => self.read(statement, sink).await,
            // These futures are large: boxed, a plain read does not pay for them.
            false => Box::pin(self.dispatch_beyond_reads(class, statement, sink)).await,
        }
    }

    /// Everything but a plain read.
    async fn dispatch_beyond_reads<S: ClientReply>(
        &mut self,
        class: Class,
        statement: &Statement,
        sink: &mut S,
    ) -> Result<BytesMut, SessionError> {
        if class == Class::TemporaryDdl && !self.state.temporary_tables.any() {
            self.tables_logged_at = self.group.losses();
        }
        if matches!(class, Class::LockTables | Class::Xa) {
            // Before the servers have it, so that none joins in between.
            self.anchor(true);
        }
        match class {
            Class::Read | Class::LockingRead | Class::UnlockTables | Class::Write(_) => {
                self.write(statement, sink).await
            }
            // Plain KILL never comes here; a prepared one names Grove's connection ids, which mean nothing to a server.
            Class::Kill => Err(SessionError::Refused(ErrPacket::new(
                1235,
                "42000",
                "This version of Grove doesn't yet support 'KILL as a prepared statement'",
            ))),
            Class::Ddl | Class::LockTables => {
                self.end_implicitly().await?;
                let frame = self.standalone(statement, sink).await?;
                Ok(self.note_definition(statement, frame))
            }
            Class::Unknown => match self.refusal(statement).await? {
                Some(refusal) => Ok(refusal),
                None => self.write_or_standalone(statement, sink).await,
            },
            Class::TemporaryDdl => {
                let frame = self.write_or_standalone(statement, sink).await?;
                Ok(self.note_definition(statement, frame))
            }
            Class::Call | Class::Xa | Class::Handler | Class::Do => self.write_or_standalone(statement, sink).await,
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
                        self.write_or_standalone(&statement, sink).await
                    }
                    class => {
                        self.judged_elsewhere(&statement)?;
                        Box::pin(self.dispatch(class, &statement, sink)).await
                    }
                }
            }
        }
    }

    /// Takes note of temporary tables that were made or dropped.
    fn note_definition(&mut self, statement: &Statement, answer: BytesMut) -> BytesMut {
        if !grove_wire::is_err_frame(&answer) {
            let schema = std::mem::take(&mut self.state.schema);
            self.state.temporary_tables.note(&statement.analysis, &schema);
            self.state.schema = schema;
        }
        answer
    }

    /// What belongs to the open transaction if there is one, and commits by itself otherwise.
    pub(super) async fn write_or_standalone<S: ClientReply>(
        &mut self,
        statement: &Statement,
        sink: &mut S,
    ) -> Result<BytesMut, SessionError> {
        if self.transaction.is_some() || !self.state.autocommit {
            self.write(statement, sink).await
        } else {
            self.standalone(statement, sink).await
        }
    }

    /// Runs a raw command that concerns only the session's current leg (COM_PING).
    pub async fn command<S: ClientReply>(
        &mut self,
        payload: Bytes,
        shape: ReplyShape,
        sink: &mut S,
    ) -> Result<BytesMut, SessionError> {
        self.row_count = None;
        let result = self.command_on_current(payload, shape, sink).await;
        self.after(result).await
    }

    async fn command_on_current<S: ClientReply>(
        &mut self,
        payload: Bytes,
        shape: ReplyShape,
        sink: &mut S,
    ) -> Result<BytesMut, SessionError> {
        let mut attempts = 0;
        loop {
            let backend = self.current();
            // Also where the command changes the session's state: what it changes is told later, after all that was before it.
            let told = self.told_leg(backend).await;
            let result = match (told, self.slot(backend)) {
                (Ok(()), Slot::Mine(leg)) => leg.command(payload.clone(), shape, sink).await,
                (Ok(()), _) => Err(LegError::Lost("the leg is not at hand".into())),
                (Err(error), _) => Err(error),
            };
            match result {
                Ok(reply) => return Ok(reply.last_frame),
                Err(error) => {
                    self.current_leg_failed(backend, error, &mut attempts).await?;
                    if !sink.start_over() {
                        return Err(SessionError::Fatal("the server died in the middle of a result".into()));
                    }
                }
            }
        }
    }

    /// COM_INIT_DB.
    pub async fn init_db<S: ClientReply>(&mut self, schema: &[u8], sink: &mut S) -> Result<BytesMut, SessionError> {
        self.warnings = None;
        self.row_count = None;
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
        let result = self.prepare_on_current(id, text, sink).await;
        // To prepare the question is not to ask it, and clears nothing where the server can prepare it (MySQL cannot).
        let is_prepared = matches!(&result, Ok(reply) if reply.reply.err().is_none());
        if !(is_prepared && kept_warnings::is_question(text)) {
            self.warnings = None;
        }
        self.after(result).await
    }

    async fn prepare_on_current<S: ClientReply>(
        &mut self,
        id: u32,
        text: &[u8],
        sink: &mut S,
    ) -> Result<LegReply, SessionError> {
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
                    self.current_leg_failed(backend, error, &mut attempts).await?;
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
        self.cursors.remove(&id);
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
        let lex_mode = self.initial_lex_mode;
        if let Some(facts) = self.group.server_facts()
            && lex_mode.flavor == grove_sql::Flavor::Mysql
        {
            // MySQL goes back to the server's character set, not to that of the login.
            let mut identity = Identity::clone(&self.identity);
            identity.collation = u16::from(facts.collation);
            self.identity = Arc::new(identity);
        }
        let isolation = self.group.default_isolation();
        let schema = std::mem::take(&mut self.state.schema);
        self.state = SessionState::new(lex_mode, self.identity.database.clone(), isolation);
        if schema != self.identity.database {
            self.state.record_schema(&schema);
        }
        self.generation = self.group.next_generation();
        self.prepared_texts.clear();
        self.closed_statements.clear();
        self.warnings = None;
        self.row_count = None;
        self.note_anchor();
        self.reader_leg().await.map(|_| ())
    }

    /// Rolls back what is open and closes every leg. Also what dropping the session amounts to, but in order.
    pub async fn close(&mut self) {
        self.abort().await;
        self.mirrored = None;
        self.note_anchor();
        self.cursors.clear();
        for slot in &mut self.slots {
            *slot = Slot::Closed;
        }
    }

    /// Where a statement about the session itself runs: on the lead while writing, else where it reads.
    fn current(&self) -> BackendId {
        let transaction = self.transaction.as_ref();
        transaction.and_then(|t| t.lead.or(t.reader)).unwrap_or(self.reader)
    }

    /// The isolation level in force.
    fn isolation(&self) -> Isolation {
        let transaction = self.transaction.as_ref();
        transaction.map_or(self.state.isolation, |t| t.isolation)
    }
}

impl<W: World> Drop for Session<W> {
    fn drop(&mut self) {
        self.group.count_reader(self.reader, false);
        self.group.at_work.remove(&self.generation);
        self.anchor(false);
        if let Some(transaction) = &self.transaction {
            // The lead rolls back as soon as its leg is dropped: followers must not judge what they still have in their queues.
            transaction.fate.abandon();
        }
    }
}
