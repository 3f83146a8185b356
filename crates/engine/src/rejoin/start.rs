//! Grove starts: every server that answers is brought to the log's end before a client is served, and servers that have followed no log are taken in by a
//! new one.
//!
//! With an empty log the servers are believed to be equal, unless they themselves say otherwise: then nobody can know which of them is right.

use super::Setback;
use crate::group::Group;
use crate::io::{BackendId, Clock, Entropy, LegError, Servers, World};
use crate::member::{MemberState, Wish};
use crate::position_rows::{Fence, Standing};
use crate::settings::FirstStart;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use grove_recovery_log::{Entry, LogId, MembershipCause, MembershipChange, Position};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Between two attempts to take a server in.
const PAUSE_AT_START: Duration = Duration::from_millis(100);

impl<W: World> Group<W> {
    /// Brings the servers that answer to the end of the log. Waits for all of them until `deadline`, and then until one is there. Gives the last reason why one
    /// is not.
    pub(crate) async fn recover(self: &Arc<Self>, deadline: Duration) -> Option<LegError> {
        let ids = (0..).map(BackendId).take(self.member_count());
        let ids: Vec<BackendId> = ids.filter(|&id| self.may_take_part(id)).collect();
        match self.log.last_position() {
            0 => self.adopt_all(&ids, deadline).await,
            _ => self.replay_all(&ids, deadline).await,
        }
    }

    /// Whether a server is to be in the group from the beginning. Where it is not, its state says why.
    fn may_take_part(&self, id: BackendId) -> bool {
        let member = self.member(id);
        match (member.wish(), member.unfit()) {
            (Wish::TakePart, None) => return true,
            (Wish::TakePart, Some(reason)) => self.set_status(id, MemberState::Diverged, &reason),
            (Wish::StayOut(reason), _) => self.note_disabled(id, &reason),
            (Wish::Rebuild(_), _) => self.set_status(
                id,
                MemberState::Rebuilding,
                "was to be rebuilt when Grove ended; waits for its copy to begin",
            ),
        }
        false
    }

    /// Each server is replayed as soon as it answers: one that is away does not keep those that are there from being online when clients are served.
    async fn replay_all(self: &Arc<Self>, ids: &[BackendId], deadline: Duration) -> Option<LegError> {
        let mut failure = None;
        let attempts = ids.iter().map(|&id| async move {
            let contact = self.contact(id, deadline).await;
            match contact {
                Ok(()) => self.attempt(id).await.map_err(|setback| self.stays_out(id, setback)),
                Err(error) => Err(error),
            }
        });
        let mut attempts: FuturesUnordered<_> = attempts.collect();
        loop {
            let may_go_on = !self.view().online.is_empty() && self.world.clock().now() >= deadline;
            if may_go_on {
                // The others go on from where they are, under traffic.
                return failure;
            }
            let left = deadline
                .saturating_sub(self.world.clock().now())
                .max(Duration::from_millis(50));
            let ended = tokio::select! {
                biased;
                ended = attempts.next() => ended,
                () = self.world.clock().sleep(left) => continue,
            };
            match ended {
                Some(Ok(())) => {}
                Some(Err(error)) => failure = Some(error),
                None => return failure,
            }
        }
    }

    fn stays_out(&self, id: BackendId, setback: Setback) -> LegError {
        let (name, reason) = (self.name(id), setback.to_string());
        tracing::error!(backend = name, reason, "server stays out of the group");
        match setback {
            Setback::Rebuild(_) | Setback::Differs(_) => {
                self.note_diverged(id, &setback);
            }
            Setback::Lost(_) | Setback::Later(_) => self.set_status(id, MemberState::Failed, &reason),
        }
        let remedy = match setback {
            Setback::Rebuild(_) => {
                "; if the servers are known to be equal, move the directory of the recovery log away and start with an empty one"
            }
            _ => "",
        };
        LegError::Lost(format!("{name}: {reason}{remedy}"))
    }

