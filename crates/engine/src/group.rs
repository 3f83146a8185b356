//! The group of servers: who is online, who leads, who was evicted and why.
//!
//! Invariants: the last online server is never evicted; a server comes (back) into the group only while the barrier is closed and with all of the log
//! executed (see [`crate::rejoin`]); every session that waits on an evicted server is woken at once through the server's `gone` token.

use crate::accounts::Accounts;
use crate::barrier::Barrier;
use crate::comparison::Comparison;
use crate::follower::Restart;
use crate::gate::{Gates, Hold};
use crate::interrupt::Running;
use crate::io::{BackendId, Clock, Identity, LegError, ServerFacts, Servers, World};
use crate::leg::OpenLeg;
use crate::marking::Ledger;
use crate::member::{Member, MemberSpec, MemberState, MemberStatus, Wish, first_contact};
use crate::notices::Notices;
use crate::order::{CommitsUnderWay, Order};
use crate::position_rows::Fence;
use crate::settings::{ReadPolicy, Settings};
use crate::state::Isolation;
use crate::unique::Unique;
use arc_swap::ArcSwap;
use dashmap::{DashMap, DashSet};
use grove_recovery_log::{Entry, MembershipCause, MembershipChange, OrderedLog, Position};
use smallvec::SmallVec;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Connections of each server that are left to Grove's own work (probes, kills, legs that are opened again) and to operators.
const RESERVED_CONNECTIONS: u32 = 16;

/// Membership at one instant.
#[derive(Clone, Debug)]
pub struct View {
    /// Grows with every change of membership.
    pub epoch: u64,
    /// Executes every write first.
    pub lead: BackendId,
    /// Online servers in the order in which they came, the lead among them. The next lead is the one that has been there for longest: a transaction that is
    /// older than a server has no locks there, so others must not be ordered by that server while there is one on which it has. Empty only
    /// before a group is formed.
    pub online: SmallVec<[BackendId; 4]>,
    /// How many servers have joined so far.
    pub joins: u64,
}

/// Why a server has to leave the group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It has what it has confirmed, and may come back.
    Failed,
    /// It may hold something else than the others.
    Diverged,
    /// None: an operator wants it out.
    Disabled,
}

/// The group.
pub struct Group<W: World> {
    pub(crate) world: W,
    pub(crate) settings: Settings,
    pub(crate) log: Arc<dyn OrderedLog>,
    gates: Arc<Gates>,
    pub(crate) order: Arc<Order>,
    pub(crate) commits: Arc<CommitsUnderWay>,
    /// Statements that commit by themselves, until the log and every server have them.
    pub(crate) standalones: Arc<CommitsUnderWay>,
    pub(crate) barrier: Arc<Barrier>,
    /// Sessions that keep something on the servers which a server that joins cannot be given, by Grove's id of their connection.
    pub(crate) anchored: DashSet<u32>,
    pub(crate) accounts: Accounts,
    /// What each session is doing, by the session's number.
    pub(crate) at_work: DashMap<u64, Arc<Running>>,
    /// How many statements have begun that may change definitions.
    pub(crate) definitions: AtomicU64,
    /// One command at a time.
    pub(crate) commanding: Mutex<()>,
    /// The newest comparison of the servers.
    pub(crate) comparison: watch::Sender<Option<Comparison>>,
    /// How often something has changed that is to be remembered.
    pub(crate) memories: watch::Sender<u64>,
    /// How many of these changes are written down.
    pub(crate) kept_memories: watch::Sender<u64>,
    /// Where position rows are kept, one for each member.
    pub(crate) ledgers: Vec<Ledger<W>>,
    /// Identifiers that statements ask for.
    pub(crate) unique: Unique,
    /// What the log has said about unsafe statements.
    pub(crate) notices: Notices,
    /// Follower legs that can be told to start over, by server and its connection id.
    pub(crate) restartable: DashMap<(BackendId, u32), Restart>,
    members: Vec<Member>,
    view: ArcSwap<View>,
    changing: Mutex<()>,
    next_reader: AtomicUsize,
    next_place: AtomicU64,
    losses: AtomicU64,
    generations: AtomicU64,
    bulk_insert_gate: AtomicBool,
    default_isolation: OnceLock<Isolation>,
    metrics: Arc<grove_telemetry::Metrics>,
}

