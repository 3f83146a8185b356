//! What can go wrong with the operators' API.

use std::io;
use std::net::SocketAddr;

/// Why the API is not there.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address} (admin.address): {source}")]
    Bind {
        /// The configured address.
        address: SocketAddr,
        /// The system's error.
        source: io::Error,
    },
}
