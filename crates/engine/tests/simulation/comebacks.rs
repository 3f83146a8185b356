//! Servers that come back: killed and started again, stopped and continued, cut off and connected again, several times in one seed.
//!
//! One server is spared at a time, so that somebody always has everything. When all are online again another one may be spared: then a
//! server that has come back is all that is left of the group.

use crate::board::Board;
use crate::client::Surroundings;
use crate::model::own_run::OwnSchema;
use crate::model::storage::Storage;
use crate::model::{Power, Server};
use crate::random::Random;
use crate::world::{SimulatedServers, SimulatedWorld};
use grove_engine::io::BackendId;
use grove_engine::{Command, ComparisonOutcome, Group, MemberState};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Whether servers come back in a seed, and what is expected of the group then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comebacks {
    /// A server that was killed stays away.
    Never,
    /// They come back, and the group may leave them out.
    Ignored,
    /// They come back, and in the end all of them are online and equal.
    Required,
}

/// Virtual time within which every server must be online again after the last fault.
const RETURN: Duration = Duration::from_secs(120);

/// How long a server is away, in milliseconds.
const AWAY: [u64; 6] = [2, 40, 300, 1_500, 4_000, 12_000];

/// What happens to a server.
#[derive(Clone, Copy, Debug)]
enum Blow {
    Crash,
    Stop,
    Cut,
    /// It is killed and starts again behind a cut, of which nobody hears before the cut heals.
    CrashBehindCut,
    /// It is killed and starts again with nothing; an operator has it rebuilt.
    Wipe,
    /// An operator disables it and enables it again.
    Disable,
    /// An operator has all servers compared.
    Compare,
}

/// How servers are hurt in a seed.
#[derive(Clone, Debug)]
pub struct Hurting {
    comebacks: Comebacks,
    rounds: u64,
    /// Virtual milliseconds between the rounds, at most.
    within: u64,
    /// Another server is spared in every round.
    moves_on: bool,
    kinds: Vec<Blow>,
}

impl Hurting {
    pub fn draw(random: &mut Random, comebacks: Comebacks) -> Self {
        let mut all = vec![Blow::Crash, Blow::Stop, Blow::Cut, Blow::CrashBehindCut];
        let mut kinds = vec![vec![Blow::Crash], vec![Blow::Cut], vec![Blow::Stop]];
        if comebacks == Comebacks::Required {
            all.extend([Blow::Wipe, Blow::Disable, Blow::Compare]);
            kinds.extend([vec![Blow::Wipe], vec![Blow::Disable], vec![Blow::Compare]]);
        }
        kinds.extend([all.clone(), all]);
        Self {
            comebacks,
            rounds: random.between(1, 5) as u64,
            within: random.pick(&[5, 50, 400]),
            moves_on: random.chance(600) && comebacks == Comebacks::Required,
            kinds: random.pick(&kinds),
        }
    }

    /// Hurts servers until all rounds are done or `stop` is cancelled; when it returns, every server runs and is connected. Clients go on until
    /// then, and until all servers are online again where they must be.
    pub async fn run(self, around: Surroundings, doors: SimulatedServers, random: Random, stop: CancellationToken) {
        around.board.notes().is_restless = true;
        self.hurt(&around, &doors, random, &stop).await;
        if self.comebacks == Comebacks::Required {
            goes_on(&stop, async { drop(wait_for_all(&around).await) }).await;
        }
        around.board.notes().is_restless = false;
    }

    async fn hurt(
        &self,
        around: &Surroundings,
        doors: &SimulatedServers,
        mut random: Random,
        stop: &CancellationToken,
    ) {
        for _ in 0..self.rounds {
            let pause = Duration::from_millis(random.below(self.within + 1));
            if !goes_on(stop, tokio::time::sleep(pause)).await {
                return;
            }
            if self.moves_on && !goes_on(stop, all_online(around)).await {
                return;
            }
            if self.moves_on {
                let count = doors.servers.len() as u64;
                doors.network.spare(random.below(count) as u16);
                // A connection that broke just before may still cost the newly spared one its place.
                let settled = Duration::from_millis(200);
                if !goes_on(stop, tokio::time::sleep(settled)).await || !goes_on(stop, all_online(around)).await {
                    return;
                }
            }
            let spared = doors.network.spared();
            let chosen = doors.servers.iter().filter(|server| server.id != spared);
            let mut blows = Vec::new();
            for server in chosen {
                if random.chance(700) {
                    let kind = random.pick(&self.kinds);
                    let (after, away) = (random.below(self.within + 1), random.pick(&AWAY));
                    // Tasks, so that one round's blows overlap.
                    let target = Target {
                        group: Arc::clone(&around.group),
                        board: Arc::clone(&around.board),
                        server: Arc::clone(server),
                    };
                    blows.push(tokio::spawn(hit(target, kind, after, away, stop.clone())));
                }
            }
            for blow in blows {
                let _ = blow.await;
            }
        }
    }
}

