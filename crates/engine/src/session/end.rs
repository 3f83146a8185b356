//! Beginning and ending transactions: BEGIN, savepoints, COMMIT's decision and its execution everywhere, ROLLBACK.

use super::{LegOf, Session, Slot};
use crate::error::SessionError;
use crate::follower::Executed;
use crate::io::{BackendId, ClientReply, Discard, LegError, LegReply, World};
use crate::statement::{Body, Statement, outcome_of};
use crate::transaction::Transaction;
use bytes::BytesMut;
use grove_recovery_log::Entry;
use std::sync::Arc;

impl<W: World> Session<W> {
    pub(super) async fn begin<S: ClientReply>(
        &mut self,
        statement: &Statement,
        takes_snapshot: bool,
        sink: &mut S,
    ) -> Result<BytesMut, SessionError> {
        self.end_implicitly().await?;
        self.release_table_locks();
        let text = match &statement.body {
            Body::Query(payload) => payload.clone(),
            Body::Execute { prepared, .. } => crate::statement::query_payload(&prepared.text),
        };
        let begin = self.begin_statements(Some(text));
        let mut attempts = 0;
        loop {
            let reader = self.settle_reader().await;
            let result = match self.take_mine(reader).await {
                Ok(_) => {
                    let mut prelude = self.prelude(reader);
                    prelude.extend(begin[..begin.len() - 1].iter().cloned());
                    match self.slot(reader) {
                        Slot::Mine(leg) => leg.run(&prelude, &statement.body, sink).await,
                        _ => Err(LegError::Lost("the leg is not at hand".into())),
                    }
                }
                Err(error) => Err(error),
            };
            match result {
                Ok(reply) => {
                    if reply.reply.err().is_none() {
                        let mut transaction = Transaction::new(self.group.next_owner(), begin);
                        transaction.reader = takes_snapshot.then_some(reader);
                        self.transaction = Some(transaction);
                    }
                    return Ok(reply.last_frame);
                }
                Err(error) => {
                    self.after_failure(reader, error, &mut attempts).await?;
                }
            }
        }
    }

    pub(super) async fn savepoint<S: ClientReply>(
        &mut self,
        statement: &Statement,
        sink: &mut S,
    ) -> Result<BytesMut, SessionError> {
        match &self.transaction {
            None => self.read(statement, sink).await,
            Some(transaction) if transaction.lead.is_some() => self.write(statement, sink).await,
            Some(_) => {
                let mut attempts = 0;
                loop {
                    let backend = self.current();
                    let result = match self.take_mine(backend).await {
                        Ok(leg) => leg.run(&[], &statement.body, sink).await,
                        Err(error) => Err(error),
                    };
                    match result {
                        Ok(reply) => {
                            if reply.reply.err().is_none()
                                && let Some(transaction) = &mut self.transaction
                            {
                                transaction.entries.push(Arc::new(Executed {
                                    body: statement.body.clone(),
                                    context: Vec::new(),
                                    forces_insert_id: false,
                                    outcome: outcome_of(&reply.reply),
                                    changes_state: false,
                                }));
                            }
                            return Ok(reply.last_frame);
                        }
                        Err(error) => {
                            self.after_failure(backend, error, &mut attempts).await?;
                            self.move_transaction(backend).await?;
                        }
                    }
                }
            }
        }
    }

    /// COMMIT by the client.
    pub(super) async fn commit<S: ClientReply>(
        &mut self,
        statement: &Statement,
        chain: bool,
        sink: &mut S,
    ) -> Result<BytesMut, SessionError> {
        if self.transaction.is_none() {
            return self.read(statement, sink).await;
        }
        let reply = self.commit_everywhere(Some(statement)).await?;
        if chain {
            self.chain_transaction();
        }
        reply
            .map(|reply| reply.last_frame)
            .ok_or_else(|| SessionError::Fatal("COMMIT had no reply".into()))
    }

    /// After AND CHAIN every leg that had the old transaction has a new one.
    fn chain_transaction(&mut self) {
        let begin = self.begin_statements(None);
        self.transaction = Some(Transaction::new(self.group.next_owner(), begin));
    }

    /// Commits what is open before a statement that would commit implicitly.
    pub(super) async fn end_implicitly(&mut self) -> Result<(), SessionError> {
        if self.transaction.is_some() {
            self.commit_everywhere(None).await?;
        }
        Ok(())
    }

