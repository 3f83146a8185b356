//! Row locks in the manner of InnoDB: point locks on index entries in queues, gap locks that conflict only with insertions, and a
//! deadlock detector that chooses a victim.
//!
//! A gap is an open interval between two index entries, so nothing needs to be inherited when entries come and go; a point lock
//! outlives its entry and then guards the place. What differs between two real servers with the same data is chosen by the seed: which of
//! several waiters is served first, which transaction of a cycle dies.

use super::sql::Table;
use crate::random::Random;
use std::collections::BTreeMap;
use tokio::sync::oneshot;

/// A transaction of one server.
pub type TransactionId = u64;

/// A key in an index: `(k, 0)` in the primary one, `(g, k)` in the secondary one.
pub type IndexKey = (i64, i64);

/// Before every key.
pub const LOWEST: IndexKey = (i64::MIN, i64::MIN);
/// After every key: the supremum.
pub const HIGHEST: IndexKey = (i64::MAX, i64::MAX);

/// One of a table's two indexes, or the table's definition as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Index {
    Primary,
    Secondary,
    /// Metadata lock: shared by every transaction that has used the table, exclusive for DDL.
    Definition,
}

/// An entry of an index, or where one could be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub table: Table,
    pub index: Index,
    pub key: IndexKey,
}

/// How an entry is locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Shared,
    Exclusive,
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The entry itself.
    Point(Place, Mode),
    /// To put an entry there.
    Insertion(Place),
    /// The right to generate keys for a statement whose number of rows is not known.
    Generator(Table),
}

/// How a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitEnd {
    Granted,
    Deadlock,
    Killed,
}

struct Request {
    owner: TransactionId,
    mode: Mode,
    granted: bool,
}

struct Gap {
    owner: TransactionId,
    table: Table,
    index: Index,
    low: IndexKey,
    high: IndexKey,
}

struct Waiter {
    owner: TransactionId,
    wanted: Wanted,
    wake: oneshot::Sender<WaitEnd>,
}

/// All locks of a server.
pub struct Locks {
    points: BTreeMap<Place, Vec<Request>>,
    gaps: Vec<Gap>,
    generators: BTreeMap<Table, TransactionId>,
    waiters: Vec<Waiter>,
    random: Random,
    /// In how many of 1000 releases waiters are served in another order than they came.
    shuffles: u64,
    pub deadlocks: u64,
}

impl Locks {
    pub fn new(random: Random, shuffles: u64) -> Self {
        Self {
            points: BTreeMap::new(),
            gaps: Vec::new(),
            generators: BTreeMap::new(),
            waiters: Vec::new(),
            random,
            shuffles,
            deadlocks: 0,
        }
    }

    /// Asks for a lock; a receiver if it must be waited for.
    pub fn request(&mut self, owner: TransactionId, wanted: Wanted) -> Option<oneshot::Receiver<WaitEnd>> {
        if let Wanted::Point(place, mode) = wanted {
            let queue = self.points.entry(place).or_default();
            let covers = |held: Mode| held == Mode::Exclusive || mode == Mode::Shared;
            if queue.iter().any(|r| r.owner == owner && r.granted && covers(r.mode)) {
                return None;
            }
            queue.push(Request {
                owner,
                mode,
                granted: false,
            });
        }
        if self.blockers_of(owner, wanted).is_empty() {
            self.grant(owner, wanted);
            return None;
        }
        let (wake, woken) = oneshot::channel();
        self.waiters.push(Waiter { owner, wanted, wake });
        self.break_cycles();
        Some(woken)
    }

    /// Locks a gap, which never waits.
    pub fn lock_gap(&mut self, owner: TransactionId, table: Table, index: Index, low: IndexKey, high: IndexKey) {
        let covered = |gap: &Gap| {
            gap.owner == owner && gap.table == table && gap.index == index && gap.low <= low && gap.high >= high
        };
        if !self.gaps.iter().any(covered) {
            self.gaps.push(Gap {
                owner,
                table,
                index,
                low,
                high,
            });
        }
    }

    /// Ends a statement's right to generate keys.
    pub fn release_generator(&mut self, owner: TransactionId, table: Table) {
        if self.generators.get(&table) == Some(&owner) {
            self.generators.remove(&table);
            self.settle();
        }
    }

