//! How a server and its network fail and come back: the power switch, and the link that can be cut.
//!
//! A cut is told to neither end. What was sent into it may arrive when it heals, after the sender has long given the connection up: TCP
//! sends it again, also for a socket that its owner has closed.

use super::locks::TransactionId;
use super::server::Server;
use std::sync::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

/// Whether the server runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Power {
    On,
    /// Stopped as by SIGSTOP: nothing is answered, nothing is lost.
    Hung,
    /// Killed: connections broken, open transactions rolled back, nobody listens.
    Off,
}

/// A server's power switch.
pub struct Switch {
    power: Mutex<Power>,
    /// Wakes in the order of arrival; a `watch` channel would wake in a random one.
    switched: Notify,
}

impl Default for Switch {
    fn default() -> Self {
        Self {
            power: Mutex::new(Power::On),
            switched: Notify::new(),
        }
    }
}

/// One server's link.
#[derive(Default)]
pub struct Link {
    cut_since: Mutex<Option<Instant>>,
    /// Wakes in the order of arrival.
    healed: Notify,
}

impl Link {
    pub fn cut(&self) {
        self.cut_since.lock().unwrap().get_or_insert_with(Instant::now);
    }

    pub fn heal(&self) {
        *self.cut_since.lock().unwrap() = None;
        self.healed.notify_waiters();
    }

    pub fn is_cut(&self) -> bool {
        self.cut_since.lock().unwrap().is_some()
    }

    /// Whether what arrives at `at` would have to cross the cut.
    pub fn holds_back(&self, at: Instant) -> bool {
        self.cut_since.lock().unwrap().is_some_and(|since| since <= at)
    }

    /// Waits while the network is cut.
    pub async fn whole(&self) {
        loop {
            let healed = self.healed.notified();
            tokio::pin!(healed);
            healed.as_mut().enable();
            if !self.is_cut() {
                return;
            }
            healed.await;
        }
    }
}

impl Server {
    pub fn power(&self) -> Power {
        *self.switch.power.lock().unwrap()
    }

    /// Turns the switch. A server that is off stays off, see [`Self::start_again`].
    pub fn switch(&self, power: Power) {
        if self.power() == Power::Off {
            return;
        }
        self.trace.event(&[60, u64::from(self.id), power as u64], || {
            format!("server {} is now {power:?}", self.id)
        });
        *self.switch.power.lock().unwrap() = power;
        self.switch.switched.notify_waiters();
        if power == Power::Off {
            self.step(|state| {
                let open: Vec<TransactionId> = state.transactions.keys().copied().collect();
                open.into_iter().for_each(|id| state.roll_back(id));
                state.connections.clear();
            });
        }
    }

    /// A killed server comes back with what was committed. Its connections count from the beginning again, if luck will have it, so that a
    /// number may now be another's.
    pub fn start_again(&self) {
        if self.power() != Power::Off {
            return;
        }
        self.step(|state| {
            state.is_damaged = false;
            if state.random.chance(500) {
                state.next_connection = u32::from(self.id) * 1000;
            }
            if state.random.chance(300) {
                state.storage.forget_generated_keys();
            }
        });
        *self.switch.power.lock().unwrap() = Power::On;
        self.trace.event(&[65, u64::from(self.id)], || {
            format!("server {} has started again", self.id)
        });
        self.switch.switched.notify_waiters();
    }

    /// Nothing passes between the server and Grove until [`Self::heal`].
    pub fn cut(&self) {
        self.trace
            .event(&[66, u64::from(self.id)], || format!("server {} is cut off", self.id));
        self.link.cut();
    }

    pub fn heal(&self) {
        if !self.link.is_cut() {
            return;
        }
        self.trace.event(&[67, u64::from(self.id)], || {
            format!("server {} is connected again", self.id)
        });
        self.link.heal();
    }

    /// Waits while the server hangs.
    pub async fn runs(&self) {
        self.until(|power| power != Power::Hung).await;
    }

    /// Completes when the server is killed.
    pub async fn dies(&self) {
        self.until(|power| power == Power::Off).await;
    }

    async fn until(&self, condition: impl Fn(Power) -> bool) {
        loop {
            let switched = self.switch.switched.notified();
            tokio::pin!(switched);
            switched.as_mut().enable();
            if condition(self.power()) {
                return;
            }
            switched.await;
        }
    }
}
