//! A session's open transaction: what it read, what it wrote, and how it can be begun again elsewhere.

use crate::fate::Fate;
use crate::follower::{Executed, Opening};
use crate::gate::Hold;
use crate::io::{BackendId, ClientReply, ReplySink};
use crate::savepoints::Savepoints;
use crate::state::Isolation;
use crate::statement::{Body, Statement, set_last_insert_id};
use crate::temporary::{TemporaryWork, logged_names};
use bytes::Bytes;
use grove_recovery_log::{LoggedStatement, Origin, Position, Temporary, WriteUnit};
use grove_sql::Analysis;
use std::sync::Arc;
use xxhash_rust::xxh3::Xxh3;

/// A transaction: explicit, begun by `autocommit=0`, or wrapped around one autocommit write.
pub(crate) struct Transaction {
    /// Its gates.
    pub hold: Arc<Hold>,
    /// The level that it began with.
    pub isolation: Isolation,
    /// `SET TRANSACTION` if any, and the statement that begins it.
    pub begin: Vec<Bytes>,
    /// What a fresh connection needs; captured at the first write.
    pub opening: Opening,
    /// Savepoints and writes, in order.
    pub entries: Vec<Arc<Executed>>,
    /// Where among `entries` its savepoints are.
    pub savepoints: Savepoints,
    /// Bytes of `entries`.
    pub len: usize,
    /// Version of the session state that the followers' legs have after `entries`.
    pub state_version: u64,
    /// Answers that the client has seen.
    pub reads: ReadLog,
    /// The server on whose leg its snapshot was taken.
    pub reader: Option<BackendId>,
    /// The leg of `reader` has been begun again since it read.
    pub snapshot_lost: bool,
    /// What its followers are told about it.
    pub fate: Arc<Fate>,
    /// The lead under which it writes; `None` while it has only read.
    pub lead: Option<BackendId>,
    /// It holds row locks that exist on the lead alone.
    pub locks_on_lead_only: bool,
    /// What it has to do with temporary tables.
    pub temporary: TemporaryWork,
}

impl Transaction {
    pub fn new(hold: Arc<Hold>, isolation: Isolation, begin: Vec<Bytes>) -> Self {
        let fate = Arc::new(Fate::new(hold.owner()));
        Self {
            hold,
            isolation,
            begin,
            opening: Opening::default(),
            entries: Vec::new(),
            savepoints: Savepoints::default(),
            len: 0,
            state_version: 0,
            reads: ReadLog::default(),
            reader: None,
            snapshot_lost: false,
            fate,
            lead: None,
            locks_on_lead_only: false,
            temporary: TemporaryWork::default(),
        }
    }

    /// A statement about savepoints has succeeded on the lead. Before it is added to `entries`, and before anybody is told that the transaction is
    /// still open there: entries that it takes back are marked. A server that warns has kept some of their changes (tables without transactions,
    /// or definitions of temporary ones).
    pub fn note_savepoint(&mut self, analysis: &Analysis, warns: bool) {
        let undone = self.savepoints.note(analysis, self.entries.len());
        let undone = self.entries.get(undone).unwrap_or_default();
        undone.iter().for_each(|entry| entry.undone.set(warns));
    }

    /// What the log gets of it: what commits, without what was taken back, whose words about the session go with the statement behind it. `origin`
    /// is its session's; `depends_on` the newest unit that was sent to commit when every server had executed all of it.
    pub fn write_unit(&self, origin: Origin, depends_on: Position) -> WriteUnit {
        let (mut statements, mut context) = (Vec::new(), Vec::new());
        for executed in &self.entries {
            context.extend(executed.context.iter().cloned());
            if executed.is_gone() {
                continue;
            }
            statements.push(LoggedStatement {
                body: executed.body.logged(),
                context: std::mem::take(&mut context),
                generated_id: executed.generated_id.unwrap_or(0),
                undone: executed.is_undone(),
                outcome: executed.outcome.clone(),
            });
        }
        let state = self.opening.state.iter().map(|(_, payload)| payload.clone());
        let insert_id = set_last_insert_id(self.opening.last_insert_id);
        WriteUnit {
            opening: state
                .chain([insert_id])
                .chain(self.opening.begin.iter().cloned())
                .collect(),
            temporary: Temporary {
                usage: self.temporary.usage(self.opening.has_temporary_tables),
                names: logged_names(&self.opening.temporary_names),
                copy: self.opening.temporary_copy.clone(),
            },
            origin,
            depends_on,
            statements,
        }
    }
}

impl Transaction {
    /// Adds clients' files to what the log gets of it.
    pub async fn add_files(&self, unit: &mut WriteUnit) {
        let logged = self.entries.iter().filter(|executed| !executed.is_gone());
        for (executed, statement) in logged.zip(&mut unit.statements) {
            if matches!(executed.body, Body::Load { .. }) {
                statement.body = executed.body.logged_with_file().await;
            }
        }
    }
}

/// The reads of a transaction with a digest of each answer, bounded in number. Proof that another server's snapshot
/// answers the same.
#[derive(Default)]
pub(crate) struct ReadLog {
    entries: Vec<(Statement, u128)>,
    overflowed: bool,
}

impl ReadLog {
    pub fn remember(&mut self, statement: Statement, digest: u128, bound: usize) {
        if self.entries.len() < bound {
            self.entries.push((statement, digest));
        } else {
            self.overflowed = true;
        }
    }

    /// Something was read that cannot be read again.
    pub fn cannot_be_proved(&mut self) {
        self.overflowed = true;
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty() && !self.overflowed
    }

    /// The reads, if all of them are remembered.
    pub fn complete(&self) -> Option<&[(Statement, u128)]> {
        (!self.overflowed).then_some(self.entries.as_slice())
    }
}

/// A sink that digests what passes.
pub(crate) struct Digesting<'a, S> {
    sink: &'a mut S,
    digest: Xxh3,
}

impl<'a, S> Digesting<'a, S> {
    pub fn new(sink: &'a mut S) -> Self {
        Self {
            sink,
            digest: Xxh3::new(),
        }
    }

    /// The digest of what passed, and of the values that the statement gave to user variables.
    pub fn finish(mut self, assigned: &[Vec<u8>]) -> u128 {
        for literal in assigned {
            self.digest.update(&literal.len().to_le_bytes());
            self.digest.update(literal);
        }
        self.digest.digest128()
    }
}

impl<S: ReplySink> ReplySink for Digesting<'_, S> {
    async fn forward(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.digest.update(bytes);
        self.sink.forward(bytes).await
    }
}

impl<S: ClientReply> ClientReply for Digesting<'_, S> {
    fn start_over(&mut self) -> bool {
        self.digest = Xxh3::new();
        self.sink.start_over()
    }
}
