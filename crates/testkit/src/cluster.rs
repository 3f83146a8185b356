//! Private servers with Grove in front of them, in three lines.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use grove_sandbox::{Kind, Sandbox, SandboxOptions, Server, accounts};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Opts, OptsBuilder};

use crate::Random;
use crate::admin::{self, Member};
use crate::directory::{TestDirectory, tail};
use crate::grove::GroveProcess;
use crate::network::Network;
use crate::port::Port;
use crate::trace;
pub use crate::turn::Weight;
use crate::turn::{self, Turn};

/// What to start.
#[derive(Clone, Debug)]
pub struct ClusterOptions {
    /// MariaDB or MySQL.
    pub kind: Kind,
    /// How many servers.
    pub servers: usize,
    /// How much of the machine the test wants.
    pub weight: Weight,
    /// Options of the servers, such as `--innodb-lock-wait-timeout=2`.
    pub server_options: Vec<String>,
    /// Further top-level sections of Grove's configuration file, as YAML.
    pub configuration: String,
    /// Further keys of the section `listen`, one a line.
    pub listen: Vec<String>,
    /// Further keys of single servers, by their place from 0 on, one a line.
    pub backends: Vec<(usize, String)>,
    /// Further keys of the application's account, one a line.
    pub user: Vec<String>,
    /// Further accounts, made on each server before Grove starts.
    pub accounts: Vec<Account>,
    /// Whether there is a network between Grove and each server that a test can cut.
    pub networks: bool,
}

/// An account of an application, at the servers and at Grove.
#[derive(Clone, Debug)]
pub struct Account {
    /// Its name, from any host.
    pub name: String,
    /// Its password.
    pub password: String,
    /// What it may do, such as `ALL ON app.*`.
    pub rights: String,
}

impl ClusterOptions {
    /// A light cluster with every default.
    pub fn new(kind: Kind, servers: usize) -> Self {
        Self {
            kind,
            servers,
            weight: Weight::Light,
            server_options: Vec::new(),
            configuration: String::new(),
            listen: Vec::new(),
            backends: Vec::new(),
            user: Vec::new(),
            accounts: Vec::new(),
            networks: false,
        }
    }

    /// With a network between Grove and each server that can be cut: [`Cluster::network`].
    pub fn behind_networks(mut self) -> Self {
        self.networks = true;
        self
    }

    /// For a test with many busy clients. The servers write down every statement, for the case that one answers differently.
    pub fn heavy(mut self) -> Self {
        self.weight = Weight::Heavy;
        self.server_option("--general-log=ON")
            .server_option(&format!("--general-log-file=../{}", trace::FILE))
    }

    /// Adds an option for every server.
    pub fn server_option(mut self, option: &str) -> Self {
        self.server_options.push(option.to_owned());
        self
    }

    /// Adds a key to the section `listen` of Grove's configuration.
    pub fn grove_listen(mut self, line: &str) -> Self {
        self.listen.push(line.to_owned());
        self
    }

    /// Adds a key to one server in Grove's configuration, by its place from 0 on.
    pub fn grove_backend(mut self, place: usize, line: &str) -> Self {
        self.backends.push((place, line.to_owned()));
        self
    }

    /// Adds a key to the application's account in Grove's configuration.
    pub fn grove_user(mut self, line: &str) -> Self {
        self.user.push(line.to_owned());
        self
    }

    /// Adds an account.
    pub fn account(mut self, name: &str, password: &str, rights: &str) -> Self {
        self.accounts.push(Account {
            name: name.to_owned(),
            password: password.to_owned(),
            rights: rights.to_owned(),
        });
        self
    }

    /// Adds sections to Grove's configuration, as YAML.
    pub fn configuration(mut self, yaml: &str) -> Self {
        self.configuration.push_str(yaml);
        self
    }
}

