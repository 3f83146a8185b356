//! What crowds cost a proxy: logins by the hundred, clients that do not read what they have asked for, and clients that never say a word.

use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::target::Target;
use super::{tls_login, usage};
use crate::RawClient;
use crate::raw_client::Login;

/// Logins of a storm, and how many are under way at a time.
const LOGINS: u32 = 2000;
const AT_A_TIME: u32 = 64;
/// Clients that stop reading, each in the middle of a result of 200 MB.
const SLOW_READERS: u32 = 50;
const LARGE_RESULT: &str = "SELECT REPEAT('x', 1000000) FROM bench LIMIT 200";
/// Connections on which no byte ever comes.
const SILENT: u32 = 500;
/// How long the slow and the silent ones stay before memory is read.
const PATIENCE: Duration = Duration::from_secs(3);

/// One line of the table.
#[derive(Clone, Debug)]
pub(super) struct Crowd {
    pub(super) target: &'static str,
    pub(super) what: String,
    pub(super) took: Duration,
    pub(super) before_bytes: u64,
    pub(super) peak_bytes: u64,
}

/// All crowds on one proxy.
pub(super) async fn measure(target: &Target, speaks_tls: bool) -> anyhow::Result<Vec<Crowd>> {
    let mut crowds = vec![
        watched(
            target,
            format!("{LOGINS} logins and a query, {AT_A_TIME} at a time"),
            storm(target),
        )
        .await?,
        watched(
            target,
            format!("{SLOW_READERS} clients that do not read their 200 MB"),
            slow_readers(target),
        )
        .await?,
        watched(target, format!("{SILENT} connections without a byte"), silent(target)).await?,
    ];
    if speaks_tls {
        let what = format!("{LOGINS} logins over TLS with caching_sha2_password and a query, {AT_A_TIME} at a time");
        crowds.insert(1, watched(target, what, storm_over_tls(target)).await?);
    }
    Ok(crowds)
}

async fn watched(
    target: &Target,
    what: String,
    crowd: impl Future<Output = anyhow::Result<()>>,
) -> anyhow::Result<Crowd> {
    let pid = target.proxy.context("only a proxy is measured")?;
    eprintln!("{what} on {}", target.name);
    usage::forget_peak(pid);
    let (before_bytes, begun) = (usage::resident_memory(pid)?, Instant::now());
    crowd.await.with_context(|| format!("{what} on {}", target.name))?;
    Ok(Crowd {
        target: target.name,
        what,
        took: begun.elapsed(),
        before_bytes,
        peak_bytes: usage::peak_memory(pid)?,
    })
}

async fn storm(target: &Target) -> anyhow::Result<()> {
    let address = target.address;
    repeated(move || async move {
        RawClient::login(address, &Login::app()).await?.query("DO 1").await?;
        Ok(())
    })
    .await
}

async fn storm_over_tls(target: &Target) -> anyhow::Result<()> {
    let (address, connector) = (target.address, tls_login::connector()?);
    repeated(move || {
        let connector = connector.clone();
        async move { tls_login::login(address, &connector).await }
    })
    .await
}

/// All logins of a storm.
async fn repeated<F>(login: impl Fn() -> F + Clone + Send + 'static) -> anyhow::Result<()>
where
    F: Future<Output = anyhow::Result<()>> + Send,
{
    let mut clients = JoinSet::new();
    for _ in 0..AT_A_TIME {
        let login = login.clone();
        clients.spawn(async move {
            for _ in 0..LOGINS / AT_A_TIME {
                login().await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(client) = clients.join_next().await {
        client??;
    }
    Ok(())
}

async fn slow_readers(target: &Target) -> anyhow::Result<()> {
    let mut clients = Vec::new();
    for _ in 0..SLOW_READERS {
        let mut client = RawClient::login(target.address, &Login::app()).await?;
        client.send(&[&[3], LARGE_RESULT.as_bytes()].concat()).await?;
        clients.push(client);
    }
    tokio::time::sleep(PATIENCE).await;
    Ok(())
}

async fn silent(target: &Target) -> anyhow::Result<()> {
    let mut connections = Vec::new();
    for _ in 0..SILENT {
        connections.push(TcpStream::connect(target.address).await?);
    }
    tokio::time::sleep(PATIENCE).await;
    Ok(())
}
