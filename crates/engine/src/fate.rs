//! What a session tells its followers about the transaction that they work for.
//!
//! A follower that answers differently from the lead is evicted, but only if the lead still held the transaction's locks when the follower
//! answered. A transaction that is gone on the lead (a deadlock's victim, a ROLLBACK, a lost connection) has released them there, and other
//! sessions' statements may have overtaken what followers still have in their queues. So a follower waits until the session knows.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use tokio::sync::Notify;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// The lead's newest answer said that the transaction is open.
    #[default]
    Alive,
    /// A statement is on its way to the lead; what becomes of the transaction is not known.
    InFlight,
    /// It is or will be rolled back everywhere.
    Abandoned,
    /// The same, and the client does not know yet: a follower found out that it can never execute it.
    Doomed,
}

/// The fate of one transaction, and its rank among those that block each other on followers.
#[derive(Debug)]
pub(crate) struct Fate {
    state: Mutex<State>,
    changed: Notify,
    /// Rank while nobody waits for the transaction.
    at_ease: u64,
    rank: AtomicU64,
}

impl Fate {
    /// The rank of a transaction whose legs are being taken back: nobody may stop it any more.
    const FROZEN: u64 = 0;
    /// Ranks of transactions that nobody waits for begin here; below are those of waiting clients, in the order in which they began to wait.
    const FIRST_AT_EASE: u64 = 1 << 62;

    /// The fate of a new transaction; `id` grows from one transaction to the next.
    pub fn new(id: u64) -> Self {
        let at_ease = Self::FIRST_AT_EASE + id;
        Self {
            state: Mutex::default(),
            changed: Notify::new(),
            at_ease,
            rank: AtomicU64::new(at_ease),
        }
    }

    /// Lower is stronger.
    pub fn rank(&self) -> u64 {
        self.rank.load(Ordering::SeqCst)
    }

    /// A client waits for the followers from now on; `place` is its place among all that wait, from 1.
    pub fn hurry(&self, place: u64) {
        self.rank.store(place, Ordering::SeqCst);
    }

    /// Nobody waits any more.
    pub fn relax(&self) {
        self.rank.store(self.at_ease, Ordering::SeqCst);
    }

    /// Whether nobody may stop a leg of this transaction.
    pub fn is_frozen(&self) -> bool {
        self.rank() == Self::FROZEN
    }

    /// Nobody may stop a leg of this transaction from now on.
    pub fn freeze(&self) {
        self.rank.store(Self::FROZEN, Ordering::SeqCst);
    }

    /// A statement goes to the lead.
    pub fn put_in_flight(&self) {
        self.change(State::InFlight);
    }

    /// The lead has answered, and the transaction is open there.
    pub fn survived(&self) {
        self.change(State::Alive);
    }

    /// The transaction is or will be rolled back everywhere; before anything is rolled back.
    pub fn abandon(&self) {
        self.change(State::Abandoned);
    }

    /// No server may commit the transaction, because a follower cannot execute it; the session tells its client when it next comes by.
    pub fn doom(&self) {
        self.change(State::Doomed);
    }

    pub fn is_doomed(&self) -> bool {
        self.state() == State::Doomed
    }

    pub fn is_abandoned(&self) -> bool {
        matches!(self.state(), State::Abandoned | State::Doomed)
    }

    /// Completes once it is known whether the transaction is abandoned, with the answer. Dropping the future loses nothing.
    pub async fn known_abandoned(&self) -> bool {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            match self.state() {
                State::Alive => return false,
                State::Abandoned | State::Doomed => return true,
                State::InFlight => changed.await,
            }
        }
    }

    /// Completes when the transaction is abandoned. Dropping the future loses nothing.
    pub async fn abandoned(&self) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if self.is_abandoned() {
                return;
            }
            changed.await;
        }
    }

    fn state(&self) -> State {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, to: State) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let is_final = matches!(*state, State::Abandoned | State::Doomed);
        if !is_final {
            *state = to;
        }
        drop(state);
        self.changed.notify_waiters();
    }
}
