//! A client's connection as packets: reading with bounds, writing with back-pressure.
//!
//! Invariants: while the handshake lasts, nothing beyond the packet at hand is read, because what follows may be TLS; an idle client costs
//! a small buffer only; under compression the numbers of compressed packets count, and those inside are not looked at, as on servers; a client that stops in the middle of a packet, or takes nothing, is given up after the servers' own default times.

use crate::error::LinkError;
use crate::stream::Stream;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use grove_compression::Algorithm;
use grove_wire::packet::{HEADER_LEN, PayloadReader, encode_frames, frame_payload_len};
use grove_wire::proxy_protocol::{self, Announced, Progress};
use grove_wire::{CapabilityFlags, ErrPacket, WireError};
use std::io;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

/// Longest packet of a handshake: user, schema and at most 64 KiB of connection attributes.
const HANDSHAKE_MAX_LEN: usize = 128 << 10;
/// What one read asks for. Several short commands fit, and an idle client holds no more.
const READ_LEN: usize = 2048;
/// A read buffer with less room than this is replaced.
const MIN_ROOM: usize = 256;
/// Buffers that have grown beyond this are given back when their use ends.
const KEEP_LEN: usize = 16 << 10;
/// What an idle client may keep of its write buffer.
const KEEP_IDLE_LEN: usize = 1024;
/// The servers' default of `net_read_timeout`: a packet that has begun goes on within this time.
const NET_READ_TIMEOUT: Duration = Duration::from_secs(30);
/// The servers' default of `net_write_timeout`: a client takes something within this time.
const NET_WRITE_TIMEOUT: Duration = Duration::from_secs(60);
/// An idle client's buffers shrink after this time. Shorter pauses between commands cost nothing.
const SHRINK_AFTER: Duration = Duration::from_secs(1);
/// How long the rest of a refused packet is thrown away so that the client comes to read the refusal.
const LINGER: Duration = Duration::from_secs(5);

/// The connection.
pub(crate) struct Link {
    stream: Stream,
    inbox: BytesMut,
    payloads: PayloadReader,
    /// Bytes that are about to be written.
    pub outbox: BytesMut,
    /// Number of Grove's next packet.
    pub sequence: u8,
    /// Capabilities in force.
    pub capabilities: CapabilityFlags,
    /// Cancelled when the connection must end at once.
    pub cut: CancellationToken,
}

impl Link {
    pub fn new(stream: Stream, cut: CancellationToken) -> Self {
        Self {
            stream,
            inbox: BytesMut::new(),
            payloads: PayloadReader::new(HANDSHAKE_MAX_LEN),
            outbox: BytesMut::new(),
            sequence: 0,
            capabilities: CapabilityFlags::PROTOCOL_41,
            cut,
        }
    }

    pub fn is_encrypted(&self) -> bool {
        self.stream.is_encrypted()
    }

    /// Cipher suite and protocol version by OpenSSL's names, as the servers show them; both empty without TLS.
    pub fn tls_values(&self) -> (String, &'static str) {
        self.stream.tls_values()
    }

    /// How packets are compressed.
    pub fn compression(&self) -> Option<Algorithm> {
        self.stream.compression()
    }

    pub fn has_certificate(&self) -> bool {
        self.stream.has_certificate()
    }

    pub fn is_private(&self) -> bool {
        self.stream.is_private()
    }

    /// The handshake is over: commands may be longer, and come compressed if that was agreed.
    pub fn accept_commands(&mut self, max_len: usize, compression: Option<Algorithm>) {
        let payloads = PayloadReader::new(max_len);
        self.payloads = match compression {
            None => payloads,
            Some(algorithm) => {
                self.stream.compress(algorithm);
                payloads.ignoring_sequence()
            }
        };
    }

    /// Goes on under TLS. Nothing has been read ahead, so no plain bytes can pass for encrypted ones.
    pub async fn start_tls(&mut self, acceptor: &TlsAcceptor) -> Result<(), LinkError> {
        match std::mem::replace(&mut self.stream, Stream::Closed) {
            Stream::Plain(stream) if self.inbox.is_empty() => {
                let stream = acceptor.accept(stream).await?;
                self.stream = Stream::Tls(Box::new(stream));
                Ok(())
            }
            _ => Err(LinkError::Gone("the connection is not plain".into())),
        }
    }

