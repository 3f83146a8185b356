//! Plain reads: on the session's own server, again elsewhere when that dies, and proof that a transaction may go on elsewhere.

use super::{LegReplyBytes, Session, Slot};
use crate::error::SessionError;
use crate::group::Verdict;
use crate::io::{BackendId, ClientReply, Collect, Discard, LegError, LegReply, ReplySink, World};
use crate::statement::{Body, Statement, query_payload};
use crate::transaction::Digesting;
use crate::value;
use bytes::BytesMut;
use grove_sql::Name;
use std::sync::Arc;

impl<W: World> Session<W> {
    pub(super) async fn read<S: ClientReply>(
        &mut self,
        statement: &Statement,
        sink: &mut S,
    ) -> Result<BytesMut, SessionError> {
        if self.transaction.is_some() {
            return self.read_in_transaction(statement, sink).await;
        }
        let mut attempts = 0;
        loop {
            let reader = self.settle_reader().await;
            let result = self.read_on(reader, statement, sink).await;
            match result {
                Ok(reply) => {
                    self.capture_variables(reader, &statement.analysis.user_variables_written)
                        .await?;
                    self.note_implicit_transaction(reader);
                    return Ok(reply.last_frame);
                }
                Err(error) => {
                    self.after_failure(reader, error, &mut attempts).await?;
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
        self.state.last_insert_id_was_read |= flags.uses_last_insert_id;
        // Grove's own statements would clear what these two kinds ask about.
        let quiet = flags.is_show_warnings_or_errors || flags.uses_found_rows_or_row_count;
        let prelude = if quiet { Vec::new() } else { self.prelude(backend) };
        match self.slot(backend) {
            Slot::Mine(leg) => leg.run_for_client(&prelude, &statement.body, sink, &running).await,
            _ => Err(LegError::Protocol("the leg is not at hand".into())),
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
        let mut attempts = 0;
        loop {
            let backend = self.current_reader();
            let mut digesting = Digesting::new(sink);
            let result = self.read_on_transaction_leg(backend, statement, &mut digesting).await;
            let digest = digesting.finish();
            match result {
                Ok(reply) => {
                    let bound = self.group.settings.verified_reads;
                    let still_open = reply
                        .reply
                        .status()
                        .is_none_or(|s| s.contains(grove_wire::StatusFlags::IN_TRANS));
                    if let Some(transaction) = &mut self.transaction {
                        transaction.reader.get_or_insert(backend);
                        transaction.reads.remember(statement.clone(), digest, bound);
                    }
                    if !still_open && self.transaction.as_ref().is_some_and(|t| t.lead.is_none()) {
                        self.transaction = None;
                    }
                    self.capture_variables(backend, &statement.analysis.user_variables_written)
                        .await?;
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

    /// Reads on a leg that may be at work as a follower: its queue is waited for, and it goes on afterwards.
    async fn read_on_transaction_leg<S: ReplySink>(
        &mut self,
        backend: BackendId,
        statement: &Statement,
        sink: &mut S,
    ) -> Result<LegReply, LegError> {
        if !matches!(self.slot(backend), Slot::Away(_)) {
            return self.read_on(backend, statement, sink).await;
        }
        let Slot::Away(handle) = std::mem::replace(self.slot(backend), Slot::Closed) else {
            return Err(LegError::Protocol("the leg is not at hand".into()));
        };
        let Some(mut follower) = handle.reclaim().await else {
            return Err(LegError::Lost("the follower's leg was lost".into()));
        };
        let running = Arc::clone(&self.running);
        let (prelude, told) = self.state.catch_up(&mut follower.leg);
        if told {
            follower.taint();
        }
        self.state.last_insert_id_was_read |= statement.analysis.flags.uses_last_insert_id;
        let reply = follower
            .leg
            .run_for_client(&prelude, &statement.body, sink, &running)
            .await?;
        *self.slot(backend) = Slot::Away(follower.start());
        Ok(reply)
    }

    /// A transaction that has lost the leg on `lost`: goes on where its reads give the same answers, or is rolled back.
    pub(super) async fn move_transaction(&mut self, lost: BackendId) -> Result<(), SessionError> {
        self.close_leg(lost);
        let Some(transaction) = &self.transaction else {
            return Ok(());
        };
        let (lead, wrote, was_reader) = (
            transaction.lead,
            !transaction.entries.is_empty(),
            transaction.reader == Some(lost),
        );
        if lead.is_some_and(|lead| lead != lost) && !was_reader {
            return Ok(());
        }
        if lead.is_some() {
            if self.group.is_online(lost) && wrote {
                // Only the lead's connection is gone, and with it the order that its locks had decided.
                return Err(SessionError::Retry(
                    "the lead's connection was lost inside a transaction".into(),
                ));
            }
            if !was_reader {
                return Ok(());
            }
            // The next lead's leg holds the same writes; whether it shows the same rows must be proved there.
            let (_share, new_lead) = self.group.order.enter().await;
            self.become_writer(new_lead).await?;
            // Unless that has proved it already, on its way to a new lead.
            let unproved = self.transaction.as_ref().is_some_and(|t| t.reader == Some(lost));
            return if unproved {
                self.prove_reads(new_lead).await
            } else {
                Ok(())
            };
        }
        let next = self.settle_reader().await;
        let mut attempts = 0;
        loop {
            let result = self.begin_again(next).await;
            match result {
                Ok(()) => return self.prove_reads(next).await,
                Err(error) => match self.after_failure(next, error, &mut attempts).await? {
                    Verdict::Alive => {}
                    Verdict::Evicted => return Box::pin(self.move_transaction(next)).await,
                },
            }
        }
    }

    /// Begins a transaction that has only read on another leg, with its savepoints.
    async fn begin_again(&mut self, backend: BackendId) -> Result<(), LegError> {
        self.told_leg(backend).await?;
        let Some(transaction) = &self.transaction else {
            return Ok(());
        };
        let mut statements = transaction.begin.clone();
        for entry in &transaction.entries {
            if let Body::Query(payload) = &entry.body {
                statements.push(payload.clone());
            }
        }
        let Slot::Mine(leg) = self.slot(backend) else {
            return Ok(());
        };
        for statement in statements {
            leg.run(&[], &Body::Query(statement), &mut Discard).await?;
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
            let reply = self.read_on(backend, &statement, &mut digesting).await;
            let digest = digesting.finish();
            match reply {
                Ok(_) if digest == expected => {}
                Ok(_) => return Err(SessionError::Retry("another server shows another snapshot".into())),
                Err(error) => {
                    return Err(SessionError::Retry(format!(
                        "the snapshot could not be proved: {error}"
                    )));
                }
            }
        }
        if let Some(transaction) = &mut self.transaction {
            if !transaction.reads.is_empty() {
                transaction.reader = Some(backend);
            } else {
                transaction.reader = None;
            }
        }
        Ok(())
    }

    /// Fetches the values of user variables from the leg that assigned them, for the other legs.
    pub(super) async fn capture_variables(&mut self, backend: BackendId, names: &[Name]) -> Result<(), SessionError> {
        if names.is_empty() {
            return Ok(());
        }
        let names: Vec<&[u8]> = names.iter().map(Name::as_bytes).collect();
        let sql = value::user_variable_question(&names);
        let answers = self.ask(backend, &sql).await.unwrap_or_default();
        for (name, literal) in names.into_iter().zip(value::user_variable_literals(&answers)) {
            self.state.record_user_variable(name, &literal);
        }
        let version = self.state.version();
        if let Slot::Mine(leg) = self.slot(backend) {
            leg.state_version = version;
        }
        Ok(())
    }

    /// One row of values from a leg of the open transaction, which may be at work as a follower.
    pub(super) async fn ask_wherever(&mut self, backend: BackendId, sql: &[u8]) -> Option<Vec<value::Answer>> {
        let question = Statement {
            body: Body::query(sql),
            analysis: self.analyser.analyse(sql, self.state.lex_mode),
        };
        let mut collect = Collect::default();
        let asked = self.read_on_transaction_leg(backend, &question, &mut collect).await;
        asked.ok()?;
        value::read_one_row(&collect)
    }

    /// One row of values from a leg at hand.
    pub(super) async fn ask(&mut self, backend: BackendId, sql: &[u8]) -> Option<Vec<value::Answer>> {
        let Slot::Mine(leg) = self.slot(backend) else {
            return None;
        };
        let mut collect = Collect::default();
        leg.run(&[], &Body::Query(query_payload(sql)), &mut collect)
            .await
            .ok()?;
        value::read_one_row(&collect)
    }

    /// Keeps the answer to SHOW WARNINGS before a COMMIT clears it.
    pub(super) async fn keep_warnings(&mut self, backend: BackendId) {
        let Slot::Mine(leg) = self.slot(backend) else { return };
        let mut collect = Collect::default();
        if let Ok(reply) = leg.run(&[], &Body::query(b"SHOW WARNINGS"), &mut collect).await {
            self.warnings = Some(LegReplyBytes {
                frames: collect.bytes,
                last_frame: reply.last_frame,
            });
        }
    }
}
