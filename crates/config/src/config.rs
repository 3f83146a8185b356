//! The validated configuration: what the rest of Grove is given.
//!
//! Invariants: durations are [`Duration`]s and never zero, addresses are parsed, names are unique, secrets are
//! resolved. The defaults here are the only ones; `proxy-config.yaml` repeats them and a test compares both.
//! Deliberately absent: the YAML's shape (see `load`), and reloading.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use crate::{Network, PasswordHash, Secret, Source};

/// A complete configuration without mistakes.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where clients connect.
    pub listen: Listen,
    /// Where operators connect.
    pub admin: Admin,
    /// The servers, in the order of the file; never empty.
    pub backends: Vec<Backend>,
    /// The accounts that clients may use; never empty.
    pub users: Vec<User>,
    /// How plain reads are spread.
    pub reads: Reads,
    /// How writes are acknowledged and ordered.
    pub writes: Writes,
    /// Bounds of every wait.
    pub timeouts: Timeouts,
    /// Bounds of every buffer.
    pub limits: Limits,
    /// Where decided writes are kept.
    pub recovery_log: RecoveryLog,
    /// What is logged, and how.
    pub log: Log,
}

impl Config {
    /// A configuration with every default, for these servers and accounts.
    pub fn new(backends: Vec<Backend>, users: Vec<User>) -> Self {
        Self {
            listen: Listen::default(),
            admin: Admin::default(),
            backends,
            users,
            reads: Reads::default(),
            writes: Writes::default(),
            timeouts: Timeouts::default(),
            limits: Limits::default(),
            recovery_log: RecoveryLog::default(),
            log: Log::default(),
        }
    }
}

/// The clients' side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listen {
    /// Address of the MySQL protocol listener.
    pub address: SocketAddr,
    /// Path of the Unix socket for clients of the same machine, if there is to be one.
    pub socket: Option<PathBuf>,
    /// Where connections begin with a PROXY header; empty for nowhere.
    pub proxy_protocol_from: Vec<Network>,
    /// TLS towards clients.
    pub tls: ListenTls,
    /// What clients may choose from; empty for nothing.
    pub compression: Vec<Compression>,
    /// Client connections at most; one more is refused with error 1040.
    pub max_connections: usize,
    /// Time a client has to finish its handshake.
    pub connect_timeout: Duration,
    /// The longest time that a login waits for refusals of others from its address; zero for never.
    pub refused_login_delay: Duration,
    /// A connection without a command for this long is closed, as `wait_timeout` does on a server.
    pub idle_timeout: Duration,
}

impl Default for Listen {
    fn default() -> Self {
        Self {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 3306)),
            socket: None,
            proxy_protocol_from: Vec::new(),
            tls: ListenTls::default(),
            compression: vec![Compression::Zlib, Compression::Zstd],
            max_connections: 10_000,
            connect_timeout: Duration::from_secs(10),
            refused_login_delay: Duration::from_secs(5),
            idle_timeout: Duration::from_secs(28_800),
        }
    }
}

/// TLS towards clients.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ListenTls {
    /// Whether TLS is offered or demanded.
    pub mode: ListenTlsMode,
    /// The certificate that Grove shows.
    pub identity: TlsIdentity,
    /// PEM file of the authorities that sign clients' certificates, if clients may show one.
    pub client_ca: Option<PathBuf>,
}

/// Whether clients may or must use TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ListenTlsMode {
    /// TLS is not offered.
    Disabled,
    /// TLS is offered; plain connections are accepted.
    #[default]
    Preferred,
    /// Plain connections are refused, but for those through the Unix socket.
    Required,
}

/// Where Grove's own certificate comes from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum TlsIdentity {
    /// A self-signed certificate made at start, as the servers do without configuration.
    #[default]
    SelfGenerated,
    /// PEM files, which were readable when the configuration was loaded.
    Files {
        /// The certificate chain.
        certificate: PathBuf,
        /// The private key.
        key: PathBuf,
    },
}

/// An algorithm of the compressed protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// zlib.
    Zlib,
    /// zstd; MySQL only.
    Zstd,
}

