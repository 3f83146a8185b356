//! Keeping position rows on the servers that are online: marks of what commits by itself, and folding.
//!
//! Invariant: a server's prefix is raised only to a position up to which the server has confirmed everything. A server that fails to confirm leaves the
//! group before the commit counts as ended, so whoever is still in the group after all commits of a moment have ended has confirmed them.

use crate::group::Group;
use crate::io::{BackendId, Clock, LegError, Servers, World};
use crate::leg::OpenLeg;
use crate::member::{MemberState, Wish};
use crate::position_rows::PositionRows;
use crate::value;
use grove_recovery_log::{Need, Position};
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Longest time for one of Grove's own statements about position rows on a server that takes part.
const LONGEST_MARK: Duration = Duration::from_secs(10);

/// Where the position rows of one server are kept, while it takes part.
pub(crate) struct Ledger<W: World> {
    rows: tokio::sync::Mutex<Option<PositionRows<<W::Servers as Servers>::Leg>>>,
}

impl<W: World> Default for Ledger<W> {
    fn default() -> Self {
        Self {
            rows: tokio::sync::Mutex::default(),
        }
    }
}

impl<W: World> Group<W> {
    /// A connection to keep position rows with; every wait on it ends with `gone`.
    pub(crate) async fn open_position_rows(
        &self,
        id: BackendId,
        gone: CancellationToken,
    ) -> Result<PositionRows<<W::Servers as Servers>::Leg>, LegError> {
        let leg = self.world.servers().connect_own(id).await?;
        Ok(PositionRows::new(id, leg, gone))
    }

    /// Inserts the position of something that commits by itself on these servers, before or after. A server that cannot is evicted.
    pub(crate) async fn mark(&self, backends: &[BackendId], position: Position) {
        if self.log.id().is_none() {
            return;
        }
        let marks = backends.iter().map(|&id| async move {
            if let Err(error) = self.mark_on(id, position).await
                && self.is_online(id)
            {
                let reason = format!("the position {position} of the log could not be noted: {error}");
                if !self.evict(id, &reason) {
                    self.owes(id, &reason);
                }
            }
        });
        futures_util::future::join_all(marks).await;
    }

    async fn mark_on(&self, id: BackendId, position: Position) -> Result<(), LegError> {
        let Some(fence) = self.member(id).fence() else {
            return Ok(());
        };
        let gone = self.gone(id);
        let mut kept = self.ledgers[usize::from(id.0)].rows.lock().await;
        // A connection that was idle may have ended meanwhile; a second one says more.
        if let Some(rows) = &mut *kept {
            match self.bounded(rows.mark(position, fence)).await {
                Err(LegError::Refused(err)) => return Err(LegError::Refused(err)),
                Err(error) => {
                    tracing::debug!(backend = self.name(id), %error, "a connection for position rows is remade")
                }
                Ok(()) => return Ok(()),
            }
        }
        let mut rows = self.bounded(self.open_position_rows(id, gone)).await?;
        self.bounded(rows.mark(position, fence)).await?;
        *kept = Some(rows);
        Ok(())
    }

    async fn bounded<T>(&self, work: impl Future<Output = Result<T, LegError>>) -> Result<T, LegError> {
        tokio::select! {
            biased;
            result = work => result,
            () = self.world.clock().sleep(LONGEST_MARK) => Err(LegError::Timeout(LONGEST_MARK)),
        }
    }

    /// The server refused to take a position because the leg's account may not write it: permits it. The leg's transaction stays as it is.
    pub(crate) async fn permit_marks(&self, leg: &mut OpenLeg<<W::Servers as Servers>::Leg>) -> Result<(), LegError> {
        let mut answer = crate::io::Collect::default();
        let question = crate::statement::Body::query(b"SELECT CURRENT_USER()");
        leg.run(&[], &question, &mut answer).await?;
        let row = value::read_one_row(&answer, leg.capabilities());
        let account = row.and_then(|row| row.into_iter().next()).map(|account| account.plain);
        let account = account.ok_or_else(|| LegError::Protocol("CURRENT_USER() has no row".into()))?;
        self.world.servers().permit_marks(leg.backend, &account).await
    }

    /// Folds position rows now and then, and tells the log what is needed no more; ends, with a last time, when `stop` is cancelled.
    pub async fn keep_positions(&self, stop: CancellationToken) {
        let Some(log) = self.log.id() else { return };
        while !stop.is_cancelled() {
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                () = self.world.clock().sleep(self.settings.fold_interval) => {}
            }
            let horizon = self.log.last_position();
            self.commits.settled().await;
            self.standalones.settled().await;
            for &id in &self.view().online {
                self.fold_on(id, log, horizon).await;
            }
            self.log.retain(self.needs());
        }
    }

    /// Closes the connections that keep position rows. They are opened again when they are needed.
    pub async fn close_position_rows(&self) {
        for ledger in &self.ledgers {
            *ledger.rows.lock().await = None;
        }
    }

    async fn fold_on(&self, id: BackendId, log: grove_recovery_log::LogId, horizon: Position) {
        let mut kept = self.ledgers[usize::from(id.0)].rows.lock().await;
        // Behind the lock nobody else uses the connection, and a server that has left since is known to have.
        if !self.is_online(id) || self.owes_something(id) {
            return;
        }
        let gone = self.gone(id);
        let folded = async {
            let mut rows = match kept.take() {
                Some(rows) => rows,
                None => self.open_position_rows(id, gone).await?,
            };
            rows.fold(log, horizon).await?;
            Ok(rows)
        };
        match self.bounded(folded).await {
            Ok(rows) => {
                *kept = Some(rows);
                self.note_position(id, horizon, None);
            }
            // Probes find out what is the matter with the server; the rows stay for the next time.
            Err(error) => tracing::debug!(backend = self.name(id), %error, "position rows were not folded"),
        }
    }

    /// The first entry that each server may still need.
    pub(crate) fn needs(&self) -> Vec<Need> {
        let ids = (0..).map(BackendId).take(self.member_count());
        // One that is rebuilt needs what its donor needs; one that only waits for that needs nothing.
        let is_replayed = |id: &BackendId| {
            let member = self.member(*id);
            let waits_for_copy = matches!(member.wish(), Wish::Rebuild(_)) && !member.is_copied.load(Ordering::SeqCst);
            let is_unfit = member.unfit().is_some() && !matches!(member.wish(), Wish::Rebuild(_));
            member.state() != MemberState::Diverged && !waits_for_copy && !is_unfit
        };
        let by_replay = ids.filter(is_replayed);
        let need = by_replay.map(|id| {
            let progress = self.member(id).progress.lock().unwrap_or_else(PoisonError::into_inner);
            Need {
                holder: self.name(id).to_owned(),
                from: progress.position.map_or(0, |position| position + 1),
                yields: self.settings.evicts_slowest && !self.is_online(id),
            }
        });
        need.collect()
    }
}
