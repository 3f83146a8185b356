//! A follower's part of one transaction: a task that executes, in order, what the lead has answered, and compares.
//!
//! Invariants: followers never veto. A follower leg is disposable: lock trouble that exists only here (a deadlock victim, a lost transaction, a
//! lock held by another leg that the lead's order puts later) is solved by rolling this leg back and executing its statements again.
//! A different answer evicts the server. The task lives for one transaction; the session gets the leg back at its end.

mod handle;
mod restart;
mod undo;

pub(crate) use handle::FollowerHandle;
pub(crate) use restart::Restart;

use crate::fate::Fate;
use crate::group::{Group, Verdict};
use crate::interrupt::Running;
use crate::io::{BackendId, Clock, Discard, Entropy, Identity, KillKind, LegError, Servers, World};
use crate::leg::OpenLeg;
use crate::order::Share;
use crate::state::StateKey;
use crate::statement::{Body, insert_id, outcome_of, query_payload, set_last_insert_id};
use bytes::Bytes;
use grove_recovery_log::{Outcome, ResultOutcome};
use handle::Job;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use undo::undo;

/// A statement that the lead has executed, with all that makes a follower give the same result.
#[derive(Debug)]
pub(crate) struct Executed {
    pub body: Body,
    /// Session state and clock before the statement, as Grove's own statements.
    pub context: Vec<Bytes>,
    /// The first auto-increment value that the lead generated for it.
    pub generated_id: Option<u64>,
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
    /// Session state that changed here outside the entries.
    tainted: Vec<StateKey>,
    /// An entry, by its place, whose forced insert id must be lower than the lead's first generated one, and by how much.
    insert_id_shift: Option<(usize, u64)>,
    /// The transaction was begun again here, so that a snapshot which was taken before is gone.
    pub started_over: bool,
    /// When the first of its lock wait timeouts ended.
    waits_since: Option<Duration>,
}

/// A leg that gave way under the old lead and is now the new lead's may wait for a transaction that goes on there, whose leg nobody may stop, and
/// which may wait for this one elsewhere. The one that is late is run again by its client.
const LONGEST_LATE_WAIT: Duration = Duration::from_secs(2);

enum Step {
    Executed,
    StartOver(Duration),
    /// The transaction cannot go on here, and a new connection would not help.
    Leave(LegError),
    /// Error 1205: whoever holds the lock did not start over when asked to.
    LockWaitEnded,
}

