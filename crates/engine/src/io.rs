//! The doors through which the engine reaches the world: servers, time and chance.
//!
//! Everything above these traits is deterministic when they are, so a seeded simulation drives the same engine as production.
//! Deliberately absent: sockets, client connections, the wall clock, a random source.

use crate::local_file::FilePart;
use bytes::{Bytes, BytesMut};
use grove_recovery_log::Origin;
use grove_wire::{CapabilityFlags, Reply, ReplyShape};
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

/// Index of a server in the group's fixed list of members; stable for the life of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BackendId(pub u16);

/// Who a leg is for: what the client gave at its handshake, so that a server answers the leg as it would answer the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Account name on the servers.
    pub user: String,
    /// Password of that account; empty for none.
    pub password: String,
    /// Capabilities that the client and Grove agreed on; replies are then laid out as the client expects them.
    pub capabilities: CapabilityFlags,
    /// Collation id that the client announced in its handshake response.
    pub collation: u16,
    /// Largest packet that the client announced, in bytes.
    pub max_packet_len: u32,
    /// Default schema, as bytes in the client's character set; empty for none.
    pub database: Vec<u8>,
    /// Connection attributes as the client sent them: the bytes inside the length-encoded block.
    pub connect_attributes: Vec<u8>,
    /// Grove's own id of the client connection; shown by `CONNECTION_ID()` where the account may set `pseudo_thread_id`.
    pub connection_id: u32,
}

impl Identity {
    /// What the log keeps of it, to run its statements again. The password is not among it.
    pub(crate) fn logged(&self, session: u64) -> Origin {
        Origin {
            user: self.user.clone(),
            capabilities: self.capabilities.0,
            collation: self.collation,
            schema: Bytes::copy_from_slice(&self.database),
            connection_id: self.connection_id,
            session,
        }
    }
}

/// Why a leg cannot go on.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LegError {
    /// The connection broke or was refused.
    #[error("connection lost: {0}")]
    Lost(String),
    /// The server refused the connection with an error packet (wrong password, unknown schema, too many connections).
    #[error("server refused the connection: {}", String::from_utf8_lossy(&.0.message))]
    Refused(grove_wire::ErrPacket),
    /// The server sent bytes that are no reply to what was asked.
    #[error("server broke the protocol: {0}")]
    Protocol(String),
    /// A bounded wait ended.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// What stands on the servers does not permit it, and somebody has to change something first.
    #[error("{0}")]
    Unsuitable(String),
    /// The client's side of a forwarded reply is gone; the leg is in the middle of a reply and must be closed.
    #[error("client is gone: {0}")]
    ClientGone(String),
}

/// Where the bytes of a reply go, in order. Backpressure is the returned future.
pub trait ReplySink: Send {
    /// Takes whole frames or pieces of a large frame; on return the bytes may be reused. An error says that the client is gone.
    fn forward(&mut self, bytes: &[u8]) -> impl Future<Output = Result<(), String>> + Send;
}

/// The reply to one command: what it says, and its last frame, which is never given to the sink so that the
/// caller can hold it back or correct its status flags.
#[derive(Clone, Debug)]
pub struct LegReply {
    /// What the reply says.
    pub reply: Reply,
    /// The frame (with its 4-byte header) that ended the reply.
    pub last_frame: BytesMut,
}

/// One connection to one server, logged in.
///
/// Commands may be sent ahead (pipelined); replies come in the same order. A future of `send` or `receive` that is dropped before
/// it is ready loses the position in the byte stream: the leg must then be dropped too.
pub trait Leg: Send + 'static {
    /// The server's own id of this connection.
    fn thread_id(&self) -> u32;
    /// Capabilities in force on this connection.
    fn capabilities(&self) -> CapabilityFlags;
    /// Sends command payloads (command byte first, any length; each framed with sequence 0) in one write.
    fn send(&mut self, commands: &[Bytes]) -> impl Future<Output = Result<(), LegError>> + Send;
    /// Receives the reply to the oldest command that still has one to come.
    fn receive<S: ReplySink>(
        &mut self,
        shape: ReplyShape,
        sink: &mut S,
    ) -> impl Future<Output = Result<LegReply, LegError>> + Send;
    /// Sends part of the file that the server has asked for, as one packet numbered `sequence`, which then is the next one's number. An empty
    /// part ends the file.
    fn send_file(&mut self, part: &[u8], sequence: &mut u8) -> impl Future<Output = Result<(), LegError>> + Send;
    /// True if the connection is known to be closed by the server or has unexpected bytes waiting; asked before an idle leg is used again.
    fn is_stale(&mut self) -> bool;
}

