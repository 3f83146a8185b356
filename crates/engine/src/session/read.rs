//! Plain reads: on the session's own server, again elsewhere when that dies, and proof that a transaction may go on elsewhere.

use super::writers::Readiness;
use super::{LegReplyBytes, Session, Slot};
use crate::error::SessionError;
use crate::io::{BackendId, ClientReply, Collect, Discard, Leg, LegError, LegReply, ReplySink, World};
use crate::leg::OpenLeg;
use crate::state::{InsertIdDoubt, StateKey};
use crate::statement::{Body, Statement};
use crate::transaction::Digesting;
use crate::value;
use bytes::{Bytes, BytesMut};
use grove_sql::{Name, TouchedTables};
use grove_wire::{StatusFlags, patch_status};
use std::sync::Arc;

impl<W: World> Session<W> {
    pub(super) async fn read<S: ClientReply>(
        &mut self,
        statement: &Statement,
        sink: &mut S,
    ) -> Result<BytesMut, SessionError> {
        let begins = !self.state.autocommit && self.mirrored.is_none() && reads_a_table(statement);
        if self.transaction.is_none() && begins {
            self.transaction = Some(self.new_transaction(None));
        }
        if self.transaction.is_some() {
            return Box::pin(self.read_in_transaction(statement, sink)).await;
        }
        let mut attempts = 0;
        loop {
            let reader = self.settle_reader().await;
            let result = self.read_and_capture(reader, statement, sink).await;
            match result {
                Ok(Answered { reply, .. }) => {
                    self.note_implicit_transaction(reader);
                    self.note_cursor(reader, statement, &reply);
                    return Ok(reply.last_frame);
                }
                Err(error) => {
                    Box::pin(self.after_failure(reader, error, &mut attempts)).await?;
                    if !sink.start_over() {
                        return Err(SessionError::Fatal("the server died in the middle of a result".into()));
                    }
                }
            }
        }
    }

    async fn read_on<S: ReplySink>(
        &mut self,
        backend: BackendId,
        statement: &Statement,
        sink: &mut S,
    ) -> Result<LegReply, LegError> {
        self.take_mine(backend).await?;
        let running = Arc::clone(&self.running);
        let flags = &statement.analysis.flags;
        if flags.uses_last_insert_id {
            self.state.insert_id_doubt = InsertIdDoubt::Read;
        }
        // Grove's own statements would clear what is asked about.
        let mut prelude = if asks_about_last_statement(statement) {
            Vec::new()
        } else {
            self.prelude(backend)
        };
        self.begin_if_needed(backend, &mut prelude);
        running.note_read(Some(backend));
        let result = match self.slot(backend) {
            Slot::Mine(leg) => leg.run_for_client(&prelude, &statement.body, sink, &running).await,
            _ => Err(LegError::Protocol("the leg is not at hand".into())),
        };
        running.note_read(None);
        result
    }

    /// Adds the open transaction's own beginning, if the leg has not been told it.
    pub(super) fn begin_if_needed(&mut self, backend: BackendId, prelude: &mut Vec<Bytes>) {
        let begin = self.transaction.as_ref().map(|t| t.begin.clone());
        if let (Some(begin), Slot::Mine(leg)) = (begin, self.slot(backend))
            && !leg.in_transaction
        {
            prelude.extend(begin);
        }
    }

    /// With `autocommit=0` a read begins a transaction; its snapshot is this leg's.
    pub(super) fn note_implicit_transaction(&mut self, backend: BackendId) {
        let Slot::Mine(leg) = self.slot(backend) else { return };
        if !leg.in_transaction {
            // A SET TRANSACTION for the next transaction was for this statement.
            self.state.next_transaction = None;
        } else if self.transaction.is_none() && self.mirrored.is_none() {
            let mut transaction = self.new_transaction(None);
            transaction.reader = Some(backend);
            self.transaction = Some(transaction);
        }
    }