/// Lock trouble among Grove's own legs ends after a few; this many is no longer trouble but a fault.
const MOST_ATTEMPTS: u32 = 1000;
/// Lock wait timeouts of one transaction go on for this long before its server is given up. Grove's own legs release their locks long before.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

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

    /// Executes every entry that the leg's transaction does not hold yet.
    async fn catch_up(&mut self) -> Result<(), LegError> {
        let mut attempts = 0;
        while self.executed < self.entries.len() {
            if self.fate.is_abandoned() {
                return self.leave_undone().await;
            }
            let step = match self.execute_next().await {
                Ok(step) => step,
                Err(error @ (LegError::Lost(_) | LegError::Protocol(_))) => {
                    self.reconnect(error).await?;
                    continue;
                }
                Err(error) => return Err(error),
            };
            match step {
                Step::Executed => {
                    self.entries[self.executed].1 = None;
                    self.executed += 1;
                }
                Step::StartOver(pause) => {
                    attempts += 1;
                    if attempts > MOST_ATTEMPTS {
                        return Err(self.give_up("a transaction could not be executed here in 1000 attempts"));
                    }
                    self.start_over(pause).await?;
                }
                Step::Leave(error) => return Err(error),
                Step::LockWaitEnded => {
                    self.give_up_waiting()?;
                    self.start_over(Duration::ZERO).await?;
                }
            }
        }
        Ok(())
    }

    /// What is queued will be rolled back, so it need not be executed, and a different answer would say nothing. Only temporary tables are
    /// not rolled back.
    async fn leave_undone(&mut self) -> Result<(), LegError> {
        // The rows of such a table are rolled back like others, so they need a transaction too.
        let begun = self.leg.in_transaction;
        let mut context = if begun { Vec::new() } else { self.opening.begin.clone() };
        for at in self.executed..self.entries.len() {
            let executed = Arc::clone(&self.entries[at].0);
            context.extend(executed.context.iter().cloned());
            if executed.defines_temporary_tables {
                self.leg.run(&context, &executed.body, &mut Discard).await?;
                context.clear();
            }
        }
        self.is_up_to_date();
        Ok(())
    }

    /// Counts a lock wait timeout; an error when there have been enough of them.
    fn give_up_waiting(&mut self) -> Result<(), LegError> {
        let now = self.group.world.clock().now();
        let since = *self.waits_since.get_or_insert(now);
        if now.saturating_sub(since) < LONGEST_WAIT {
            return Ok(());
        }
        let reason = "a lock was not released in several lock wait timeouts: another client than Grove writes here";
        if self.group.view().lead == self.leg.backend {
            // It has become the lead, and what holds the lock is a transaction that goes on here. This one can be run again.
            return Err(LegError::Lost(reason.into()));
        }
        Err(self.give_up(reason))
    }

    /// Evicts the server.
    fn give_up(&self, reason: &str) -> LegError {
        self.group.evict(self.leg.backend, reason);
        LegError::Lost(reason.into())
    }

    fn flight(&self) -> (Vec<Bytes>, Arc<Executed>) {
        let executed = Arc::clone(&self.entries[self.executed].0);
        let mut prelude = if self.leg.in_transaction {
            Vec::new()
        } else {
            self.opening.begin.clone()
        };
        prelude.extend(executed.context.iter().cloned());
        if let Some(id) = executed.generated_id {
            let first = id.saturating_sub(self.shift_here());
            prelude.push(query_payload(format!("SET INSERT_ID={first}").as_bytes()));
        }
        (prelude, executed)
    }

    /// Correction of the insert id of the entry that is executed now.
    fn shift_here(&self) -> u64 {
        let here = self.insert_id_shift.filter(|(at, _)| *at == self.executed);
        here.map_or(0, |(_, shift)| shift)
    }

    async fn execute_next(&mut self) -> Result<Step, LegError> {
        let (prelude, executed) = self.flight();
        self.leg.clock_is_set = executed.sets_clock;
        let group = Arc::clone(&self.group);
        let (restart, lead) = (self.restart.clone(), executed.lead);
        let (backend, thread_id) = (self.leg.backend, self.leg.thread_id());
        let running = Running::default();
        let mut told_to_restart = false;
        let mut patience = group.settings.follower_lock_wait;
        let began = group.world.clock().now();
        let reply = {
            let mut sink = Discard;
            let run = self
                .leg
                .run_announced(&prelude, &executed.body, &mut sink, Some(&running));
            tokio::pin!(run);
            loop {
                tokio::select! {
                    biased;
                    reply = &mut run => break reply?,
                    () = restart.must_stop(&running), if !told_to_restart => {
                        told_to_restart = true;
                        // The leg waits itself; only the server can wake it.
                        let _ = group.world.servers().kill(backend, thread_id, KillKind::Query).await;
                    }
                    () = group.world.clock().sleep(patience) => {
                        patience = (patience * 2).min(Duration::from_secs(5));
                        let is_late = lead != backend && group.view().lead == backend;
                        if is_late && group.world.clock().now().saturating_sub(began) > LONGEST_LATE_WAIT {
                            // Seen by `must_stop`.
                            self.fate.doom();
                        }
                        restart.free_the_way(&group, (backend, thread_id), lead, patience).await;
                    }
                }
            }
        };
        let outcome = outcome_of(&reply.reply);
        if told_to_restart {
            return Ok(Step::StartOver(Duration::ZERO));
        }
        self.judge(&executed, outcome).await
    }

    async fn judge(&mut self, executed: &Executed, mut outcome: Outcome) -> Result<Step, LegError> {
        if let Some(ResultOutcome::Err { code }) = outcome.results.last() {
            let code = *code;
            if code == 1205 && Some(&ResultOutcome::Err { code }) != executed.outcome.results.last() {
                return Ok(Step::LockWaitEnded);
            }
            if is_lock_trouble(code) && Some(&ResultOutcome::Err { code }) != executed.outcome.results.last() {
                let jitter = self.group.world.entropy().next_u64() % 20;
                return Ok(Step::StartOver(Duration::from_millis(jitter)));
            }
            // An ERR packet does not say whether the transaction is still open.
            outcome.in_transaction = self.leg.ask_in_transaction().await?;
        }
        if agree(&executed.outcome, &outcome) {
            return Ok(Step::Executed);
        }
        let got = insert_id(&outcome);
        if let Some(wanted) = executed.generated_id
            && self.shift_here() == 0
            && got > wanted
            && got - wanted < wanted
        {
            // The first generated id went to a row that was not inserted: begin that much earlier.
            self.insert_id_shift = Some((self.executed, got - wanted));
            return Ok(Step::StartOver(Duration::ZERO));
        }
        if executed.outcome.in_transaction && !outcome.in_transaction {
            return Ok(Step::StartOver(Duration::ZERO));
        }
        self.answered_differently(executed, &outcome).await
    }

    /// Evicts the server, if the lead's answer counts.
    async fn answered_differently(&mut self, executed: &Executed, outcome: &Outcome) -> Result<Step, LegError> {
        let lead_gone = self.group.gone(executed.lead);
        let lead_left = || {
            Step::Leave(LegError::Lost(
                "the lead that gave another answer has left the group".into(),
            ))
        };
        // None of these futures loses anything when it is dropped.
        let abandoned = tokio::select! {
            biased;
            () = self.leg.gone().cancelled() => return Err(LegError::Lost("the server has left the group".into())),
            () = lead_gone.cancelled() => return Ok(lead_left()),
            abandoned = settled_and_abandoned(&self.group, &self.fate) => abandoned,
            () = self.restart.told() => return Ok(Step::StartOver(Duration::ZERO)),
        };
        if abandoned {
            return Ok(Step::StartOver(Duration::ZERO));
        }
        if !self.group.is_online(executed.lead) {
            return Ok(lead_left());
        }
        let statement: String = String::from_utf8_lossy(executed.body.text())
            .chars()
            .take(300)
            .collect();
        let reason = format!(
            "answered differently from the lead: {:?} instead of {:?} to: {statement}",
            outcome.results, executed.outcome.results
        );
        Err(self.give_up(&reason))
    }

    /// Rolls back and forgets what was executed; `catch_up` executes it again.
    async fn start_over(&mut self, pause: Duration) -> Result<(), LegError> {
        self.group.metrics().follower_restarts.add(1);
        self.started_over = true;
        let begun = self.entries.iter().take(self.executed + 1);
        let traces = begun.flat_map(|(executed, _)| executed.traces.iter());
        let changed = traces.chain(&self.tainted).cloned().collect();
        match undo(&self.opening, &self.identity.database, &changed) {
            Some(statements) => {
                self.executed = 0;
                self.tainted.clear();
                if let Err(error) = self.roll_back(&statements).await {
                    self.reconnect(error).await?;
                }
            }
            None if self.opening.has_temporary_tables => {
                // No connection can execute it again, so nobody shall commit it. Others wait for its locks, its session perhaps for them.
                self.fate.doom();
                return self.roll_back(&[]).await;
            }
            None => {
                let reason = LegError::Lost("session state changed inside the transaction".into());
                self.reconnect(reason).await?;
            }
        }
        if pause > Duration::ZERO {
            self.group.world.clock().sleep(pause).await;
        }
        Ok(())
    }

    /// ROLLBACK and what follows it, and proof of it: a kill that came too late for its statement would hit the ROLLBACK, so a ping takes it first.
    async fn roll_back(&mut self, then: &[Bytes]) -> Result<(), LegError> {
        self.leg.ask_in_transaction().await?;
        self.leg.query(b"ROLLBACK").await?;
        if self.leg.ask_in_transaction().await? {
            return Err(LegError::Protocol("ROLLBACK left the transaction open".into()));
        }
        self.leg.tell(then).await?;
        self.leg.state_version = self.opening.state_version;
        Ok(())
    }

    /// Opens a new connection in place of a lost one, if the server still answers.
    async fn reconnect(&mut self, error: LegError) -> Result<(), LegError> {
        let backend = self.leg.backend;
        let verdict = self.group.verify(backend, &error).await.map_err(LegError::Lost)?;
        if verdict == Verdict::Evicted || self.opening.has_temporary_tables {
            return Err(error);
        }
        self.started_over = true;
        // Its locks would hold the new connection up until the server notices that the old one is gone.
        let old = self.leg.thread_id();
        let _ = self
            .group
            .world
            .servers()
            .kill(backend, old, KillKind::Connection)
            .await;
        self.unregister();
        let opened = open_leg(&self.group, &self.identity, &self.opening, backend).await;
        self.leg = opened.map_err(|again| self.give_up(&format!("{error}; a new connection failed: {again}")))?;
        self.executed = 0;
        self.tainted.clear();
        self.register();
        Ok(())
    }
}

