//! How a server comes back: it executes what it has missed while others go on writing, and joins at an instant at which it lacks nothing.
//!
//! One attempt: its position rows say what it holds; connections of the time before are ended and a new fence is put up, so that nothing of the old time can
//! commit any more; the log is replayed, in parallel where its entries permit it; when nothing is left, the barrier is closed for a moment, the last
//! entries are replayed, and the server is admitted. An attempt that is dropped or fails leaves nothing half done: each unit is there with its position, or not at all.
//!
//! Deliberately absent: any comparison of data. A server that answers a replayed statement otherwise than the lead did is not admitted.

mod connection;
mod doubt;
mod execute;
mod rebuild;
mod replay;
mod standalone;
mod start;

use crate::group::Group;
use crate::io::{BackendId, Clock, Entropy, LegError, Servers, World};
use crate::member::{MemberState, Wish};
use crate::position_rows::{Fence, Standing};
use grove_recovery_log::{LogError, Position};
use replay::Replay;
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Between two looks whether the last obstacle to joining is gone.
const PAUSE_BEFORE_JOINING: Duration = Duration::from_millis(20);
/// How long commits are held up at once for a server that does not gain on the writers.
const MOMENT: Duration = Duration::from_millis(100);
/// Twice as many moments pass between two looks whether it gains.
const LOOKS: u32 = 5;
/// Longest time to find out what a server holds, and to put the fence up.
const LONGEST_STOCKTAKING: Duration = Duration::from_secs(60);

/// Why a server does not come back now.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Setback {
    /// It was lost on the way.
    #[error("{0}")]
    Lost(LegError),
    /// Something outside has to change first.
    #[error("{0}")]
    Later(String),
    /// It cannot be brought up by replaying this log: so say its position rows.
    #[error("{0}")]
    Rebuild(String),
    /// It may hold something else than the group, which its position rows do not say.
    #[error("{0}")]
    Differs(String),
}

impl From<LegError> for Setback {
    fn from(error: LegError) -> Self {
        Self::Lost(error)
    }
}

impl From<LogError> for Setback {
    fn from(error: LogError) -> Self {
        match error {
            LogError::Dropped { wanted, first } => Self::Rebuild(format!(
                "it lacks entries from {wanted} on, and the recovery log begins at {first}"
            )),
            error => Self::Later(format!("the recovery log cannot be read: {error}")),
        }
    }
}

/// What stands on a server does not permit something, until somebody changes it.
fn waits(error: LegError) -> Setback {
    match error {
        LegError::Unsuitable(reason) => Setback::Later(reason),
        error => Setback::Lost(error),
    }
}

impl<W: World> Group<W> {
    /// Tries until the server is in the group again. Ends early only when somebody else has admitted it.
    pub(crate) async fn bring_back(self: &Arc<Self>, id: BackendId) {
        let reason = || {
            let status = self.member(id).status.lock().unwrap_or_else(PoisonError::into_inner);
            status.2.clone()
        };
        let mut why = reason();
        let mut pause = self.settings.rejoin_pause;
        let mut wishes = self.member(id).wish.subscribe();
        while !self.is_online(id) {
            let wish = wishes.borrow_and_update().clone();
            if pause.is_zero() {
                why = reason();
            }
            // Whatever is under way may be dropped when an operator wants something else.
            tokio::select! {
                biased;
                _ = wishes.changed() => pause = Duration::ZERO,
                () = self.fulfil(id, &wish, &why, pause) => pause = (pause * 2).clamp(self.settings.rejoin_pause, self.settings.longest_rejoin_pause),
            }
        }
    }

