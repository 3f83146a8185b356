//! One connection of a session to one server: commands out, replies in, bytes passed on as they come.
//!
//! Invariants: a reply's bytes go from the read buffer to the sink without a copy, and no row allocates; memory is bounded whatever the size of a
//! command or a result; a batch is sent while early replies are taken in, so that full buffers on both sides cannot wait for each other.
//! Neither `send` nor `receive` may be dropped before it is ready: the place in the byte stream is lost then, and the leg must go too.
//! Deliberately absent: timeouts (a query may take hours), any idea of what is being said.

use crate::framer::Framer;
use crate::input::Input;
use crate::numbers::FrameNumbers;
use crate::stream::Stream;
use bytes::{BufMut, Bytes, BytesMut};
use grove_engine::io::{Discard, Leg, LegError, LegReply, ReplySink};
use grove_wire::command::{COM_QUERY, COM_QUIT};
use grove_wire::packet::{HEADER_LEN, encode_frames, frame_payload_len};
use grove_wire::query_attributes::laid_out;
use grove_wire::{CapabilityFlags, ReplyShape, ReplyWalker, ResultEnd, WireError};
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

/// Capacity for outgoing bytes that is kept between batches.
const KEPT_OUTPUT: usize = 4 << 10;

/// A leg over a real connection.
pub struct MysqlLeg {
    /// The server's name, for messages.
    name: Arc<str>,
    stream: Stream,
    thread_id: u32,
    capabilities: CapabilityFlags,
    input: Input,
    /// The piece that is being written; empty between batches.
    output: Vec<u8>,
    /// Replies to statements of this module's own that are still to come before any other; each is one frame.
    own_replies: usize,
    /// Why nothing can be sent any more. What the server said before may still be read.
    broken: Option<String>,
    /// Whether the last batch went out whole.
    between_commands: bool,
    /// Numbers the frames of replies, where compression has left them without sense.
    numbers: Option<Box<FrameNumbers>>,
    /// Number of the next reply's first frame: 1, or the one after a file's last packet.
    first_number: u8,
}

impl MysqlLeg {
    pub(crate) fn new(name: Arc<str>, stream: Stream, thread_id: u32, capabilities: CapabilityFlags) -> Self {
        Self {
            name,
            numbers: stream.is_compressed().then(Box::default),
            first_number: 1,
            stream,
            thread_id,
            capabilities,
            input: Input::new(),
            output: Vec::new(),
            own_replies: 0,
            broken: None,
            between_commands: true,
        }
    }

    /// Sends a statement whose success is not needed; its reply is passed over when it comes.
    pub(crate) async fn send_own(&mut self, sql: &str) -> Result<(), LegError> {
        self.send(&[laid_out(query(sql), self.capabilities)]).await?;
        self.own_replies += 1;
        Ok(())
    }

    /// Passes over the replies to own statements that are in the buffer.
    fn pass_own_replies(&mut self) {
        while self.own_replies > 0
            && let Some(header) = self.input.bytes().first_chunk::<HEADER_LEN>()
        {
            let frame = HEADER_LEN + frame_payload_len(header);
            if self.input.bytes().len() < frame {
                return;
            }
            self.input.consume(frame);
            self.own_replies -= 1;
        }
    }

    async fn receive_reply<S: ReplySink>(&mut self, shape: ReplyShape, sink: &mut S) -> Result<LegReply, LegError> {
        let mut walker = ReplyWalker::new(shape, self.capabilities);
        let first_number = std::mem::replace(&mut self.first_number, 1);
        if let Some(numbers) = &mut self.numbers {
            numbers.begin(first_number);
        }
        loop {
            let walk = walker
                .walk(self.input.bytes())
                .map_err(|error| LegError::Protocol(format!("{}: {error}", self.name)))?;
            if let Some(numbers) = &mut self.numbers {
                let known = walk.forward + if walk.done { walk.last_len } else { 0 };
                numbers.apply(&mut self.input.bytes_mut()[..known]);
            }
            if walk.forward > 0 {
                let bytes = &self.input.bytes()[..walk.forward];
                sink.forward(bytes).await.map_err(LegError::ClientGone)?;
                self.input.consume(walk.forward);
            }
            if walk.done {
                // Copied, because a shared buffer could not be used again for the next reply.
                let last_frame = BytesMut::from(&self.input.bytes()[..walk.last_len]);
                self.input.consume(walk.last_len);
                self.input.settle();
                self.stream.rest();
                let reply = walker.finish();
                // What comes next would be taken for the file.
                self.between_commands &= !matches!(reply.last(), ResultEnd::LocalInfile);
                return Ok(LegReply { reply, last_frame });
            }
            self.read().await?;
        }
    }

