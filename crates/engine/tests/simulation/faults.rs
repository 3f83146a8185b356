//! What goes wrong in a seed: servers killed, hung for a while or for good, connections that break.

use crate::model::Power;
use crate::random::Random;
use crate::world::SimulatedServers;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Servers that something was done to, by index: only they may leave the group.
pub type Injured = Arc<Mutex<BTreeSet<u16>>>;

/// Kinds of faults of one seed.
#[derive(Clone, Debug)]
pub struct Faults {
    pub breaks: bool,
    pub kills: bool,
    pub hangs: bool,
    /// Virtual milliseconds within which a server is hurt.
    within: u64,
}

impl Faults {
    pub fn draw(random: &mut Random) -> Self {
        let kind = random.below(8);
        Self {
            breaks: matches!(kind, 2 | 3 | 6 | 7),
            kills: matches!(kind, 4 | 6),
            hangs: matches!(kind, 5 | 7),
            within: random.pick(&[20, 100, 400]),
        }
    }
}

/// Starts hurting servers, never the spared one.
pub fn start(
    faults: Faults,
    spared: u16,
    doors: SimulatedServers,
    mut random: Random,
    stop: CancellationToken,
) -> Injured {
    let injured = Injured::default();
    let mut noted = injured.lock().unwrap();
    let candidates: Vec<u16> = doors
        .servers
        .iter()
        .map(|server| server.id)
        .filter(|&id| id != spared)
        .collect();
    if faults.breaks {
        noted.extend(&candidates);
    }
    if !(faults.kills || faults.hangs) {
        drop(noted);
        return injured;
    }
    for &id in &candidates {
        if !random.chance(800) {
            continue;
        }
        noted.insert(id);
        let server = Arc::clone(&doors.servers[usize::from(id)]);
        let at = Duration::from_millis(random.below(faults.within));
        let lasts = Duration::from_millis(random.pick(&[50, 500, 3000, 30_000]));
        let (stop, kills) = (stop.clone(), faults.kills);
        tokio::spawn(async move {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = tokio::time::sleep(at) => {}
            }
            if kills {
                server.switch(Power::Off);
                return;
            }
            server.switch(Power::Hung);
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                () = tokio::time::sleep(lasts) => {}
            }
            server.switch(Power::On);
        });
    }
    drop(noted);
    injured
}
