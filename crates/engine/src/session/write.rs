//! Writes: the lead executes first and decides the order, followers execute what it answered.

use super::insert_id::{last_insert_id, must_be_asked_about, reports_may_mislead, reports_no_insert_id};
use super::writers::Readiness;
use super::{Session, Slot};
use crate::error::SessionError;
use crate::follower::{Executed, Undone, is_lock_trouble_of};
use crate::io::{BackendId, ClientReply, Clock, Entropy, LegError, LegReply, World};
use crate::local_file::{FilePart, FileSender, LocalFile};
use crate::order::Share;
use crate::settings::ReadCommitted;
use crate::state::{Isolation, StateKey};
use crate::statement::{Statement, asks_for_file, outcome_of, query_payload, set_last_insert_id};
use crate::transaction::Transaction;
use bytes::{Bytes, BytesMut};
use grove_recovery_log::{Outcome, ResultOutcome};
use grove_sql::{Analysis, Class, WriteKind};
use grove_wire::{ErrPacket, StatusFlags};
use std::sync::Arc;

impl<W: World> Session<W> {
    /// A write, or anything else that must run in a transaction on every server.
    pub(super) async fn write<S: ClientReply>(
        &mut self,
        statement: &Statement,
        sink: &mut S,
    ) -> Result<BytesMut, SessionError> {
        let alone = self.transaction.is_none() && self.state.autocommit;
        if self.transaction.is_none() {
            self.transaction = Some(self.new_transaction(None));
        }
        if alone {
            sink.hide_transaction();
        }
        let result = self.write_in_transaction(statement, sink, alone).await;
        if !alone {
            return result;
        }
        match result {
            Ok(frame) if grove_wire::is_err_frame(&frame) => {
                match self.transaction.as_ref().is_some_and(|t| !t.entries.is_empty()) {
                    // What it did before it failed.
                    true => self.commit_everywhere(None).await.map(|_| ())?,
                    false => self.abort().await,
                }
                Ok(frame)
            }
            Ok(mut frame) => {
                if self.transaction.is_some() {
                    self.commit_everywhere(None).await?;
                }
                let capabilities = self.identity.capabilities;
                grove_wire::patch_status(&mut frame, StatusFlags(0), StatusFlags::IN_TRANS, capabilities);
                Ok(frame)
            }
            Err(error) => {
                self.abort().await;
                Err(error)
            }
        }
    }

    /// A transaction that no leg has begun yet. `statement` is the client's own BEGIN.
    pub(super) fn new_transaction(&mut self, statement: Option<Bytes>) -> Transaction {
        let (mut isolation, mut begin) = (self.state.isolation, Vec::new());
        if let Some((set, level)) = self.state.next_transaction.take() {
            isolation = level.unwrap_or(isolation);
            begin.push(set);
        }
        if isolation == Isolation::ReadCommitted && self.group.settings.read_committed == ReadCommitted::Upgrade {
            isolation = Isolation::RepeatableRead;
            begin.push(query_payload(b"SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"));
        }
        begin.push(statement.unwrap_or_else(|| query_payload(b"BEGIN")));
        Transaction::new(self.group.new_hold(), isolation, begin)
    }

