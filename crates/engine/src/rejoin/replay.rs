//! The order in which a server executes what it has missed.
//!
//! A unit may begin when everything that it depends on is done: the others that run then held all their locks at the same time as it did, so they do not
//! conflict. What commits by itself, and what belongs to a session with temporary tables, runs alone. Entries are read as far ahead as a bounded buffer
//! holds. `catch_up` may be dropped and called again: what runs goes on then.

use super::connection::ReplayConnection;
use super::execute::{Executor, Task};
use super::{Setback, connection};
use crate::group::Group;
use crate::io::{BackendId, Servers, World};
use crate::position_rows::{Fence, PositionRows, Standing};
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use grove_recovery_log::{Entry, Position, Record, TemporaryUse};
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Entries that are looked at for one that may begin.
const LOOK_AHEAD: usize = 256;
/// Bytes of the log that are read at once, and held.
const READ_AT_ONCE: u64 = 4 << 20;
/// Sessions whose connections are kept.
const MOST_KEPT: usize = 128;

type Finished<W> = (Position, Result<Option<ReplayConnection<W>>, Setback>);

/// One server's way to the end of the log.
pub(super) struct Replay<W: World> {
    executor: Arc<Executor<W>>,
    group: Arc<Group<W>>,
    backend: BackendId,
    standing: Standing,
    /// Every entry up to here is done.
    done: Position,
    /// When the newest entry that has begun was written, in microseconds since 1970; 0 before the first.
    reached_unix_micros: u64,
    /// Further ones that are.
    done_beyond: BTreeSet<Position>,
    /// Read and not begun, in order.
    waiting: VecDeque<Record>,
    /// The next entry to read.
    next: Position,
    running: FuturesUnordered<BoxFuture<'static, Finished<W>>>,
    /// What runs now runs alone.
    runs_alone: bool,
    /// Connections that stand for sessions, with the position of the last entry that was executed there.
    kept: HashMap<u64, (Position, ReplayConnection<W>)>,
}

impl<W: World> Replay<W> {
    pub fn new(
        group: Arc<Group<W>>,
        backend: BackendId,
        fence: Fence,
        standing: Standing,
        rows: PositionRows<<W::Servers as Servers>::Leg>,
        scope: CancellationToken,
    ) -> Self {
        let connections = connection::Connections {
            group: Arc::clone(&group),
            backend,
            fence,
            scope,
        };
        Self {
            executor: Arc::new(Executor::new(connections, rows, standing.clone())),
            done: standing.prefix,
            next: standing.prefix + 1,
            group,
            backend,
            standing,
            done_beyond: BTreeSet::new(),
            reached_unix_micros: 0,
            waiting: VecDeque::new(),
            running: FuturesUnordered::new(),
            runs_alone: false,
            kept: HashMap::new(),
        }
    }

    /// The server holds every entry up to here.
    pub fn position(&self) -> Position {
        self.done
    }

    /// Entries that it lacks.
    pub fn lag(&self) -> u64 {
        self.group.log.last_position().saturating_sub(self.done)
    }

    pub fn fence(&self) -> Fence {
        self.executor.connections.fence
    }

    /// Executes everything that is in the log when there is nothing more to read.
    pub async fn catch_up(&mut self) -> Result<(), Setback> {
        loop {
            self.begin_what_may_begin();
            if self.waiting.is_empty() && self.running.is_empty() {
                if !self.read_on().await? {
                    return Ok(());
                }
                continue;
            }
            if self.waiting.len() < LOOK_AHEAD / 2 && self.group.log.last_position() >= self.next {
                self.read_on().await?;
                self.begin_what_may_begin();
            }
            if let Some((position, result)) = self.running.next().await {
                self.ended(position, result?);
            }
        }
    }

    /// Reads the next entries; false if there are none.
    async fn read_on(&mut self) -> Result<bool, Setback> {
        let records = self.group.log.entries(self.next, READ_AT_ONCE).await?;
        let Some(last) = records.last() else { return Ok(false) };
        self.next = last.position + 1;
        self.waiting.extend(records);
        Ok(true)
    }

