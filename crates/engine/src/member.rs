//! One server as the group knows it: its place in the configuration, its state, and what probes have found.

use crate::io::{BackendId, Clock, LegError, ServerFacts, Servers, World};
use crate::position_rows::Fence;
use arc_swap::ArcSwap;
use grove_recovery_log::Position;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// A server as the configuration names it.
#[derive(Clone, Debug)]
pub struct MemberSpec {
    /// Unique name, shown to operators.
    pub name: String,
    /// Where it listens, for operators to read.
    pub address: String,
    /// Share of reads under the `weighted` policy.
    pub weight: u32,
    /// What was known of it when Grove ended.
    pub remembered: Remembered,
}

/// What Grove remembers of a server over its own end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remembered {
    /// Why an operator has disabled it, if one has.
    pub disabled: Option<String>,
    /// Why it may hold something else than the group, if it may.
    pub must_be_rebuilt: Option<String>,
    /// It is to be made anew, from the server of this name if one is named.
    pub rebuild: Option<Option<String>>,
}

/// What an operator wants of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// That it takes part, as soon as it can.
    TakePart,
    /// That it stays out of the group; why.
    StayOut(String),
    /// That it is made anew, from the named server if one is named.
    Rebuild(Option<BackendId>),
}

/// State of a server, as operators see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberState {
    /// Takes reads and writes.
    Online,
    /// The only server left, and it does not answer.
    Unreachable,
    /// Out of the group; it comes back by itself when it answers.
    Failed,
    /// Executes what it has missed.
    Replaying,
    /// Has executed what it had missed and waits for an instant at which it can join.
    Joining,
    /// Leaves the group because an operator wants it: no new reads begin there, and those under way may end.
    Draining,
    /// Out of the group because an operator wants it.
    Disabled,
    /// Everything that it holds is being replaced by a copy of another server.
    Rebuilding,
    /// Holds something else than the log says, or cannot be brought up by replaying: it must be rebuilt.
    Diverged,
}

/// A server's status, for operators.
#[derive(Clone, Debug)]
pub struct MemberStatus {
    /// Its name.
    pub name: String,
    /// Where it listens.
    pub address: String,
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
    /// How much of the log it holds, as far as that is known: every entry up to this one.
    pub position: Option<Position>,
    /// Entries that it lacks.
    pub lag_entries: Option<u64>,
    /// For how long it has lacked something.
    pub lag: Option<Duration>,
    /// How long its replay will take at its present rate.
    pub eta: Option<Duration>,
}

/// A server.
pub(crate) struct Member {
    pub spec: MemberSpec,
    pub readers: AtomicUsize,
    pub latency_us: AtomicU64,
    pub failed_probes: AtomicU32,
    pub gone: ArcSwap<CancellationToken>,
    /// As the last server of the group it has not confirmed what is decided.
    pub owes: AtomicBool,
    /// What an operator wants of it.
    pub wish: watch::Sender<Wish>,
    /// Why it may hold something else than the group. Then it takes no part, whatever anybody wants, until it is a copy.
    pub unfit: Mutex<Option<String>>,
    /// No new reads begin there.
    pub is_draining: AtomicBool,
    /// A copy onto it is under way, or has just ended: it needs of the log what its donor needs.
    pub is_copied: AtomicBool,
    /// Behind which its legs commit.
    pub fence: Mutex<Option<Fence>>,
    pub status: Mutex<(MemberState, u64, String)>,
    pub progress: Mutex<Progress>,
    pub facts: Mutex<Option<ServerFacts>>,
    /// What has been said of its tables in the log.
    pub warnings: Mutex<Vec<String>>,
    /// One session verifies a broken server at a time; the others take its verdict.
    pub verification: tokio::sync::Mutex<Option<(Duration, Finding)>>,
}

/// How far a server is that is not online.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Progress {
    /// It holds every entry up to here, as far as is known.
    pub position: Option<Position>,
    /// When what it lacks begins, in microseconds since 1970-01-01 UTC, as far as is known.
    pub unix_micros: Option<u64>,
    /// When its replay began, on the engine's clock, and at which position.
    pub began: Option<(Duration, Position)>,
}

/// What the newest verification of a server found, and when.
pub(crate) enum Finding {
    Answers,
    Silent(String),
}

impl Wish {
    /// What was wanted of `spec` when Grove ended; the names of all servers in their order.
    pub fn remembered(spec: &MemberSpec, names: &[String]) -> Self {
        match &spec.remembered {
            Remembered {
                disabled: Some(reason), ..
            } => Self::StayOut(reason.clone()),
            Remembered {
                rebuild: Some(donor), ..
            } => {
                let place = |donor: &String| names.iter().position(|name| name == donor && *name != spec.name);
                let donor = donor.as_ref().and_then(place);
                Self::Rebuild(donor.and_then(|place| u16::try_from(place).ok()).map(BackendId))
            }
            _ => Self::TakePart,
        }
    }
}

impl Member {
    /// A server that has not been reached yet.
    pub fn new(spec: MemberSpec, wish: Wish, now_unix_micros: u64) -> Self {
        let gone = CancellationToken::new();
        gone.cancel();
        let status = (MemberState::Failed, now_unix_micros, "not reached yet".to_owned());
        Self {
            unfit: Mutex::new(spec.remembered.must_be_rebuilt.clone()),
            wish: watch::Sender::new(wish),
            spec,
            readers: AtomicUsize::new(0),
            latency_us: AtomicU64::new(0),
            failed_probes: AtomicU32::new(0),
            gone: ArcSwap::from_pointee(gone),
            owes: AtomicBool::new(false),
            is_draining: AtomicBool::new(false),
            is_copied: AtomicBool::new(false),
            fence: Mutex::default(),
            status: Mutex::new(status),
            progress: Mutex::default(),
            facts: Mutex::default(),
            warnings: Mutex::default(),
            verification: tokio::sync::Mutex::default(),
        }
    }

    pub fn state(&self) -> MemberState {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).0
    }

    pub fn wish(&self) -> Wish {
        self.wish.borrow().clone()
    }

    pub fn unfit(&self) -> Option<String> {
        self.unfit.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn fence(&self) -> Option<Fence> {
        *self.fence.lock().unwrap_or_else(PoisonError::into_inner)
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
