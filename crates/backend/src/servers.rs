//! The engine's door to the configured servers.

use crate::BackendError;
use crate::control::{AskError, ControlPool};
use crate::dialer::Dialer;
use crate::examine;
use crate::facts::Probe;
use crate::leg::{MysqlLeg, query};
use crate::locks::LockWaits;
use crate::own;
use crate::phase;
use bytes::Bytes;
use futures_util::future::try_join_all;
use grove_config::{Backend, Timeouts};
use grove_copy::{LogicalComparison, LogicalCopy};
use grove_engine::io::{
    BackendId, CopyError, Discard, Examination, Identity, KillKind, Leg, LegError, Phase, ServerFacts, Servers,
};
use grove_wire::ReplyShape;
use grove_wire::query_attributes::laid_out;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// ER_NO_SUCH_THREAD
const NO_SUCH_THREAD: u16 = 1094;

/// Control connections per server for kills and questions about locks; the probe has one of its own that nothing else can occupy.
const CONTROL_CONNECTIONS: usize = 2;

/// A server with many tables takes its time to say which of them have no key.
const LONGEST_LOOK_AT_TABLES: Duration = Duration::from_secs(60);

/// Tables, or ranges of them, that are copied at a time.
const COPY_CONNECTIONS: usize = 4;

/// The configured servers, by their place in the configuration.
pub struct MysqlServers {
    servers: Vec<Server>,
    connect_limit: Duration,
}

struct Server {
    /// Grove's own user name there.
    account: String,
    dialer: Arc<Dialer>,
    probe: Probe,
    control: ControlPool,
    /// For questions about all tables.
    tables: ControlPool,
    lock_waits: LockWaits,
}

impl MysqlServers {
    /// Prepares to reach these servers; nothing is dialed yet. Must name them in the order of the group's members.
    pub fn new(backends: &[Backend], timeouts: &Timeouts) -> Result<Self, BackendError> {
        let server = |backend: &Backend| {
            let dialer = Arc::new(Dialer::new(backend, timeouts.connect)?);
            let pool = |size, limit| ControlPool::new(Arc::clone(&dialer), backend, size, limit);
            Ok(Server {
                account: backend.user.clone(),
                probe: Probe::new(pool(1, timeouts.probe)),
                control: pool(CONTROL_CONNECTIONS, timeouts.probe),
                tables: pool(1, LONGEST_LOOK_AT_TABLES),
                lock_waits: LockWaits::new(timeouts.probe),
                dialer,
            })
        };
        Ok(Self {
            servers: backends.iter().map(server).collect::<Result<_, _>>()?,
            connect_limit: timeouts.connect,
        })
    }

    fn server(&self, backend: BackendId) -> Result<&Server, LegError> {
        self.servers
            .get(usize::from(backend.0))
            .ok_or_else(|| LegError::Lost(format!("there is no server number {}", backend.0)))
    }
}

impl Servers for MysqlServers {
    type Leg = MysqlLeg;
    type Copier = LogicalCopy<MysqlLeg>;
    type Comparer = LogicalComparison<MysqlLeg>;

    async fn prepare_copy(&self, donor: BackendId, target: BackendId) -> Result<LogicalCopy<MysqlLeg>, CopyError> {
        // What an earlier copy, or a Grove that is gone, has sent there must not arrive in the midst of this one.
        let account = self.server(target)?.account.clone();
        self.expel(target, &[account]).await?;
        let dial = async |id, connections: usize| {
            let control = &self.server(id)?.control;
            try_join_all((0..connections).map(|_| control.open())).await
        };
        let definitions = self.server(donor)?.control.open().await?;
        let from = dial(donor, COPY_CONNECTIONS).await?;
        LogicalCopy::prepare(definitions, from, dial(target, COPY_CONNECTIONS).await?).await
    }

    async fn prepare_comparison(
        &self,
        first: BackendId,
        others: &[BackendId],
    ) -> Result<LogicalComparison<MysqlLeg>, CopyError> {
        let dial = async |id| self.server(id)?.control.open().await;
        let others = try_join_all(others.iter().map(|&id| dial(id))).await?;
        LogicalComparison::prepare(dial(first).await?, others).await
    }

