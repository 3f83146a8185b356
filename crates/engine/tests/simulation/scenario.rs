//! One seed: servers, faults and clients are drawn from it, run to their end, and what is left is checked.

use crate::board::Board;
use crate::client::{Client, Plan, Stop, Surroundings};
use crate::comebacks::{self, Comebacks, Hurting};
use crate::faults::{self, Faults};
use crate::model::{Policy, Power, Server};
use crate::random::Random;
use crate::refusals::RefusingLog;
use crate::trace::{Detail, Trace};
use crate::verdict;
use crate::world::{SimulatedServers, SimulatedWorld, Weather};
use grove_engine::{Accounts, Group, MemberSpec, MemberStatus, ReadCommitted, ReadPolicy, Settings, UnsafeStatements};
use grove_recovery_log::{LogId, MemoryLog};
use grove_sql::Analyser;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Virtual time after which a seed counts as hanging.
const BOUND: Duration = Duration::from_secs(600);

/// Everything that is drawn before anything runs.
pub struct Scenario {
    pub servers: u16,
    pub clients: i64,
    pub plan: Plan,
    pub faults: Faults,
    pub comebacks: Comebacks,
    hurting: Hurting,
    pub spared: u16,
    pub weather: Weather,
    settings: Settings,
    policies: Vec<Policy>,
    random: Random,
}

/// What a seed came to.
pub struct Report {
    /// Number and digest of all events.
    pub digest: (u64, u64),
    pub violations: Vec<String>,
    pub trace: String,
    pub commits: u64,
    pub evictions: u64,
    pub deadlocks: u64,
    pub restarts: u64,
    pub errors: std::collections::BTreeMap<u16, u64>,
    pub virtual_ms: u64,
}

impl Scenario {
    pub fn draw(seed: u64, comebacks: Comebacks) -> Self {
        let mut random = Random::new(seed.wrapping_mul(0xD134_2543_DE82_EF95) ^ 0x5EED);
        let servers = random.pick(&[2, 3, 3, 3, 4]);
        let spared = random.below(u64::from(servers)) as u16;
        let faults = Faults::draw(&mut random);
        let is_mariadb = random.chance(500);
        let common = Policy {
            is_mariadb,
            autoinc_lock_mode: random.pick(&[1, 2]),
            lock_wait_timeout: Duration::from_secs(random.pick(&[2, 5, 10, 50])),
            locks_entry_after_range: random.chance(500),
            lost_keys_stay_lost: random.chance(100),
            kill_waits_for_statement: is_mariadb,
            gap_before_entry: true,
            shuffles: 0,
            slowness: 0,
            reply_delay: 0,
            notices_close_within: 2,
        };
        let policies = (0..servers)
            .map(|_| Policy {
                gap_before_entry: random.chance(500),
                shuffles: random.pick(&[0, 0, 200, 800]),
                slowness: random.pick(&[0, 0, 3, 15]),
                reply_delay: random.pick(&[0, 1, 3, 10]),
                notices_close_within: random.pick(&[0, 2, 20, 100]),
                ..common.clone()
            })
            .collect();
        let mut settings = draw_settings(&mut random);
        let mut plan = Plan {
            upgrades: settings.read_committed == ReadCommitted::Upgrade,
            // Drawn apart, so that all else of the seed stays as it is.
            refusals: Random::new(seed ^ 0x0F11_D15C).pick(&[0, 0, 0, 0, 150]),
            ..Plan::draw(&mut random)
        };
        // Drawn apart, so that seeds without comebacks stay as they are.
        let mut apart = Random::new(seed ^ 0x00C0_4EBA_C4D0);
        let hurting = Hurting::draw(&mut apart, comebacks);
        let mut loses_replies = 0;
        if comebacks != Comebacks::Never {
            plan.transactions = apart.between(4, 12) as u64;
            plan.idles = apart.pick(&[0, 100, 800]);
            settings.probe_interval = Duration::from_millis(apart.pick(&[20, 100, 500]));
            loses_replies = 500;
        }
        Self {
            servers,
            comebacks,
            hurting,
            clients: random.between(2, 6),
            plan,
            weather: Weather {
                delay: random.pick(&[0, 1, 3, 8]),
                spikes: random.pick(&[0, 0, 10, 50]),
                breaks: if faults.breaks { random.pick(&[20, 100, 300]) } else { 0 },
                refuses: if faults.breaks { random.pick(&[0, 10, 100]) } else { 0 },
                loses_replies,
            },
            faults,
            spared,
            settings,
            policies,
            random,
        }
    }

    /// Runs the seed on a runtime of its own, in virtual time.
    pub fn run(self, detail: Detail) -> Report {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(self.run_inside(detail))
    }