    async fn read_in_transaction<S: ClientReply>(
        &mut self,
        statement: &Statement,
        sink: &mut S,
    ) -> Result<BytesMut, SessionError> {
        if let Some(hold) = self.transaction.as_ref().map(|t| Arc::clone(&t.hold)) {
            self.take_gates(&hold, statement).await?;
        }
        let mut attempts = 0;
        loop {
            let has_leg = self.transaction.as_ref().and_then(|t| t.reader.or(t.lead));
            let about_last = asks_nothing_else(statement);
            let answered_by = self.answered_by.filter(|_| about_last);
            let backend = match answered_by.filter(|&backend| self.has_leg(backend)).or(has_leg) {
                Some(backend) => backend,
                None => self.settle_reader().await,
            };
            let mut digesting = Digesting::new(sink);
            let result = self.read_on_transaction_leg(backend, statement, &mut digesting).await;
            match result {
                // The leg works, but what it shows now may be newer than what the client has seen: another leg must show the same.
                Ok(None) => match self.doomed() {
                    Some(doomed) => return Err(doomed),
                    None => self.move_transaction(backend).await?,
                },
                Ok(Some(Answered { reply, assigned })) => {
                    let digest = digesting.finish(&assigned);
                    let bound = self.group.settings.verified_reads;
                    let still_open = reply
                        .reply
                        .status()
                        .is_none_or(|s| s.contains(grove_wire::StatusFlags::IN_TRANS));
                    self.has_read_elsewhere |= backend != self.reader;
                    if let Some(transaction) = &mut self.transaction
                        && !about_last
                    {
                        self.answered_by = Some(backend);
                        transaction.reader.get_or_insert(backend);
                        transaction.reads.remember(statement.clone(), digest, bound);
                    }
                    self.note_cursor(backend, statement, &reply);
                    if !still_open && self.transaction.as_ref().is_some_and(|t| t.lead.is_none()) {
                        self.transaction = None;
                    }
                    return Ok(reply.last_frame);
                }
                Err(error) => {
                    self.after_failure(backend, error, &mut attempts).await?;
                    if !sink.start_over() {
                        return Err(SessionError::Fatal("the server died in the middle of a result".into()));
                    }
                    self.move_transaction(backend).await?;
                }
            }
        }
    }

    pub(super) fn current_reader(&self) -> BackendId {
        let transaction = self.transaction.as_ref();
        transaction.and_then(|t| t.reader.or(t.lead)).unwrap_or(self.reader)
    }

    /// Reads on a leg that may be at work as a follower: its queue is waited for, and it goes on afterwards. `None` if the snapshot that the
    /// client has read from is gone there, or the whole transaction.
    async fn read_on_transaction_leg<S: ReplySink>(
        &mut self,
        backend: BackendId,
        statement: &Statement,
        sink: &mut S,
    ) -> Result<Option<Answered>, LegError> {
        if !matches!(self.slot(backend), Slot::Away(_)) {
            return self.read_and_capture(backend, statement, sink).await.map(Some);
        }
        let Slot::Away(handle) = std::mem::replace(self.slot(backend), Slot::Closed) else {
            return Err(LegError::Protocol("the leg is not at hand".into()));
        };
        let Some(mut follower) = self.reclaimed(handle).await else {
            return Err(LegError::Lost("the follower's leg was lost".into()));
        };
        if self.doomed().is_some() {
            *self.slot(backend) = Slot::Mine(Box::new(follower.leg));
            return Ok(None);
        }
        let has_read = self.transaction.as_ref().is_some_and(|t| t.reader == Some(backend));
        if follower.started_over && has_read {
            *self.slot(backend) = Slot::Away(follower.start());
            self.note_snapshot(backend, true);
            return Ok(None);
        }
        let running = Arc::clone(&self.running);
        let told = self.state.changed_since(follower.leg.state_version);
        let assigned = statement.analysis.user_variables_written.iter();
        let traces: Vec<StateKey> = told
            .map(|(key, _)| key)
            .chain(assigned.map(StateKey::user_variable))
            .collect();
        follower.taint(traces);
        let mut prelude = self.state.catch_up(&mut follower.leg);
        if !follower.leg.in_transaction
            && let Some(transaction) = &self.transaction
        {
            prelude.extend(transaction.begin.iter().cloned());
        }
        if statement.analysis.flags.uses_last_insert_id {
            self.state.insert_id_doubt = InsertIdDoubt::Read;
        }
        running.note_read(Some(backend));
        let reply = follower
            .leg
            .run_for_client(&prelude, &statement.body, sink, &running)
            .await;
        running.note_read(None);
        let reply = reply?;
        // Before the leg goes back to work, which may be to wait for a lock.
        let names = &statement.analysis.user_variables_written;
        let assigned = ask_user_variables(&mut follower.leg, names).await?;
        self.record_user_variables(names, &assigned);
        follower.leg.state_version = self.state.version();
        *self.slot(backend) = Slot::Away(follower.start());
        Ok(Some(Answered { reply, assigned }))
    }

