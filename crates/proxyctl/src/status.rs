//! `proxyctl status`: whether everything is as it should be, for a person's glance and a script's exit code.
//!
//! It is stricter than `GET /health`, which is well while one server is online. A server that an operator has disabled is
//! as it should be; one that is still draining, or already on its way back, is not yet.

use std::fmt::Write as _;

use crate::client::Client;
use crate::server::{Server, printable};
use crate::{Failure, say};

/// What Grove's `/health` says while clients can be served.
const HEALTHY: &str = "ok";

/// Prints the verdict, and what is wrong if something is.
pub(crate) async fn status(client: &Client) -> Result<(), Failure> {
    let health = client.health().await?;
    let (servers, _) = client.servers().await?;
    match judge(&health.status, &servers) {
        Ok(text) => say(&text),
        Err(text) => say(&text).and(Err(Failure::Told)),
    }
}

/// What to print: if all is well, or else.
fn judge(health: &str, servers: &[Server]) -> Result<String, String> {
    let count = |state: &str| servers.iter().filter(|server| server.state == state).count();
    let (online, disabled) = (count("online"), count("disabled"));
    let mut summary = format!("{online} of {} backends online", servers.len());
    if disabled > 0 {
        let _ = write!(summary, ", {disabled} disabled");
    }
    if health == HEALTHY && online + disabled == servers.len() {
        return Ok(format!("ok: {summary}\n"));
    }
    let mut text = format!("not ok: {summary}\n");
    if health != HEALTHY {
        let _ = writeln!(text, "Grove says: {}", printable(health));
    }
    for server in servers.iter().filter(|server| server.state != "online") {
        let _ = writeln!(text, "{} {}", printable(&server.name), server.summary());
    }
    Err(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Servers db1, db2 and so on, in these states with these reasons.
    fn servers(states: &[(&str, &str)]) -> Vec<Server> {
        let server = |(index, &(state, reason)): (usize, &(&str, &str))| Server {
            name: format!("db{}", index + 1),
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
        };
        states.iter().enumerate().map(server).collect()
    }

    #[track_caller]
    fn check(health: &str, states: &[(&str, &str)], expected: Result<&str, &str>) {
        let judged = judge(health, &servers(states));
        assert_eq!(judged, expected.map(str::to_owned).map_err(str::to_owned));
    }

    const ONLINE: (&str, &str) = ("online", "answered at start");

    #[test]
    fn all_is_well_while_every_server_is_online_or_disabled() {
        check("ok", &[ONLINE, ONLINE, ONLINE], Ok("ok: 3 of 3 backends online\n"));
        let disabled = ("disabled", "new disk");
        check(
            "ok",
            &[ONLINE, disabled, ONLINE],
            Ok("ok: 2 of 3 backends online, 1 disabled\n"),
        );
    }

    #[test]
    fn each_server_that_is_not_online_is_named_with_its_reason() {
        check(
            "ok",
            &[ONLINE, ("failed", "does not\nanswer"), ("disabled", "new disk")],
            Err("\
not ok: 1 of 3 backends online, 1 disabled
db2 failed: does not answer
db3 disabled: new disk
"),
        );
        for state in [
            "unreachable",
            "replaying",
            "joining",
            "draining",
            "rebuilding",
            "diverged",
            "new",
        ] {
            let expected = format!("not ok: 1 of 2 backends online\ndb2 {state}\n");
            check("ok", &[ONLINE, (state, "")], Err(&expected));
        }
    }

    #[test]
    fn nothing_is_well_while_clients_cannot_be_served() {
        let expected = "not ok: 0 of 1 backends online, 1 disabled\nGrove says: no server is online\ndb1 disabled\n";
        check("no server is online", &[("disabled", "")], Err(expected));
    }
}
