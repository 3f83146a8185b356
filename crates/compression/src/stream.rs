//! A byte stream whose bytes travel in compressed packets over another byte stream.
//!
//! Invariants: dropping a read or write loses nothing; what is written travels at a flush, when [`CHUNK_LEN`] bytes are there, or when the next
//! command begins; a packet that is bought by a header alone takes no memory before its bytes have come. Deliberately absent: timeouts.

use crate::header::{HEADER_LEN, Header};
use crate::{Algorithm, Decoder, Encoder};
use bytes::{Buf, BytesMut};
use grove_wire::WireError;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::io::poll_read_buf;

/// Bytes that go into one compressed packet at most: as much as Grove passes on at a time. Servers take their `net_buffer_length`, 16 KiB.
const CHUNK_LEN: usize = 64 << 10;
/// What a read asks for at least.
const LEAST_READ: usize = 2 << 10;
/// What a read asks for at most, unless as much of the packet is there already.
const MOST_READ: usize = 64 << 10;
/// Buffers that have grown beyond this are given back when they are empty.
const KEEP_LEN: usize = 64 << 10;

/// Which end of the connection Grove is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The peer is a client: it numbers its packets from 0 with each command, and that is checked, as servers do.
    Server,
    /// The peer is a server. Commands are sent ahead of their replies, so a reply may have any number.
    Client,
}

/// The stream.
pub struct Compressed<S> {
    inner: S,
    side: Side,
    encoder: Encoder,
    decoder: Decoder,
    algorithm: Algorithm,
    /// Number of the next compressed packet, whoever sends it.
    number: u8,
    /// What has come and is not decompressed.
    input: BytesMut,
    /// What is decompressed; from `contents_at` on it has not been read.
    contents: Vec<u8>,
    contents_at: usize,
    /// What is to be compressed.
    outgoing: Vec<u8>,
    /// Compressed packets; from `output_at` on they have not been written.
    output: Vec<u8>,
    output_at: usize,
}

impl<S> Compressed<S> {
    /// A stream over `inner`, from which nothing compressed has been read yet.
    pub fn new(inner: S, side: Side, algorithm: Algorithm) -> Self {
        Self {
            inner,
            side,
            encoder: Encoder::new(algorithm),
            decoder: Decoder::new(algorithm),
            algorithm,
            number: 0,
            input: BytesMut::new(),
            contents: Vec::new(),
            contents_at: 0,
            outgoing: Vec::new(),
            output: Vec::new(),
            output_at: 0,
        }
    }

    /// How packets are compressed.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The stream below.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    /// The stream below. What has been read or written and is still here is lost.
    pub fn into_inner(self) -> S {
        self.inner
    }

    /// The next packet, of either side, begins a command.
    pub fn begin_command(&mut self) {
        self.seal();
        self.number = 0;
    }

    /// Number of the next compressed packet. Servers number the packets of a reply from there on.
    pub fn number(&self) -> u8 {
        self.number
    }

    /// Gives memory back that an idle connection does not need.
    pub fn rest(&mut self) {
        self.encoder.rest();
        self.decoder.rest();
        if self.outgoing.is_empty() {
            self.outgoing = Vec::new();
        }
        if self.output.is_empty() {
            self.output = Vec::new();
        }
        if self.contents.is_empty() {
            self.contents = Vec::new();
        }
        if self.input.is_empty() {
            self.input = BytesMut::new();
        }
    }

    /// Compresses what was written so far.
    fn seal(&mut self) {
        if !self.outgoing.is_empty() {
            self.encoder.encode(&self.outgoing, &mut self.number, &mut self.output);
            self.outgoing.clear();
        }
    }

    /// Decompresses the packet at the front of the input, if it is there as a whole.
    fn open_packet(&mut self) -> Result<bool, WireError> {
        let Some(header) = self.input.first_chunk::<HEADER_LEN>() else {
            return Ok(false);
        };
        let header = Header::parse(header);
        if self.side == Side::Server && header.number != self.number {
            return Err(WireError::OutOfOrder {
                expected: self.number,
                got: header.number,
            });
        }
        if self.input.len() < HEADER_LEN + header.body_len {
            return Ok(false);
        }
        self.number = header.number.wrapping_add(1);
        let body = &self.input[HEADER_LEN..HEADER_LEN + header.body_len];
        self.decoder.decode(header, body, &mut self.contents)?;
        self.input.advance(HEADER_LEN + header.body_len);
        if self.input.is_empty() && self.input.capacity() > KEEP_LEN {
            self.input = BytesMut::new();
        }
        Ok(true)
    }