    async fn run_inside(mut self, detail: Detail) -> Report {
        let trace = Arc::new(Trace::new(detail));
        let began = tokio::time::Instant::now();
        let policies = std::mem::take(&mut self.policies).into_iter();
        let servers: Vec<Arc<Server>> = (0..self.servers)
            .zip(policies)
            .map(|(id, policy)| Server::new(id, policy, self.random.fork(), Arc::clone(&trace)))
            .collect();
        let world = SimulatedWorld::new(
            servers,
            self.weather.clone(),
            self.spared,
            Arc::clone(&trace),
            self.random.fork(),
        );
        let doors = world.servers.clone();
        // Without a name, servers keep no position rows and stay out when they are lost.
        let log = Arc::new(match self.comebacks {
            Comebacks::Required => MemoryLog::named(1 << 20, LogId(0x5EED)),
            Comebacks::Never | Comebacks::Ignored => MemoryLog::new(1 << 20),
        });
        let specs = (0..self.servers).map(|id| MemberSpec {
            name: format!("s{id}"),
            weight: 1,
            address: String::new(),
            remembered: grove_engine::Remembered::default(),
        });
        let settings = self.settings.clone();
        let refusing = Arc::new(RefusingLog::new(log.clone(), self.plan.refusals, Random::new(1)));
        let group = Group::form(
            world,
            specs.collect(),
            settings,
            refusing.clone(),
            Accounts::default(),
            Arc::default(),
        )
        .await;
        let group = group.unwrap();
        let around = Surroundings {
            group: Arc::clone(&group),
            analyser: Arc::new(Analyser::new(1000)),
            board: Arc::new(Board::default()),
            trace: Arc::clone(&trace),
        };
        let (stop, calm) = (CancellationToken::new(), CancellationToken::new());
        // The engine's task per server: all that it does for a server by itself, its return included, happens in here.
        for id in 0..self.servers {
            tokio::spawn(Arc::clone(&group).watch(grove_engine::io::BackendId(id), stop.clone()));
        }
        let (comparing, stopped) = (Arc::clone(&group), stop.clone());
        tokio::spawn(async move { comparing.carry_out_comparisons(stopped).await });
        let (keeping, stopped) = (Arc::clone(&group), stop.clone());
        let keeping = tokio::spawn(async move { keeping.keep_positions(stopped).await });
        let random = self.random.fork();
        let mut hurting = None;
        let injured = if self.comebacks == Comebacks::Never {
            faults::start(self.faults.clone(), self.spared, doors.clone(), random, calm.clone())
        } else {
            let hurts = self.hurting.clone();
            hurting = Some(tokio::spawn(hurts.run(
                around.clone(),
                doors.clone(),
                random,
                calm.clone(),
            )));
            Arc::new(Mutex::new((0..self.servers).collect()))
        };
        let bounded = tokio::time::timeout(BOUND, self.run_clients(&around)).await;
        calm.cancel();
        doors.network.calm_down();
        if let Some(hurting) = hurting {
            hurting.await.unwrap();
        }
        let mut returned = Ok(());
        if self.comebacks == Comebacks::Required && bounded.is_ok() {
            refusing.has_room();
            returned = comebacks::wait_for_all(&around).await;
        }
        stop.cancel();
        let _ = tokio::time::timeout(BOUND, keeping).await;
        let mut violations = std::mem::take(&mut around.board.notes().violations);
        if bounded.is_err() {
            let doing = around.board.notes().doing.clone();
            violations.push(format!("hangs: {doing:?}\n{}", waits(&doors)));
        } else if violations.is_empty() {
            refusing.has_room();
            violations = verdict::check(&around, &doors, &log, &injured).await;
            if self.comebacks == Comebacks::Required {
                violations.extend(verdict::positions(&doors, &log));
            }
        }
        violations.extend(returned.err());
        if !violations.is_empty() {
            let status = |status: MemberStatus| format!("{} {:?}: {}", status.name, status.state, status.reason);
            violations.extend(group.statuses().into_iter().map(status));
        }
        let notes = around.board.notes();
        Report {
            digest: trace.digest(),
            violations,
            trace: trace.text(),
            commits: notes.commits,
            restarts: group.metrics().follower_restarts.value(),
            evictions: group.metrics().evictions.value(),
            deadlocks: doors
                .servers
                .iter()
                .map(|server| server.step(|state| state.locks.deadlocks))
                .sum(),
            errors: notes.errors.clone(),
            virtual_ms: began.elapsed().as_millis() as u64,
        }
    }

    async fn run_clients(&mut self, around: &Surroundings) {
        let mut running = Vec::new();
        for id in 1..=self.clients {
            let (around, random, plan) = (around.clone(), self.random.fork(), self.plan);
            running.push(tokio::spawn(async move {
                let board = Arc::clone(&around.board);
                let result = match Client::new(id, around, random, plan).await {
                    Ok(mut client) => client.run().await,
                    Err(Stop::Wrong(error)) => Err(error),
                    Err(Stop::Left) => Ok(()),
                };
                if let Err(error) = result {
                    board.violation(format!("client {id}: {error}"));
                }
            }));
        }
        for client in running {
            if let Err(error) = client.await {
                around.board.violation(format!("a client panicked: {error}"));
            }
        }
    }
}

fn draw_settings(random: &mut Random) -> Settings {
    let policies = [
        ReadPolicy::LeastOutstanding,
        ReadPolicy::RoundRobin,
        ReadPolicy::Weighted,
        ReadPolicy::Latency,
    ];
    Settings {
        read_policy: random.pick(&policies),
        read_committed: random.pick(&[ReadCommitted::Gate, ReadCommitted::Upgrade]),
        follower_lock_wait: Duration::from_millis(random.pick(&[1, 20, 200])),
        late_lock_wait: Duration::from_millis(random.pick(&[0, 0, 2000])),
        gate_wait: Duration::from_secs(random.pick(&[5, 50])),
        verified_reads: random.pick(&[2, 4096, 4096]),
        // No gate is to hide what RAND() does for several rows: the model visits them in one order.
        unsafe_statements: UnsafeStatements::Allow,
        ..Settings::default()
    }
}

/// Who waits for whom on the servers.
fn waits(doors: &SimulatedServers) -> String {
    let lines = doors
        .servers
        .iter()
        .filter(|server| server.power() == Power::On)
        .map(|server| server.describe());
    lines.collect()
}
