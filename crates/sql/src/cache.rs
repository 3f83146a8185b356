//! A bounded map from bytes (a shape, a text) and their lexical mode to what was found out about them, shared by all sessions.
//!
//! It is cut into shards, each behind a read-write lock that is held for one look-up, so that readers rarely meet. A hash collision is noticed,
//! because the bytes are kept and compared: clients choose them, and a wrong answer could make a write look like a read.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock};

use crate::mode::LexMode;

/// More shards than processors that will ever read at once.
const SHARDS: usize = 64;

/// The map.
#[derive(Debug)]
pub(crate) struct Cache<V> {
    shards: Vec<Shard<V>>,
    shard_capacity: usize,
}

/// On cache lines of its own, so that readers of different shards do not slow each other down.
#[derive(Debug)]
#[repr(align(128))]
struct Shard<V>(RwLock<HashMap<u64, Entry<V>, BuildHasherDefault<AlreadyHashed>>>);

#[derive(Debug)]
struct Entry<V> {
    mode: LexMode,
    bytes: Box<[u8]>,
    value: V,
    /// It was asked for since the last time that room was made.
    used: AtomicBool,
}

impl<V: Clone> Cache<V> {
    /// A cache of at most about `capacity` entries.
    pub fn new(capacity: usize) -> Self {
        Self {
            shards: std::iter::repeat_with(|| Shard(RwLock::default()))
                .take(SHARDS)
                .collect(),
            shard_capacity: capacity.div_ceil(SHARDS).max(1),
        }
    }

    /// What is known about `bytes`, whose hash is `hash`.
    pub fn find(&self, hash: u64, bytes: &[u8], mode: LexMode) -> Option<V> {
        let key = key(hash, mode);
        let shard = self.shard(key).0.read().unwrap_or_else(PoisonError::into_inner);
        let entry = shard.get(&key)?;
        if entry.mode != mode || *entry.bytes != *bytes {
            return None;
        }
        // A write to a shared cache line, so only when it changes something.
        if !entry.used.load(Ordering::Relaxed) {
            entry.used.store(true, Ordering::Relaxed);
        }
        Some(entry.value.clone())
    }

    /// Remembers `value` for `bytes`.
    pub fn insert(&self, hash: u64, bytes: &[u8], mode: LexMode, value: V) {
        let key = key(hash, mode);
        let mut shard = self.shard(key).0.write().unwrap_or_else(PoisonError::into_inner);
        if shard.len() >= self.shard_capacity && !shard.contains_key(&key) {
            make_room(&mut shard, self.shard_capacity);
        }
        let entry = Entry {
            mode,
            bytes: bytes.into(),
            value,
            used: AtomicBool::new(false),
        };
        shard.insert(key, entry);
    }

    fn shard(&self, key: u64) -> &Shard<V> {
        // The map itself uses the low bits.
        &self.shards[(key >> 58) as usize % SHARDS]
    }
}

/// Forgets what was not asked for since the last time, and if that is little, half of the rest as well.
fn make_room<V>(shard: &mut HashMap<u64, Entry<V>, BuildHasherDefault<AlreadyHashed>>, capacity: usize) {
    shard.retain(|_, entry| std::mem::take(entry.used.get_mut()));
    if shard.len() > capacity / 2 {
        let mut keep = capacity / 2;
        shard.retain(|_, _| {
            let kept = keep > 0;
            keep = keep.saturating_sub(1);
            kept
        });
    }
}

fn key(hash: u64, mode: LexMode) -> u64 {
    let mode = u64::from(mode.version)
        | (mode.flavor as u64) << 32
        | u64::from(mode.ansi_quotes) << 33
        | u64::from(mode.no_backslash_escapes) << 34
        | mode.charset.number() << 35;
    hash ^ mode.wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

/// The keys are hashes already.
#[derive(Default)]
struct AlreadyHashed(u64);

impl Hasher for AlreadyHashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        // Only u64 keys are used; this keeps the trait's promise for others.
        for &byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(byte);
        }
    }

    fn write_u64(&mut self, key: u64) {
        self.0 = key;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mode::Flavor;

    const MODE: fn() -> LexMode = || LexMode::new(Flavor::MariaDb, 101_119);

    #[test]
    fn a_collision_of_hashes_is_a_miss() {
        let cache = Cache::new(100);
        cache.insert(1, b"a", MODE(), 'a');
        assert_eq!(cache.find(1, b"a", MODE()), Some('a'));
        assert_eq!(cache.find(1, b"b", MODE()), None);
        let ansi = LexMode {
            ansi_quotes: true,
            ..MODE()
        };
        assert_eq!(cache.find(1, b"a", ansi), None);
    }

    #[test]
    fn the_cache_is_bounded_and_keeps_what_is_used() {
        let cache = Cache::new(SHARDS * 8);
        cache.insert(7, b"hot", MODE(), 0);
        for i in 0..100_000u64 {
            cache.insert(i.wrapping_mul(0x9E37_79B9_7F4A_7C15), b"cold", MODE(), i);
            assert_eq!(cache.find(7, b"hot", MODE()), Some(0), "after {i}");
        }
        let len: usize = cache.shards.iter().map(|shard| shard.0.read().unwrap().len()).sum();
        assert!(len <= SHARDS * 8, "{len}");
    }
}
