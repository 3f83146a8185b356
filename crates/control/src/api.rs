//! The routes and the JSON they answer with.
//!
//! Field names here are a promise to operators' scripts: a field may be added, none is renamed.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::Router;
use axum::extract::State as Shared;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use grove_engine::{MemberState, MemberStatus};
use grove_telemetry::Metrics;
use serde::Serialize;

use crate::{Members, commands, comparison, timestamp};

/// What the routes answer from.
#[derive(Clone)]
pub(crate) struct State {
    pub(crate) members: Arc<dyn Members>,
    pub(crate) metrics: Arc<Metrics>,
}

pub(crate) fn router(state: State) -> Router {
    Router::new()
        .route("/health", get(health))
        .route("/servers", get(servers))
        .route("/metrics", get(metrics))
        .merge(commands::routes())
        .merge(comparison::routes())
        .with_state(state)
}

/// The answer of `/health`.
#[derive(Serialize)]
struct Health {
    /// `ok` while clients can be served, else `no server is online`.
    status: &'static str,
    /// Servers that take reads and writes.
    online: usize,
    /// Servers in the configuration.
    servers: usize,
}

/// One item of `/servers`.
#[derive(Serialize)]
struct Server {
    name: String,
    /// Host and port, or the path of a socket.
    address: String,
    /// `online`, `unreachable` (the last server, which does not answer), `failed` (out of the group), `replaying`
    /// (executes what it has missed), `joining` (is about to be online), `draining` (is about to be disabled),
    /// `disabled` (out of the group until it is enabled), `rebuilding` (its content is being replaced) or `diverged`
    /// (must be rebuilt).
    state: &'static str,
    /// Why it is in this state.
    reason: String,
    /// Since when, in RFC 3339.
    since: String,
    /// Whether it executes every write first.
    lead: bool,
    /// `lead`, which executes writes first, `follower`, or null while it takes no part.
    role: Option<&'static str>,
    /// Client sessions whose reads go to it.
    sessions: usize,
    /// It holds every entry of the recovery log up to this one; null if that is not known.
    position: Option<u64>,
    /// Entries that it lacks.
    lag_entries: Option<u64>,
    /// For how long it has lacked something, in milliseconds; null if that is not known.
    lag_ms: Option<u64>,
    /// How long it will take to be back, at its present rate, in milliseconds.
    eta_ms: Option<u64>,
}

impl From<MemberStatus> for Server {
    fn from(status: MemberStatus) -> Self {
        Self {
            role: match status.state {
                _ if status.is_lead => Some("lead"),
                MemberState::Online | MemberState::Draining => Some("follower"),
                _ => None,
            },
            name: status.name,
            address: status.address,
            state: match status.state {
                MemberState::Online => "online",
                MemberState::Unreachable => "unreachable",
                MemberState::Failed => "failed",
                MemberState::Replaying => "replaying",
                MemberState::Joining => "joining",
                MemberState::Draining => "draining",
                MemberState::Disabled => "disabled",
                MemberState::Rebuilding => "rebuilding",
                MemberState::Diverged => "diverged",
            },
            reason: status.reason,
            since: timestamp::rfc3339(status.since_unix_micros),
            lead: status.is_lead,
            sessions: status.sessions,
            position: status.position,
            lag_entries: status.lag_entries,
            lag_ms: status.lag.map(milliseconds),
            eta_ms: status.eta.map(milliseconds),
        }
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

async fn health(Shared(state): Shared<State>) -> (StatusCode, Json<Health>) {
    let statuses = state.members.statuses();
    let servers = statuses.len();
    let online = statuses
        .iter()
        .filter(|status| status.state == MemberState::Online)
        .count();
    let (code, status) = match online {
        0 => (StatusCode::SERVICE_UNAVAILABLE, "no server is online"),
        _ => (StatusCode::OK, "ok"),
    };
    let health = Health {
        status,
        online,
        servers,
    };
    (code, Json(health))
}

async fn servers(Shared(state): Shared<State>) -> Json<Vec<Server>> {
    Json(state.members.statuses().into_iter().map(Server::from).collect())
}

async fn metrics(Shared(state): Shared<State>) -> impl IntoResponse {
    let content_type = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    (content_type, state.metrics.render())
}
