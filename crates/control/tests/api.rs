//! The API over a real socket, with a hand-written client, so that no HTTP client is a dependency.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use grove_control::{Control, Members};
use grove_engine::{MemberState, MemberStatus};
use grove_telemetry::Metrics;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

struct Fixed(Mutex<Vec<MemberStatus>>);

impl Members for Fixed {
    fn statuses(&self) -> Vec<MemberStatus> {
        self.0.lock().unwrap().clone()
    }
}

fn member(name: &str, state: MemberState) -> MemberStatus {
    MemberStatus {
        name: name.to_owned(),
        state,
        since_unix_micros: 1_700_000_000_123_456,
        reason: "answered at start".to_owned(),
        is_lead: name == "db1",
        position: Some(70),
        lag_entries: Some(0),
        eta: None,
        sessions: 2,
    }
}

async fn get(address: SocketAddr, path: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: grove\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.lines().next().unwrap().to_owned(), body.to_owned())
}

#[tokio::test]
async fn health_follows_the_servers_and_the_api_stops_when_told() {
    let online = [member("db1", MemberState::Online), member("db2", MemberState::Failed)];
    let members = Arc::new(Fixed(Mutex::new(online.to_vec())));
    let metrics = Arc::new(Metrics::default());
    metrics.commits.add(7);
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let control = Control::bind(any, Arc::clone(&members) as _, metrics).await.unwrap();
    let address = control.local_addr();
    let stop = CancellationToken::new();
    let serving = tokio::spawn(control.serve(stop.clone()));

    let (status, body) = get(address, "/health").await;
    assert_eq!(status, "HTTP/1.1 200 OK");
    assert_eq!(body, r#"{"status":"ok","online":1,"servers":2}"#);

    let (_, body) = get(address, "/servers").await;
    let servers: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(
        servers[0],
        serde_json::json!({
            "name": "db1", "state": "online", "reason": "answered at start",
            "since": "2023-11-14T22:13:20.123Z", "lead": true, "sessions": 2,
            "position": 70, "lag_entries": 0, "eta_ms": null,
        })
    );
    assert_eq!(servers[1]["state"], "failed");

    let (_, body) = get(address, "/metrics").await;
    assert!(body.contains("grove_commits_total 7\n"), "{body}");
    assert_eq!(get(address, "/nothing").await.0, "HTTP/1.1 404 Not Found");

    *members.0.lock().unwrap() = vec![member("db1", MemberState::Unreachable)];
    let (status, body) = get(address, "/health").await;
    assert_eq!(status, "HTTP/1.1 503 Service Unavailable");
    assert_eq!(body, r#"{"status":"no server is online","online":0,"servers":1}"#);

    stop.cancel();
    serving.await.unwrap();
}
