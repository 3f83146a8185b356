//! An [`OrderedLog`] that keeps the newest entries in memory, bounded by number.
//!
//! It gives the engine its commit order and operators a look at the last units; it survives nothing.

use crate::{Entry, LogError, LogId, Need, OrderedLog, Position, Record};
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};

/// The in-memory log.
pub struct MemoryLog {
    capacity: usize,
    id: Option<LogId>,
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
            id: None,
            state: Mutex::default(),
        }
    }

    /// A log that stands for a durable one: the servers remember its entries by this name.
    pub fn named(capacity: usize, id: LogId) -> Self {
        Self {
            id: Some(id),
            ..Self::new(capacity)
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

    fn id(&self) -> Option<LogId> {
        self.id
    }

    fn entries(
        &self,
        from: Position,
        most_bytes: u64,
    ) -> Pin<Box<dyn Future<Output = Result<Vec<Record>, LogError>> + Send + '_>> {
        /// Each entry counts as one of this many bytes.
        const ENTRY: u64 = 256;
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let first = state.last + 1 - state.entries.len() as u64;
        let from = from.max(1);
        if from < first {
            return Box::pin(std::future::ready(Err(LogError::Dropped { wanted: from, first })));
        }
        let records = (from..=state.last).take((most_bytes / ENTRY).max(1) as usize);
        let records = records.filter_map(|position| {
            Some(Record {
                position,
                unix_micros: 0,
                payload_bytes: ENTRY,
                entry: state.entries.get((position - first) as usize)?.clone(),
            })
        });
        Box::pin(std::future::ready(Ok(records.collect())))
    }

    fn retain(&self, _needs: Vec<Need>) {}
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
