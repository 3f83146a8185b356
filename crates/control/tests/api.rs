//! The API over a real socket, with a hand-written client, so that no HTTP client is a dependency.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use grove_control::{Control, Members};
use grove_engine::{Command, Comparison, MemberState, MemberStatus, Refusal};
use grove_telemetry::Metrics;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Servers whose states the test sets, and what was commanded. Only db2 takes commands.
#[derive(Default)]
struct Fixed {
    statuses: Mutex<Vec<MemberStatus>>,
    commands: Mutex<Vec<(String, Command)>>,
}

impl Members for Fixed {
    fn statuses(&self) -> Vec<MemberStatus> {
        self.statuses.lock().unwrap().clone()
    }

    fn command(&self, server: &str, command: Command) -> Result<String, Refusal> {
        self.commands.lock().unwrap().push((server.to_owned(), command));
        match server {
            "db1" => Err(Refusal::NotNow("db1 is the last online server".to_owned())),
            "db2" => Ok("db2 is drained".to_owned()),
            _ => Err(Refusal::UnknownServer(format!("no server is named {server}"))),
        }
    }

    fn begin_comparison(&self) -> Result<String, Refusal> {
        Err(Refusal::NotNow("there is nothing to compare".to_owned()))
    }

    fn comparison(&self) -> Option<Comparison> {
        None
    }

    fn all_is_kept(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async {})
    }
}

fn member(name: &str, state: MemberState) -> MemberStatus {
    MemberStatus {
        name: name.to_owned(),
        address: "10.0.0.1:3306".to_owned(),
        state,
        since_unix_micros: 1_700_000_000_123_456,
        reason: "answered at start".to_owned(),
        is_lead: name == "db1",
        position: Some(70),
        lag_entries: Some(0),
        lag: Some(Duration::ZERO),
        eta: None,
        sessions: 2,
    }
}

async fn get(address: SocketAddr, path: &str) -> (String, String) {
    request(address, &format!("GET {path} HTTP/1.1"), "").await
}

/// Posts a JSON body. Gives the status code and the answer's JSON.
async fn post(address: SocketAddr, path: &str, body: &str) -> (u16, Value) {
    post_as(address, "Content-Type: application/json\r\n", path, body).await
}

async fn post_as(address: SocketAddr, headers: &str, path: &str, body: &str) -> (u16, Value) {
    let length = body.len();
    let head = format!("POST {path} HTTP/1.1\r\n{headers}Content-Length: {length}");
    let (status, answer) = request(address, &head, body).await;
    let code = status.split(' ').nth(1).unwrap().parse().unwrap();
    (code, serde_json::from_str(&answer).unwrap())
}

async fn request(address: SocketAddr, head: &str, body: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("{head}\r\nHost: grove\r\nConnection: close\r\n\r\n{body}");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.lines().next().unwrap().to_owned(), body.to_owned())
}

/// The API on a free port, and its members.
async fn start(metrics: Metrics) -> (SocketAddr, Arc<Fixed>, CancellationToken, JoinHandle<()>) {
    let members = Arc::new(Fixed::default());
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let control = Control::bind(any, Arc::clone(&members) as _, Arc::new(metrics));
    let control = control.await.unwrap();
    let (address, stop) = (control.local_addr(), CancellationToken::new());
    let serving = tokio::spawn(control.serve(stop.clone()));
    (address, members, stop, serving)
}