impl<W: World> Group<W> {
    /// Forms a group of the servers that answer. Those that do not are waited for up to `no_backend_wait`, because whole groups are started together. With a
    /// log that servers remember, each is first brought to the log's end; one that takes longer joins later, by itself. Fails if none is online then.
    ///
    /// `accounts` are those whose passwords are known from the beginning.
    pub async fn form(
        world: W,
        specs: Vec<MemberSpec>,
        settings: Settings,
        log: Arc<dyn OrderedLog>,
        accounts: Accounts,
        metrics: Arc<grove_telemetry::Metrics>,
    ) -> Result<Arc<Self>, LegError> {
        let group = Arc::new(Self::of_strangers(world, specs, settings, log, accounts, metrics));
        let deadline = group.world.clock().now() + group.settings.no_backend_wait;
        let ids = (0..).map(BackendId).take(group.members.len());
        let failure = match group.log.id() {
            Some(_) => group.recover(deadline).await,
            None => {
                let contacts = ids.map(|id| group.contact(id, deadline));
                let contacts = futures_util::future::join_all(contacts).await;
                let (mut present, mut failure) = (Vec::new(), None);
                for (id, contact) in (0..).map(BackendId).zip(contacts) {
                    match contact {
                        Ok(()) => present.push(id),
                        Err(error) => failure = Some(error),
                    }
                }
                group.examine_all(&present).await?;
                present
                    .into_iter()
                    .for_each(|id| group.admit(id, None, "answered at start"));
                failure
            }
        };
        // Before anything is written: the log may be full of what nobody needs.
        group.log.retain(group.needs());
        let view = group.view();
        let Some(&lead) = view.online.first() else {
            return Err(failure.unwrap_or_else(|| group.why_none()));
        };
        let formed = MembershipChange {
            epoch: view.epoch,
            lead: group.name(lead).to_owned(),
            online: group.names(&view.online),
            cause: MembershipCause::Formed,
        };
        let not_logged = |error| LegError::Lost(format!("the recovery log does not take the group: {error}"));
        let position = group.log.append(Entry::Membership(formed)).await.map_err(not_logged)?;
        // What an earlier process wrote has been committed before anything that comes now.
        group.commits.sent(position);
        Ok(group)
    }

    fn of_strangers(
        world: W,
        specs: Vec<MemberSpec>,
        settings: Settings,
        log: Arc<dyn OrderedLog>,
        accounts: Accounts,
        metrics: Arc<grove_telemetry::Metrics>,
    ) -> Self {
        let now = world.clock().unix_micros();
        let names: Vec<String> = specs.iter().map(|spec| spec.name.clone()).collect();
        let member = |spec| {
            let wish = Wish::remembered(&spec, &names);
            Member::new(spec, wish, now)
        };
        let members: Vec<Member> = specs.into_iter().map(member).collect();
        Self {
            // Other numbers than those of an earlier process, which has fewer entries.
            generations: AtomicU64::new(log.last_position() << 32),
            ledgers: members.iter().map(|_| Ledger::default()).collect(),
            // Above all epochs of an earlier process: each of them has an entry.
            view: ArcSwap::from_pointee(View {
                epoch: log.last_position(),
                lead: BackendId(0),
                online: SmallVec::new(),
                joins: 0,
            }),
            unique: Unique::new(world.entropy()),
            notices: Notices::default(),
            world,
            settings,
            log,
            gates: Arc::default(),
            order: Arc::default(),
            commits: Arc::default(),
            standalones: Arc::default(),
            barrier: Arc::default(),
            anchored: DashSet::new(),
            accounts,
            at_work: DashMap::new(),
            definitions: AtomicU64::new(0),
            commanding: Mutex::new(()),
            comparison: watch::Sender::new(None),
            memories: watch::Sender::new(0),
            kept_memories: watch::Sender::new(0),
            restartable: DashMap::new(),
            members,
            changing: Mutex::new(()),
            next_reader: AtomicUsize::new(0),
            next_place: AtomicU64::new(1),
            losses: AtomicU64::new(0),
            bulk_insert_gate: AtomicBool::new(false),
            default_isolation: OnceLock::new(),
            metrics,
        }
    }

