//! Executing one entry of the log on the server that comes back, and comparing its answers with the lead's.
//!
//! Invariant: a unit is there with its position or not at all. Lock trouble among units that are replayed at the same time is solved by rolling
//! back and executing again; a different answer ends the replay.

use super::Setback;
use super::connection::{Connections, ReplayConnection};
use super::doubt::Doubts;
use crate::follower::{is_lock_trouble, is_lock_trouble_of};
use crate::io::{Clock, Discard, Entropy, LegError, LegReply, Servers, World};
use crate::local_file::LoggedFile;
use crate::position_rows::{ER_DUP_ENTRY, PositionRows, Standing, is_access_denied};
use crate::statement::{Body, Prepared, Query, insert_id, outcome_of, query_payload, words_of};
use bytes::Bytes;
use grove_recovery_log::{
    Entry, LoggedStatement, Origin, Outcome, Position, Record, StatementBody, Temporary, TemporaryUse, WriteUnit,
};
use grove_sql::{Analyser, Analysis, Class, ClientCharset, LexMode};
use grove_wire::ErrPacket;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

/// Different shapes whose analysis is kept.
const SHAPES: usize = 1_000;
/// Lock trouble of one unit ends after a few; this many is no longer trouble but a fault.
const MOST_ATTEMPTS: u32 = 1_000;
/// Connections that may be lost under one entry before the server counts as lost.
const MOST_LOSSES: u32 = 10;
const PAUSE_AFTER_LOSS: Duration = Duration::from_millis(20);
/// What [`PositionRows::definition`] says of a table that is not there: ER_NO_SUCH_TABLE. (A schema that is not there has none either: ER_BAD_DB_ERROR.)
const NO_SUCH_TABLE: &str = "error 1146";

/// An entry to execute.
pub(super) struct Task<W: World> {
    pub record: Record,
    /// Where, if a connection is at hand.
    pub connection: Option<ReplayConnection<W>>,
    /// Nothing else runs meanwhile.
    pub is_alone: bool,
}

/// Executes entries on one server.
pub(super) struct Executor<W: World> {
    pub connections: Connections<W>,
    pub rows: tokio::sync::Mutex<PositionRows<<W::Servers as Servers>::Leg>>,
    pub doubts: Doubts,
    pub standing: Standing,
    analyser: Analyser,
    mode: LexMode,
    next_prepared: AtomicU32,
}

/// What became of one attempt to execute a unit.
enum Attempt {
    Done,
    /// It must be executed again from its beginning.
    Again,
}

impl<W: World> Executor<W> {
    pub fn new(
        connections: Connections<W>,
        rows: PositionRows<<W::Servers as Servers>::Leg>,
        standing: Standing,
    ) -> Self {
        let facts = &connections.group.member(connections.backend).facts;
        let facts = facts.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (version, sql_mode) = facts.map(|facts| (facts.version, facts.sql_mode)).unwrap_or_default();
        Self {
            mode: LexMode::of_server(&version, &sql_mode),
            connections,
            rows: tokio::sync::Mutex::new(rows),
            doubts: Doubts::default(),
            standing,
            analyser: Analyser::new(SHAPES),
            next_prepared: AtomicU32::new(1),
        }
    }

    /// What a statement means, as far as the first words tell it.
    pub fn analyse(&self, text: &[u8], collation: u16) -> Arc<Analysis> {
        let mode = LexMode {
            charset: ClientCharset::from_collation(collation),
            ..self.mode
        };
        self.analyser.analyse(text, mode)
    }

    /// Whether a unit depends on what its session keeps on its connection.
    pub fn must_be_alone(&self, unit: &WriteUnit) -> bool {
        matches!(unit.temporary.usage, TemporaryUse::Needed | TemporaryUse::Only)
            || unit
                .statements
                .iter()
                .any(|statement| self.makes_temporary_table(statement, unit.origin.collation))
    }

    fn makes_temporary_table(&self, statement: &LoggedStatement, collation: u16) -> bool {
        let text = text_of(&statement.body);
        let first = text.trim_ascii_start().get(..4).unwrap_or_default();
        // CREATE and DROP, or something in front of them.
        let may_be = !first.eq_ignore_ascii_case(b"inse") && !first.eq_ignore_ascii_case(b"upda");
        may_be && self.analyse(text, collation).class == Class::TemporaryDdl
    }

    pub async fn execute(&self, task: Task<W>) -> Result<Option<ReplayConnection<W>>, Setback> {
        let position = task.record.position;
        match &task.record.entry {
            Entry::Unit(unit) => self.execute_unit(unit, position, task.connection, task.is_alone).await,
            Entry::Standalone(standalone) => self.execute_standalone(standalone, position, task.connection).await,
            Entry::Intent(_) | Entry::Membership(_) | Entry::Checkpoint(_) => Ok(task.connection),
        }
    }

