//! `proxyctl backend disable`, `enable` and `rebuild`: one command for one server.

use std::io::{self, IsTerminal as _, Write as _};

use anyhow::{Context as _, anyhow};
use serde_json::{Value, json};

use crate::arguments::{Disable, Enable, Rebuild, Wait};
use crate::client::{Client, Reply};
use crate::server::{Server, named, names};
use crate::wait::{self, Wanted};
use crate::{Failure, say};

/// Takes a server out of the group.
pub(crate) async fn disable(client: &Client, options: Disable) -> Result<(), Failure> {
    let servers = known(client, [Some(&options.name)]).await?;
    let body = options
        .reason
        .map_or_else(|| json!({}), |reason| json!({ "reason": reason }));
    let order = Order {
        name: &options.name,
        verb: "disable",
        wanted: Wanted::Disabled,
    };
    order.give(client, &servers, &body, &options.wait).await
}

/// Brings a server back.
pub(crate) async fn enable(client: &Client, options: Enable) -> Result<(), Failure> {
    let servers = known(client, [Some(&options.name)]).await?;
    let order = Order {
        name: &options.name,
        verb: "enable",
        wanted: Wanted::Online,
    };
    order.give(client, &servers, &json!({}), &options.wait).await
}

/// Replaces everything on a server, if the operator means it.
pub(crate) async fn rebuild(client: &Client, options: Rebuild) -> Result<(), Failure> {
    if !options.yes && !io::stdin().is_terminal() {
        let name = &options.name;
        return Err(Failure::CommandLine(format!(
            "everything on {name} would be replaced, and there is no terminal to ask at; say --yes if it is meant"
        )));
    }
    let servers = known(client, [Some(&options.name), options.from.as_ref()]).await?;
    if !options.yes {
        confirm(&options.name)?;
    }
    let body = options.from.map_or_else(|| json!({}), |from| json!({ "from": from }));
    let order = Order {
        name: &options.name,
        verb: "rebuild",
        wanted: Wanted::Online,
    };
    order.give(client, &servers, &body, &options.wait).await
}

struct Order<'a> {
    name: &'a str,
    verb: &'static str,
    wanted: Wanted,
}

impl Order<'_> {
    /// Sends the command and, if that is wanted, waits for its end. `before` are the servers as they were.
    async fn give(&self, client: &Client, before: &[Server], body: &Value, wait: &Wait) -> Result<(), Failure> {
        match client.command(self.name, self.verb, body).await? {
            Reply::Accepted(next) => say(&format!("{next}\n"))?,
            Reply::Rejected(error) => return Err(anyhow!(error).into()),
            Reply::Refused(error) => return Err(Failure::Refused(error)),
            Reply::UnknownServer(error) => return Err(Failure::NoSuchBackend(format!("{error}; {}", names(before)))),
        }
        match before.iter().find(|server| server.name == self.name) {
            Some(before) if wait.wait => wait::wait(client, before, self.wanted, wait.timeout()).await,
            _ => Ok(()),
        }
    }
}

/// The servers as they are. Fails if one of `wanted` is not among them: nobody should be asked about a misspelt name.
async fn known<const N: usize>(client: &Client, wanted: [Option<&String>; N]) -> Result<Vec<Server>, Failure> {
    let (servers, _) = client.servers().await?;
    for name in wanted.into_iter().flatten() {
        named(&servers, name)?;
    }
    Ok(servers)
}

fn confirm(name: &str) -> Result<(), Failure> {
    let mut terminal = io::stderr();
    let question = write!(terminal, "Everything on {name} will be replaced. Continue? [y/N] ");
    question.and_then(|()| terminal.flush()).context("cannot ask")?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer).context("cannot read the answer")?;
    match is_yes(&answer) {
        true => Ok(()),
        false => Err(anyhow!("nothing was changed").into()),
    }
}

fn is_yes(answer: &str) -> bool {
    let answer = answer.trim();
    answer.eq_ignore_ascii_case("y") || answer.eq_ignore_ascii_case("yes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_yes_is_yes() {
        for yes in ["y\n", "Y\n", "yes\n", " Yes \r\n"] {
            assert!(is_yes(yes), "{yes}");
        }
        for no in ["", "\n", "n\n", "no\n", "yesterday\n", "yy\n"] {
            assert!(!is_yes(no), "{no}");
        }
    }
}
