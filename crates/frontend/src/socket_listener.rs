//! The Unix socket that clients of the same machine connect to.
//!
//! Invariants: a file that a dead process left behind is replaced, the socket of a live one never is; the file is removed before the
//! socket stops to listen, so that it cannot be a successor's. Who may connect is decided by the rights of the directory: the socket itself
//! is open to everybody, as the servers' own sockets are, because clients still have to log in.

use crate::error::FrontendError;
use std::fs::{self, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use tokio::net::{UnixListener, UnixStream};

/// Everybody may write, which is what connecting takes.
const RIGHTS: u32 = 0o777;

/// The listening socket and its file.
pub(crate) struct SocketListener {
    listener: UnixListener,
    path: PathBuf,
}

impl SocketListener {
    /// Listens there, if nobody else does.
    pub async fn bind(path: &Path) -> Result<Self, FrontendError> {
        make_way(path).await?;
        let error = |source| cannot_listen(path, source);
        let listener = UnixListener::bind(path).map_err(error)?;
        // From here on a failure removes the file again.
        let listening = Self {
            listener,
            path: path.to_owned(),
        };
        fs::set_permissions(path, Permissions::from_mode(RIGHTS)).map_err(error)?;
        Ok(listening)
    }

    /// The next client. Dropping the future loses no connection.
    pub async fn accept(&self) -> io::Result<UnixStream> {
        Ok(self.listener.accept().await?.0)
    }
}

impl Drop for SocketListener {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(%error, path = %self.path.display(), "cannot remove the socket");
        }
    }
}

/// Removes what a dead process has left at the path.
async fn make_way(path: &Path) -> Result<(), FrontendError> {
    let kind = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata.file_type(),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(cannot_listen(path, error)),
    };
    if !kind.is_socket() {
        return Err(FrontendError::NoSocket { path: path.to_owned() });
    }
    match UnixStream::connect(path).await {
        // Nobody listens: its process is dead.
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
            tracing::info!(path = %path.display(), "the socket of a process that has ended is replaced");
            fs::remove_file(path).map_err(|error| cannot_listen(path, error))
        }
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Err(cannot_listen(path, error)),
        // Also when its queue is full.
        _ => Err(FrontendError::SocketInUse { path: path.to_owned() }),
    }
}

fn cannot_listen(path: &Path, source: io::Error) -> FrontendError {
    FrontendError::ListenSocket {
        path: path.to_owned(),
        source,
    }
}
