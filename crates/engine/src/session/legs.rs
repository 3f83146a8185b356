//! Opening legs, bringing them up to the session's state, and what to do when one fails.

use super::{LegOf, Session, Slot};
use crate::error::SessionError;
use crate::follower::{Follower, FollowerHandle};
use crate::health::Verdict;
use crate::io::{BackendId, Clock, Discard, LegError, World};
use bytes::Bytes;
use grove_wire::ReplyShape;
use std::sync::Arc;
use std::time::Duration;

/// A leg that was used a moment ago is not asked whether its connection still stands: that would cost a system call for every statement.
const IDLE_BEFORE_CHECK: Duration = Duration::from_secs(1);

impl<W: World> Session<W> {
    fn index(backend: BackendId) -> usize {
        usize::from(backend.0)
    }

    pub(super) fn slot(&mut self, backend: BackendId) -> &mut Slot<W> {
        &mut self.slots[Self::index(backend)]
    }

    pub(super) fn has_leg(&self, backend: BackendId) -> bool {
        !matches!(self.slots[Self::index(backend)], Slot::Closed)
    }

    pub(super) fn close_leg(&mut self, backend: BackendId) {
        *self.slot(backend) = Slot::Closed;
    }

    /// The leg on `backend`, opened if need be. A follower's task is waited for and gives its leg up.
    pub(super) async fn take_mine(&mut self, backend: BackendId) -> Result<&mut LegOf<W>, LegError> {
        self.drop_if_stale(backend);
        if !matches!(self.slot(backend), Slot::Mine(_)) {
            let leg = match std::mem::replace(self.slot(backend), Slot::Closed) {
                Slot::Mine(leg) => leg,
                Slot::Closed if self.has_lost(backend) => {
                    return Err(LegError::Lost("the transaction's leg was lost".into()));
                }
                Slot::Closed if self.state.temporary_tables.any() => {
                    Box::pin(self.open_with_temporary_tables(backend)).await?
                }
                Slot::Closed => Box::new(Box::pin(self.group.open_leg(backend, &self.identity)).await?),
                Slot::Away(handle) => match Box::pin(self.reclaimed(handle)).await {
                    Some(follower) => {
                        self.note_snapshot(backend, follower.started_over);
                        Box::new(follower.leg)
                    }
                    None => return Err(LegError::Lost("the follower's leg was lost".into())),
                },
            };
            *self.slot(backend) = Slot::Mine(leg);
        }
        match self.slot(backend) {
            Slot::Mine(leg) => Ok(leg),
            _ => Err(LegError::Protocol("a leg that was just stored is gone".into())),
        }
    }

    /// Takes one follower back; while the client waits for it, it is stronger than those for whom nobody waits.
    pub(super) async fn reclaimed(&mut self, handle: FollowerHandle<W>) -> Option<Follower<W>> {
        let fate = self.transaction.as_ref().map(|t| Arc::clone(&t.fate));
        if let Some(fate) = &fate {
            fate.hurry(self.group.next_place());
        }
        let follower = handle.reclaim().await;
        if let Some(fate) = &fate {
            fate.relax();
        }
        follower
    }

    /// A leg has come back from its work as a follower.
    pub(super) fn note_snapshot(&mut self, backend: BackendId, started_over: bool) {
        if let Some(transaction) = &mut self.transaction {
            transaction.snapshot_lost |= started_over && transaction.reader == Some(backend);
        }
    }

    /// Whether the open transaction had a leg there that a fresh connection cannot stand for: the lead's, or the one with the snapshot.
    fn has_lost(&self, backend: BackendId) -> bool {
        self.transaction.as_ref().is_some_and(|transaction| {
            let led = transaction.lead == Some(backend) && !transaction.entries.is_empty();
            led || transaction.reader == Some(backend)
        })
    }

    /// Closes an idle leg whose connection the server has ended meanwhile (`wait_timeout`), if nothing depends on it.
    fn drop_if_stale(&mut self, backend: BackendId) {
        let now = self.group.world.clock().now();
        let replaceable = self.transaction.is_none() && self.mirrored.is_none() && !self.state.temporary_tables.any();
        let Slot::Mine(leg) = self.slot(backend) else { return };
        let idle = now.saturating_sub(leg.used_at);
        leg.used_at = now;
        // A server that was away and has come back has ended it.
        let is_of_old = leg.gone().is_cancelled() && !leg.in_transaction;
        if is_of_old || (replaceable && idle >= IDLE_BEFORE_CHECK && leg.is_stale()) {
            self.close_leg(backend);
        }
    }

