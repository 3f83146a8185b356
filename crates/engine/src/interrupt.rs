//! What a session is doing right now, so that `KILL QUERY` can reach it.
//!
//! Invariant: a kill reaches only the client's own statement. While one is on its way to the server the session does not send the
//! next statement, because the server would apply the kill to that one instead: [`Running::end`] waits for it.

use crate::group::Group;
use crate::io::{BackendId, KillKind, Servers, World};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Notify;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Activity {
    Idle,
    /// On a server, by its connection id.
    Statement(BackendId, u32),
    /// In a gate's queue, inside Grove.
    Gate,
    /// A kill is on its way to the server.
    Killing,
    /// A kill has been delivered, to the server or to the gate's queue.
    Killed,
}

/// What the session is doing. Shared between the session and its interrupters only.
#[derive(Debug)]
pub(crate) struct Running {
    activity: Mutex<Activity>,
    changed: Notify,
}

impl Default for Running {
    fn default() -> Self {
        Self {
            activity: Mutex::new(Activity::Idle),
            changed: Notify::new(),
        }
    }
}

impl Running {
    /// The client's statement begins on a server.
    pub fn begin_statement(&self, backend: BackendId, thread_id: u32) {
        self.set(Activity::Statement(backend, thread_id));
    }

    /// The client's statement begins to wait for a gate.
    pub fn begin_gate(&self) {
        self.set(Activity::Gate);
    }

    /// The statement has ended. Waits while a kill is on its way; true if one was delivered, so that the server may still hold it.
    pub async fn end(&self) -> bool {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            {
                let mut activity = self.lock();
                match *activity {
                    Activity::Killing => {}
                    ended => {
                        *activity = Activity::Idle;
                        return ended == Activity::Killed;
                    }
                }
            }
            changed.await;
        }
    }

    /// Completes when the statement itself is on the server, after whatever precedes it. Dropping the future loses nothing.
    pub async fn statement_began(&self) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if matches!(*self.lock(), Activity::Statement(..)) {
                return;
            }
            changed.await;
        }
    }

    /// Completes when a kill was delivered. Dropping the future loses nothing.
    pub async fn killed(&self) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if *self.lock() == Activity::Killed {
                return;
            }
            changed.await;
        }
    }

    fn set(&self, activity: Activity) {
        *self.lock() = activity;
        self.changed.notify_waiters();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Activity> {
        self.activity.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Stops what one session is running; held by whoever may kill it.
pub struct Interrupter<W: World> {
    group: Arc<Group<W>>,
    running: Arc<Running>,
}

impl<W: World> Clone for Interrupter<W> {
    fn clone(&self) -> Self {
        Self {
            group: Arc::clone(&self.group),
            running: Arc::clone(&self.running),
        }
    }
}

impl<W: World> Interrupter<W> {
    pub(crate) fn new(group: Arc<Group<W>>, running: Arc<Running>) -> Self {
        Self { group, running }
    }

    /// Stops the client's statement that is running now, if any: it ends with 1317. Bounded by the servers' own time limit for a kill.
    pub async fn interrupt(&self) {
        let target = {
            let mut activity = self.running.lock();
            match *activity {
                Activity::Statement(backend, thread_id) => {
                    *activity = Activity::Killing;
                    Some((backend, thread_id))
                }
                Activity::Gate => {
                    *activity = Activity::Killed;
                    None
                }
                Activity::Idle | Activity::Killing | Activity::Killed => return,
            }
        };
        let delivery = Delivery(&self.running);
        if let Some((backend, thread_id)) = target {
            let killed = self
                .group
                .world
                .servers()
                .kill(backend, thread_id, KillKind::Query)
                .await;
            if let Err(error) = killed {
                tracing::warn!(backend = self.group.name(backend), %error, "a statement could not be killed");
            }
        }
        drop(delivery);
    }
}

/// Marks the kill as delivered, also when the interrupter's future is dropped: the session must not wait for ever.
struct Delivery<'a>(&'a Running);

impl Drop for Delivery<'_> {
    fn drop(&mut self) {
        self.0.set(Activity::Killed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn a_statement_does_not_end_while_a_kill_is_on_its_way() {
        let running = Arc::new(Running::default());
        running.begin_statement(BackendId(0), 7);
        running.set(Activity::Killing);
        let ending = {
            let running = Arc::clone(&running);
            tokio::spawn(async move { running.end().await })
        };
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(!ending.is_finished());
        drop(Delivery(&running));
        assert!(ending.await.unwrap(), "the session must know that a kill was delivered");
        assert!(!running.end().await, "the kill is forgotten with its statement");
    }
}