#[tokio::test]
async fn health_follows_the_servers_and_the_api_stops_when_told() {
    let metrics = Metrics::default();
    metrics.commits.add(7);
    let (address, members, stop, serving) = start(metrics).await;
    *members.statuses.lock().unwrap() = vec![member("db1", MemberState::Online), member("db2", MemberState::Failed)];

    let (status, body) = get(address, "/health").await;
    assert_eq!(status, "HTTP/1.1 200 OK");
    assert_eq!(body, r#"{"status":"ok","online":1,"servers":2}"#);

    let (_, body) = get(address, "/servers").await;
    let servers: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(
        servers[0],
        json!({
            "name": "db1", "state": "online", "reason": "answered at start",
            "address": "10.0.0.1:3306", "since": "2023-11-14T22:13:20.123Z", "lead": true, "role": "lead", "sessions": 2,
            "position": 70, "lag_entries": 0, "lag_ms": 0, "eta_ms": null,
        })
    );
    assert_eq!(servers[1]["state"], "failed");

    let (_, body) = get(address, "/metrics").await;
    assert!(body.contains("grove_commits_total 7\n"), "{body}");
    assert_eq!(get(address, "/nothing").await.0, "HTTP/1.1 404 Not Found");

    *members.statuses.lock().unwrap() = vec![member("db1", MemberState::Unreachable)];
    let (status, body) = get(address, "/health").await;
    assert_eq!(status, "HTTP/1.1 503 Service Unavailable");
    assert_eq!(body, r#"{"status":"no server is online","online":0,"servers":1}"#);

    stop.cancel();
    serving.await.unwrap();
}

#[tokio::test]
async fn commands_reach_the_servers_with_their_options() {
    let (address, members, ..) = start(Metrics::default()).await;
    let accepted = (202, json!({"server": "db2", "next": "db2 is drained"}));
    for (path, body) in [
        ("/servers/db2/disable", r#"{"reason": "new disk"}"#),
        ("/servers/db2/disable", "{}"),
        ("/servers/db2/enable", "{}"),
        ("/servers/db2/rebuild", r#"{"from": "db1"}"#),
        ("/servers/db%32/rebuild", ""),
    ] {
        assert_eq!(post(address, path, body).await, accepted, "{path} {body}");
    }
    let with_charset = "content-type: Application/JSON; charset=utf-8\r\n";
    assert_eq!(
        post_as(address, with_charset, "/servers/db2/enable", "{}").await,
        accepted
    );
    let disable = |reason: &str| Command::Disable {
        reason: reason.to_owned(),
    };
    let expected = [
        disable("new disk"),
        disable(""),
        Command::Enable,
        Command::Rebuild {
            donor: Some("db1".to_owned()),
        },
        Command::Rebuild { donor: None },
        Command::Enable,
    ];
    let expected: Vec<_> = expected.map(|command| ("db2".to_owned(), command)).into();
    assert_eq!(*members.commands.lock().unwrap(), expected);
}

#[tokio::test]
async fn refusals_say_why() {
    let (address, ..) = start(Metrics::default()).await;
    let unknown = json!({"error": "no server is named db 9"});
    assert_eq!(post(address, "/servers/db%209/enable", "{}").await, (404, unknown));
    let not_now = json!({"error": "db1 is the last online server"});
    assert_eq!(post(address, "/servers/db1/disable", "{}").await, (409, not_now));
}

#[tokio::test]
async fn a_request_that_is_no_command_changes_nothing() {
    let (address, members, ..) = start(Metrics::default()).await;
    for (path, body, expected) in [
        ("/servers/db2/disable", "reason=x", 400),
        ("/servers/db2/disable", r#"{"reason": 3}"#, 422),
        ("/servers/db2/disable", r#"{"because": "x"}"#, 422),
        ("/servers/db2/enable", r#"{"from": "db1"}"#, 422),
        ("/servers/db2/rebuild", r#"{"form": "db1"}"#, 422),
        ("/servers/%ff/rebuild", "{}", 400),
        // One byte more than the limit: nothing is left unread, so the answer is not lost with the connection.
        ("/servers/db2/disable", &" ".repeat(16 * 1024 + 1), 413),
    ] {
        let (code, answer) = post(address, path, body).await;
        assert_eq!(code, expected, "{path} {answer}");
        assert!(answer["error"].is_string(), "{path} {answer}");
    }
    let status = get(address, "/servers/db2/enable").await.0;
    assert_eq!(status, "HTTP/1.1 405 Method Not Allowed");
    assert!(members.commands.lock().unwrap().is_empty());
}

#[tokio::test]
async fn what_a_web_page_can_post_is_refused() {
    let (address, members, ..) = start(Metrics::default()).await;
    for headers in [
        "",
        "Content-Type: text/plain\r\n",
        "Content-Type: application/x-www-form-urlencoded\r\n",
        "Content-Type: text/plain; application/json\r\n",
    ] {
        let (code, answer) = post_as(address, headers, "/servers/db2/rebuild", "{}").await;
        assert_eq!(code, 415, "{headers}");
        assert!(answer["error"].is_string(), "{answer}");
    }
    // From a page at a name that has come to point here.
    let headers = "Content-Type: application/json\r\nOrigin: http://elsewhere.example:3308\r\n";
    let (code, answer) = post_as(address, headers, "/servers/db2/rebuild", "{}").await;
    assert_eq!(code, 403, "{answer}");
    assert!(members.commands.lock().unwrap().is_empty());
}
