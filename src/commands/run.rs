//! `proxyd run`: load, form the group, serve, drain.
//!
//! Two tokens order the end. `accepting` is cancelled by the first signal: the frontend takes no more clients and lets
//! open transactions end. `background` is cancelled after that: probes and the operators' API are wanted until the last
//! client is gone. A second signal cuts the drain short. A recovery log that cannot be written any more ends everything at once.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use grove_config::Config;
use grove_control::Control;
use grove_engine::Group;
use grove_engine::io::BackendId;
use grove_frontend::Frontend;
use grove_sql::Analyser;
use grove_telemetry::Metrics;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::Failure;
use crate::memory::Memory;
use crate::recovery_log::RecoveryLog;
use crate::signals::Signals;
use crate::world::Reality;
use crate::{descriptors, logging, startup};

/// Runs the proxy that the file describes until it is told to stop.
pub fn run(file: &Path) -> Result<(), Failure> {
    let config = Config::load(file)?;
    logging::start(&config.log)?;
    descriptors::raise_limit();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(serve(config))?;
    Ok(())
}

async fn serve(config: Config) -> anyhow::Result<()> {
    let mut signals = Signals::listen()?;
    let metrics = Arc::new(Metrics::default());
    let log = RecoveryLog::open(&config.recovery_log).await?;
    let mut memory = Memory::beside(config.recovery_log.directory.as_deref());
    let remembered = memory.load(|name| config.backends.iter().any(|backend| backend.name == name))?;
    // Dropping the start loses no client's bytes: there is no client yet.
    let group = tokio::select! {
        formed = startup::form_group(&config, log.ordered(), &remembered, Arc::clone(&metrics)) => formed?,
        signal = signals.next() => {
            tracing::info!(signal, "stopped before a server answered");
            return Ok(());
        }
    };
    let control = Control::bind(config.admin.address, Arc::clone(&group) as _, metrics).await?;
    let analyser = Arc::new(Analyser::new(config.limits.statement_shapes));
    let frontend = Frontend::bind(&config, Arc::clone(&group), analyser).await?;
    let address = frontend.local_addr();

    let (accepting, background) = (CancellationToken::new(), CancellationToken::new());
    let mut tasks = JoinSet::new();
    watch_servers(&group, &background, &mut tasks);
    keep_positions(&group, &background, &mut tasks);
    let (comparing, stop) = (Arc::clone(&group), background.clone());
    tasks.spawn(async move { comparing.carry_out_comparisons(stop).await });
    tasks.spawn(memory.follow(Arc::clone(&group), background.clone()));
    tracing::info!(address = %control.local_addr(), "operators' API answers");
    tasks.spawn(control.serve(background.clone()));
    let mut serving = tokio::spawn(frontend.serve(accepting.clone()));
    announce(address);

    // A join handle may be dropped and polled again: the frontend's task owns its clients, not this select.
    tokio::select! {
        ended = &mut serving => {
            ended.context("the frontend failed")?;
            anyhow::bail!("the frontend ended without being told to");
        }
        // Nothing can be decided any more, so open transactions cannot end well.
        error = log.stopped() => return Err(error),
        signal = signals.next() => tracing::info!(signal, "no more clients are accepted; open transactions may end"),
    }
    accepting.cancel();
    tokio::select! {
        report = &mut serving => {
            let report = report.context("the frontend failed while it drained")?;
            tracing::info!(ended = report.ended, cut = report.cut, "sessions are closed");
        }
        error = log.stopped() => return Err(error),
        signal = signals.next() => {
            tracing::warn!(signal, "told to stop again: sessions are cut");
            serving.abort();
        }
    }
    background.cancel();
    while tasks.join_next().await.is_some() {}
    log.close().await;
    Ok(())
}

/// One task per server that probes it, and brings it back when it was out of the group.
fn watch_servers(group: &Arc<Group<Reality>>, stop: &CancellationToken, tasks: &mut JoinSet<()>) {
    for index in 0..group.member_count() {
        let id = BackendId(u16::try_from(index).unwrap_or(u16::MAX));
        tasks.spawn(Arc::clone(group).watch(id, stop.clone()));
    }
}

/// One task that folds the servers' position rows.
fn keep_positions(group: &Arc<Group<Reality>>, stop: &CancellationToken, tasks: &mut JoinSet<()>) {
    let (group, stop) = (Arc::clone(group), stop.clone());
    tasks.spawn(async move { group.keep_positions(stop).await });
}

/// The line that scripts wait for.
fn announce(address: SocketAddr) {
    tracing::info!(%address, "clients are accepted");
    // Standard output may be closed: that is the starter's choice and no reason to end.
    let mut output = std::io::stdout().lock();
    let _ = writeln!(output, "ready: mysql://{address}").and_then(|()| output.flush());
}
