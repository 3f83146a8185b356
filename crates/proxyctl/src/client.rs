//! Requests to Grove's admin address, one connection each.

use std::fmt::{self, Display, Formatter};
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::compare::Comparison;
use crate::server::{Server, printable};

const CONNECT_LIMIT: Duration = Duration::from_secs(5);
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// Far above the answer for the largest group; something else that listens there may send without end.
const ANSWER_BYTES: usize = 4 * 1024 * 1024;

/// How much of an answer that is not understood is shown.
const EXCERPT_CHARS: usize = 200;

const WAYS_TO_NAME_IT: &str =
    "name Grove's admin.address with --admin HOST:PORT or in the environment variable PROXYCTL_ADMIN";

/// A Grove at its admin address. Nothing is connected between requests.
pub(crate) struct Client {
    admin: String,
}

/// No Grove answers at the admin address, or something else than Grove does.
#[derive(Debug)]
pub(crate) struct Unreachable(String);

impl Display for Unreachable {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<anyhow::Error> for Unreachable {
    fn from(error: anyhow::Error) -> Self {
        Self(format!("{error:#}"))
    }
}

/// The answer of `GET /health`.
#[derive(Deserialize)]
pub(crate) struct Health {
    /// `ok` while clients can be served, else what is wrong.
    pub(crate) status: String,
}

/// What Grove says to a command.
pub(crate) enum Reply {
    /// It is being carried out. The sentence says what happens next.
    Accepted(String),
    /// A server is not configured.
    UnknownServer(String),
    /// It is not possible now.
    Refused(String),
    /// The request is not one that this Grove understands.
    Rejected(String),
}

impl Client {
    pub(crate) fn new(admin: String) -> Self {
        Self { admin }
    }

    /// The servers, and Grove's text about them.
    pub(crate) async fn servers(&self) -> Result<(Vec<Server>, String), Unreachable> {
        let (status, text) = self.ask(Method::GET, "/servers", Bytes::new()).await?;
        if status != StatusCode::OK {
            return Err(self.not_understood(status, &text));
        }
        let servers = serde_json::from_str(&text).map_err(|_| self.not_understood(status, &text))?;
        Ok((servers, text))
    }

    /// Whether clients can be served. The status code says it too, for load balancers; here the words count.
    pub(crate) async fn health(&self) -> Result<Health, Unreachable> {
        let (status, text) = self.ask(Method::GET, "/health", Bytes::new()).await?;
        serde_json::from_str(&text).map_err(|_| self.not_understood(status, &text))
    }

    /// The newest comparison, and Grove's text about it.
    pub(crate) async fn comparison(&self) -> Result<(Comparison, String), Unreachable> {
        let (status, text) = self.ask(Method::GET, "/comparison", Bytes::new()).await?;
        if status != StatusCode::OK {
            return Err(self.not_understood(status, &text));
        }
        let comparison = serde_json::from_str(&text).map_err(|_| self.not_understood(status, &text))?;
        Ok((comparison, text))
    }

    /// Posts a command for one server.
    pub(crate) async fn command(&self, server: &str, verb: &str, options: &Value) -> Result<Reply, Unreachable> {
        let path = format!("/servers/{}/{verb}", encoded(server));
        self.post(&path, options).await
    }

    /// Posts a command.
    pub(crate) async fn post(&self, path: &str, options: &Value) -> Result<Reply, Unreachable> {
        #[derive(Deserialize)]
        struct Accepted {
            next: String,
        }
        #[derive(Deserialize)]
        struct Refused {
            error: String,
        }
        let (status, text) = self.ask(Method::POST, path, options.to_string().into()).await?;
        let reply = match status {
            StatusCode::ACCEPTED => {
                serde_json::from_str(&text).map(|Accepted { next }| Reply::Accepted(printable(&next)))
            }
            StatusCode::NOT_FOUND => {
                serde_json::from_str(&text).map(|Refused { error }| Reply::UnknownServer(printable(&error)))
            }
            StatusCode::CONFLICT => {
                serde_json::from_str(&text).map(|Refused { error }| Reply::Refused(printable(&error)))
            }
            _ => serde_json::from_str(&text).map(|Refused { error }| Reply::Rejected(printable(&error))),
        };
        reply.map_err(|_| self.not_understood(status, &text))
    }

    async fn ask(&self, method: Method, path: &str, body: Bytes) -> anyhow::Result<(StatusCode, String)> {
        let unreachable = || format!("cannot reach Grove at {}", self.admin);
        let connecting = timeout(CONNECT_LIMIT, TcpStream::connect(&self.admin)).await;
        let stream = connecting
            .map_err(|_| anyhow!("no connection within {} s", CONNECT_LIMIT.as_secs()))
            .and_then(|connected| connected.map_err(anyhow::Error::from))
            .map_err(|error| anyhow!("{}: {error}; {WAYS_TO_NAME_IT}", unreachable()))?;
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, &self.admin)
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(body))
            .with_context(unreachable)?;
        timeout(ANSWER_LIMIT, exchange(stream, request))
            .await
            .map_err(|_| anyhow!("{} does not answer within {} s", self.admin, ANSWER_LIMIT.as_secs()))?
            .with_context(|| format!("{} does not answer as Grove does; {WAYS_TO_NAME_IT}", self.admin))
    }

    fn not_understood(&self, status: StatusCode, text: &str) -> Unreachable {
        let excerpt: String = printable(text).chars().take(EXCERPT_CHARS).collect();
        let admin = &self.admin;
        Unreachable(format!(
            "{admin} does not answer as Grove does: {status} {excerpt}; {WAYS_TO_NAME_IT}"
        ))
    }
}

/// The connection is driven beside the request, and closed with it.
async fn exchange(stream: TcpStream, request: Request<Full<Bytes>>) -> anyhow::Result<(StatusCode, String)> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let driver = tokio::spawn(connection);
    let answer = async {
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER_BYTES).collect().await;
        let body = body.map_err(|error| anyhow!(error))?.to_bytes();
        Ok((status, String::from_utf8_lossy(&body).into_owned()))
    };
    let answer = answer.await;
    driver.abort();
    answer
}

/// A name as one segment of a path, per RFC 3986 section 2.3.
fn encoded(name: &str) -> String {
    let mut text = String::new();
    for byte in name.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => text.push(char::from(byte)),
            _ => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stays_one_segment() {
        assert_eq!(encoded("db-1_a.b~"), "db-1_a.b~");
        assert_eq!(encoded("a/b ü?"), "a%2Fb%20%C3%BC%3F");
    }
}
