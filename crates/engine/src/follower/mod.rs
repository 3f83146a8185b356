//! A follower's part of one transaction: a task that executes, in order, what the lead has answered, and compares.
//!
//! Invariants: followers never veto. A follower leg is disposable: lock trouble that exists only here (a deadlock victim, a lost transaction, a
//! lock held by another leg that the lead's order puts later) is solved by rolling this leg back and executing its statements again.
//! A different answer evicts the server. The task lives for one transaction; the session gets the leg back at its end.

mod again;
mod execute;
mod handle;
mod judge;
mod restart;
mod undo;

pub(crate) use handle::FollowerHandle;
pub(crate) use judge::{agree, is_lock_trouble, is_lock_trouble_of};
pub(crate) use restart::Restart;

use crate::fate::Fate;
use crate::group::{Fault, Group};
use crate::io::{BackendId, Identity, LegError, Servers, World};
use crate::leg::OpenLeg;
use crate::order::Share;
use crate::state::StateKey;
use crate::statement::Body;
use again::open_leg;
use bytes::Bytes;
use grove_recovery_log::Outcome;
use handle::Job;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// A statement that the lead has executed, with all that makes a follower give the same result.
#[derive(Debug)]
pub(crate) struct Executed {
    pub body: Body,
    /// Session state and clock before the statement, as Grove's own statements.
    pub context: Vec<Bytes>,
    /// The first auto-increment value that the lead generated for it.
    pub generated_id: Option<u64>,
    /// LAST_INSERT_ID() after it, if it changes that.
    pub last_insert_id: Option<u64>,
    /// Whether the answer hides `generated_id`, so that a follower must be asked for its own.
    pub reports_no_insert_id: bool,
    /// Whether `context` sets the clock. If not, the clock is the client's own, or nothing was said about it.
    pub sets_clock: bool,
    /// Who answered.
    pub lead: BackendId,
    /// What the lead answered.
    pub outcome: Outcome,
    /// What the statement and its context change although a ROLLBACK does not take it back.
    pub traces: Vec<StateKey>,
    /// Whether it makes or drops temporary tables: a ROLLBACK keeps them.
    pub defines_temporary_tables: bool,
    /// Whether nothing stays of it after a ROLLBACK TO SAVEPOINT, apart from what the session itself knows.
    pub can_be_undone: bool,
    pub undone: Undone,
}

/// Whether the lead has taken a statement back with ROLLBACK TO SAVEPOINT. It may have released its locks then, and others may have overtaken it
/// since.
#[derive(Debug, Default)]
pub(crate) struct Undone {
    is_undone: AtomicBool,
    /// The lead has warned that something of it stays.
    in_part: AtomicBool,
}

impl Undone {
    pub fn set(&self, in_part: bool) {
        self.in_part.store(in_part, Ordering::SeqCst);
        self.is_undone.store(true, Ordering::SeqCst);
    }
}

impl Executed {
    pub fn is_undone(&self) -> bool {
        self.undone.is_undone.load(Ordering::SeqCst)
    }

    /// Whether it need not be executed any more.
    pub fn is_gone(&self) -> bool {
        self.can_be_undone && self.is_undone() && !self.undone.in_part.load(Ordering::SeqCst)
    }
}

/// What a transaction needs to be begun again, on its connection or on a fresh one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Opening {
    /// Session state at the transaction's start.
    pub state: Arc<Vec<(StateKey, Bytes)>>,
    /// LAST_INSERT_ID() at that time.
    pub last_insert_id: u64,
    /// The session had temporary tables then, which a fresh connection would lack.
    pub has_temporary_tables: bool,
    /// Their schemas and names, if those are known.
    pub temporary_names: Vec<(Vec<u8>, Vec<u8>)>,
    /// What makes them again, where a server may need that from the log.
    pub temporary_copy: Vec<Bytes>,
    /// How many servers had been lost.
    pub losses: u64,
    /// Version of the session state in `state`.
    pub state_version: u64,
    /// `SET TRANSACTION` if any, and the statement that begins the transaction.
    pub begin: Vec<Bytes>,
}

/// A follower leg with its part of the transaction.
pub(crate) struct Follower<W: World> {
    group: Arc<Group<W>>,
    identity: Arc<Identity>,
    opening: Opening,
    pub leg: OpenLeg<<W::Servers as Servers>::Leg>,
    entries: Vec<(Arc<Executed>, Option<Arc<Share>>)>,
    /// Entries that the leg's open transaction holds.
    executed: usize,
    fate: Arc<Fate>,
    restart: Restart,
    /// Whether it waits for its session with everything executed.
    rest: Arc<AtomicBool>,
    /// What undone entries, which are not executed, would have told the leg.
    passed_over: Vec<Bytes>,
    /// Session state that changed here outside the entries.
    tainted: Vec<StateKey>,
    /// An entry, by its place, whose forced insert id must be lower than the lead's first generated one, and by how much.
    insert_id_shift: Option<(usize, u64)>,
    /// The transaction was begun again here, so that a snapshot which was taken before is gone.
    pub started_over: bool,
    /// When the first of its lock wait timeouts ended.
    waits_since: Option<Duration>,
}

