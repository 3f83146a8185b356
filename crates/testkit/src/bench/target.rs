//! What a cell is measured on: the server itself, or a proxy in front of it.

use std::net::SocketAddr;

/// An address for clients, and the process in between if there is one.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) name: &'static str,
    pub(super) address: SocketAddr,
    /// The proxy's process; `None` for the server itself.
    pub(super) proxy: Option<u32>,
}

impl Target {
    /// The server without anything in between.
    pub(super) fn direct(address: SocketAddr) -> Self {
        Self {
            name: "direct",
            address,
            proxy: None,
        }
    }

    /// A proxy in front of the server.
    pub(super) fn proxy(name: &'static str, address: SocketAddr, pid: u32) -> Self {
        Self {
            name,
            address,
            proxy: Some(pid),
        }
    }
}
