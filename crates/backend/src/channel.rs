//! Whole packets over a stream, in step: what a login needs and nothing more.
//!
//! Invariants: sequence numbers are checked; a packet is bounded; nothing is left unread when TLS begins, so that no plain bytes can be passed off
//! as encrypted ones. Futures are not safe to drop: the channel must go with them.

use crate::stream::{Socket, Stream};
use bytes::{Bytes, BytesMut};
use grove_engine::io::LegError;
use grove_wire::packet::{PayloadReader, encode_frames};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsConnector;

/// Longest packet of a login, in bytes; the longest of all is an OK packet with session state.
const MAX_PACKET_LEN: usize = 1 << 16;

pub(crate) struct Channel {
    pub stream: Stream,
    input: BytesMut,
    reader: PayloadReader,
    next_sequence: u8,
}

impl Channel {
    pub fn new(socket: Socket) -> Self {
        Self {
            stream: Stream::Plain(socket),
            input: BytesMut::new(),
            reader: PayloadReader::new(MAX_PACKET_LEN),
            next_sequence: 0,
        }
    }

    /// The server's next packet.
    pub async fn receive(&mut self) -> Result<Bytes, LegError> {
        loop {
            let payload = self.reader.feed(&mut self.input);
            if let Some(payload) = payload.map_err(|error| LegError::Protocol(error.to_string()))? {
                self.next_sequence = payload.next_sequence;
                return Ok(payload.bytes);
            }
            let count = self
                .stream
                .read_buf(&mut self.input)
                .await
                .map_err(|error| LegError::Lost(format!("reading the login: {error}")))?;
            if count == 0 {
                return Err(LegError::Lost(
                    "the server closed the connection during the login".into(),
                ));
            }
        }
    }

    /// Sends a packet.
    pub async fn send(&mut self, payload: &[u8]) -> Result<(), LegError> {
        let mut frames = BytesMut::with_capacity(payload.len() + 4);
        encode_frames(payload, &mut self.next_sequence, &mut frames);
        self.reader.expect_sequence(self.next_sequence);
        let sent = async {
            self.stream.write_all(&frames).await?;
            self.stream.flush().await
        };
        sent.await
            .map_err(|error| LegError::Lost(format!("sending the login: {error}")))
    }

    /// Goes on encrypted. The sequence numbers go on too.
    pub async fn encrypt(mut self, connector: &TlsConnector, name: ServerName<'static>) -> Result<Self, LegError> {
        if !self.input.is_empty() {
            return Err(LegError::Protocol("plain bytes where TLS begins".into()));
        }
        let Stream::Plain(socket) = self.stream else {
            return Ok(self);
        };
        let encrypted = connector
            .connect(name, socket)
            .await
            .map_err(|error| LegError::Lost(format!("TLS: {error}")))?;
        self.stream = Stream::Tls(Box::new(encrypted));
        Ok(self)
    }

    /// The stream, when the login is done and the server has said nothing more.
    pub fn finish(self) -> Result<Stream, LegError> {
        if !self.input.is_empty() {
            return Err(LegError::Protocol("bytes after the end of the login".into()));
        }
        Ok(self.stream)
    }
}