    async fn write_in_transaction<S: ClientReply>(
        &mut self,
        statement: &Statement,
        sink: &mut S,
        alone: bool,
    ) -> Result<BytesMut, SessionError> {
        self.check_bounds(statement)?;
        if let Some(hold) = self.transaction.as_ref().map(|t| Arc::clone(&t.hold)) {
            self.take_gates(&hold, statement).await?;
        }
        let insert_id_read = self.insert_id_for(statement).await;
        let mut attempts = 0;
        // With its file, once that has been asked for.
        let mut loading: Option<Statement> = None;
        loop {
            let statement = loading.as_ref().unwrap_or(statement);
            let (share, lead) = self.group.order.enter().await;
            if let Readiness::Again { lost_reader } = self.become_writer(lead).await? {
                drop(share);
                if let Some(lost) = lost_reader {
                    self.move_transaction(lost).await?;
                }
                continue;
            }
            let mut context = self.context(statement);
            context.own.extend(insert_id_read.clone());
            let Some(fate) = self.transaction.as_ref().map(|t| Arc::clone(&t.fate)) else {
                return Err(SessionError::Fatal("a write without a transaction".into()));
            };
            fate.put_in_flight();
            let mut own = context.own.clone();
            if reports_may_mislead(statement) {
                // So that it tells afterwards whether the statement has generated one.
                own.push(set_last_insert_id(0));
            }
            let mut result = self.run_on_lead(lead, &own, statement, sink).await;
            let (mut held, mut with_file) = (Some(share), None);
            if let Ok(request) = &result
                && asks_for_file(request)
            {
                let (file, answer) = self.upload(lead, request, &mut held, sink).await?;
                with_file = Some(statement.with_file(file));
                result = answer;
            }
            let statement = with_file.as_ref().unwrap_or(statement);
            let (share, reply) = match (held, result) {
                (Some(share), Ok(reply)) => (share, reply),
                (held, result) => {
                    drop(held);
                    let gone = || LegError::Lost("the server has left the group".into());
                    let error = result.err().unwrap_or_else(gone);
                    if matches!(error, LegError::Protocol(_)) && !self.doubt(lead, &error.to_string()) {
                        // A refused BEGIN, for example: the statement may have committed by itself there.
                        return Err(SessionError::Fatal(format!(
                            "the outcome of the statement is not known: {error}"
                        )));
                    }
                    self.after_failure(lead, error, &mut attempts).await?;
                    if !sink.start_over() {
                        return Err(SessionError::Fatal("the lead died in the middle of a result".into()));
                    }
                    self.move_transaction(lead).await?;
                    loading = with_file.or(loading);
                    continue;
                }
            };
            let outcome = outcome_of(&reply.reply);
            self.answered_by = Some(lead);
            self.note_row_count(&reply.reply);
            if reply.reply.err().is_some() {
                let by_chance = stopped_by_chance(&outcome);
                let is_half_done = statement.may_fail_half_way() && !by_chance;
                if alone {
                    // What ends the transaction clears them.
                    self.keep_warnings(lead, alone).await;
                } else if statement.may_fail_half_way() && by_chance {
                    // No other server would stop at the same row.
                    let reason = "a bulk execution was stopped after some of its rows";
                    return Err(SessionError::Retry(reason.into()));
                }
                self.note_insert_id_of_failed(lead, statement, alone).await;
                if alone && !is_half_done {
                    fate.abandon();
                    if reports_may_mislead(statement) {
                        // What is lost here, the abort finds out.
                        let _ = self.restore_insert_id(lead).await;
                    }
                } else {
                    self.after_error(lead, statement, context, outcome, share).await?;
                }
                // A statement that failed half way leaves what it assigned. If the lead is lost here, nobody knows of it, on any server.
                let _ = self
                    .capture_variables(lead, &statement.analysis.user_variables_written)
                    .await;
                return Ok(reply.last_frame);
            }
            if outcome.in_transaction && self.was_killed_on(lead) {
                fate.abandon();
                return Err(match alone {
                    true => SessionError::Refused(interrupted()),
                    false => SessionError::Retry("a statement was killed and may have done part of its work".into()),
                });
            }
            if !outcome.in_transaction && never_ends_transaction(statement) {
                // MySQL 9.7 answers a DELETE that a deadlock has rolled back with OK, where the table has foreign keys.
                return Err(SessionError::Retry("the lead rolled back and answered with OK".into()));
            }
            let warnings = reply.reply.ok().map_or(0, |ok| ok.warnings);
            if warnings > 0 && (alone || must_be_asked_about(statement, &outcome)) {
                self.keep_warnings(lead, alone).await;
            }
            let still_open = outcome.in_transaction;
            let generated_id = self.generated_id(lead, statement, &outcome).await?;
            if let Some(transaction) = &mut self.transaction {
                transaction.note_savepoint(&statement.analysis, warnings > 0);
            }
            fate.survived();
            let known_id = last_insert_id(statement, generated_id, &outcome);
            self.note_insert_id(known_id.unwrap_or(0));
            if only_locks_what_is_free(statement) {
                // Followers may find other rows free. The lead's locks alone decide the order, and nothing is written here.
                if let Some(transaction) = &mut self.transaction {
                    transaction.locks_on_lead_only = true;
                }
                drop(share);
            } else {
                self.pass_on(lead, statement, context, outcome, generated_id, share);
            }
            let captured = self
                .capture_variables(lead, &statement.analysis.user_variables_written)
                .await;
            if let (Err(error), true) = (captured, still_open) {
                return Err(SessionError::Retry(format!(
                    "the lead was lost with what it assigned: {error}"
                )));
            }
            if !still_open {
                // A statement that was not understood has committed by itself, on the followers too.
                self.finish_committed().await?;
            }
            return Ok(reply.last_frame);
        }
    }