/// Servers, and Grove in front of them. Dropping it kills everything; after a panic the ends of the logs are printed.
// The order of the fields is the order in which they are dropped: Grove, the servers, their directory, the turn.
#[derive(Debug)]
pub struct Cluster {
    grove: Option<GroveProcess>,
    networks: Vec<Network>,
    sandbox: Sandbox,
    binary: PathBuf,
    admin: Port,
    directory: TestDirectory,
    _turn: Turn,
}

impl Cluster {
    /// Starts servers and Grove, with every default. `binary` is `env!("CARGO_BIN_EXE_proxyd")` in tests of the root package.
    pub async fn start(kind: Kind, servers: usize, binary: impl AsRef<Path>) -> anyhow::Result<Self> {
        Self::start_with(ClusterOptions::new(kind, servers), binary).await
    }

    /// Starts servers and Grove.
    pub async fn start_with(options: ClusterOptions, binary: impl AsRef<Path>) -> anyhow::Result<Self> {
        let turn = turn::take(options.weight).await?;
        let directory = TestDirectory::create()?;
        let mut sandbox = SandboxOptions::new(options.kind, options.servers, directory.path());
        sandbox.extra_options = options.server_options.clone();
        let sandbox = Sandbox::start(sandbox).await.context("start the servers")?;
        for server in &sandbox.servers {
            make_accounts(server, &options.accounts).await?;
        }
        let mut networks = Vec::new();
        if options.networks {
            for server in &sandbox.servers {
                networks.push(
                    Network::before(server.address())
                        .await
                        .context("put a network in between")?,
                );
            }
        }
        let reached = networks.iter().map(Network::address).collect::<Vec<_>>();
        let admin = Port::reserve()?;
        let configuration = configuration(&sandbox.servers, &reached, admin.number, &options);
        fs::write(directory.path().join("grove.yaml"), configuration).context("write grove.yaml")?;
        let mut cluster = Self {
            grove: None,
            networks,
            sandbox,
            binary: binary.as_ref().to_owned(),
            admin,
            directory,
            _turn: turn,
        };
        cluster.start_grove().await?;
        Ok(cluster)
    }

    /// Starts Grove again after [`Cluster::stop_grove`]; its port may be another one.
    pub async fn start_grove(&mut self) -> anyhow::Result<()> {
        let directory = self.directory.path();
        let grove = GroveProcess::start(&self.binary, &directory.join("grove.yaml"), directory).await;
        self.grove = Some(grove.with_context(|| format!("logs in {}", directory.display()))?);
        Ok(())
    }

    /// Takes Grove's process out of the cluster, to stop it in whatever way.
    pub fn stop_grove(&mut self) -> Option<GroveProcess> {
        self.grove.take()
    }

    /// Kills Grove with SIGKILL.
    pub async fn kill_grove(&mut self) -> anyhow::Result<()> {
        self.stop_grove().context("Grove does not run")?.kill().await
    }

    /// Grove's process; `None` after [`Cluster::stop_grove`].
    pub fn grove(&mut self) -> Option<&mut GroveProcess> {
        self.grove.as_mut()
    }

    /// The servers, `db1` first.
    pub fn servers(&self) -> &[Server] {
        &self.sandbox.servers
    }

    /// The server of this name.
    pub fn server(&self, name: &str) -> anyhow::Result<&Server> {
        let found = self.servers().iter().find(|server| server.name() == name);
        found.with_context(|| format!("no server {name:?}"))
    }

    /// The network between Grove and the server of this name, if the cluster has such.
    pub fn network(&self, name: &str) -> anyhow::Result<&Network> {
        let place = self.servers().iter().position(|server| server.name() == name);
        place
            .and_then(|place| self.networks.get(place))
            .with_context(|| format!("no network before {name:?}"))
    }

    /// MariaDB or MySQL.
    pub fn kind(&self) -> Kind {
        self.sandbox.installation.kind
    }

    /// Where clients connect to Grove.
    pub fn grove_address(&self) -> SocketAddr {
        let port = self.grove.as_ref().map_or(0, |grove| grove.port);
        SocketAddr::from((Ipv4Addr::LOCALHOST, port))
    }

