//! The directory of a playground: who owns it, and where things are in it.
//!
//! A locked file says that a playground runs here, and its existence says that the directory is a playground's, whose
//! servers' data and recovery log may be removed. Directories of these names that no playground made are never touched.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use crate::SandboxError;

/// Grove's recovery log, inside the playground's directory.
pub(crate) const RECOVERY_LOG: &str = "recovery-log";

/// A directory that belongs to this process.
#[derive(Debug)]
pub(crate) struct Directory {
    path: PathBuf,
    /// Held for its lock; the kernel releases it with the process.
    _lock: File,
}

impl Directory {
    /// Makes the directory this process's own and removes what an earlier playground left in it.
    pub(crate) fn take(path: &Path) -> Result<Self, SandboxError> {
        fs::create_dir_all(path).map_err(SandboxError::io("create", path))?;
        let path = path.canonicalize().map_err(SandboxError::io("resolve", path))?;
        let lock_file = path.join("playground.lock");
        let data = data(&path)?;
        if let Some(foreign) = data.first()
            && !lock_file.exists()
        {
            return Err(SandboxError::Refused(format!(
                "{} exists, but {} holds no playground: choose another directory",
                foreign.display(),
                path.display()
            )));
        }
        let lock = File::create(&lock_file).map_err(SandboxError::io("create", &lock_file))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(SandboxError::Refused(format!(
                    "a playground runs in {} already: stop it, or choose another directory with --dir",
                    path.display()
                )));
            }
            Err(TryLockError::Error(source)) => return Err(SandboxError::io("lock", &lock_file)(source)),
        }
        let directory = Self { path, _lock: lock };
        directory.forget();
        for old in data {
            fs::remove_dir_all(&old).map_err(SandboxError::io("remove", &old))?;
        }
        Ok(directory)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn description(&self) -> PathBuf {
        self.path.join("playground.json")
    }

    pub(crate) fn socket(&self) -> PathBuf {
        socket(&self.path)
    }

    pub(crate) fn configuration(&self) -> PathBuf {
        self.path.join("proxy-config.yaml")
    }

    pub(crate) fn grove_log(&self) -> PathBuf {
        self.path.join("grove.log")
    }

    /// Removes what others take as the sign of a playground that runs.
    pub(crate) fn forget(&self) {
        for file in [self.description(), self.socket()] {
            let _ = fs::remove_file(file);
        }
    }
}

/// The socket of the playground in `directory`.
pub(crate) fn socket(directory: &Path) -> PathBuf {
    directory.join("playground.sock")
}

/// The directories of servers, `db` and a number, and that of the recovery log, which belongs to their data.
fn data(path: &Path) -> Result<Vec<PathBuf>, SandboxError> {
    let mut found = Vec::new();
    for entry in fs::read_dir(path).map_err(SandboxError::io("read", path))? {
        let entry = entry.map_err(SandboxError::io("read", path))?;
        let name = entry.file_name();
        let is_server = name
            .to_str()
            .and_then(|name| name.strip_prefix("db"))
            .is_some_and(|number| number.parse::<usize>().is_ok());
        if is_server || name == RECOVERY_LOG {
            found.push(entry.path());
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn empty(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("grove-directory-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        path
    }

    #[test]
    fn a_directory_has_one_playground_at_a_time_and_starts_without_old_data() {
        let path = empty("one");
        let first = Directory::take(&path).unwrap();
        fs::create_dir(path.join("db1")).unwrap();
        fs::write(path.join("notes.txt"), "mine").unwrap();
        let second = Directory::take(&path).unwrap_err().to_string();
        assert!(second.contains("a playground runs in"), "{second}");
        assert!(path.join("db1").exists());
        drop(first);
        let _third = Directory::take(&path).unwrap();
        assert!(!path.join("db1").exists());
        assert!(path.join("notes.txt").exists());
        fs::remove_dir_all(&path).unwrap();
    }

    #[test]
    fn data_that_no_playground_made_is_left_alone() {
        let path = empty("foreign");
        fs::create_dir_all(path.join("db7")).unwrap();
        let refused = Directory::take(&path).unwrap_err().to_string();
        assert!(refused.contains("holds no playground"), "{refused}");
        assert!(path.join("db7").exists() && !path.join("playground.lock").exists());
        fs::remove_dir_all(&path).unwrap();
    }
}
