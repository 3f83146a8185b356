//! Cursors: a prepared plain read whose rows the client fetches piece by piece (COM_STMT_FETCH).
//!
//! A cursor lives on the connection that ran the read, and ends with it: no other server can go on in the middle of its rows. What has been
//! fetched is not digested, so a transaction that opened a cursor does not move to another server.

use super::{Session, Slot};
use crate::error::SessionError;
use crate::io::{BackendId, ClientReply, LegError, LegReply, World};
use crate::state::Isolation;
use crate::statement::{Body, Statement};
use bytes::{Bytes, BytesMut};
use grove_sql::Class;
use grove_wire::command::CURSOR_TYPES;
use grove_wire::{ReplyShape, StatusFlags};

/// ER_STMT_HAS_NO_OPEN_CURSOR
const NO_OPEN_CURSOR: u16 = 1421;
/// Where COM_STMT_EXECUTE says that it wants a cursor.
const FLAGS_AT: usize = 5;

/// The connection that has a cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    backend: BackendId,
    thread_id: u32,
}

impl<W: World> Session<W> {
    /// The statement without its wish for a cursor, if it will not run as a plain read.
    pub(super) fn without_cursor(&self, statement: &Statement) -> Option<Statement> {
        let Body::Execute {
            prepared,
            payload,
            long_data,
        } = &statement.body
        else {
            return None;
        };
        let analysis = &statement.analysis;
        let inside = self.transaction.is_some() || !self.state.autocommit;
        let reads_lock = inside && self.isolation() == Isolation::Serializable;
        let is_plain = analysis.class == Class::Read && analysis.row_count_columns.is_empty() && !reads_lock;
        if is_plain || statement.body.is_bulk() || payload.get(FLAGS_AT).is_none_or(|&flags| flags & CURSOR_TYPES == 0)
        {
            return None;
        }
        let mut payload = BytesMut::from(&payload[..]);
        payload[FLAGS_AT] &= !CURSOR_TYPES;
        let body = Body::Execute {
            prepared: prepared.clone(),
            payload: payload.freeze(),
            long_data: long_data.clone(),
        };
        Some(Statement {
            body,
            analysis: analysis.clone(),
        })
    }

    /// Takes note of the cursor that a plain read has opened, or closed by running again.
    pub(super) fn note_cursor(&mut self, backend: BackendId, statement: &Statement, reply: &LegReply) {
        let Body::Execute { prepared, .. } = &statement.body else {
            return;
        };
        let status = reply.reply.status().unwrap_or_default();
        let thread_id = match self.slot(backend) {
            Slot::Mine(leg) => leg.thread_id(),
            Slot::Away(handle) => handle.thread_id(),
            Slot::Closed => return,
        };
        if !status.contains(StatusFlags::CURSOR_EXISTS) {
            self.cursors.remove(&prepared.id);
            return;
        }
        self.cursors.insert(prepared.id, Place { backend, thread_id });
        if let Some(transaction) = &mut self.transaction {
            transaction.reads.cannot_be_proved();
        }
    }

    /// COM_STMT_FETCH of `rows` rows. `None` if the statement has no open cursor, or has lost it with its server.
    pub async fn fetch<S: ClientReply>(
        &mut self,
        id: u32,
        rows: u32,
        sink: &mut S,
    ) -> Result<Option<BytesMut>, SessionError> {
        self.row_count = None;
        self.warnings = None;
        let result = self.fetch_there(id, rows, sink).await;
        self.after(result).await
    }

    async fn fetch_there<S: ClientReply>(
        &mut self,
        id: u32,
        rows: u32,
        sink: &mut S,
    ) -> Result<Option<BytesMut>, SessionError> {
        let Some(&place) = self.cursors.get(&id) else {
            return Ok(None);
        };
        match self.on_cursors_leg(place, id, Ask::Fetch(rows), sink).await {
            Ok(Some(reply)) if reply.reply.err().is_some_and(|err| err.code == NO_OPEN_CURSOR) => {
                // Its message names the server's id of the statement.
                self.cursors.remove(&id);
                Ok(None)
            }
            Ok(Some(reply)) => Ok(Some(reply.last_frame)),
            Ok(None) => {
                self.cursors.remove(&id);
                Ok(None)
            }
            Err(error) => {
                self.cursors.remove(&id);
                let mut attempts = 0;
                self.after_failure(place.backend, error, &mut attempts).await?;
                if !sink.start_over() {
                    return Err(SessionError::Fatal("the server died in the middle of a result".into()));
                }
                self.move_transaction(place.backend).await?;
                Ok(None)
            }
        }
    }

    /// COM_STMT_RESET: closes the statement's cursor. `None` if it has none, so that there is nothing to do.
    pub async fn reset_statement<S: ClientReply>(
        &mut self,
        id: u32,
        sink: &mut S,
    ) -> Result<Option<BytesMut>, SessionError> {
        let Some(place) = self.cursors.remove(&id) else {
            return Ok(None);
        };
        match self.on_cursors_leg(place, id, Ask::Reset, sink).await {
            Ok(reply) => Ok(reply.map(|reply| reply.last_frame)),
            // The cursor is gone with it.
            Err(_) => {
                self.close_leg(place.backend);
                Ok(None)
            }
        }
    }

    /// Asks the connection that has the cursor; `None` if that is another one now.
    async fn on_cursors_leg<S: ClientReply>(
        &mut self,
        place: Place,
        id: u32,
        ask: Ask,
        sink: &mut S,
    ) -> Result<Option<LegReply>, LegError> {
        match std::mem::replace(self.slot(place.backend), Slot::Closed) {
            Slot::Closed => Ok(None),
            Slot::Mine(mut leg) => {
                let reply = match leg.thread_id() == place.thread_id {
                    true => leg.about_statement(id, ask.shape(), |id| ask.command(id), sink).await,
                    false => Ok(None),
                };
                *self.slot(place.backend) = Slot::Mine(leg);
                reply
            }
            // At work as a follower: its queue is waited for, and it goes on afterwards.
            Slot::Away(handle) => {
                let Some(mut follower) = self.reclaimed(handle).await else {
                    return Err(LegError::Lost("the follower's leg was lost".into()));
                };
                let leg = &mut follower.leg;
                let reply = match leg.thread_id() == place.thread_id {
                    true => leg.about_statement(id, ask.shape(), |id| ask.command(id), sink).await?,
                    false => None,
                };
                *self.slot(place.backend) = Slot::Away(follower.start());
                Ok(reply)
            }
        }
    }
}

/// What is asked of a cursor.
#[derive(Clone, Copy)]
enum Ask {
    Fetch(u32),
    Reset,
}

impl Ask {
    fn shape(self) -> ReplyShape {
        match self {
            Self::Fetch(_) => ReplyShape::Fetch,
            Self::Reset => ReplyShape::SingleOk,
        }
    }

    /// The command, where `id` is the server's id of the statement.
    fn command(self, id: u32) -> Bytes {
        let id = id.to_le_bytes();
        match self {
            Self::Fetch(rows) => [&[grove_wire::command::COM_STMT_FETCH][..], &id, &rows.to_le_bytes()].concat(),
            Self::Reset => [&[grove_wire::command::COM_STMT_RESET][..], &id].concat(),
        }
        .into()
    }
}
