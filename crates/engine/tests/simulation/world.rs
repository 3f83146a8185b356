//! The engine's doors in the simulation: servers behind a network that delays and breaks, virtual time, seeded chance.

use crate::comparison::SimulatedComparison;
use crate::copy::SimulatedCopy;
use crate::leg::SimulatedLeg;
use crate::model::serving::{self, Fate, Wire};
use crate::model::{CAPABILITIES, Power, Server};
use crate::random::Random;
use crate::trace::Trace;
use grove_engine::io::{
    BackendId, Clock, CopyError, Entropy, Examination, Identity, KillKind, LegError, Phase, ServerFacts, Servers, World,
};
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// Bounds that the real connector takes from the configuration.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);

/// What the network may do.
#[derive(Clone, Debug)]
pub struct Weather {
    /// Longest way of a flight, in milliseconds.
    pub delay: u64,
    /// In how many of 1000 flights the way takes up to a hundred times as long.
    pub spikes: u64,
    /// In how many of 10,000 flights the connection breaks.
    pub breaks: u64,
    /// In how many of 1000 cases a connection is refused although the server runs.
    pub refuses: u64,
    /// In how many of 1000 cases a reply that is on its way is lost with its server.
    pub loses_replies: u64,
}

/// The world of one seed.
pub struct SimulatedWorld {
    pub servers: SimulatedServers,
    clock: VirtualClock,
    entropy: SeededEntropy,
}

impl SimulatedWorld {
    pub fn new(
        servers: Vec<Arc<Server>>,
        weather: Weather,
        spared: u16,
        trace: Arc<Trace>,
        mut random: Random,
    ) -> Self {
        let entropy = SeededEntropy(Mutex::new(random.fork()));
        let network = Arc::new(Network {
            weather,
            spared: AtomicU16::new(spared),
            calm: AtomicBool::new(false),
            random: Mutex::new(random),
            trace,
        });
        Self {
            servers: SimulatedServers { servers, network },
            clock: VirtualClock(Instant::now()),
            entropy,
        }
    }
}

impl World for SimulatedWorld {
    type Servers = SimulatedServers;
    type Clock = VirtualClock;
    type Entropy = SeededEntropy;

    fn servers(&self) -> &SimulatedServers {
        &self.servers
    }

    fn clock(&self) -> &VirtualClock {
        &self.clock
    }

    fn entropy(&self) -> &SeededEntropy {
        &self.entropy
    }
}

/// Delays and breaks, drawn from one source in the order of the engine's calls.
pub struct Network {
    pub weather: Weather,
    /// The server that nothing happens to, so that one always remains.
    spared: AtomicU16,
    calm: AtomicBool,
    random: Mutex<Random>,
    pub trace: Arc<Trace>,
}

impl Network {
    /// From now on nothing breaks.
    pub fn calm_down(&self) {
        self.calm.store(true, Ordering::Relaxed);
    }

    /// From now on nothing happens to this server, and something may happen to the one that was spared before.
    pub fn spare(&self, id: u16) {
        self.spared.store(id, Ordering::Relaxed);
    }

    pub fn spared(&self) -> u16 {
        self.spared.load(Ordering::Relaxed)
    }

    pub fn draw<R>(&self, action: impl FnOnce(&mut Random) -> R) -> R {
        action(&mut self.random.lock().unwrap())
    }

    fn may_break(&self, server: &Server) -> bool {
        server.id != self.spared() && !self.calm.load(Ordering::Relaxed)
    }

    pub fn delay(&self) -> Duration {
        let weather = &self.weather;
        Duration::from_millis(self.draw(|random| {
            let bound = if random.chance(weather.spikes) {
                weather.delay * 100
            } else {
                weather.delay
            };
            random.below(bound + 1)
        }))
    }

    pub fn fate(&self, server: &Server, commands: usize) -> Fate {
        if !self.may_break(server) {
            return Fate::Arrives;
        }
        self.draw(|random| {
            if random.below(10_000) >= self.weather.breaks {
                return Fate::Arrives;
            }
            let at = random.below(commands as u64 + 1) as usize;
            match random.below(3) {
                0 if at < commands => Fate::BreaksInReply(at),
                _ => Fate::BreaksAfter(at),
            }
        })
    }
}