    /// Gives out what is decompressed, as much as fits.
    fn take_contents(&mut self, buf: &mut ReadBuf<'_>) {
        let there = &self.contents[self.contents_at..];
        let count = there.len().min(buf.remaining());
        buf.put_slice(&there[..count]);
        self.contents_at += count;
        if self.contents_at == self.contents.len() {
            self.contents_at = 0;
            self.contents.clear();
            if self.contents.capacity() > KEEP_LEN {
                self.contents = Vec::new();
            }
        }
    }
}

impl<S: fmt::Debug> fmt::Debug for Compressed<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut fields = f.debug_struct("Compressed");
        fields.field("inner", &self.inner).field("algorithm", &self.algorithm);
        fields.field("number", &self.number).finish_non_exhaustive()
    }
}

impl<S: AsyncRead + Unpin> Compressed<S> {
    /// One read of the stream below; 0 bytes at its end.
    fn poll_input(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let wanted = match self.input.first_chunk::<HEADER_LEN>() {
            Some(header) => HEADER_LEN + Header::parse(header).body_len,
            None => 0,
        };
        let missing = wanted.saturating_sub(self.input.len());
        // Bytes that are only announced are believed as far as others have come.
        let most = MOST_READ.max(self.input.len());
        self.input.reserve(missing.clamp(LEAST_READ, most));
        poll_read_buf(Pin::new(&mut self.inner), cx, &mut self.input)
    }
}

