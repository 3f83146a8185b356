//! The routes that change something: an operator's commands for one server.
//!
//! Every answer is JSON, a refusal too: `{"error": "..."}` with words that say what would be right.
//!
//! Invariant: a request is carried out only if it says `Content-Type: application/json` and has no `Origin`. A web page in a browser on the
//! operator's machine can post a form to a loopback address without being asked, but not with this type; and whatever a page sends, also to a
//! name that it has let point here, has an `Origin` (RFC 6454, section 7).

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::rejection::{JsonRejection, PathRejection};
use axum::extract::{DefaultBodyLimit, FromRequest, Path, Request, State as Shared};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use grove_engine::{Command, Refusal};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use crate::api::State;

/// A body holds one name or one reason.
const BODY_LIMIT: usize = 16 * 1024;

/// A command is answered when it would survive the end of Grove, or after this time with a warning.
const LONGEST_KEEPING: Duration = Duration::from_secs(5);

const JSON: &str = "application/json";

pub(crate) fn routes() -> Router<State> {
    Router::new()
        .route("/servers/{name}/disable", post(disable))
        .route("/servers/{name}/enable", post(enable))
        .route("/servers/{name}/rebuild", post(rebuild))
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
}

/// The body of `/servers/{name}/disable`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Disable {
    /// Shown in the server's status.
    reason: Option<String>,
}

/// The body of `/servers/{name}/enable`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Enable {}

/// The body of `/servers/{name}/rebuild`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rebuild {
    /// The server whose content is copied; if absent, Grove chooses.
    from: Option<String>,
}

/// The answer to a command that will be carried out.
#[derive(Serialize)]
struct Accepted {
    server: String,
    /// A sentence that says what happens next.
    next: String,
}

/// The answer to everything else.
pub(crate) struct Refused {
    pub(crate) code: StatusCode,
    pub(crate) error: String,
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        #[derive(Serialize)]
        struct Body {
            error: String,
        }
        (self.code, Json(Body { error: self.error })).into_response()
    }
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        let code = match refusal {
            Refusal::UnknownServer(_) => StatusCode::NOT_FOUND,
            Refusal::NotNow(_) => StatusCode::CONFLICT,
        };
        let error = refusal.to_string();
        Self { code, error }
    }
}

impl From<PathRejection> for Refused {
    fn from(rejection: PathRejection) -> Self {
        let (code, error) = (rejection.status(), rejection.body_text());
        Self { code, error }
    }
}

impl From<JsonRejection> for Refused {
    fn from(rejection: JsonRejection) -> Self {
        let (code, error) = (rejection.status(), rejection.body_text());
        Self { code, error }
    }
}

type Answer = Result<(StatusCode, Json<Accepted>), Refused>;
type Name = Result<Path<String>, PathRejection>;

async fn disable(Shared(state): Shared<State>, name: Name, Options(options): Options<Disable>) -> Answer {
    let reason = options.reason.unwrap_or_default();
    command(&state, name, Command::Disable { reason }).await
}

async fn enable(Shared(state): Shared<State>, name: Name, Options(Enable {}): Options<Enable>) -> Answer {
    command(&state, name, Command::Enable).await
}

async fn rebuild(Shared(state): Shared<State>, name: Name, Options(options): Options<Rebuild>) -> Answer {
    let donor = options.from;
    command(&state, name, Command::Rebuild { donor }).await
}

async fn command(state: &State, name: Name, command: Command) -> Answer {
    let Path(server) = name?;
    let mut next = state.members.command(&server, command)?;
    if timeout(LONGEST_KEEPING, state.members.all_is_kept()).await.is_err() {
        next.push_str("; but this could not be written down, and is forgotten if Grove ends now: its log says why");
    }
    Ok((StatusCode::ACCEPTED, Json(Accepted { server, next })))
}

/// What the body says about a command; no body at all says as much as `{}`.
///
/// [`axum::Json`] is not used for it, because its refusals are plain text and it demands a body.
pub(crate) struct Options<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequest<State> for Options<T> {
    type Rejection = Refused;

    async fn from_request(request: Request, state: &State) -> Result<Self, Refused> {
        if request.headers().contains_key(header::ORIGIN) {
            return Err(Refused {
                code: StatusCode::FORBIDDEN,
                error: "a web page may not send commands: leave the header Origin out".to_owned(),
            });
        }
        if !is_json(request.headers()) {
            return Err(Refused {
                code: StatusCode::UNSUPPORTED_MEDIA_TYPE,
                error: format!("a command must be sent with the header Content-Type: {JSON}"),
            });
        }
        let body = Bytes::from_request(request, state).await.map_err(JsonRejection::from)?;
        let text: &[u8] = if body.is_empty() { b"{}" } else { &body };
        let Json(options) = Json::from_bytes(text)?;
        Ok(Self(options))
    }
}

/// Parameters, such as a character set, may follow the type.
fn is_json(headers: &HeaderMap) -> bool {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = value.and_then(|value| value.split(';').next());
    essence.is_some_and(|essence| essence.trim().eq_ignore_ascii_case(JSON))
}
