//! The log on disk: opening it, appending to it, saying how it stands.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::watch;

use crate::catalogue::{Catalogue, Segment};
use crate::cursor::{Cursor, Record};
use crate::encoding::encode;
use crate::environment::Environment;
use crate::queue::Queue;
use crate::record::{MAX_PAYLOAD, RecordHeader};
use crate::retention::{HeldBack, Limits, Need, Needs};
use crate::scan::TornTail;
use crate::segment::{self, SegmentHeader, UNFINISHED};
use crate::storage::{Lock, Storage};
use crate::survey::{Purpose, Survey, survey};
use crate::writer::{Active, Writer};
use crate::{Entry, LogError, LogId, OrderedLog, Position};

/// How the log is kept.
#[derive(Clone, Debug)]
pub struct Options {
    /// Bytes of a segment; one with a longer entry is longer.
    pub segment_bytes: u64,
    /// How much history is kept that nobody needs.
    pub limits: Limits,
    /// Bytes of entries that may wait for the disk; whoever brings more waits before its entry has a place.
    pub waiting_bytes: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            segment_bytes: 64 << 20,
            limits: Limits {
                most_bytes: u64::MAX,
                bytes: 1 << 30,
                age: Duration::from_secs(7 * 24 * 3600),
            },
            waiting_bytes: 64 << 20,
        }
    }
}

/// The log as it was found.
#[derive(Clone, Debug)]
pub struct Opened {
    /// Its id.
    pub log: LogId,
    /// Whether it was made just now.
    pub is_new: bool,
    /// What was cut off its end.
    pub cut: Option<TornTail>,
}

/// How the log stands.
#[derive(Clone, Debug)]
pub struct Status {
    /// Position of the oldest entry, or of the next one if there is none.
    pub first: Position,
    /// Position of the newest durable entry; 0 if there never was one.
    pub last: Position,
    /// Number of segments.
    pub segments: usize,
    /// Bytes of all segments.
    pub bytes: u64,
    /// Why there are more or older segments than the limits want.
    pub held_back: Option<HeldBack>,
}

/// An [`OrderedLog`] in a directory, written by a thread of its own. Dropping it writes what waits, then closes the files.
pub struct DurableLog {
    storage: Arc<dyn Storage>,
    queue: Arc<Queue>,
    catalogue: Arc<RwLock<Catalogue>>,
    durable: watch::Receiver<Position>,
    held_back: Arc<RwLock<Option<HeldBack>>>,
    opened: Opened,
    writer: Mutex<Option<JoinHandle<()>>>,
    /// Released when the writer has ended.
    _lock: Lock,
}

impl DurableLog {
    /// Opens the log in a directory, or makes one there. Reads all of it, cuts a torn tail, and refuses a log with any other damage. Blocks.
    pub fn open(
        storage: Arc<dyn Storage>,
        environment: Arc<dyn Environment>,
        options: &Options,
    ) -> Result<Self, LogError> {
        let directory = storage.describe();
        let lock = storage.lock().map_err(LogError::io("lock", &directory))?;
        let lock = lock.ok_or_else(|| LogError::InUse {
            directory: directory.clone(),
        })?;
        // It never got its name, so nothing in it counts.
        let _ = storage.remove(UNFINISHED);
        let Survey {
            mut catalogue,
            newest,
            torn,
            problem,
        } = survey(storage.as_ref(), Purpose::Write)?;
        if let Some(problem) = problem {
            return Err(problem);
        }
        let (is_new, active) = match newest.zip(catalogue.segments.back_mut()) {
            Some((file, segment)) => {
                let path = storage.path(&segment.header.name());
                if torn.is_some() {
                    // What comes next goes to a new segment, whose salt makes sure that nothing of the tail is ever read.
                    let cut = file.set_size(segment.end).and_then(|()| file.sync());
                    cut.map_err(LogError::io("cut", &path))?;
                    segment.size = segment.end;
                }
                // A name that a killed process gave may be in memory only.
                storage.sync().map_err(LogError::io("sync", &directory))?;
                let active = Active {
                    file,
                    path,
                    salt: segment.header.salt,
                    first: segment.header.first,
                    end: segment.end,
                    capacity: segment.size,
                    next: segment.last + 1,
                    unix_micros: segment.unix_micros,
                };
                (false, active)
            }
            None => {
                let (segment, active) = first_segment(storage.as_ref(), environment.as_ref(), options.segment_bytes)?;
                catalogue.segments.push_back(segment);
                (true, active)
            }
        };
        let log = catalogue.segments.back().map_or(LogId(0), |segment| segment.header.log);
        let queue = Arc::new(Queue::new(options.waiting_bytes));
        let (durable_sender, durable) = watch::channel(catalogue.last());
        let catalogue = Arc::new(RwLock::new(catalogue));
        let held_back = Arc::default();
        let writer = Writer {
            storage: Arc::clone(&storage),
            environment,
            log,
            segment_bytes: options.segment_bytes,
            limits: options.limits,
            queue: Arc::clone(&queue),
            catalogue: Arc::clone(&catalogue),
            durable: durable_sender,
            held_back: Arc::clone(&held_back),
            active,
            buffer: Vec::new(),
        };
        let thread = std::thread::Builder::new().name("recovery-log".into());
        let thread = thread.spawn(move || writer.run());
        let writer = thread.map_err(LogError::io("start the thread that writes", directory))?;
        Ok(Self {
            storage,
            queue,
            catalogue,
            durable,
            held_back,
            opened: Opened { log, is_new, cut: torn },
            writer: Mutex::new(Some(writer)),
            _lock: lock,
        })
    }

