//! HAProxy in TCP mode in front of one server, with a configuration that has nothing but what it needs.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use crate::directory::{TestDirectory, tail};
use crate::port::Port;

/// How long it may take until it accepts connections.
const READY_LIMIT: Duration = Duration::from_secs(10);
/// Debian keeps it in /usr/sbin, which is not on every user's PATH.
const SEARCH_PATH: &str = "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin";

/// A running HAProxy. Dropping it kills the process.
#[derive(Debug)]
pub(super) struct HaProxy {
    child: Child,
    port: Port,
    directory: TestDirectory,
}

impl HaProxy {
    /// Starts it for so many clients and returns when it accepts connections.
    pub(super) async fn start(server: SocketAddr, clients: u32) -> anyhow::Result<Self> {
        let directory = TestDirectory::create()?;
        let port = Port::reserve()?;
        let file = directory.path().join("haproxy.cfg");
        fs::write(&file, configuration(port.number, server, clients)).context("write haproxy.cfg")?;
        let log = File::create(directory.path().join("haproxy.log")).context("create haproxy.log")?;
        // -db keeps it in the foreground; setpriv makes the kernel kill it when the benchmark dies without dropping anything.
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--", "haproxy", "-db", "-f"])
            .arg(&file)
            .env("PATH", SEARCH_PATH)
            .stdin(Stdio::null())
            .stdout(log.try_clone().context("share haproxy.log")?)
            .stderr(log)
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .context("start haproxy (with setpriv of util-linux)")?;
        let mut haproxy = Self { child, port, directory };
        haproxy.wait_until_ready().await?;
        Ok(haproxy)
    }

    /// Where clients connect.
    pub(super) fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port.number))
    }

    /// The process id; 0 after its end.
    pub(super) fn pid(&self) -> u32 {
        self.child.id().unwrap_or(0)
    }

    async fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + READY_LIMIT;
        loop {
            if TcpStream::connect(self.address()).await.is_ok() {
                return Ok(());
            }
            let log = || tail(&self.directory.path().join("haproxy.log"), 20);
            if let Some(status) = self.child.try_wait().context("ask for HAProxy's exit status")? {
                bail!("HAProxy ended with {status}:\n{}", log());
            }
            if Instant::now() > deadline {
                bail!("HAProxy is not ready after {READY_LIMIT:?}:\n{}", log());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// A thread per core and 16 KiB buffers, as by default. It refuses to start if the clients need more files than it may open.
fn configuration(port: u16, server: SocketAddr, clients: u32) -> String {
    format!(
        "global\n    maxconn {clients}\n\
         defaults\n    mode tcp\n    timeout connect 5s\n    timeout client 1h\n    timeout server 1h\n\
         listen mysql\n    bind 127.0.0.1:{port}\n    server db1 {server}\n"
    )
}