/// A server, and the group that an operator speaks to.
struct Target {
    group: Arc<Group<SimulatedWorld>>,
    board: Arc<Board>,
    server: Arc<Server>,
}

impl Target {
    fn is_online(&self) -> bool {
        self.group.view().online.contains(&BackendId(self.server.id))
    }

    fn is_rebuilt(&self) -> bool {
        let statuses = self.group.statuses();
        let status = statuses.get(usize::from(self.server.id));
        status.is_some_and(|status| status.state == MemberState::Rebuilding)
    }

    fn command(&self, command: Command) -> bool {
        self.group.command(&format!("s{}", self.server.id), command).is_ok()
    }

    /// Its disk is lost. It starts again when the group has noticed that it is away, and the operator insists until the rebuild is ordered.
    async fn wipe(&self) {
        self.server.switch(Power::Off);
        while self.is_online() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.server.step(|state| {
            state.storage = Storage::empty();
            state.own = OwnSchema::default();
        });
    }

    /// Whatever else happens, servers that are compared hold the same.
    async fn compare(&self) {
        if self.group.begin_comparison().is_err() {
            return;
        }
        let outcome = loop {
            tokio::time::sleep(Duration::from_millis(5)).await;
            if let Some(outcome) = self.group.comparison().and_then(|comparison| comparison.outcome) {
                break outcome;
            }
        };
        if let ComparisonOutcome::Complete { differences, .. } = outcome
            && !differences.is_empty()
        {
            self.board.violation(format!("a comparison has found {differences:?}"));
        }
    }

    async fn rebuild(&self) {
        while !self.command(Command::Rebuild { donor: None }) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// One blow, and the recovery from it.
async fn hit(target: Target, kind: Blow, after: u64, away: u64, stop: CancellationToken) {
    let server = &target.server;
    if !goes_on(&stop, tokio::time::sleep(Duration::from_millis(after))).await {
        return;
    }
    match kind {
        Blow::Crash => server.switch(Power::Off),
        Blow::Stop => server.switch(Power::Hung),
        Blow::Cut => server.cut(),
        Blow::CrashBehindCut => {
            server.cut();
            goes_on(&stop, tokio::time::sleep(Duration::from_millis(away / 2))).await;
            server.switch(Power::Off);
        }
        Blow::Wipe => target.wipe().await,
        // That would be the end of the rebuild, which nobody orders again.
        Blow::Disable if target.is_rebuilt() => {}
        Blow::Disable => {
            let reason = String::new();
            target.command(Command::Disable { reason });
        }
        Blow::Compare => drop(goes_on(&stop, target.compare()).await),
    }
    goes_on(&stop, tokio::time::sleep(Duration::from_millis(away))).await;
    match kind {
        Blow::Crash | Blow::CrashBehindCut => {
            // Whoever waits on the dead server must have seen it dead, also if the seed ends in this very moment.
            tokio::time::sleep(Duration::from_millis(1)).await;
            server.start_again();
            server.heal();
        }
        Blow::Wipe => {
            server.start_again();
            target.rebuild().await;
        }
        Blow::Disable => {
            target.command(Command::Enable);
        }
        Blow::Compare => {}
        Blow::Stop => server.switch(Power::On),
        Blow::Cut => server.heal(),
    }
}

/// False if the seed has ended first.
async fn goes_on(stop: &CancellationToken, future: impl Future<Output = ()>) -> bool {
    tokio::select! {
        biased;
        () = stop.cancelled() => false,
        () = future => true,
    }
}

async fn all_online(around: &Surroundings) {
    while around.group.view().online.len() < around.group.member_count() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Waits until every server is online again; what is wrong if they are not.
pub async fn wait_for_all(around: &Surroundings) -> Result<(), String> {
    let all = tokio::time::timeout(RETURN, all_online(around)).await;
    all.map_err(|_| "not every server has come back".to_owned())
}