    /// Whether the statement that was answered on `backend` may have been cut short although it answered with OK.
    fn was_killed_on(&mut self, backend: BackendId) -> bool {
        matches!(self.slot(backend), Slot::Mine(leg) if leg.was_killed)
    }

    fn check_bounds(&self, statement: &Statement) -> Result<(), SessionError> {
        let Some(transaction) = &self.transaction else {
            return Ok(());
        };
        let settings = &self.group.settings;
        if transaction.entries.len() >= settings.transaction_statements {
            let bound = settings.transaction_statements;
            return Err(SessionError::Limit(format!(
                "a transaction may hold {bound} statements (limits.transaction_statements)"
            )));
        }
        if transaction.len + statement.body.len() > settings.transaction_bytes {
            let bound = settings.transaction_bytes;
            return Err(SessionError::Limit(format!(
                "a transaction's statements may hold {bound} bytes (limits.transaction_bytes)"
            )));
        }
        Ok(())
    }

    async fn run_on_lead<S: ClientReply>(
        &mut self,
        lead: BackendId,
        own: &[Bytes],
        statement: &Statement,
        sink: &mut S,
    ) -> Result<LegReply, LegError> {
        let sets_clock = !self.state.client_sets_clock;
        let running = Arc::clone(&self.running);
        let begin = self.transaction.as_ref().map(|t| t.begin.clone()).unwrap_or_default();
        let version = self.state.version();
        let told = match self.slot(lead) {
            Slot::Mine(leg) => leg.state_version,
            _ => 0,
        };
        let state: Vec<Bytes> = if told < version {
            self.state.since(told).collect()
        } else {
            Vec::new()
        };
        let Slot::Mine(leg) = self.slot(lead) else {
            return Err(LegError::Lost("the lead's leg is not at hand".into()));
        };
        let mut prelude = state;
        if !leg.in_transaction {
            prelude.extend(begin);
        }
        prelude.extend_from_slice(own);
        leg.state_version = version;
        leg.clock_is_set = sets_clock;
        leg.run_for_client(&prelude, &statement.body, sink, &running).await
    }

