//! A private server and a group of them.

use std::ffi::OsString;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::installation::{Installation, Kind};
use crate::port::Port;
use crate::process::ServerProcess;
use crate::{SandboxError, settings, template};

/// How long a server may take until it answers. MySQL needs two seconds on a quiet machine; the rest is for crash
/// recovery and for machines that run many tests at once.
const START_LIMIT: Duration = Duration::from_secs(120);
/// How long an orderly stop may take before the server is killed.
const STOP_LIMIT: Duration = Duration::from_secs(30);
/// How long the threads of a server may take to stop. On a busy machine the signal waits for a processor.
const PAUSE_LIMIT: Duration = Duration::from_secs(5);
/// The longest socket path that Linux takes (`sun_path` without its closing zero).
const SOCKET_PATH_LIMIT: usize = 107;

/// What to start.
#[derive(Clone, Debug)]
pub struct SandboxOptions {
    /// MariaDB or MySQL.
    pub kind: Kind,
    /// How many servers.
    pub servers: usize,
    /// Where the servers keep their data. Data that is there already is used again.
    pub directory: PathBuf,
    /// Where templates and port reservations live; see [`crate::default_cache_directory`].
    pub cache: PathBuf,
    /// Further command-line options of the servers, such as `--innodb-lock-wait-timeout=2`. They win over the defaults.
    pub extra_options: Vec<String>,
}

impl SandboxOptions {
    /// Options with the default cache and no further server options.
    pub fn new(kind: Kind, servers: usize, directory: impl Into<PathBuf>) -> Self {
        Self {
            kind,
            servers,
            directory: directory.into(),
            cache: crate::default_cache_directory(),
            extra_options: Vec::new(),
        }
    }
}

/// A group of servers named `db1`, `db2`, … Dropping it kills them.
#[derive(Debug)]
pub struct Sandbox {
    /// The software they run.
    pub installation: Installation,
    /// The servers in the order of their names.
    pub servers: Vec<Server>,
}

impl Sandbox {
    /// Starts the servers and returns when all of them answer.
    pub async fn start(options: SandboxOptions) -> Result<Self, SandboxError> {
        let installation = Installation::find(options.kind).await?;
        let template = template::prepare(&installation, &options.cache).await?;
        fs::create_dir_all(&options.directory).map_err(SandboxError::io("create", &options.directory))?;
        let root = options
            .directory
            .canonicalize()
            .map_err(SandboxError::io("resolve", &options.directory))?;
        let mut starting = JoinSet::new();
        for index in 1..=options.servers {
            let server = Server::new(&installation, &root, index, &options)?;
            let template = template.clone();
            starting.spawn(async move {
                server.prepare_data(&template).await?;
                server.start().await?;
                Ok::<_, SandboxError>(server)
            });
        }
        let mut servers = Vec::new();
        while let Some(started) = starting.join_next().await {
            servers.push(started.map_err(|error| SandboxError::Refused(format!("a start was abandoned: {error}")))??);
        }
        servers.sort_by_key(|server| server.id);
        Ok(Self { installation, servers })
    }

    /// Stops all servers in an orderly way, at the same time.
    pub async fn shutdown(self) {
        let mut stopping = JoinSet::new();
        for server in self.servers {
            stopping.spawn(async move { server.terminate().await });
        }
        while stopping.join_next().await.is_some() {}
    }
}

/// One private server. All its methods take `&self`, so that a test can kill it while clients use it.
#[derive(Debug)]
pub struct Server {
    name: String,
    id: usize,
    kind: Kind,
    directory: PathBuf,
    port: Port,
    program: PathBuf,
    arguments: Vec<OsString>,
    process: Mutex<Option<ServerProcess>>,
}

impl Server {
    fn new(
        installation: &Installation,
        root: &Path,
        id: usize,
        options: &SandboxOptions,
    ) -> Result<Self, SandboxError> {
        let name = format!("db{id}");
        let directory = root.join(&name);
        fs::create_dir_all(directory.join("tmp")).map_err(SandboxError::io("create", &directory))?;
        let port = Port::reserve(&options.cache)?;
        let mut server = Self {
            name,
            id,
            kind: options.kind,
            directory,
            port,
            program: installation.server.clone(),
            arguments: Vec::new(),
            process: Mutex::new(None),
        };
        let socket = server.socket();
        if socket.as_os_str().len() > SOCKET_PATH_LIMIT {
            return Err(SandboxError::Refused(format!(
                "the path of the socket {} is longer than {SOCKET_PATH_LIMIT} bytes: choose a shorter directory",
                socket.display()
            )));
        }
        server.arguments = settings::basic(installation);
        server.arguments.extend([
            settings::option("--datadir", &server.data()),
            settings::option("--socket", &socket),
            settings::option("--tmpdir", &server.directory.join("tmp")),
            settings::option("--pid-file", &server.directory.join("pid")),
            format!("--port={}", server.port.number).into(),
            format!("--server-id={id}").into(),
        ]);
        server
            .arguments
            .extend(settings::running(options.kind).iter().map(OsString::from));
        server
            .arguments
            .extend(options.extra_options.iter().map(OsString::from));
        Ok(server)
    }

    /// The server's name in its group: `db1`, `db2`, …
    pub fn name(&self) -> &str {
        &self.name
    }

