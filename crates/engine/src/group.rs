//! The group of servers: who is online, who leads, who was evicted and why.
//!
//! Invariants: the last online server is never evicted; an evicted server never comes back in the life of this process; every session that
//! waits on an evicted server is woken at once through the server's `gone` token.

use crate::follower::Restart;
use crate::gate::{Gates, Hold};
use crate::io::{BackendId, Clock, Identity, LegError, ServerFacts, Servers, World};
use crate::leg::OpenLeg;
use crate::member::{Finding, Member, MemberSpec, MemberState, MemberStatus, first_contact};
use crate::order::{CommitsUnderWay, Order};
use crate::settings::{ReadPolicy, Settings};
use crate::state::Isolation;
use arc_swap::ArcSwap;
use dashmap::DashMap;
use grove_recovery_log::{Entry, MembershipCause, MembershipChange, OrderedLog};
use smallvec::SmallVec;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Pause between probes of the last server while it does not answer.
const PAUSE_BETWEEN_LAST_HOPES: Duration = Duration::from_millis(100);
/// Connections of each server that are left to Grove's own work (probes, kills, legs that are opened again) and to operators.
const RESERVED_CONNECTIONS: u32 = 16;

/// Epoch of a group that was just formed.
const FIRST_EPOCH: u64 = 1;

/// Membership at one instant.
#[derive(Clone, Debug)]
pub struct View {
    /// Grows with every change of membership.
    pub epoch: u64,
    /// Executes every write first.
    pub lead: BackendId,
    /// Online servers, the lead among them.
    pub online: SmallVec<[BackendId; 4]>,
}

/// What verification found out about a server on which a connection broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It answers.
    Alive,
    /// It has left the group.
    Evicted,
}

/// The group.
pub struct Group<W: World> {
    pub(crate) world: W,
    pub(crate) settings: Settings,
    pub(crate) log: Arc<dyn OrderedLog>,
    gates: Arc<Gates>,
    pub(crate) order: Arc<Order>,
    pub(crate) commits: Arc<CommitsUnderWay>,
    /// Follower legs that can be told to start over, by server and its connection id.
    pub(crate) restartable: DashMap<(BackendId, u32), Restart>,
    members: Vec<Member>,
    view: ArcSwap<View>,
    changing: Mutex<()>,
    next_reader: AtomicUsize,
    next_place: AtomicU64,
    bulk_insert_gate: bool,
    default_isolation: Isolation,
    metrics: Arc<grove_telemetry::Metrics>,
}