/// The servers of one seed.
#[derive(Clone)]
pub struct SimulatedServers {
    pub servers: Vec<Arc<Server>>,
    pub network: Arc<Network>,
}

impl SimulatedServers {
    fn server(&self, backend: BackendId) -> &Arc<Server> {
        &self.servers[usize::from(backend.0)]
    }

    /// A round trip on a connection of its own, which ends in an error if the server does not answer in time.
    pub async fn reach(&self, backend: BackendId, timeout: Duration) -> Result<&Arc<Server>, LegError> {
        let server = self.server(backend);
        tokio::time::sleep(self.network.delay().min(timeout / 2)).await;
        if server.link.is_cut() {
            let heals = tokio::time::timeout(timeout, server.link.whole()).await;
            heals.map_err(|_| LegError::Timeout(timeout))?;
        }
        if server.power() == Power::Off {
            return Err(LegError::Lost("connection refused".into()));
        }
        tokio::select! {
            biased;
            () = server.dies() => Err(LegError::Lost("connection reset".into())),
            () = server.runs() => Ok(server),
            () = tokio::time::sleep(timeout) => Err(LegError::Timeout(timeout)),
        }
    }
}

impl Servers for SimulatedServers {
    type Leg = SimulatedLeg;
    type Copier = SimulatedCopy;
    type Comparer = SimulatedComparison;

    async fn prepare_copy(&self, donor: BackendId, target: BackendId) -> Result<SimulatedCopy, CopyError> {
        self.reach(donor, CONNECT_TIMEOUT).await?;
        self.reach(target, CONNECT_TIMEOUT).await?;
        Ok(SimulatedCopy::new(self.clone(), donor, target))
    }

    async fn prepare_comparison(
        &self,
        first: BackendId,
        others: &[BackendId],
    ) -> Result<SimulatedComparison, CopyError> {
        let mut all = vec![first];
        all.extend(others);
        for &server in &all {
            self.reach(server, CONNECT_TIMEOUT).await?;
        }
        Ok(SimulatedComparison::new(self.clone(), all))
    }

    async fn differences(&self, first: BackendId, second: BackendId) -> Result<Vec<String>, CopyError> {
        let first = self
            .reach(first, PROBE_TIMEOUT)
            .await?
            .step(|state| state.storage.committed());
        let second = self.reach(second, PROBE_TIMEOUT).await?;
        let is_same = second.step(|state| state.storage.committed() == first);
        Ok(if is_same { Vec::new() } else { vec!["rows".into()] })
    }

    async fn connect(&self, backend: BackendId, _identity: &Arc<Identity>) -> Result<SimulatedLeg, LegError> {
        self.connect_own(backend).await
    }

    /// The model knows no accounts, so such a connection meets whatever a client's does.
    async fn connect_own(&self, backend: BackendId) -> Result<SimulatedLeg, LegError> {
        let server = self.reach(backend, CONNECT_TIMEOUT).await?;
        let network = &self.network;
        if network.may_break(server) && network.draw(|random| random.chance(network.weather.refuses)) {
            network.trace.event(&[70, u64::from(server.id)], || {
                format!("s{} refuses a connection", server.id)
            });
            return Err(LegError::Lost("connection refused".into()));
        }
        let (to_server, flights) = mpsc::unbounded_channel();
        let (pieces, from_server) = mpsc::unbounded_channel();
        let reset = Arc::new(AtomicBool::new(false));
        let wire = Wire {
            flights,
            pieces,
            reset: Arc::clone(&reset),
        };
        let thread_id = serving::open(server, wire);
        network.trace.event(&[71, u64::from(thread_id)], || {
            format!("s{} #{thread_id} is open", server.id)
        });
        let network = Arc::clone(network);
        Ok(SimulatedLeg::new(
            thread_id,
            Arc::clone(server),
            network,
            to_server,
            from_server,
            reset,
        ))
    }

