//! One private server, the crate under test in front of it, and small helpers to ask and count.

use bytes::Bytes;
use grove_backend::{MysqlLeg, MysqlServers};
use grove_config::{Backend, BackendAddress, BackendTls, BackendTlsMode, Compression, Secret, Timeouts};
use grove_engine::io::{BackendId, Collect, Discard, Identity, Leg, LegError, LegReply, ReplySink, Servers};
use grove_testkit::{Kind, Sandbox, SandboxOptions, Server, TestDirectory, accounts};
use grove_wire::command::COM_QUERY;
use grove_wire::packet::{HEADER_LEN, frame_payload_len};
use grove_wire::row::text_row;
use grove_wire::{CapabilityFlags, ReplyShape, ResultEnd};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, SemaphorePermit};

pub const DB: BackendId = BackendId(0);

/// Two cores do not serve more servers at a time without turning time limits into races.
static TURNS: Semaphore = Semaphore::const_new(3);

/// What drivers of today ask for.
pub const MODERN: CapabilityFlags = CapabilityFlags(
    CapabilityFlags::LONG_FLAG.0
        | CapabilityFlags::PROTOCOL_41.0
        | CapabilityFlags::TRANSACTIONS.0
        | CapabilityFlags::MULTI_STATEMENTS.0
        | CapabilityFlags::MULTI_RESULTS.0
        | CapabilityFlags::PS_MULTI_RESULTS.0
        | CapabilityFlags::SESSION_TRACK.0
        | CapabilityFlags::DEPRECATE_EOF.0,
);

/// The same without what came after MySQL 5.6.
pub const OLD: CapabilityFlags =
    CapabilityFlags(MODERN.0 & !CapabilityFlags::DEPRECATE_EOF.0 & !CapabilityFlags::SESSION_TRACK.0);

// Fields are dropped in this order: the server, its directory, the turn.
pub struct Lab {
    sandbox: Sandbox,
    directory: TestDirectory,
    compression: Option<Compression>,
    _turn: SemaphorePermit<'static>,
}

impl Lab {
    pub async fn start(kind: Kind) -> Self {
        Self::with_options(kind, &[]).await
    }

    pub async fn with_options(kind: Kind, options: &[&str]) -> Self {
        let turn = TURNS.acquire().await.unwrap();
        let directory = TestDirectory::create().unwrap();
        let mut sandbox = SandboxOptions::new(kind, 1, directory.path());
        sandbox.extra_options = options.iter().map(|option| (*option).to_owned()).collect();
        Self {
            sandbox: Sandbox::start(sandbox).await.unwrap(),
            directory,
            compression: None,
            _turn: turn,
        }
    }

    /// The same over compressed connections.
    pub fn compressed(mut self, algorithm: Compression) -> Self {
        self.compression = Some(algorithm);
        self
    }

    pub fn server(&self) -> &Server {
        &self.sandbox.servers[0]
    }

    /// The server's data directory, where MySQL puts the certificates that it makes.
    pub fn data(&self) -> PathBuf {
        self.directory.path().join("db1/data")
    }

    pub fn tcp(&self) -> BackendAddress {
        BackendAddress::Tcp {
            host: "127.0.0.1".into(),
            port: self.server().port(),
        }
    }

    pub fn socket(&self) -> BackendAddress {
        BackendAddress::Socket(self.server().socket())
    }

    /// TCP without TLS.
    pub fn servers(&self) -> MysqlServers {
        self.servers_with(BackendTlsMode::Disabled)
    }

    /// TCP.
    pub fn servers_with(&self, mode: BackendTlsMode) -> MysqlServers {
        let mut backend = backend(self.tcp(), mode, None);
        backend.compression = self.compression;
        MysqlServers::new(&[backend], &short()).unwrap()
    }

    /// A leg of the application's account over plain TCP.
    pub async fn leg(&self) -> MysqlLeg {
        connect(&self.servers(), &identity(MODERN)).await.unwrap()
    }
}

/// Limits that a busy machine keeps and a test can wait for.
pub fn short() -> Timeouts {
    Timeouts {
        connect: Duration::from_secs(10),
        probe: Duration::from_secs(2),
        ..Timeouts::default()
    }
}

pub fn servers(address: BackendAddress, mode: BackendTlsMode, ca: Option<PathBuf>, timeouts: Timeouts) -> MysqlServers {
    MysqlServers::new(&[backend(address, mode, ca)], &timeouts).unwrap()
}

fn backend(address: BackendAddress, mode: BackendTlsMode, ca: Option<PathBuf>) -> Backend {
    Backend {
        name: "db1".into(),
        address,
        user: accounts::SUPERUSER.into(),
        password: Secret::new(accounts::SUPERUSER_PASSWORD),
        weight: 1,
        tls: BackendTls { mode, ca },
        compression: None,
    }
}

pub fn identity(capabilities: CapabilityFlags) -> Identity {
    Identity {
        user: accounts::APP_USER.into(),
        password: accounts::APP_PASSWORD.into(),
        capabilities,
        collation: 45,
        max_packet_len: 1 << 24,
        database: accounts::APP_DATABASE.into(),
        connect_attributes: b"\x0cprogram_name\x04test".to_vec(),
        connection_id: 4_000_000,
    }
}

pub async fn connect(servers: &MysqlServers, identity: &Identity) -> Result<MysqlLeg, LegError> {
    servers.connect(DB, &Arc::new(identity.clone())).await
}

pub fn query(sql: &str) -> Bytes {
    [&[COM_QUERY], sql.as_bytes()].concat().into()
}

/// Runs a statement and expects success.
pub async fn run(leg: &mut MysqlLeg, sql: &str) -> LegReply {
    let reply = try_run(leg, sql).await;
    assert!(reply.reply.err().is_none(), "{sql}: {:?}", reply.reply);
    reply
}

pub async fn try_run(leg: &mut MysqlLeg, sql: &str) -> LegReply {
    leg.send(&[query(sql)]).await.unwrap();
    leg.receive(ReplyShape::Query, &mut Discard).await.unwrap()
}

/// The values of a result with one row.
pub async fn values(leg: &mut MysqlLeg, sql: &str) -> Vec<String> {
    leg.send(&[query(sql)]).await.unwrap();
    let mut frames = Collect::default();
    let reply = leg.receive(ReplyShape::Query, &mut frames).await.unwrap();
    let ResultEnd::Rows { rows: 1, columns, .. } = reply.reply.last() else {
        panic!("{sql}: {:?}", reply.reply);
    };
    let with_eof = !leg.capabilities().contains(CapabilityFlags::DEPRECATE_EOF);
    let mut rest = &frames.bytes[..];
    for _ in 0..1 + columns + u64::from(with_eof) {
        rest = &rest[HEADER_LEN + frame_payload_len(rest.first_chunk().unwrap())..];
    }
    text_row(&rest[HEADER_LEN..])
        .map(|value| String::from_utf8_lossy(value.unwrap_or(b"NULL")).into_owned())
        .collect()
}

pub async fn value(leg: &mut MysqlLeg, sql: &str) -> String {
    values(leg, sql).await.swap_remove(0)
}

/// Counts what comes, and how much at a time.
#[derive(Default)]
pub struct Count {
    pub bytes: usize,
    pub largest_piece: usize,
    /// The client's pace.
    pub pause: Duration,
}

impl ReplySink for Count {
    async fn forward(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.bytes += bytes.len();
        self.largest_piece = self.largest_piece.max(bytes.len());
        if !self.pause.is_zero() {
            tokio::time::sleep(self.pause).await;
        }
        Ok(())
    }
}
