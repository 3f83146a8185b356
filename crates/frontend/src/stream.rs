//! A client's byte stream: a TCP or Unix socket, plain or with TLS over it, and compression over either.

use grove_compression::{Algorithm, Compressed, Side};
use rustls::ProtocolVersion;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::server::TlsStream;
use tokio_util::either::Either;

/// What a client is connected through.
pub(crate) type Socket = Either<TcpStream, UnixStream>;

/// The stream. What TLS and compression need is boxed so that a plain client does not pay for it.
pub(crate) enum Stream {
    Plain(Socket),
    Tls(Box<TlsStream<Socket>>),
    Compressed(Box<Compressed<Stream>>),
    /// Between the two, or after a failed handshake.
    Closed,
}

impl Stream {
    /// Whether it is TLS.
    pub fn is_encrypted(&self) -> bool {
        matches!(self.below(), Self::Tls(_))
    }

    /// Cipher suite and protocol version by OpenSSL's names; both empty without TLS.
    pub fn tls_values(&self) -> (String, &'static str) {
        let Self::Tls(stream) = self.below() else {
            return (String::new(), "");
        };
        let (_, connection) = stream.get_ref();
        let suite = connection.negotiated_cipher_suite();
        let cipher = suite.map_or_else(String::new, |suite| openssl_name(&format!("{:?}", suite.suite())));
        let version = match connection.protocol_version() {
            Some(ProtocolVersion::TLSv1_3) => "TLSv1.3",
            Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
            _ => "",
        };
        (cipher, version)
    }

    /// Whether the client has shown a certificate, which was checked then.
    pub fn has_certificate(&self) -> bool {
        match self.below() {
            Self::Tls(stream) => stream.get_ref().1.peer_certificates().is_some(),
            Self::Plain(_) | Self::Compressed(_) | Self::Closed => false,
        }
    }

    /// Whether nobody on the way can read a password: TLS, or a socket that does not leave the machine.
    pub fn is_private(&self) -> bool {
        matches!(self.below(), Self::Tls(_) | Self::Plain(Either::Right(_)))
    }

    /// How packets are compressed.
    pub fn compression(&self) -> Option<Algorithm> {
        match self {
            Self::Compressed(stream) => Some(stream.algorithm()),
            _ => None,
        }
    }

    /// Goes on in compressed packets.
    pub fn compress(&mut self, algorithm: Algorithm) {
        let below = std::mem::replace(self, Self::Closed);
        *self = Self::Compressed(Box::new(Compressed::new(below, Side::Server, algorithm)));
    }

    /// Goes on without looking into what comes, for bytes that are thrown away.
    pub fn stop_compressing(&mut self) {
        *self = match std::mem::replace(self, Self::Closed) {
            Self::Compressed(stream) => stream.into_inner(),
            other => other,
        };
    }

    /// What comes next is a command.
    pub fn begin_command(&mut self) {
        if let Self::Compressed(stream) = self {
            stream.begin_command();
        }
    }

    /// Number of the next compressed packet, if packets are compressed.
    pub fn compressed_number(&self) -> Option<u8> {
        match self {
            Self::Compressed(stream) => Some(stream.number()),
            _ => None,
        }
    }

    /// Gives back what an idle client does not need.
    pub fn rest(&mut self) {
        if let Self::Compressed(stream) = self {
            stream.rest();
        }
    }

    /// The stream without compression.
    fn below(&self) -> &Self {
        match self {
            Self::Compressed(stream) => stream.inner(),
            other => other,
        }
    }
}

/// OpenSSL's name of a cipher suite that rustls names as RFC 8446 or RFC 5289 do (`TLS13_` marks those of TLS 1.3).
fn openssl_name(suite: &str) -> String {
    match suite.strip_prefix("TLS13_") {
        Some(rest) => format!("TLS_{rest}"),
        None => suite
            .trim_start_matches("TLS_")
            .replace("_WITH_", "-")
            .replace("AES_", "AES")
            .replace("_SHA256", if suite.contains("CHACHA20") { "" } else { "-SHA256" })
            .replace('_', "-"),
    }
}

fn closed<T>() -> Poll<io::Result<T>> {
    Poll::Ready(Err(io::ErrorKind::NotConnected.into()))
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Compressed(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Closed => closed(),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Compressed(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Closed => closed(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
            Self::Compressed(stream) => Pin::new(stream).poll_flush(cx),
            Self::Closed => closed(),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Compressed(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Closed => closed(),
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn cipher_suites_have_openssls_names() {
        for (suite, name) in [
            ("TLS13_AES_256_GCM_SHA384", "TLS_AES_256_GCM_SHA384"),
            ("TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", "ECDHE-RSA-AES256-GCM-SHA384"),
            (
                "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
                "ECDHE-ECDSA-AES128-GCM-SHA256",
            ),
            (
                "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
                "ECDHE-RSA-CHACHA20-POLY1305",
            ),
        ] {
            assert_eq!(super::openssl_name(suite), name);
        }
    }
}