    /// A transaction that has lost the leg on `lost`, or its snapshot there: goes on where its reads give the same answers, or is rolled back. Never under a share.
    pub(super) async fn move_transaction(&mut self, lost: BackendId) -> Result<(), SessionError> {
        let Some(transaction) = &self.transaction else {
            return Ok(());
        };
        let was_reader = transaction.reader == Some(lost);
        let Some(lead) = transaction.lead else {
            return if was_reader || lost == self.reader {
                self.move_reading().await
            } else {
                Ok(())
            };
        };
        if lead != lost && !was_reader {
            return Ok(());
        }
        if lead == lost && self.group.is_online(lost) && !transaction.entries.is_empty() {
            // Only the lead's connection is gone, and with it the order that its locks had decided.
            return Err(SessionError::Retry(
                "the lead's connection was lost inside a transaction".into(),
            ));
        }
        loop {
            // The next lead's leg holds the same writes; whether it shows the same rows is proved there.
            let (share, next) = self.group.order.enter().await;
            match self.become_writer(next).await? {
                Readiness::Again { lost_reader } => {
                    drop(share);
                    if let Some(other) = lost_reader.filter(|&other| other != lost) {
                        return Box::pin(self.move_transaction(other)).await;
                    }
                }
                Readiness::Ready => {
                    // Unless that was done already, on the way to a new lead.
                    let unproved = self.transaction.as_ref().is_some_and(|t| t.reader == Some(lost));
                    return if unproved { self.prove_reads(next).await } else { Ok(()) };
                }
            }
        }
    }

    /// Moves a transaction that has only read.
    async fn move_reading(&mut self) -> Result<(), SessionError> {
        if let Some(transaction) = &mut self.transaction {
            transaction.reader = None;
        }
        let mut attempts = 0;
        loop {
            let next = self.settle_reader().await;
            match self.begin_again(next).await {
                Ok(()) => return self.prove_reads(next).await,
                Err(error) => {
                    self.after_failure(next, error, &mut attempts).await?;
                }
            }
        }
    }

    /// Begins a transaction that has only read on another leg, with its savepoints.
    async fn begin_again(&mut self, backend: BackendId) -> Result<(), LegError> {
        self.told_leg(backend).await?;
        let Some(transaction) = &self.transaction else {
            return Ok(());
        };
        let mut statements: Vec<Body> = transaction.begin.iter().cloned().map(Body::own).collect();
        for entry in &transaction.entries {
            if let body @ Body::Query(_) = &entry.body {
                statements.push(body.clone());
            }
        }
        let Slot::Mine(leg) = self.slot(backend) else {
            return Ok(());
        };
        for statement in statements {
            leg.run(&[], &statement, &mut Discard).await?;
        }
        Ok(())
    }

    /// Runs the transaction's reads again on `backend` and compares the answers.
    pub(super) async fn prove_reads(&mut self, backend: BackendId) -> Result<(), SessionError> {
        let Some(transaction) = &self.transaction else {
            return Ok(());
        };
        let Some(reads) = transaction.reads.complete().map(<[_]>::to_vec) else {
            return Err(SessionError::Retry("more reads than are remembered for proof".into()));
        };
        for (statement, expected) in reads {
            let mut discard = Discard;
            let mut digesting = Digesting::new(&mut discard);
            let answered = self.read_and_capture(backend, &statement, &mut digesting).await;
            match answered {
                Ok(Answered { assigned, .. }) if digesting.finish(&assigned) == expected => {}
                Ok(_) => return Err(SessionError::Retry("another server shows another snapshot".into())),
                Err(error) => {
                    return Err(SessionError::Retry(format!(
                        "the snapshot could not be proved: {error}"
                    )));
                }
            }
        }
        if let Some(transaction) = &mut self.transaction {
            transaction.snapshot_lost = false;
            if !transaction.reads.is_empty() {
                transaction.reader = Some(backend);
            } else {
                transaction.reader = None;
            }
        }
        Ok(())
    }

    /// A read on a leg at hand, and the values that it gave to user variables: without them it is not done.
    async fn read_and_capture<S: ReplySink>(
        &mut self,
        backend: BackendId,
        statement: &Statement,
        sink: &mut S,
    ) -> Result<Answered, LegError> {
        let reply = self.read_on(backend, statement, sink).await?;
        let names = &statement.analysis.user_variables_written;
        let assigned = match names.is_empty() {
            true => Vec::new(),
            false => Box::pin(self.capture_variables(backend, names)).await?,
        };
        Ok(Answered { reply, assigned })
    }

