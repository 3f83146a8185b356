//! The real world behind the engine's traits: servers over TCP, the machine's clock, and chance.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use grove_backend::MysqlServers;
use grove_engine::io::{Clock, Entropy, World};
use tokio::time::Instant;

/// What the engine runs on in production.
pub struct Reality {
    servers: MysqlServers,
    clock: MachineClock,
    entropy: SplitMix,
}

impl Reality {
    /// A world with these servers, beginning now.
    pub fn new(servers: MysqlServers) -> Self {
        Self {
            servers,
            clock: MachineClock { start: Instant::now() },
            entropy: SplitMix::seeded_by_system(),
        }
    }
}

impl World for Reality {
    type Servers = MysqlServers;
    type Clock = MachineClock;
    type Entropy = SplitMix;

    fn servers(&self) -> &MysqlServers {
        &self.servers
    }

    fn clock(&self) -> &MachineClock {
        &self.clock
    }

    fn entropy(&self) -> &SplitMix {
        &self.entropy
    }
}

/// Monotonic and wall time of this machine.
pub struct MachineClock {
    start: Instant,
}

impl Clock for MachineClock {
    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    fn unix_micros(&self) -> u64 {
        // A wall clock before 1970 is a broken machine; the servers then get the start of 1970 as their time.
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}

/// SplitMix64 (Steele, Lea and Flood, 2014): one atomic addition per number, then a mixing function. It serves seeds
/// and jitter; nothing secret is drawn from it.
pub struct SplitMix {
    state: AtomicU64,
}

impl SplitMix {
    /// The golden ratio's fraction, made odd: the sequence then visits every state once.
    const STEP: u64 = 0x9E37_79B9_7F4A_7C15;

    fn seeded_by_system() -> Self {
        // The standard library seeds its hash maps from the system's random source; hashing nothing gives that seed.
        let seed = RandomState::new().build_hasher().finish();
        Self {
            state: AtomicU64::new(seed),
        }
    }
}

impl Entropy for SplitMix {
    fn next_u64(&self) -> u64 {
        let mut mixed = self
            .state
            .fetch_add(Self::STEP, Ordering::Relaxed)
            .wrapping_add(Self::STEP);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn fill_secret(&self, bytes: &mut [u8]) {
        // It fails only where the system has no source of chance, and then nothing on it can be encrypted either.
        aws_lc_rs::rand::fill(bytes).expect("the system has a source of chance");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generator_gives_the_published_sequence() {
        let generator = SplitMix {
            state: AtomicU64::new(1_234_567),
        };
        let expected = [
            6_457_827_717_110_365_317,
            3_203_168_211_198_807_973,
            9_817_491_932_198_370_423,
        ];
        assert_eq!([(); 3].map(|()| generator.next_u64()), expected);
    }

    #[test]
    fn two_processes_do_not_share_a_sequence() {
        assert_ne!(
            SplitMix::seeded_by_system().next_u64(),
            SplitMix::seeded_by_system().next_u64()
        );
    }
}