    /// Drains the followers, appends the unit to the log (the decision), commits on every leg in parallel. The reply is the lead's.
    pub(super) async fn commit_everywhere(
        &mut self,
        statement: Option<&Statement>,
    ) -> Result<Option<LegReply>, SessionError> {
        let body = statement.map_or_else(|| Body::query(b"COMMIT"), |s| s.body.clone());
        let Some(transaction) = &self.transaction else {
            return Ok(None);
        };
        let (lead, has_writes) = (
            transaction.lead,
            !transaction.entries.is_empty() && transaction.lead.is_some(),
        );
        self.take_all_back().await;
        if !has_writes {
            return self.end_reading(&body).await.map(Some);
        }
        let holders: Vec<BackendId> = self.open_legs().map(|leg| leg.backend).collect();
        for &backend in self.group.view().online.iter() {
            if !holders.contains(&backend) {
                self.group
                    .evict(backend, "lost its part of a transaction that the others commit");
            }
        }
        if holders.is_empty() {
            return Err(SessionError::Retry(
                "every server lost the transaction before it was decided".into(),
            ));
        }
        let unit = self
            .transaction
            .as_ref()
            .map(Transaction::write_unit)
            .unwrap_or_default();
        let under_way = self.group.commits.begin();
        self.group
            .log
            .append(Entry::Unit(unit))
            .await
            .map_err(|e| SessionError::Retry(e.to_string()))?;
        let replies = self.run_on_open_legs(&body).await;
        drop(under_way);
        let committed = self.judge_commits(lead, replies);
        self.forget_transaction();
        self.group.metrics().commits.add(1);
        committed.map(Some)
    }

    /// A server that did not confirm is evicted: the unit is decided.
    fn judge_commits(
        &mut self,
        lead: Option<BackendId>,
        replies: Vec<(BackendId, Result<LegReply, LegError>)>,
    ) -> Result<LegReply, SessionError> {
        let confirmed = |result: &Result<LegReply, LegError>| matches!(result, Ok(r) if r.reply.err().is_none());
        let anybody = replies.iter().any(|(_, result)| confirmed(result));
        let mut answer: Option<LegReply> = None;
        let mut failure = String::from("no server confirmed the commit");
        for (backend, result) in replies {
            match result {
                Ok(reply) if reply.reply.err().is_none() => {
                    if answer.is_none() || Some(backend) == lead {
                        answer = Some(reply);
                    }
                }
                Ok(reply) => {
                    let reason = format!("COMMIT failed here and not elsewhere: {:?}", reply.reply.err());
                    self.close_leg(backend);
                    if anybody {
                        self.group.evict(backend, &reason);
                    } else if answer.is_none() {
                        answer = Some(reply);
                    }
                }
                Err(error) => {
                    failure = format!("the connection was lost during COMMIT: {error}");
                    self.close_leg(backend);
                    self.group.evict(backend, &failure);
                }
            }
        }
        answer.ok_or(SessionError::Fatal(failure))
    }

    /// Ends a transaction that wrote nothing, on every leg that has it open.
    async fn end_reading(&mut self, body: &Body) -> Result<LegReply, SessionError> {
        let current = self.current();
        let replies = self.run_on_open_legs(body).await;
        let mut answer = None;
        for (backend, result) in replies {
            match result {
                Ok(reply) => {
                    if answer.is_none() || backend == current {
                        answer = Some(reply);
                    }
                }
                Err(error) => {
                    let mut attempts = 0;
                    self.after_failure(backend, error, &mut attempts).await?;
                }
            }
        }
        self.forget_transaction();
        if let Some(answer) = answer {
            return Ok(answer);
        }
        // The server that held the snapshot is gone; nothing was written, so any other may say OK.
        let mut attempts = 0;
        loop {
            let reader = self.settle_reader().await;
            let result = match self.take_mine(reader).await {
                Ok(leg) => leg.run(&[], body, &mut Discard).await,
                Err(error) => Err(error),
            };
            match result {
                Ok(reply) => return Ok(reply),
                Err(error) => {
                    self.after_failure(reader, error, &mut attempts).await?;
                }
            }
        }
    }

