//! What can be wrong with the servers' configuration when Grove starts. What goes wrong later is a `LegError`, which the engine judges.

use std::path::PathBuf;

/// A backend cannot be used as configured.
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    /// The file of trusted authorities cannot be read or holds no usable certificate.
    #[error("backend {backend}: {}: {reason}", path.display())]
    Authorities {
        /// Name of the backend.
        backend: String,
        /// The PEM file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// `verify_ca` without a file of authorities.
    #[error("backend {backend}: tls mode verify_ca needs a file of authorities")]
    NoAuthorities {
        /// Name of the backend.
        backend: String,
    },
    /// TLS itself cannot be set up.
    #[error("backend {backend}: TLS: {source}")]
    Tls {
        /// Name of the backend.
        backend: String,
        /// The cause.
        source: rustls::Error,
    },
}