    async fn execute_unit(
        &self,
        unit: &WriteUnit,
        position: Position,
        mut connection: Option<ReplayConnection<W>>,
        is_alone: bool,
    ) -> Result<Option<ReplayConnection<W>>, Setback> {
        if connection.is_none() && unit.temporary.usage == TemporaryUse::Only {
            // The session made the tables before the server was lost, and copies them when it writes there.
            self.mark(position).await?;
            return Ok(None);
        }
        let (mut shifts, mut losses) = (HashMap::new(), 0);
        let world = &self.connections.group.world;
        for attempt in 0..MOST_ATTEMPTS {
            let mut used = match connection.take() {
                Some(connection) => connection,
                None => {
                    let opening = self.open_for_session(&unit.origin, &unit.opening, &unit.temporary, position);
                    match opening.await {
                        Ok(connection) => connection,
                        Err(Setback::Lost(error)) => {
                            self.after_loss(&mut losses, error).await?;
                            continue;
                        }
                        Err(setback) => return Err(setback),
                    }
                }
            };
            let attempted = match self.try_unit(unit, position, &mut used, &mut shifts, losses > 0).await {
                // If it was the COMMIT that was lost, the position will be found there.
                Err(Setback::Lost(error)) if !used.has_temporary_tables => {
                    self.after_loss(&mut losses, error).await?;
                    continue;
                }
                attempted => attempted?,
            };
            match attempted {
                Attempt::Done => {
                    used.has_temporary_tables |= is_alone && self.must_be_alone(unit);
                    return Ok(Some(used));
                }
                Attempt::Again => {
                    if used.has_temporary_tables {
                        // It runs alone, so this does not happen by itself.
                        return Err(Setback::Later(format!(
                            "entry {position} met lock trouble while it was replayed"
                        )));
                    }
                    // A fresh connection has nothing of the first attempt, if that has left anything.
                    if !used.is_dirty && used.leg.query(b"ROLLBACK").await.is_ok() && !used.leg.in_transaction {
                        connection = Some(used);
                    }
                    let jitter = world.entropy().next_u64() % (2 + u64::from(attempt).min(20));
                    world.clock().sleep(Duration::from_millis(jitter)).await;
                }
            }
        }
        Err(Setback::Later(format!(
            "entry {position} could not be replayed in {MOST_ATTEMPTS} attempts: another client than Grove writes there"
        )))
    }

    /// A connection was lost. That says nothing about the server until it happens again and again.
    async fn after_loss(&self, losses: &mut u32, error: LegError) -> Result<(), Setback> {
        *losses += 1;
        if *losses > MOST_LOSSES {
            return Err(Setback::Lost(error));
        }
        self.connections.group.world.clock().sleep(PAUSE_AFTER_LOSS).await;
        Ok(())
    }

    /// A fresh connection that has what the session had. Its temporary tables are made again from their copy in the log. Without one, the connection will do if no
    /// other table has the name of one of them: then a statement that wanted them fails, and does not do something else.
    pub(super) async fn open_for_session(
        &self,
        origin: &Origin,
        opening: &[Bytes],
        temporary: &Temporary,
        position: Position,
    ) -> Result<ReplayConnection<W>, Setback> {
        let mut connection = self.connections.open(origin, position).await?;
        if temporary.usage != TemporaryUse::Needed {
            return Ok(connection);
        }
        if !temporary.copy.is_empty() {
            // What begins the transaction is no state, and does no harm: it is ended below.
            connection.leg.tell(opening).await?;
            connection.leg.query(b"ROLLBACK").await?;
            connection.leg.tell(&temporary.copy).await?;
            connection.has_temporary_tables = true;
            return Ok(connection);
        }
        let mut rows = self.rows.lock().await;
        for (schema, name) in &temporary.names {
            if rows.definition(schema, name).await? != NO_SUCH_TABLE {
                return Err(lost_session(position, origin.connection_id));
            }
        }
        match temporary.names.is_empty() {
            true => Err(lost_session(position, origin.connection_id)),
            false => Ok(connection),
        }
    }

