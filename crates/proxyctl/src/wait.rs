//! `--wait`: follows a server until its command has come to an end.

use std::time::Duration;

use anyhow::anyhow;
use tokio::time::Instant;

use crate::client::Client;
use crate::server::Server;
use crate::{Failure, say};

const PAUSE: Duration = Duration::from_millis(500);

/// How long a failed or diverged server may stay as it is before it is given up. Grove tries again after 15 s at most,
/// so it has failed in the same way more than once.
const SETTLED: Duration = Duration::from_secs(40);

/// How long Grove itself may be away: a restart does not end what it has been told.
const GROVE_AWAY: Duration = Duration::from_secs(30);

/// The state that a command leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    Online,
    Disabled,
}

impl Wanted {
    fn state(self) -> &'static str {
        match self {
            Self::Online => "online",
            Self::Disabled => "disabled",
        }
    }

    /// Where somebody else's command leads.
    fn opposite(self) -> &'static str {
        match self {
            Self::Online => "disabled",
            Self::Disabled => "online",
        }
    }
}

/// Prints each change of the server's state and reason until it is as wanted. `before` is its status from before the
/// command.
pub(crate) async fn wait(
    client: &Client,
    before: &Server,
    wanted: Wanted,
    limit: Option<Duration>,
) -> Result<(), Failure> {
    let mut progress = Progress::new(before.clone(), wanted, Instant::now());
    let Some(limit) = limit else {
        return follow(client, &mut progress).await;
    };
    match tokio::time::timeout(limit, follow(client, &mut progress)).await {
        Ok(ended) => ended,
        Err(_) => {
            let (server, seconds) = (&progress.last, limit.as_secs());
            let (name, state, summary) = (&server.name, wanted.state(), server.summary());
            let text = format!("{name} is not {state} after {seconds} s, but {summary}");
            Err(Failure::TimedOut(text))
        }
    }
}

