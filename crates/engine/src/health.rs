//! Whether servers answer: probes of each, and one verdict for all sessions when a connection broke.

use crate::group::Group;
use crate::io::{BackendId, Clock, LegError, Servers, World};
use crate::member::{Finding, MemberState, Wish};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Pause between probes of the last server while it does not answer.
const PAUSE_BETWEEN_LAST_HOPES: Duration = Duration::from_millis(100);

/// What verification found out about a server on which a connection broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It answers.
    Alive,
    /// It has left the group.
    Evicted,
}

impl<W: World> Group<W> {
    /// Finds out whether a server on which a connection broke still answers; evicts it if not. The last server is waited for instead.
    pub(crate) async fn verify(&self, id: BackendId, error: &LegError) -> Result<Verdict, String> {
        if !self.is_online(id) {
            return Ok(Verdict::Evicted);
        }
        let asked_at = self.world.clock().now();
        let deadline = asked_at + self.settings.no_backend_wait;
        let mut newest = self.member(id).verification.lock().await;
        if !self.is_online(id) {
            return Ok(Verdict::Evicted);
        }
        if self.owes_something(id) {
            self.wait_for_settlement(id).await;
        }
        loop {
            // A finding that is newer than the question answers it, so that many sessions ask only once.
            match &*newest {
                Some((at, Finding::Answers)) if *at >= asked_at => return Ok(Verdict::Alive),
                Some((at, Finding::Silent(reason))) if *at >= deadline => {
                    let name = self.name(id);
                    return Err(format!("{name} is the last server and does not answer: {reason}"));
                }
                _ => {}
            }
            let finding = match self.world.servers().probe(id).await {
                Ok(_) => {
                    self.reachable_again(id);
                    Finding::Answers
                }
                Err(probe_error) => {
                    let reason = format!("{error}; then: {probe_error}");
                    if self.evict(id, &reason) {
                        return Ok(Verdict::Evicted);
                    }
                    self.unreachable(id, &reason);
                    self.world.clock().sleep(PAUSE_BETWEEN_LAST_HOPES).await;
                    Finding::Silent(reason)
                }
            };
            *newest = Some((self.world.clock().now(), finding));
        }
    }

    /// The last server does not answer. Those who wait for it go on waiting, because a server that hangs may go on where it stopped; after
    /// `no_backend_wait` they are told.
    fn unreachable(&self, id: BackendId, reason: &str) {
        let (status, since, _) = self
            .member(id)
            .status
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        if status == MemberState::Online {
            tracing::error!(backend = self.name(id), reason, "the last server does not answer");
            self.set_status(id, MemberState::Unreachable, reason);
        } else if status == MemberState::Unreachable {
            let silent = self.world.clock().unix_micros().saturating_sub(since);
            if Duration::from_micros(silent) >= self.settings.no_backend_wait {
                self.member(id).gone.load().cancel();
            }
        }
    }

    fn reachable_again(&self, id: BackendId) {
        let status = self.member(id).status.lock().unwrap_or_else(PoisonError::into_inner).0;
        if status == MemberState::Unreachable {
            tracing::warn!(backend = self.name(id), "the last server answers again");
            if self.gone(id).is_cancelled() {
                self.member(id).gone.store(Arc::new(CancellationToken::new()));
            }
            self.set_status(id, MemberState::Online, "answers again");
        }
    }

    /// Probes one server while it is online, and brings it back when it is not; ends when `stop` is cancelled, or when a server is out of a group whose
    /// log is of no use to it. One task per server.
    pub async fn watch(self: Arc<Self>, id: BackendId, stop: CancellationToken) {
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = self.probe_while_online(id) => {}
            }
            if self.log.id().is_none() {
                return;
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = self.bring_back(id) => {}
            }
        }
    }

    /// Dropping the future leaves nothing half done.
    async fn probe_while_online(self: &Arc<Self>, id: BackendId) {
        let mut wishes = self.member(id).wish.subscribe();
        while self.is_online(id) {
            if self.owes_something(id) {
                self.settle_debt(id).await;
            }
            let wish = wishes.borrow_and_update().clone();
            if let Wish::StayOut(reason) = wish {
                self.leave(id, &reason).await;
                continue;
            }
            tokio::select! {
                biased;
                _ = wishes.changed() => continue,
                () = self.world.clock().sleep(self.settings.probe_interval) => {}
            }
            let began = self.world.clock().now();
            let member = self.member(id);
            match self.world.servers().probe(id).await {
                Ok(facts) => {
                    let took = self.world.clock().now().saturating_sub(began).as_micros() as u64;
                    let before = member.latency_us.load(Ordering::Relaxed);
                    member.latency_us.store((before * 7 + took) / 8, Ordering::Relaxed);
                    member.failed_probes.store(0, Ordering::Relaxed);
                    *member.facts.lock().unwrap_or_else(PoisonError::into_inner) = Some(facts);
                    self.reachable_again(id);
                }
                Err(error) => {
                    let failures = member.failed_probes.fetch_add(1, Ordering::Relaxed) + 1;
                    tracing::warn!(backend = self.name(id), failures, %error, "probe failed");
                    let reason = format!("{failures} probes in a row failed: {error}");
                    if failures >= self.settings.probe_failures && !self.evict(id, &reason) {
                        self.unreachable(id, &reason);
                    }
                }
            }
        }
    }

    /// Waits up to `no_backend_wait` until the last server has been brought to the log's end.
    pub(crate) async fn wait_for_settlement(&self, backend: BackendId) {
        let deadline = self.world.clock().now() + self.settings.no_backend_wait;
        while self.owes_something(backend) && self.world.clock().now() < deadline {
            self.world.clock().sleep(PAUSE_BETWEEN_LAST_HOPES).await;
        }
    }
}