    /// The next packet of a handshake, with nothing read beyond it. Bounded by the caller.
    pub async fn receive_exactly(&mut self) -> Result<Bytes, LinkError> {
        self.payloads.expect_sequence(self.sequence);
        loop {
            if let Some(payload) = self.take_payload()? {
                return Ok(payload);
            }
            let wanted = match self.inbox.first_chunk::<HEADER_LEN>() {
                Some(header) => HEADER_LEN + frame_payload_len(header),
                None => HEADER_LEN,
            };
            self.read_at_most(wanted.saturating_sub(self.inbox.len())).await?;
        }
    }

    /// The PROXY header before everything else, with nothing read beyond it. Bounded by the caller.
    pub async fn receive_proxy_header(&mut self) -> Result<Announced, LinkError> {
        loop {
            match proxy_protocol::parse(&self.inbox)? {
                Progress::Complete { client, header_len } => {
                    self.inbox.advance(header_len);
                    return Ok(client);
                }
                Progress::Incomplete { at_least } => self.read_at_most(at_least).await?,
            }
        }
    }

    /// One read of a handshake.
    async fn read_at_most(&mut self, most: usize) -> Result<(), LinkError> {
        let mut room = (&mut self.inbox).limit(most);
        let read = self.stream.read_buf(&mut room).await;
        if self.note(read)? == 0 {
            return Err(LinkError::Gone("closed during the handshake".into()));
        }
        Ok(())
    }

    /// The next command. Dropping the future loses no bytes: what has been read stays in the link.
    pub async fn receive(&mut self, idle_timeout: Duration) -> Result<Bytes, LinkError> {
        if !self.payloads.is_joining() {
            self.payloads.expect_sequence(0);
            self.stream.begin_command();
        }
        loop {
            if let Some(payload) = self.take_payload()? {
                if payload.len() > KEEP_LEN {
                    // The buffer shares its memory with the payload and would keep all of it.
                    self.inbox = BytesMut::from(&self.inbox[..]);
                }
                return Ok(payload);
            }
            let begun = !self.inbox.is_empty() || self.payloads.is_joining();
            let limit = if begun { NET_READ_TIMEOUT } else { idle_timeout };
            let read = match tokio::time::timeout(SHRINK_AFTER.min(limit), self.read()).await {
                Ok(read) => read?,
                Err(_) => {
                    self.shrink();
                    let rest = limit.saturating_sub(SHRINK_AFTER);
                    let read = tokio::time::timeout(rest, self.read()).await;
                    read.map_err(|_| LinkError::Silent(limit))??
                }
            };
            if read == 0 {
                return Err(LinkError::Gone("closed".into()));
            }
        }
    }

    /// The next packet of a client that was asked for more: numbered after Grove's last one, within the time in which a packet goes on.
    pub async fn receive_more(&mut self) -> Result<Bytes, LinkError> {
        self.payloads.expect_sequence(self.sequence);
        let cut = self.cut.clone();
        loop {
            if let Some(payload) = self.take_payload()? {
                return Ok(payload);
            }
            // Dropping the read loses nothing that matters: the connection ends.
            let read = tokio::select! {
                biased;
                read = tokio::time::timeout(NET_READ_TIMEOUT, self.read()) => {
                    read.map_err(|_| LinkError::Silent(NET_READ_TIMEOUT))??
                }
                () = cut.cancelled() => return Err(LinkError::Cut),
            };
            if read == 0 {
                return Err(LinkError::Gone("closed in the middle of a file".into()));
            }
        }
    }

    /// A packet that has come whole. An answer has the number after it; for a packet out of order that is, as on the servers, the number
    /// that it should have had.
    fn take_payload(&mut self) -> Result<Option<Bytes>, LinkError> {
        match self.payloads.feed(&mut self.inbox) {
            Ok(Some(payload)) => {
                self.sequence = self.stream.compressed_number().unwrap_or(payload.next_sequence);
                Ok(Some(payload.bytes))
            }
            Ok(None) => Ok(None),
            Err(error) => {
                let expected = self.payloads.expected_sequence();
                self.sequence = match error {
                    WireError::OutOfOrder { .. } => expected,
                    _ => expected.wrapping_add(1),
                };
                Err(error.into())
            }
        }
    }

    /// One read. Dropping the future loses no bytes.
    async fn read(&mut self) -> Result<usize, LinkError> {
        // In the middle of a long packet there is room for the rest of it already.
        let is_short = self.inbox.len() < READ_LEN;
        if is_short && self.inbox.capacity() - self.inbox.len() < MIN_ROOM {
            self.inbox.reserve(READ_LEN);
        }
        let read = self.stream.read_buf(&mut self.inbox).await;
        self.note(read)
    }

