//! Beginning a leg's transaction again: on its connection, or on a new one.

use super::undo::undo;
use super::{Follower, Opening};
use crate::group::Group;
use crate::health::Verdict;
use crate::io::{BackendId, Clock, Discard, Identity, KillKind, LegError, Servers, World};
use crate::leg::OpenLeg;
use crate::statement::set_last_insert_id;
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;

impl<W: World> Follower<W> {
    /// Rolls back and forgets what was executed; `catch_up` executes it again.
    pub(super) async fn start_over(&mut self, pause: Duration) -> Result<(), LegError> {
        self.group.metrics().follower_restarts.add(1);
        self.started_over = true;
        let begun = self.entries.iter().take(self.executed + 1);
        let traces = begun.flat_map(|(executed, _)| executed.traces.iter());
        let changed = traces.chain(&self.tainted).cloned().collect();
        match undo(&self.opening, &self.identity.database, &changed) {
            Some(statements) => {
                self.executed = 0;
                self.passed_over.clear();
                self.tainted.clear();
                if let Err(error) = self.roll_back(&statements).await {
                    self.reconnect(error).await?;
                }
            }
            None if self.opening.has_temporary_tables => {
                // No connection can execute it again, so nobody shall commit it. Others wait for its locks, its session perhaps for them.
                self.fate.doom();
                return self.roll_back(&[]).await;
            }
            None => {
                let reason = LegError::Lost("session state changed inside the transaction".into());
                self.reconnect(reason).await?;
            }
        }
        if pause > Duration::ZERO {
            self.group.world.clock().sleep(pause).await;
        }
        let gone = self.leg.gone().clone();
        tokio::select! {
            biased;
            () = gone.cancelled() => Err(LegError::Lost("the server has left the group".into())),
            () = self.restart.let_pass(&self.group) => Ok(()),
        }
    }

    /// ROLLBACK and what follows it, and proof of it: a kill that came too late for its statement would hit the ROLLBACK, so a ping takes it first.
    async fn roll_back(&mut self, then: &[Bytes]) -> Result<(), LegError> {
        self.leg.ask_in_transaction().await?;
        self.leg.query(b"ROLLBACK").await?;
        if self.leg.ask_in_transaction().await? {
            return Err(LegError::Protocol("ROLLBACK left the transaction open".into()));
        }
        self.leg.tell(then).await?;
        self.leg.state_version = self.opening.state_version;
        Ok(())
    }

    /// Opens a new connection in place of a lost one, if the server still answers.
    pub(super) async fn reconnect(&mut self, error: LegError) -> Result<(), LegError> {
        let backend = self.leg.backend;
        let verdict = self.group.verify(backend, &error).await.map_err(LegError::Lost)?;
        if verdict == Verdict::Evicted || self.opening.has_temporary_tables {
            return Err(error);
        }
        self.started_over = true;
        // Its locks would hold the new connection up until the server notices that the old one is gone.
        let old = self.leg.thread_id();
        // A server that was away since may have given the number to somebody else.
        if !self.leg.gone().is_cancelled() {
            let kill = KillKind::Connection;
            let _ = self.group.world.servers().kill(backend, old, kill).await;
        }
        self.unregister();
        let opened = open_leg(&self.group, &self.identity, &self.opening, backend).await;
        self.leg = opened.map_err(|again| self.give_up(&format!("{error}; a new connection failed: {again}")))?;
        self.executed = 0;
        self.passed_over.clear();
        self.tainted.clear();
        self.register();
        Ok(())
    }

    /// What is queued will be rolled back, so it need not be executed, and a different answer would say nothing. Only temporary tables are
    /// not rolled back.
    pub(super) async fn leave_undone(&mut self) -> Result<(), LegError> {
        // The rows of such a table are rolled back like others, so they need a transaction too.
        let begun = self.leg.in_transaction;
        let mut context = if begun { Vec::new() } else { self.opening.begin.clone() };
        self.leg.missed_insert_ids |= self.executed < self.entries.len();
        for at in self.executed..self.entries.len() {
            let executed = Arc::clone(&self.entries[at].0);
            context.extend(executed.context.iter().cloned());
            if executed.defines_temporary_tables {
                self.leg.run(&context, &executed.body, &mut Discard).await?;
                context.clear();
            }
        }
        self.is_up_to_date();
        Ok(())
    }
}

/// A fresh connection with the session's state as it was when the transaction began.
pub(super) async fn open_leg<W: World>(
    group: &Group<W>,
    identity: &Arc<Identity>,
    opening: &Opening,
    backend: BackendId,
) -> Result<OpenLeg<<W::Servers as Servers>::Leg>, LegError> {
    let mut leg = group.open_leg(backend, identity).await?;
    let mut state: Vec<Bytes> = opening.state.iter().map(|(_, payload)| payload.clone()).collect();
    state.push(set_last_insert_id(opening.last_insert_id));
    leg.tell(&state).await?;
    leg.state_version = opening.state_version;
    Ok(leg)
}
