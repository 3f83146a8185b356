//! The configuration file, validated: YAML and environment in, [`Config`] or a complete [`Report`] out.
//!
//! Invariants: a [`Config`] returned by [`Config::load`] needs no further checks before use; a [`Report`] names
//! every mistake of the file at once, each with its line, key and what would be right; a [`Secret`] never prints.
//! Deliberately absent: everything that needs a server or a socket (that is the preflight's work), and defaults
//! for `backends` and `users`, which only the operator knows.

mod config;
mod environment;
mod lines;
mod load;
mod network;
mod password_hash;
mod reader;
mod report;
mod schema;
mod secret;
mod sections;

pub use config::{
    Acknowledge, Admin, Backend, BackendAddress, BackendTls, BackendTlsMode, Compression, Config, Credential,
    FirstStart, Limits, Listen, ListenTls, ListenTlsMode, Log, LogFormat, ReadCommitted, ReadPolicy, Reads,
    RecoveryLog, Timeouts, TlsIdentity, UnequalSettings, UnsafeStatements, User, WhenFull, Writes,
};
pub use environment::Environment;
pub use network::{Network, NotANetwork, Source};
pub use password_hash::{NotAHash, PasswordHash};
pub use report::{Origin, Problem, Report};
pub use schema::KEYS;
pub use secret::Secret;
