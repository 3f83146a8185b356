//! Statements that cannot share a transaction with others: DDL, account management, SET GLOBAL, LOCK TABLES, CALL outside a transaction, and
//! everything that was not understood.
//!
//! The lead executes first; the others then execute the same statement and must answer the same, errors included, because a statement of
//! this kind may have done part of its work before it failed. Gates keep every other writer of its tables away meanwhile. See
//! [`super::broadcast`] for what happens on the servers.

use super::broadcast::{Broadcast, Message, Pipe};
use super::insert_id::reports_no_insert_id;
use super::{LegOf, MirroredKind, Session, Slot};
use crate::barrier::{Pass, Stay};
use crate::error::SessionError;
use crate::gate::Hold;
use crate::group::Fault;
use crate::health::Verdict;
use crate::io::{BackendId, ClientReply, LegError, World};
use crate::local_file::{FilePart, LocalFile};
use crate::order::Share;
use crate::statement::Statement;
use crate::temporary::{TemporaryWork, logged_names};
use bytes::{Bytes, BytesMut};
use grove_recovery_log::{Entry, Position, Temporary};
use grove_sql::{Class, Name};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::sync::mpsc;

/// Pieces of an answer between the task that receives it and the client: a slow client slows the server down.
const MESSAGES_UNDER_WAY: usize = 4;

impl<W: World> Session<W> {
    pub(super) async fn standalone<S: ClientReply>(
        &mut self,
        statement: &Statement,
        sink: &mut S,
    ) -> Result<BytesMut, SessionError> {
        debug_assert!(
            self.transaction.is_none(),
            "a standalone statement would tear an open transaction apart"
        );
        if statement.analysis.class == Class::LockTables && self.is_mirrored(MirroredKind::TableLocks) {
            // LOCK TABLES releases earlier table locks before it waits for new ones.
            self.unlock_tables().await?;
        }
        let hold = self.group.new_hold();
        if self.mirrored.is_none() {
            // In the mirrored state the gates that began it cover what may be touched.
            self.take_gates(&hold, statement).await?;
        }
        let frame = self.run_standalone(statement, &hold, sink).await?;
        if !grove_wire::is_err_frame(&frame) {
            self.note_mirrored(statement, hold);
        }
        Ok(frame)
    }

    async fn run_standalone<S: ClientReply>(
        &mut self,
        statement: &Statement,
        hold: &Arc<Hold>,
        sink: &mut S,
    ) -> Result<BytesMut, SessionError> {
        let mut attempts = 0;
        // With its file, once that has been asked for.
        let mut loading: Option<Statement> = None;
        // In the log once, however often it is begun.
        let mut intent = None;
        loop {
            let statement = loading.as_ref().unwrap_or(statement);
            let (share, lead) = self.group.order.enter().await;
            let pass = self.group.barrier.pass(Stay::Long).await;
            self.tell_all_legs(&mut attempts).await?;
            let Some(broadcast) = self.broadcast(statement, lead, (share, Arc::clone(hold), pass)) else {
                continue;
            };
            let Some(broadcast) = self.intend(broadcast, &mut intent).await? else {
                continue;
            };
            let (pipe, mut messages) = mpsc::channel(MESSAGES_UNDER_WAY);
            // Not to be cut off with the session: a client may leave at any time.
            let broadcast = tokio::spawn(broadcast.carry_out(Pipe(pipe)));
            let (mut client, mut with_file) = (Ok(()), None);
            while let Some(message) = messages.recv().await {
                if client.is_ok() {
                    client = match pass_on(message, sink).await {
                        Ok(file) => {
                            with_file = file.map(|file| statement.with_file(file)).or(with_file);
                            Ok(())
                        }
                        Err(reason) => Err(reason),
                    };
                }
            }
            let carried_out = broadcast.await;
            client.map_err(SessionError::Fatal)?;
            match carried_out.map_err(|error| SessionError::Fatal(format!("a statement was cut off: {error}")))? {
                Ok(done) => {
                    self.put_back(done.legs);
                    done.logged.map_err(SessionError::Fatal)?;
                    self.note_insert_id(done.insert_id);
                    if reports_no_insert_id(statement) && done.insert_id == 0 {
                        // A leg that is lost here is not needed any more.
                        let _ = self.restore_insert_id(lead).await;
                    }
                    self.capture_anywhere(&statement.analysis.user_variables_written)
                        .await?;
                    return Ok(done.reply.last_frame);
                }
                Err(lost) => {
                    self.put_back(lost.legs);
                    let verdict = self.after_failure(lead, lost.error, &mut attempts).await?;
                    if !sink.start_over() {
                        return Err(SessionError::Fatal("the lead died in the middle of a result".into()));
                    }
                    if verdict == Verdict::Alive {
                        // The last server, or it would have left the group.
                        return Err(SessionError::Fatal("the outcome of the statement is not known".into()));
                    }
                    loading = with_file.or(loading);
                }
            }
        }
    }