    /// The log as it was found.
    pub fn opened(&self) -> &Opened {
        &self.opened
    }

    /// How the log stands now.
    pub fn status(&self) -> Status {
        let held_back = self.held_back.read().unwrap_or_else(PoisonError::into_inner).clone();
        let catalogue = self.catalogue.read().unwrap_or_else(PoisonError::into_inner);
        Status {
            first: catalogue.first(),
            last: catalogue.last(),
            segments: catalogue.segments.len(),
            bytes: catalogue.bytes(),
            held_back,
        }
    }

    /// Reads entries from `position` on; also those that are appended later.
    pub fn read_from(&self, position: Position) -> Cursor {
        Cursor::new(Arc::clone(&self.storage), Arc::clone(&self.catalogue), position)
    }

    /// Position of the first entry that is not older than `unix_micros` (microseconds since 1970, UTC); `None` if all are older. Blocks while it
    /// reads up to 64 KiB of records.
    pub fn first_at(&self, unix_micros: u64) -> Result<Option<Position>, LogError> {
        let catalogue = self.catalogue.read().unwrap_or_else(PoisonError::into_inner);
        let Some(before) = catalogue.not_after(unix_micros) else {
            return Ok(None);
        };
        drop(catalogue);
        self.read_from(before).skip_to_time(unix_micros)
    }

    /// Says who needs what, instead of all that was said before. Nothing is dropped until this has been called once; with an empty list nobody needs
    /// anything, and the limits alone decide.
    pub fn retain(&self, needs: Vec<Need>) {
        self.queue.set_needs(Needs::Known(needs));
    }

    /// Nobody needs anything below `position`.
    pub fn retain_from(&self, position: Position) {
        self.retain(vec![Need {
            yields: false,
            holder: "the rest of Grove".to_owned(),
            from: position,
        }]);
    }

    /// Tells of each group that has become durable, by the position of its last entry.
    pub fn durable(&self) -> watch::Receiver<Position> {
        self.durable.clone()
    }

    /// Completes when nothing can be appended any more: with [`LogError::Stopped`] if the process has to end at once. Dropping the future loses nothing.
    pub async fn stopped(&self) -> LogError {
        let mut stopped = self.queue.stopped();
        match stopped.wait_for(Option::is_some).await {
            Ok(reason) => reason.clone().unwrap_or(LogError::Closed),
            Err(_) => LogError::Closed,
        }
    }

    /// Takes no more entries, writes those that wait, and ends the writer. Blocks.
    pub fn close(&self) {
        self.queue.close();
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(writer) = writer {
            // A panic there has been told to everybody already.
            let _ = writer.join();
        }
    }
}

impl OrderedLog for DurableLog {
    fn append(&self, entry: Entry) -> Pin<Box<dyn Future<Output = Result<Position, LogError>> + Send + '_>> {
        Box::pin(async move {
            let (kind, payload) = encode(&entry);
            drop(entry);
            let bytes = payload.len() as u64;
            match u32::try_from(payload.len()) {
                Ok(len) if bytes <= MAX_PAYLOAD => {
                    let header = RecordHeader::new(kind, len, crc32c::crc32c(&payload));
                    self.queue.append(header, payload).await
                }
                _ => Err(LogError::TooLong {
                    bytes,
                    limit: MAX_PAYLOAD,
                }),
            }
        })
    }

    fn last_position(&self) -> Position {
        *self.durable.borrow()
    }

    fn id(&self) -> Option<LogId> {
        Some(self.opened.log)
    }

    fn entries(
        &self,
        from: Position,
        most_bytes: u64,
    ) -> Pin<Box<dyn Future<Output = Result<Vec<Record>, LogError>> + Send + '_>> {
        let mut cursor = self.read_from(from);
        Box::pin(async move {
            let read = tokio::task::spawn_blocking(move || {
                let (mut records, mut bytes) = (Vec::new(), 0);
                while bytes < most_bytes
                    && let Some(record) = cursor.read()?
                {
                    bytes += record.payload_bytes;
                    records.push(record);
                }
                Ok(records)
            });
            // A panic there is a bug of the reader, and says that nothing was read.
            read.await.unwrap_or(Err(LogError::Closed))
        })
    }

    fn retain(&self, needs: Vec<Need>) {
        Self::retain(self, needs);
    }
}

impl Drop for DurableLog {
    fn drop(&mut self) {
        self.close();
    }
}

fn first_segment(
    storage: &dyn Storage,
    environment: &dyn Environment,
    bytes: u64,
) -> Result<(Segment, Active), LogError> {
    let header = SegmentHeader {
        log: LogId(u128::from(environment.random()) << 64 | u128::from(environment.random())),
        salt: environment.random(),
        first: 1,
        unix_micros: environment.unix_micros(),
    };
    let bytes = bytes.max(segment::HEADER_LEN as u64);
    let active = Active {
        file: segment::create(storage, &header, bytes)?,
        path: storage.path(&header.name()),
        salt: header.salt,
        first: 1,
        end: segment::HEADER_LEN as u64,
        capacity: bytes,
        next: 1,
        unix_micros: header.unix_micros,
    };
    Ok((Segment::empty(header, bytes), active))
}