    async fn read(&mut self) -> Result<(), LegError> {
        let Some(room) = self.input.room() else {
            let reason = format!("{}: a packet that says how a reply goes on is too long", self.name);
            return Err(LegError::Protocol(reason));
        };
        match self.stream.read(room).await {
            Ok(0) => Err(self.lost("the server closed the connection")),
            Ok(count) => {
                self.input.note_read(count);
                Ok(())
            }
            Err(error) if error.get_ref().is_some_and(|inner| inner.is::<WireError>()) => {
                Err(LegError::Protocol(format!("{}: {error}", self.name)))
            }
            Err(error) => Err(self.lost(&error.to_string())),
        }
    }

    fn lost(&mut self, reason: &str) -> LegError {
        let reason = self.broken.take().unwrap_or_else(|| format!("{}: {reason}", self.name));
        self.broken = Some(reason.clone());
        LegError::Lost(reason)
    }

    /// Writes the piece, taking early replies in while the server does not take more.
    async fn write_piece(&mut self) -> io::Result<()> {
        let mut written = 0;
        poll_fn(|cx| {
            while written < self.output.len() {
                match Pin::new(&mut self.stream).poll_write(cx, &self.output[written..])? {
                    Poll::Ready(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                    Poll::Ready(count) => written += count,
                    Poll::Pending => std::task::ready!(self.poll_read_ahead(cx))?,
                }
            }
            Poll::Ready(Ok(()))
        })
        .await
    }

    /// Only TLS has anything to flush. A flush can wait for the server like a write.
    async fn flush(&mut self) -> io::Result<()> {
        poll_fn(|cx| {
            loop {
                match Pin::new(&mut self.stream).poll_flush(cx) {
                    Poll::Ready(result) => return Poll::Ready(result),
                    Poll::Pending => std::task::ready!(self.poll_read_ahead(cx))?,
                }
            }
        })
        .await
    }

    /// Reads what the server says while it takes no more. Pending, with the caller woken by the write, when enough has been read ahead.
    fn poll_read_ahead(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(room) = self.input.room_ahead() else {
            return Poll::Pending;
        };
        let mut room = ReadBuf::new(room);
        std::task::ready!(Pin::new(&mut self.stream).poll_read(cx, &mut room))?;
        match room.filled().len() {
            0 => Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
            count => {
                self.input.note_read(count);
                Poll::Ready(Ok(()))
            }
        }
    }

    async fn write_batch(&mut self, commands: &[Bytes]) -> io::Result<()> {
        if self.stream.is_compressed() {
            for command in commands {
                self.stream.begin_command();
                self.write_commands(std::slice::from_ref(command)).await?;
            }
        } else {
            self.write_commands(commands).await?;
        }
        self.flush().await
    }

    async fn write_commands(&mut self, commands: &[Bytes]) -> io::Result<()> {
        let mut framer = Framer::new(commands);
        loop {
            framer.fill(&mut self.output);
            if self.output.is_empty() {
                return Ok(());
            }
            self.write_piece().await?;
        }
    }
}

impl Leg for MysqlLeg {
    fn thread_id(&self) -> u32 {
        self.thread_id
    }

    fn capabilities(&self) -> CapabilityFlags {
        self.capabilities
    }

    async fn send(&mut self, commands: &[Bytes]) -> Result<(), LegError> {
        if let Some(reason) = &self.broken {
            return Err(LegError::Lost(reason.clone()));
        }
        self.between_commands = false;
        match self.write_batch(commands).await {
            Ok(()) => self.between_commands = true,
            // A server that refuses a command in the middle (too long for max_allowed_packet) says so and closes. `receive` gives that answer,
            // or says that the connection is lost.
            Err(error) => self.broken = Some(format!("{}: while sending: {error}", self.name)),
        }
        self.output.clear();
        self.output.shrink_to(KEPT_OUTPUT);
        Ok(())
    }

