//! `playground.json`: everything that a program needs to use a playground.
//!
//! Field names are a promise to scripts and tests: a field may be added, none is renamed. The file is replaced as a
//! whole, so a reader sees the old content or the new one.

use std::fs;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::directory::Directory;
use crate::server::Server;
use crate::{Kind, SandboxError, accounts};

/// The content of `playground.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Description {
    /// The process id of Grove.
    pub pid: u32,
    /// Where clients connect to Grove.
    pub host: String,
    /// The port for clients of Grove.
    pub port: u16,
    /// Host and port of the operators' HTTP API.
    pub admin: String,
    /// The application user; it has all rights.
    pub user: String,
    /// The application user's password.
    pub password: String,
    /// The database that exists from the start.
    pub database: String,
    /// The kind of the servers.
    pub server: Kind,
    /// The version of the servers.
    pub version: String,
    /// The servers.
    pub backends: Vec<BackendDescription>,
}

/// One server of a playground.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackendDescription {
    /// Its name in Grove's configuration and API.
    pub name: String,
    /// Where it listens.
    pub host: String,
    /// Its TCP port; it stays the same over restarts.
    pub port: u16,
    /// Its Unix socket.
    pub socket: PathBuf,
    /// Its process id, or the one it had when it was last started.
    pub pid: u32,
    /// The user with every right.
    pub superuser: String,
    /// That user's password.
    pub password: String,
}

impl BackendDescription {
    /// Describes a server that was just started.
    pub(crate) fn of(server: &Server) -> Self {
        Self {
            name: server.name().to_owned(),
            host: server.address().ip().to_string(),
            port: server.port(),
            socket: server.socket(),
            // A server that was killed between its start and this line has no id any more, and 0 is no process.
            pid: server.pid().unwrap_or(0),
            superuser: accounts::SUPERUSER.to_owned(),
            password: accounts::SUPERUSER_PASSWORD.to_owned(),
        }
    }
}

impl Description {
    pub(crate) fn write(&self, directory: &Directory) -> Result<(), SandboxError> {
        let file = directory.description();
        let unfinished = file.with_extension("json.unfinished");
        let mut text = serde_json::to_string_pretty(self).map_err(|error| SandboxError::Io {
            what: format!("write {}", file.display()),
            source: error.into(),
        })?;
        text.push('\n');
        fs::write(&unfinished, text).map_err(SandboxError::io("write", &unfinished))?;
        fs::rename(&unfinished, &file).map_err(SandboxError::io("write", &file))
    }
}
