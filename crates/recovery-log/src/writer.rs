//! The one thread that writes: it takes groups from the queue, writes each with one fdatasync, and only then answers.
//!
//! Invariants: a group is written when the one before is durable, never across two segments; a position is given once; after the first error of a
//! write or a sync nothing is written again, because the kernel may have forgotten what it could not write and a second fsync would not say so. A
//! segment that cannot be made for lack of room is the one error that leaves the log as it was.

use std::io;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::watch;

use crate::catalogue::{Catalogue, Segment};
use crate::encoding::Kind;
use crate::environment::Environment;
use crate::queue::{Queue, Waiting, Work};
use crate::record::{HEADER_LEN, RecordHeader};
use crate::retention::{self, HeldBack, Limits, Need, Needs, Pressure};
use crate::segment::{self, SegmentHeader};
use crate::storage::{Storage, StoredFile};
use crate::{LogError, LogId, Position};

/// Bytes after which a group takes no more entries.
const GROUP_BYTES: u64 = 4 << 20;
/// Payloads from this length on are written from where they are, not through the buffer.
const LONG_PAYLOAD: usize = 256 << 10;
/// An idle log looks so often whether its segments have become too old.
const RETENTION_INTERVAL: Duration = Duration::from_secs(60);

/// The writer's state.
pub(crate) struct Writer {
    pub storage: Arc<dyn Storage>,
    pub environment: Arc<dyn Environment>,
    pub log: LogId,
    pub segment_bytes: u64,
    pub limits: Limits,
    pub queue: Arc<Queue>,
    pub catalogue: Arc<RwLock<Catalogue>>,
    pub durable: watch::Sender<Position>,
    pub held_back: Arc<RwLock<Option<HeldBack>>>,
    pub active: Active,
    /// What is written at once; kept for its memory.
    pub buffer: Vec<u8>,
}

/// The segment that is written.
pub(crate) struct Active {
    pub file: Arc<dyn StoredFile>,
    pub path: String,
    pub salt: u64,
    pub first: Position,
    /// Where the next record begins.
    pub end: u64,
    /// Bytes up to which records may go.
    pub capacity: u64,
    /// Position of the next record.
    pub next: Position,
    /// Time of the last record.
    pub unix_micros: u64,
}

impl Writer {
    /// Writes until the queue is closed, or until an error.
    pub fn run(mut self) {
        let _ended = Ended(Arc::clone(&self.queue));
        loop {
            let outcome = match self.queue.next(RETENTION_INTERVAL) {
                Work::Write => self.write(),
                Work::Retain => self.retain(),
                Work::End => return,
            };
            if let Err(error) = outcome {
                tracing::error!(%error, "the recovery log has stopped");
                return self.queue.stop(LogError::Stopped(error.to_string().into()));
            }
        }
    }

    /// Writes one group.
    fn write(&mut self) -> Result<(), LogError> {
        if let Err(error) = self.make_ready() {
            let refused = match &error {
                // Each further attempt would fail the same way.
                LogError::DiskFull { .. } => self.queue.remove(|_| true),
                LogError::AtLimit { .. } => self.queue.remove(|entry| !ignores_limit(entry)),
                _ => return Err(error),
            };
            tracing::error!(%error, "entries are refused");
            refused.into_iter().for_each(|entry| entry.answer(Err(error.clone())));
            return Ok(());
        }
        let (room, mut taken) = (self.active.capacity - self.active.end, 0);
        let mut group = self.queue.take(|bytes| {
            let fits = taken + bytes <= room && (taken == 0 || taken + bytes <= GROUP_BYTES);
            taken += if fits { bytes } else { 0 };
            fits
        });
        match self.write_group(&mut group) {
            Ok(()) => {
                self.publish(&group);
                for entry in group {
                    let position = entry.header.position;
                    entry.answer(Ok(position));
                }
                Ok(())
            }
            Err(error) => {
                // Those who wait must not be answered before all who come are refused.
                let told = LogError::Stopped(error.to_string().into());
                self.queue.stop(told.clone());
                group.into_iter().for_each(|entry| entry.answer(Err(told.clone())));
                Err(error)
            }
        }
    }

