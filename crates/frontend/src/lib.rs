//! Listener, TLS, client authentication, command loop: the side of Grove that clients see.
//!
//! One task per client owns everything of that client: its socket, its buffers, its prepared statements, its engine session. Tasks share
//! only the registry of clients, for KILL. Invariants: every client gets a challenge of its own; nothing is read from a client beyond the
//! command at hand and what came with it in one read; every buffer and wait is bounded; bytes of results are forwarded, never decoded.
//! Deliberately absent: servers' connections, the order of writes and everything else that `grove-engine` decides; what a statement
//! means is `grove-sql`'s business.

mod balancer;
mod client;
mod error;
mod frontend;
mod link;
mod login;
mod peer;
mod refusal;
mod registry;
mod reply;
mod shared;
mod socket_listener;
mod spool;
mod stream;
mod tls;

pub use error::FrontendError;
pub use frontend::{DrainReport, Frontend};
