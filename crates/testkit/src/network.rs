//! A network in between that can be cut: a forwarder of TCP connections which then passes nothing on, in neither direction, and keeps what comes.
//!
//! What is sent into a cut arrives when it is healed, as with a cable that is plugged in again before anybody gives up. A connection that one
//! side has closed meanwhile is closed on the other then. Connections that are opened during the cut are accepted here and reach nobody, like a
//! handshake whose answer does not come.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// A way to one server. Dropping it closes all connections.
#[derive(Debug)]
pub struct Network {
    address: SocketAddr,
    is_cut: Arc<watch::Sender<bool>>,
    task: JoinHandle<()>,
}

impl Network {
    /// Listens on a free port of 127.0.0.1 and forwards to `server`.
    pub async fn before(server: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let is_cut = Arc::new(watch::Sender::new(false));
        let task = tokio::spawn(accept(listener, server, Arc::clone(&is_cut)));
        Ok(Self { address, is_cut, task })
    }

    /// Where the server is reached.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on nothing passes.
    pub fn cut(&self) {
        self.is_cut.send_replace(true);
    }

    /// Everything passes again, and what was held up first.
    pub fn heal(&self) {
        self.is_cut.send_replace(false);
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, server: SocketAddr, is_cut: Arc<watch::Sender<bool>>) {
    // They end with this task.
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        connections.spawn(connect(client, server, is_cut.subscribe()));
        while connections.try_join_next().is_some() {}
    }
}

async fn connect(client: TcpStream, server: SocketAddr, mut is_cut: watch::Receiver<bool>) {
    whole(&mut is_cut).await;
    let Ok(server) = TcpStream::connect(server).await else {
        return;
    };
    // Both ends set it on theirs; small packets must not wait for acknowledgements here either.
    if client.set_nodelay(true).and(server.set_nodelay(true)).is_err() {
        return;
    }
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    // One direction that ends closes both: neither side of this protocol closes only its half.
    tokio::select! {
        () = forward(&mut from_client, &mut to_server, is_cut.clone()) => {}
        () = forward(&mut from_server, &mut to_client, is_cut.clone()) => {}
    }
}

async fn forward(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    mut is_cut: watch::Receiver<bool>,
) {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let read = from.read(&mut buffer).await;
        // Also the news that one side is gone.
        whole(&mut is_cut).await;
        match read {
            Ok(len) if len > 0 && to.write_all(&buffer[..len]).await.is_ok() => {}
            _ => return,
        }
    }
}

/// Waits until nothing is cut.
async fn whole(is_cut: &mut watch::Receiver<bool>) {
    // The sender outlives every connection.
    let _ = is_cut.wait_for(|is_cut| !is_cut).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::time::timeout;

    #[tokio::test]
    async fn what_is_sent_into_a_cut_arrives_when_it_is_healed() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let network = Network::before(listener.local_addr().unwrap()).await.unwrap();
        let mut client = TcpStream::connect(network.address()).await.unwrap();
        let (mut server, _) = listener.accept().await.unwrap();
        client.write_all(b"one").await.unwrap();
        let mut buffer = [0; 3];
        server.read_exact(&mut buffer).await.unwrap();
        network.cut();
        client.write_all(b"two").await.unwrap();
        let short = Duration::from_millis(100);
        assert!(timeout(short, server.read_exact(&mut buffer)).await.is_err());
        network.heal();
        server.read_exact(&mut buffer).await.unwrap();
        assert_eq!(&buffer, b"two");
        drop(client);
        assert_eq!(server.read(&mut buffer).await.unwrap(), 0);
    }
}
