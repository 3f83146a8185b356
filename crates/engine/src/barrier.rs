//! Where a server joins: an instant at which no commit is between its choice of servers and its place in the log.
//!
//! Whatever commits passes the barrier before it looks which servers are in the group, and is through when the log has it. Whoever wants to add a server
//! closes the barrier for a moment: what was decided before is in the log then and is replayed, what comes later finds the server in the group.
//! Statements that commit by themselves may be inside for long (an ALTER), so the barrier is not closed before they are through.

use crate::io::Clock;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

#[derive(Debug, Default)]
struct State {
    is_closed: bool,
    inside: usize,
    /// Those among them that may take long.
    long: usize,
}

/// The barrier.
#[derive(Debug, Default)]
pub(crate) struct Barrier {
    state: Mutex<State>,
    changed: Notify,
}

/// How long somebody stays inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stay {
    /// As long as the log takes.
    Short,
    /// As long as a statement takes.
    Long,
}

impl Barrier {
    /// Goes in. Waits while the barrier is closed.
    pub async fn pass(self: &Arc<Self>, stay: Stay) -> Pass {
        self.when(|state| {
            if state.is_closed {
                return false;
            }
            state.inside += 1;
            state.long += usize::from(stay == Stay::Long);
            true
        })
        .await;
        Pass {
            barrier: Arc::clone(self),
            stay,
        }
    }

    /// Waits until nobody is inside who may take long, then closes and waits up to `limit` until nobody is inside at all. `None` if that was not
    /// enough; the barrier is open again then.
    pub async fn close<C: Clock>(self: &Arc<Self>, clock: &C, limit: Duration) -> Option<Closed> {
        self.when(|state| {
            let free = state.long == 0 && !state.is_closed;
            state.is_closed |= free;
            free
        })
        .await;
        let closed = Closed {
            barrier: Arc::clone(self),
        };
        tokio::select! {
            biased;
            () = self.when(|state| state.inside == 0) => Some(closed),
            () = clock.sleep(limit) => None,
        }
    }

    /// Waits until `attempt` succeeds. Dropping the future loses nothing.
    async fn when(&self, mut attempt: impl FnMut(&mut State) -> bool) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if attempt(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner)) {
                return;
            }
            changed.await;
        }
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_waiters();
    }
}

/// Somebody is inside; out when dropped.
#[derive(Debug)]
pub(crate) struct Pass {
    barrier: Arc<Barrier>,
    stay: Stay,
}

impl Drop for Pass {
    fn drop(&mut self) {
        let long = usize::from(self.stay == Stay::Long);
        let mut state = self.barrier.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.inside -= 1;
        state.long -= long;
        // Nobody waits for those who leave, but one who closes or wants to.
        let is_awaited = state.is_closed || state.long == 0;
        drop(state);
        if is_awaited {
            self.barrier.changed.notify_waiters();
        }
    }
}

/// Nobody is inside, nor comes in, until this is dropped.
#[derive(Debug)]
pub(crate) struct Closed {
    barrier: Arc<Barrier>,
}

impl Drop for Closed {
    fn drop(&mut self) {
        self.barrier.change(|state| state.is_closed = false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct TokioClock;

    impl Clock for TokioClock {
        fn now(&self) -> Duration {
            Duration::ZERO
        }

        fn unix_micros(&self) -> u64 {
            0
        }

        async fn sleep(&self, duration: Duration) {
            tokio::time::sleep(duration).await;
        }
    }

    const LIMIT: Duration = Duration::from_millis(100);
    const LONGER: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn nobody_comes_in_while_it_is_closed() {
        let barrier = Arc::new(Barrier::default());
        let closed = barrier.close(&TokioClock, LIMIT).await.unwrap();
        let passing = tokio::time::timeout(LONGER, barrier.pass(Stay::Short)).await;
        assert!(passing.is_err());
        drop(closed);
        barrier.pass(Stay::Short).await;
    }

    #[tokio::test(start_paused = true)]
    async fn it_opens_again_when_somebody_stays_inside() {
        let barrier = Arc::new(Barrier::default());
        let inside = barrier.pass(Stay::Short).await;
        assert!(barrier.close(&TokioClock, LIMIT).await.is_none());
        barrier.pass(Stay::Short).await;
        drop(inside);
        assert!(barrier.close(&TokioClock, LIMIT).await.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn others_pass_while_it_waits_for_one_that_takes_long() {
        let barrier = Arc::new(Barrier::default());
        let long = barrier.pass(Stay::Long).await;
        let closing = {
            let barrier = Arc::clone(&barrier);
            tokio::spawn(async move { barrier.close(&TokioClock, LIMIT).await.is_some() })
        };
        tokio::time::sleep(LONGER).await;
        barrier.pass(Stay::Short).await;
        assert!(!closing.is_finished());
        drop(long);
        assert!(closing.await.unwrap());
    }
}