/// How a running statement of a leg is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KillKind {
    /// `KILL QUERY`: the statement ends with 1317, the connection stays.
    Query,
    /// `KILL CONNECTION`.
    Connection,
}

/// What a server says that one of its connections is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Nothing, or there is no such connection.
    Idle,
    /// It begins a statement: it opens tables and reads definitions. `KILL QUERY` must not come now: MariaDB 10.11 keeps a trigger that it has
    /// read half, and refuses the table to everybody with 1064 from then on.
    Opening,
    /// It executes a statement, or waits for a lock.
    Working,
}

/// What a probe learns about a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerFacts {
    /// Version string of the server's greeting, as it is sent.
    pub version: String,
    /// Capabilities of the server's greeting.
    pub capabilities: CapabilityFlags,
    /// Collation id of the server's greeting.
    pub collation: u8,
    /// Authentication plugin of the server's greeting.
    pub auth_plugin: String,
    /// `innodb_autoinc_lock_mode`: with 2, bulk inserts interleave their ids and need an exclusive gate.
    pub autoinc_lock_mode: u8,
    /// `@@global.sql_mode`.
    pub sql_mode: String,
    /// `@@global.transaction_isolation` (`tx_isolation`).
    pub isolation: String,
    /// `@@global.innodb_lock_wait_timeout`, in seconds.
    pub lock_wait_timeout_s: u32,
    /// `@@global.max_connections`: a session has a connection to every server.
    pub max_connections: u32,
}

/// Why a server is not a copy of another one now.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CopyError {
    /// A connection broke on the way.
    #[error("{0}")]
    Lost(#[from] LegError),
    /// What was to be copied has changed since the instant of the copy, or something was in the way; another attempt may succeed.
    #[error("it was disturbed: {0}")]
    Changed(String),
    /// Somebody has to change something first.
    #[error("{0}")]
    Unsuitable(String),
}

/// How far a copy is.
#[derive(Debug, Default)]
pub struct CopyProgress {
    /// Rows that are written.
    pub rows: AtomicU64,
    /// As many as the servers believe that there are.
    pub expected: AtomicU64,
}

/// A copy of one server onto another one that is prepared. Its steps come in this order, each once.
pub trait Copier: Send {
    /// Fixes the instant whose state is copied. Nothing may commit on the server meanwhile; bounded by the caller.
    fn freeze(&mut self) -> impl Future<Output = Result<(), CopyError>> + Send;
    /// Reads all definitions. They are those of the instant only if none has changed since, which the caller finds out.
    fn survey(&mut self) -> impl Future<Output = Result<(), CopyError>> + Send;
    /// Replaces everything on the other server, first its position rows, which it is not given others for.
    fn fill(&mut self, progress: &CopyProgress) -> impl Future<Output = Result<(), CopyError>> + Send;
    /// Gives the other server the position rows of the instant, if every table is still the one that it was then. Without them it holds nothing, by its own
    /// words.
    fn complete(self) -> impl Future<Output = Result<(), CopyError>> + Send;
}

/// How far a comparison is.
#[derive(Debug, Default)]
pub struct ComparisonProgress {
    /// Tables that there are.
    pub tables: AtomicU64,
    /// Tables that have been compared.
    pub done: AtomicU64,
    /// Rows that have been compared; those of ranges that differ are counted each time they are looked at.
    pub rows: AtomicU64,
}

/// What a comparison has found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Compared {
    /// Some of them, if there are many.
    pub differences: Vec<Difference>,
    /// Tables that could not be compared, with the reasons.
    pub left_out: Vec<String>,
}

/// Something that a server holds otherwise than the first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Which of the servers that were compared with the first.
    pub server: usize,
    /// In words.
    pub what: String,
}

/// A comparison of several servers with one that is prepared. Its steps come in this order, each once.
pub trait Comparer: Send {
    /// Fixes the instant whose state is compared. Nothing may commit on the servers meanwhile; bounded by the caller.
    fn freeze(&mut self) -> impl Future<Output = Result<(), CopyError>> + Send;
    /// Compares all definitions. They are those of the instant only if none has changed since, which the caller finds out.
    fn definitions(&mut self) -> impl Future<Output = Result<(), CopyError>> + Send;
    /// Compares the rows of all tables.
    fn rows(self, progress: &ComparisonProgress) -> impl Future<Output = Result<Compared, CopyError>> + Send;
}

