//! The engine's bounds and policies, given once at start.

use std::time::Duration;

/// How a plain read's server is chosen when a session has none yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadPolicy {
    /// The server with the fewest sessions reading, per weight.
    LeastOutstanding,
    /// One after the other.
    RoundRobin,
    /// In proportion to the configured weights.
    Weighted,
    /// The server whose probes answer fastest.
    Latency,
}

/// What happens to writers in READ COMMITTED, whose statements are not ordered by row locks alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadCommitted {
    /// They take their tables' gates exclusively.
    Gate,
    /// Their transactions run in REPEATABLE READ.
    Upgrade,
}

/// What happens when settings that decide over results are not the same on all servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnequalSettings {
    /// A server that comes back is given the lead's, or waits until it has them; a first start is refused.
    Align,
    /// The log says so.
    Warn,
}

/// What happens to statements that may leave other rows on each server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnsafeStatements {
    /// They are refused, with the reason.
    Reject,
    /// They run, and the log names the reason.
    Warn,
    /// They run.
    Allow,
}

/// Bounds and policies.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Choice of server for reads.
    pub read_policy: ReadPolicy,
    /// READ COMMITTED writers.
    pub read_committed: ReadCommitted,
    /// Servers whose settings are not the same.
    pub unequal_settings: UnequalSettings,
    /// Statements that may leave other rows on each server.
    pub unsafe_statements: UnsafeStatements,
    /// Pause between probes of one server.
    pub probe_interval: Duration,
    /// Probes that may fail in a row before a server is evicted.
    pub probe_failures: u32,
    /// A follower's leg blocked for longer asks its server who blocks it.
    pub follower_lock_wait: Duration,
    /// How long a leg that gave way under the old lead, and is now the new lead's, may wait for a lock. It may be held by a transaction that goes on
    /// there, whose leg nobody may stop, and which may wait for this one elsewhere; the one that is late is run again by its client.
    pub late_lock_wait: Duration,
    /// What is believed of servers that hold data when the log is empty.
    pub first_start: FirstStart,
    /// Whether a server that is out loses what it needs of the log when that has no room otherwise. It must be rebuilt then.
    pub evicts_slowest: bool,
    /// How long a statement waits while no server is reachable.
    pub no_backend_wait: Duration,
    /// Longest wait for a gate.
    pub gate_wait: Duration,
    /// Most statements that one transaction may hold for repetition.
    pub transaction_statements: usize,
    /// Most bytes of statements that one transaction may hold.
    pub transaction_bytes: usize,
    /// Most reads of a transaction whose answers are remembered for proof after a failover.
    pub verified_reads: usize,
    /// Units that are replayed at the same time on a server that comes back.
    pub replay_connections: usize,
    /// Longest time for which commits are held up when a server joins. If what is left takes longer to replay, it is tried again later.
    pub join_pause: Duration,
    /// Pause before a server that failed is tried again; doubled after each failure, up to [`Self::longest_rejoin_pause`].
    pub rejoin_pause: Duration,
    /// The longest such pause.
    pub longest_rejoin_pause: Duration,
    /// Pause between two foldings of position rows.
    pub fold_interval: Duration,
}

/// What is believed of servers that hold data when the log is empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FirstStart {
    /// Nothing: they are compared, and must hold the same.
    Compare,
    /// That they hold the same.
    Trust,
    /// That the server of this name is right. The others become copies of it.
    Copy(String),
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            read_policy: ReadPolicy::LeastOutstanding,
            read_committed: ReadCommitted::Gate,
            unequal_settings: UnequalSettings::Align,
            unsafe_statements: UnsafeStatements::Warn,
            probe_interval: Duration::from_millis(500),
            probe_failures: 3,
            follower_lock_wait: Duration::from_millis(200),
            late_lock_wait: Duration::from_secs(2),
            first_start: FirstStart::Compare,
            evicts_slowest: false,
            no_backend_wait: Duration::from_secs(10),
            gate_wait: Duration::from_secs(50),
            transaction_statements: 100_000,
            transaction_bytes: 256 << 20,
            verified_reads: 4096,
            replay_connections: 8,
            join_pause: Duration::from_millis(100),
            rejoin_pause: Duration::from_millis(500),
            longest_rejoin_pause: Duration::from_secs(15),
            fold_interval: Duration::from_secs(1),
        }
    }
}