/// The operators' side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admin {
    /// Address of the HTTP API.
    pub address: SocketAddr,
}

impl Default for Admin {
    fn default() -> Self {
        Self {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 3308)),
        }
    }
}

/// One server.
#[derive(Debug, Clone)]
pub struct Backend {
    /// Its unique name, used in logs, metrics and the API.
    pub name: String,
    /// Where it listens.
    pub address: BackendAddress,
    /// The account that Grove uses there.
    pub user: String,
    /// That account's password.
    pub password: Secret,
    /// Share of reads under the weighted policy; at least 1.
    pub weight: u32,
    /// TLS towards this server.
    pub tls: BackendTls,
    /// Compression towards this server, if it offers that.
    pub compression: Option<Compression>,
}

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum BackendAddress {
    /// Host name or IP address, and port.
    Tcp {
        /// Host name, or IP address without brackets.
        host: String,
        /// Port, never 0.
        port: u16,
    },
    /// Path of a Unix socket.
    Socket(PathBuf),
}

impl fmt::Display for BackendAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Socket(path) => write!(f, "{}", path.display()),
        }
    }
}

/// TLS towards one server.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BackendTls {
    /// How much TLS is demanded.
    pub mode: BackendTlsMode,
    /// PEM file of the authorities that are trusted; present exactly with [`BackendTlsMode::VerifyCa`].
    pub ca: Option<PathBuf>,
}

/// How much TLS is demanded of a server; the words are those of the MySQL client's `--ssl-mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BackendTlsMode {
    /// Never TLS.
    Disabled,
    /// TLS when the server offers it, without checking its certificate.
    #[default]
    Preferred,
    /// Always TLS, without checking the certificate.
    Required,
    /// Always TLS, with a certificate signed by `ca`.
    VerifyCa,
}

/// An account for clients.
#[derive(Debug, Clone)]
pub struct User {
    /// Its unique name.
    pub name: String,
    /// How its clients prove who they are.
    pub credential: Credential,
    /// The schema in use when the client names none.
    pub default_schema: Option<String>,
    /// Where its clients may come from; empty for anywhere.
    pub allow_from: Vec<Source>,
    /// Its connections at most, if there is a limit of its own; one more is refused with error 1203.
    pub max_connections: Option<usize>,
    /// Whether its clients must use TLS.
    pub require_tls: bool,
    /// Whether its clients must show a certificate, over TLS.
    pub require_certificate: bool,
}

impl User {
    /// An account without any restriction.
    pub fn new(name: impl Into<String>, password: Secret) -> Self {
        Self {
            name: name.into(),
            credential: Credential::Password(password),
            default_schema: None,
            allow_from: Vec::new(),
            max_connections: None,
            require_tls: false,
            require_certificate: false,
        }
    }
}

/// What is known of an account's password.
#[derive(Debug, Clone)]
pub enum Credential {
    /// The password itself.
    Password(Secret),
    /// What the servers store of it; the password has to come from a client.
    Hash(PasswordHash),
}

/// How plain reads are spread.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reads {
    /// Which online backend a session's reads go to.
    pub policy: ReadPolicy,
}

/// Which online backend a session's reads go to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ReadPolicy {
    /// The one with the fewest commands under way.
    #[default]
    LeastOutstanding,
    /// Each in turn.
    RoundRobin,
    /// In proportion to `weight`.
    Weighted,
    /// The one that answers fastest.
    Latency,
}

/// How writes are acknowledged and ordered.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Writes {
    /// Whose commits a client's COMMIT waits for.
    pub acknowledge: Acknowledge,
    /// What happens to writers in READ COMMITTED.
    pub read_committed: ReadCommitted,
    /// What happens when settings that decide over results are not the same on all servers.
    pub unequal_settings: UnequalSettings,
    /// What happens to statements that may leave other rows on each server.
    pub unsafe_statements: UnsafeStatements,
}

/// What happens when settings that decide over results are not the same on all servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum UnequalSettings {
    /// A server that comes back is given the lead's, or waits until it has them; a first start is refused.
    #[default]
    Align,
    /// The log says so.
    Warn,
}