    /// The first contact with a server: what it says about itself.
    pub(crate) async fn contact(&self, id: BackendId, deadline: Duration) -> Result<(), LegError> {
        let member = self.member(id);
        match first_contact(&self.world, id, &member.spec, deadline).await {
            Ok(facts) => {
                self.learn(id, facts);
                Ok(())
            }
            Err(error) => {
                tracing::error!(backend = self.name(id), %error, "server was not reachable at start and stays out of the group");
                self.set_status(
                    id,
                    MemberState::Failed,
                    &format!("not reachable when Grove started: {error}"),
                );
                Err(error)
            }
        }
    }

    pub(crate) fn learn(&self, id: BackendId, facts: ServerFacts) {
        self.bulk_insert_gate
            .fetch_or(facts.autoinc_lock_mode == 2, Ordering::Relaxed);
        if let Some(isolation) = Isolation::named_in(facts.isolation.as_bytes()) {
            self.default_isolation.get_or_init(|| isolation);
        }
        *self.member(id).facts.lock().unwrap_or_else(PoisonError::into_inner) = Some(facts);
    }

    /// A server that holds all of the log takes part from now on; its legs commit behind `fence`. Only while nobody commits.
    pub(crate) fn admit(&self, id: BackendId, fence: Option<Fence>, reason: &str) {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let member = self.member(id);
        member.is_draining.store(false, Ordering::SeqCst);
        *member.fence.lock().unwrap_or_else(PoisonError::into_inner) = fence;
        member.gone.store(Arc::new(CancellationToken::new()));
        member.failed_probes.store(0, Ordering::Relaxed);
        let view = self.view();
        let mut online = view.online.clone();
        if !online.contains(&id) {
            online.push(id);
        }
        let lead = match view.online.is_empty() {
            true => id,
            false => view.lead,
        };
        self.set_status(id, MemberState::Online, reason);
        self.view.store(Arc::new(View {
            epoch: view.epoch + 1,
            lead,
            online,
            joins: view.joins + 1,
        }));
        self.order.appoint(lead);
    }

    /// Membership now.
    pub fn view(&self) -> Arc<View> {
        self.view.load_full()
    }

    /// Number of configured servers, whatever their state.
    pub fn member_count(&self) -> usize {
        self.members.len()
    }

    /// The lead's facts: what a client is told about the server that it talks to. Its capabilities are those that every online server has.
    pub fn server_facts(&self) -> Option<ServerFacts> {
        let view = self.view();
        let facts = |backend| {
            self.member(backend)
                .facts
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
        };
        let mut told = facts(view.lead).clone()?;
        for &backend in &view.online {
            if let Some(other) = &*facts(backend) {
                told.capabilities = told.capabilities & other.capabilities;
            }
        }
        Some(told)
    }

    /// How many sessions the online servers have room for: each may need a connection to every one of them, besides Grove's own.
    pub fn room_for_sessions(&self) -> usize {
        let online = self.view().online.clone();
        let rooms = online.iter().filter_map(|&backend| {
            let facts = self
                .member(backend)
                .facts
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            let most = facts.as_ref()?.max_connections;
            Some(most.saturating_sub(RESERVED_CONNECTIONS) as usize)
        });
        rooms.min().unwrap_or(usize::MAX)
    }

    /// The counters that this group feeds.
    pub fn metrics(&self) -> &Arc<grove_telemetry::Metrics> {
        &self.metrics
    }

    /// Everything an operator sees about the servers, in configuration order.
    pub fn statuses(&self) -> Vec<MemberStatus> {
        let view = self.view();
        let status = |(index, member): (usize, &Member)| {
            let (state, since_unix_micros, reason) =
                member.status.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let takes_part = matches!(state, MemberState::Online | MemberState::Unreachable);
            let (position, lag_entries, eta) = self.progress(member, takes_part);
            let lag = self.lag(member, lag_entries);
            MemberStatus {
                name: member.spec.name.clone(),
                address: member.spec.address.clone(),
                state,
                since_unix_micros,
                reason,
                is_lead: usize::from(view.lead.0) == index && takes_part,
                sessions: member.readers.load(Ordering::Relaxed),
                position,
                lag_entries,
                lag,
                eta,
            }
        };
        self.members.iter().enumerate().map(status).collect()
    }