    fn begin_what_may_begin(&mut self) {
        let mut at = 0;
        while at < self.waiting.len().min(LOOK_AHEAD) && !self.runs_alone {
            let record = &self.waiting[at];
            let position = record.position;
            let is_first = at == 0 && self.running.is_empty();
            let may_begin = match &record.entry {
                Entry::Intent(_) | Entry::Membership(_) | Entry::Checkpoint(_) => {
                    self.skip(at);
                    continue;
                }
                _ if self.standing.holds(position) => {
                    self.skip(at);
                    continue;
                }
                Entry::Unit(unit) if !self.executor.must_be_alone(unit) => {
                    let has_room = self.running.len() < self.group.settings.replay_connections;
                    has_room && unit.depends_on <= self.done
                }
                Entry::Unit(_) | Entry::Standalone(_) if is_first => {
                    self.runs_alone = true;
                    true
                }
                // Nothing passes it.
                Entry::Unit(_) | Entry::Standalone(_) => return,
            };
            if may_begin {
                self.begin(at);
            } else {
                at += 1;
            }
        }
    }

    /// An entry with which there is nothing to do.
    fn skip(&mut self, at: usize) {
        let Some(record) = self.waiting.remove(at) else { return };
        self.reached_unix_micros = self.reached_unix_micros.max(record.unix_micros);
        match record.entry {
            Entry::Intent(intent) if self.standing.holds(record.position) => {
                self.executor.doubts.begin(record.position, intent);
            }
            Entry::Standalone(standalone) => self.executor.doubts.end(standalone.intent),
            _ => {}
        }
        self.note_done(record.position);
    }

    fn begin(&mut self, at: usize) {
        let Some(record) = self.waiting.remove(at) else { return };
        self.reached_unix_micros = self.reached_unix_micros.max(record.unix_micros);
        let position = record.position;
        if let Entry::Standalone(standalone) = &record.entry {
            self.executor.doubts.end(standalone.intent);
        }
        let connection = self.connection_for(&record.entry);
        let task = Task {
            record,
            connection,
            is_alone: self.runs_alone,
        };
        let executor = Arc::clone(&self.executor);
        let run = async move { (position, executor.execute(task).await) };
        self.running.push(Box::pin(run));
    }

    /// The connection that the session had before, or one that has nothing of another session.
    fn connection_for(&mut self, entry: &Entry) -> Option<ReplayConnection<W>> {
        let (origin, opening, usage) = match entry {
            Entry::Unit(unit) => (&unit.origin, &unit.opening, unit.temporary.usage),
            Entry::Standalone(standalone) => {
                let context = &standalone.statement.context;
                (&standalone.origin, context, standalone.temporary.usage)
            }
            _ => return None,
        };
        if let Some((_, kept)) = self.kept.remove(&origin.session) {
            // Without temporary tables the session has dropped those that it had.
            let has_same_tables = kept.has_temporary_tables == (usage != TemporaryUse::None);
            if has_same_tables && kept.suits(origin, opening) {
                return Some(kept);
            }
        }
        if usage == TemporaryUse::Needed {
            return None;
        }
        let others = self.kept.iter();
        let suitable = others.filter(|(_, (_, kept))| !kept.has_temporary_tables && kept.suits(origin, opening));
        // The one whose session has been silent for longest.
        let chosen = suitable
            .min_by_key(|(_, (used, _))| *used)
            .map(|(session, _)| *session)?;
        let (_, mut kept) = self.kept.remove(&chosen)?;
        kept.stands_for(origin);
        Some(kept)
    }

    fn ended(&mut self, position: Position, connection: Option<ReplayConnection<W>>) {
        self.runs_alone = false;
        if let Some(connection) = connection {
            if self.kept.len() >= MOST_KEPT {
                // The log does not say when sessions end. Whoever has temporary tables and comes back learns that they are gone.
                let by_age = self
                    .kept
                    .iter()
                    .map(|(session, (used, kept))| (kept.has_temporary_tables, *used, *session));
                if let Some((_, _, oldest)) = by_age.min() {
                    self.kept.remove(&oldest);
                }
            }
            self.kept.insert(connection.session(), (position, connection));
        }
        self.note_done(position);
    }

    fn note_done(&mut self, position: Position) {
        self.done_beyond.insert(position);
        while self.done_beyond.remove(&(self.done + 1)) {
            self.done += 1;
        }
        self.group
            .note_position(self.backend, self.done, Some(self.reached_unix_micros));
    }

    /// Ends what is not known: see [`super::doubt`]. The first server of a group decides for the others; `is_first` says that it is this one. Nobody writes meanwhile.
    pub async fn settle_doubts(&mut self, is_first: bool) -> Result<(), Setback> {
        match is_first {
            true => self.executor.decide_for_all().await,
            false => self.executor.compare_with_lead().await,
        }
    }
}