    /// ROLLBACK by the client: the lead's answer, then the others.
    pub(super) async fn rollback<S: ClientReply>(
        &mut self,
        statement: &Statement,
        chain: bool,
        sink: &mut S,
    ) -> Result<BytesMut, SessionError> {
        if self.transaction.is_none() {
            return self.read(statement, sink).await;
        }
        let current = self.current();
        let first = match self.slot(current) {
            Slot::Mine(leg) => Some(leg.run(&[], &statement.body, sink).await),
            _ => None,
        };
        self.take_all_back().await;
        if !matches!(first, Some(Ok(_))) {
            self.close_leg(current);
        }
        let mut replies = Vec::new();
        for (backend, result) in self.run_on_open_legs(&statement.body).await {
            match result {
                Ok(reply) => replies.push(reply),
                Err(_) => self.close_leg(backend),
            }
        }
        self.forget_transaction();
        let reply = match first {
            Some(Ok(reply)) => Some(reply),
            Some(Err(LegError::ClientGone(reason))) => return Err(SessionError::Fatal(reason)),
            _ => replies.pop(),
        };
        if let Some(reply) = reply {
            if chain {
                self.chain_transaction();
            }
            return Ok(reply.last_frame);
        }
        // Every leg is gone and with it the transaction, which is what the client asked for.
        self.read(statement, sink).await
    }

    /// Rolls back whatever is open, for Grove's own reasons.
    pub(super) async fn abort(&mut self) {
        let Some(transaction) = &self.transaction else { return };
        let rollback = Body::query(b"ROLLBACK");
        if let Some(lead) = transaction.lead
            && let Slot::Mine(leg) = self.slot(lead)
            && leg.run(&[], &rollback, &mut Discard).await.is_err()
        {
            self.close_leg(lead);
        }
        self.take_all_back().await;
        for (backend, result) in self.run_on_open_legs(&rollback).await {
            if result.is_err() {
                self.close_leg(backend);
            }
        }
        self.forget_transaction();
    }

    /// The lead's last statement committed by itself; so have the followers, once they have executed it.
    pub(super) async fn finish_committed(&mut self) -> Result<(), SessionError> {
        self.take_all_back().await;
        let unit = self
            .transaction
            .as_ref()
            .map(Transaction::write_unit)
            .unwrap_or_default();
        let appended = self.group.log.append(Entry::Unit(unit)).await;
        self.forget_transaction();
        appended
            .map(|_| ())
            .map_err(|error| SessionError::Fatal(error.to_string()))
    }

    pub(super) fn forget_transaction(&mut self) {
        if let Some(transaction) = self.transaction.take() {
            self.group.gates.release_all(transaction.owner);
        }
    }

    pub(super) fn release_table_locks(&mut self) {
        if let Some(owner) = self.table_locks.take() {
            self.group.gates.release_all(owner);
        }
    }

    /// Waits for every follower's queue and takes the legs back.
    pub(super) async fn take_all_back(&mut self) {
        let any_away = self.slots.iter().any(|slot| matches!(slot, Slot::Away(_)));
        if !any_away {
            return;
        }
        for index in 0..self.slots.len() {
            if !matches!(self.slots[index], Slot::Away(_)) {
                continue;
            }
            // Each task drains on its own; waiting for one after the other costs no more than the slowest.
            if let Slot::Away(handle) = std::mem::replace(&mut self.slots[index], Slot::Closed)
                && let Some(follower) = handle.reclaim().await
            {
                self.slots[index] = Slot::Mine(Box::new(follower.leg));
            }
        }
        for id in std::mem::take(&mut self.closed_statements) {
            self.close_statement(id).await;
        }
    }

    /// Legs at hand that have a transaction open.
    fn open_legs(&mut self) -> impl Iterator<Item = &mut LegOf<W>> {
        self.slots.iter_mut().filter_map(|slot| match slot {
            Slot::Mine(leg) if leg.in_transaction => Some(leg.as_mut()),
            _ => None,
        })
    }

    async fn run_on_open_legs(&mut self, body: &Body) -> Vec<(BackendId, Result<LegReply, LegError>)> {
        let runs = self.open_legs().map(|leg| async {
            let backend = leg.backend;
            (backend, leg.run(&[], body, &mut Discard).await)
        });
        join_all(runs.collect()).await
    }
}

/// Polls futures of one task together; a handful at most, so each wake-up polls all of them.
pub(super) async fn join_all<F: Future>(futures: Vec<F>) -> Vec<F::Output> {
    let mut pinned: Vec<_> = futures.into_iter().map(|future| (Box::pin(future), None)).collect();
    std::future::poll_fn(|context| {
        let mut pending = false;
        for (future, output) in &mut pinned {
            if output.is_none() {
                match future.as_mut().poll(context) {
                    std::task::Poll::Ready(value) => *output = Some(value),
                    std::task::Poll::Pending => pending = true,
                }
            }
        }
        if pending {
            std::task::Poll::Pending
        } else {
            std::task::Poll::Ready(())
        }
    })
    .await;
    pinned.into_iter().filter_map(|(_, output)| output).collect()
}