    /// Fetches the values of user variables from the leg at hand that assigned them, for the other legs.
    pub(super) async fn capture_variables(
        &mut self,
        backend: BackendId,
        names: &[Name],
    ) -> Result<Vec<Vec<u8>>, LegError> {
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let Slot::Mine(leg) = self.slot(backend) else {
            return Err(LegError::Lost("the leg is not at hand".into()));
        };
        let literals = ask_user_variables(leg, names).await?;
        self.record_user_variables(names, &literals);
        let version = self.state.version();
        if let Slot::Mine(leg) = self.slot(backend) {
            leg.state_version = version;
        }
        Ok(literals)
    }

    fn record_user_variables(&mut self, names: &[Name], literals: &[Vec<u8>]) {
        for (name, literal) in names.iter().zip(literals) {
            self.state.record_user_variable(name.as_bytes(), literal);
        }
    }

    /// One row of values from a leg of the open transaction, which may be at work as a follower.
    pub(super) async fn ask_wherever(&mut self, backend: BackendId, sql: &[u8]) -> Option<Vec<value::Answer>> {
        let question = Statement {
            body: Body::query(sql),
            analysis: self.analyser.analyse(sql, self.state.lex_mode),
        };
        let mut collect = Collect::default();
        self.read_on_transaction_leg(backend, &question, &mut collect)
            .await
            .ok()??;
        value::read_one_row(&collect, self.identity.capabilities)
    }

    /// One row of values from a leg at hand.
    pub(super) async fn ask(&mut self, backend: BackendId, sql: &[u8]) -> Option<Vec<value::Answer>> {
        let Slot::Mine(leg) = self.slot(backend) else {
            return None;
        };
        let mut collect = Collect::default();
        leg.run(&[], &Body::query(sql), &mut collect).await.ok()?;
        value::read_one_row(&collect, leg.capabilities())
    }

    /// Keeps the answer to SHOW WARNINGS before a COMMIT clears it.
    pub(super) async fn keep_warnings(&mut self, backend: BackendId, alone: bool) {
        let Slot::Mine(leg) = self.slot(backend) else { return };
        let mut collect = Collect::default();
        if let Ok(mut reply) = leg.run(&[], &Body::query(b"SHOW WARNINGS"), &mut collect).await {
            let capabilities = self.identity.capabilities;
            // To the client a statement alone was not in a transaction.
            let hidden = if alone { StatusFlags::IN_TRANS } else { StatusFlags(0) };
            value::frames_mut(&mut collect.bytes)
                .filter(|frame| frame.get(4) == Some(&0xFE) && frame.len() == 9)
                .for_each(|eof| patch_status(eof, StatusFlags(0), hidden, capabilities));
            patch_status(&mut reply.last_frame, StatusFlags(0), hidden, capabilities);
            self.warnings = Some(LegReplyBytes {
                frames: collect.bytes,
                last_frame: reply.last_frame,
            });
        }
    }
}

/// A read that is done.
struct Answered {
    reply: LegReply,
    /// What it gave to user variables, as literals.
    assigned: Vec<Vec<u8>>,
}

/// The values of user variables on a leg, as literals.
async fn ask_user_variables<L: Leg>(leg: &mut OpenLeg<L>, names: &[Name]) -> Result<Vec<Vec<u8>>, LegError> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let names: Vec<&[u8]> = names.iter().map(Name::as_bytes).collect();
    let question = Body::query(&value::user_variable_question(&names));
    let mut collect = Collect::default();
    leg.run(&[], &question, &mut collect).await?;
    let answers = value::read_one_row(&collect, leg.capabilities());
    let answers = answers.ok_or_else(|| LegError::Protocol("user variables were not told".into()))?;
    Ok(value::user_variable_literals(&answers).collect())
}

/// Whether a read begins a transaction under `autocommit=0`, as it does on a server when it opens a table.
fn reads_a_table(statement: &Statement) -> bool {
    !matches!(&statement.analysis.tables, TouchedTables::Known(names) if names.is_empty())
}

/// SHOW WARNINGS, SHOW ERRORS, and queries with FOUND_ROWS() or ROW_COUNT().
pub(super) fn asks_about_last_statement(statement: &Statement) -> bool {
    let flags = &statement.analysis.flags;
    flags.is_show_warnings_or_errors || flags.uses_found_rows_or_row_count
}

/// The same, and nothing that a snapshot decides.
fn asks_nothing_else(statement: &Statement) -> bool {
    let reads_tables = !matches!(&statement.analysis.tables, TouchedTables::Known(tables) if tables.is_empty());
    asks_about_last_statement(statement) && !reads_tables
}