    /// Passes the client's file on to the lead, to its end, even if the lead is lost on the way: then the share is given back at once. Gives the
    /// file and the lead's answer.
    async fn upload<S: ClientReply>(
        &mut self,
        lead: BackendId,
        request: &LegReply,
        share: &mut Option<Arc<Share>>,
        sink: &mut S,
    ) -> Result<(Arc<dyn LocalFile>, Result<LegReply, LegError>), SessionError> {
        let running = Arc::clone(&self.running);
        let Slot::Mine(leg) = self.slot(lead) else {
            return Err(SessionError::Fatal("the lead's leg is not at hand".into()));
        };
        let (mut sender, mut sent) = (FileSender::new(), Ok(()));
        let gone = leg.gone().clone();
        let fetching = async {
            sink.request_file(&request.last_frame).await?;
            loop {
                // A lead that is gone must not hold up the next epoch as long as a client pleases. What has been taken from the client is
                // on its way to the spool, so the future goes on.
                let mut next = std::pin::pin!(sink.next_of_file());
                let part = loop {
                    tokio::select! {
                        biased;
                        part = &mut next => break part?,
                        () = gone.cancelled(), if share.is_some() => {
                            sent = Err(LegError::Lost("the server has left the group".into()));
                            *share = None;
                        }
                    }
                };
                match part {
                    FilePart::Piece(piece) if sent.is_ok() => sent = sender.send(leg, &piece).await,
                    FilePart::Piece(_) => {}
                    FilePart::End(file) => return Ok(file),
                }
                if sent.is_err() {
                    *share = None;
                }
            }
        };
        let file = match fetching.await {
            Ok(file) => file,
            Err(reason) => {
                running.end().await;
                // Anything more that is sent there would be taken for the file.
                self.close_leg(lead);
                return Err(SessionError::Fatal(reason));
            }
        };
        if sent.is_ok() {
            sent = sender.send(leg, &[]).await;
        }
        let answer = match sent {
            Ok(()) => leg.after_file(sink, &running).await,
            Err(error) => {
                running.end().await;
                Err(error)
            }
        };
        Ok((file, answer))
    }

    fn context(&self, statement: &Statement) -> Context {
        let known = self.transaction.as_ref().map_or(0, |t| t.state_version);
        Context {
            state: self.state.changed_since(known).collect(),
            own: self.clock_and_chance(statement).into_iter().collect(),
        }
    }

    /// What the clock and the random seeds are to be, on every server; nothing if the client decides over the clock itself.
    pub(super) fn clock_and_chance(&self, statement: &Statement) -> Option<Bytes> {
        let mut assignments = Vec::with_capacity(2);
        if !self.state.client_sets_clock {
            let micros = self.group.world.clock().unix_micros();
            assignments.push(format!("TIMESTAMP={}.{:06}", micros / 1_000_000, micros % 1_000_000));
        }
        let flags = &statement.analysis.flags;
        let opaque = flags.calls_unknown_function || matches!(statement.analysis.class, Class::Call | Class::Unknown);
        if flags.uses_rand || opaque {
            let entropy = self.group.world.entropy();
            let seeds = (entropy.next_u64() & 0x3FFF_FFFF, entropy.next_u64() & 0x3FFF_FFFF);
            assignments.push(format!("RAND_SEED1={},RAND_SEED2={}", seeds.0, seeds.1));
        }
        (!assignments.is_empty()).then(|| query_payload(format!("SET {}", assignments.join(",")).as_bytes()))
    }

    /// Gives the followers a statement that the lead has executed.
    fn pass_on(
        &mut self,
        lead: BackendId,
        statement: &Statement,
        context: Context,
        outcome: Outcome,
        generated_id: Option<u64>,
        share: Arc<Share>,
    ) {
        let analysis = &statement.analysis;
        let mut traces: Vec<StateKey> = context.state.iter().map(|(key, _)| key.clone()).collect();
        traces.extend(analysis.user_variables_written.iter().map(StateKey::user_variable));
        if matches!(analysis.class, Class::TemporaryDdl | Class::Call | Class::Unknown) {
            traces.push(StateKey::Other(self.state.version()));
        }
        let executed = Arc::new(Executed {
            body: statement.body.clone(),
            context: context.all(),
            generated_id,
            last_insert_id: last_insert_id(statement, generated_id, &outcome),
            reports_no_insert_id: reports_no_insert_id(statement),
            sets_clock: !self.state.client_sets_clock,
            lead,
            outcome,
            traces,
            defines_temporary_tables: analysis.class == Class::TemporaryDdl,
            can_be_undone: can_be_undone(analysis),
            undone: Undone::default(),
        });
        if let Some(transaction) = &mut self.transaction {
            let (tables, schema) = (&self.state.temporary_tables, &self.state.schema);
            transaction
                .temporary
                .note(tables, analysis, statement.body.text(), schema);
            transaction.len += statement.body.len();
            transaction.state_version = self.state.version();
            transaction.entries.push(Arc::clone(&executed));
        }
        for slot in &self.slots {
            if let Slot::Away(handle) = slot {
                handle.execute(Arc::clone(&executed), Arc::clone(&share));
            }
        }
    }