    /// Sees to it that the oldest entry that waits may be written to the active segment.
    fn make_ready(&mut self) -> Result<(), LogError> {
        let Some(oldest) = self.queue.oldest() else {
            return Ok(());
        };
        if self.active.end + oldest.stride() > self.active.capacity {
            return self.rotate(&oldest);
        }
        // Room that was made for an entry that must not be refused is for such entries.
        while !ignores_limit(&oldest)
            && let Some(over) = self.over_the_limit(0)
        {
            if !self.make_room()? {
                return Err(over);
            }
        }
        Ok(())
    }

    /// Makes a group durable.
    fn write_group(&mut self, group: &mut [Waiting]) -> Result<(), LogError> {
        let active = &mut self.active;
        let unix_micros = active.unix_micros.max(self.environment.unix_micros());
        let (mut start, mut end) = (active.end, active.end);
        let error = LogError::io("write", &active.path);
        let mut write = || {
            self.buffer.clear();
            for (entry, place_in_group) in group.iter_mut().zip(0..) {
                entry.header.position = active.next + u64::from(place_in_group);
                entry.header.unix_micros = unix_micros;
                entry.header.place_in_group = place_in_group;
                self.buffer.extend_from_slice(&entry.header.encode(active.salt));
                if entry.payload.len() >= LONG_PAYLOAD {
                    active.file.write_at(&self.buffer, start)?;
                    start += self.buffer.len() as u64;
                    self.buffer.clear();
                    active.file.write_at(&entry.payload, start)?;
                    start += entry.payload.len() as u64;
                } else {
                    self.buffer.extend_from_slice(&entry.payload);
                }
                let padding = entry.header.stride() - (HEADER_LEN + entry.payload.len()) as u64;
                self.buffer.extend((0..padding).map(|_| 0));
                end += entry.header.stride();
            }
            active.file.write_at(&self.buffer, start)?;
            active.file.sync()
        };
        write().map_err(error)?;
        active.end = end;
        active.next += group.len() as u64;
        active.unix_micros = unix_micros;
        // One huge entry must not cost its memory for ever.
        self.buffer.shrink_to(GROUP_BYTES as usize);
        Ok(())
    }

    /// Readers may see what is durable.
    fn publish(&mut self, group: &[Waiting]) {
        let mut catalogue = self.catalogue.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(segment) = catalogue.segments.back_mut() {
            let headers = group.iter().map(|entry| &entry.header);
            headers.for_each(|header: &RecordHeader| segment.add(header));
        }
        drop(catalogue);
        self.durable.send_replace(self.active.next - 1);
    }

    /// Goes on in a new segment with room for an entry of this length on the disk.
    fn rotate(&mut self, entry: &RecordHeader) -> Result<(), LogError> {
        let header = SegmentHeader {
            log: self.log,
            salt: self.environment.random(),
            first: self.active.next,
            unix_micros: self.active.unix_micros.max(self.environment.unix_micros()),
        };
        let bytes = self.segment_bytes.max(segment::HEADER_LEN as u64 + entry.stride());
        let file = loop {
            if let Some(over) = self.over_the_limit(bytes) {
                if self.make_room()? {
                    continue;
                }
                if !ignores_limit(entry) {
                    return Err(over);
                }
            }
            match segment::create(self.storage.as_ref(), &header, bytes) {
                // History that nobody needs gives way to what is written now.
                Err(LogError::DiskFull { .. }) if self.make_room()? => {}
                other => break other?,
            }
        };
        let mut catalogue = self.catalogue.write().unwrap_or_else(PoisonError::into_inner);
        if self.active.first == header.first {
            // Nothing was written to the old one, whose name the new one has.
            catalogue.segments.pop_back();
        } else if let Some(old) = catalogue.segments.back_mut() {
            // Only to give the reserved room back: a crash that undoes it leaves zeros, which are no records.
            if self.active.file.set_size(self.active.end).is_ok() {
                old.size = self.active.end;
            }
        }
        catalogue.segments.push_back(Segment::empty(header, bytes));
        drop(catalogue);
        self.active = Active {
            file,
            path: self.storage.path(&header.name()),
            salt: header.salt,
            first: header.first,
            end: segment::HEADER_LEN as u64,
            capacity: bytes,
            next: self.active.next,
            unix_micros: header.unix_micros,
        };
        self.retain()
    }