    /// The log learns what is about to be sent to the lead, and so do the servers. If it cannot, nothing is sent. `None` if the lead has left the group.
    async fn intend(
        &mut self,
        mut broadcast: Broadcast<W>,
        intent: &mut Option<Position>,
    ) -> Result<Option<Broadcast<W>>, SessionError> {
        if intent.is_none() {
            match self.group.log.append(Entry::Intent(broadcast.intent())).await {
                Ok(position) => *intent = Some(position),
                Err(error) => {
                    self.put_back(broadcast.followers);
                    self.put_back(vec![broadcast.lead]);
                    return Err(SessionError::NotLogged(error));
                }
            }
        }
        let Some(position) = *intent else { return Ok(None) };
        broadcast.intent = position;
        let lead = broadcast.lead.backend;
        let followers = broadcast.followers.iter().map(|leg| leg.backend);
        let holders: Vec<BackendId> = followers.chain([lead]).collect();
        self.group.mark(&holders, position).await;
        if self.group.is_online(lead) {
            return Ok(Some(broadcast));
        }
        self.put_back(broadcast.followers);
        Ok(None)
    }

    /// The statement with every leg, ready to go; `None` if the lead has left the group meanwhile.
    fn broadcast(
        &mut self,
        statement: &Statement,
        lead: BackendId,
        guards: (Arc<Share>, Arc<Hold>, Pass),
    ) -> Option<Broadcast<W>> {
        let sets_clock = !self.state.client_sets_clock;
        let clock: Vec<Bytes> = self.clock_and_chance(statement).into_iter().collect();
        let online = self.group.view().online.clone();
        if !online.contains(&lead) {
            return None;
        }
        let mut work = TemporaryWork::default();
        let tables = &self.state.temporary_tables;
        work.note(tables, &statement.analysis, statement.body.text(), &self.state.schema);
        let temporary = Temporary {
            usage: work.usage(tables.any()),
            names: logged_names(&tables.names().unwrap_or_default()),
            copy: Vec::new(),
        };
        if statement.analysis.class != Class::Call {
            // Counted before it begins: a copy that is being read must not miss it.
            self.group.definitions.fetch_add(1, Ordering::SeqCst);
        }
        let lead_leg = self.take_told(lead, sets_clock)?;
        let others = online.iter().filter(|&&backend| backend != lead);
        let followers = others
            .filter_map(|&backend| self.take_told(backend, sets_clock))
            .collect();
        Some(Broadcast {
            group: Arc::clone(&self.group),
            statement: statement.clone(),
            state: self.state.since(0).collect(),
            clock,
            origin: self.identity.logged(self.generation),
            temporary,
            intent: 0,
            running: Arc::clone(&self.running),
            lead: lead_leg,
            followers,
            under_way: self.group.standalones.begin(),
            _guards: guards,
        })
    }

    fn put_back(&mut self, legs: Vec<Box<LegOf<W>>>) {
        for leg in legs {
            let backend = leg.backend;
            *self.slot(backend) = Slot::Mine(leg);
        }
    }

    /// The leg out of its slot, if it is at hand.
    fn take_told(&mut self, backend: BackendId, sets_clock: bool) -> Option<Box<LegOf<W>>> {
        match std::mem::replace(self.slot(backend), Slot::Closed) {
            Slot::Mine(mut leg) => {
                leg.clock_is_set = sets_clock;
                Some(leg)
            }
            other => {
                *self.slot(backend) = other;
                None
            }
        }
    }

    /// What the statement assigned, from the first leg that still says it: all have executed it.
    async fn capture_anywhere(&mut self, names: &[Name]) -> Result<(), SessionError> {
        let mut failure = LegError::Lost("no leg is left".into());
        for backend in self.group.view().online.clone() {
            match self.capture_variables(backend, names).await {
                Ok(_) => return Ok(()),
                Err(error) => failure = error,
            }
        }
        Err(SessionError::Fatal(format!(
            "what a statement assigned is not known: {failure}"
        )))
    }

    /// Opens a leg on every online server and tells it the session's state.
    async fn tell_all_legs(&mut self, attempts: &mut usize) -> Result<(), SessionError> {
        for backend in self.group.view().online.clone() {
            while let Err(error) = self.told_leg(backend).await {
                if self.after_failure(backend, error, attempts).await? == Verdict::Evicted {
                    break;
                }
            }
        }
        Ok(())
    }

    /// What the lead did is not known, and no other server has done it: the others go on without the lead. False if it is the last server.
    pub(super) fn doubt(&self, lead: BackendId, reason: &str) -> bool {
        self.group.take_out(lead, Fault::Diverged, reason)
    }
}

/// Gives the client what the task has for it, and the task the client's file, once it is whole. The file is kept for another attempt.
async fn pass_on<S: ClientReply>(message: Message, sink: &mut S) -> Result<Option<Arc<dyn LocalFile>>, String> {
    match message {
        Message::Answer(bytes) => sink.forward(&bytes).await.map(|()| None),
        Message::FileWanted(request, answer) => {
            sink.request_file(&request).await?;
            loop {
                if let FilePart::End(file) = sink.next_of_file().await? {
                    // A task that is gone has said why.
                    let _ = answer.send(Arc::clone(&file));
                    return Ok(Some(file));
                }
            }
        }
    }
}