    /// One step towards what an operator wants of a server that is not in the group.
    async fn fulfil(self: &Arc<Self>, id: BackendId, wish: &Wish, why: &str, pause: Duration) {
        let clock = self.world.clock();
        match wish {
            Wish::StayOut(reason) => {
                self.note_disabled(id, reason);
                std::future::pending::<()>().await;
            }
            Wish::Rebuild(donor) => self.rebuild(id, *donor).await,
            // Until somebody wants it rebuilt.
            Wish::TakePart if self.member(id).state() == MemberState::Diverged => std::future::pending::<()>().await,
            Wish::TakePart => {
                clock.sleep(pause).await;
                match self.attempt(id).await {
                    Ok(()) => {}
                    Err(setback @ (Setback::Rebuild(_) | Setback::Differs(_))) => {
                        let reason = self.note_diverged(id, &setback);
                        tracing::error!(backend = self.name(id), reason, "the server must be rebuilt");
                    }
                    Err(setback) => {
                        tracing::debug!(backend = self.name(id), %setback, "the server does not come back yet");
                        let reason = format!("{why}; not back yet: {setback}");
                        self.change_status(id, MemberState::Failed, &reason);
                    }
                }
            }
        }
    }

    /// One attempt to bring a server to the end of the log and into the group.
    async fn attempt(self: &Arc<Self>, id: BackendId) -> Result<(), Setback> {
        if let Some(reason) = self.member(id).unfit() {
            return Err(Setback::Differs(reason));
        }
        let scope = CancellationToken::new();
        let _ends = scope.clone().drop_guard();
        let facts = self.world.servers().probe(id).await?;
        self.learn(id, facts);
        let found = self.examine(id).await.map_err(waits)?;
        self.stop_scheduler(id, &found).await?;
        // What is replayed is to mean what it meant on the others.
        self.align(id).await?;
        let mut replay = self.begin_replay(id, &scope).await?;
        self.note_began(id, replay.position());
        self.set_status(id, MemberState::Replaying, "executes what it has missed");
        let mut aligned_with = None;
        loop {
            self.catch_up(&mut replay).await?;
            if aligned_with != Some(self.view().lead) {
                // Again: the log may have changed settings.
                aligned_with = self.align(id).await?;
            }
            self.change_status(id, MemberState::Joining, "has executed what it had missed");
            // Where it is the only one, all legs are lost anyway.
            let is_alone = !self.has_other_than(id);
            if !is_alone && self.is_anchored(id) {
                self.world.clock().sleep(PAUSE_BEFORE_JOINING).await;
                continue;
            }
            let limit = self.settings.join_pause;
            let Some(closed) = self.barrier.close(self.world.clock(), limit).await else {
                self.world.clock().sleep(PAUSE_BEFORE_JOINING).await;
                continue;
            };
            if self.has_other_than(id) && aligned_with != Some(self.view().lead) {
                // Another one leads since just now.
                continue;
            }
            // Dropped in the middle it goes on later.
            let caught_up = tokio::select! {
                biased;
                caught_up = replay.catch_up() => { caught_up?; true }
                () = self.world.clock().sleep(limit) => false,
            };
            if !caught_up || (!is_alone && self.is_anchored(id)) {
                drop(closed);
                self.world.clock().sleep(PAUSE_BEFORE_JOINING).await;
                continue;
            }
            replay.settle_doubts(is_alone).await?;
            // It may have added to the log.
            replay.catch_up().await?;
            let position = replay.position();
            return self.admit_again(id, replay.fence(), position).await;
        }
    }

    fn has_other_than(&self, id: BackendId) -> bool {
        self.view().online.iter().any(|&other| other != id)
    }

    /// Executes what is in the log. A server that does not gain on the writers is helped: commits are held up for moments, in the worst case for half of the time.
    async fn catch_up(&self, replay: &mut Replay<W>) -> Result<(), Setback> {
        let clock = self.world.clock();
        let mut pressure = 0;
        loop {
            let before = replay.lag();
            for held_up in 0..LOOKS {
                let closed = match held_up < pressure {
                    true => self.barrier.close(clock, MOMENT).await,
                    false => None,
                };
                // Dropped in the middle it goes on where it was.
                tokio::select! {
                    biased;
                    caught_up = replay.catch_up() => return caught_up,
                    () = clock.sleep(MOMENT) => {}
                }
                drop(closed);
                tokio::select! {
                    biased;
                    caught_up = replay.catch_up() => return caught_up,
                    () = clock.sleep(MOMENT) => {}
                }
            }
            let gains = replay.lag() * 10 < before * 9;
            pressure = match gains {
                true => pressure.saturating_sub(1),
                false => (pressure + 1).min(LOOKS),
            };
        }
    }

