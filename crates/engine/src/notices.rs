//! How often the log says the same about a kind of statement.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Pause between two messages about one shape.
const PAUSE: Duration = Duration::from_secs(60);
/// Shapes that are remembered. With more of them, all are forgotten and may be named again.
const MOST: usize = 1_000;

/// When each shape was last named.
#[derive(Debug, Default)]
pub(crate) struct Notices(Mutex<HashMap<u64, Duration>>);

impl Notices {
    /// Whether a shape is to be named now, on a clock that says `now`.
    pub fn is_due(&self, digest: u64, now: Duration) -> bool {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if last.get(&digest).is_some_and(|&at| now < at + PAUSE) {
            return false;
        }
        if last.len() >= MOST {
            last.clear();
        }
        last.insert(digest, now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shape_is_named_once_a_minute_and_the_memory_is_bounded() {
        let notices = Notices::default();
        let at = Duration::from_secs;
        assert!(notices.is_due(1, at(0)));
        assert!(!notices.is_due(1, at(59)));
        assert!(notices.is_due(2, at(59)));
        assert!(notices.is_due(1, at(60)));
        for digest in 0..10_000 {
            notices.is_due(digest, at(61));
        }
        assert!(notices.0.lock().unwrap().len() <= MOST);
    }
}
