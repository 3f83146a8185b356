//! From a configuration to a group with at least one server.
//!
//! This is the one place that knows both the configuration's types and the engine's. How long servers are waited for is
//! the engine's matter: [`Group::form`] says for each one why it waits.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Context as _;
use grove_backend::MysqlServers;
use grove_config::{Backend, Config, Credential};
use grove_engine::{Accounts, Group, MemberSpec, Remembered, Settings};
use grove_recovery_log::OrderedLog;
use grove_telemetry::Metrics;

use crate::world::Reality;

/// Forms the group of the servers that answer in time, with its writes in this log, without those that are remembered as disabled or as holding something else. Fails when none does.
pub async fn form_group(
    config: &Config,
    log: Arc<dyn OrderedLog>,
    memory: &BTreeMap<String, Remembered>,
    metrics: Arc<Metrics>,
) -> anyhow::Result<Arc<Group<Reality>>> {
    let servers = MysqlServers::new(&config.backends, &config.timeouts)?;
    let specs = config.backends.iter().map(|backend| spec(backend, memory)).collect();
    let world = Reality::new(servers);
    let accounts = Accounts::default();
    for user in &config.users {
        if let Credential::Password(password) = &user.credential {
            accounts.learn(&user.name, password.expose());
        }
    }
    Group::form(world, specs, settings(config), log, accounts, metrics)
        .await
        .context("the group of servers cannot be formed")
}

fn spec(backend: &Backend, memory: &BTreeMap<String, Remembered>) -> MemberSpec {
    MemberSpec {
        name: backend.name.clone(),
        address: backend.address.to_string(),
        weight: backend.weight,
        remembered: memory.get(&backend.name).cloned().unwrap_or_default(),
    }
}

/// The engine's settings as this configuration wants them.
fn settings(config: &Config) -> Settings {
    use grove_config::{
        FirstStart as Start, ReadCommitted as Configured, ReadPolicy as Policy, UnequalSettings as Unequal,
        UnsafeStatements as Unsafe, WhenFull,
    };
    use grove_engine::{FirstStart, ReadCommitted, ReadPolicy, UnequalSettings, UnsafeStatements};
    Settings {
        read_policy: match config.reads.policy {
            Policy::LeastOutstanding => ReadPolicy::LeastOutstanding,
            Policy::RoundRobin => ReadPolicy::RoundRobin,
            Policy::Weighted => ReadPolicy::Weighted,
            Policy::Latency => ReadPolicy::Latency,
        },
        read_committed: match config.writes.read_committed {
            Configured::Gate => ReadCommitted::Gate,
            Configured::Upgrade => ReadCommitted::Upgrade,
        },
        unequal_settings: match config.writes.unequal_settings {
            Unequal::Align => UnequalSettings::Align,
            Unequal::Warn => UnequalSettings::Warn,
        },
        unsafe_statements: match config.writes.unsafe_statements {
            Unsafe::Reject => UnsafeStatements::Reject,
            Unsafe::Warn => UnsafeStatements::Warn,
            Unsafe::Allow => UnsafeStatements::Allow,
        },
        first_start: match &config.recovery_log.first_start {
            Start::Compare => FirstStart::Compare,
            Start::Trust => FirstStart::Trust,
            Start::Copy(server) => FirstStart::Copy(server.clone()),
        },
        evicts_slowest: config.recovery_log.when_full == WhenFull::EvictSlowest,
        probe_interval: config.timeouts.probe_interval,
        probe_failures: config.timeouts.probe_failures,
        follower_lock_wait: config.timeouts.follower_lock_wait,
        no_backend_wait: config.timeouts.no_backend_wait,
        transaction_statements: config.limits.transaction_statements,
        transaction_bytes: config.limits.transaction_bytes,
        verified_reads: config.limits.verified_reads,
        ..Settings::default()
    }
}
