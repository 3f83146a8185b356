//! A playground: private servers with a Grove in front of them, in one directory.
//!
//! The process that owns a [`Playground`] supervises it. Grove runs as a process of its own, `proxyd run` on a
//! configuration that is written into the directory, so that Grove can be killed while its servers stay up to be
//! looked at. Everything ends with the supervisor, also when that gets SIGKILL.
//!
//! What the directory holds: `playground.json` (see [`Description`]; there while the playground runs),
//! `proxy-config.yaml` and `grove.log` (Grove's), `recovery-log`, `db1`, `db2`, … (one server each),
//! `playground.sock` (where [`restart`] asks) and `playground.lock` (who owns the directory).
//!
//! Invariants: two playgrounds never share a directory; a start never takes over data of an earlier one, because after
//! a kill the servers may differ, and Grove would then keep different servers different. Deliberately absent: a new
//! start of Grove after it died, which is `proxyd run` with the written configuration.

mod description;
mod directory;
mod door;
mod grove;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use description::{BackendDescription, Description};
pub use door::restart;

use crate::port::Port;
use crate::server::Server;
use crate::{Kind, Sandbox, SandboxError, SandboxOptions};
use directory::Directory;
use door::{Door, Request};
use grove::Grove;
use tokio::net::UnixStream;

/// How often the supervisor looks whether a process ended.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);

/// What to start.
#[derive(Clone, Debug)]
pub struct PlaygroundOptions {
    /// The servers.
    pub kind: Kind,
    /// How many of them.
    pub backends: usize,
    /// Where everything is kept.
    pub directory: PathBuf,
    /// The port on 127.0.0.1 for clients; 0 for any free one.
    pub port: u16,
    /// The program `proxyd`.
    pub program: PathBuf,
}

/// Something that happened to a playground and that its user should see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A server ended without being told to.
    ServerEnded {
        /// Its name.
        name: String,
    },
    /// A server was started again on request.
    ServerRestarted {
        /// Its name.
        name: String,
        /// Its new process id.
        pid: u32,
    },
    /// Grove ended without being told to.
    GroveEnded {
        /// Its exit status.
        status: String,
    },
}

/// A playground that runs. Dropping it kills its processes.
#[derive(Debug)]
pub struct Playground {
    sandbox: Sandbox,
    grove: Grove,
    door: Door,
    description: Description,
    /// Names of what has ended and was told about; the empty name is Grove's.
    ended: Vec<String>,
    /// The ports of Grove stay reserved for as long as the playground lives.
    _ports: Vec<Port>,
    /// Dropped last: it holds the lock that keeps other playgrounds away.
    directory: Directory,
}

impl Playground {
    /// Starts the servers, then Grove, and returns when Grove accepts clients.
    pub async fn start(options: PlaygroundOptions) -> Result<Self, SandboxError> {
        if options.backends == 0 {
            return Err(SandboxError::Refused(
                "a playground needs at least one server".to_owned(),
            ));
        }
        let directory = Directory::take(&options.directory)?;
        let sandbox_options = SandboxOptions::new(options.kind, options.backends, directory.path());
        let (listen, admin, ports) = addresses(options.port, &sandbox_options)?;
        let door = Door::open(&directory)?;
        let sandbox = Sandbox::start(sandbox_options).await?;
        let grove = Grove::start(&options.program, &directory, listen, admin, &sandbox.servers).await?;
        let description = Description {
            pid: grove.pid(),
            host: listen.ip().to_string(),
            port: listen.port(),
            admin: admin.to_string(),
            user: crate::accounts::APP_USER.to_owned(),
            password: crate::accounts::APP_PASSWORD.to_owned(),
            database: crate::accounts::APP_DATABASE.to_owned(),
            server: options.kind,
            version: sandbox.installation.version.clone(),
            backends: sandbox.servers.iter().map(BackendDescription::of).collect(),
        };
        description.write(&directory)?;
        Ok(Self {
            sandbox,
            grove,
            door,
            description,
            ended: Vec::new(),
            _ports: ports,
            directory,
        })
    }

    /// What is in `playground.json`.
    pub fn description(&self) -> &Description {
        &self.description
    }

