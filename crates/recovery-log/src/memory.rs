//! An [`OrderedLog`] that keeps the newest entries in memory, bounded by number.
//!
//! It gives the engine its commit order and operators a look at the last units; it survives nothing.

use crate::{Entry, LogError, OrderedLog, Position};
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};

/// The in-memory log.
pub struct MemoryLog {
    capacity: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    last: Position,
    entries: VecDeque<Entry>,
}

impl MemoryLog {
    /// A log that remembers the newest `capacity` entries.
    pub fn new(capacity: usize) -> Self {
        Self {
            capacity,
            state: Mutex::default(),
        }
    }

    /// The newest entries, oldest first, with the position of the first.
    pub fn recent(&self) -> (Position, Vec<Entry>) {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let first = state.last + 1 - state.entries.len() as u64;
        (first, state.entries.iter().cloned().collect())
    }
}

impl OrderedLog for MemoryLog {
    fn append(&self, entry: Entry) -> Pin<Box<dyn Future<Output = Result<Position, LogError>> + Send + '_>> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.last += 1;
        if state.entries.len() == self.capacity {
            state.entries.pop_front();
        }
        if self.capacity > 0 {
            state.entries.push_back(entry);
        }
        let position = state.last;
        drop(state);
        Box::pin(std::future::ready(Ok(position)))
    }

    fn last_position(&self) -> Position {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).last
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::WriteUnit;

    #[test]
    fn positions_have_no_holes_and_memory_is_bounded() {
        let log = MemoryLog::new(3);
        let waker = std::task::Waker::noop();
        for expected in 1..=5 {
            let mut append = log.append(Entry::Unit(WriteUnit::default()));
            match append.as_mut().poll(&mut std::task::Context::from_waker(waker)) {
                std::task::Poll::Ready(Ok(position)) => assert_eq!(position, expected),
                other => panic!("append must complete at once, got {other:?}"),
            }
        }
        let (first, entries) = log.recent();
        assert_eq!((first, entries.len(), log.last_position()), (3, 3, 5));
    }
}