    /// The leg of the server that the session reads from, with the session's state; moves to another server if that is lost.
    pub(super) async fn reader_leg(&mut self) -> Result<(), SessionError> {
        let mut attempts = 0;
        loop {
            let reader = self.settle_reader().await;
            match self.told_leg(reader).await {
                Ok(()) => return Ok(()),
                Err(error) => {
                    self.after_failure(reader, error, &mut attempts).await?;
                }
            }
        }
    }

    /// The server to read from now. A session that moves, or comes back, waits for the commits that the other server may already have shown.
    pub(super) async fn settle_reader(&mut self) -> BackendId {
        if std::mem::take(&mut self.has_read_elsewhere) {
            self.group.commits.settled().await;
        }
        // A cursor cannot move.
        let may_move = self.cursors.is_empty() && self.transaction.is_none() && self.mirrored.is_none();
        if !self.group.is_online(self.reader) || (may_move && self.group.is_draining(self.reader)) {
            let next = self.group.choose_reader();
            self.group.count_reader(self.reader, false);
            self.group.count_reader(next, true);
            self.close_leg(self.reader);
            self.reader = next;
            self.group.commits.settled().await;
        }
        self.reader
    }

    /// Statements that a leg needs before the client's next statement means there what it means here.
    pub(super) fn prelude(&mut self, backend: BackendId) -> Vec<Bytes> {
        match &mut self.slots[Self::index(backend)] {
            Slot::Mine(leg) => self.state.catch_up(leg),
            _ => Vec::new(),
        }
    }

    /// Opens the leg and tells it the session's state now, in round trips of its own.
    pub(super) async fn told_leg(&mut self, backend: BackendId) -> Result<(), LegError> {
        self.take_mine(backend).await?;
        let version = self.state.version();
        let Slot::Mine(leg) = &mut self.slots[Self::index(backend)] else {
            return Ok(());
        };
        if leg.state_version == version {
            return Ok(());
        }
        let statements: Vec<Bytes> = self.state.since(leg.state_version).collect();
        leg.state_version = version;
        leg.clock_is_set &= !self.state.client_sets_clock;
        for statement in statements {
            let reply = leg.command(statement, ReplyShape::Query, &mut Discard).await?;
            if let Some(err) = reply.reply.err() {
                let message = String::from_utf8_lossy(&err.message).into_owned();
                return Err(LegError::Protocol(format!(
                    "refused the session's state: {}: {message}",
                    err.code
                )));
            }
        }
        Ok(())
    }

    /// Closes a failed leg and decides whether to go on: the server is evicted, or answers, or the client must be told.
    pub(super) async fn after_failure(
        &mut self,
        backend: BackendId,
        error: LegError,
        attempts: &mut usize,
    ) -> Result<Verdict, SessionError> {
        self.close_leg(backend);
        match error {
            LegError::Refused(err) => return Err(SessionError::Refused(err)),
            LegError::ClientGone(reason) => return Err(SessionError::Fatal(reason)),
            LegError::Lost(_) | LegError::Protocol(_) | LegError::Timeout(_) | LegError::Unsuitable(_) => {}
        }
        *attempts += 1;
        if *attempts > 2 * self.slots.len() + 4 {
            return Err(SessionError::NoServer(format!(
                "gave up after {attempts} attempts: {error}"
            )));
        }
        tracing::debug!(backend = self.group.name(backend), %error, "a leg failed");
        self.group.metrics().retries.add(1);
        let verdict = self
            .group
            .verify(backend, &error)
            .await
            .map_err(SessionError::NoServer)?;
        if verdict == Verdict::Alive && self.state.temporary_tables.any() {
            // The others have the tables, but this server goes on and a new connection to it has none.
            return Err(SessionError::Fatal(
                "a connection that held temporary tables was lost".into(),
            ));
        }
        Ok(verdict)
    }

    /// A leg failed under a statement about the session itself. Outside a transaction it is run again elsewhere; inside one, the
    /// transaction's own failover decides.
    pub(super) async fn current_leg_failed(
        &mut self,
        backend: BackendId,
        error: LegError,
        attempts: &mut usize,
    ) -> Result<(), SessionError> {
        self.after_failure(backend, error, attempts).await?;
        if self.transaction.is_some() {
            self.move_transaction(backend).await?;
        } else {
            self.settle_reader().await;
        }
        Ok(())
    }
}