    async fn receive<S: ReplySink>(&mut self, shape: ReplyShape, sink: &mut S) -> Result<LegReply, LegError> {
        self.pass_own_replies();
        while self.own_replies > 0 {
            self.receive_reply(ReplyShape::Query, &mut Discard).await?;
            self.own_replies -= 1;
        }
        self.receive_reply(shape, sink).await
    }

    async fn send_file(&mut self, part: &[u8], sequence: &mut u8) -> Result<(), LegError> {
        let mut frame = BytesMut::with_capacity(part.len() + HEADER_LEN);
        encode_frames(part, sequence, &mut frame);
        self.first_number = *sequence;
        self.output.extend_from_slice(&frame);
        let sent = match self.write_piece().await {
            Ok(()) => self.flush().await,
            Err(error) => Err(error),
        };
        self.output.clear();
        self.output.shrink_to(KEPT_OUTPUT);
        self.between_commands = part.is_empty();
        if let Err(error) = sent {
            // As with a command: `receive` gives what the server has said, or that it is lost.
            self.broken
                .get_or_insert(format!("{}: while sending a file: {error}", self.name));
        }
        Ok(())
    }

    fn is_stale(&mut self) -> bool {
        if self.broken.is_some() {
            return true;
        }
        if let Some(room) = self.input.room() {
            // The waker is never needed: a later read or write registers its own.
            let mut cx = Context::from_waker(Waker::noop());
            let mut room = ReadBuf::new(room);
            match Pin::new(&mut self.stream).poll_read(&mut cx, &mut room) {
                Poll::Ready(Ok(())) if !room.filled().is_empty() => {
                    let count = room.filled().len();
                    self.input.note_read(count);
                }
                Poll::Ready(_) => return true,
                Poll::Pending => {}
            }
        }
        self.pass_own_replies();
        // A server that closes an idle connection may say so first; those bytes are no reply to the next command.
        self.own_replies == 0 && !self.input.bytes().is_empty()
    }
}

impl Drop for MysqlLeg {
    /// Says goodbye if that is possible at once: a server counts, and logs, connections that end without.
    fn drop(&mut self) {
        if self.between_commands && self.broken.is_none() {
            let mut cx = Context::from_waker(Waker::noop());
            self.stream.begin_command();
            let quit = [1, 0, 0, 0, COM_QUIT];
            if let Poll::Ready(Ok(_)) = Pin::new(&mut self.stream).poll_write(&mut cx, &quit) {
                let _ = Pin::new(&mut self.stream).poll_flush(&mut cx);
            }
        }
    }
}

/// The payload of a statement, without query attributes.
pub(crate) fn query(sql: &str) -> Bytes {
    let mut payload = Vec::with_capacity(sql.len() + 1);
    payload.put_u8(COM_QUERY);
    payload.put_slice(sql.as_bytes());
    Bytes::from(payload)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::Socket;
    use std::time::Duration;
    use tokio::io::AsyncWriteExt;
    use tokio::net::UnixStream;
    use tokio::time::timeout;

    const OK: [u8; 11] = [7, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0];

    fn pair() -> (MysqlLeg, UnixStream) {
        let (near, far) = UnixStream::pair().unwrap();
        let stream = Stream::Plain(Socket::Unix(near));
        (MysqlLeg::new(Arc::from("db1"), stream, 7, CapabilityFlags(0)), far)
    }

    fn frame(payload: &[u8]) -> Vec<u8> {
        [&(payload.len() as u32).to_le_bytes()[..3], &[1], payload].concat()
    }

    /// A result of one row of `length` bytes.
    fn rows(length: usize) -> Vec<u8> {
        let eof = frame(&[0xFE, 0, 0, 2, 0]);
        [
            frame(&[1]),
            frame(b"\x03def"),
            eof.clone(),
            frame(&vec![b'x'; length]),
            eof,
        ]
        .concat()
    }

    #[tokio::test]
    async fn a_server_that_answers_before_it_reads_on_is_listened_to() {
        let (mut leg, mut server) = pair();
        let peer = tokio::spawn(async move {
            // Takes the first command, and nothing more until its long answer is out.
            server.read_exact(&mut [0; 5]).await.unwrap();
            server.write_all(&rows(900_000)).await.unwrap();
            let mut rest = vec![0; 4 + (4 << 20)];
            server.read_exact(&mut rest).await.unwrap();
            server.write_all(&OK).await.unwrap();
            server
        });
        let batch = [Bytes::from_static(b"\x0e"), Bytes::from(vec![3; 4 << 20])];
        timeout(Duration::from_secs(20), leg.send(&batch))
            .await
            .expect("must not wait for ever")
            .unwrap();
        assert_eq!(
            leg.receive(ReplyShape::Query, &mut Discard).await.unwrap().reply.rows,
            1
        );
        assert!(
            leg.receive(ReplyShape::Query, &mut Discard)
                .await
                .unwrap()
                .reply
                .ok()
                .is_some()
        );
        peer.await.unwrap();
    }

    #[tokio::test]
    async fn what_a_server_said_before_it_closed_is_heard() {
        let (mut leg, mut server) = pair();
        let err = frame(b"\xFF\x81\x04#08S01too long");
        let peer = tokio::spawn(async move {
            server.read_exact(&mut [0; 100]).await.unwrap();
            server.write_all(&err).await.unwrap();
        });
        leg.send(&[Bytes::from(vec![3; 4 << 20])]).await.unwrap();
        peer.await.unwrap();
        let reply = leg.receive(ReplyShape::Query, &mut Discard).await.unwrap().reply;
        assert_eq!(reply.err().map(|err| err.code), Some(1153));
        assert!(leg.is_stale());
        assert!(matches!(leg.send(&[]).await, Err(LegError::Lost(reason)) if reason.contains("db1")));
        assert!(matches!(
            leg.receive(ReplyShape::Query, &mut Discard).await,
            Err(LegError::Lost(_))
        ));
    }

    #[tokio::test]
    async fn replies_to_own_statements_are_nobodys_and_do_not_make_a_leg_stale() {
        let (mut leg, mut server) = pair();
        leg.send_own("SET a=1").await.unwrap();
        leg.send_own("SET b=1").await.unwrap();
        assert!(!leg.is_stale());
        server.write_all(&OK).await.unwrap();
        server.write_all(&frame(b"\xFF\xCB\x04#42000denied")).await.unwrap();
        tokio::task::yield_now().await;
        assert!(!leg.is_stale());
        leg.send(&[Bytes::from_static(b"\x0e")]).await.unwrap();
        server.write_all(&OK).await.unwrap();
        let reply = leg.receive(ReplyShape::SingleOk, &mut Discard).await.unwrap();
        assert_eq!(&reply.last_frame[..], OK);

        // A server that ends an idle connection with an error packet of its own.
        server.write_all(&frame(b"\xFF\xBF\x0f#HY000idle")).await.unwrap();
        while !leg.is_stale() {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn a_leg_says_goodbye_unless_it_stopped_inside_a_command() {
        let (leg, mut server) = pair();
        drop(leg);
        let mut said = Vec::new();
        server.read_to_end(&mut said).await.unwrap();
        assert_eq!(said, [1, 0, 0, 0, COM_QUIT]);

        let (mut leg, mut server) = pair();
        let command = [Bytes::from(vec![3; 4 << 20])];
        assert!(timeout(Duration::from_millis(10), leg.send(&command)).await.is_err());
        drop(leg);
        let mut said = Vec::new();
        server.read_to_end(&mut said).await.unwrap();
        assert!(said.len() > 5 && said.ends_with(&[3]), "no command inside another one");
    }

    #[tokio::test]
    async fn bytes_that_are_no_reply_are_an_error() {
        for bytes in [
            frame(&[0]),
            frame(&[1, 2, 3, 4]).into_iter().chain(frame(&[])).collect(),
            frame(&[0xFC]),
        ] {
            let (mut leg, mut server) = pair();
            server.write_all(&bytes).await.unwrap();
            drop(server);
            assert!(leg.receive(ReplyShape::Query, &mut Discard).await.is_err(), "{bytes:?}");
        }
        // A packet that must be seen whole, and is too long for that.
        let (mut leg, mut server) = pair();
        server.write_all(&[0xFF, 0xFF, 0xFF, 1, 0xFF, 0xFF]).await.unwrap();
        let error = leg.receive(ReplyShape::Query, &mut Discard).await.err();
        assert!(
            matches!(&error, Some(LegError::Protocol(reason)) if reason.contains("db1")),
            "{error:?}"
        );
    }
}
