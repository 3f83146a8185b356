//! Grove end to end: `proxyd` in front of real servers that each test starts itself.
//!
//! One module per topic. Most tests of the protocol and of session state run the same body against a fresh single server and through
//! Grove, and compare what it noted: see [`stage`]. A missing server or driver is a failure, never a skip; a test whose course depends
//! on chance prints its seed.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod access;
mod attributes;
mod bulk;
mod bytes;
mod commands;
mod compressed;
mod cursor;
mod cut;
mod drivers;
mod foreign_keys;
mod generated;
mod hunt;
mod kill;
mod local_file;
mod login;
mod metadata;
mod operator;
mod options;
mod own_values;
mod preflight;
mod prepared;
mod queue;
mod recovery_log;
mod rejoin;
mod session_state;
mod stage;
mod survival;
mod transactions;