    /// The model knows no accounts: all connections end.
    async fn expel(&self, backend: BackendId, _: &[String]) -> Result<(), LegError> {
        loop {
            let server = self.reach(backend, PROBE_TIMEOUT).await?;
            let open: Vec<u32> = server.step(|state| state.connections.keys().copied().collect());
            if open.is_empty() {
                return Ok(());
            }
            for id in open {
                deliver(server, &self.network.trace, id, KillKind::Connection);
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn may_permit_marks(&self, _: BackendId) -> Result<(), LegError> {
        Ok(())
    }

    async fn permit_marks(&self, _: BackendId, _: &[u8]) -> Result<(), LegError> {
        Ok(())
    }

    async fn examine(&self, backend: BackendId) -> Result<Examination, LegError> {
        self.reach(backend, PROBE_TIMEOUT).await?;
        Ok(Examination::default())
    }

    async fn warnings(&self, _: BackendId) -> Result<Vec<String>, LegError> {
        Ok(Vec::new())
    }

    async fn adjust(&self, _: BackendId, _: &str, _: &str) -> Result<(), LegError> {
        Ok(())
    }

    async fn probe(&self, backend: BackendId) -> Result<ServerFacts, LegError> {
        let server = self.reach(backend, PROBE_TIMEOUT).await?;
        Ok(ServerFacts {
            version: "10.11.19-MariaDB".into(),
            capabilities: CAPABILITIES,
            collation: 45,
            auth_plugin: "mysql_native_password".into(),
            autoinc_lock_mode: server.policy.autoinc_lock_mode,
            sql_mode: String::new(),
            isolation: "REPEATABLE-READ".into(),
            lock_wait_timeout_s: server.policy.lock_wait_timeout.as_secs() as u32,
            max_connections: 1000,
        })
    }

    async fn blockers(&self, backend: BackendId, thread_id: u32) -> Result<Vec<u32>, LegError> {
        Ok(self.reach(backend, PROBE_TIMEOUT).await?.blockers(thread_id))
    }

    async fn phase(&self, backend: BackendId, thread_id: u32) -> Result<Phase, LegError> {
        Ok(self.reach(backend, PROBE_TIMEOUT).await?.phase(thread_id))
    }

    async fn kill(&self, backend: BackendId, thread_id: u32, kind: KillKind) -> Result<(), LegError> {
        let reached = self.reach(backend, PROBE_TIMEOUT).await;
        if let Err(LegError::Timeout(_)) = &reached {
            // The question stays in the socket's buffer, and a server that goes on reads it.
            let (server, trace) = (Arc::clone(self.server(backend)), Arc::clone(&self.network.trace));
            // Into a cut it was sent only over a connection that was open already.
            if server.link.is_cut() && self.network.draw(|random| random.chance(500)) {
                return Err(LegError::Timeout(PROBE_TIMEOUT));
            }
            tokio::spawn(async move {
                let arrives = async {
                    server.link.whole().await;
                    server.runs().await;
                };
                tokio::select! {
                    biased;
                    () = server.dies() => {}
                    () = arrives => deliver(&server, &trace, thread_id, kind),
                }
            });
        }
        deliver(reached?, &self.network.trace, thread_id, kind);
        Ok(())
    }
}

fn deliver(server: &Server, trace: &Trace, thread_id: u32, kind: KillKind) {
    trace.event(&[72, u64::from(thread_id)], || {
        format!("s{} #{thread_id} KILL {kind:?}", server.id)
    });
    match kind {
        KillKind::Query => server.kill_query(thread_id),
        KillKind::Connection => server.kill_connection(thread_id),
    }
}

/// Tokio's paused clock.
pub struct VirtualClock(Instant);

impl Clock for VirtualClock {
    fn now(&self) -> Duration {
        self.0.elapsed()
    }

    fn unix_micros(&self) -> u64 {
        1_700_000_000_000_000 + self.0.elapsed().as_micros() as u64
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}

/// The engine's own chance.
pub struct SeededEntropy(Mutex<Random>);

impl Entropy for SeededEntropy {
    fn next_u64(&self) -> u64 {
        self.0.lock().unwrap().next()
    }

    fn fill_secret(&self, bytes: &mut [u8]) {
        bytes.fill_with(|| self.next_u64() as u8);
    }
}
