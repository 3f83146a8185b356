//! Gates: table-level read/write locks inside Grove, used only where row locks on the lead are not enough.
//!
//! Ordinary writers share the gate of each table that they write and the global gate; DDL, READ COMMITTED writers and bulk inserts under
//! `innodb_autoinc_lock_mode=2` take a table's gate exclusively; a statement whose tables are unknown takes the global gate
//! exclusively. Gates are held until the transaction ends. A waiter is never starved by newcomers, but an owner that already holds a gate may
//! pass waiters, because they wait for it. Waits are bounded and cycles among gates are found at once.
//! Deliberately absent: any knowledge of statements.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Notify;

/// What a gate guards. The order is the one in which a statement takes several gates.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GateKey {
    /// Everything.
    Global,
    /// What belongs to a server as a whole and to no table: accounts, global variables, schemas.
    Server,
    /// One table, by lower-cased schema and name: servers with case-sensitive names only share a gate more often.
    Table(Vec<u8>, Vec<u8>),
}

/// How a gate is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GateMode {
    /// With other sharers.
    Shared,
    /// Alone.
    Exclusive,
}

/// Why a gate was not granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GateRefusal {
    /// Waiting would close a cycle of owners that wait for each other.
    Deadlock,
}

/// Who holds gates: one per transaction.
type OwnerId = u64;

#[derive(Default)]
struct Gate {
    shared: HashSet<OwnerId>,
    exclusive: Option<OwnerId>,
    waiting_exclusive: VecDeque<OwnerId>,
}

impl Gate {
    fn blockers(&self, owner: OwnerId, mode: GateMode, holds_gates: bool) -> Vec<OwnerId> {
        let mut blockers: Vec<OwnerId> = self.exclusive.iter().copied().filter(|&o| o != owner).collect();
        match mode {
            GateMode::Exclusive => blockers.extend(self.shared.iter().copied().filter(|&o| o != owner)),
            GateMode::Shared if holds_gates => {}
            GateMode::Shared => blockers.extend(self.waiting_exclusive.iter().copied().filter(|&o| o != owner)),
        }
        blockers
    }

    fn is_unused(&self) -> bool {
        self.shared.is_empty() && self.exclusive.is_none() && self.waiting_exclusive.is_empty()
    }
}

#[derive(Default)]
struct State {
    gates: HashMap<GateKey, Gate>,
    held: HashMap<OwnerId, Vec<GateKey>>,
    waits_for: HashMap<OwnerId, Vec<OwnerId>>,
}

impl State {
    fn closes_a_cycle(&self, owner: OwnerId) -> bool {
        let mut stack: Vec<OwnerId> = self.waits_for.get(&owner).cloned().unwrap_or_default();
        let mut seen = HashSet::new();
        while let Some(next) = stack.pop() {
            if next == owner {
                return true;
            }
            if seen.insert(next) {
                stack.extend(self.waits_for.get(&next).into_iter().flatten());
            }
        }
        false
    }
}

/// Everything that one owner holds; dropping it releases every gate. Shared with the task that carries out a decided commit, so that the
/// gates stay closed until the last server has committed, whatever becomes of the session.
pub struct Hold {
    gates: Arc<Gates>,
    owner: OwnerId,
}

impl Hold {
    /// Takes one gate, waiting for its holders. Dropping the future gives up the place in the queue and nothing that is held.
    pub async fn acquire(&self, key: GateKey, mode: GateMode) -> Result<(), GateRefusal> {
        self.gates.acquire(self.owner, key, mode).await
    }

    /// The owner's number; it grows from one hold to the next.
    pub fn owner(&self) -> u64 {
        self.owner
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.gates.release_all(self.owner);
    }
}

/// All gates of a group.
#[derive(Default)]
pub struct Gates {
    next_owner: AtomicU64,
    state: Mutex<State>,
    released: Notify,
}

impl Gates {
    /// A new owner, which holds nothing yet.
    pub fn new_hold(self: &Arc<Self>) -> Hold {
        Hold {
            gates: Arc::clone(self),
            owner: self.next_owner.fetch_add(1, Ordering::Relaxed),
        }
    }

