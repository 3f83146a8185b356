//! The routes of the comparison of all servers: ordering one, and what has come of the newest.

use std::sync::atomic::Ordering;

use axum::extract::State as Shared;
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use grove_engine::{Comparison, ComparisonOutcome};
use serde::{Deserialize, Serialize};

use crate::api::State;
use crate::commands::{Options, Refused};
use crate::timestamp;

pub(crate) fn routes() -> Router<State> {
    Router::new().route("/comparison", get(newest).post(begin))
}

/// The body of `POST /comparison`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Begin {}

/// The answer to it.
#[derive(Serialize)]
struct Begun {
    /// A sentence that says what happens next.
    next: String,
}

/// The answer of `GET /comparison`.
#[derive(Serialize)]
struct Newest {
    /// `running`, `finished`, or `failed`: then `reason` says why.
    state: &'static str,
    /// The server with which the others are compared.
    first: String,
    others: Vec<String>,
    /// The newest entry of the recovery log at the instant that is compared.
    position: u64,
    /// When it was ordered, in RFC 3339.
    began: String,
    tables: u64,
    tables_done: u64,
    /// Rows that have been compared so far.
    rows: u64,
    /// Empty if the servers hold the same; some of them, if there are many.
    differences: Vec<Difference>,
    /// Tables that could not be compared, with the reasons.
    left_out: Vec<String>,
    reason: Option<String>,
}

#[derive(Serialize)]
struct Difference {
    server: String,
    what: String,
}

impl From<Comparison> for Newest {
    fn from(comparison: Comparison) -> Self {
        let (state, differences, left_out, reason) = match comparison.outcome {
            None => ("running", Vec::new(), Vec::new(), None),
            Some(ComparisonOutcome::Complete { differences, left_out }) => ("finished", differences, left_out, None),
            Some(ComparisonOutcome::Failed(reason)) => ("failed", Vec::new(), Vec::new(), Some(reason)),
        };
        let differences = differences.into_iter();
        let progress = &comparison.progress;
        Self {
            state,
            tables: progress.tables.load(Ordering::Relaxed),
            tables_done: progress.done.load(Ordering::Relaxed),
            rows: progress.rows.load(Ordering::Relaxed),
            first: comparison.first,
            others: comparison.others,
            position: comparison.position,
            began: timestamp::rfc3339(comparison.began_unix_micros),
            differences: differences.map(|(server, what)| Difference { server, what }).collect(),
            left_out,
            reason,
        }
    }
}

async fn begin(
    Shared(state): Shared<State>,
    Options(Begin {}): Options<Begin>,
) -> Result<(StatusCode, Json<Begun>), Refused> {
    let next = state.members.begin_comparison()?;
    Ok((StatusCode::ACCEPTED, Json(Begun { next })))
}

async fn newest(Shared(state): Shared<State>) -> Result<Json<Newest>, Refused> {
    match state.members.comparison() {
        Some(comparison) => Ok(Json(comparison.into())),
        None => Err(Refused {
            code: StatusCode::NOT_FOUND,
            error: "no comparison has been ordered since Grove was started: POST /comparison orders one".to_owned(),
        }),
    }
}