    /// A server's position, what it lacks, and how long it will take to catch up.
    fn progress(&self, member: &Member, takes_part: bool) -> (Option<Position>, Option<u64>, Option<Duration>) {
        let last = self.log.last_position();
        if takes_part {
            return (Some(last), Some(0), None);
        }
        let progress = *member.progress.lock().unwrap_or_else(PoisonError::into_inner);
        let lag = progress.position.map(|position| last.saturating_sub(position));
        let eta = progress
            .began
            .zip(progress.position)
            .zip(lag)
            .and_then(|(((at, first), position), lag)| {
                let done = position.checked_sub(first).filter(|&done| done > 0)?;
                let took = self.world.clock().now().saturating_sub(at);
                Some(took.mul_f64(lag as f64 / done as f64))
            });
        (progress.position, lag, eta)
    }

    /// For how long a server has lacked something.
    fn lag(&self, member: &Member, lag_entries: Option<u64>) -> Option<Duration> {
        if lag_entries? == 0 {
            return Some(Duration::ZERO);
        }
        let progress = *member.progress.lock().unwrap_or_else(PoisonError::into_inner);
        let lacks_since = progress.unix_micros?;
        let lag = self.world.clock().unix_micros().saturating_sub(lacks_since);
        Some(Duration::from_micros(lag))
    }

    /// Name of a server.
    pub fn name(&self, id: BackendId) -> &str {
        &self.member(id).spec.name
    }

    pub(crate) fn names(&self, ids: &[BackendId]) -> Vec<String> {
        ids.iter().map(|&id| self.name(id).to_owned()).collect()
    }

    pub(crate) fn bulk_inserts_need_a_gate(&self) -> bool {
        self.bulk_insert_gate.load(Ordering::Relaxed)
    }

    pub(crate) fn default_isolation(&self) -> Isolation {
        let isolation = self.default_isolation.get().copied();
        isolation.unwrap_or(Isolation::RepeatableRead)
    }

    pub(crate) fn is_online(&self, id: BackendId) -> bool {
        self.view.load().online.contains(&id)
    }

    pub(crate) fn is_draining(&self, id: BackendId) -> bool {
        self.member(id).is_draining.load(Ordering::Relaxed)
    }

    pub(crate) fn gone(&self, id: BackendId) -> CancellationToken {
        CancellationToken::clone(&self.member(id).gone.load())
    }

    /// A number that no other session has, nor had in the same log.
    pub(crate) fn next_generation(&self) -> u64 {
        self.generations.fetch_add(1, Ordering::Relaxed)
    }

    /// How many servers have left so far, or have been begun anew: each may need the temporary tables that sessions had made before, from the log.
    pub(crate) fn losses(&self) -> u64 {
        self.losses.load(Ordering::SeqCst)
    }

    /// A server will be brought up by the log that has not seen the temporary tables of open sessions.
    pub(crate) fn note_loss(&self) {
        self.losses.fetch_add(1, Ordering::SeqCst);
    }

    /// The next place among those that wait for followers.
    pub(crate) fn next_place(&self) -> u64 {
        self.next_place.fetch_add(1, Ordering::Relaxed)
    }

    /// An owner of gates for a transaction or a statement that commits by itself.
    pub(crate) fn new_hold(&self) -> Arc<Hold> {
        Arc::new(self.gates.new_hold())
    }

    pub(crate) fn count_reader(&self, id: BackendId, more: bool) {
        let readers = &self.member(id).readers;
        if more {
            readers.fetch_add(1, Ordering::Relaxed)
        } else {
            readers.fetch_sub(1, Ordering::Relaxed)
        };
    }

    /// Opens a leg, unless the server leaves the group meanwhile.
    pub(crate) async fn open_leg(
        &self,
        backend: BackendId,
        identity: &Arc<Identity>,
    ) -> Result<OpenLeg<<W::Servers as Servers>::Leg>, LegError> {
        let lost = || LegError::Lost("the server has left the group".into());
        if self.owes_something(backend) {
            self.wait_for_settlement(backend).await;
        }
        if !self.is_online(backend) || self.owes_something(backend) {
            return Err(lost());
        }
        let (gone, fence) = (self.gone(backend), self.member(backend).fence());
        // A dial that is dropped is a connection that is closed.
        let leg = tokio::select! {
            biased;
            leg = self.world.servers().connect(backend, identity) => leg?,
            () = gone.cancelled() => return Err(lost()),
        };
        Ok(OpenLeg::new(backend, leg, gone, fence))
    }

