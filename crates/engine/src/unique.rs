//! UUIDs as the servers make them, for statements that every server is to execute with the same ones.
//!
//! Version 1 (RFC 9562, 5.1), as MySQL and MariaDB have it: applications sort by its time, and MySQL's UUID_TO_BIN(u, 1) moves that to the front. The
//! node is drawn at random with the multicast bit set (6.10), so that it is no network card's. Invariant: no instant is given twice, also if the
//! clock stands still or goes back while the process lives; another process has another node.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::io::Entropy;

/// From 1582-10-15, where UUIDs begin to count, to 1970-01-01, in units of 100 ns.
const SINCE_1582: u64 = 0x01B2_1DD2_1381_4000;
/// The highest byte of UUID_SHORT(), where servers have their id: the highest one with which a signed column still takes the number.
const SHORT_SERVER: u64 = 0x7F;
/// The group bit of a network address.
const MULTICAST: u8 = 1;

/// Makes identifiers that nobody else makes.
#[derive(Debug)]
pub(crate) struct Unique {
    node: [u8; 6],
    clock_sequence: u16,
    /// The last instant that was given, in units of 100 ns since 1970.
    last: AtomicU64,
}

impl Unique {
    pub fn new(entropy: &impl Entropy) -> Self {
        let drawn = entropy.next_u64().to_le_bytes();
        let mut node = [0; 6];
        node.copy_from_slice(&drawn[..6]);
        node[0] |= MULTICAST;
        Self {
            node,
            clock_sequence: u16::from_le_bytes([drawn[6], drawn[7]]) & 0x3FFF,
            last: AtomicU64::new(0),
        }
    }

    /// A UUID of this time.
    pub fn uuid(&self, unix_micros: u64) -> [u8; 16] {
        let time = self.instant(unix_micros) + SINCE_1582;
        let low = time as u32;
        let middle = (time >> 32) as u16;
        let high_and_version = ((time >> 48) & 0x0FFF) as u16 | 0x1000;
        let sequence_and_variant = self.clock_sequence | 0x8000;
        let mut uuid = [0; 16];
        uuid[..4].copy_from_slice(&low.to_be_bytes());
        uuid[4..6].copy_from_slice(&middle.to_be_bytes());
        uuid[6..8].copy_from_slice(&high_and_version.to_be_bytes());
        uuid[8..10].copy_from_slice(&sequence_and_variant.to_be_bytes());
        uuid[10..].copy_from_slice(&self.node);
        uuid
    }

    /// A number of this time as UUID_SHORT() gives it: a server's id and what counts up.
    pub fn short(&self, unix_micros: u64) -> u64 {
        // 56 bits are enough until the year 2198.
        SHORT_SERVER << 56 | self.instant(unix_micros) & 0x00FF_FFFF_FFFF_FFFF
    }

    fn instant(&self, unix_micros: u64) -> u64 {
        let now = unix_micros.saturating_mul(10);
        let next = |last: u64| Some(now.max(last + 1));
        let last = self.last.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
        // It always takes the next one.
        now.max(last.unwrap_or_default() + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixed;

    impl Entropy for Fixed {
        fn next_u64(&self) -> u64 {
            0xFFFF_0605_0403_0200
        }

        fn fill_secret(&self, _bytes: &mut [u8]) {}
    }

    #[test]
    fn a_uuid_says_its_version_its_variant_its_node_and_its_time() {
        let unique = Unique::new(&Fixed);
        // 2023-11-14 22:13:20 UTC
        let uuid = unique.uuid(1_700_000_000_000_000);
        let hexadecimal: String = uuid.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hexadecimal, "04afc000833b11eebfff010203040506");
    }

    #[test]
    fn nothing_is_given_twice_though_the_clock_goes_back() {
        let unique = Unique::new(&Fixed);
        let shorts: Vec<u64> = [5, 5, 5, 4, 6].map(|micros| unique.short(micros)).into();
        let server = SHORT_SERVER << 56;
        assert_eq!(shorts, [50, 51, 52, 53, 60].map(|instant| server | instant));
        assert_ne!(unique.uuid(1), unique.uuid(1));
        assert!(i64::try_from(shorts[0]).is_ok(), "a signed column takes it");
    }
}