    /// The lead answered with an error: learns whether the transaction survived, because the packet does not say.
    async fn after_error(
        &mut self,
        lead: BackendId,
        statement: &Statement,
        context: Context,
        mut outcome: Outcome,
        share: Arc<Share>,
    ) -> Result<(), SessionError> {
        let insert_id = self.state.last_insert_id;
        let Slot::Mine(leg) = self.slot(lead) else {
            return Ok(());
        };
        let asked = async {
            if reports_may_mislead(statement) {
                leg.tell(&[set_last_insert_id(insert_id)]).await?;
            }
            leg.ask_in_transaction().await
        };
        let survived = match asked.await {
            Ok(open) => open,
            Err(error) => {
                drop(share);
                let mut attempts = 0;
                self.after_failure(lead, error, &mut attempts).await?;
                if is_lock_trouble_of(&outcome) {
                    // Whether this error rolled the transaction back can no longer be asked.
                    return Err(SessionError::Retry(
                        "the lead was lost after an error in a transaction".into(),
                    ));
                }
                return self.move_transaction(lead).await;
            }
        };
        if survived && let Some(transaction) = &self.transaction {
            transaction.fate.survived();
        }
        outcome.in_transaction = survived;
        let is_plain = never_ends_transaction(statement) && !statement.may_fail_half_way();
        match (survived, is_plain) {
            (true, true) => Ok(()),
            // A routine, or a statement that was not understood, may have done part of its work before it failed.
            (true, false) => {
                self.pass_on(lead, statement, context, outcome, None, share);
                Ok(())
            }
            // It may also have committed what was open before it failed. Only lock trouble rolls back.
            (false, false) if !is_lock_trouble_of(&outcome) => {
                self.pass_on(lead, statement, context, outcome, None, share);
                self.finish_committed().await
            }
            (false, _) => {
                drop(share);
                self.abort().await;
                Ok(())
            }
        }
    }
}

/// Whether a transaction that is gone after the statement has been rolled back: nothing in it commits.
fn never_ends_transaction(statement: &Statement) -> bool {
    matches!(
        statement.analysis.class,
        Class::Write(_) | Class::LockingRead | Class::Read
    )
}

/// Errors that say where a statement was just then: lock trouble, interruptions, and the servers' limits of its time.
fn stopped_by_chance(outcome: &Outcome) -> bool {
    let is_out_of_time = matches!(outcome.results.last(), Some(ResultOutcome::Err { code: 1969 | 3024 }));
    is_out_of_time || is_lock_trouble_of(outcome)
}

/// `SELECT .. FOR UPDATE SKIP LOCKED`: how workers take jobs from a queue.
fn only_locks_what_is_free(statement: &Statement) -> bool {
    statement.analysis.class == Class::LockingRead && statement.analysis.flags.skips_locked
}

/// ER_QUERY_INTERRUPTED
fn interrupted() -> ErrPacket {
    ErrPacket::new(1317, "70100", "Query execution was interrupted")
}

/// Whether ROLLBACK TO SAVEPOINT leaves nothing of it. Tables without transactions are not known here; a server that keeps their rows says so.
fn can_be_undone(analysis: &Analysis) -> bool {
    let class = analysis.class;
    let is_plain = matches!(class, Class::Read | Class::LockingRead | Class::Savepoint)
        || matches!(class, Class::RollbackToSavepoint | Class::ReleaseSavepoint)
        || matches!(class, Class::Write(kind) if kind != WriteKind::Sequence);
    is_plain && !analysis.flags.advances_sequence
}

/// What precedes a statement.
struct Context {
    /// Session state since the last statement that followers were given.
    state: Vec<(StateKey, Bytes)>,
    /// Clock, seeds and insert id for this statement.
    own: Vec<Bytes>,
}

impl Context {
    fn all(self) -> Vec<Bytes> {
        let state = self.state.into_iter().map(|(_, payload)| payload);
        state.chain(self.own).collect()
    }
}