/// Whether a transaction is abandoned, once that is known and the commits of now are through: a lead that has lost a decided unit (its
/// connection broke during COMMIT) answers without it until it is evicted.
async fn settled_and_abandoned<W: World>(group: &Group<W>, fate: &Fate) -> bool {
    group.commits.settled().await;
    fate.known_abandoned().await
}

/// A fresh connection with the session's state as it was when the transaction began.
async fn open_leg<W: World>(
    group: &Group<W>,
    identity: &Arc<Identity>,
    opening: &Opening,
    backend: BackendId,
) -> Result<OpenLeg<<W::Servers as Servers>::Leg>, LegError> {
    let mut leg = group.open_leg(backend, identity).await?;
    let mut state: Vec<Bytes> = opening.state.iter().map(|(_, payload)| payload.clone()).collect();
    state.push(set_last_insert_id(opening.last_insert_id));
    leg.tell(&state).await?;
    leg.state_version = opening.state_version;
    Ok(leg)
}

/// Errors that only say that locks were granted in another order here: 1205 lock wait, 1213 deadlock, 1317 interrupted by Grove itself,
/// 1467 (MariaDB's answer to a deadlock victim that wanted an auto-increment value), 3058 and 1614 (MySQL's further deadlock codes), 1020
/// (MariaDB: record changed since the snapshot), 1412 (the snapshot here is older than a DDL statement, the lead's is not), 1615 (prepared again
/// and again because of DDL), 3572 (NOWAIT).
fn is_lock_trouble(code: u16) -> bool {
    matches!(
        code,
        1205 | 1213 | 1317 | 1467 | 3058 | 1614 | 1020 | 1412 | 1615 | 3572
    )
}

/// Whether a reply ended with lock trouble.
pub(crate) fn is_lock_trouble_of(outcome: &Outcome) -> bool {
    matches!(outcome.results.last(), Some(ResultOutcome::Err { code }) if is_lock_trouble(*code))
}

/// Whether two servers answered the same. Rows of locking reads are counted.
pub(crate) fn agree(lead: &Outcome, follower: &Outcome) -> bool {
    lead == follower
}
