//! What the admin API says about the servers, over the smallest HTTP client that can read it.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const LIMIT: Duration = Duration::from_secs(10);

/// One entry of `GET /servers`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The server's name.
    pub name: String,
    /// Its state, such as `online`.
    pub state: String,
    /// Why it is in that state; empty while online.
    pub reason: String,
    /// Whether it is the lead.
    pub is_lead: bool,
    /// It holds every entry of the recovery log up to this one, if that is known.
    pub position: Option<u64>,
    /// Entries that it lacks, if that is known.
    pub lag_entries: Option<u64>,
    /// How long it will take to be back, if Grove can tell.
    pub eta: Option<Duration>,
}

impl Member {
    /// Whether it takes part in reads and writes.
    pub fn is_online(&self) -> bool {
        self.state == "online"
    }
}

/// The body of `GET path`; another status than 200 is an error.
pub async fn get(address: SocketAddr, path: &str) -> anyhow::Result<String> {
    let exchange = async {
        let mut stream = TcpStream::connect(address).await?;
        let request = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok::<_, std::io::Error>(answer)
    };
    let answer = tokio::time::timeout(LIMIT, exchange)
        .await
        .with_context(|| format!("GET http://{address}{path}: no answer after {LIMIT:?}"))?
        .with_context(|| format!("GET http://{address}{path}"))?;
    let (head, body) = answer.split_once("\r\n\r\n").context("an HTTP answer without a head")?;
    if head.split_whitespace().nth(1) != Some("200") {
        bail!("GET http://{address}{path}: {head}\n{body}");
    }
    Ok(body.to_owned())
}

/// The members as `GET /servers` lists them.
pub async fn members(address: SocketAddr) -> anyhow::Result<Vec<Member>> {
    let body = get(address, "/servers").await?;
    let list: Value = serde_json::from_str(&body).with_context(|| format!("JSON from /servers: {body}"))?;
    let list = list.as_array().or_else(|| list["servers"].as_array());
    let list = list.with_context(|| format!("a list from /servers: {body}"))?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    Ok(list
        .iter()
        .map(|member| Member {
            name: text(&member["name"]),
            state: text(&member["state"]),
            reason: text(&member["reason"]),
            is_lead: member["lead"].as_bool().unwrap_or(false),
            position: member["position"].as_u64(),
            lag_entries: member["lag_entries"].as_u64(),
            eta: member["eta_ms"].as_u64().map(Duration::from_millis),
        })
        .collect())
}
