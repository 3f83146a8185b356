//! How many clusters run at a time in one test process.
//!
//! A cluster is three servers and a proxy; a machine with two cores does not serve many of them at once, and timeouts that are
//! reasonable for one become races for ten. Tests wait here for their turn, before they start anything.

use anyhow::Context;
use tokio::sync::{Semaphore, SemaphorePermit};

/// Enough for three light clusters, or for a heavy one beside a light one.
static TURNS: Semaphore = Semaphore::const_new(3);

/// Held by a cluster while it lives.
pub(crate) type Turn = SemaphorePermit<'static>;

/// How much of the machine a cluster wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// A client or two, one after the other.
    Light,
    /// Many clients that keep every core busy.
    Heavy,
}

pub(crate) async fn take(weight: Weight) -> anyhow::Result<Turn> {
    let permits = match weight {
        Weight::Light => 1,
        Weight::Heavy => 2,
    };
    TURNS.acquire_many(permits).await.context("the turns are never closed")
}