/// What happens to statements that may leave other rows on each server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum UnsafeStatements {
    /// They are refused, with the reason.
    Reject,
    /// They run, and the log names the reason.
    #[default]
    Warn,
    /// They run.
    Allow,
}

/// Whose commits a client's COMMIT waits for. Only `All` passes validation at present.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Acknowledge {
    /// Every online backend's.
    #[default]
    All,
    /// More than half of the online backends'.
    Majority,
    /// The lead's.
    Lead,
}

/// What happens to writers in READ COMMITTED.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ReadCommitted {
    /// They take exclusive gates on the tables they write.
    #[default]
    Gate,
    /// Their legs run in REPEATABLE READ.
    Upgrade,
}

/// Bounds of every wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timeouts {
    /// Dialing a server, with its handshake.
    pub connect: Duration,
    /// Pause between two probes of a server.
    pub probe_interval: Duration,
    /// Time a probe may take.
    pub probe: Duration,
    /// Probes in a row that must fail before the backend is evicted; at least 1.
    pub probe_failures: u32,
    /// Time a follower's statement may be blocked before its blocker is looked for.
    pub follower_lock_wait: Duration,
    /// Time a client's command waits for a backend when none is online.
    pub no_backend_wait: Duration,
    /// Time open transactions have to end at shutdown.
    pub drain: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_millis(3000),
            probe_interval: Duration::from_millis(500),
            probe: Duration::from_millis(1000),
            probe_failures: 3,
            follower_lock_wait: Duration::from_millis(200),
            no_backend_wait: Duration::from_millis(10_000),
            drain: Duration::from_millis(10_000),
        }
    }
}

/// Bounds of every buffer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// The largest command accepted from a client.
    pub max_packet_bytes: usize,
    /// Statements that one transaction may write.
    pub transaction_statements: usize,
    /// Bytes of statements that one transaction may write.
    pub transaction_bytes: usize,
    /// Reads per transaction whose checksums are kept.
    pub verified_reads: usize,
    /// Distinct statement shapes whose analysis is cached.
    pub statement_shapes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_packet_bytes: 64 << 20,
            transaction_statements: 100_000,
            transaction_bytes: 256 << 20,
            verified_reads: 4096,
            statement_shapes: 10_000,
        }
    }
}

/// Where decided writes are kept, and for how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecoveryLog {
    /// Its directory; without one the log is in memory and ends with the process.
    pub directory: Option<PathBuf>,
    /// Bytes of one file of it.
    pub segment_bytes: u64,
    /// Bytes of all its files at most, as far as nobody needs more.
    pub retention_bytes: u64,
    /// Age of its entries at most, as far as nobody needs older ones.
    pub retention_age: Duration,
    /// Bytes of all its files at most, whoever needs them.
    pub most_bytes: u64,
    /// What happens then.
    pub when_full: WhenFull,
    /// What is believed of servers that hold data when the log is empty.
    pub first_start: FirstStart,
}

/// What happens when the recovery log has no room and a server needs its oldest entries.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum WhenFull {
    /// Writes fail until there is room.
    #[default]
    StopWrites,
    /// The entries go, and the servers that are out and needed them must be rebuilt.
    EvictSlowest,
}

/// What is believed of servers that hold data when the log is empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum FirstStart {
    /// Nothing: they are compared, and must hold the same.
    #[default]
    Compare,
    /// That they hold the same.
    Trust,
    /// That the backend of this name is right. The others become copies of it.
    Copy(String),
}

impl Default for RecoveryLog {
    fn default() -> Self {
        Self {
            directory: None,
            segment_bytes: 64 << 20,
            retention_bytes: 1 << 30,
            retention_age: Duration::from_secs(7 * 24 * 3600),
            most_bytes: u64::MAX,
            when_full: WhenFull::default(),
            first_start: FirstStart::default(),
        }
    }
}

/// What is logged, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// Level, or directives such as `info,grove_engine=debug`.
    pub filter: String,
    /// Form of a line.
    pub format: LogFormat,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            filter: "info".to_owned(),
            format: LogFormat::Text,
        }
    }
}

/// Form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}