    /// A new log: every server takes part in it from its beginning.
    async fn adopt_all(self: &Arc<Self>, ids: &[BackendId], deadline: Duration) -> Option<LegError> {
        let mut failure = None;
        let mut present = Vec::new();
        let contacts = ids.iter().map(|&id| self.contact(id, deadline));
        for (&id, contact) in ids.iter().zip(futures_util::future::join_all(contacts).await) {
            match contact {
                Ok(()) => present.push(id),
                Err(error) => failure = Some(error),
            }
        }
        let log = self.log.id()?;
        let asked = present
            .iter()
            .map(|&id| async move { (id, self.until(deadline, || self.ask_standing(id)).await) });
        let mut standings = Vec::new();
        for (id, standing) in futures_util::future::join_all(asked).await {
            match standing {
                Ok(standing) => standings.push((id, standing)),
                Err(error) => failure = Some(self.stays_out(id, error.into())),
            }
        }
        let chosen = match &self.settings.first_start {
            FirstStart::Copy(name) => self.only_right(name, ids, &standings),
            FirstStart::Compare | FirstStart::Trust => self.all_of_one_log(&standings),
        };
        let equal = match chosen {
            Ok(equal) => equal,
            Err(error) => return Some(error),
        };
        if let Err(error) = self.examine_all(&equal).await {
            return Some(error);
        }
        if self.settings.first_start == FirstStart::Compare
            && let Err(error) = self.hold_the_same(&equal).await
        {
            return Some(error);
        }
        for id in equal {
            match self.until(deadline, || self.adopt(id, log)).await {
                Ok(fence) => self.admit(id, Some(fence), "answered at start"),
                Err(error) => failure = Some(self.stays_out(id, error.into())),
            }
        }
        failure
    }

    /// Refuses servers of which one has followed a log further than another one.
    fn all_of_one_log(&self, standings: &[(BackendId, Standing)]) -> Result<Vec<BackendId>, LegError> {
        let mut known = standings.iter().filter(|(_, standing)| standing.log.is_some());
        if let Some((first, before)) = known.next()
            && let Some((id, standing)) = known.find(|(_, standing)| standing != before)
        {
            return Err(LegError::Unsuitable(format!(
                "the recovery log is empty, and the servers do not hold the same of the one before: {} holds {}, {} holds {}. Start with the log \
                 that they have followed, or drop the schema `_grove` on all of them once they are known to be equal",
                self.name(*first),
                words(before),
                self.name(*id),
                words(standing)
            )));
        }
        Ok(standings.iter().map(|(id, _)| *id).collect())
    }

    /// The server that an operator has named as the right one, alone. All others become copies of it, as soon as it serves, unless one may hold something that it
    /// lacks.
    fn only_right(
        &self,
        name: &str,
        wanted: &[BackendId],
        standings: &[(BackendId, Standing)],
    ) -> Result<Vec<BackendId>, LegError> {
        let unsuitable = |reason: String| {
            Err(LegError::Unsuitable(format!(
                "the recovery log is empty, and the other servers are to become copies of {name} (recovery_log.first_start), but {reason}"
            )))
        };
        let Some((right, best)) = standings.iter().find(|(id, _)| self.name(*id) == name) else {
            return unsuitable(format!("{name} does not answer"));
        };
        for &id in wanted {
            let other = self.name(id);
            let Some((_, standing)) = standings.iter().find(|(known, _)| *known == id) else {
                return unsuitable(format!(
                    "{other} does not answer, so nobody knows whether it holds something newer: start it, or take it out of the configuration"
                ));
            };
            let lacks = standing.log != best.log || standing.newest() > best.newest();
            if standing.log.is_some() && lacks {
                return unsuitable(format!(
                    "{other} holds {}, and {name} holds {}. If what {other} holds may be lost, drop the schema `_grove` there; otherwise start with the log that it \
                     has followed, or name another server",
                    words(standing),
                    words(best)
                ));
            }
        }
        let right = *right;
        for id in (0..).map(BackendId).take(self.member_count()) {
            if id != right && self.member(id).wish() == Wish::TakePart {
                let reason = format!("is to become a copy of {name} (recovery_log.first_start)");
                self.set_status(id, MemberState::Rebuilding, &reason);
                self.member(id).wish.send_replace(Wish::Rebuild(Some(right)));
            }
        }
        Ok(vec![right])
    }

    /// Compares all servers with the first. Nobody knows which of them is right if they differ.
    async fn hold_the_same(&self, servers: &[BackendId]) -> Result<(), LegError> {
        let Some((&first, others)) = servers.split_first() else {
            return Ok(());
        };
        if others.is_empty() {
            return Ok(());
        }
        tracing::info!("the servers are compared, because the recovery log is empty (recovery_log.first_start)");
        let began = self.world.clock().now();
        let compared = others.iter().map(|&other| async move {
            let differences = self.world.servers().differences(first, other).await;
            (other, differences)
        });
        for (other, differences) in futures_util::future::join_all(compared).await {
            let (first, other) = (self.name(first), self.name(other));
            let reason = match differences {
                Ok(differences) if differences.is_empty() => continue,
                Ok(differences) => differences.join("; "),
                Err(error) => format!("they cannot be compared: {error}"),
            };
            return Err(LegError::Unsuitable(format!(
                "the recovery log is empty, and {other} does not hold the same as {first}: {reason}. Set recovery_log.first_start to the name of the server that \
                 is right: the others become copies of it. Or set it to trust, if you know better"
            )));
        }
        let took = self.world.clock().now().saturating_sub(began);
        tracing::info!(?took, "all servers hold the same");
        Ok(())
    }

