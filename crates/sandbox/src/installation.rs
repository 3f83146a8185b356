//! Finding the server software on this machine.
//!
//! MariaDB comes from the distribution (`scripts/install-mariadb.sh`). MySQL comes from Debian's sid suite, unpacked
//! into a private folder by `scripts/install-mysql.sh`; its programs are wrappers that run under their own C library.

use std::env;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use tokio::process::Command;

use crate::SandboxError;

/// The server software of a sandbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// MariaDB as the distribution ships it.
    MariaDb,
    /// Oracle's MySQL, 9.7 or newer.
    MySql,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::MariaDb => "mariadb",
            Self::MySql => "mysql",
        })
    }
}

impl FromStr for Kind {
    type Err = SandboxError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "mariadb" => Ok(Self::MariaDb),
            "mysql" => Ok(Self::MySql),
            other => Err(SandboxError::Refused(format!(
                "unknown server kind {other:?}: it is \"mariadb\" or \"mysql\""
            ))),
        }
    }
}

/// Server software that was found and runs.
#[derive(Clone, Debug)]
pub struct Installation {
    /// MariaDB or MySQL.
    pub kind: Kind,
    /// The version as the server says it, such as `10.11.19-MariaDB-0+deb12u1` or `9.7.4`.
    pub version: String,
    /// The server program.
    pub server: PathBuf,
    /// Where MySQL's private folder is unpacked (its `basedir`); none for MariaDB.
    pub base: Option<PathBuf>,
}

impl Installation {
    /// Finds the software of this kind, or says which script installs it.
    pub async fn find(kind: Kind) -> Result<Self, SandboxError> {
        let (server, base) = match kind {
            Kind::MariaDb => {
                let server = on_path("mariadbd").ok_or(SandboxError::NotInstalled {
                    what: "MariaDB's server (mariadbd)".to_owned(),
                    remedy: "scripts/install-mariadb.sh",
                })?;
                (server, None)
            }
            Kind::MySql => {
                let home = default_cache_directory().join("mysql");
                // The script writes `version` last: without it the folder may be half unpacked.
                if !home.join("version").exists() {
                    return Err(SandboxError::NotInstalled {
                        what: format!("MySQL's server in {}", home.display()),
                        remedy: "scripts/install-mysql.sh",
                    });
                }
                (home.join("bin/mysqld"), Some(home.join("root/usr")))
            }
        };
        let version = version_of(&server).await?;
        Ok(Self {
            kind,
            version,
            server,
            base,
        })
    }

    /// Finds the program that initialises MariaDB's data directory.
    pub(crate) fn mariadb_install_db(&self) -> Result<PathBuf, SandboxError> {
        on_path("mariadb-install-db").ok_or(SandboxError::NotInstalled {
            what: "mariadb-install-db".to_owned(),
            remedy: "scripts/install-mariadb.sh",
        })
    }
}

/// The directory for everything that is slow to make and can be made again: `$GROVE_CACHE`, else `~/.cache/grove`.
/// The scripts in `scripts/` use the same rule.
pub fn default_cache_directory() -> PathBuf {
    match env::var_os("GROVE_CACHE").filter(|value| !value.is_empty()) {
        Some(directory) => PathBuf::from(directory),
        None => PathBuf::from(env::var_os("HOME").unwrap_or_else(|| "/root".into())).join(".cache/grove"),
    }
}

/// Looks a program up on the PATH and in the folders for servers, which are not on every user's PATH.
fn on_path(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin"].map(PathBuf::from))
        .map(|directory| directory.join(program))
        .find(|candidate| candidate.is_file())
}

/// Runs `--version` and takes the word after `Ver`.
async fn version_of(server: &Path) -> Result<String, SandboxError> {
    let what = format!("{} --version", server.display());
    let output = Command::new(server)
        .args(["--no-defaults", "--version"])
        .output()
        .await
        .map_err(SandboxError::io("run", server))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let version = text.split_whitespace().skip_while(|word| *word != "Ver").nth(1);
    match version {
        Some(version) if output.status.success() => Ok(version.to_owned()),
        _ => Err(SandboxError::Program {
            what,
            detail: format!("{}: {text}{}", output.status, String::from_utf8_lossy(&output.stderr)),
        }),
    }
}
