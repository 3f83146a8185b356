//! LOAD DATA LOCAL: a file of the client's, on its way to every server.
//!
//! The lead asks for the file; while the client sends it, it goes to the lead and is kept, outside the engine, for the others and for a new
//! lead. A server that is given a kept file asks for it like the lead, and gets it without a client.

use crate::io::{Leg, LegError};
use crate::leg::OpenLeg;
use bytes::{Bytes, BytesMut};
use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

/// Bytes of a file that are sent at a time.
const PIECE_LEN: usize = 64 << 10;

/// A file that a client has sent, whole.
pub trait LocalFile: Send + Sync + Debug {
    /// Bytes of memory that it counts for while it is kept, at least what it takes.
    fn cost(&self) -> usize;
    /// Bytes from offset `at` on, `len` at most; none at the end.
    fn read_at(&self, at: u64, len: usize) -> Pin<Box<dyn Future<Output = Result<Bytes, String>> + Send + '_>>;
}

/// What a client sends of a file.
#[derive(Clone, Debug)]
pub enum FilePart {
    /// The next bytes, at least one.
    Piece(Bytes),
    /// The end: the whole file, as it was kept.
    End(Arc<dyn LocalFile>),
}

/// Numbers the packets of a file after the server's request for it.
pub(crate) struct FileSender(u8);

impl FileSender {
    pub fn new() -> Self {
        // The command was number 0, the request 1.
        Self(2)
    }

    /// Sends part of the file; an empty part ends it.
    pub async fn send<L: Leg>(&mut self, leg: &mut OpenLeg<L>, part: &[u8]) -> Result<(), LegError> {
        if part.is_empty() {
            return leg.send_file(&[], &mut self.0).await;
        }
        for piece in part.chunks(PIECE_LEN) {
            leg.send_file(piece, &mut self.0).await?;
        }
        Ok(())
    }
}

/// All of a file, if it has at most `most` bytes and can be read.
pub(crate) async fn read_whole(file: &dyn LocalFile, most: usize) -> Option<Bytes> {
    let mut whole = BytesMut::new();
    loop {
        let piece = file.read_at(whole.len() as u64, PIECE_LEN).await.ok()?;
        if piece.is_empty() {
            return Some(whole.freeze());
        }
        whole.extend_from_slice(&piece);
        if whole.len() > most {
            return None;
        }
    }
}

/// A file that the log has kept.
#[derive(Debug)]
pub(crate) struct LoggedFile(pub Bytes);

impl LocalFile for LoggedFile {
    fn cost(&self) -> usize {
        self.0.len()
    }

    fn read_at(&self, at: u64, len: usize) -> Pin<Box<dyn Future<Output = Result<Bytes, String>> + Send + '_>> {
        let from = usize::try_from(at).unwrap_or(usize::MAX).min(self.0.len());
        let to = from.saturating_add(len).min(self.0.len());
        Box::pin(std::future::ready(Ok(self.0.slice(from..to))))
    }
}

/// Gives a server the file that it has asked for, to its end.
pub(crate) async fn send_whole<L: Leg>(leg: &mut OpenLeg<L>, file: &dyn LocalFile) -> Result<(), LegError> {
    let mut sender = FileSender::new();
    let mut at = 0;
    loop {
        // Without the file nothing that is sent would be right, and the server must not take what it has for the whole.
        let piece = file.read_at(at, PIECE_LEN).await.map_err(LegError::Lost)?;
        sender.send(leg, &piece).await?;
        if piece.is_empty() {
            return Ok(());
        }
        at += piece.len() as u64;
    }
}