    /// Tries again until `deadline`: a server that is left out now has to be rebuilt.
    async fn until<T, F: Future<Output = Result<T, LegError>>>(
        &self,
        deadline: Duration,
        attempt: impl Fn() -> F,
    ) -> Result<T, LegError> {
        loop {
            match attempt().await {
                Err(LegError::Lost(_) | LegError::Timeout(_)) if self.world.clock().now() < deadline => {
                    self.world.clock().sleep(PAUSE_AT_START).await;
                }
                result => return result,
            }
        }
    }

    async fn ask_standing(&self, id: BackendId) -> Result<Standing, LegError> {
        let mut rows = self.open_position_rows(id, CancellationToken::new()).await?;
        rows.prepare().await?;
        self.world.servers().may_permit_marks(id).await?;
        rows.read().await
    }

    async fn adopt(&self, id: BackendId, log: LogId) -> Result<Fence, LegError> {
        let fence = Fence::random(self.world.entropy().next_u64());
        self.world.servers().expel(id, &self.accounts.names()).await?;
        let mut rows = self.open_position_rows(id, CancellationToken::new()).await?;
        rows.raise(fence).await?;
        rows.adopt(log, 0).await?;
        self.note_position(id, 0, None);
        Ok(fence)
    }

    /// A server that holds all of the log takes part again, unless an operator has just begun to want something else. The barrier is closed.
    pub(super) async fn admit_again(&self, id: BackendId, fence: Fence, position: Position) -> Result<(), Setback> {
        {
            let _one_at_a_time = self.commanding.lock().unwrap_or_else(PoisonError::into_inner);
            let member = self.member(id);
            if !self.is_online(id) && (member.wish() != Wish::TakePart || member.unfit().is_some()) {
                return Err(Setback::Later("it is wanted otherwise".into()));
            }
            self.admit(id, Some(fence), &format!("holds everything up to entry {position}"));
            member.owes.store(false, Ordering::SeqCst);
        }
        let view = self.view();
        tracing::info!(
            backend = self.name(id),
            position,
            epoch = view.epoch,
            "server is online"
        );
        let change = MembershipChange {
            epoch: view.epoch,
            lead: self.name(view.lead).to_owned(),
            online: self.names(&view.online),
            cause: MembershipCause::Joined {
                server: self.name(id).to_owned(),
            },
        };
        if let Err(error) = self.log.append(Entry::Membership(change)).await {
            tracing::error!(%error, "membership change is not in the log");
        }
        Ok(())
    }

    /// The last server, which stays in the group whatever happens, has not confirmed what is decided. All its legs are given up, and it is brought to the log's end
    /// before anybody goes on there.
    pub(crate) fn owes(&self, id: BackendId, reason: &str) {
        if self.log.id().is_none() {
            return;
        }
        tracing::error!(
            backend = self.name(id),
            reason,
            "the last server must be brought to the end of the log"
        );
        let member = self.member(id);
        member.owes.store(true, Ordering::SeqCst);
        member.gone.load().cancel();
        self.set_status(id, MemberState::Unreachable, reason);
    }

    /// Whether the server is in the group and must first be brought to the log's end.
    pub(crate) fn owes_something(&self, id: BackendId) -> bool {
        self.member(id).owes.load(Ordering::SeqCst)
    }

    /// Brings the last server to the log's end where it is.
    pub(crate) async fn settle_debt(self: &Arc<Self>, id: BackendId) {
        while self.owes_something(id) {
            match self.attempt(id).await {
                Ok(()) => return,
                Err(setback) => {
                    let reason = format!("the last server must be brought to the end of the log: {setback}");
                    tracing::error!(backend = self.name(id), reason);
                    self.set_status(id, MemberState::Unreachable, &reason);
                }
            }
            self.world.clock().sleep(self.settings.rejoin_pause).await;
        }
    }
}

fn words(standing: &Standing) -> String {
    let log = standing
        .log
        .map_or_else(|| "no log".to_owned(), |log| format!("log {log}"));
    match standing.applied.len() {
        0 => format!("all of {log} up to entry {}", standing.prefix),
        more => format!(
            "{log} up to entry {} and {more} entries up to {}",
            standing.prefix,
            standing.newest()
        ),
    }
}