    /// Chooses a server for a session's reads.
    pub(crate) fn choose_reader(&self) -> BackendId {
        let view = self.view();
        let stays = |id: &BackendId| !self.is_draining(*id);
        let staying: SmallVec<[BackendId; 4]> = view.online.iter().copied().filter(stays).collect();
        let online = if staying.is_empty() { &view.online } else { &staying };
        let load = |id: &BackendId| self.member(*id).readers.load(Ordering::Relaxed);
        let weight = |id: &BackendId| u64::from(self.member(*id).spec.weight.max(1));
        let turn = self.next_reader.fetch_add(1, Ordering::Relaxed);
        let chosen = match self.settings.read_policy {
            ReadPolicy::RoundRobin => online.get(turn % online.len().max(1)),
            ReadPolicy::LeastOutstanding => online
                .iter()
                .min_by_key(|id| ((load(id) as u64 + 1) * 1000 / weight(id), (id.0 as usize + turn) % 64)),
            ReadPolicy::Latency => online
                .iter()
                .min_by_key(|id| self.member(**id).latency_us.load(Ordering::Relaxed)),
            ReadPolicy::Weighted => {
                let total: u64 = online.iter().map(weight).sum();
                let mut at = turn as u64 % total.max(1);
                online.iter().find(|id| {
                    let inside = at < weight(id);
                    at = at.saturating_sub(weight(id));
                    inside
                })
            }
        };
        chosen.copied().unwrap_or(view.lead)
    }

    pub(crate) fn member(&self, id: BackendId) -> &Member {
        &self.members[usize::from(id.0)]
    }

    /// Takes a server out of the group, unless it is the last one. It may come back.
    pub fn evict(&self, id: BackendId, reason: &str) -> bool {
        self.take_out(id, Fault::Failed, reason)
    }

    /// Takes a server out of the group, unless it is the last one.
    pub(crate) fn take_out(&self, id: BackendId, fault: Fault, reason: &str) -> bool {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let view = self.view();
        if !view.online.contains(&id) {
            return true;
        }
        if view.online.len() == 1 {
            return false;
        }
        let online: SmallVec<[BackendId; 4]> = view.online.iter().copied().filter(|&other| other != id).collect();
        let lead = if view.lead == id { online[0] } else { view.lead };
        let epoch = view.epoch + 1;
        let state = match fault {
            Fault::Failed => MemberState::Failed,
            Fault::Diverged => MemberState::Diverged,
            Fault::Disabled => MemberState::Disabled,
        };
        if fault == Fault::Diverged {
            self.must_be_rebuilt(id, reason);
        }
        self.set_status(id, state, reason);
        self.view.store(Arc::new(View {
            epoch,
            lead,
            online,
            joins: view.joins,
        }));
        self.order.appoint(lead);
        self.note_loss();
        let now = self.world.clock().unix_micros();
        let member = self.member(id);
        member
            .progress
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .unix_micros = Some(now);
        member.gone.load().cancel();
        let (name, lead_name) = (self.name(id), self.name(lead));
        if fault == Fault::Disabled {
            tracing::info!(
                backend = name,
                lead = lead_name,
                epoch,
                reason,
                "server has left the group"
            );
        } else {
            self.metrics.evictions.add(1);
            tracing::error!(backend = name, lead = lead_name, epoch, reason, "server evicted");
        }
        let change = MembershipChange {
            epoch,
            lead: self.name(lead).to_owned(),
            online: self.names(&self.view().online),
            cause: MembershipCause::Evicted {
                server: self.name(id).to_owned(),
                reason: reason.to_owned(),
            },
        };
        let log = Arc::clone(&self.log);
        tokio::spawn(async move {
            if let Err(error) = log.append(Entry::Membership(change)).await {
                tracing::error!(%error, "membership change is not in the log");
            }
        });
        true
    }

    pub(crate) fn set_status(&self, id: BackendId, state: MemberState, reason: &str) {
        let since = self.world.clock().unix_micros();
        *self.member(id).status.lock().unwrap_or_else(PoisonError::into_inner) = (state, since, reason.to_owned());
    }
}
