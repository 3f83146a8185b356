//! Beginning and ending transactions: BEGIN, savepoints, COMMIT's decision and its execution everywhere, ROLLBACK.

use super::{LegOf, Session, Slot};
use crate::barrier::Stay;
use crate::error::SessionError;
use crate::follower::{Executed, Undone};
use crate::io::{BackendId, ClientReply, Discard, LegError, LegReply, World};
use crate::statement::{Body, Statement, outcome_of, query_payload};
use bytes::BytesMut;
use grove_recovery_log::Entry;
use grove_sql::Flavor;
use std::sync::Arc;

impl<W: World> Session<W> {
    pub(super) async fn begin<S: ClientReply>(
        &mut self,
        statement: &Statement,
        takes_snapshot: bool,
        sink: &mut S,
    ) -> Result<BytesMut, SessionError> {
        self.end_implicitly().await?;
        let text = query_payload(statement.body.text());
        let mut transaction = Some(self.new_transaction(Some(text)));
        let begin = transaction.as_ref().map(|t| t.begin.clone()).unwrap_or_default();
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
                    if reply.reply.err().is_none()
                        && let Some(mut transaction) = transaction.take()
                    {
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
        if self.transaction.is_none() && !self.state.autocommit {
            // Without autocommit a savepoint may be a transaction's first statement.
            self.transaction = Some(self.new_transaction(None));
        }
        match &self.transaction {
            None => self.read(statement, sink).await,
            Some(transaction) if transaction.lead.is_some() => self.write(statement, sink).await,
            Some(_) => {
                let mut attempts = 0;
                loop {
                    let backend = self.current();
                    let result = self.run_in_transaction(backend, statement, sink).await;
                    match result {
                        Ok(reply) => {
                            if reply.reply.err().is_none()
                                && let Some(transaction) = &mut self.transaction
                            {
                                transaction.note_savepoint(&statement.analysis, false);
                                transaction.entries.push(Arc::new(Executed {
                                    body: statement.body.clone(),
                                    context: Vec::new(),
                                    generated_id: None,
                                    last_insert_id: None,
                                    reports_no_insert_id: false,
                                    sets_clock: false,
                                    lead: backend,
                                    outcome: outcome_of(&reply.reply),
                                    traces: Vec::new(),
                                    defines_temporary_tables: false,
                                    can_be_undone: true,
                                    undone: Undone::default(),
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

    async fn run_in_transaction<S: ClientReply>(
        &mut self,
        backend: BackendId,
        statement: &Statement,
        sink: &mut S,
    ) -> Result<LegReply, LegError> {
        self.take_mine(backend).await?;
        let mut prelude = self.prelude(backend);
        self.begin_if_needed(backend, &mut prelude);
        match self.slot(backend) {
            Slot::Mine(leg) => leg.run(&prelude, &statement.body, sink).await,
            _ => Err(LegError::Lost("the leg is not at hand".into())),
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
        if let (true, Some(warned_by)) = (self.is_writing(), self.warned_by.take())
            && self.initial_lex_mode.flavor == Flavor::MariaDb
        {
            // MariaDB's COMMIT leaves them, and the position that goes with it does not.
            // A leg that is lost here is found lost again below.
            let _ = self.take_mine(warned_by).await;
            self.keep_warnings(warned_by, true).await;
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
        self.transaction = Some(self.new_transaction(None));
    }

    /// Commits what is open before a statement that would commit implicitly.
    pub(super) async fn end_implicitly(&mut self) -> Result<(), SessionError> {
        if self.transaction.is_some() {
            self.commit_everywhere(None).await?;
        }
        Ok(())
    }

    /// Drains the followers, then commits on every leg. The reply is the lead's.
    pub(super) async fn commit_everywhere(
        &mut self,
        statement: Option<&Statement>,
    ) -> Result<Option<LegReply>, SessionError> {
        let body = statement.map_or_else(|| Body::query(b"COMMIT"), |s| s.body.clone());
        let Some(transaction) = &self.transaction else {
            return Ok(None);
        };
        let writer = transaction.lead.filter(|_| !transaction.entries.is_empty());
        self.gather().await;
        match writer {
            Some(lead) => loop {
                let joins = self.group.view().joins;
                self.restore_followers(lead).await?;
                self.gather().await;
                if let Some(doomed) = self.doomed() {
                    return Err(doomed);
                }
                self.copy_before_commit().await?;
                let pass = self.group.barrier.pass(Stay::Short).await;
                if self.group.view().joins == joins {
                    return self.commit_writes(body, lead, pass).await.map(Some);
                }
                // A server that has joined meanwhile must have its part too.
            },
            None => self.end_reading(&body).await.map(Some),
        }
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
        self.transaction = None;
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
        if let Some(transaction) = &self.transaction {
            transaction.fate.abandon();
        }
        let current = self.current();
        let first = match self.slot(current) {
            Slot::Mine(leg) => Some(leg.run(&[], &statement.body, sink).await),
            _ => None,
        };
        if !matches!(first, Some(Ok(_))) {
            self.close_leg(current);
        }
        let mut replies = self.roll_back_everywhere(&statement.body).await;
        self.transaction = None;
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
        transaction.fate.abandon();
        let rollback = Body::query(b"ROLLBACK");
        if let Some(lead) = transaction.lead
            && let Slot::Mine(leg) = self.slot(lead)
            && leg.run(&[], &rollback, &mut Discard).await.is_err()
        {
            self.close_leg(lead);
        }
        self.roll_back_everywhere(&rollback).await;
        // A ROLLBACK that was refused (by a kill that came too late for its statement) leaves a leg that nobody may use again.
        let refused: Vec<BackendId> = self.open_legs().map(|leg| leg.backend).collect();
        refused.into_iter().for_each(|backend| self.close_leg(backend));
        self.transaction = None;
    }

    /// The lead's last statement committed by itself; so have the followers, once they have executed it.
    pub(super) async fn finish_committed(&mut self) -> Result<(), SessionError> {
        self.gather().await;
        let _pass = self.group.barrier.pass(Stay::Short).await;
        let _under_way = self.group.standalones.begin();
        let mut holders = Vec::new();
        for slot in &self.slots {
            if let Slot::Mine(leg) = slot {
                holders.push(leg.backend);
            }
        }
        self.evict_all_but(&holders);
        let unit = self
            .transaction
            .take()
            .map(|transaction| {
                transaction.write_unit(self.identity.logged(self.generation), self.group.commits.newest_sent())
            })
            .unwrap_or_default();
        let appended = self.group.log.append(Entry::Unit(unit)).await;
        let position = appended.map_err(|error| SessionError::Fatal(error.to_string()))?;
        self.group.commits.sent(position);
        self.group.mark(&holders, position).await;
        Ok(())
    }

    /// Waits until every follower has executed everything, and takes all legs back. While it waits the legs can still give way to others; only
    /// when all of them rest are they taken back, without waiting: see [`crate::follower::Restart`].
    async fn gather(&mut self) {
        let Some(fate) = self.transaction.as_ref().map(|t| Arc::clone(&t.fate)) else {
            return;
        };
        let place = self.group.next_place();
        if !fate.is_frozen() {
            fate.hurry(place);
        }
        while self.slots.iter().any(|slot| matches!(slot, Slot::Away(_))) {
            let drains = self.slots.iter().filter_map(|slot| match slot {
                Slot::Away(handle) => Some(handle.drained()),
                _ => None,
            });
            futures_util::future::join_all(drains).await;
            fate.freeze();
            let settled = self.slots.iter().all(|slot| match slot {
                Slot::Away(handle) => handle.is_settled(),
                _ => true,
            });
            if !settled {
                fate.hurry(place);
                continue;
            }
            for index in 0..self.slots.len() {
                if matches!(self.slots[index], Slot::Away(_))
                    && let Slot::Away(handle) = std::mem::replace(&mut self.slots[index], Slot::Closed)
                    && let Some(follower) = handle.reclaim().await
                {
                    self.slots[index] = Slot::Mine(Box::new(follower.leg));
                }
            }
        }
        self.close_statements().await;
    }

    async fn close_statements(&mut self) {
        for id in std::mem::take(&mut self.closed_statements) {
            self.close_statement(id).await;
        }
    }

    /// Rolls every leg back, each as soon as its follower gives it up; legs that fail are closed. The fate says already that the transaction
    /// is abandoned, so followers execute no more.
    async fn roll_back_everywhere(&mut self, body: &Body) -> Vec<LegReply> {
        let slots = std::mem::take(&mut self.slots);
        let ends = slots.into_iter().map(|slot| async {
            let mut leg = match slot {
                Slot::Closed => return (Slot::Closed, None),
                Slot::Mine(leg) => leg,
                Slot::Away(handle) => match handle.reclaim().await {
                    Some(follower) => Box::new(follower.leg),
                    None => return (Slot::Closed, None),
                },
            };
            if !leg.in_transaction {
                return (Slot::Mine(leg), None);
            }
            match leg.run(&[], body, &mut Discard).await {
                Ok(reply) => (Slot::Mine(leg), Some(reply)),
                Err(_) => (Slot::Closed, None),
            }
        });
        let (slots, replies): (Vec<_>, Vec<_>) = futures_util::future::join_all(ends).await.into_iter().unzip();
        self.slots = slots;
        self.tell_missed_insert_ids().await;
        self.close_statements().await;
        replies.into_iter().flatten().collect()
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
        futures_util::future::join_all(runs).await
    }
}