/// The statements that make Grove's own tables where they are missing.
pub const OWN_TABLES: [&str; 4] = [
    "CREATE DATABASE IF NOT EXISTS `_grove`",
    "CREATE TABLE IF NOT EXISTS `_grove`.`standing` (`only` TINYINT UNSIGNED NOT NULL PRIMARY KEY, \
     `log` CHAR(32) CHARACTER SET ascii COLLATE ascii_bin NOT NULL, `prefix` BIGINT UNSIGNED NOT NULL) ENGINE=InnoDB",
    "CREATE TABLE IF NOT EXISTS `_grove`.`fence` (`only` TINYINT UNSIGNED NOT NULL PRIMARY KEY, \
     `token` BIGINT UNSIGNED NOT NULL) ENGINE=InnoDB",
    "CREATE TABLE IF NOT EXISTS `_grove`.`applied` (`position` BIGINT UNSIGNED NOT NULL PRIMARY KEY, \
     `fence` BIGINT UNSIGNED NOT NULL) ENGINE=InnoDB",
];

/// What a server is like before it takes part.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Examination {
    /// Whether it is MariaDB, and not MySQL.
    pub is_mariadb: bool,
    /// Settings that decide over results, as SHOW GLOBAL VARIABLES has them.
    pub settings: Vec<Setting>,
    /// What keeps it from executing what others execute, with what would be right.
    pub obstacles: Vec<String>,
    /// Whether its event scheduler is on.
    pub scheduler_is_on: bool,
    /// Events that are enabled, as `schema.event`; some of them, if there are many.
    pub events: Vec<String>,
}

/// Name of the setting that says what local time is on the server's machine, in winter and in summer.
pub const MACHINE_ZONE: &str = "the machine's time zone";

/// A setting of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The variable.
    pub name: String,
    /// Its global value.
    pub value: String,
    /// Whether SET GLOBAL changes it.
    pub is_changeable: bool,
}

impl Examination {
    /// The value of a setting, if the server has it.
    pub fn value(&self, name: &str) -> Option<&str> {
        let setting = self.settings.iter().find(|setting| setting.name == name);
        setting.map(|setting| setting.value.as_str())
    }
}

/// Reaches the servers of the group.
pub trait Servers: Send + Sync + 'static {
    /// The connection type.
    type Leg: Leg;
    /// A copy under way.
    type Copier: Copier;
    /// A comparison under way.
    type Comparer: Comparer;
    /// Opens the connections over which everything that `donor` holds is to replace what `target` holds.
    fn prepare_copy(
        &self,
        donor: BackendId,
        target: BackendId,
    ) -> impl Future<Output = Result<Self::Copier, CopyError>> + Send;
    /// Opens the connections over which `others` are to be compared with `first`.
    fn prepare_comparison(
        &self,
        first: BackendId,
        others: &[BackendId],
    ) -> impl Future<Output = Result<Self::Comparer, CopyError>> + Send;
    /// What `second` holds otherwise than `first`, in words, apart from accounts; empty if they hold the same. Nobody writes there meanwhile.
    fn differences(
        &self,
        first: BackendId,
        second: BackendId,
    ) -> impl Future<Output = Result<Vec<String>, CopyError>> + Send;
    /// Opens and authenticates a leg. Bounded by the configured connect timeout.
    fn connect(
        &self,
        backend: BackendId,
        identity: &Arc<Identity>,
    ) -> impl Future<Output = Result<Self::Leg, LegError>> + Send;
    /// Opens a connection with Grove's own account there, without a schema. Bounded by the configured connect timeout.
    fn connect_own(&self, backend: BackendId) -> impl Future<Output = Result<Self::Leg, LegError>> + Send;
    /// Ends every connection of these accounts there, and completes when there is none any more.
    fn expel(&self, backend: BackendId, accounts: &[String]) -> impl Future<Output = Result<(), LegError>> + Send;
    /// Finds out whether Grove's own account may permit others to insert position rows; the tables are there.
    fn may_permit_marks(&self, backend: BackendId) -> impl Future<Output = Result<(), LegError>> + Send;
    /// Permits an account (`user@host`, as `CURRENT_USER()` says it) to insert position rows: INSERT on `_grove`.`applied`, SELECT on `_grove`.`fence`.
    fn permit_marks(&self, backend: BackendId, account: &[u8]) -> impl Future<Output = Result<(), LegError>> + Send;
    /// Finds out what the server is like. [`LegError::Unsuitable`] says that it does not tell.
    fn examine(&self, backend: BackendId) -> impl Future<Output = Result<Examination, LegError>> + Send;
    /// What an operator should know of the tables there; bounded, but not short.
    fn warnings(&self, backend: BackendId) -> impl Future<Output = Result<Vec<String>, LegError>> + Send;
    /// Changes a global setting there; [`LegError::Unsuitable`] says that the server refuses it.
    fn adjust(
        &self,
        backend: BackendId,
        setting: &str,
        value: &str,
    ) -> impl Future<Output = Result<(), LegError>> + Send;
    /// Asks over a control connection of its own whether the server answers; bounded by the probe timeout.
    fn probe(&self, backend: BackendId) -> impl Future<Output = Result<ServerFacts, LegError>> + Send;
    /// Who holds the lock that connection `thread_id` waits for: server connection ids, empty if none or unknown.
    fn blockers(&self, backend: BackendId, thread_id: u32) -> impl Future<Output = Result<Vec<u32>, LegError>> + Send;
    /// What connection `thread_id` is doing.
    fn phase(&self, backend: BackendId, thread_id: u32) -> impl Future<Output = Result<Phase, LegError>> + Send;
    /// Stops what connection `thread_id` runs. `KILL QUERY` only as [`Phase`] allows it. After an error it may still come.
    fn kill(
        &self,
        backend: BackendId,
        thread_id: u32,
        kind: KillKind,
    ) -> impl Future<Output = Result<(), LegError>> + Send;
}

