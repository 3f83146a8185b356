//! A `proxyd` process that dies with the test.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

use crate::directory::tail;

/// How long Grove may take until it accepts connections.
const READY_LIMIT: Duration = Duration::from_secs(60);

/// A running `proxyd run`. Dropping it kills the process.
#[derive(Debug)]
pub struct GroveProcess {
    child: Child,
    log: PathBuf,
    /// The port that clients connect to.
    pub port: u16,
}

impl GroveProcess {
    /// Starts `proxyd run --config FILE` and returns when it accepts connections. Its output goes to files in `directory`.
    pub async fn start(binary: &Path, config: &Path, directory: &Path) -> anyhow::Result<Self> {
        let (output, log) = (directory.join("grove.out"), directory.join("grove.log"));
        // setpriv makes the kernel kill Grove when the test process dies without dropping anything.
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--"])
            .arg(binary)
            .args(["run", "--config"])
            .arg(config)
            .stdin(Stdio::null())
            .stdout(File::create(&output).context("create grove.out")?)
            .stderr(
                File::options()
                    .create(true)
                    .append(true)
                    .open(&log)
                    .context("create grove.log")?,
            )
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("start {} (with setpriv of util-linux)", binary.display()))?;
        let mut process = Self { child, log, port: 0 };
        process.port = process.wait_until_ready(&output).await?;
        Ok(process)
    }

    async fn wait_until_ready(&mut self, output: &Path) -> anyhow::Result<u16> {
        let deadline = Instant::now() + READY_LIMIT;
        loop {
            let text = fs::read_to_string(output).unwrap_or_default();
            if let Some(port) = ready_port(&text) {
                return Ok(port);
            }
            if let Some(status) = self.child.try_wait().context("ask for Grove's exit status")? {
                bail!("Grove ended with {status}:\n{text}\n{}", self.log_tail(40));
            }
            if Instant::now() > deadline {
                bail!(
                    "Grove is not ready after {READY_LIMIT:?}:\n{text}\n{}",
                    self.log_tail(40)
                );
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// The process id.
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// The last lines of its log.
    pub fn log_tail(&self, lines: usize) -> String {
        tail(&self.log, lines)
    }

    /// How it ended, if it did.
    pub fn exit_status(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Asks it to stop with SIGTERM and waits for its end.
    pub async fn terminate(mut self) -> anyhow::Result<ExitStatus> {
        self.signal(Signal::TERM);
        let limit = Duration::from_secs(30);
        match tokio::time::timeout(limit, self.child.wait()).await {
            Ok(status) => status.context("wait for Grove"),
            Err(_) => bail!("Grove did not stop within {limit:?} of SIGTERM"),
        }
    }

    /// Kills it with SIGKILL and returns when it is gone, and with it its lock on the recovery log.
    pub async fn kill(mut self) -> anyhow::Result<()> {
        self.child.kill().await.context("kill Grove")
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = self
            .pid()
            .and_then(|pid| i32::try_from(pid).ok())
            .and_then(Pid::from_raw);
        if let Some(pid) = pid {
            let _ = kill_process(pid, signal);
        }
    }
}

/// The port in a line such as `ready: mysql://127.0.0.1:3307`.
fn ready_port(output: &str) -> Option<u16> {
    // A line that is not complete yet could end within the number.
    let complete = &output[..output.rfind('\n')?];
    let address = complete.lines().find_map(|line| line.strip_prefix("ready: mysql://"))?;
    let address = address.split(['/', ' ']).next()?;
    address.rsplit(':').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::ready_port;

    #[test]
    fn the_port_is_read_from_a_complete_ready_line_only() {
        assert_eq!(ready_port("x\nready: mysql://127.0.0.1:3307\n"), Some(3307));
        assert_eq!(
            ready_port("ready: mysql://app@[::1]:3307/ (admin: http://...)\n"),
            Some(3307)
        );
        assert_eq!(ready_port("ready: mysql://127.0.0.1:33"), None);
    }
}