    /// MariaDB or MySQL.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The TCP port on 127.0.0.1. It stays the same over restarts.
    pub fn port(&self) -> u16 {
        self.port.number
    }

    /// The TCP address.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port.number))
    }

    /// The Unix socket.
    pub fn socket(&self) -> PathBuf {
        self.directory.join("mysql.sock")
    }

    /// The server's error log.
    pub fn log(&self) -> PathBuf {
        self.directory.join("server.log")
    }

    /// The process id, or `None` when the server does not run.
    pub fn pid(&self) -> Option<u32> {
        self.process()
            .as_ref()
            .filter(|process| process.exit_status().is_none())
            .map(ServerProcess::pid)
    }

    /// Starts a server that does not run, on the same data and port, and returns when it answers.
    pub async fn start(&self) -> Result<(), SandboxError> {
        if self.pid().is_some() {
            return Err(SandboxError::Refused(format!("server {} runs already", self.name)));
        }
        let process = ServerProcess::spawn(self.program.clone(), self.arguments.clone(), &self.log())?;
        *self.process() = Some(process);
        self.answers().await
    }

    /// Kills the server with SIGKILL and returns when it is gone. A server that does not run stays as it is.
    pub async fn kill(&self) {
        self.end(Signal::KILL).await;
    }

    /// Asks the server to stop with SIGTERM, and kills it when that takes too long.
    pub async fn terminate(&self) {
        // A paused server takes the signal only when it goes on.
        self.resume();
        self.end(Signal::TERM).await;
    }

    /// Stops the server's clock with SIGSTOP: its connections stay open and nothing answers. Returns when every thread has stopped, because
    /// the signal alone lets threads on other processors go on for a moment.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
        let Some(pid) = self.pid() else { return };
        let deadline = Instant::now() + PAUSE_LIMIT;
        while !has_stopped(pid) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Lets a paused server go on with SIGCONT.
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// Stops the server if it runs, in an orderly way, and starts it again.
    pub async fn restart(&self) -> Result<(), SandboxError> {
        self.terminate().await;
        self.start().await
    }

    fn data(&self) -> PathBuf {
        self.directory.join("data")
    }

    /// Puts a copy of the template in place unless the server has data from an earlier time.
    async fn prepare_data(&self, template: &Path) -> Result<(), SandboxError> {
        let (data, copied) = (self.data(), self.directory.join("data.copying"));
        if data.exists() {
            return Ok(());
        }
        if copied.exists() {
            fs::remove_dir_all(&copied).map_err(SandboxError::io("remove", &copied))?;
        }
        template::copy(template, &copied).await?;
        fs::rename(&copied, &data).map_err(SandboxError::io("rename", &copied))
    }

    /// Waits until the server greets a client.
    async fn answers(&self) -> Result<(), SandboxError> {
        let deadline = Instant::now() + START_LIMIT;
        loop {
            if greets(self.address()).await {
                return Ok(());
            }
            let exit = match self.process().as_ref() {
                Some(process) => process.exit_status(),
                None => Some("was stopped".to_owned()),
            };
            if let Some(status) = exit {
                return Err(self.not_started(&status));
            }
            if Instant::now() > deadline {
                self.kill().await;
                return Err(self.not_started(&format!("no answer on {} after {START_LIMIT:?}", self.address())));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn not_started(&self, reason: &str) -> SandboxError {
        let log = fs::read(self.log()).unwrap_or_default();
        let tail = template::last_lines(&String::from_utf8_lossy(&log), 20);
        SandboxError::NotStarted {
            name: self.name.clone(),
            detail: format!("{reason}; the end of {}:\n{tail}", self.log().display()),
        }
    }

    fn signal(&self, signal: Signal) {
        if let Some(process) = self.process().as_ref() {
            process.signal(signal);
        }
    }

    async fn end(&self, signal: Signal) {
        let Some(process) = self.process().take() else { return };
        process.signal(signal);
        if !process.exited_within(STOP_LIMIT).await {
            tracing::warn!(server = self.name, "did not stop in time and is killed");
            process.signal(Signal::KILL);
            process.exited_within(STOP_LIMIT).await;
        }
    }

    fn process(&self) -> std::sync::MutexGuard<'_, Option<ServerProcess>> {
        // The value is replaced as a whole, so it is sound even after a panic of another holder.
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether every thread of a process is in the state `T` (stopped; proc(5), `/proc/pid/stat`), or the process is gone.
fn has_stopped(pid: u32) -> bool {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return true;
    };
    threads.flatten().all(|thread| {
        let stat = fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        // The name before it is in parentheses and may hold anything.
        stat.rsplit(") ")
            .next()
            .is_none_or(|rest| rest.is_empty() || rest.starts_with('T'))
    })
}

/// Whether a server at this address begins a connection with the greeting of protocol version 10. An ERR packet
/// (first byte 0xFF), as a server sends while it cannot serve, is not one.
async fn greets(address: SocketAddr) -> bool {
    const GREETING: u8 = 10;
    let attempt = async {
        let mut stream = TcpStream::connect(address).await.ok()?;
        let mut start = [0; 5];
        stream.read_exact(&mut start).await.ok()?;
        Some(start[4] == GREETING)
    };
    tokio::time::timeout(Duration::from_secs(2), attempt)
        .await
        .ok()
        .flatten()
        .unwrap_or(false)
}
