//! What can go wrong on the clients' side: at start, for the operator; on a link, for one client.

use grove_wire::{ErrPacket, WireError};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Why the frontend cannot start.
#[derive(Debug, thiserror::Error)]
pub enum FrontendError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// The configured address.
        address: SocketAddr,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The Unix socket cannot be listened on.
    #[error("cannot listen on {path}")]
    ListenSocket {
        /// The configured path.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// Somebody listens on the Unix socket already.
    #[error("cannot listen on {path}: another process does, which may be another Grove")]
    SocketInUse {
        /// The configured path.
        path: PathBuf,
    },
    /// What is at the path of the Unix socket is not Grove's to replace.
    #[error("cannot listen on {path}: there is a file that is no socket")]
    NoSocket {
        /// The configured path.
        path: PathBuf,
    },
    /// A certificate or key file is unusable.
    #[error("cannot use {file}: {reason}")]
    TlsFile {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The self-signed certificate, the RSA key or the random source failed.
    #[error("cannot make {0}")]
    Cryptography(&'static str),
}

/// Why a client's connection ends.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LinkError {
    /// The client is gone, or the connection broke.
    #[error("client is gone: {0}")]
    Gone(String),
    /// The client sent bytes that break the protocol.
    #[error("client broke the protocol: {0}")]
    Protocol(#[from] WireError),
    /// The client sent nothing, or took nothing, for too long.
    #[error("client was silent for {0:?}")]
    Silent(Duration),
    /// The connection was killed, or cut by a shutdown.
    #[error("connection was cut")]
    Cut,
    /// The client is told why before the connection ends.
    #[error("refused: {} {}", .0.code, String::from_utf8_lossy(&.0.message))]
    Refused(ErrPacket),
    /// The session cannot go on, and there is no packet that says so.
    #[error("session cannot go on: {0}")]
    Session(String),
}

impl From<std::io::Error> for LinkError {
    /// Compression reads the client's bytes below everything else; what breaks the protocol there comes as an error of the stream.
    fn from(error: std::io::Error) -> Self {
        match error.get_ref().and_then(|inner| inner.downcast_ref::<WireError>()) {
            Some(broken) => Self::Protocol(broken.clone()),
            None => Self::Gone(error.to_string()),
        }
    }
}
