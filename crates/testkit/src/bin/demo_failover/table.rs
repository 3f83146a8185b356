//! What is shown at an instant, as text: the servers and how the load goes. Pure.

use std::time::Duration;

use grove_testkit::admin::Member;
use grove_testkit::bank::Progress;

/// An instant.
#[derive(Debug)]
pub(crate) struct Moment<'a> {
    pub(crate) since_begin: Duration,
    pub(crate) members: &'a [Member],
    pub(crate) progress: &'a Progress,
    pub(crate) commits_per_second: u64,
}

impl Moment<'_> {
    /// Below each other, for a terminal.
    pub(crate) fn table(&self) -> Vec<String> {
        let row = |[server, state, role, position, lag, eta, reason]: [&str; 7]| {
            format!("{server:<8}{state:<12}{role:<6}{position:>9}{lag:>8}{eta:>8}  {reason}")
        };
        let mut lines = vec![
            String::new(),
            row(["server", "state", "role", "position", "lag", "eta", "reason"]),
        ];
        lines.extend(self.members.iter().map(|member| {
            row([
                &member.name,
                &member.state,
                role(member),
                &number(member.position),
                &number(member.lag_entries),
                &member.eta.map(seconds).unwrap_or_default(),
                &member.reason,
            ])
        }));
        lines.push(format!("{}  {}", clock(self.since_begin), self.load()));
        lines
    }

    /// On one line, for a file.
    pub(crate) fn line(&self) -> String {
        let members: Vec<String> = self.members.iter().map(in_short).collect();
        format!("{}  {} | {}", clock(self.since_begin), members.join(" | "), self.load())
    }

    fn load(&self) -> String {
        format!(
            "{} commits/s, {} commits, {} errors, longest gap {} ms",
            self.commits_per_second,
            self.progress.commits,
            self.progress.errors(),
            self.progress.longest_gap.as_millis()
        )
    }
}

/// A time since the load began.
pub(crate) fn clock(time: Duration) -> String {
    format!("{:>5.1} s", time.as_secs_f64())
}

fn in_short(member: &Member) -> String {
    let mut text = format!("{} {}", member.name, member.state);
    if member.is_lead {
        text.push_str(", lead");
    }
    if let Some(lag) = member.lag_entries.filter(|&lag| lag > 0 || !member.is_online()) {
        text.push_str(&format!(", lag {lag}"));
    }
    if let Some(eta) = member.eta {
        text.push_str(&format!(", eta {}", seconds(eta)));
    }
    text
}

fn role(member: &Member) -> &'static str {
    if member.is_lead { "lead" } else { "" }
}

fn number(value: Option<u64>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(name: &str, state: &str, lag: Option<u64>) -> Member {
        Member {
            name: name.to_owned(),
            state: state.to_owned(),
            reason: "a reason".to_owned(),
            is_lead: name == "db2",
            position: lag.map(|lag| 100 - lag),
            lag_entries: lag,
            eta: (state == "replaying").then(|| Duration::from_millis(1230)),
        }
    }

    fn check(shown: impl FnOnce(&Moment<'_>) -> String, expected: &str) {
        let members = [
            member("db1", "replaying", Some(40)),
            member("db2", "online", Some(0)),
            member("db3", "failed", None),
        ];
        let progress = Progress {
            seed: 1,
            commits: 90,
            doubtful_done: 0,
            doubtful_undone: 0,
            retries: 3,
            losses: 0,
            losses_with_grove: 0,
            clients_failed: 0,
            longest_gap: Duration::from_millis(70),
            failure: None,
        };
        let moment = Moment {
            since_begin: Duration::from_millis(12_340),
            members: &members,
            progress: &progress,
            commits_per_second: 15,
        };
        assert_eq!(shown(&moment), expected);
    }

    #[test]
    fn a_terminal_gets_a_table() {
        check(
            |moment| moment.table().join("\n"),
            "
server  state       role   position     lag     eta  reason
db1     replaying                60      40   1.2 s  a reason
db2     online      lead        100       0          a reason
db3     failed                    -       -          a reason
 12.3 s  15 commits/s, 90 commits, 0 errors, longest gap 70 ms",
        );
    }

    #[test]
    fn a_file_gets_a_line() {
        check(
            |moment| moment.line(),
            " 12.3 s  db1 replaying, lag 40, eta 1.2 s | db2 online, lead | db3 failed | 15 commits/s, 90 commits, 0 errors, longest gap 70 ms",
        );
    }
}