impl<W: World> Follower<W> {
    /// Takes a leg that has no transaction open, or one that has executed nothing in it.
    pub fn new(
        group: Arc<Group<W>>,
        identity: Arc<Identity>,
        opening: Opening,
        leg: OpenLeg<<W::Servers as Servers>::Leg>,
        fate: Arc<Fate>,
    ) -> Self {
        Self {
            group,
            identity,
            opening,
            leg,
            entries: Vec::new(),
            executed: 0,
            restart: Restart::new(&fate),
            rest: Arc::default(),
            fate,
            passed_over: Vec::new(),
            tainted: Vec::new(),
            insert_id_shift: None,
            started_over: false,
            waits_since: None,
        }
    }

    /// A follower on a fresh connection that has executed nothing.
    pub async fn open(
        group: Arc<Group<W>>,
        identity: Arc<Identity>,
        opening: Opening,
        backend: BackendId,
        fate: Arc<Fate>,
    ) -> Result<Self, LegError> {
        let leg = open_leg(&group, &identity, &opening, backend).await?;
        Ok(Self::new(group, identity, opening, leg, fate))
    }

    /// Notes that session state was changed here outside the entries.
    pub fn taint(&mut self, keys: impl IntoIterator<Item = StateKey>) {
        self.tainted.extend(keys);
    }

    /// Adds a statement without executing it.
    pub fn enqueue(&mut self, executed: Arc<Executed>, share: Option<Arc<Share>>) {
        self.entries.push((executed, share));
    }

    /// Marks everything enqueued as already executed on this leg.
    pub fn is_up_to_date(&mut self) {
        self.executed = self.entries.len();
        self.entries.iter_mut().for_each(|(_, share)| *share = None);
    }

    async fn serve(mut self, mut queue: mpsc::UnboundedReceiver<Job>) -> Option<Self> {
        self.register();
        let result = self.work(&mut queue).await;
        self.unregister();
        match result {
            Ok(Some(done)) => {
                let _ = done.send(());
                Some(self)
            }
            Ok(None) => None,
            Err(error) => {
                tracing::debug!(backend = self.group.name(self.leg.backend), %error, "follower leg lost");
                // Shares must go now: others wait for them. So must those who wait for an answer.
                self.entries.clear();
                queue.close();
                while queue.recv().await.is_some() {}
                None
            }
        }
    }

    /// From now on others may tell this leg to start over.
    fn register(&self) {
        let key = (self.leg.backend, self.leg.thread_id());
        self.group.restartable.insert(key, self.restart.clone());
    }

    fn unregister(&self) {
        self.group.restartable.remove(&(self.leg.backend, self.leg.thread_id()));
    }

    /// Runs until the session takes the leg back, goes away, or the server is lost.
    async fn work(
        &mut self,
        queue: &mut mpsc::UnboundedReceiver<Job>,
    ) -> Result<Option<oneshot::Sender<()>>, LegError> {
        loop {
            self.catch_up().await?;
            let restart = self.restart.clone();
            let gone = self.leg.gone().clone();
            self.rest.store(true, Ordering::SeqCst);
            // Each branch may be dropped: a job or a signal that was not taken stays.
            let job = tokio::select! {
                biased;
                () = gone.cancelled() => return Err(LegError::Lost("the server has left the group".into())),
                job = queue.recv() => job,
                () = restart.told() => {
                    self.rest.store(false, Ordering::SeqCst);
                    // A session that takes all its legs back has frozen them before it looked whether they rest.
                    if !self.fate.is_frozen() {
                        self.start_over(Duration::ZERO).await?;
                    }
                    continue;
                }
            };
            self.rest.store(false, Ordering::SeqCst);
            match job {
                Some(Job::Execute(executed, share)) => self.enqueue(executed, Some(share)),
                Some(Job::Drain(done)) => {
                    let _ = done.send(());
                }
                Some(Job::Reclaim(done)) => return Ok(Some(done)),
                None => return Ok(None),
            }
        }
    }

    /// Evicts the server, which may come back.
    fn give_up(&self, reason: &str) -> LegError {
        self.give_up_as(Fault::Failed, reason)
    }

    fn give_up_as(&self, fault: Fault, reason: &str) -> LegError {
        self.group.take_out(self.leg.backend, fault, reason);
        LegError::Lost(reason.into())
    }
}