    /// Releases everything of a transaction that has ended.
    pub fn release_all(&mut self, owner: TransactionId) {
        let shuffle = self.random.chance(self.shuffles);
        self.waiters.retain(|waiter| waiter.owner != owner);
        self.gaps.retain(|gap| gap.owner != owner);
        self.generators.retain(|_, holder| *holder != owner);
        let random = &mut self.random;
        self.points.retain(|_, queue| {
            let before = queue.len();
            queue.retain(|request| request.owner != owner);
            if shuffle && queue.len() < before {
                let first = queue.iter().position(|r| !r.granted).unwrap_or(queue.len());
                let waiting = queue.len() - first;
                if waiting > 1 && queue[first..].iter().all(|r| !r.granted) {
                    queue[first..].rotate_left(random.below(waiting as u64) as usize);
                }
            }
            !queue.is_empty()
        });
        self.settle();
        if shuffle {
            self.break_cycles();
        }
    }

    /// Gives up a wait.
    pub fn cancel(&mut self, owner: TransactionId) {
        self.take_waiter(owner);
        self.settle();
    }

    /// Ends a wait from outside. False if there is none.
    pub fn interrupt(&mut self, owner: TransactionId) -> bool {
        let Some(waiter) = self.take_waiter(owner) else {
            return false;
        };
        let _ = waiter.wake.send(WaitEnd::Killed);
        self.settle();
        true
    }

    /// Whom a transaction waits for; empty if it does not wait.
    pub fn blockers(&self, owner: TransactionId) -> Vec<TransactionId> {
        let waiter = self.waiters.iter().find(|waiter| waiter.owner == owner);
        waiter.map_or_else(Vec::new, |waiter| self.blockers_of(owner, waiter.wanted))
    }

    pub fn is_empty(&self) -> bool {
        self.points.is_empty() && self.gaps.is_empty() && self.generators.is_empty() && self.waiters.is_empty()
    }

    fn blockers_of(&self, owner: TransactionId, wanted: Wanted) -> Vec<TransactionId> {
        let mut blockers = Vec::new();
        match wanted {
            Wanted::Point(place, mode) => {
                for request in self.points.get(&place).into_iter().flatten() {
                    if request.owner == owner && !request.granted {
                        break;
                    }
                    let conflict = mode == Mode::Exclusive || request.mode == Mode::Exclusive;
                    if request.owner != owner && conflict {
                        blockers.push(request.owner);
                    }
                }
            }
            Wanted::Insertion(place) => {
                let covers = |gap: &&Gap| {
                    gap.owner != owner
                        && gap.table == place.table
                        && gap.index == place.index
                        && gap.low < place.key
                        && place.key < gap.high
                };
                blockers.extend(self.gaps.iter().filter(covers).map(|gap| gap.owner));
                let points = self.points.get(&place).into_iter().flatten();
                blockers.extend(points.map(|request| request.owner).filter(|&other| other != owner));
            }
            Wanted::Generator(table) => {
                blockers.extend(self.generators.get(&table).copied().filter(|&holder| holder != owner));
            }
        }
        blockers.dedup();
        blockers
    }

    fn grant(&mut self, owner: TransactionId, wanted: Wanted) {
        match wanted {
            Wanted::Point(place, _) => {
                let queue = self.points.entry(place).or_default();
                let request = queue.iter_mut().find(|r| r.owner == owner && !r.granted);
                if let Some(request) = request {
                    request.granted = true;
                }
            }
            Wanted::Insertion(_) => {}
            Wanted::Generator(table) => {
                self.generators.insert(table, owner);
            }
        }
    }

    /// Grants whatever can be granted now.
    fn settle(&mut self) {
        let mut index = 0;
        while index < self.waiters.len() {
            let (owner, wanted) = (self.waiters[index].owner, self.waiters[index].wanted);
            if self.blockers_of(owner, wanted).is_empty() {
                self.grant(owner, wanted);
                let waiter = self.waiters.remove(index);
                let _ = waiter.wake.send(WaitEnd::Granted);
                index = 0;
            } else {
                index += 1;
            }
        }
    }