    /// Where operators connect to Grove.
    pub fn admin_address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.admin.number))
    }

    /// The application's account at Grove.
    pub fn grove_opts(&self) -> Opts {
        options_of(self.grove_address(), accounts::APP_USER, accounts::APP_PASSWORD)
    }

    /// The superuser's account at a server, past Grove: only to look.
    pub fn server_opts(&self, index: usize) -> Opts {
        superuser_of(&self.servers()[index])
    }

    /// A client of Grove.
    pub async fn client(&self) -> anyhow::Result<Conn> {
        Conn::new(self.grove_opts()).await.context("connect to Grove")
    }

    /// A connection to a server, past Grove: only to look.
    pub async fn look_at(&self, index: usize) -> anyhow::Result<Conn> {
        let name = self.servers()[index].name();
        Conn::new(self.server_opts(index))
            .await
            .with_context(|| format!("connect to {name}"))
    }

    /// What Grove says about the servers.
    pub async fn members(&self) -> anyhow::Result<Vec<Member>> {
        admin::members(self.admin_address()).await
    }

    /// The lead, as Grove says.
    pub async fn lead(&self) -> anyhow::Result<&Server> {
        let members = self.members().await?;
        let lead = members.iter().find(|member| member.is_lead);
        self.server(&lead.with_context(|| format!("no lead among {members:?}"))?.name)
    }

    /// The servers that Grove counts as online.
    pub async fn online(&self) -> anyhow::Result<Vec<&Server>> {
        let members = self.members().await?;
        members
            .iter()
            .filter(|member| member.is_online())
            .map(|member| self.server(&member.name))
            .collect()
    }

    /// Gives Grove an operator's command for a server: `disable`, `enable` or `rebuild`, with its JSON body. An error has Grove's answer.
    pub async fn command(&self, server: &str, command: &str, body: &serde_json::Value) -> anyhow::Result<String> {
        admin::post(self.admin_address(), &format!("/servers/{server}/{command}"), body).await
    }

    /// Waits until Grove counts this server among those in a state, and gives the reason.
    pub async fn wait_for_state(&self, name: &str, state: &str, limit: Duration) -> anyhow::Result<String> {
        let begun = Instant::now();
        loop {
            let members = self.members().await?;
            let member = members.iter().find(|member| member.name == name);
            if let Some(member) = member.filter(|member| member.state == state) {
                return Ok(member.reason.clone());
            }
            if begun.elapsed() > limit {
                bail!("{name} was not {state} within {limit:?}: {members:#?}");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until Grove has evicted this server, and returns the reason.
    pub async fn wait_for_eviction(&self, name: &str, limit: Duration) -> anyhow::Result<String> {
        let deadline = Instant::now() + limit;
        loop {
            let members = self.members().await?;
            let member = members.iter().find(|member| member.name == name);
            let member = member.with_context(|| format!("{name} is not in {members:?}"))?;
            if !member.is_online() {
                return Ok(member.reason.clone());
            }
            if Instant::now() > deadline {
                bail!("{name} was not evicted within {limit:?}: {members:?}");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until Grove counts this server as online, and returns how long that took.
    pub async fn wait_until_online(&self, name: &str, limit: Duration) -> anyhow::Result<Duration> {
        let begun = Instant::now();
        loop {
            let members = self.members().await?;
            if members.iter().any(|member| member.name == name && member.is_online()) {
                return Ok(begun.elapsed());
            }
            if begun.elapsed() > limit {
                bail!("{name} was not online within {limit:?}: {members:#?}");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Cuts one of the application's connections at a server, as a network device in between would, and says which. `None` when
    /// there is none. Grove's own connections for probes and questions belong to the superuser and stay.
    pub async fn cut_a_connection(&self, server: &Server, random: &mut Random) -> anyhow::Result<Option<u32>> {
        let mut look = Conn::new(superuser_of(server))
            .await
            .context("connect to cut a connection")?;
        let sql = format!(
            "SELECT id FROM information_schema.processlist WHERE user = '{}'",
            accounts::APP_USER
        );
        let ids: Vec<u32> = look.query(sql).await.context("list the connections")?;
        let victim = (!ids.is_empty()).then(|| *random.pick(&ids));
        if let Some(id) = victim {
            // It may have ended by itself meanwhile.
            let _ = look.query_drop(format!("KILL {id}")).await;
        }
        look.disconnect().await?;
        Ok(victim)
    }

    /// Where everything of it is: Grove's configuration and logs, the servers' data.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The ends of the logs of Grove and of the servers.
    pub fn log_tails(&self, lines: usize) -> String {
        let mut text = format!("--- grove\n{}\n", tail(&self.directory.path().join("grove.log"), lines));
        for server in self.servers() {
            text.push_str(&format!("--- {}\n{}\n", server.name(), tail(&server.log(), lines / 4)));
        }
        text
    }

    /// Lets the logs stay when the cluster is dropped, as after a panic.
    pub fn keep_logs(&mut self) {
        self.directory.keep_logs();
    }

    /// What a heavy cluster's servers executed on the table of the first statement that was answered differently; empty if none was.
    pub fn trace_of_difference(&self) -> String {
        trace::of_difference(self.directory.path(), self.servers())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.log_tails(60));
            eprintln!("{}", self.trace_of_difference());
        }
    }
}

/// Options of a mysql_async connection over TCP to this address.
pub fn options_of(address: SocketAddr, user: &str, password: &str) -> Opts {
    OptsBuilder::default()
        .ip_or_hostname(address.ip().to_string())
        .tcp_port(address.port())
        .user(Some(user))
        .pass(Some(password))
        .db_name(Some(accounts::APP_DATABASE))
        // Otherwise the driver asks for @@socket and reconnects there: past Grove.
        .prefer_socket(false)
        .into()
}

/// The superuser's account at a server.
pub(crate) fn superuser_of(server: &Server) -> Opts {
    options_of(server.address(), accounts::SUPERUSER, accounts::SUPERUSER_PASSWORD)
}

/// Servers are reached at `reached`, by their place, or directly where that ends.
fn configuration(servers: &[Server], reached: &[SocketAddr], admin: u16, options: &ClusterOptions) -> String {
    let mut yaml = String::from("listen:\n  address: 127.0.0.1:0\n");
    for line in &options.listen {
        yaml.push_str(&format!("  {line}\n"));
    }
    yaml.push_str(&format!("admin:\n  address: 127.0.0.1:{admin}\nbackends:\n"));
    for (place, server) in servers.iter().enumerate() {
        yaml.push_str(&format!(
            "  - name: {}\n    address: {}\n    user: {}\n    password: {}\n",
            server.name(),
            reached.get(place).copied().unwrap_or(server.address()),
            accounts::SUPERUSER,
            accounts::SUPERUSER_PASSWORD
        ));
        for (_, line) in options.backends.iter().filter(|(of, _)| *of == place) {
            yaml.push_str(&format!("    {line}\n"));
        }
    }
    yaml.push_str(&format!(
        "users:\n  - name: {}\n    password: {}\n",
        accounts::APP_USER,
        accounts::APP_PASSWORD
    ));
    for line in &options.user {
        yaml.push_str(&format!("    {line}\n"));
    }
    for account in &options.accounts {
        yaml.push_str(&format!(
            "  - name: {}\n    password: {}\n",
            account.name, account.password
        ));
    }
    yaml.push_str(&options.configuration);
    yaml
}

async fn make_accounts(server: &Server, accounts: &[Account]) -> anyhow::Result<()> {
    if accounts.is_empty() {
        return Ok(());
    }
    let mut conn = Conn::new(superuser_of(server))
        .await
        .context("connect to make accounts")?;
    for account in accounts {
        let name = format!("'{}'@'%'", account.name);
        conn.query_drop(format!("CREATE USER {name} IDENTIFIED BY '{}'", account.password))
            .await?;
        conn.query_drop(format!("GRANT {} TO {name}", account.rights)).await?;
    }
    Ok(conn.disconnect().await?)
}