/// Time. Durations since an arbitrary start; wall time only for `SET TIMESTAMP`.
pub trait Clock: Send + Sync + 'static {
    /// Monotonic time since the clock was made.
    fn now(&self) -> Duration;
    /// Wall time, in microseconds since 1970-01-01 UTC.
    fn unix_micros(&self) -> u64;
    /// Completes after `duration`.
    fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + Send;
}

/// Chance: rand seeds for statements, jitter.
pub trait Entropy: Send + Sync + 'static {
    /// The next 64 random bits.
    fn next_u64(&self) -> u64;
    /// Bytes that nobody can guess, for what clients ask RANDOM_BYTES() for.
    fn fill_secret(&self, bytes: &mut [u8]);
}

/// A client's side of a reply: holds the first bytes back so that a reply that broke off early can be asked for again elsewhere.
pub trait ClientReply: ReplySink {
    /// Drops what is held back. True if the client has not been sent a byte of this reply, so that it may start again.
    fn start_over(&mut self) -> bool;
    /// The reply comes out of a transaction of Grove's own: where it says so before its last frame, the client is not to see it.
    fn hide_transaction(&mut self) {}
    /// Passes a server's request for a file (a whole frame) on to the client. An error says that the client is gone.
    fn request_file(&mut self, _request: &[u8]) -> impl Future<Output = Result<(), String>> + Send {
        async { Err("nobody can be asked for a file".to_owned()) }
    }
    /// What the client sends next of the file.
    fn next_of_file(&mut self) -> impl Future<Output = Result<FilePart, String>> + Send {
        async { Err("nobody can be asked for a file".to_owned()) }
    }
}

/// A sink that takes nothing further: replies to Grove's own statements, and followers' replies.
#[derive(Clone, Copy, Debug, Default)]
pub struct Discard;

impl ReplySink for Discard {
    async fn forward(&mut self, _bytes: &[u8]) -> Result<(), String> {
        Ok(())
    }
}

impl ClientReply for Discard {
    fn start_over(&mut self) -> bool {
        true
    }
}

/// A sink that keeps a small reply to one of Grove's own questions, up to a bound.
#[derive(Clone, Debug, Default)]
pub struct Collect {
    /// The frames so far.
    pub bytes: Vec<u8>,
}

impl Collect {
    const MAX_LEN: usize = 1 << 24;
}

impl ReplySink for Collect {
    async fn forward(&mut self, bytes: &[u8]) -> Result<(), String> {
        if self.bytes.len() + bytes.len() > Self::MAX_LEN {
            return Err(format!(
                "a reply to Grove itself is longer than {} bytes",
                Self::MAX_LEN
            ));
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }
}

impl ClientReply for Collect {
    fn start_over(&mut self) -> bool {
        self.bytes.clear();
        true
    }
}

/// The three doors together, so that the engine has one type parameter.
pub trait World: Send + Sync + 'static {
    /// The servers' type.
    type Servers: Servers;
    /// The clock's type.
    type Clock: Clock;
    /// The random source's type.
    type Entropy: Entropy;
    /// The servers.
    fn servers(&self) -> &Self::Servers;
    /// The clock.
    fn clock(&self) -> &Self::Clock;
    /// The random source.
    fn entropy(&self) -> &Self::Entropy;
}