    async fn differences(&self, first: BackendId, second: BackendId) -> Result<Vec<String>, CopyError> {
        let first = self.server(first)?.control.open().await?;
        let second = self.server(second)?.control.open().await?;
        grove_copy::differences(first, second).await
    }

    async fn connect(&self, backend: BackendId, identity: &Arc<Identity>) -> Result<MysqlLeg, LegError> {
        let (mut leg, _) = self.server(backend)?.dialer.open(identity).await?;
        if identity.collation > u16::from(u8::MAX) {
            let announced = timeout(self.connect_limit, announce_collation(&mut leg, identity.collation)).await;
            announced.map_err(|_| LegError::Timeout(self.connect_limit))??;
        }
        // An account without the privilege shows the server's own id instead; nothing else depends on it.
        leg.send_own(&format!("SET pseudo_thread_id={}", identity.connection_id))
            .await?;
        Ok(leg)
    }

    async fn connect_own(&self, backend: BackendId) -> Result<MysqlLeg, LegError> {
        self.server(backend)?.control.open().await
    }

    async fn expel(&self, backend: BackendId, accounts: &[String]) -> Result<(), LegError> {
        own::expel(&self.server(backend)?.control, accounts).await
    }

    async fn may_permit_marks(&self, backend: BackendId) -> Result<(), LegError> {
        own::may_permit_marks(&self.server(backend)?.control).await
    }

    async fn permit_marks(&self, backend: BackendId, account: &[u8]) -> Result<(), LegError> {
        own::permit_marks(&self.server(backend)?.control, account).await
    }

    async fn examine(&self, backend: BackendId) -> Result<Examination, LegError> {
        examine::examine(&self.server(backend)?.control).await
    }

    async fn warnings(&self, backend: BackendId) -> Result<Vec<String>, LegError> {
        examine::warnings(&self.server(backend)?.tables).await
    }

    async fn adjust(&self, backend: BackendId, setting: &str, value: &str) -> Result<(), LegError> {
        examine::adjust(&self.server(backend)?.control, setting, value).await
    }

    async fn probe(&self, backend: BackendId) -> Result<ServerFacts, LegError> {
        self.server(backend)?.probe.ask().await
    }

    async fn blockers(&self, backend: BackendId, thread_id: u32) -> Result<Vec<u32>, LegError> {
        let server = self.server(backend)?;
        server.lock_waits.blockers_of(&server.control, thread_id).await
    }

    async fn phase(&self, backend: BackendId, thread_id: u32) -> Result<Phase, LegError> {
        phase::of(&self.server(backend)?.control, thread_id).await
    }

    async fn kill(&self, backend: BackendId, thread_id: u32, kind: KillKind) -> Result<(), LegError> {
        let what = match kind {
            KillKind::Query => "QUERY",
            KillKind::Connection => "CONNECTION",
        };
        let server = self.server(backend)?;
        match server.control.ask(&format!("KILL {what} {thread_id}")).await {
            Ok(_) => Ok(()),
            Err(AskError::Refused(err)) if err.code == NO_SUCH_THREAD => Ok(()),
            Err(AskError::Leg(error)) => Err(error),
            Err(error @ AskError::Refused(_)) => {
                Err(LegError::Protocol(format!("{}: KILL: {error}", server.control.name())))
            }
        }
    }
}

/// A handshake response has one byte for the collation, and larger ids (MySQL's newest, MariaDB's UCA 14.0.0 ones) come from COM_CHANGE_USER,
/// which has two. Both servers take an id as value of `collation_connection`, as they write it to the binary log; MariaDB does not do so for
/// the character sets, and the values of one SET are taken before any is changed.
async fn announce_collation(leg: &mut MysqlLeg, id: u16) -> Result<(), LegError> {
    const STATEMENTS: usize = 2;
    let statements: [Bytes; STATEMENTS] = [
        query(&format!("SET collation_connection={id}")),
        query("SET character_set_client=@@character_set_connection, character_set_results=@@character_set_connection"),
    ];
    let capabilities = leg.capabilities();
    leg.send(&statements.map(|own| laid_out(own, capabilities))).await?;
    let mut refused = None;
    for _ in 0..STATEMENTS {
        let reply = leg.receive(ReplyShape::SingleOk, &mut Discard).await?;
        refused = refused.or_else(|| reply.reply.err().cloned());
    }
    refused.map_or(Ok(()), |err| Err(LegError::Refused(err)))
}
