//! What happened in one seed, in order: a digest that two runs of the seed must share, and the last events for people.

use std::collections::VecDeque;
use std::sync::Mutex;
use tokio::time::Instant;

/// Events that are kept for a failure's report: as many of the beginning as of the end.
const KEPT: usize = 5_000;

/// The trace of one seed.
pub struct Trace {
    start: Instant,
    state: Mutex<State>,
}

struct State {
    digest: u64,
    count: u64,
    kept: Option<VecDeque<String>>,
}

impl Trace {
    /// With `Detail::Full` events are kept as text, which costs as much as the simulation itself.
    pub fn new(detail: Detail) -> Self {
        Self {
            start: Instant::now(),
            state: Mutex::new(State {
                digest: 0xCBF2_9CE4_8422_2325,
                count: 0,
                kept: (detail == Detail::Full).then(VecDeque::new),
            }),
        }
    }

    /// Adds an event: numbers for the digest, words for people.
    pub fn event(&self, numbers: &[u64], words: impl FnOnce() -> String) {
        let at = self.start.elapsed().as_millis() as u64;
        let mut state = self.state.lock().unwrap();
        state.count += 1;
        for number in std::iter::once(&at).chain(numbers) {
            state.digest = (state.digest ^ number)
                .wrapping_mul(0x0000_0100_0000_01B3)
                .rotate_left(23);
        }
        if let Some(kept) = &mut state.kept {
            if kept.len() == 2 * KEPT {
                kept.remove(KEPT);
            }
            kept.push_back(format!("{at:>7} ms  {}", words()));
        }
    }

    pub fn digest(&self) -> (u64, u64) {
        let state = self.state.lock().unwrap();
        (state.count, state.digest)
    }

    pub fn text(&self) -> String {
        let state = self.state.lock().unwrap();
        let lines = state.kept.iter().flatten().map(|line| format!("{line}\n"));
        lines.collect()
    }
}

/// How much of a trace is kept.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    DigestOnly,
    Full,
}
