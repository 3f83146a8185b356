//! Logins that were refused lately, by where they came from, and how long the next one from there has to wait for that.
//!
//! The wait comes before a password is looked at, so that whoever guesses cannot leave early and know the answer, and it goes for the right
//! password too. One refusal is forgiven; from the second one on the wait doubles. A login that succeeds clears its address. Invariants: as
//! many addresses are remembered as [`REMEMBERED`] says, however many there are; the lock is held for a look-up. A client that waits
//! holds neither a server's connection nor a lock, only its own socket, and `listen.max_connections` bounds those.

use crate::peer::Peer;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// How many addresses are remembered. One more drives out the one that was refused longest ago.
const REMEMBERED: usize = 10_000;
/// The wait after the second refusal.
const FIRST_WAIT: Duration = Duration::from_millis(100);
/// An address without a refusal for so long is forgotten.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(60);

/// The refusals.
pub(crate) struct Refusals {
    longest_wait: Duration,
    by_origin: Mutex<HashMap<Origin, Refused>>,
}

/// Who is counted as one. In IPv6 that is a network of 64 bits, because a single host may have all of its addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Origin {
    V4(Ipv4Addr),
    V6([u8; 8]),
    Socket,
}

#[derive(Clone, Copy, Debug)]
struct Refused {
    times: u32,
    last: Instant,
}

impl Refused {
    fn is_forgotten(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.last) >= FORGOTTEN_AFTER
    }
}

impl Refusals {
    /// No wait is longer than that; zero for no waits at all.
    pub fn new(longest_wait: Duration) -> Self {
        Self {
            longest_wait,
            by_origin: Mutex::default(),
        }
    }

    /// How long a login from there has to wait now.
    pub fn wait_of(&self, peer: Peer, now: Instant) -> Duration {
        let by_origin = self.lock();
        match by_origin.get(&Origin::of(peer)) {
            Some(refused) if refused.times > 1 && !refused.is_forgotten(now) => {
                let doubled = 1_u32.checked_shl(refused.times - 2).unwrap_or(u32::MAX);
                FIRST_WAIT.saturating_mul(doubled).min(self.longest_wait)
            }
            _ => Duration::ZERO,
        }
    }

    /// A login from there was refused.
    pub fn add(&self, peer: Peer, now: Instant) {
        let (mut by_origin, origin) = (self.lock(), Origin::of(peer));
        if by_origin.len() >= REMEMBERED && !by_origin.contains_key(&origin) {
            by_origin.retain(|_, refused| !refused.is_forgotten(now));
            if by_origin.len() >= REMEMBERED {
                let oldest = by_origin.iter().min_by_key(|(_, refused)| refused.last);
                let oldest = oldest.map(|(origin, _)| *origin);
                oldest.and_then(|origin| by_origin.remove(&origin));
            }
        }
        let refused = by_origin.entry(origin).or_insert(Refused { times: 0, last: now });
        if refused.is_forgotten(now) {
            refused.times = 0;
        }
        refused.times = refused.times.saturating_add(1);
        refused.last = now;
    }

    /// A login from there succeeded.
    pub fn clear(&self, peer: Peer) {
        self.lock().remove(&Origin::of(peer));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Origin, Refused>> {
        // Each change leaves the map whole.
        self.by_origin.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Origin {
    fn of(peer: Peer) -> Self {
        match peer {
            Peer::Address(IpAddr::V4(address)) | Peer::Announced(IpAddr::V4(address)) => Self::V4(address),
            Peer::Address(IpAddr::V6(address)) | Peer::Announced(IpAddr::V6(address)) => {
                let [a, b, c, d, e, f, g, h, ..] = address.octets();
                Self::V6([a, b, c, d, e, f, g, h])
            }
            Peer::Socket => Self::Socket,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv6Addr;

    const LONGEST: Duration = Duration::from_secs(5);

    fn at(address: impl Into<IpAddr>) -> Peer {
        Peer::at(address.into())
    }

    #[test]
    fn the_wait_doubles_from_the_second_refusal_on_up_to_its_bound() {
        let (refusals, peer, now) = (Refusals::new(LONGEST), at([192, 0, 2, 7]), Instant::now());
        let mut waits = Vec::new();
        for _ in 0..10 {
            waits.push(refusals.wait_of(peer, now).as_millis());
            refusals.add(peer, now);
        }
        assert_eq!(waits, [0, 0, 100, 200, 400, 800, 1600, 3200, 5000, 5000]);
        for _ in 0..100 {
            refusals.add(peer, now);
        }
        assert_eq!(refusals.wait_of(peer, now), LONGEST);
        assert_eq!(refusals.wait_of(at([192, 0, 2, 8]), now), Duration::ZERO);
        assert_eq!(refusals.wait_of(Peer::Socket, now), Duration::ZERO);
        refusals.clear(peer);
        assert_eq!(refusals.wait_of(peer, now), Duration::ZERO);
    }

    #[test]
    fn refusals_are_forgotten_after_a_while() {
        let (refusals, peer, now) = (Refusals::new(LONGEST), at([192, 0, 2, 7]), Instant::now());
        for _ in 0..4 {
            refusals.add(peer, now);
        }
        let later = now + FORGOTTEN_AFTER;
        assert!(refusals.wait_of(peer, later - Duration::from_millis(1)) > Duration::ZERO);
        assert_eq!(refusals.wait_of(peer, later), Duration::ZERO);
        refusals.add(peer, later);
        assert_eq!(refusals.wait_of(peer, later), Duration::ZERO, "the count begins anew");
    }

    #[test]
    fn a_network_of_ipv6_is_one_origin() {
        let (refusals, now) = (Refusals::new(LONGEST), Instant::now());
        for host in 1..4 {
            refusals.add(at(Ipv6Addr::new(0x2001, 0xDB8, 0, 1, 0, 0, 0, host)), now);
        }
        assert!(refusals.wait_of(at(Ipv6Addr::new(0x2001, 0xDB8, 0, 1, 9, 9, 9, 9)), now) > Duration::ZERO);
        assert_eq!(
            refusals.wait_of(at(Ipv6Addr::new(0x2001, 0xDB8, 0, 2, 0, 0, 0, 1)), now),
            Duration::ZERO
        );
    }

    #[test]
    fn memory_is_bounded_and_the_oldest_goes_first() {
        let (refusals, now) = (Refusals::new(LONGEST), Instant::now());
        let peer = |number: usize| at(Ipv4Addr::from(u32::try_from(number).unwrap()));
        for number in 0..REMEMBERED + 50 {
            let at = now + Duration::from_micros(u64::try_from(number).unwrap());
            refusals.add(peer(number), at);
            refusals.add(peer(number), at);
        }
        assert_eq!(refusals.lock().len(), REMEMBERED);
        assert_eq!(refusals.wait_of(peer(49), now), Duration::ZERO);
        assert_eq!(refusals.wait_of(peer(50), now), FIRST_WAIT);
        let later = now + 2 * FORGOTTEN_AFTER;
        refusals.add(peer(0), later);
        assert_eq!(refusals.lock().len(), 1, "those that are forgotten go first");
    }

    #[test]
    fn without_a_longest_wait_nobody_waits() {
        let (refusals, now) = (Refusals::new(Duration::ZERO), Instant::now());
        for _ in 0..9 {
            refusals.add(Peer::Socket, now);
        }
        assert_eq!(refusals.wait_of(Peer::Socket, now), Duration::ZERO);
    }
}