impl<S: AsyncWrite + Unpin> Compressed<S> {
    /// Writes the compressed packets out.
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.output_at < self.output.len() {
            let written = ready!(Pin::new(&mut self.inner).poll_write(cx, &self.output[self.output_at..]))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.output_at += written;
        }
        self.output_at = 0;
        self.output.clear();
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Compressed<S> {
    /// What does not decompress is an error of kind `InvalidData` around a [`WireError`]; the stream is of no use for reading then.
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        // A compressed packet may be empty, which is not the end of the stream.
        while this.contents.is_empty() {
            let opened = this.open_packet();
            if !opened.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?
                && ready!(this.poll_input(cx))? == 0
            {
                return Poll::Ready(Ok(()));
            }
        }
        this.take_contents(buf);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Compressed<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.outgoing.len() >= CHUNK_LEN {
            this.seal();
        }
        ready!(this.poll_drain(cx))?;
        let count = buf.len().min(CHUNK_LEN - this.outgoing.len());
        this.outgoing.extend_from_slice(&buf[..count]);
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.seal();
        ready!(this.poll_drain(cx))?;
        Pin::new(&mut this.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.as_mut().poll_flush(cx))?;
        Pin::new(&mut self.get_mut().inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    const ALGORITHMS: [Algorithm; 2] = [Algorithm::Zlib, Algorithm::Zstd { level: 3 }];

    fn server(algorithm: Algorithm, room: usize) -> (Compressed<DuplexStream>, DuplexStream) {
        let (near, far) = duplex(room);
        (Compressed::new(near, Side::Server, algorithm), far)
    }

    fn packets(algorithm: Algorithm, number: u8, contents: &[&[u8]]) -> Vec<u8> {
        let (mut encoder, mut number, mut out) = (Encoder::new(algorithm), number, Vec::new());
        for contents in contents {
            encoder.encode(contents, &mut number, &mut out);
        }
        out
    }

    fn error_of(error: &io::Error) -> &WireError {
        error.get_ref().and_then(|inner| inner.downcast_ref()).unwrap()
    }

    #[tokio::test]
    async fn bytes_come_through_whatever_the_room_below() {
        let text: Vec<u8> = (0..300_000_u32).map(|index| (index / 7 % 251) as u8).collect();
        for algorithm in ALGORITHMS {
            for room in [1, 7, 1000, 1 << 20] {
                let (near, far) = duplex(room);
                let mut client = Compressed::new(near, Side::Client, algorithm);
                let mut server = Compressed::new(far, Side::Server, algorithm);
                let sent = text.clone();
                let writing = tokio::spawn(async move {
                    client.begin_command();
                    client.write_all(&sent).await.unwrap();
                    client.flush().await.unwrap();
                    assert_eq!(usize::from(client.number()), sent.len().div_ceil(CHUNK_LEN));
                    client
                });
                server.begin_command();
                let mut received = vec![0; text.len()];
                server.read_exact(&mut received).await.unwrap();
                assert!(received == text, "{algorithm:?}, {room}");
                let mut client = writing.await.unwrap();
                assert_eq!(client.number(), server.number());
                let mut reply = Vec::new();
                let replying = async {
                    server.write_all(b"short").await.unwrap();
                    server.shutdown().await.unwrap();
                };
                let (_, read) = tokio::join!(replying, client.read_to_end(&mut reply));
                read.unwrap();
                assert_eq!(reply, b"short");
                assert_eq!(client.number(), server.number());
            }
        }
    }

    #[tokio::test]
    async fn a_command_begins_a_packet_of_its_own() {
        let (near, mut far) = duplex(1 << 10);
        let mut client = Compressed::new(near, Side::Client, Algorithm::Zlib);
        for command in [b"one".as_slice(), b"two"] {
            client.begin_command();
            client.write_all(command).await.unwrap();
        }
        client.flush().await.unwrap();
        drop(client);
        let mut sent = Vec::new();
        far.read_to_end(&mut sent).await.unwrap();
        assert_eq!(sent, b"\x03\0\0\0\0\0\0one\x03\0\0\0\0\0\0two");
    }

    #[tokio::test]
    async fn empty_packets_are_not_the_end_and_numbers_are_checked() {
        let (mut stream, mut far) = server(Algorithm::Zlib, 1 << 10);
        far.write_all(&[0, 0, 0, 0, 0, 0, 0]).await.unwrap();
        far.write_all(&packets(Algorithm::Zlib, 1, &[b"abc"])).await.unwrap();
        let mut three = [0; 3];
        stream.read_exact(&mut three).await.unwrap();
        assert_eq!(&three, b"abc");
        far.write_all(&packets(Algorithm::Zlib, 0, &[b"abc"])).await.unwrap();
        let error = stream.read_exact(&mut three).await.unwrap_err();
        assert_eq!(error_of(&error), &WireError::OutOfOrder { expected: 2, got: 0 });
        assert_eq!(stream.number(), 2, "what should have come");
        stream.write_all(b"no").await.unwrap();
        stream.flush().await.unwrap();
        let mut refusal = [0; 9];
        far.read_exact(&mut refusal).await.unwrap();
        assert_eq!(&refusal, b"\x02\0\0\x02\0\0\0no");
    }

    #[tokio::test]
    async fn servers_may_number_as_they_like() {
        let (near, mut far) = duplex(1 << 10);
        let mut client = Compressed::new(near, Side::Client, Algorithm::Zlib);
        for number in [1, 2, 1, 9] {
            far.write_all(&packets(Algorithm::Zlib, number, &[b"x"])).await.unwrap();
            assert_eq!(client.read_u8().await.unwrap(), b'x');
            assert_eq!(client.number(), number + 1);
        }
    }

    #[tokio::test]
    async fn a_header_alone_buys_no_memory_and_a_cut_packet_is_the_end() {
        let (mut stream, mut far) = server(Algorithm::Zlib, 1 << 10);
        far.write_all(&[0xFF, 0xFF, 0xFF, 0, 0xFF, 0xFF, 0xFF, 1, 2, 3])
            .await
            .unwrap();
        drop(far);
        assert_eq!(stream.read(&mut [0; 10]).await.unwrap(), 0);
        assert!(stream.input.capacity() < 4 * MOST_READ);
        assert!(stream.contents.capacity() == 0);
    }

    #[tokio::test]
    async fn a_resting_stream_holds_nothing_and_goes_on() {
        for algorithm in ALGORITHMS {
            let (mut stream, mut far) = server(algorithm, 1 << 20);
            let text = vec![7; 10_000];
            for _ in 0..2 {
                stream.begin_command();
                far.write_all(&packets(algorithm, 0, &[&text])).await.unwrap();
                let mut received = vec![0; text.len()];
                stream.read_exact(&mut received).await.unwrap();
                stream.write_all(&text).await.unwrap();
                stream.flush().await.unwrap();
                assert!(stream.output.capacity() > 0 && stream.contents.capacity() > 0);
                stream.rest();
                assert_eq!(stream.output.capacity() + stream.outgoing.capacity(), 0);
                assert_eq!(stream.input.capacity() + stream.contents.capacity(), 0);
            }
        }
    }
}
