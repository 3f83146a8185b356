//! Private MySQL and MariaDB servers on loopback, for the playground and tests.
//!
//! One data directory per kind and version is initialised once and kept as a template in a cache directory; every
//! server gets a copy of it, so three servers start in about a second. All servers of one [`Sandbox`] have the same
//! settings and the same two accounts (see [`accounts`]); they know nothing of each other and do no replication.
//!
//! Invariants: a server listens on 127.0.0.1 and its own socket only; it dies with the process that started it, even
//! when that process gets SIGKILL; two sandboxes, also in different processes, never share a port or a data directory.
//! Deliberately absent: installing servers (the scripts in `scripts/` do that) and speaking SQL.

pub mod accounts;
mod error;
mod installation;
pub mod playground;
mod port;
mod process;
mod server;
mod settings;
mod template;

pub use error::SandboxError;
pub use installation::{Installation, Kind, default_cache_directory};
pub use server::{Sandbox, SandboxOptions, Server};
