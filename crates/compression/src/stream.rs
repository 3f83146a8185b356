//! A byte stream whose bytes travel in compressed packets over another byte stream.
//!
//! What is written travels at a flush, when [`CHUNK_LEN`] bytes are there, or when the next command begins. Towards clients it is cut where
//! frames end, and with zlib a frame that is longer than a chunk travels in one compressed packet, or in two, because some clients understand
//! nothing else (the pure one of MySQL's connectors for Python): servers fill their buffer and send the rest of the frame as a whole.
//! Invariants: dropping a read or write loses nothing; a long frame is held compressed, 2^24-1 bytes at most; a packet that is bought by a header alone takes no memory before its bytes have come. Deliberately absent: timeouts.

use crate::header::{HEADER_LEN, Header};
use crate::{Algorithm, Decoder, Encoder, LONG_LEN, LongPacket};
use bytes::{Buf, BytesMut};
use grove_wire::WireError;
use grove_wire::packet::FrameCursor;
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
    /// So many bytes of it are whole frames.
    outgoing_whole: usize,
    /// Where in a frame what has been written ends.
    frames: FrameCursor,
    /// The packet of a frame that is longer than a chunk.
    long: Option<LongPacket>,
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
            outgoing_whole: 0,
            frames: FrameCursor::default(),
            long: None,
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
    ///
    /// Towards clients everything is flushed by then.
    pub fn begin_command(&mut self) {
        self.seal(self.outgoing.len());
        self.number = 0;
    }

    /// Number of the next compressed packet. Servers number the packets of a reply from there on.
    pub fn number(&self) -> u8 {
        self.number
    }

    /// Gives memory back that an idle connection does not need.
    pub fn rest(&mut self) {
        if self.long.is_none() {
            self.encoder.rest();
        }
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

    /// Compresses the first bytes of what was written.
    fn seal(&mut self, count: usize) {
        let contents = &self.outgoing[..count];
        self.encoder.encode(contents, &mut self.number, &mut self.output);
        self.outgoing.drain(..count);
        self.outgoing_whole = self.outgoing_whole.saturating_sub(count);
    }

    /// Makes room for more behind a chunk.
    fn cut(&mut self) -> io::Result<()> {
        let long = match (self.side, self.outgoing_whole) {
            (Side::Server, 0) => self.encoder.begin_long(),
            (Side::Server, whole) => {
                self.seal(whole);
                return Ok(());
            }
            (Side::Client, _) => None,
        };
        match long {
            Some(mut long) => {
                self.encoder.add(&self.outgoing, &mut long)?;
                self.outgoing.clear();
                self.long = Some(long);
            }
            None => self.seal(self.outgoing.len()),
        }
        Ok(())
    }

    /// Adds to the packet of a long frame, up to the frame's end.
    fn add_to_long(&mut self, mut long: LongPacket, bytes: &[u8]) -> io::Result<usize> {
        let most = CHUNK_LEN.min(LONG_LEN - long.contents_len()).min(bytes.len());
        let count = self.frames.advance(&bytes[..most]);
        self.encoder.add(&bytes[..count], &mut long)?;
        self.long = Some(long);
        let is_full = self.long.as_ref().is_some_and(|long| long.contents_len() == LONG_LEN);
        if is_full || self.frames.is_between_frames() {
            self.finish_long()?;
        }
        Ok(count)
    }

    fn finish_long(&mut self) -> io::Result<()> {
        if let Some(long) = self.long.take() {
            let packet = self.encoder.finish(long, &mut self.number)?;
            if self.output.is_empty() {
                self.output = packet;
            } else {
                self.output.extend_from_slice(&packet);
            }
        }
        Ok(())
    }

    /// Takes bytes that are to be compressed later.
    fn add_outgoing(&mut self, bytes: &[u8]) -> usize {
        let count = bytes.len().min(CHUNK_LEN - self.outgoing.len());
        if self.side == Side::Server {
            let mut at = 0;
            while at < count {
                at += self.frames.advance(&bytes[at..count]);
                if self.frames.is_between_frames() {
                    self.outgoing_whole = self.outgoing.len() + at;
                }
            }
        }
        self.outgoing.extend_from_slice(&bytes[..count]);
        count
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
        if self.output.capacity() > 2 * KEEP_LEN {
            self.output = Vec::new();
        }
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
            this.cut()?;
        }
        ready!(this.poll_drain(cx))?;
        Poll::Ready(match this.long.take() {
            Some(long) => this.add_to_long(long, buf),
            None => Ok(this.add_outgoing(buf)),
        })
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.finish_long()?;
        this.seal(this.outgoing.len());
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

    /// Whoever has read part of a frame finds the rest of it in the next compressed packet.
    #[tokio::test]
    async fn clients_are_given_whole_frames_and_long_ones_in_two_packets_at_most() {
        const LONGEST: usize = 0xFF_FFFF;
        let lengths = [
            0, 10, 65_532, 65_533, 100, 70_000, 1, LONGEST, 5, 40_000, 40_000, 40_000, 200_000, LONGEST, 0,
        ];
        let mut frames = Vec::new();
        for (index, length) in lengths.into_iter().enumerate() {
            frames.extend_from_slice(&(length as u32).to_le_bytes()[..3]);
            frames.push(index as u8);
            frames.extend((0..length).map(|at| (at / 1000) as u8));
        }
        let (near, mut far) = duplex(1 << 20);
        let mut server = Compressed::new(near, Side::Server, Algorithm::Zlib);
        let sent = frames.clone();
        let writing = tokio::spawn(async move {
            for piece in sent.chunks(50_000) {
                server.write_all(piece).await.unwrap();
            }
            server.flush().await.unwrap();
            assert!(server.outgoing.is_empty() && server.output.is_empty() && server.long.is_none());
        });
        let (mut decoder, mut cursor) = (Decoder::new(Algorithm::Zlib), FrameCursor::default());
        let (mut received, mut packets_of_frame) = (Vec::new(), 1);
        for number in 0.. {
            let mut header = [0; HEADER_LEN];
            if far.read_exact(&mut header).await.is_err() {
                break;
            }
            let header = Header::parse(&header);
            assert_eq!(header.number, number);
            let mut body = vec![0; header.body_len];
            far.read_exact(&mut body).await.unwrap();
            let before = received.len();
            decoder.decode(header, &body, &mut received).unwrap();
            let mut at = before;
            while at < received.len() {
                at += cursor.advance(&received[at..]);
                if cursor.is_between_frames() {
                    packets_of_frame = 1;
                }
            }
            if !cursor.is_between_frames() {
                packets_of_frame += 1;
                assert!(packets_of_frame <= 2, "packet {number}");
                assert!(received.len() - before > 4, "a header is not cut");
            }
        }
        writing.await.unwrap();
        assert!(received == frames);
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
