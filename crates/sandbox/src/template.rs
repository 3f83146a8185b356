//! The initialised data directory that every server starts from.
//!
//! Initialising takes seconds and copying a tenth of one, so it is done once per kind and version and kept in the
//! cache directory. Parallel processes share it: the one that holds the lock file initialises, the others wait.
//! The work happens in a directory of its own that is renamed at the end, so an interrupted attempt leaves nothing
//! that looks complete.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use tokio::process::Command;

use crate::installation::{Installation, Kind};
use crate::settings;
use crate::{SandboxError, accounts};

/// Part of the template's name. Raise it when what a template contains changes.
const REVISION: u32 = 2;

/// Returns the template's directory, initialising it when this is the first use of this server version.
pub(crate) async fn prepare(installation: &Installation, cache: &Path) -> Result<PathBuf, SandboxError> {
    let directory = cache.join("templates");
    fs::create_dir_all(&directory).map_err(SandboxError::io("create", &directory))?;
    let name = format!("{}-{}-{REVISION}", installation.kind, installation.version);
    let template = directory.join(&name);
    if template.exists() {
        return Ok(template);
    }
    let _lock = lock(directory.join(format!("{name}.lock"))).await?;
    if template.exists() {
        return Ok(template);
    }
    tracing::info!(kind = %installation.kind, version = %installation.version, "initialising a data directory");
    let unfinished = directory.join(format!("{name}.unfinished"));
    if unfinished.exists() {
        fs::remove_dir_all(&unfinished).map_err(SandboxError::io("remove", &unfinished))?;
    }
    let sql = directory.join(format!("{name}.sql"));
    fs::write(&sql, accounts::statements(installation.kind)).map_err(SandboxError::io("write", &sql))?;
    initialise(installation, &unfinished, &sql).await?;
    // Without this file every copy makes its own server_uuid.
    let _ = fs::remove_file(unfinished.join("auto.cnf"));
    fs::rename(&unfinished, &template).map_err(SandboxError::io("rename", &unfinished))?;
    Ok(template)
}

/// Copies a template; on file systems with reflinks this takes no space.
pub(crate) async fn copy(template: &Path, to: &Path) -> Result<(), SandboxError> {
    let mut command = Command::new("cp");
    command.args(["-a", "--reflink=auto", "--"]).arg(template).arg(to);
    succeed(command, format!("copying {} to {}", template.display(), to.display())).await
}

/// Takes an exclusive lock on a file, waiting for other processes on a thread of its own.
async fn lock(path: PathBuf) -> Result<File, SandboxError> {
    let file = File::create(&path).map_err(SandboxError::io("create", &path))?;
    let waiting = tokio::task::spawn_blocking(move || file.lock().map(|()| file));
    match waiting.await {
        Ok(locked) => locked.map_err(SandboxError::io("lock", &path)),
        Err(_) => Err(SandboxError::Refused(format!(
            "waiting for {} was abandoned",
            path.display()
        ))),
    }
}

/// Runs the server's own way of initialising, with the accounts created in the same go.
async fn initialise(installation: &Installation, data: &Path, sql: &Path) -> Result<(), SandboxError> {
    let (program, own_options) = match installation.kind {
        Kind::MariaDb => (
            installation.mariadb_install_db()?,
            vec![
                "--auth-root-authentication-method=normal".into(),
                "--skip-test-db".into(),
                settings::option("--extra-file", sql),
            ],
        ),
        Kind::MySql => (
            installation.server.clone(),
            vec!["--initialize-insecure".into(), settings::option("--init-file", sql)],
        ),
    };
    let mut command = Command::new(program);
    command
        .args(settings::basic(installation))
        .args(own_options)
        .arg(settings::option("--datadir", data));
    command.args(
        settings::running(installation.kind)
            .iter()
            .filter(|option| option.starts_with("--innodb")),
    );
    succeed(
        command,
        format!("initialising {} {}", installation.kind, installation.version),
    )
    .await
}

/// Runs a program to its end and turns a failure into an error that shows the end of its output.
async fn succeed(mut command: Command, what: String) -> Result<(), SandboxError> {
    let output = match command.kill_on_drop(true).output().await {
        Ok(output) => output,
        Err(source) => return Err(SandboxError::Io { what, source }),
    };
    if output.status.success() {
        return Ok(());
    }
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Err(SandboxError::Program {
        what,
        detail: format!("{}: {}", output.status, last_lines(&text, 15)),
    })
}

/// The last lines of a text, for error messages.
pub(crate) fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}