impl<W: World> Group<W> {
    /// Forms the first epoch from the servers that answer. Those that do not are waited for up to `no_backend_wait`, because whole groups are
    /// started together; a server that is left out then stays out. Fails if none answers.
    pub async fn form(
        world: W,
        specs: Vec<MemberSpec>,
        settings: Settings,
        log: Arc<dyn OrderedLog>,
        metrics: Arc<grove_telemetry::Metrics>,
    ) -> Result<Arc<Self>, LegError> {
        let mut online = SmallVec::<[BackendId; 4]>::new();
        let mut members = Vec::with_capacity(specs.len());
        let mut failure = LegError::Lost("no server is configured".into());
        let mut bulk_insert_gate = false;
        let mut default_isolation = None;
        let deadline = world.clock().now() + settings.no_backend_wait;
        let contacts = (0..).map(BackendId).zip(&specs);
        let contacts = contacts.map(|(id, spec)| first_contact(&world, id, spec, deadline));
        let contacts = futures_util::future::join_all(contacts).await;
        let now = world.clock().unix_micros();
        for ((id, spec), contact) in (0..).map(BackendId).zip(specs).zip(contacts) {
            if let Ok(facts) = &contact {
                online.push(id);
                bulk_insert_gate |= facts.autoinc_lock_mode == 2;
                default_isolation = default_isolation.or(Isolation::named_in(facts.isolation.as_bytes()));
            }
            members.push(Member::new(spec, &contact, now));
            if let Err(error) = contact {
                failure = error;
            }
        }
        let Some(&lead) = online.first() else {
            return Err(failure);
        };
        let formed = MembershipChange {
            epoch: FIRST_EPOCH,
            lead: members[usize::from(lead.0)].spec.name.clone(),
            online: online
                .iter()
                .map(|id| members[usize::from(id.0)].spec.name.clone())
                .collect(),
            cause: MembershipCause::Formed,
        };
        let not_logged = |error| LegError::Lost(format!("the recovery log does not take the group: {error}"));
        let position = log.append(Entry::Membership(formed)).await.map_err(not_logged)?;
        let commits = Arc::new(CommitsUnderWay::default());
        // What an earlier process wrote has been committed before anything that comes now.
        commits.sent(position);
        let order = Arc::new(Order::default());
        order.appoint(lead);
        Ok(Arc::new(Self {
            world,
            settings,
            log,
            gates: Arc::default(),
            order,
            commits,
            restartable: DashMap::new(),
            members,
            view: ArcSwap::from_pointee(View {
                epoch: FIRST_EPOCH,
                lead,
                online,
            }),
            changing: Mutex::new(()),
            next_reader: AtomicUsize::new(0),
            next_place: AtomicU64::new(1),
            bulk_insert_gate,
            default_isolation: default_isolation.unwrap_or(Isolation::RepeatableRead),
            metrics,
        }))
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
            MemberStatus {
                name: member.spec.name.clone(),
                state,
                since_unix_micros,
                reason,
                is_lead: usize::from(view.lead.0) == index && state != MemberState::Failed,
                sessions: member.readers.load(Ordering::Relaxed),
            }
        };
        self.members.iter().enumerate().map(status).collect()
    }

    /// Name of a server.
    pub fn name(&self, id: BackendId) -> &str {
        &self.member(id).spec.name
    }

    fn names(&self, ids: &[BackendId]) -> Vec<String> {
        ids.iter().map(|&id| self.name(id).to_owned()).collect()
    }

    pub(crate) fn bulk_inserts_need_a_gate(&self) -> bool {
        self.bulk_insert_gate
    }

    pub(crate) fn default_isolation(&self) -> Isolation {
        self.default_isolation
    }

    pub(crate) fn is_online(&self, id: BackendId) -> bool {
        self.view.load().online.contains(&id)
    }

    pub(crate) fn gone(&self, id: BackendId) -> CancellationToken {
        CancellationToken::clone(&self.member(id).gone.load())
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
        if !self.is_online(backend) {
            return Err(lost());
        }
        let gone = self.gone(backend);
        // A dial that is dropped is a connection that is closed.
        let leg = tokio::select! {
            biased;
            leg = self.world.servers().connect(backend, identity) => leg?,
            () = gone.cancelled() => return Err(lost()),
        };
        Ok(OpenLeg::new(backend, leg, gone))
    }

    /// Chooses a server for a session's reads.
    pub(crate) fn choose_reader(&self) -> BackendId {
        let view = self.view();
        let load = |id: &BackendId| self.member(*id).readers.load(Ordering::Relaxed);
        let weight = |id: &BackendId| u64::from(self.member(*id).spec.weight.max(1));
        let turn = self.next_reader.fetch_add(1, Ordering::Relaxed);
        let chosen = match self.settings.read_policy {
            ReadPolicy::RoundRobin => view.online.get(turn % view.online.len()),
            ReadPolicy::LeastOutstanding => view
                .online
                .iter()
                .min_by_key(|id| ((load(id) as u64 + 1) * 1000 / weight(id), (id.0 as usize + turn) % 64)),
            ReadPolicy::Latency => view
                .online
                .iter()
                .min_by_key(|id| self.member(**id).latency_us.load(Ordering::Relaxed)),
            ReadPolicy::Weighted => {
                let total: u64 = view.online.iter().map(weight).sum();
                let mut at = turn as u64 % total;
                view.online.iter().find(|id| {
                    let inside = at < weight(id);
                    at = at.saturating_sub(weight(id));
                    inside
                })
            }
        };
        chosen.copied().unwrap_or(view.lead)
    }

    fn member(&self, id: BackendId) -> &Member {
        &self.members[usize::from(id.0)]
    }

    /// Takes a server out of the group, unless it is the last one.
    pub fn evict(&self, id: BackendId, reason: &str) -> bool {
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
        self.set_status(id, MemberState::Failed, reason);
        self.view.store(Arc::new(View { epoch, lead, online }));
        self.order.appoint(lead);
        self.member(id).gone.load().cancel();
        self.metrics.evictions.add(1);
        tracing::error!(
            backend = self.name(id),
            lead = self.name(lead),
            epoch,
            reason,
            "server evicted"
        );
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

    fn set_status(&self, id: BackendId, state: MemberState, reason: &str) {
        let since = self.world.clock().unix_micros();
        *self.member(id).status.lock().unwrap_or_else(PoisonError::into_inner) = (state, since, reason.to_owned());
    }

    /// Finds out whether a server on which a connection broke still answers; evicts it if not. The last server is waited for instead.
    pub(crate) async fn verify(&self, id: BackendId, error: &LegError) -> Result<Verdict, String> {
        if !self.is_online(id) {
            return Ok(Verdict::Evicted);
        }
        let asked_at = self.world.clock().now();
        let deadline = asked_at + self.settings.no_backend_wait;
        let mut newest = self.member(id).verification.lock().await;
        if !self.is_online(id) {
            return Ok(Verdict::Evicted);
        }
        loop {
            // A finding that is newer than the question answers it, so that many sessions ask only once.
            match &*newest {
                Some((at, Finding::Answers)) if *at >= asked_at => return Ok(Verdict::Alive),
                Some((at, Finding::Silent(reason))) if *at >= deadline => {
                    let name = self.name(id);
                    return Err(format!("{name} is the last server and does not answer: {reason}"));
                }
                _ => {}
            }
            let finding = match self.world.servers().probe(id).await {
                Ok(_) => {
                    self.reachable_again(id);
                    Finding::Answers
                }
                Err(probe_error) => {
                    let reason = format!("{error}; then: {probe_error}");
                    if self.evict(id, &reason) {
                        return Ok(Verdict::Evicted);
                    }
                    self.unreachable(id, &reason);
                    self.world.clock().sleep(PAUSE_BETWEEN_LAST_HOPES).await;
                    Finding::Silent(reason)
                }
            };
            *newest = Some((self.world.clock().now(), finding));
        }
    }

    /// The last server does not answer. Those who wait for it go on waiting, because a server that hangs may go on where it stopped; after
    /// `no_backend_wait` they are told.
    fn unreachable(&self, id: BackendId, reason: &str) {
        let (status, since, _) = self
            .member(id)
            .status
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        if status == MemberState::Online {
            tracing::error!(backend = self.name(id), reason, "the last server does not answer");
            self.set_status(id, MemberState::Unreachable, reason);
        } else if status == MemberState::Unreachable {
            let silent = self.world.clock().unix_micros().saturating_sub(since);
            if Duration::from_micros(silent) >= self.settings.no_backend_wait {
                self.member(id).gone.load().cancel();
            }
        }
    }

    fn reachable_again(&self, id: BackendId) {
        let status = self.member(id).status.lock().unwrap_or_else(PoisonError::into_inner).0;
        if status == MemberState::Unreachable {
            tracing::warn!(backend = self.name(id), "the last server answers again");
            if self.gone(id).is_cancelled() {
                self.member(id).gone.store(Arc::new(CancellationToken::new()));
            }
            self.set_status(id, MemberState::Online, "answers again");
        }
    }

    /// Probes one server for ever; ends when the server has left the group or `stop` is cancelled. One task per server.
    pub async fn watch(self: Arc<Self>, id: BackendId, stop: CancellationToken) {
        while self.is_online(id) {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = self.world.clock().sleep(self.settings.probe_interval) => {}
            }
            let began = self.world.clock().now();
            let member = self.member(id);
            match self.world.servers().probe(id).await {
                Ok(facts) => {
                    let took = self.world.clock().now().saturating_sub(began).as_micros() as u64;
                    let before = member.latency_us.load(Ordering::Relaxed);
                    member.latency_us.store((before * 7 + took) / 8, Ordering::Relaxed);
                    member.failed_probes.store(0, Ordering::Relaxed);
                    *member.facts.lock().unwrap_or_else(PoisonError::into_inner) = Some(facts);
                    self.reachable_again(id);
                }
                Err(error) => {
                    let failures = member.failed_probes.fetch_add(1, Ordering::Relaxed) + 1;
                    tracing::warn!(backend = self.name(id), failures, %error, "probe failed");
                    let reason = format!("{failures} probes in a row failed: {error}");
                    if failures >= self.settings.probe_failures && !self.evict(id, &reason) {
                        self.unreachable(id, &reason);
                    }
                }
            }
        }
    }
}
