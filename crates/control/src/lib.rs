//! The operators' API: health, servers, metrics, and commands for a server, over plain HTTP.
//!
//! | request                        | answer                                                                  |
//! |--------------------------------|-------------------------------------------------------------------------|
//! | `GET /health`                  | 200 while at least one server is online, else 503; counts as JSON       |
//! | `GET /servers`                 | every configured server with its state, in the configuration's order    |
//! | `GET /metrics`                 | all counters in Prometheus' text format                                 |
//! | `POST /servers/{name}/disable` | takes the server out of the group; `{"reason": "..."}`, or `{}`         |
//! | `POST /servers/{name}/enable`  | brings it back; `{}`                                                    |
//! | `POST /servers/{name}/rebuild` | replaces everything on it by a copy; `{"from": "db1"}`, or `{}`         |
//! | `POST /comparison`             | compares all online servers while clients go on; `{}`                   |
//! | `GET /comparison`              | the newest comparison, how far it is, and what has come of it; or 404   |
//!
//! A command is answered with 202 and what happens next, before it is carried out; `/servers` shows how far it is. It is
//! refused with 404 for a server that is not configured, with 409 while it is not possible, and with 400, 413, 415 or
//! 422 when the request is not what the table says; the body says why, as `{"error": "..."}`.
//!
//! Invariant: answering takes no lock that a session holds while it waits, so the API answers when every server
//! hangs. Deliberately absent: authentication. The address is loopback unless the operator configures another one, and
//! commands demand a content type that a web page cannot send to it unasked.

mod api;
mod commands;
mod comparison;
mod error;
mod timestamp;

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use grove_engine::io::World;
use grove_engine::{Command, Comparison, Group, MemberStatus, Refusal};
use grove_telemetry::Metrics;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub use error::ControlError;

/// How long requests that are under way may go on after the API was told to stop.
const STOP_LIMIT: Duration = Duration::from_secs(2);

/// Where the API learns about the servers.
pub trait Members: Send + Sync + 'static {
    /// The status of every configured server.
    fn statuses(&self) -> Vec<MemberStatus>;
    /// Takes an operator's command for one server. Gives a sentence that says what happens next.
    fn command(&self, server: &str, command: Command) -> Result<String, Refusal>;
    /// Orders a comparison of all online servers. Gives a sentence that says what happens next.
    fn begin_comparison(&self) -> Result<String, Refusal>;
    /// The newest comparison, if there was one.
    fn comparison(&self) -> Option<Comparison>;
    /// Completes when the commands that were taken so far would survive the end of Grove.
    fn all_is_kept(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;
}

impl<W: World> Members for Group<W> {
    fn statuses(&self) -> Vec<MemberStatus> {
        Group::statuses(self)
    }

    fn command(&self, server: &str, command: Command) -> Result<String, Refusal> {
        Group::command(self, server, command)
    }

    fn begin_comparison(&self) -> Result<String, Refusal> {
        Group::begin_comparison(self)
    }

    fn comparison(&self) -> Option<Comparison> {
        Group::comparison(self)
    }

    fn all_is_kept(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(Group::all_is_kept(self))
    }
}

/// The API, bound to its address.
pub struct Control {
    listener: TcpListener,
    local: SocketAddr,
    state: api::State,
}

impl Control {
    /// Binds the address. Requests are answered once [`Control::serve`] runs.
    pub async fn bind(
        address: SocketAddr,
        members: Arc<dyn Members>,
        metrics: Arc<Metrics>,
    ) -> Result<Self, ControlError> {
        let bind = |source| ControlError::Bind { address, source };
        let listener = TcpListener::bind(address).await.map_err(bind)?;
        let local = listener.local_addr().map_err(bind)?;
        let state = api::State { members, metrics };
        Ok(Self { listener, local, state })
    }

    /// The address with the port that was chosen, when the configured port is 0.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Answers requests until `stop` is cancelled, and then those under way for a bounded time.
    pub async fn serve(self, stop: CancellationToken) {
        let stopped = stop.clone().cancelled_owned();
        let serving = axum::serve(self.listener, api::router(self.state)).with_graceful_shutdown(stopped);
        let limit = async {
            stop.cancelled().await;
            tokio::time::sleep(STOP_LIMIT).await;
        };
        // Dropping the server future closes connections that are still open: their answers were late anyway.
        tokio::select! {
            ended = serving.into_future() => if let Err(error) = ended {
                tracing::error!(%error, "the operators' API ended");
            },
            () = limit => tracing::warn!("requests to the operators' API were cut at shutdown"),
        }
    }
}
