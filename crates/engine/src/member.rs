//! One server as the group knows it: its place in the configuration, its state, and what probes have found.

use crate::io::{BackendId, Clock, LegError, ServerFacts, Servers, World};
use arc_swap::ArcSwap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// A server as the configuration names it.
#[derive(Clone, Debug)]
pub struct MemberSpec {
    /// Unique name, shown to operators.
    pub name: String,
    /// Share of reads under the `weighted` policy.
    pub weight: u32,
}

/// State of a server, as operators see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberState {
    /// Takes reads and writes.
    Online,
    /// The only server left, and it does not answer.
    Unreachable,
    /// Evicted; its data may be behind.
    Failed,
}

/// A server's status, for operators.
#[derive(Clone, Debug)]
pub struct MemberStatus {
    /// Its name.
    pub name: String,
    /// Its state.
    pub state: MemberState,
    /// Since when, in microseconds since 1970-01-01 UTC.
    pub since_unix_micros: u64,
    /// Why.
    pub reason: String,
    /// Whether it is the lead.
    pub is_lead: bool,
    /// Sessions that read from it.
    pub sessions: usize,
}

/// A server.
pub(crate) struct Member {
    pub spec: MemberSpec,
    pub readers: AtomicUsize,
    pub latency_us: AtomicU64,
    pub failed_probes: AtomicU32,
    pub gone: ArcSwap<CancellationToken>,
    pub status: Mutex<(MemberState, u64, String)>,
    pub facts: Mutex<Option<ServerFacts>>,
    /// One session verifies a broken server at a time; the others take its verdict.
    pub verification: tokio::sync::Mutex<Option<(Duration, Finding)>>,
}

/// What the newest verification of a server found, and when.
pub(crate) enum Finding {
    Answers,
    Silent(String),
}

impl Member {
    /// A server after the first contact with it.
    pub fn new(spec: MemberSpec, contact: &Result<ServerFacts, LegError>, now_unix_micros: u64) -> Self {
        let gone = CancellationToken::new();
        let status = match contact {
            Ok(_) => (MemberState::Online, now_unix_micros, "answered at start".to_owned()),
            Err(error) => {
                gone.cancel();
                tracing::error!(backend = %spec.name, %error, "server was not reachable at start and stays out of the group");
                let reason = format!("not reachable when Grove started: {error}");
                (MemberState::Failed, now_unix_micros, reason)
            }
        };
        Self {
            spec,
            readers: AtomicUsize::new(0),
            latency_us: AtomicU64::new(0),
            failed_probes: AtomicU32::new(0),
            gone: ArcSwap::from_pointee(gone),
            status: Mutex::new(status),
            facts: Mutex::new(contact.as_ref().ok().cloned()),
            verification: tokio::sync::Mutex::default(),
        }
    }
}

/// Pause between probes of a server that does not answer at start.
const PAUSE_AT_START: Duration = Duration::from_millis(250);

/// Probes a server until it answers or `deadline` has passed on the engine's clock.
pub(crate) async fn first_contact<W: World>(
    world: &W,
    id: BackendId,
    spec: &MemberSpec,
    deadline: Duration,
) -> Result<ServerFacts, LegError> {
    let mut told = false;
    loop {
        let error = match world.servers().probe(id).await {
            Ok(facts) => return Ok(facts),
            Err(error) => error,
        };
        if world.clock().now() >= deadline {
            return Err(error);
        }
        if !std::mem::replace(&mut told, true) {
            tracing::warn!(backend = %spec.name, %error, "server does not answer yet");
        }
        world.clock().sleep(PAUSE_AT_START).await;
    }
}
