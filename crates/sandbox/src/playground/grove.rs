//! Grove's process in a playground, and the configuration it runs with.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::directory::Directory;
use crate::process::ServerProcess;
use crate::server::Server;
use crate::{SandboxError, accounts, template};

/// How long Grove may take until it accepts clients. The servers answer already, so this is for busy machines.
const START_LIMIT: Duration = Duration::from_secs(60);
/// Time that open transactions have when the playground stops; a person waits for it.
const DRAIN_MS: u64 = 2000;
/// A playground is small; it need not reserve as much as a production server.
const SEGMENT_BYTES: u64 = 16 << 20;
/// How long Grove may take to end before it is killed; longer than its drain.
const STOP_LIMIT: Duration = Duration::from_secs(10);
/// The line that `proxyd run` prints when it accepts clients.
const READY: &str = "ready: mysql://";

/// Grove, running.
#[derive(Debug)]
pub(crate) struct Grove {
    process: ServerProcess,
}

impl Grove {
    /// Writes the configuration, starts Grove and waits until it accepts clients.
    pub(crate) async fn start(
        program: &Path,
        directory: &Directory,
        listen: SocketAddr,
        admin: SocketAddr,
        servers: &[Server],
    ) -> Result<Self, SandboxError> {
        let (file, log) = (directory.configuration(), directory.grove_log());
        let text = configuration(listen, admin, servers);
        fs::write(&file, text).map_err(SandboxError::io("write", &file))?;
        // The ready line is looked for in this log, so an earlier one must not be there.
        fs::write(&log, "").map_err(SandboxError::io("write", &log))?;
        let arguments = vec!["run".into(), "--config".into(), file.into()];
        let process = ServerProcess::spawn(program.to_owned(), arguments, &log)?;
        let grove = Self { process };
        grove.accepts_clients(&log).await?;
        Ok(grove)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// How Grove ended, or `None` while it runs.
    pub(crate) fn exit_status(&self) -> Option<String> {
        self.process.exit_status()
    }

    /// Stops Grove in an orderly way, and kills it when that takes too long.
    pub(crate) async fn terminate(self) {
        // A paused process takes the signal only when it goes on.
        self.process.signal(Signal::CONT);
        self.process.signal(Signal::TERM);
        if !self.process.exited_within(STOP_LIMIT).await {
            tracing::warn!("Grove did not stop in time and is killed");
            self.process.signal(Signal::KILL);
            self.process.exited_within(STOP_LIMIT).await;
        }
    }

    async fn accepts_clients(&self, log: &Path) -> Result<(), SandboxError> {
        let deadline = Instant::now() + START_LIMIT;
        loop {
            // Asked before the log is read: what Grove wrote before it ended is then in the log.
            let exit = self.exit_status();
            let text = String::from_utf8_lossy(&fs::read(log).unwrap_or_default()).into_owned();
            let reason = match exit {
                Some(status) => status,
                None if text.lines().any(|line| line.starts_with(READY)) => return Ok(()),
                None if Instant::now() > deadline => format!("no client could connect after {START_LIMIT:?}"),
                None => {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    continue;
                }
            };
            return Err(SandboxError::NotStarted {
                name: "grove".to_owned(),
                detail: format!(
                    "{reason}; the end of {}:\n{}",
                    log.display(),
                    template::last_lines(&text, 20)
                ),
            });
        }
    }
}

/// The text of `proxy-config.yaml`. Everything not in it has its default.
fn configuration(listen: SocketAddr, admin: SocketAddr, servers: &[Server]) -> String {
    let mut text = format!(
        "# Written by `proxyd playground` at each start. Grove can be started again by hand with it:\n\
         # proxyd run --config proxy-config.yaml\n\
         listen:\n  address: {listen}\n\
         admin:\n  address: {admin}\n\
         backends:\n"
    );
    for server in servers {
        text.push_str(&format!(
            "  - name: {}\n    address: {}\n    user: {}\n    password: {}\n",
            server.name(),
            server.address(),
            accounts::SUPERUSER,
            accounts::SUPERUSER_PASSWORD
        ));
    }
    text.push_str(&format!(
        "users:\n  - name: {}\n    password: {}\n",
        accounts::APP_USER,
        accounts::APP_PASSWORD
    ));
    text.push_str(&format!("timeouts:\n  drain_ms: {DRAIN_MS}\n"));
    text.push_str(&format!(
        "recovery_log:\n  directory: {}\n  segment_bytes: {SEGMENT_BYTES}\n",
        super::directory::RECOVERY_LOG
    ));
    text
}
