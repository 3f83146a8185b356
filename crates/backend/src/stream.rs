//! The byte stream to a server: TCP or Unix socket, plain or under TLS, and compression over either.
//!
//! An enum and not a trait object, so that the data path is called directly. Deliberately absent: buffering, but for what compression needs.

use grove_compression::{Algorithm, Compressed, Side};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::client::TlsStream;

/// A connected socket.
#[derive(Debug)]
pub(crate) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// A socket, with TLS or without, with compression or without.
#[derive(Debug)]
pub(crate) enum Stream {
    Plain(Socket),
    Tls(Box<TlsStream<Socket>>),
    Compressed(Box<Compressed<Stream>>),
}

/// What may be said over a stream: servers judge by the same three cases whether a password may come in clear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Secrecy {
    /// Anyone on the way can read.
    Open,
    /// Stays on this machine.
    Local,
    /// Encrypted.
    Encrypted,
}

impl Stream {
    pub fn secrecy(&self) -> Secrecy {
        match self {
            Self::Plain(Socket::Tcp(_)) => Secrecy::Open,
            Self::Plain(Socket::Unix(_)) => Secrecy::Local,
            Self::Tls(_) => Secrecy::Encrypted,
            Self::Compressed(stream) => stream.inner().secrecy(),
        }
    }

    /// The stream, going on in compressed packets.
    pub fn compressed(self, algorithm: Algorithm) -> Self {
        Self::Compressed(Box::new(Compressed::new(self, Side::Client, algorithm)))
    }

    pub fn is_compressed(&self) -> bool {
        matches!(self, Self::Compressed(_))
    }

    /// What is written next begins a command, which is a compressed packet of its own.
    pub fn begin_command(&mut self) {
        if let Self::Compressed(stream) = self {
            stream.begin_command();
        }
    }

    /// Gives back what compression needs while something is under way. Making it anew costs some ten microseconds, which servers spend on each
    /// packet; a leg is idle for most of its life.
    pub fn rest(&mut self) {
        if let Self::Compressed(stream) = self {
            stream.rest();
        }
    }
}

macro_rules! delegate {
    ($self:ident, $($variant:path),+; $stream:ident => $call:expr) => {
        match $self.get_mut() {
            $($variant($stream) => $call,)+
        }
    };
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        delegate!(self, Self::Tcp, Self::Unix; stream => Pin::new(stream).poll_read(cx, buf))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        delegate!(self, Self::Tcp, Self::Unix; stream => Pin::new(stream).poll_write(cx, buf))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        delegate!(self, Self::Tcp, Self::Unix; stream => Pin::new(stream).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        delegate!(self, Self::Tcp, Self::Unix; stream => Pin::new(stream).poll_shutdown(cx))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        delegate!(self, Self::Tcp, Self::Unix; stream => Pin::new(stream).poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        // rustls writes several records in one call when it may.
        true
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        delegate!(self, Self::Plain, Self::Tls, Self::Compressed; stream => Pin::new(stream).poll_read(cx, buf))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        delegate!(self, Self::Plain, Self::Tls, Self::Compressed; stream => Pin::new(stream).poll_write(cx, buf))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        delegate!(self, Self::Plain, Self::Tls, Self::Compressed; stream => Pin::new(stream).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        delegate!(self, Self::Plain, Self::Tls, Self::Compressed; stream => Pin::new(stream).poll_shutdown(cx))
    }
}