    /// What a read gave. If it broke the compressed protocol, the number of an answer is known.
    fn note(&mut self, read: io::Result<usize>) -> Result<usize, LinkError> {
        if let (Err(_), Some(number)) = (&read, self.stream.compressed_number()) {
            self.sequence = number;
        }
        Ok(read?)
    }

    /// Gives back what an idle client does not need.
    fn shrink(&mut self) {
        self.stream.rest();
        if self.outbox.capacity() > KEEP_IDLE_LEN && self.outbox.is_empty() {
            self.outbox = BytesMut::new();
        }
        if self.inbox.is_empty() {
            self.inbox = BytesMut::new();
        }
    }

    /// Puts a packet of Grove's own into the outbox.
    pub fn put_packet(&mut self, payload: &[u8]) {
        encode_frames(payload, &mut self.sequence, &mut self.outbox);
    }

    /// Sends a packet of Grove's own.
    pub async fn send_packet(&mut self, payload: &[u8]) -> Result<(), LinkError> {
        self.put_packet(payload);
        self.flush().await
    }

    /// Sends an ERR packet.
    pub async fn send_err(&mut self, err: &ErrPacket) -> Result<(), LinkError> {
        let payload = err.encode(self.capabilities);
        self.send_packet(&payload).await
    }

    /// Writes the outbox, empties it, and sees to it that everything is on its way.
    pub async fn flush(&mut self) -> Result<(), LinkError> {
        self.write_outbox().await?;
        // Dropping the flush loses nothing but the connection, which ends then.
        tokio::select! {
            biased;
            flushed = tokio::time::timeout(NET_WRITE_TIMEOUT, self.stream.flush()) => {
                flushed.map_err(|_| LinkError::Silent(NET_WRITE_TIMEOUT))??;
            }
            () = self.cut.cancelled() => return Err(LinkError::Cut),
        }
        Ok(())
    }

    /// Writes the outbox and empties it; TLS and compression may hold some of it until more comes.
    pub async fn write_outbox(&mut self) -> Result<(), LinkError> {
        let mut outbox = std::mem::take(&mut self.outbox);
        self.write(&outbox).await?;
        outbox.clear();
        if outbox.capacity() <= 2 * KEEP_LEN {
            self.outbox = outbox;
        }
        Ok(())
    }

    /// Writes all of `bytes`, as fast as the client takes them. When it fails, or is dropped, the client has part of a packet: the
    /// connection must end.
    pub async fn write(&mut self, mut bytes: &[u8]) -> Result<(), LinkError> {
        while !bytes.is_empty() {
            // Dropping the write loses nothing: it is not ready until the system has taken bytes, and the connection ends then.
            let written = tokio::select! {
                biased;
                written = tokio::time::timeout(NET_WRITE_TIMEOUT, self.stream.write(bytes)) => {
                    written.map_err(|_| LinkError::Silent(NET_WRITE_TIMEOUT))??
                }
                () = self.cut.cancelled() => return Err(LinkError::Cut),
            };
            if written == 0 {
                return Err(LinkError::Gone("takes no bytes".into()));
            }
            bytes = &bytes[written..];
        }
        Ok(())
    }

    /// Ends the connection after a refusal. What the client is still sending is thrown away, up to a bound: closing over unread bytes
    /// would reset the connection, and the client might never see the refusal.
    pub async fn close_lingering(mut self, max_len: usize) {
        let discard = async {
            self.stream.shutdown().await?;
            self.stream.stop_compressing();
            let mut scrap = Vec::with_capacity(KEEP_LEN);
            let mut rest = max_len;
            while rest > 0 {
                scrap.clear();
                let read = self.stream.read_buf(&mut scrap).await?;
                if read == 0 {
                    break;
                }
                rest = rest.saturating_sub(read);
            }
            Ok::<_, io::Error>(())
        };
        // The connection ends either way.
        let _ = tokio::time::timeout(LINGER, discard).await;
    }

    /// Ends the connection in an orderly way.
    pub async fn close(mut self) {
        let _ = tokio::time::timeout(LINGER, self.stream.shutdown()).await;
    }
}

/// A payload's bytes without one trailing NUL.
pub(crate) fn without_nul(bytes: &Bytes) -> &[u8] {
    bytes.strip_suffix(&[0]).unwrap_or(bytes)
}
