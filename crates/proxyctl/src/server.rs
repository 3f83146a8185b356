//! One server as `GET /servers` describes it.
//!
//! The API may add fields and states; what is not known here is ignored or shown as it came.

use serde::Deserialize;

use crate::Failure;

/// A server's status.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Server {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) address: String,
    /// Lower case, such as `online`.
    pub(crate) state: String,
    pub(crate) reason: String,
    /// Since when it has been in this state, in RFC 3339.
    pub(crate) since: String,
    pub(crate) lead: bool,
    pub(crate) sessions: u64,
    pub(crate) position: Option<u64>,
    pub(crate) lag_entries: Option<u64>,
    /// A Grove from before does not tell.
    #[serde(default)]
    pub(crate) lag_ms: Option<u64>,
    pub(crate) eta_ms: Option<u64>,
}

impl Server {
    /// State and reason in one line, as in `disabled: new disk`.
    pub(crate) fn summary(&self) -> String {
        let reason = printable(&self.reason);
        match reason.is_empty() {
            true => self.state.clone(),
            false => format!("{}: {reason}", self.state),
        }
    }
}

/// Where the server of this name is among them. If it is not, the failure says which names there are.
pub(crate) fn named(servers: &[Server], name: &str) -> Result<usize, Failure> {
    let index = servers.iter().position(|server| server.name == name);
    index.ok_or_else(|| Failure::NoSuchBackend(format!("no backend is named `{name}`; {}", names(servers))))
}

/// `the backends are db1, db2`.
pub(crate) fn names(servers: &[Server]) -> String {
    let names: Vec<_> = servers.iter().map(|server| printable(&server.name)).collect();
    format!("the backends are {}", names.join(", "))
}

/// Text in one line, and without sequences that a terminal obeys: a reason may quote what a server answered.
pub(crate) fn printable(text: &str) -> String {
    let visible = |c: char| if c.is_control() { ' ' } else { c };
    text.chars().map(visible).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_that_are_not_known_here_do_no_harm() {
        let text = r#"{"name": "db1", "state": "online", "reason": "a\n\u001b[2Jb", "since": "", "lead": true,
            "sessions": 2, "position": null, "lag_entries": 0, "eta_ms": null, "colour": "blue"}"#;
        let server: Server = serde_json::from_str(text).unwrap();
        assert_eq!((server.position, server.lag_entries), (None, Some(0)));
        assert_eq!(server.summary(), "online: a  [2Jb");
    }
}
