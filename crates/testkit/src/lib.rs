//! Real servers, Grove in front of them, clients and scripted peers: what tests are built from.
//!
//! A test needs three lines: a [`Cluster`] (private servers, a `proxyd` process, their addresses), a client, and at the end
//! [`equality::assert_servers_equal`]. The divergence hunt is in [`hunt`], a load with known totals that survives the loss of Grove
//! in [`bank`], the side-by-side benchmark in [`bench`]. Every cluster has its own temporary directory, ports and
//! processes, and takes them along when it is dropped. A server or a program that is missing is an error, never a skip.
//! Development only: nothing in production code depends on this crate.

pub mod admin;
pub mod bank;
pub mod bench;
pub mod equality;
pub mod hunt;
pub mod raw_client;

mod cluster;
mod directory;
mod grove;
mod network;
mod port;
mod random;
mod trace;
mod turn;

pub use cluster::{Cluster, ClusterOptions, Weight, options_of};
pub use directory::TestDirectory;
pub use grove::GroveProcess;
pub use grove_sandbox::{Kind, Sandbox, SandboxOptions, Server, accounts};
pub use network::Network;
pub use random::Random;
pub use raw_client::RawClient;
