//! Dialing, authenticating to and talking with real MySQL and MariaDB servers: the production side of the engine's `Servers` and `Leg`.
//!
//! A client's leg goes: `dialer` (TCP or Unix socket, TLS), `login` (greeting, capabilities, plugins, compression), `leg` (commands and replies). Grove's
//! own questions (probe, who blocks whom, KILL) go over `control` connections, which are legs too, so that there is one way to reach a server.
//! Invariants: rows of a client's result are never decoded or copied; every dial, login and control question is bounded in time, every buffer in
//! length; nothing here panics on what a server sends. Deliberately absent: pooling of clients' legs, retries, any decision about a server's health.

#![forbid(unsafe_code)]

mod auth;
mod capabilities;
mod channel;
mod control;
mod dialer;
mod error;
mod examine;
mod facts;
mod framer;
mod input;
mod leg;
mod locks;
mod login;
mod numbers;
mod own;
mod phase;
mod servers;
mod stream;
mod tls;

pub use error::BackendError;
pub use leg::MysqlLeg;
pub use servers::MysqlServers;