    async fn try_unit(
        &self,
        unit: &WriteUnit,
        position: Position,
        connection: &mut ReplayConnection<W>,
        shifts: &mut HashMap<usize, u64>,
        may_be_there: bool,
    ) -> Result<Attempt, Setback> {
        let mut prelude = connection.tell(&unit.opening);
        if may_be_there {
            // Before anything else: a second execution would give other answers. It waits for a COMMIT that is still on its way.
            let mark = Body::query(self.connections.fence.mark(position).as_bytes());
            let begin = std::mem::take(&mut prelude);
            let reply = connection.leg.run(&begin, &mark, &mut Discard).await?;
            if let Some(err) = reply.reply.err() {
                return self.after_refused_mark(connection, position, err).await;
            }
        }
        for (at, statement) in unit.statements.iter().enumerate() {
            prelude.extend(statement.context.iter().cloned());
            connection.is_dirty |= leaves_state(statement);
            connection.note(&statement.context, text_of(&statement.body));
            let shift = shifts.get(&at).copied().unwrap_or(0);
            let (reply, outcome) = self
                .run(connection, &std::mem::take(&mut prelude), statement, shift, position)
                .await?;
            if agrees(&statement.outcome, &outcome) {
                continue;
            }
            let is_gone = statement.outcome.in_transaction && !outcome.in_transaction;
            if is_gone || is_lock_trouble_of(&outcome) {
                return Ok(Attempt::Again);
            }
            if statement.undone {
                continue;
            }
            let (got, wanted) = (insert_id(&outcome), statement.generated_id);
            if shift == 0 && wanted > 0 && got > wanted && got - wanted < wanted {
                // The first generated id went to a row that was not inserted: begin that much earlier.
                shifts.insert(at, got - wanted);
                return Ok(Attempt::Again);
            }
            return Err(differs(position, &statement.body, &statement.outcome, &outcome, &reply));
        }
        match may_be_there {
            true => self.commit_marked(connection).await,
            false => self.commit(connection, position).await,
        }
    }

    /// Commits a unit that has inserted its position already.
    async fn commit_marked(&self, connection: &mut ReplayConnection<W>) -> Result<Attempt, Setback> {
        let reply = connection.leg.query(b"COMMIT").await?;
        match reply.reply.err() {
            None => Ok(Attempt::Done),
            Some(_) => Ok(Attempt::Again),
        }
    }

    /// The server did not take the position of a unit, whose transaction is still open.
    async fn after_refused_mark(
        &self,
        connection: &mut ReplayConnection<W>,
        position: Position,
        err: &ErrPacket,
    ) -> Result<Attempt, Setback> {
        if is_access_denied(err.code) {
            self.connections.group.permit_marks(&mut connection.leg).await?;
            return Ok(Attempt::Again);
        }
        if err.code == ER_DUP_ENTRY {
            // It was there already.
            connection.leg.query(b"ROLLBACK").await?;
            return Ok(Attempt::Done);
        }
        if is_lock_trouble(err.code) {
            return Ok(Attempt::Again);
        }
        Err(Setback::Later(format!(
            "entry {position} cannot be committed there: error {}: {}",
            err.code,
            String::from_utf8_lossy(&err.message)
        )))
    }

    /// Commits the unit with its position.
    async fn commit(&self, connection: &mut ReplayConnection<W>, position: Position) -> Result<Attempt, Setback> {
        if !connection.leg.in_transaction {
            // Its last statement has committed it.
            self.mark(position).await?;
            return Ok(Attempt::Done);
        }
        let several = connection.takes_several();
        let commit = Body::query(b"COMMIT");
        let reply = connection.leg.commit(position, &commit, several).await?;
        match reply.reply.err() {
            None => Ok(Attempt::Done),
            Some(err) => self.after_refused_mark(connection, position, err).await,
        }
    }

    /// Runs one statement as the lead did.
    pub(super) async fn run(
        &self,
        connection: &mut ReplayConnection<W>,
        prelude: &[Bytes],
        statement: &LoggedStatement,
        shift: u64,
        position: Position,
    ) -> Result<(LegReply, Outcome), Setback> {
        let mut prelude = prelude.to_vec();
        if statement.generated_id > 0 {
            let first = statement.generated_id.saturating_sub(shift);
            prelude.push(query_payload(format!("SET INSERT_ID={first}").as_bytes()));
        }
        let body = self.body(&statement.body, position)?;
        let leg = &mut connection.leg;
        let reply = leg.run(&prelude, &body, &mut Discard).await?;
        if let Body::Execute { prepared, .. } = &body {
            leg.close_statement(prepared.id).await?;
        }
        let mut outcome = outcome_of(&reply.reply);
        if reply.reply.err().is_some() {
            // An ERR packet does not say whether the transaction is still open.
            outcome.in_transaction = leg.ask_in_transaction().await?;
        }
        if statement.generated_id > 0 && insert_id(&statement.outcome) == 0 && agrees(&statement.outcome, &outcome) {
            let generated = leg.last_insert_id().await?;
            if generated != statement.generated_id {
                let reason = format!(
                    "entry {position} generated the key {generated} there, and {} elsewhere",
                    statement.generated_id
                );
                return Err(Setback::Differs(reason));
            }
        }
        Ok((reply, outcome))
    }

