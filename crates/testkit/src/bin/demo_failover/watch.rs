//! Looks at Grove and at the bank while something goes on, and shows what it sees: every change at once, the table at the screen's pace.
//!
//! It asks more often than it draws, because a server joins within a tenth of a second.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use grove_testkit::admin::{self, Member};
use grove_testkit::bank::Bank;

use crate::screen::Screen;
use crate::table::{Moment, clock};

const PAUSE: Duration = Duration::from_millis(20);
/// Over which time commits per second are counted.
const WINDOW: Duration = Duration::from_secs(1);

/// How a server came back.
#[derive(Debug)]
pub(crate) struct Replay {
    pub(crate) entries: u64,
    pub(crate) time: Duration,
}

/// A bank that is watched.
#[derive(Debug)]
pub(crate) struct Watch {
    admin: SocketAddr,
    bank: Bank,
    screen: Screen,
    begun: Instant,
    last_drawn: Option<Instant>,
    members: Vec<Member>,
    recent: VecDeque<(Instant, u64)>,
    /// When a server's replay was first seen, and where it stood.
    replay_began: BTreeMap<String, (Instant, u64)>,
    /// When a server was first seen online again, and where it stood.
    replay_ended: BTreeMap<String, (Instant, u64)>,
}

impl Watch {
    pub(crate) fn new(admin: SocketAddr, bank: Bank, screen: Screen) -> Self {
        Self {
            admin,
            bank,
            screen,
            begun: Instant::now(),
            last_drawn: None,
            members: Vec::new(),
            recent: VecDeque::new(),
            replay_began: BTreeMap::new(),
            replay_ended: BTreeMap::new(),
        }
    }

    /// Announces something.
    pub(crate) fn say(&self, what: &str) -> io::Result<()> {
        self.screen.say(&format!("{}  {what}", clock(self.begun.elapsed())))
    }

    /// Lets the clients work for this long; that one of them fails is an error.
    pub(crate) async fn load_goes_on(&mut self, time: Duration) -> anyhow::Result<()> {
        self.during(tokio::time::sleep(time)).await
    }

    /// Watches until this has ended.
    pub(crate) async fn during<T>(&mut self, work: impl Future<Output = T>) -> anyhow::Result<T> {
        let mut work = pin!(work);
        loop {
            // A timeout drops only the borrow: the work goes on at the next turn.
            if let Ok(done) = tokio::time::timeout(PAUSE, &mut work).await {
                return Ok(done);
            }
            self.look().await?;
        }
    }

    /// Watches until Grove has put this server out, at most for so long after an event.
    pub(crate) async fn until_out(&mut self, name: &str, event: Instant, limit: Duration) -> anyhow::Result<()> {
        loop {
            let member = self.look_for(name).await?;
            if !member.is_online() {
                return Ok(());
            }
            ensure!(
                event.elapsed() < limit,
                "Grove has not noticed within {} s that {name} is gone",
                limit.as_secs()
            );
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Watches until this server is online, at most for so long after an event.
    pub(crate) async fn until_online(&mut self, name: &str, event: Instant, limit: Duration) -> anyhow::Result<()> {
        loop {
            let member = self.look_for(name).await?;
            if member.is_online() {
                return Ok(());
            }
            let Member { state, reason, .. } = member;
            ensure!(
                state != "diverged",
                "{name} cannot come back by itself. It is {state}: {reason}"
            );
            ensure!(
                event.elapsed() < limit,
                "{name} is not online {} s after its start. It is {state}: {reason}",
                limit.as_secs()
            );
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// What this server has executed to come back; `None` when that was too short to be seen.
    pub(crate) fn replay_of(&self, name: &str) -> Option<Replay> {
        let (began, from) = self.replay_began.get(name)?;
        let (ended, to) = self.replay_ended.get(name)?;
        Some(Replay {
            entries: to.saturating_sub(*from),
            time: ended.saturating_duration_since(*began),
        })
    }

    /// Shows how it is, whenever that was last shown.
    pub(crate) async fn show_now(&mut self) -> anyhow::Result<()> {
        self.last_drawn = None;
        self.look().await
    }

    /// The end of watching.
    pub(crate) fn into_bank(self) -> Bank {
        self.bank
    }

    async fn look_for(&mut self, name: &str) -> anyhow::Result<&Member> {
        self.look().await?;
        let member = self.members.iter().find(|member| member.name == name);
        member.with_context(|| format!("Grove does not know {name}: {:?}", self.members))
    }

    async fn look(&mut self) -> anyhow::Result<()> {
        let members = admin::members(self.admin).await?;
        let progress = self.bank.progress();
        if let Some(failure) = &progress.failure {
            bail!("a client failed: {failure}");
        }
        for member in &members {
            self.note_change(member)?;
        }
        self.members = members;
        let now = Instant::now();
        self.recent.push_back((now, progress.commits));
        while self.recent.front().is_some_and(|(at, _)| now - *at > WINDOW) {
            self.recent.pop_front();
        }
        if self.last_drawn.is_some_and(|at| now - at < self.screen.pace()) {
            return Ok(());
        }
        self.last_drawn = Some(now);
        let moment = Moment {
            since_begin: self.begun.elapsed(),
            members: &self.members,
            progress: &progress,
            commits_per_second: self.commits_per_second(),
        };
        let lines = match self.screen {
            Screen::Terminal { .. } => moment.table(),
            Screen::Plain => vec![moment.line()],
        };
        Ok(self.screen.redraw(lines)?)
    }

    /// Announces a server that is in another state than before, or that has become the lead.
    fn note_change(&mut self, member: &Member) -> io::Result<()> {
        let Some(before) = self.members.iter().find(|before| before.name == member.name) else {
            return Ok(());
        };
        let (name, state) = (&member.name, &member.state);
        let (old_state, becomes_lead) = (before.state.clone(), member.is_lead && !before.is_lead);
        if *state != old_state {
            let seen = match state.as_str() {
                "replaying" => Some(&mut self.replay_began),
                _ if member.is_online() => Some(&mut self.replay_ended),
                _ => None,
            };
            if let Some((seen, position)) = seen.zip(member.position) {
                seen.entry(name.clone()).or_insert((Instant::now(), position));
            }
            self.say(&format!("{name}: {old_state} -> {state}: {}", member.reason))?;
        }
        match becomes_lead {
            true => self.say(&format!("{name} is the lead now")),
            false => Ok(()),
        }
    }

    fn commits_per_second(&self) -> u64 {
        let (Some((from, before)), Some((to, after))) = (self.recent.front(), self.recent.back()) else {
            return 0;
        };
        let seconds = (*to - *from).as_secs_f64();
        match seconds > 0.0 {
            true => ((after - before) as f64 / seconds).round() as u64,
            false => 0,
        }
    }
}
