//! How many clients of one account are logged in, and the account's own limit of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// An account's seats.
#[derive(Debug)]
pub(crate) struct Seats {
    taken: AtomicUsize,
    limit: usize,
}

impl Seats {
    pub fn new(limit: Option<usize>) -> Arc<Self> {
        Arc::new(Self {
            taken: AtomicUsize::new(0),
            limit: limit.unwrap_or(usize::MAX),
        })
    }

    /// A seat, if one is free.
    pub fn take(self: &Arc<Self>) -> Option<Seat> {
        let one_more = |taken: usize| (taken < self.limit).then_some(taken + 1);
        let taken = self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more);
        taken.ok().map(|_| Seat(Arc::clone(self)))
    }
}

/// One client's seat, free again when this is dropped.
#[derive(Debug)]
pub(crate) struct Seat(Arc<Seats>);

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_as_many_seats_as_the_limit_says() {
        let seats = Seats::new(Some(2));
        let (first, second) = (seats.take(), seats.take());
        assert!(first.is_some() && second.is_some() && seats.take().is_none());
        drop(first);
        assert!(seats.take().is_some());
        assert!(Seats::new(None).take().is_some());
    }
}
