//! Reaching one server: name resolution, socket, TLS, login, all within the connect timeout.
//!
//! Dropping a dial loses nothing but the new connection.

use crate::BackendError;
use crate::leg::MysqlLeg;
use crate::login::log_in;
use crate::stream::Socket;
use crate::tls::TlsPolicy;
use grove_config::{Backend, BackendAddress, Compression};
use grove_engine::io::{Identity, LegError};
use grove_wire::handshake::Greeting;
use rustix::net::sockopt::{set_socket_keepalive, set_tcp_keepcnt, set_tcp_keepidle, set_tcp_keepintvl};
use rustls::pki_types::ServerName;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpStream, UnixStream, lookup_host};
use tokio::time::{Instant, timeout, timeout_at};

/// An idle connection is asked for a sign of life after this long, and given up 30 s later. It only cleans up behind cut networks: whether a server
/// is well is the probe's business.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_COUNT: u32 = 3;

pub(crate) struct Dialer {
    pub name: Arc<str>,
    address: BackendAddress,
    tls: TlsPolicy,
    tls_name: ServerName<'static>,
    compression: Option<Compression>,
    limit: Duration,
}

impl Dialer {
    pub fn new(backend: &Backend, limit: Duration) -> Result<Self, BackendError> {
        let host = match &backend.address {
            BackendAddress::Tcp { host, .. } => host.as_str(),
            BackendAddress::Socket(_) => "localhost",
        };
        // The name only goes into the hello message; a host that is no DNS name is sent as none would be.
        let tls_name = ServerName::try_from(host.to_owned())
            .or_else(|_| ServerName::try_from("localhost"))
            .map_err(|_| BackendError::Tls {
                backend: backend.name.clone(),
                source: rustls::Error::General("no usable server name".into()),
            })?;
        Ok(Self {
            name: Arc::from(backend.name.as_str()),
            address: backend.address.clone(),
            tls: TlsPolicy::new(backend)?,
            tls_name,
            compression: backend.compression,
            limit,
        })
    }

    /// Opens a connection and logs in.
    pub async fn open(&self, identity: &Identity) -> Result<(MysqlLeg, Greeting), LegError> {
        let opening = async {
            let socket = self.connect().await?;
            log_in(socket, &self.tls, &self.tls_name, self.compression, identity).await
        };
        let logged_in = match timeout(self.limit, opening).await {
            Ok(result) => result.map_err(|error| self.named(error))?,
            Err(_) => return Err(LegError::Timeout(self.limit)),
        };
        let leg = MysqlLeg::new(
            Arc::clone(&self.name),
            logged_in.stream,
            logged_in.greeting.connection_id,
            logged_in.capabilities,
        );
        Ok((leg, logged_in.greeting))
    }

    /// The error with the server's name and address.
    fn named(&self, error: LegError) -> LegError {
        let place = |reason: String| format!("{} ({}): {reason}", self.name, self.address);
        match error {
            LegError::Lost(reason) => LegError::Lost(place(reason)),
            LegError::Protocol(reason) => LegError::Protocol(place(reason)),
            other => other,
        }
    }

    async fn connect(&self) -> Result<Socket, LegError> {
        let lost = |error: io::Error| LegError::Lost(error.to_string());
        match &self.address {
            BackendAddress::Socket(path) => UnixStream::connect(path).await.map(Socket::Unix).map_err(lost),
            BackendAddress::Tcp { host, port } => {
                let stream = self.connect_tcp(host, *port).await.map_err(lost)?;
                stream.set_nodelay(true).map_err(lost)?;
                keep_alive(&stream).map_err(lost)?;
                Ok(Socket::Tcp(stream))
            }
        }
    }

    /// Tries every address of a name in turn, each with its share of the time, so that one that swallows packets does not hide the next.
    async fn connect_tcp(&self, host: &str, port: u16) -> io::Result<TcpStream> {
        let deadline = Instant::now() + self.limit;
        let addresses: Vec<_> = lookup_host((host, port)).await?.collect();
        let mut last_error = io::Error::new(io::ErrorKind::NotFound, "the host name has no address");
        for (index, address) in addresses.iter().enumerate() {
            let left = u32::try_from(addresses.len() - index).unwrap_or(u32::MAX);
            let share = deadline.saturating_duration_since(Instant::now()) / left;
            match timeout_at(Instant::now() + share, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => last_error = error,
                Err(_) => last_error = io::Error::new(io::ErrorKind::TimedOut, "no answer to the connection request"),
            }
        }
        Err(last_error)
    }
}

fn keep_alive(stream: &TcpStream) -> io::Result<()> {
    set_socket_keepalive(stream, true)?;
    set_tcp_keepidle(stream, KEEPALIVE_IDLE)?;
    set_tcp_keepintvl(stream, KEEPALIVE_INTERVAL)?;
    set_tcp_keepcnt(stream, KEEPALIVE_COUNT)?;
    Ok(())
}
