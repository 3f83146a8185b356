//! What a session is doing right now, so that `KILL QUERY` can reach it.
//!
//! Invariant: a kill reaches only the client's own statement. While one is on its way to the server the session does not send the
//! next statement, because the server would apply the kill to that one instead: [`Running::end`] waits for it.

use crate::group::Group;
use crate::io::{BackendId, Clock, KillKind, LegError, Phase, Servers, World};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// Between two questions whether a statement has begun to work.
const OPENING_PAUSE: Duration = Duration::from_millis(5);
/// A statement that opens its tables for longer does not do so by itself: something holds it up, and it must be stopped.
const LONGEST_OPENING: Duration = Duration::from_secs(5);

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
    /// A kill was sent to the server, which has not answered: it may still come.
    KillUnanswered,
}

/// What became of the kills of a statement that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kill {
    None,
    /// The server may hold it for its next command.
    Delivered,
    /// It may come at any time, so the connection cannot be used again.
    Unanswered,
}

/// What the session is doing. Shared between the session and its interrupters only.
#[derive(Debug)]
pub(crate) struct Running {
    activity: Mutex<Activity>,
    changed: Notify,
    /// The server whose rows are on their way to the client, by its number and one, or 0.
    reads_on: AtomicU32,
}

impl Default for Running {
    fn default() -> Self {
        Self {
            activity: Mutex::new(Activity::Idle),
            changed: Notify::new(),
            reads_on: AtomicU32::new(0),
        }
    }
}

impl Running {
    /// The client's statement begins on a server.
    pub fn begin_statement(&self, backend: BackendId, thread_id: u32) {
        self.set(Activity::Statement(backend, thread_id));
    }

    /// A read begins on a server, or has ended.
    pub fn note_read(&self, backend: Option<BackendId>) {
        let number = backend.map_or(0, |backend| u32::from(backend.0) + 1);
        self.reads_on.store(number, Ordering::Relaxed);
    }

    /// Whether a read is under way there.
    pub fn reads_on(&self, backend: BackendId) -> bool {
        self.reads_on.load(Ordering::Relaxed) == u32::from(backend.0) + 1
    }

    /// The client's statement begins to wait for a gate.
    pub fn begin_gate(&self) {
        self.set(Activity::Gate);
    }

    /// The statement has ended. Waits while a kill is on its way.
    pub async fn end(&self) -> Kill {
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
                        return match ended {
                            Activity::Killed => Kill::Delivered,
                            Activity::KillUnanswered => Kill::Unanswered,
                            _ => Kill::None,
                        };
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
                Activity::Idle | Activity::Killing | Activity::Killed | Activity::KillUnanswered => return,
            }
        };
        let Some((backend, thread_id)) = target else {
            self.running.changed.notify_waiters();
            return;
        };
        let mut delivery = Delivery {
            running: &self.running,
            result: Activity::KillUnanswered,
        };
        match kill_statement(&self.group, backend, thread_id).await {
            Ok(true) => delivery.result = Activity::Killed,
            Ok(false) => delivery.result = Activity::Statement(backend, thread_id),
            Err(error) => tracing::warn!(backend = self.group.name(backend), %error, "a kill was not answered"),
        }
    }
}

/// Stops the statement that a connection runs, once it works: see [`Phase`]. Nobody may begin another statement there meanwhile. False if there was
/// nothing to stop, or if that is not known. An error says that a kill was sent and not answered: it may still come and hit what runs there then, so the connection cannot be used again.
pub(crate) async fn kill_statement<W: World>(
    group: &Group<W>,
    backend: BackendId,
    thread_id: u32,
) -> Result<bool, LegError> {
    let (clock, servers) = (group.world.clock(), group.world.servers());
    let begun = clock.now();
    let mut was_idle = false;
    loop {
        match servers.phase(backend, thread_id).await {
            Ok(Phase::Idle) if was_idle => return Ok(false),
            // It may not have read the statement yet, which is on its way.
            Ok(Phase::Idle) => was_idle = true,
            Ok(Phase::Opening) if clock.now().saturating_sub(begun) < LONGEST_OPENING => {}
            Ok(Phase::Opening | Phase::Working) => {
                return servers.kill(backend, thread_id, KillKind::Query).await.map(|()| true);
            }
            Err(error) => {
                tracing::warn!(backend = group.name(backend), %error, "a statement is not killed: what it does is not known");
                return Ok(false);
            }
        }
        clock.sleep(OPENING_PAUSE).await;
    }
}

/// Says what became of the kill, also when the interrupter's future is dropped: the session must not wait for ever.
struct Delivery<'a> {
    running: &'a Running,
    result: Activity,
}

impl Drop for Delivery<'_> {
    fn drop(&mut self) {
        self.running.set(self.result);
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
        drop(Delivery {
            running: &running,
            result: Activity::Killed,
        });
        assert_eq!(ending.await.unwrap(), Kill::Delivered);
        assert_eq!(
            running.end().await,
            Kill::None,
            "the kill is forgotten with its statement"
        );
    }
}