async fn follow(client: &Client, progress: &mut Progress) -> Result<(), Failure> {
    let mut answered = Instant::now();
    loop {
        match client.servers().await {
            Ok((servers, _)) => {
                answered = Instant::now();
                let named = servers.into_iter().find(|server| server.name == progress.last.name);
                let forgotten =
                    || Failure::NoSuchBackend(format!("Grove does not know {} any more", progress.last.name));
                let server = named.ok_or_else(forgotten)?;
                let (change, verdict) = progress.see(server, answered);
                let (name, summary) = (&progress.last.name, progress.last.summary());
                if change == Change::New {
                    say(&format!("{name} {summary}\n"))?;
                }
                match verdict {
                    Verdict::Open => {}
                    Verdict::Reached => return Ok(()),
                    Verdict::Ended => return Err(anyhow!("{name} is {summary}").into()),
                }
            }
            Err(error) if answered.elapsed() > GROVE_AWAY => return Err(error.into()),
            Err(_) => {}
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// What has been seen of a server since its command.
struct Progress {
    wanted: Wanted,
    last: Server,
    changed: Instant,
    /// The state from before the command. Until another one was seen, the command may not have begun: a server that is
    /// to be rebuilt is still diverged for a moment.
    before: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    None,
    New,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Open,
    Reached,
    /// It will not be reached, or not soon enough to wait for.
    Ended,
}

impl Progress {
    fn new(before: Server, wanted: Wanted, now: Instant) -> Self {
        Self {
            wanted,
            before: Some(before.state.clone()),
            last: before,
            changed: now,
        }
    }

    fn see(&mut self, server: Server, now: Instant) -> (Change, Verdict) {
        let change = match (&server.state, &server.reason) == (&self.last.state, &self.last.reason) {
            true => Change::None,
            false => Change::New,
        };
        if change == Change::New {
            self.changed = now;
        }
        self.before.take_if(|before| *before != server.state);
        self.last = server;
        (change, self.verdict(now))
    }

    fn verdict(&self, now: Instant) -> Verdict {
        let has_begun = self.before.is_none();
        let is_settled = now.duration_since(self.changed) >= SETTLED;
        match self.last.state.as_str() {
            state if state == self.wanted.state() => Verdict::Reached,
            state if state == self.wanted.opposite() && has_begun => Verdict::Ended,
            "diverged" if has_begun || is_settled => Verdict::Ended,
            "failed" if is_settled => Verdict::Ended,
            _ => Verdict::Open,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(state: &str, reason: &str) -> Server {
        Server {
            name: "db2".to_owned(),
            address: String::new(),
            state: state.to_owned(),
            reason: reason.to_owned(),
            since: String::new(),
            lead: false,
            sessions: 0,
            position: None,
            lag_entries: None,
            lag_ms: None,
            eta_ms: None,
        }
    }

    /// Shows the states one after another, each with the seconds since the command, and checks the verdicts.
    #[track_caller]
    fn check(wanted: Wanted, before: &str, seen: &[(u64, &str, Verdict)]) {
        let start = Instant::now();
        let mut progress = Progress::new(server(before, ""), wanted, start);
        for (index, &(seconds, state, expected)) in seen.iter().enumerate() {
            let (_, verdict) = progress.see(server(state, ""), start + Duration::from_secs(seconds));
            assert_eq!(verdict, expected, "{index}: {state}");
        }
    }

    #[test]
    fn the_wanted_state_ends_it() {
        let draining = (3, "draining", Verdict::Open);
        check(
            Wanted::Disabled,
            "online",
            &[
                (0, "online", Verdict::Open),
                draining,
                (9, "disabled", Verdict::Reached),
            ],
        );
        let (replaying, joining) = ((50, "replaying", Verdict::Open), (99, "joining", Verdict::Open));
        check(
            Wanted::Online,
            "disabled",
            &[
                (1, "disabled", Verdict::Open),
                (2, "failed", Verdict::Open),
                replaying,
                joining,
                (100, "online", Verdict::Reached),
            ],
        );
    }

    #[test]
    fn a_state_from_before_the_command_is_no_end_yet() {
        check(
            Wanted::Online,
            "diverged",
            &[
                (0, "diverged", Verdict::Open),
                (39, "diverged", Verdict::Open),
                (40, "diverged", Verdict::Ended),
            ],
        );
        check(
            Wanted::Online,
            "diverged",
            &[
                (0, "diverged", Verdict::Open),
                (1, "rebuilding", Verdict::Open),
                (2, "diverged", Verdict::Ended),
            ],
        );
    }

    #[test]
    fn a_server_that_fails_may_try_again() {
        let (failed, replaying) = ((1, "failed", Verdict::Open), (30, "replaying", Verdict::Open));
        check(
            Wanted::Online,
            "disabled",
            &[
                failed,
                replaying,
                (31, "failed", Verdict::Open),
                (70, "failed", Verdict::Open),
                (71, "failed", Verdict::Ended),
            ],
        );
    }

    #[test]
    fn a_command_of_somebody_else_ends_it() {
        check(
            Wanted::Disabled,
            "online",
            &[(1, "draining", Verdict::Open), (2, "online", Verdict::Ended)],
        );
        check(
            Wanted::Online,
            "disabled",
            &[(1, "replaying", Verdict::Open), (2, "disabled", Verdict::Ended)],
        );
    }

    #[test]
    fn a_new_reason_is_a_change_and_more_sessions_are_none() {
        let start = Instant::now();
        let mut progress = Progress::new(server("online", ""), Wanted::Disabled, start);
        assert_eq!(progress.see(server("online", ""), start).0, Change::None);
        assert_eq!(progress.see(server("draining", "new disk"), start).0, Change::New);
        assert_eq!(
            progress.see(server("draining", "one read is left"), start).0,
            Change::New
        );
        let mut fewer = server("draining", "one read is left");
        fewer.sessions = 1;
        assert_eq!(progress.see(fewer, start).0, Change::None);
    }
}