    /// Finds out what the server holds, makes sure that this cannot change any more, and is ready to replay the rest.
    async fn begin_replay(self: &Arc<Self>, id: BackendId, scope: &CancellationToken) -> Result<Replay<W>, Setback> {
        let stocktaking = async {
            // First, because an account may be Grove's own as well.
            self.world.servers().expel(id, &self.accounts.names()).await?;
            let mut rows = self.open_position_rows(id, scope.clone()).await?;
            rows.prepare().await?;
            self.world.servers().may_permit_marks(id).await?;
            let fence = Fence::random(self.world.entropy().next_u64());
            rows.raise(fence).await?;
            // What was on its way has ended now.
            let standing = rows.read().await?;
            self.judge_standing(&standing)?;
            Ok(Replay::new(Arc::clone(self), id, fence, standing, rows, scope.clone()))
        };
        tokio::select! {
            biased;
            result = stocktaking => result,
            () = self.world.clock().sleep(LONGEST_STOCKTAKING) => Err(Setback::Lost(LegError::Timeout(LONGEST_STOCKTAKING))),
        }
    }

    /// Whether the log can bring a server on from where it stands.
    fn judge_standing(&self, standing: &Standing) -> Result<(), Setback> {
        let rebuild = |reason: String| Err(Setback::Rebuild(reason));
        match standing.log {
            None => rebuild("it has never held a position of this recovery log, so what it holds is not known".into()),
            Some(log) if Some(log) != self.log.id() => rebuild(format!("it has followed another recovery log, {log}")),
            Some(_) if standing.newest() > self.log.last_position() => rebuild(format!(
                "it holds entry {}, and the recovery log ends at {}: it has committed something that this log does not know",
                standing.newest(),
                self.log.last_position()
            )),
            Some(_) => Ok(()),
        }
    }

    /// Whether a session keeps something on the servers that this one cannot be given: table locks, an XA transaction, temporary tables without known names.
    fn is_anchored(&self, id: BackendId) -> bool {
        let sessions: Vec<u32> = self.anchored.iter().map(|session| *session).collect();
        if !sessions.is_empty() {
            let reason = format!(
                "has executed what it had missed; waits for the end of connections {sessions:?}, or of their LOCK TABLES or XA, which it cannot be given"
            );
            self.change_status(id, MemberState::Joining, &reason);
        }
        !sessions.is_empty()
    }

    /// The server is out because an operator wants it.
    pub(crate) fn note_disabled(&self, id: BackendId, reason: &str) {
        let reason = match self.member(id).unfit() {
            None => reason.to_owned(),
            Some(unfit) => format!("{reason}; it must be rebuilt: {unfit}"),
        };
        self.change_status(id, MemberState::Disabled, &reason);
    }

    /// The server is out until it is rebuilt. Gives the reason.
    fn note_diverged(&self, id: BackendId, setback: &Setback) -> String {
        let reason = setback.to_string();
        if let Setback::Differs(_) = setback {
            self.must_be_rebuilt(id, &reason);
        }
        self.set_status(id, MemberState::Diverged, &reason);
        reason
    }

    /// The new state's time is that of the change; only words leave it as it was.
    fn change_status(&self, id: BackendId, state: MemberState, reason: &str) {
        let mut status = self.member(id).status.lock().unwrap_or_else(PoisonError::into_inner);
        if status.0 == state {
            reason.clone_into(&mut status.2);
            return;
        }
        drop(status);
        self.set_status(id, state, reason);
    }

    /// The server holds everything up to here, which was written at this time if that is known (in microseconds since 1970).
    pub(crate) fn note_position(&self, id: BackendId, position: Position, unix_micros: Option<u64>) {
        let mut progress = self.member(id).progress.lock().unwrap_or_else(PoisonError::into_inner);
        progress.position = Some(position);
        progress.unix_micros = unix_micros.or(progress.unix_micros);
    }

    fn note_began(&self, id: BackendId, position: Position) {
        let mut progress = self.member(id).progress.lock().unwrap_or_else(PoisonError::into_inner);
        progress.position = Some(position);
        progress.began = Some((self.world.clock().now(), position));
    }
}