    /// The directory, as an absolute path.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Grove's log file.
    pub fn log(&self) -> PathBuf {
        self.directory.grove_log()
    }

    /// Carries out what [`restart`] asks for, until there is something to tell.
    ///
    /// The future may be dropped at any time: a restart that is cut off leaves a server that is starting, which the next
    /// look or [`Playground::shutdown`] finds.
    pub async fn supervise(&mut self) -> Notice {
        loop {
            if let Some(notice) = self.look() {
                return notice;
            }
            tokio::select! {
                connection = self.door.accept() => {
                    if let Some(notice) = self.serve(connection).await {
                        return notice;
                    }
                }
                () = tokio::time::sleep(LOOK_INTERVAL) => {}
            }
        }
    }

    /// Stops Grove, which lets open transactions end, and then the servers.
    pub async fn shutdown(self) {
        self.directory.forget();
        self.grove.terminate().await;
        self.sandbox.shutdown().await;
    }

    /// Notices one process that ended since the last look.
    fn look(&mut self) -> Option<Notice> {
        const GROVE: &str = "";
        let told = |ended: &[String], name: &str| ended.iter().any(|other| other == name);
        if let Some(status) = self.grove.exit_status()
            && !told(&self.ended, GROVE)
        {
            self.ended.push(GROVE.to_owned());
            return Some(Notice::GroveEnded { status });
        }
        let dead = |server: &&Server| server.pid().is_none() && !told(&self.ended, server.name());
        let name = self.sandbox.servers.iter().find(dead)?.name().to_owned();
        self.ended.push(name.clone());
        Some(Notice::ServerEnded { name })
    }

    /// Carries out the one request of a connection.
    async fn serve(&mut self, connection: UnixStream) -> Option<Notice> {
        let request = match Request::read(connection).await {
            Ok(request) => request,
            Err(error) => {
                tracing::warn!(%error, "a request to the playground did not arrive");
                return None;
            }
        };
        let name = request.backend().to_owned();
        let outcome = self.restart_server(&name).await;
        let restarted = outcome.as_ref().ok().copied();
        request.answer(outcome).await;
        restarted.map(|pid| Notice::ServerRestarted { name, pid })
    }

    async fn restart_server(&mut self, name: &str) -> Result<u32, SandboxError> {
        let Some(index) = self.sandbox.servers.iter().position(|server| server.name() == name) else {
            let names: Vec<_> = self.sandbox.servers.iter().map(Server::name).collect();
            return Err(SandboxError::Refused(format!(
                "there is no server {name:?} in this playground: it has {}",
                names.join(", ")
            )));
        };
        let server = &self.sandbox.servers[index];
        server.restart().await?;
        self.ended.retain(|other| other != name);
        self.description.backends[index] = BackendDescription::of(server);
        self.description.write(&self.directory)?;
        Ok(self.description.backends[index].pid)
    }
}

/// Where Grove listens for clients and for operators.
///
/// A chosen port gets its neighbour for operators when that is free, because a person remembers it. Ports that nobody
/// chose are reserved, so that playgrounds that start at the same time do not meet.
fn addresses(port: u16, options: &SandboxOptions) -> Result<(SocketAddr, SocketAddr, Vec<Port>), SandboxError> {
    let local = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut ports = Vec::new();
    let mut any = || {
        let reserved = Port::reserve(&options.cache)?;
        let address = local(reserved.number);
        ports.push(reserved);
        Ok::<_, SandboxError>(address)
    };
    if port == 0 {
        let (listen, admin) = (any()?, any()?);
        return Ok((listen, admin, ports));
    }
    let listen = local(port);
    if let Err(error) = TcpListener::bind(listen) {
        return Err(SandboxError::Refused(format!(
            "port {port} on 127.0.0.1 cannot be used: {error}; choose another one with --port, or 0 for any free one"
        )));
    }
    let neighbour = port
        .checked_add(1)
        .map(local)
        .filter(|address| TcpListener::bind(address).is_ok());
    let admin = match neighbour {
        Some(address) => address,
        None => any()?,
    };
    Ok((listen, admin, ports))
}
