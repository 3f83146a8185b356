//! Clients on real sockets against a frontend whose servers are scripted: what a client sees, byte by byte, without a real server.

// A test that cannot go on must fail, in its helpers too.
#![allow(clippy::unwrap_used)]

mod raw;
mod scripted;
mod stage;

mod access;
mod certificates;
mod commands;
mod compression;
mod connections;
mod hashes;
mod hostile;
mod login;
mod prepared;
mod proxied;
mod refusals;
mod several;
mod shutdown;
mod socket;
mod users;
