//! One server process that cannot outlive its owner.
//!
//! Three things see to that: dropping [`ServerProcess`] kills it; `setpriv --pdeathsig KILL` makes the kernel kill it
//! when the owner dies without dropping anything; and a keeper thread starts it and waits for it. The thread matters,
//! because the kernel counts the death of the *thread* that started a child: a thread of a runtime's pool would end
//! long before the test or the playground does.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::watch;

use crate::SandboxError;

/// A started process. Its exit is known as soon as it happens.
#[derive(Debug)]
pub(crate) struct ServerProcess {
    pid: u32,
    /// Holds the exit status as text once the process was reaped.
    exit: watch::Receiver<Option<String>>,
}

impl ServerProcess {
    /// Starts the program with its output appended to `log`.
    pub(crate) fn spawn(program: PathBuf, arguments: Vec<OsString>, log: &Path) -> Result<Self, SandboxError> {
        let output = OpenOptions::new()
            .create(true)
            .append(true)
            .open(log)
            .map_err(SandboxError::io("open", log))?;
        let errors = output.try_clone().map_err(SandboxError::io("open", log))?;
        let (started_sender, started) = mpsc::sync_channel(1);
        let (exit_sender, exit) = watch::channel(None);
        let keeper = move || {
            let mut command = Command::new("setpriv");
            command
                .args(["--pdeathsig", "KILL", "--"])
                .arg(&program)
                .args(&arguments)
                .stdin(Stdio::null())
                .stdout(output)
                .stderr(errors);
            // A Ctrl-C on the terminal is for the owner, who then stops the servers in an orderly way.
            std::os::unix::process::CommandExt::process_group(&mut command, 0);
            match command.spawn() {
                Ok(mut child) => {
                    // A receiver that is gone means that the starter was dropped; the exit is then nobody's business.
                    let _ = started_sender.send(Ok(child.id()));
                    let status = child.wait();
                    let text = status.map_or_else(|error| error.to_string(), |status| status.to_string());
                    exit_sender.send_replace(Some(text));
                }
                Err(source) => {
                    let _ = started_sender.send(Err(SandboxError::Io {
                        what: "run setpriv (package util-linux)".to_owned(),
                        source,
                    }));
                }
            }
        };
        thread::Builder::new()
            .name("server-keeper".to_owned())
            .spawn(keeper)
            .map_err(SandboxError::io("start a thread for", log))?;
        let pid = started
            .recv()
            .unwrap_or_else(|_| Err(SandboxError::Refused("the keeper thread ended early".to_owned())))?;
        Ok(Self { pid, exit })
    }

    /// The process id.
    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// How the process ended, or `None` while it runs.
    pub(crate) fn exit_status(&self) -> Option<String> {
        self.exit.borrow().clone()
    }

    /// Sends a signal; a process that is gone already is no error.
    pub(crate) fn signal(&self, signal: Signal) {
        // Between the reaping and this call the id could belong to another process; the window is that of two
        // instructions and ids are handed out in a circle, so asking first is enough.
        if self.exit_status().is_none()
            && let Some(pid) = i32::try_from(self.pid).ok().and_then(Pid::from_raw)
        {
            let _ = kill_process(pid, signal);
        }
    }

    /// Waits until the process was reaped; false when it did not happen in time.
    pub(crate) async fn exited_within(&self, limit: Duration) -> bool {
        let mut exit = self.exit.clone();
        tokio::time::timeout(limit, exit.wait_for(Option::is_some))
            .await
            .is_ok()
    }
}

impl Drop for ServerProcess {
    /// Kills the process and waits until the keeper thread has reaped it, which takes milliseconds, so that nothing is
    /// left when the owner itself ends right after this, not even a zombie.
    fn drop(&mut self) {
        const LOOKS: u32 = 1000;
        // SIGKILL also ends a stopped process.
        self.signal(Signal::KILL);
        for _ in 0..LOOKS {
            if self.exit_status().is_some() {
                return;
            }
            thread::sleep(Duration::from_millis(1));
        }
    }
}
