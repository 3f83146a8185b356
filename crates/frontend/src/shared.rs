//! What every client's task is given: configuration, accounts, keys, the group, the registry. Immutable but for the registry and the
//! memory of refused logins.

use crate::error::FrontendError;
use crate::login::{Accounts, PasswordKey, Refusals};
use crate::registry::Registry;
use crate::tls::Tls;
use grove_config::{Compression, Config, Network};
use grove_engine::Group;
use grove_engine::io::World;
use grove_sql::Analyser;
use grove_telemetry::Metrics;
use grove_wire::CapabilityFlags;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Shared by all clients' tasks.
pub(crate) struct Shared<W: World> {
    pub group: Arc<Group<W>>,
    pub analyser: Arc<Analyser>,
    pub accounts: Accounts,
    pub tls: Tls,
    pub password_key: PasswordKey,
    /// The capabilities of compression that clients may be offered.
    pub compression: CapabilityFlags,
    pub registry: Registry<W>,
    pub refusals: Refusals,
    /// Where connections begin with a PROXY header.
    pub balancers: Vec<Network>,
    pub connect_timeout: Duration,
    pub idle_timeout: Duration,
    pub max_packet_len: usize,
    /// Cancelled when idle clients must leave.
    pub stop: CancellationToken,
    /// Parent of every client's own token; cancelled when the time to drain is over.
    pub cut: CancellationToken,
}

impl<W: World> Shared<W> {
    pub fn new(config: &Config, group: Arc<Group<W>>, analyser: Arc<Analyser>) -> Result<Self, FrontendError> {
        Ok(Self {
            group,
            analyser,
            accounts: Accounts::new(&config.users)?,
            tls: Tls::new(&config.listen.tls)?,
            password_key: PasswordKey::generate()?,
            compression: capabilities_of(&config.listen.compression),
            registry: Registry::default(),
            refusals: Refusals::new(config.listen.refused_login_delay),
            balancers: config.listen.proxy_protocol_from.clone(),
            connect_timeout: config.listen.connect_timeout,
            idle_timeout: config.listen.idle_timeout,
            max_packet_len: config.limits.max_packet_bytes,
            stop: CancellationToken::new(),
            cut: CancellationToken::new(),
        })
    }

    pub fn metrics(&self) -> &Metrics {
        self.group.metrics()
    }
}

fn capabilities_of(algorithms: &[Compression]) -> CapabilityFlags {
    let mut capabilities = CapabilityFlags(0);
    for algorithm in algorithms {
        capabilities.insert(match algorithm {
            Compression::Zlib => CapabilityFlags::COMPRESS,
            Compression::Zstd => CapabilityFlags::ZSTD,
        });
    }
    capabilities
}
