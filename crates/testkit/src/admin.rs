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
    let head = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    exchange(address, &head, "200").await
}

/// The answer to a command, `POST path` with a JSON body; another status than 202 is an error.
pub async fn post(address: SocketAddr, path: &str, body: &Value) -> anyhow::Result<String> {
    let body = body.to_string();
    let request = format!(
        "POST {path} HTTP/1.0\r\nHost: {address}\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    exchange(address, &request, "202").await
}

async fn exchange(address: SocketAddr, request: &str, status: &str) -> anyhow::Result<String> {
    let what = request.lines().next().unwrap_or_default();
    let exchange = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok::<_, std::io::Error>(answer)
    };
    let answer = tokio::time::timeout(LIMIT, exchange)
        .await
        .with_context(|| format!("{what} to {address}: no answer after {LIMIT:?}"))?
        .with_context(|| format!("{what} to {address}"))?;
    let (head, body) = answer.split_once("\r\n\r\n").context("an HTTP answer without a head")?;
    if head.split_whitespace().nth(1) != Some(status) {
        bail!("{what} to {address}: {head}\n{body}");
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
