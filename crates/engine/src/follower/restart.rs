//! Who gives way on a follower: legs that block each other there although the lead let both pass.
//!
//! Gap locks can be granted on a follower in another order than on the lead. A leg that waits asks its server who blocks it, and the blocker is
//! rolled back and executes its statements again afterwards. Two legs must not do that to each other for ever, nor may two transactions
//! each hold what the other waits for on different servers, so there is one order for all servers (wound-wait; Rosenkrantz, Stearns and Lewis,
//! "System level concurrency control for distributed database systems", 1978): a leg may only stop weaker ones. A transaction whose client
//! waits for its followers is stronger than any whose client does not. Strongest is a leg that executes for the first time what an earlier lead
//! answered: the whole epoch waits for it. Executing it again does not count, so that each such statement is done once and for all.
//!
//! Who has given way lets the stronger one finish its statement first. Gap locks are granted past an insertion that waits for them to go, so several
//! blockers that execute again at once would hold it up for ever, each with the locks that it takes while another one rolls back.

use crate::fate::Fate;
use crate::group::Group;
use crate::interrupt::Running;
use crate::io::{BackendId, Clock, Servers, World};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, watch};

/// A server that does not say who blocks a leg for this long: its tables about that are a copy that is not renewed while somebody else reads
/// them all the time. Then all weaker legs start over.
const ASK_BEFORE_ALL: Duration = Duration::from_secs(1);
/// A leg that has given way executes again after this, whatever becomes of the stronger one.
const LONGEST_COURTESY: Duration = Duration::from_secs(2);

/// How one follower leg is told to release its locks and start over.
#[derive(Clone, Debug)]
pub(crate) struct Restart {
    signal: Arc<Notify>,
    fate: Arc<Fate>,
    /// Whose answer the leg executes for the first time: the server's number and one, or 0.
    owes: Arc<AtomicU32>,
    /// How many of its statements have ended.
    steps: Arc<watch::Sender<u64>>,
    /// The steps of the one that it was told to give way to, from then on.
    stronger: Arc<Mutex<Option<watch::Receiver<u64>>>>,
}

/// Lower is stronger: whether the epoch does not wait for the leg, and the transaction's rank.
type Strength = (bool, u64);

impl Restart {
    pub fn new(fate: &Arc<Fate>) -> Self {
        Self {
            signal: Arc::default(),
            fate: Arc::clone(fate),
            owes: Arc::default(),
            steps: Arc::new(watch::Sender::new(0)),
            stronger: Arc::default(),
        }
    }

    /// A statement of the leg has ended, however it did.
    pub fn stepped(&self) {
        self.steps.send_modify(|steps| *steps += 1);
    }

    /// Waits, with nothing locked, until the one that the leg has given way to has finished the statement that was held up.
    pub async fn let_pass<W: World>(&self, group: &Group<W>) {
        let stronger = self.stronger().take();
        let Some(mut steps) = stronger else { return };
        tokio::select! {
            biased;
            _ = steps.changed() => {}
            () = self.fate.abandoned() => {}
            () = group.world.clock().sleep(LONGEST_COURTESY) => {}
        }
    }

    fn stronger(&self) -> std::sync::MutexGuard<'_, Option<watch::Receiver<u64>>> {
        self.stronger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The leg executes for the first time what this server answered, or nothing that is new.
    pub fn owes(&self, lead: Option<BackendId>) {
        let number = lead.map_or(0, |lead| u32::from(lead.0) + 1);
        self.owes.store(number, Ordering::SeqCst);
    }

    fn strength<W: World>(&self, group: &Group<W>) -> Strength {
        let owes = self.owes.load(Ordering::SeqCst);
        let epoch_waits = owes > 0 && owes != u32::from(group.view().lead.0) + 1;
        (!epoch_waits, self.fate.rank())
    }

    /// Completes when the leg has been told to start over. Dropping the future before that loses nothing.
    pub async fn told(&self) {
        self.signal.notified().await;
    }

    /// Completes when a leg that is at work must be stopped and its statement, not Grove's own before it, is on the server. A kill in the prelude
    /// would hit BEGIN, and the statement would then commit by itself. A signal that was taken and whose future is then dropped is lost: the
    /// caller polls one such future until the statement ends.
    pub async fn must_stop(&self, running: &Running) {
        tokio::select! {
            biased;
            () = self.signal.notified() => {}
            () = self.fate.abandoned() => {}
        }
        running.statement_began().await;
    }

    /// Tells those who block the leg `(backend, thread)` to start over, if they are weaker.
    pub async fn free_the_way<W: World>(
        &self,
        group: &Group<W>,
        (backend, thread_id): (BackendId, u32),
        waited: Duration,
    ) {
        let blockers = match group.world.servers().blockers(backend, thread_id).await {
            Ok(blockers) => blockers,
            Err(error) => {
                tracing::warn!(backend = group.name(backend), %error, "who blocks a follower is not known");
                Vec::new()
            }
        };
        let mut known = false;
        for blocker in blockers {
            if let Some(other) = group.restartable.get(&(backend, blocker)) {
                known = true;
                other.give_way_to(self, group);
            }
        }
        if !known && waited > ASK_BEFORE_ALL {
            let others = group.restartable.iter();
            let others = others.filter(|other| other.key().0 == backend && other.key().1 != thread_id);
            let mut others: Vec<_> = others.map(|other| (other.key().1, other.value().clone())).collect();
            // The map has no order, and a simulation must give the same trace again.
            others.sort_unstable_by_key(|(thread_id, _)| *thread_id);
            others.iter().for_each(|(_, other)| other.give_way_to(self, group));
        }
    }

    fn give_way_to<W: World>(&self, other: &Self, group: &Group<W>) {
        if !self.fate.is_frozen() && self.strength(group) > other.strength(group) {
            *self.stronger() = Some(other.steps.subscribe());
            self.signal.notify_one();
        }
    }
}
