//! Entries on their way to the disk: appenders put them in, the writer takes whole groups out.
//!
//! Invariants: entries leave in the order in which they came; each of them is answered exactly once, also when the writer ends; the bytes that wait are
//! bounded by [`Queue::new`]'s argument, or by one entry if that is longer.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};

use crate::record::RecordHeader;
use crate::retention::Needs;
use crate::{LogError, Position};

/// Bytes that one permit stands for.
const PERMIT: u64 = 1 << 10;

/// An encoded entry, and who waits for it.
pub(crate) struct Waiting {
    pub header: RecordHeader,
    pub payload: Vec<u8>,
    answer: oneshot::Sender<Result<Position, LogError>>,
    /// Its share of the queue's bytes.
    _room: OwnedSemaphorePermit,
}

impl Waiting {
    pub fn answer(self, result: Result<Position, LogError>) {
        // Nobody listens when the appender was dropped; the entry is in the log nevertheless.
        let _ = self.answer.send(result);
    }
}

/// What the writer is to do next.
pub(crate) enum Work {
    /// Write what is in the queue.
    Write,
    /// Look whether segments may be dropped.
    Retain,
    /// End: nothing is in the queue and nothing will be.
    End,
}

/// The queue.
pub(crate) struct Queue {
    state: Mutex<State>,
    writer: Condvar,
    room: Arc<Semaphore>,
    permits: u32,
    /// Why nothing can be appended any more, once that is so.
    stopped: watch::Sender<Option<LogError>>,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Waiting>,
    /// The writer has nothing to do, so that somebody must wake it.
    writer_sleeps: bool,
    closing: bool,
    needs: Needs,
    needs_changed: bool,
}

impl Queue {
    /// A queue in which about so many bytes may wait.
    pub fn new(bytes: u64) -> Self {
        let permits = u32::try_from(bytes.div_ceil(PERMIT).max(1)).unwrap_or(u32::MAX);
        Self {
            state: Mutex::default(),
            writer: Condvar::new(),
            room: Arc::new(Semaphore::new(permits as usize)),
            permits,
            stopped: watch::Sender::new(None),
        }
    }

    /// Puts an entry in, in its turn, and waits until it is durable. An entry that is in is not taken out when the future is dropped.
    pub async fn append(&self, header: RecordHeader, payload: Vec<u8>) -> Result<Position, LogError> {
        let permits = (header.stride().div_ceil(PERMIT)).min(u64::from(self.permits));
        let permits = u32::try_from(permits).unwrap_or(self.permits);
        let room = Arc::clone(&self.room).acquire_many_owned(permits).await;
        let room = room.map_err(|_| self.reason())?;
        let (answer, durable) = oneshot::channel();
        let waiting = Waiting {
            header,
            payload,
            answer,
            _room: room,
        };
        {
            let mut state = self.lock();
            // Checked under the lock under which the writer looks for the last time.
            if state.closing || self.stopped.borrow().is_some() {
                drop(state);
                return Err(self.reason());
            }
            state.waiting.push_back(waiting);
            if std::mem::take(&mut state.writer_sleeps) {
                self.writer.notify_one();
            }
        }
        durable.await.unwrap_or_else(|_| Err(self.reason()))
    }

    /// Waits for something to do. [`Work::Retain`] comes when needs have changed, and after `patience` without anything else.
    pub fn next(&self, patience: Duration) -> Work {
        let mut state = self.lock();
        loop {
            if !state.waiting.is_empty() {
                return Work::Write;
            }
            if state.closing {
                return Work::End;
            }
            if std::mem::take(&mut state.needs_changed) {
                return Work::Retain;
            }
            state.writer_sleeps = true;
            let (woken, timeout) = self
                .writer
                .wait_timeout(state, patience)
                .unwrap_or_else(PoisonError::into_inner);
            state = woken;
            state.writer_sleeps = false;
            if timeout.timed_out() && state.waiting.is_empty() {
                return Work::Retain;
            }
        }
    }

    /// Takes entries out, oldest first, as long as `fits` says so of their length on the disk.
    pub fn take(&self, mut fits: impl FnMut(u64) -> bool) -> Vec<Waiting> {
        let mut state = self.lock();
        let mut group = Vec::with_capacity(state.waiting.len());
        while let Some(next) = state.waiting.front()
            && fits(next.header.stride())
        {
            group.extend(state.waiting.pop_front());
        }
        group
    }

    /// Takes those entries out that are `meant`, oldest first.
    pub fn remove(&self, meant: impl Fn(&RecordHeader) -> bool) -> Vec<Waiting> {
        let mut state = self.lock();
        let waiting = std::mem::take(&mut state.waiting).into_iter();
        let (removed, left): (Vec<Waiting>, Vec<Waiting>) = waiting.partition(|waiting| meant(&waiting.header));
        state.waiting = left.into();
        removed
    }

    /// The header of the oldest entry.
    pub fn oldest(&self) -> Option<RecordHeader> {
        self.lock().waiting.front().map(|waiting| waiting.header)
    }

    pub fn set_needs(&self, needs: Needs) {
        let mut state = self.lock();
        state.needs = needs;
        state.needs_changed = true;
        if std::mem::take(&mut state.writer_sleeps) {
            self.writer.notify_one();
        }
    }

    pub fn needs(&self) -> Needs {
        self.lock().needs.clone()
    }

    /// No more entries are taken. The writer writes those that are there, then ends.
    pub fn close(&self) {
        self.lock().closing = true;
        self.writer.notify_one();
        self.room.close();
    }

    /// Nothing is ever written again: all who wait are told, and all who come.
    pub fn stop(&self, error: LogError) {
        self.stopped.send_if_modified(|stopped| {
            let first = stopped.is_none();
            stopped.get_or_insert(error);
            first
        });
        self.room.close();
        let waiting = std::mem::take(&mut self.lock().waiting);
        for entry in waiting {
            entry.answer(Err(self.reason()));
        }
    }

    /// Told when [`Self::stop`] was called.
    pub fn stopped(&self) -> watch::Receiver<Option<LogError>> {
        self.stopped.subscribe()
    }

    fn reason(&self) -> LogError {
        self.stopped.borrow().clone().unwrap_or(LogError::Closed)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
