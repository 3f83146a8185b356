//! The listeners, one on the network and one on a Unix socket: accepts clients, bounds their number, and lets them end at a shutdown.

use crate::client;
use crate::error::FrontendError;
use crate::peer::Peer;
use crate::refusal;
use crate::shared::Shared;
use crate::socket_listener::SocketListener;
use crate::stream::Socket;
use grove_config::Config;
use grove_engine::Group;
use grove_engine::io::World;
use grove_sql::Analyser;
use grove_wire::CapabilityFlags;
use grove_wire::packet::encode_frames;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

/// Pause after an accept that failed, usually for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How long cut sessions may take to interrupt their statements and roll back.
const CUT_GRACE: Duration = Duration::from_secs(5);

/// The clients' side of Grove, bound to its address.
pub struct Frontend<W: World> {
    listener: TcpListener,
    address: SocketAddr,
    socket: Option<SocketListener>,
    shared: Arc<Shared<W>>,
    max_connections: usize,
    drain: Duration,
}

/// How the sessions ended that were open when [`Frontend::serve`] was told to stop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DrainReport {
    /// Sessions that were idle, or whose transaction ended in time.
    pub ended: usize,
    /// Sessions that were cut in the middle of a transaction or a statement.
    pub cut: usize,
}

impl<W: World> Frontend<W> {
    /// Reads or makes the TLS identity, makes the RSA key, and binds the listeners.
    pub async fn bind(config: &Config, group: Arc<Group<W>>, analyser: Arc<Analyser>) -> Result<Self, FrontendError> {
        let shared = Shared::new(config, group, analyser)?;
        let address = config.listen.address;
        let listen_error = |source| FrontendError::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(listen_error)?;
        let address = listener.local_addr().map_err(listen_error)?;
        let socket = match &config.listen.socket {
            Some(path) => Some(SocketListener::bind(path).await?),
            None => None,
        };
        Ok(Self {
            listener,
            address,
            socket,
            shared: Arc::new(shared),
            max_connections: config.listen.max_connections,
            drain: config.timeouts.drain,
        })
    }

    /// Where clients connect; the port is known even if the configuration says 0.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Accepts clients until `stop`, then lets idle sessions close and open transactions end within the configured time, and cuts the
    /// rest. Dropping the future cuts every session at once.
    pub async fn serve(self, stop: CancellationToken) -> DrainReport {
        let mut clients = JoinSet::new();
        loop {
            // Dropping an accept loses no connection, and a join set keeps what has ended.
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(ended) = clients.join_next() => note_panic(ended),
                accepted = self.accept() => match accepted {
                    Ok((socket, peer)) => self.admit(socket, peer, &mut clients),
                    Err(error) => {
                        tracing::warn!(%error, "cannot accept a client");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        }
        drop((self.listener, self.socket));
        self.shared.stop.cancel();
        drain(clients, self.drain, &self.shared.cut).await
    }

    /// The next client of either listener. Dropping the future loses no connection.
    async fn accept(&self) -> io::Result<(Socket, Peer)> {
        let local = async {
            match &self.socket {
                Some(socket) => socket.accept().await,
                None => std::future::pending().await,
            }
        };
        // Not biased: neither listener can starve the other.
        tokio::select! {
            accepted = self.listener.accept() => {
                let (stream, address) = accepted?;
                // A client that is gone already is noticed by its task.
                let _ = stream.set_nodelay(true);
                Ok((Socket::Left(stream), Peer::at(address.ip())))
            }
            accepted = local => Ok((Socket::Right(accepted?), Peer::Socket)),
        }
    }

    fn admit(&self, socket: Socket, peer: Peer, clients: &mut JoinSet<()>) {
        self.shared.metrics().connections.add(1);
        if clients.len() >= self.max_connections {
            refuse(&socket);
            return;
        }
        clients.spawn(client::serve(Arc::clone(&self.shared), socket, peer));
    }
}

/// One more client than allowed. The packet fits into any socket's empty buffer, so there is nothing to wait for.
fn refuse(socket: &Socket) {
    let mut frame = bytes::BytesMut::new();
    let payload = refusal::too_many_connections().encode(CapabilityFlags(0));
    encode_frames(&payload, &mut 0, &mut frame);
    let written = match socket {
        Socket::Left(stream) => stream.try_write(&frame),
        Socket::Right(stream) => stream.try_write(&frame),
    };
    if let Err(error) = written {
        tracing::debug!(%error, "a client is gone before it was refused");
    }
}

/// A client's task never fails but by a mistake of ours, which must not stay silent.
fn note_panic(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a client's task failed");
    }
}

async fn drain(mut clients: JoinSet<()>, limit: Duration, cut: &CancellationToken) -> DrainReport {
    let open = clients.len();
    let all_ended = async { while clients.join_next().await.is_some() {} };
    if tokio::time::timeout(limit, all_ended).await.is_ok() {
        return DrainReport { ended: open, cut: 0 };
    }
    let left = clients.len();
    cut.cancel();
    let all_cut = async { while clients.join_next().await.is_some() {} };
    if tokio::time::timeout(CUT_GRACE, all_cut).await.is_err() {
        tracing::warn!(sessions = clients.len(), "sessions did not end when they were cut");
        clients.shutdown().await;
    }
    DrainReport {
        ended: open - left,
        cut: left,
    }
}
