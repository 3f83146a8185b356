//! A model of one MySQL or MariaDB server: rows with versions, row and gap locks, transactions, connections, and ways to fail.
//!
//! It is deterministic for a seed and one order of calls. Deliberately absent: sockets, authentication, every statement that is not a
//! template of [`sql`].

pub mod connection;
mod execute;
pub mod locks;
pub mod own;
#[cfg(test)]
mod own_checks;
pub mod own_run;
mod parse;
pub mod power;
mod replies;
mod scan;
pub mod server;
pub mod serving;
pub mod sql;
pub mod storage;

pub use power::Power;
pub use replies::CAPABILITIES;
pub use server::{Policy, Server};
