//! `proxyctl backend compare`: whether all online servers hold the same.

use std::time::Duration;

use anyhow::anyhow;
use serde::Deserialize;
use serde_json::json;
use tokio::time::timeout;

use crate::arguments::{Compare, Output};
use crate::client::{Client, Reply};
use crate::server::printable;
use crate::{Failure, complain, say};

const PAUSE: Duration = Duration::from_millis(500);

/// Grove's answer about the newest comparison.
#[derive(Deserialize)]
pub(crate) struct Comparison {
    state: String,
    first: String,
    others: Vec<String>,
    tables: u64,
    tables_done: u64,
    rows: u64,
    differences: Vec<Difference>,
    left_out: Vec<String>,
    reason: Option<String>,
}

#[derive(Deserialize)]
struct Difference {
    server: String,
    what: String,
}

/// Orders a comparison and waits for what comes of it. Progress goes to standard error.
pub(crate) async fn compare(client: &Client, options: &Compare) -> Result<(), Failure> {
    match client.post("/comparison", &json!({})).await? {
        Reply::Accepted(next) => complain(&next),
        Reply::Refused(error) => return Err(Failure::Refused(error)),
        Reply::Rejected(error) | Reply::UnknownServer(error) => return Err(anyhow!(error).into()),
    }
    let (comparison, text) = match options.timeout() {
        None => end_of(client).await?,
        Some(limit) => match timeout(limit, end_of(client)).await {
            Ok(ended) => ended?,
            Err(_) => {
                let text = format!("the comparison has not ended after {} s", limit.as_secs());
                return Err(Failure::TimedOut(text));
            }
        },
    };
    match options.output {
        Output::Json => say(&format!("{}\n", text.trim_end()))?,
        Output::Table => say(&words(&comparison))?,
    }
    match (comparison.state.as_str(), comparison.differences.is_empty()) {
        ("finished", true) => Ok(()),
        ("finished", false) => Err(Failure::Differ),
        _ => Err(Failure::Told),
    }
}

async fn end_of(client: &Client) -> Result<(Comparison, String), Failure> {
    let mut told = 0;
    loop {
        let (comparison, text) = client.comparison().await?;
        if comparison.state != "running" {
            return Ok((comparison, text));
        }
        if comparison.tables_done != told {
            told = comparison.tables_done;
            let Comparison { tables, rows, .. } = comparison;
            complain(&format!("{told} of {tables} tables, {rows} rows"));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

fn words(comparison: &Comparison) -> String {
    let Comparison {
        first,
        tables_done,
        rows,
        ..
    } = comparison;
    let (first, others) = (printable(first), printable(&comparison.others.join(", ")));
    let mut text = match (&comparison.reason, comparison.differences.len()) {
        (Some(reason), _) => format!("not compared: {}\n", printable(reason)),
        (None, 0) => format!("{others} and {first} hold the same: {tables_done} tables, {rows} rows\n"),
        (None, count) => format!("{count} differences from {first}:\n"),
    };
    for Difference { server, what } in &comparison.differences {
        text.push_str(&format!("{} {}\n", printable(server), printable(what)));
    }
    for left_out in &comparison.left_out {
        text.push_str(&format!("not compared: {}\n", printable(left_out)));
    }
    text
}
