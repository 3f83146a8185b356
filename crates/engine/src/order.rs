//! Lead epochs: the barrier between the statements of one lead and those of the next.
//!
//! Invariant: no statement is sent to a new lead before every follower has executed what the old lead had already answered. Otherwise
//! a statement could run on the new lead ahead of one that it waited for on the old one. A [`Share`] is held by each statement
//! from before it is sent to the lead until the last follower has executed it.

use crate::io::BackendId;
use grove_recovery_log::Position;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Notify;

#[derive(Default)]
struct State {
    epoch: u64,
    lead: Option<BackendId>,
    /// Statements on their way, by the epoch in which they began.
    outstanding: BTreeMap<u64, usize>,
}

/// The current lead and the statements on their way under it.
#[derive(Default)]
pub(crate) struct Order {
    state: Mutex<State>,
    changed: Notify,
}

impl Order {
    pub fn appoint(&self, lead: BackendId) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.lead != Some(lead) {
            state.epoch += 1;
            state.lead = Some(lead);
        }
        drop(state);
        self.changed.notify_waiters();
    }

    /// Waits until no statement of an earlier lead is on its way, then begins one under the current lead.
    pub async fn enter(self: &Arc<Self>) -> (Arc<Share>, BackendId) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            {
                let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
                let epoch = state.epoch;
                let earlier = state.outstanding.range(..epoch).next().is_some();
                if let (false, Some(lead)) = (earlier, state.lead) {
                    *state.outstanding.entry(epoch).or_default() += 1;
                    return (
                        Arc::new(Share {
                            order: Arc::clone(self),
                            epoch,
                        }),
                        lead,
                    );
                }
            }
            changed.await;
        }
    }
}

/// One statement on its way; dropped when it has been executed everywhere.
pub(crate) struct Share {
    order: Arc<Order>,
    epoch: u64,
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut state = self.order.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = state.outstanding.get_mut(&self.epoch) {
            *count -= 1;
            if *count == 0 {
                state.outstanding.remove(&self.epoch);
                drop(state);
                self.order.changed.notify_waiters();
            }
        }
    }
}

/// Commits that are decided but not yet executed on every server. A session that moves to another server waits for those that
/// were decided before, so that it never sees time go backwards.
#[derive(Default)]
pub(crate) struct CommitsUnderWay {
    state: Mutex<(u64, BTreeMap<u64, ()>)>,
    ended: Notify,
    newest_sent: AtomicU64,
}

impl CommitsUnderWay {
    /// The unit at this position of the log is about to be committed on the lead, or is committed there already.
    pub fn sent(&self, position: Position) {
        self.newest_sent.fetch_max(position, Ordering::SeqCst);
    }

    /// The highest position for which [`Self::sent`] was called. A statement that has just completed on the lead may have waited for locks of
    /// units up to there, and for none behind it.
    pub fn newest_sent(&self) -> Position {
        self.newest_sent.load(Ordering::SeqCst)
    }

    pub fn begin(self: &Arc<Self>) -> CommitUnderWay {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.0 += 1;
        let ticket = state.0;
        state.1.insert(ticket, ());
        CommitUnderWay {
            commits: Arc::clone(self),
            ticket,
        }
    }

    pub async fn settled(&self) {
        let horizon = self.state.lock().unwrap_or_else(PoisonError::into_inner).0;
        loop {
            let ended = self.ended.notified();
            tokio::pin!(ended);
            ended.as_mut().enable();
            let oldest = self
                .state
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .1
                .first_key_value()
                .map(|(k, _)| *k);
            if oldest.is_none_or(|ticket| ticket > horizon) {
                return;
            }
            ended.await;
        }
    }
}

pub(crate) struct CommitUnderWay {
    commits: Arc<CommitsUnderWay>,
    ticket: u64,
}

impl Drop for CommitUnderWay {
    fn drop(&mut self) {
        self.commits
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .1
            .remove(&self.ticket);
        self.commits.ended.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn a_new_lead_waits_for_the_old_leads_statements() {
        let order = Arc::new(Order::default());
        order.appoint(BackendId(0));
        let (old, lead) = order.enter().await;
        assert_eq!(lead, BackendId(0));
        order.appoint(BackendId(1));
        let waiting = tokio::time::timeout(Duration::from_secs(1), order.enter()).await;
        assert!(
            waiting.is_err(),
            "entered the new epoch while an old statement was on its way"
        );
        drop(old);
        assert_eq!(order.enter().await.1, BackendId(1));
    }

    #[tokio::test(start_paused = true)]
    async fn settled_waits_only_for_commits_that_began_before() {
        let commits = Arc::new(CommitsUnderWay::default());
        let first = commits.begin();
        let second = Arc::clone(&commits);
        let settled = tokio::spawn(async move { second.settled().await });
        tokio::task::yield_now().await;
        let _later = commits.begin();
        assert!(!settled.is_finished());
        drop(first);
        tokio::time::timeout(Duration::from_secs(1), settled)
            .await
            .unwrap()
            .unwrap();
    }
}
