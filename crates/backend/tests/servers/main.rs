//! The backend crate against real MySQL and MariaDB servers. Every test starts a server of its own; a missing server is a failure.

// Helpers of tests may unwrap as tests do; clippy's exception covers only the test functions themselves.
#![allow(clippy::unwrap_used)]

mod compression;
mod control;
mod lab;
mod locks;
mod login;
mod tls;
mod traffic;