    /// The error if a further segment of this size would exceed what the log may hold at all; with 0, if it is exceeded already. One segment there may always
    /// be.
    fn over_the_limit(&self, bytes: u64) -> Option<LogError> {
        let catalogue = self.catalogue.read().unwrap_or_else(PoisonError::into_inner);
        if bytes == 0 && catalogue.segments.len() < 2 {
            return None;
        }
        // The active one gives its reserved room back when another one is begun.
        let unused = match bytes {
            0 => 0,
            _ => self.active.capacity - self.active.end,
        };
        let would_hold = catalogue.bytes().saturating_sub(unused) + bytes;
        (would_hold > self.limits.most_bytes).then(|| {
            let need = self.queue.needs().first(Pressure::NoRoom);
            LogError::AtLimit {
                limit: self.limits.most_bytes,
                holder: need.map(|need| need.holder).unwrap_or_default(),
            }
        })
    }

    /// Drops what the limits do not want and nobody needs.
    fn retain(&mut self) -> Result<(), LogError> {
        let now = self.environment.unix_micros();
        let verdict = {
            let catalogue = self.catalogue.read().unwrap_or_else(PoisonError::into_inner);
            retention::judge(&catalogue, self.limits, &self.queue.needs(), now, Pressure::Limits)
        };
        for _ in 0..verdict.drop {
            if !self.drop_oldest()? {
                break;
            }
        }
        let mut held_back = self.held_back.write().unwrap_or_else(PoisonError::into_inner);
        let holder = |held: &Option<HeldBack>| held.as_ref().map(|held| held.by.holder.clone());
        if let (Some(HeldBack { by, excess }), true) =
            (&verdict.held_back, holder(&held_back) != holder(&verdict.held_back))
        {
            let Need { holder, from, .. } = by;
            tracing::warn!(
                holder,
                from,
                ?excess,
                "the recovery log is over its limit and still needed"
            );
        }
        *held_back = verdict.held_back;
        Ok(())
    }

    /// Drops the oldest segment if nobody needs it, or only who can do without.
    fn make_room(&mut self) -> Result<bool, LogError> {
        let nothing = Limits {
            most_bytes: 0,
            bytes: 0,
            age: Duration::ZERO,
        };
        let needs: Needs = self.queue.needs();
        let verdict = {
            let catalogue = self.catalogue.read().unwrap_or_else(PoisonError::into_inner);
            retention::judge(&catalogue, nothing, &needs, 0, Pressure::NoRoom)
        };
        Ok(verdict.drop > 0 && self.drop_oldest()?)
    }

    /// Drops the oldest segment; `false` if the system does not let it go. Each removal is made durable by itself, so that a crash leaves no hole
    /// between segments.
    fn drop_oldest(&mut self) -> Result<bool, LogError> {
        let mut catalogue = self.catalogue.write().unwrap_or_else(PoisonError::into_inner);
        let Some(oldest) = catalogue.segments.pop_front() else {
            return Ok(false);
        };
        let name = oldest.header.name();
        match self.storage.remove(&name) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(segment = name, %error, "a segment of the recovery log cannot be removed");
                catalogue.segments.push_front(oldest);
                return Ok(false);
            }
            _ => {}
        }
        drop(catalogue);
        let synced = self.storage.sync();
        synced.map_err(LogError::io("sync", self.storage.describe()))?;
        tracing::info!(
            segment = name,
            last = oldest.last,
            "a segment of the recovery log is dropped"
        );
        Ok(true)
    }
}

/// Whether an entry says what has happened already, so that it is late to refuse it.
fn ignores_limit(entry: &RecordHeader) -> bool {
    match Kind::numbered(entry.kind) {
        Some(Kind::Standalone | Kind::Membership) => true,
        Some(Kind::Unit | Kind::Intent | Kind::Checkpoint) | None => false,
    }
}

/// Tells everybody when the thread ends, also by a panic.
struct Ended(Arc<Queue>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.stop(match std::thread::panicking() {
            true => LogError::Stopped("its writer failed, which is a mistake in Grove".into()),
            false => LogError::Closed,
        });
    }
}
