//! What a logged-in client that does nothing costs a proxy in memory.
//!
//! Each client has run one query before, so that the proxy holds everything for it that it holds for a client between two queries, its
//! connection to the server too.

use std::time::Duration;

use anyhow::{Context, ensure};

use super::target::Target;
use super::usage;
use crate::RawClient;
use crate::raw_client::Login;

/// Time for the proxy to give back what logging in took.
const SETTLE: Duration = Duration::from_secs(2);
/// Open files of a proxy beyond two per idle client.
const SPARE_DESCRIPTORS: u64 = 1000;

/// The outcome.
#[derive(Clone, Debug)]
pub(super) struct IdleClients {
    pub(super) name: &'static str,
    pub(super) clients: u32,
    pub(super) before_bytes: u64,
    pub(super) after_bytes: u64,
}

impl IdleClients {
    /// Bytes for each client.
    pub(super) fn bytes_per_client(&self) -> f64 {
        self.after_bytes.saturating_sub(self.before_bytes) as f64 / f64::from(self.clients)
    }
}

/// How many clients the limit of open files allows.
pub(super) fn most_clients(descriptors: u64) -> u32 {
    u32::try_from(descriptors.saturating_sub(SPARE_DESCRIPTORS) / 2).unwrap_or(u32::MAX)
}

/// Opens so many clients, reads the proxy's memory, and closes them.
pub(super) async fn measure(target: &Target, clients: u32) -> anyhow::Result<IdleClients> {
    let pid = target.proxy.context("only a proxy's memory is measured")?;
    eprintln!("{clients} idle clients on {}", target.name);
    let before_bytes = usage::resident_memory(pid)?;
    let mut idle = Vec::new();
    for number in 0..clients {
        let context = || format!("client {number} of {clients} on {}", target.name);
        let mut client = RawClient::login(target.address, &Login::app())
            .await
            .with_context(context)?;
        let answer = client
            .query("SELECT c FROM bench WHERE id = 1")
            .await
            .with_context(context)?;
        ensure!(answer.len() > 1, "no row for {}", context());
        idle.push(client);
    }
    tokio::time::sleep(SETTLE).await;
    Ok(IdleClients {
        name: target.name,
        clients,
        before_bytes,
        after_bytes: usage::resident_memory(pid)?,
    })
}
