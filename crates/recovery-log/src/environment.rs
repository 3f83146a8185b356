//! The clock and the chance that the log is given.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::time::{SystemTime, UNIX_EPOCH};

/// Wall clock and random numbers.
pub trait Environment: Send + Sync + 'static {
    /// Microseconds since 1970, UTC. When it goes back, the log's times stand still.
    fn unix_micros(&self) -> u64;
    /// A number that nobody can guess, for salts and for the log's id.
    fn random(&self) -> u64;
}

/// This machine's.
#[derive(Clone, Copy, Debug, Default)]
pub struct Machine;

impl Environment for Machine {
    fn unix_micros(&self) -> u64 {
        // A wall clock before 1970 is a broken machine; entries then get the start of 1970 as their time.
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
    }

    fn random(&self) -> u64 {
        // The standard library seeds its hash maps from the system's random source and never twice alike; hashing nothing gives the seed, mixed.
        RandomState::new().build_hasher().finish()
    }
}
