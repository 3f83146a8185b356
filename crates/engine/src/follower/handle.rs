//! The session's side of a follower: a queue of statements, and the ways to take the leg back.
//!
//! Invariant: a leg that is taken back can no longer be told to start over. So a session that wants all its legs back drains all of them first
//! (they can still give way to others meanwhile), and then takes them back without waiting; see `Session::gather`.

use super::{Executed, Follower};
use crate::io::World;
use crate::order::Share;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::{mpsc, oneshot};

pub(super) enum Job {
    Execute(Arc<Executed>, Arc<Share>),
    /// Answered when everything before it is executed; the follower goes on.
    Drain(oneshot::Sender<()>),
    /// The follower ends when everything before it is executed.
    Reclaim(oneshot::Sender<()>),
}

/// The session's handle of a follower's task.
pub(crate) struct FollowerHandle<W: World> {
    jobs: mpsc::UnboundedSender<Job>,
    task: tokio::task::JoinHandle<Option<Follower<W>>>,
    rest: Arc<AtomicBool>,
    thread_id: u32,
}

impl<W: World> Follower<W> {
    /// Starts the task.
    pub fn start(self) -> FollowerHandle<W> {
        let (jobs, queue) = mpsc::unbounded_channel();
        FollowerHandle {
            rest: Arc::clone(&self.rest),
            thread_id: self.leg.thread_id(),
            jobs,
            task: tokio::spawn(self.serve(queue)),
        }
    }
}

impl<W: World> FollowerHandle<W> {
    /// The server's id of the connection that it began with.
    pub fn thread_id(&self) -> u32 {
        self.thread_id
    }

    /// Queues a statement. The queue is bounded by the transaction's own limits.
    pub fn execute(&self, executed: Arc<Executed>, share: Arc<Share>) {
        // A task that has ended has lost its server; the session learns it when it takes the leg back.
        let _ = self.jobs.send(Job::Execute(executed, share));
    }

    /// Waits until everything that is queued is executed, or the leg is lost.
    pub async fn drained(&self) {
        let (done, drained) = oneshot::channel();
        if self.jobs.send(Job::Drain(done)).is_ok() {
            // An error says that the task has ended.
            let _ = drained.await;
        }
    }

    /// Whether it rests with everything executed, or is lost. False if it is at work again because it had to give way.
    pub fn is_settled(&self) -> bool {
        self.task.is_finished() || self.rest.load(Ordering::SeqCst)
    }

    /// Waits until everything that is queued is executed and takes the follower back. `None` if it is lost.
    pub async fn reclaim(self) -> Option<Follower<W>> {
        let (done, drained) = oneshot::channel();
        if self.jobs.send(Job::Reclaim(done)).is_ok() {
            let _ = drained.await;
        }
        self.task.await.ok().flatten()
    }
}
