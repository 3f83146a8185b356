//! A frontend on a free port with one scripted server behind it, or several.

use crate::scripted::{ScriptedWorld, Seen};
use grove_config::{Backend, BackendAddress, BackendTls, Config, ListenTlsMode, Secret, User};
use grove_engine::io::ServerFacts;
use grove_engine::{Accounts, Group, MemberSpec, Settings};
use grove_frontend::{DrainReport, Frontend, FrontendError};
use grove_recovery_log::MemoryLog;
use grove_sql::Analyser;
use grove_telemetry::Metrics;
use grove_wire::CapabilityFlags;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub struct Stage {
    pub address: SocketAddr,
    pub seen: Arc<Seen>,
    pub metrics: Arc<Metrics>,
    pub stop: CancellationToken,
    serving: JoinHandle<DrainReport>,
}

/// A MySQL server's facts.
pub fn mysql() -> ServerFacts {
    ServerFacts {
        version: "9.7.1".to_owned(),
        capabilities: CapabilityFlags(0xFFFF_FFFF),
        collation: 255,
        auth_plugin: "caching_sha2_password".to_owned(),
        autoinc_lock_mode: 1,
        sql_mode: String::new(),
        isolation: "REPEATABLE-READ".to_owned(),
        lock_wait_timeout_s: 50,
        max_connections: 100_000,
    }
}

/// A MariaDB server's facts: without LONG_PASSWORD, with extended capabilities.
pub fn mariadb() -> ServerFacts {
    ServerFacts {
        version: "5.5.5-10.11.14-MariaDB".to_owned(),
        capabilities: CapabilityFlags(0x1D_81FF_F7FE),
        collation: 45,
        auth_plugin: "mysql_native_password".to_owned(),
        ..mysql()
    }
}

impl Stage {
    /// A stage with TLS off and the accounts `app`, `other` and `nobody` (without a password).
    pub async fn open() -> Self {
        Self::with(mysql(), |_| {}).await
    }

    pub async fn with(facts: ServerFacts, change: impl FnOnce(&mut Config)) -> Self {
        Self::try_with(facts, change).await.expect("a frontend that can listen")
    }

    pub async fn try_with(facts: ServerFacts, change: impl FnOnce(&mut Config)) -> Result<Self, FrontendError> {
        Self::of_servers(vec![facts], change).await
    }

    /// A stage with several servers; the first is the lead.
    pub async fn of_servers(facts: Vec<ServerFacts>, change: impl FnOnce(&mut Config)) -> Result<Self, FrontendError> {
        let mut config = config();
        change(&mut config);
        let (seen, metrics) = (Arc::new(Seen::default()), Arc::new(Metrics::default()));
        let member = |number: usize| MemberSpec {
            name: format!("db{number}"),
            weight: 1,
            address: String::new(),
            remembered: grove_engine::Remembered::default(),
        };
        let members = (1..=facts.len()).map(member).collect();
        let world = ScriptedWorld::new(facts, Arc::clone(&seen));
        let log = Arc::new(MemoryLog::new(16));
        let group = Group::form(
            world,
            members,
            Settings::default(),
            log,
            Accounts::default(),
            Arc::clone(&metrics),
        );
        let group = group.await.expect("the scripted server answers");
        let analyser = Arc::new(Analyser::new(100));
        let frontend = Frontend::bind(&config, group, analyser).await?;
        let (address, stop) = (frontend.local_addr(), CancellationToken::new());
        let serving = tokio::spawn(frontend.serve(stop.clone()));
        Ok(Self {
            address,
            seen,
            metrics,
            stop,
            serving,
        })
    }

    pub async fn report(self) -> DrainReport {
        self.serving.await.expect("the frontend does not fail")
    }
}

fn config() -> Config {
    let backend = Backend {
        name: "db1".to_owned(),
        address: BackendAddress::Socket("/nowhere".into()),
        user: "grove".to_owned(),
        password: Secret::new(""),
        weight: 1,
        tls: BackendTls::default(),
        compression: None,
    };
    let user = |name: &str, password: &str, schema: Option<&str>| User {
        default_schema: schema.map(str::to_owned),
        ..User::new(name, Secret::new(password))
    };
    let users = vec![
        user("app", "app secret", None),
        user("other", "other secret", Some("others")),
        user("nobody", "", None),
    ];
    let mut config = Config::new(vec![backend], users);
    config.listen.address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    config.listen.tls.mode = ListenTlsMode::Disabled;
    config
}
