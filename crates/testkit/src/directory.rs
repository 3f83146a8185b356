//! A temporary directory with a short path: socket paths must fit into 107 bytes.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::Context;

/// Removed when dropped, except after a panic or when asked for: then the logs stay and only the servers' data goes.
#[derive(Debug)]
pub struct TestDirectory {
    path: PathBuf,
    keeps_logs: bool,
}

impl TestDirectory {
    /// Creates a directory that no other test has.
    pub fn create() -> anyhow::Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let path = std::env::temp_dir().join(format!("grove-{}-{number}", std::process::id()));
            match fs::create_dir(&path) {
                Ok(()) => {
                    return Ok(Self {
                        path,
                        keeps_logs: false,
                    });
                }
                // Left behind by an earlier process with the same id.
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => continue,
                Err(error) => return Err(error).with_context(|| format!("create {}", path.display())),
            }
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Lets the logs stay.
    pub(crate) fn keep_logs(&mut self) {
        self.keeps_logs = true;
    }

    fn remove_data_only(&self) {
        let Ok(entries) = fs::read_dir(&self.path) else { return };
        for entry in entries.flatten() {
            for part in ["data", "tmp"] {
                let _ = fs::remove_dir_all(entry.path().join(part));
            }
        }
    }
}

impl Drop for TestDirectory {
    fn drop(&mut self) {
        if std::thread::panicking() || self.keeps_logs {
            self.remove_data_only();
            eprintln!("the logs are in {}", self.path.display());
        } else {
            // A server that was killed a moment ago may still write; what is left then is a few empty folders.
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

/// The last lines of a file, for failure messages.
pub(crate) fn tail(path: &Path, lines: usize) -> String {
    let text = String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned();
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}