    fn take_waiter(&mut self, owner: TransactionId) -> Option<Waiter> {
        let index = self.waiters.iter().position(|waiter| waiter.owner == owner)?;
        let waiter = self.waiters.remove(index);
        if let Wanted::Point(place, _) = waiter.wanted
            && let Some(queue) = self.points.get_mut(&place)
        {
            queue.retain(|request| request.owner != owner || request.granted);
            if queue.is_empty() {
                self.points.remove(&place);
            }
        }
        Some(waiter)
    }

    fn break_cycles(&mut self) {
        while let Some(cycle) = self.find_cycle() {
            self.deadlocks += 1;
            let victim = self.random.pick(&cycle);
            if let Some(waiter) = self.take_waiter(victim) {
                let _ = waiter.wake.send(WaitEnd::Deadlock);
            }
            self.settle();
        }
    }

    /// Transactions that wait for each other.
    fn find_cycle(&self) -> Option<Vec<TransactionId>> {
        // The newest wait closes a cycle most often.
        self.waiters.iter().rev().find_map(|waiter| {
            let mut path = vec![waiter.owner];
            let mut seen = Vec::new();
            self.follow(waiter.owner, waiter.owner, &mut path, &mut seen)
                .then_some(path)
        })
    }

    fn follow(
        &self,
        from: TransactionId,
        goal: TransactionId,
        path: &mut Vec<TransactionId>,
        seen: &mut Vec<TransactionId>,
    ) -> bool {
        for next in self.blockers(from) {
            if next == goal {
                return true;
            }
            if seen.contains(&next) {
                continue;
            }
            seen.push(next);
            path.push(next);
            if self.follow(next, goal, path, seen) {
                return true;
            }
            path.pop();
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn locks() -> Locks {
        Locks::new(Random::new(1), 0)
    }

    fn place(k: i64) -> Place {
        Place {
            table: Table::T,
            index: Index::Primary,
            key: (k, 0),
        }
    }

    #[test]
    fn gaps_conflict_only_with_insertions_of_others() {
        let mut locks = locks();
        locks.lock_gap(1, Table::T, Index::Primary, (2, 0), (6, 0));
        locks.lock_gap(2, Table::T, Index::Primary, (2, 0), (6, 0));
        assert!(locks.request(3, Wanted::Insertion(place(6))).is_none());
        let mut waits = locks.request(3, Wanted::Insertion(place(4))).unwrap();
        assert_eq!(locks.blockers(3), [1, 2]);
        locks.release_all(1);
        assert!(waits.try_recv().is_err());
        locks.release_all(2);
        assert_eq!(waits.try_recv(), Ok(WaitEnd::Granted));
    }

    #[test]
    fn waiters_are_served_in_order_and_sharers_do_not_pass_a_waiting_owner() {
        let mut locks = locks();
        assert!(locks.request(1, Wanted::Point(place(1), Mode::Shared)).is_none());
        let mut second = locks.request(2, Wanted::Point(place(1), Mode::Exclusive)).unwrap();
        let mut third = locks.request(3, Wanted::Point(place(1), Mode::Shared)).unwrap();
        locks.release_all(1);
        assert_eq!(second.try_recv(), Ok(WaitEnd::Granted));
        assert!(third.try_recv().is_err());
        locks.release_all(2);
        assert_eq!(third.try_recv(), Ok(WaitEnd::Granted));
        locks.release_all(3);
        assert!(locks.is_empty());
    }

    #[test]
    fn a_cycle_has_one_victim() {
        let mut locks = locks();
        let exclusive = |k| Wanted::Point(place(k), Mode::Exclusive);
        assert!(locks.request(1, exclusive(1)).is_none());
        assert!(locks.request(2, exclusive(2)).is_none());
        let mut first = locks.request(1, exclusive(2)).unwrap();
        let mut second = locks.request(2, exclusive(1)).unwrap();
        let ends = [first.try_recv(), second.try_recv()];
        assert_eq!(ends.iter().filter(|end| **end == Ok(WaitEnd::Deadlock)).count(), 1);
        assert_eq!(locks.deadlocks, 1);
    }
}