    /// Takes one gate for `owner`, waiting for its holders. Dropping the future gives up the place in the queue and nothing that is held.
    async fn acquire(&self, owner: OwnerId, key: GateKey, mode: GateMode) -> Result<(), GateRefusal> {
        let mut place = Place {
            gates: self,
            owner,
            key: &key,
            queued: false,
        };
        loop {
            let released = self.released.notified();
            tokio::pin!(released);
            released.as_mut().enable();
            {
                let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
                let holds_gates = state.held.contains_key(&owner);
                let gate = state.gates.entry(key.clone()).or_default();
                let already =
                    gate.exclusive == Some(owner) || (mode == GateMode::Shared && gate.shared.contains(&owner));
                if already {
                    return Ok(());
                }
                let blockers = gate.blockers(owner, mode, holds_gates);
                if blockers.is_empty() {
                    match mode {
                        GateMode::Shared => {
                            gate.shared.insert(owner);
                        }
                        GateMode::Exclusive => {
                            gate.shared.remove(&owner);
                            gate.exclusive = Some(owner);
                        }
                    }
                    let held = state.held.entry(owner).or_default();
                    if !held.contains(&key) {
                        held.push(key.clone());
                    }
                    return Ok(());
                }
                if mode == GateMode::Exclusive && !place.queued {
                    gate.waiting_exclusive.push_back(owner);
                }
                place.queued = true;
                state.waits_for.insert(owner, blockers);
                if state.closes_a_cycle(owner) {
                    return Err(GateRefusal::Deadlock);
                }
            }
            released.await;
        }
    }

    /// Releases every gate of `owner`.
    fn release_all(&self, owner: OwnerId) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(keys) = state.held.remove(&owner) else { return };
        for key in keys {
            if let Some(gate) = state.gates.get_mut(&key) {
                gate.shared.remove(&owner);
                if gate.exclusive == Some(owner) {
                    gate.exclusive = None;
                }
                if gate.is_unused() {
                    state.gates.remove(&key);
                }
            }
        }
        let somebody_waits = !state.waits_for.is_empty();
        drop(state);
        if somebody_waits {
            self.released.notify_waiters();
        }
    }
}

/// A place in a gate's queue, given up on drop whether the gate was granted or not.
struct Place<'a> {
    gates: &'a Gates,
    owner: OwnerId,
    key: &'a GateKey,
    queued: bool,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if !self.queued {
            return;
        }
        let mut state = self.gates.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.waits_for.remove(&self.owner);
        if let Some(gate) = state.gates.get_mut(self.key) {
            gate.waiting_exclusive.retain(|&o| o != self.owner);
            if gate.is_unused() {
                state.gates.remove(self.key);
            }
        }
        drop(state);
        self.gates.released.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn table(name: &str) -> GateKey {
        GateKey::Table(b"app".to_vec(), name.as_bytes().to_vec())
    }

    async fn waits(gates: &Gates, owner: OwnerId, key: GateKey, mode: GateMode) -> bool {
        tokio::time::timeout(Duration::from_millis(50), gates.acquire(owner, key, mode))
            .await
            .is_err()
    }

    #[tokio::test(start_paused = true)]
    async fn sharers_pass_each_other_and_stop_an_exclusive_owner() {
        let gates = Gates::default();
        gates.acquire(1, table("t"), GateMode::Shared).await.unwrap();
        gates.acquire(2, table("t"), GateMode::Shared).await.unwrap();
        assert!(waits(&gates, 3, table("t"), GateMode::Exclusive).await);
        gates.release_all(1);
        gates.release_all(2);
        gates.acquire(3, table("t"), GateMode::Exclusive).await.unwrap();
        assert!(waits(&gates, 1, table("t"), GateMode::Shared).await);
    }

    #[tokio::test(start_paused = true)]
    async fn newcomers_queue_behind_an_exclusive_waiter_but_holders_pass_it() {
        let gates = Arc::new(Gates::default());
        gates.acquire(1, table("a"), GateMode::Shared).await.unwrap();
        gates.acquire(2, table("b"), GateMode::Shared).await.unwrap();
        let waiter = {
            let gates = Arc::clone(&gates);
            tokio::spawn(async move { gates.acquire(3, table("a"), GateMode::Exclusive).await })
        };
        tokio::task::yield_now().await;
        assert!(
            waits(&gates, 4, table("a"), GateMode::Shared).await,
            "a newcomer passed the waiter"
        );
        gates.acquire(2, table("a"), GateMode::Shared).await.unwrap();
        gates.release_all(1);
        gates.release_all(2);
        waiter.await.unwrap().unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_cycle_is_refused_at_once() {
        let gates = Arc::new(Gates::default());
        gates.acquire(1, table("a"), GateMode::Exclusive).await.unwrap();
        gates.acquire(2, table("b"), GateMode::Exclusive).await.unwrap();
        let first = {
            let gates = Arc::clone(&gates);
            tokio::spawn(async move { gates.acquire(1, table("b"), GateMode::Exclusive).await })
        };
        tokio::task::yield_now().await;
        assert_eq!(
            gates.acquire(2, table("a"), GateMode::Exclusive).await,
            Err(GateRefusal::Deadlock)
        );
        gates.release_all(2);
        first.await.unwrap().unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_left_behind() {
        let gates = Gates::default();
        gates.acquire(1, table("a"), GateMode::Exclusive).await.unwrap();
        assert!(waits(&gates, 2, table("a"), GateMode::Exclusive).await);
        gates.release_all(1);
        let state = gates.state.lock().unwrap();
        assert!(state.gates.is_empty() && state.held.is_empty() && state.waits_for.is_empty());
    }
}