    fn body(&self, logged: &StatementBody, position: Position) -> Result<Body, Setback> {
        Ok(match logged {
            StatementBody::Text(text) => Body::query(text),
            StatementBody::Attributed { text, attributes } => {
                let payload = [&[grove_wire::command::COM_QUERY], attributes.as_ref(), text.as_ref()].concat();
                Body::Query(Query::new(payload.into(), 1 + attributes.len()))
            }
            StatementBody::Load { text, file } => Body::Load {
                query: Query::new(query_payload(text), 1),
                file: Arc::new(LoggedFile(file.clone())),
            },
            StatementBody::LoadWithoutFile(_) => {
                let reason =
                    format!("entry {position} is a LOAD DATA LOCAL, whose file was too large for the recovery log");
                return Err(Setback::Differs(reason));
            }
            StatementBody::Execute {
                text,
                parameters,
                long_data,
            } => Body::Execute {
                prepared: Arc::new(Prepared {
                    id: self.next_prepared.fetch_add(1, Ordering::Relaxed),
                    text: text.clone(),
                    analysis: self.analyse(text, 0),
                    // Its parameters' types need not be compared with those of an earlier execution: there is none.
                    params: 0,
                }),
                payload: parameters.clone(),
                long_data: Arc::new(long_data.clone()),
            },
        })
    }

    pub async fn mark(&self, position: Position) -> Result<(), Setback> {
        let mut losses = 0;
        let mut rows = self.rows.lock().await;
        loop {
            let error = match rows.mark(position, self.connections.fence).await {
                Ok(()) => return Ok(()),
                Err(LegError::Refused(err)) => return Err(Setback::Lost(LegError::Refused(err))),
                Err(error) => error,
            };
            self.after_loss(&mut losses, error).await?;
            let (backend, scope) = (self.connections.backend, self.connections.scope.clone());
            if let Ok(again) = self.connections.group.open_position_rows(backend, scope).await {
                *rows = again;
            }
        }
    }
}

/// The statement's text, whichever way it came.
pub(super) fn text_of(body: &StatementBody) -> &[u8] {
    match body {
        StatementBody::Text(text)
        | StatementBody::Attributed { text, .. }
        | StatementBody::LoadWithoutFile(text)
        | StatementBody::Load { text, .. }
        | StatementBody::Execute { text, .. } => text,
    }
}

/// The lead's answer, given again. After an error the transaction must be open where it was open.
pub(super) fn agrees(lead: &Outcome, here: &Outcome) -> bool {
    lead == here
}

/// Whether a statement may leave something on its connection which the next unit's opening does not set.
fn leaves_state(statement: &LoggedStatement) -> bool {
    let is_clock = |payload: &Bytes| {
        let told = payload.get(1..).unwrap_or_default();
        [&b"SET TIMESTAMP="[..], b"SET RAND_SEED1=", b"SET LAST_INSERT_ID="]
            .iter()
            .any(|own| told.starts_with(own))
    };
    let text = text_of(&statement.body);
    let first = text.trim_ascii_start().get(..6).unwrap_or_default();
    let is_plain = [&b"insert"[..], b"update", b"delete", b"replac", b"select"]
        .iter()
        .any(|word| first.eq_ignore_ascii_case(word));
    !is_plain || text.contains(&b'@') || !statement.context.iter().all(is_clock)
}

/// The beginning of a statement, for messages.
pub(super) fn beginning(text: &[u8]) -> String {
    String::from_utf8_lossy(text).chars().take(300).collect()
}

pub(super) fn differs(
    position: Position,
    body: &StatementBody,
    lead: &Outcome,
    here: &Outcome,
    reply: &LegReply,
) -> Setback {
    let message = reply.reply.err().map(|err| String::from_utf8_lossy(&err.message));
    Setback::Differs(format!(
        "entry {position} gave {}{} there, and {} on the lead: {}",
        words_of(&here.results),
        message.map(|message| format!(" ({message})")).unwrap_or_default(),
        words_of(&lead.results),
        beginning(text_of(body))
    ))
}

fn lost_session(position: Position, session: u32) -> Setback {
    Setback::Differs(format!(
        "entry {position} reads temporary tables that session {session} had made before the server was lost"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statement(text: &str, context: &[&str]) -> LoggedStatement {
        LoggedStatement {
            body: StatementBody::Text(Bytes::copy_from_slice(text.as_bytes())),
            context: context.iter().map(|sql| query_payload(sql.as_bytes())).collect(),
            generated_id: 0,
            undone: false,
            outcome: Outcome::default(),
        }
    }

    #[test]
    fn a_connection_is_used_again_only_after_statements_that_leave_nothing() {
        assert!(!leaves_state(&statement(
            "INSERT INTO t VALUES (1)",
            &["SET TIMESTAMP=1.5"]
        )));
        assert!(leaves_state(&statement("INSERT INTO t VALUES (@a := 1)", &[])));
        assert!(leaves_state(&statement("CALL p()", &[])));
        assert!(leaves_state(&statement(
            "UPDATE t SET a=1",
            &["SET SESSION sql_mode=''"]
        )));
    }
}
