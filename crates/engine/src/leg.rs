//! One leg: a session's own connection to one server, with what Grove knows about its state.
//!
//! Invariants: replies come back in the order of the commands; a leg whose future was dropped in the middle, or which failed, is never used
//! again; every wait ends when the server leaves the group.

use crate::interrupt::{Kill, Running};
use crate::io::{BackendId, Collect, Discard, Leg, LegError, LegReply, ReplySink};
use crate::local_file::send_whole;
use crate::on_server::{OnServer, types_that_matter};
use crate::position_rows::{ER_CANT_EXECUTE_IN_READ_ONLY_TRANSACTION, Fence};
use crate::statement::{Body, Prepared, asks_for_file, query_payload};
use crate::value;
use bytes::{BufMut, Bytes, BytesMut};
use grove_recovery_log::Position;
use grove_wire::command::{
    COM_PING, COM_SET_OPTION, COM_STMT_CLOSE, COM_STMT_PREPARE, COM_STMT_SEND_LONG_DATA, MULTI_STATEMENTS_OFF,
    MULTI_STATEMENTS_ON,
};
use grove_wire::query_attributes::laid_out;
use grove_wire::{CapabilityFlags, ReplyShape, ResultEnd, StatusFlags};
use std::collections::HashMap;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// An open leg.
pub(crate) struct OpenLeg<L: Leg> {
    pub backend: BackendId,
    /// Version of the session's state that the connection has.
    pub state_version: u64,
    /// Whether the server said, last, that a transaction is open.
    pub in_transaction: bool,
    /// Whether `SET TIMESTAMP` is in force, which a client's own read must not see.
    pub clock_is_set: bool,
    /// Whether statements of a transaction that was rolled back were never executed here, so that LAST_INSERT_ID() may be an older one.
    pub missed_insert_ids: bool,
    /// Whether a kill was delivered while the client's last statement was there. It may have ended without an error all the same, with part of
    /// its work undone: MariaDB 10.11 answers OK with 0 rows to a DELETE that is killed while it looks for its range.
    pub was_killed: bool,
    /// When the session last took it up, on the engine's clock.
    pub used_at: Duration,
    /// The fence behind which it commits; `None` where servers keep no position rows.
    fence: Option<Fence>,
    leg: L,
    gone: CancellationToken,
    /// Grove's statement ids to what the server has.
    prepared: HashMap<u32, OnServer>,
}

impl<L: Leg> OpenLeg<L> {
    pub fn new(backend: BackendId, leg: L, gone: CancellationToken, fence: Option<Fence>) -> Self {
        Self {
            backend,
            state_version: 0,
            in_transaction: false,
            clock_is_set: false,
            missed_insert_ids: false,
            was_killed: false,
            used_at: Duration::ZERO,
            fence,
            leg,
            gone,
            prepared: HashMap::new(),
        }
    }

    /// Whether an idle leg's connection has ended meanwhile.
    pub fn is_stale(&mut self) -> bool {
        self.leg.is_stale()
    }

    pub fn thread_id(&self) -> u32 {
        self.leg.thread_id()
    }

    /// What decides how replies are laid out here, and commands.
    pub fn capabilities(&self) -> CapabilityFlags {
        self.leg.capabilities()
    }

    pub fn gone(&self) -> &CancellationToken {
        &self.gone
    }

    /// Sends `prelude` (Grove's own statements, each answered with OK) and the statement in one flight, and receives the statement's reply.
    pub async fn run<S: ReplySink>(
        &mut self,
        prelude: &[Bytes],
        body: &Body,
        sink: &mut S,
    ) -> Result<LegReply, LegError> {
        self.run_announced(prelude, body, sink, None).await
    }

    /// Runs a statement and tells `running` when it is on the server, so that a kill hits it and not its prelude.
    pub async fn run_announced<S: ReplySink>(
        &mut self,
        prelude: &[Bytes],
        body: &Body,
        sink: &mut S,
        running: Option<&Running>,
    ) -> Result<LegReply, LegError> {
        let gone = self.gone.clone();
        tokio::select! {
            biased;
            reply = self.run_unguarded(prelude, body, sink, running) => reply,
            () = gone.cancelled() => Err(LegError::Lost("the server has left the group".into())),
        }
    }

    /// Runs the client's own statement: `KILL QUERY` may reach it, and never what comes before or after it.
    pub async fn run_for_client<S: ReplySink>(
        &mut self,
        prelude: &[Bytes],
        body: &Body,
        sink: &mut S,
        running: &Running,
    ) -> Result<LegReply, LegError> {
        let result = self.run_announced(prelude, body, sink, Some(running)).await;
        if matches!(&result, Ok(reply) if asks_for_file(reply)) {
            // It runs on until it has its file, see `after_file`.
            return result;
        }
        self.ended(result, running).await
    }

    async fn ended(&mut self, result: Result<LegReply, LegError>, running: &Running) -> Result<LegReply, LegError> {
        let kill = running.end().await;
        self.was_killed = kill != Kill::None;
        if kill == Kill::Unanswered {
            return Err(LegError::Lost(
                "a kill was not answered and may hit what comes next".into(),
            ));
        }
        if self.was_killed && result.is_ok() {
            // The kill may have come too late for its statement; a command of no consequence takes it.
            Box::pin(self.ask_in_transaction()).await?;
        }
        result
    }

    /// Commits the open transaction with `commit`, and with it the position of its unit. The position and the COMMIT are one text, so that the server does
    /// not commit when it refuses the position; the transaction is still open then. `takes_several` says whether the client's statements may be
    /// several in one text.
    pub async fn commit(
        &mut self,
        position: Position,
        commit: &Body,
        takes_several: bool,
    ) -> Result<LegReply, LegError> {
        let Some(fence) = self.fence else {
            return self.run(&[], commit, &mut Discard).await;
        };
        let text = [fence.mark(position).as_bytes(), b";", commit.text()].concat();
        let gone = self.gone.clone();
        let reply = tokio::select! {
            biased;
            reply = self.run_several(&text, takes_several) => reply?,
            () = gone.cancelled() => return Err(LegError::Lost("the server has left the group".into())),
        };
        match reply.reply.err() {
            // Nothing was written that stays.
            Some(err) if err.code == ER_CANT_EXECUTE_IN_READ_ONLY_TRANSACTION => {
                self.run(&[], commit, &mut Discard).await
            }
            _ => Ok(reply),
        }
    }

    /// Runs a text of several statements in one flight; the reply is that to the last one that was executed, numbered as if it were alone.
    async fn run_several(&mut self, text: &[u8], takes_several: bool) -> Result<LegReply, LegError> {
        let option = |option: u16| {
            let [low, high] = option.to_le_bytes();
            Bytes::copy_from_slice(&[COM_SET_OPTION, low, high])
        };
        let text = laid_out(query_payload(text), self.leg.capabilities());
        let mut commands: smallvec::SmallVec<[Bytes; 3]> = smallvec::smallvec![option(MULTI_STATEMENTS_ON), text];
        if !takes_several {
            commands.push(option(MULTI_STATEMENTS_OFF));
        }
        self.leg.send(&commands).await?;
        let refused = self.receive_prelude(1).await?;
        let mut reply = self.leg.receive(ReplyShape::Query, &mut Discard).await?;
        self.note_status(&reply);
        if !takes_several {
            // COMMIT RELEASE ends the connection instead; whoever uses the leg next finds out.
            let _ = self.receive_prelude(1).await;
        }
        if let Some(reason) = refused {
            return Err(LegError::Protocol(reason));
        }
        if let Some(sequence) = reply.last_frame.get_mut(3) {
            *sequence = 1;
        }
        let earlier = reply.reply.results.len().saturating_sub(1);
        reply.reply.results.drain(..earlier);
        Ok(reply)
    }

    /// Runs one of Grove's own statements, whose rows nobody needs.
    pub async fn query(&mut self, sql: &[u8]) -> Result<LegReply, LegError> {
        self.run(&[], &Body::query(sql), &mut Discard).await
    }

    /// Runs one raw command.
    pub async fn command<S: ReplySink>(
        &mut self,
        payload: Bytes,
        shape: ReplyShape,
        sink: &mut S,
    ) -> Result<LegReply, LegError> {
        let gone = self.gone.clone();
        let payload = laid_out(payload, self.leg.capabilities());
        let exchange = async {
            self.leg.send(&[payload]).await?;
            self.leg.receive(shape, sink).await
        };
        let reply = tokio::select! {
            biased;
            reply = exchange => reply?,
            () = gone.cancelled() => return Err(LegError::Lost("the server has left the group".into())),
        };
        self.note_status(&reply);
        Ok(reply)
    }

    /// Asks the server whether a transaction is open: an ERR packet does not say.
    pub async fn ask_in_transaction(&mut self) -> Result<bool, LegError> {
        self.command(Bytes::from_static(&[COM_PING]), ReplyShape::SingleOk, &mut Discard)
            .await?;
        Ok(self.in_transaction)
    }

    /// What LAST_INSERT_ID() says here.
    pub async fn last_insert_id(&mut self) -> Result<u64, LegError> {
        let mut answer = Collect::default();
        let question = Body::query(b"SELECT LAST_INSERT_ID()");
        self.run(&[], &question, &mut answer).await?;
        let row = value::read_one_row(&answer, self.leg.capabilities());
        let id = row.and_then(|row| std::str::from_utf8(&row.first()?.plain).ok()?.parse().ok());
        id.ok_or_else(|| LegError::Protocol("LAST_INSERT_ID() is no number".into()))
    }

    /// Tells the server to forget a statement; it does not answer.
    pub async fn close_statement(&mut self, id: u32) -> Result<(), LegError> {
        let Some(known) = self.prepared.remove(&id) else {
            return Ok(());
        };
        self.leg.send(&[close_payload(known.id)]).await
    }

    /// Runs a command about a prepared statement, made for the server's id of it; `None` if the statement is not known there.
    pub async fn about_statement<S: ReplySink>(
        &mut self,
        id: u32,
        shape: ReplyShape,
        command: impl FnOnce(u32) -> Bytes,
        sink: &mut S,
    ) -> Result<Option<LegReply>, LegError> {
        match self.prepared.get(&id) {
            Some(known) => self.command(command(known.id), shape, sink).await.map(Some),
            None => Ok(None),
        }
    }

    /// Has the server read a text without running it: the last frame of its refusal, if it refuses. Nothing stays behind.
    pub async fn try_to_prepare(&mut self, text: &[u8]) -> Result<Option<(u16, BytesMut)>, LegError> {
        let reply = self
            .command(prepare_payload(text), ReplyShape::Prepare, &mut Discard)
            .await?;
        match reply.reply.results.first() {
            Some(ResultEnd::Err(err)) => Ok(Some((err.code, reply.last_frame))),
            Some(ResultEnd::Prepared { statement_id, .. }) => {
                self.leg.send(&[close_payload(*statement_id)]).await?;
                Ok(None)
            }
            _ => Ok(None),
        }
    }

    /// Prepares a statement and passes the whole reply except its last frame to `sink`.
    pub async fn prepare<S: ReplySink>(&mut self, id: u32, text: &[u8], sink: &mut S) -> Result<LegReply, LegError> {
        let reply = self.command(prepare_payload(text), ReplyShape::Prepare, sink).await?;
        if let ResultEnd::Prepared { statement_id, .. } = reply.reply.last() {
            self.prepared.insert(id, OnServer::new(*statement_id));
        }
        Ok(reply)
    }

    async fn run_unguarded<S: ReplySink>(
        &mut self,
        prelude: &[Bytes],
        body: &Body,
        sink: &mut S,
        running: Option<&Running>,
    ) -> Result<LegReply, LegError> {
        let capabilities = self.leg.capabilities();
        let prelude_here = prelude.iter().map(|own| laid_out(own.clone(), capabilities));
        let mut commands: smallvec::SmallVec<[Bytes; 4]> = prelude_here.collect();
        let mut own = prelude.len();
        match body {
            Body::Query(query) | Body::Load { query, .. } => commands.push(query.laid_out(capabilities)),
            Body::Execute {
                prepared,
                payload,
                long_data,
            } => {
                let types = types_that_matter(prepared, payload, capabilities);
                let is_another = prepared.id == Prepared::ONLY_ONCE;
                if self
                    .prepared
                    .get_mut(&prepared.id)
                    .is_some_and(|known| is_another || !known.takes(&types))
                {
                    self.close_statement(prepared.id).await?;
                }
                if !self.prepared.contains_key(&prepared.id) {
                    // The text's meaning may depend on the prelude (default schema), so the prelude goes first.
                    Box::pin(self.send_prelude(prelude)).await?;
                    commands.clear();
                    own = 0;
                    let reply = Box::pin(self.prepare(prepared.id, &prepared.text, &mut Discard)).await?;
                    if reply.reply.err().is_some() {
                        return Ok(reply);
                    }
                }
                let known = self.prepared.get_mut(&prepared.id);
                let known =
                    known.ok_or_else(|| LegError::Protocol("a statement that was prepared is not known".into()))?;
                // Those of the first execution.
                known.takes(&types);
                let server_id = known.id.to_le_bytes();
                for (parameter, data) in long_data.iter() {
                    let mut command = BytesMut::with_capacity(data.len() + 7);
                    command.put_u8(COM_STMT_SEND_LONG_DATA);
                    command.put_slice(&server_id);
                    command.put_u16_le(*parameter);
                    command.put_slice(data);
                    commands.push(command.freeze());
                }
                let mut command = BytesMut::from(payload.as_ref());
                command[1..5].copy_from_slice(&server_id);
                commands.push(command.freeze());
            }
        }
        self.leg.send(&commands).await?;
        let refused = self.receive_prelude(own).await?;
        if let Some(running) = running {
            // Not before: a kill in the middle of the prelude would hit Grove's BEGIN, and the statement would then commit by itself.
            running.begin_statement(self.backend, self.thread_id());
        }
        let mut reply = self.leg.receive(ReplyShape::Query, sink).await?;
        if let Some(reason) = refused {
            return Err(LegError::Protocol(reason));
        }
        if let (Body::Load { file, .. }, ResultEnd::LocalInfile) = (body, reply.reply.last()) {
            send_whole(self, file.as_ref()).await?;
            reply = self.leg.receive(ReplyShape::Query, sink).await?;
        }
        self.note_status(&reply);
        Ok(reply)
    }

    /// Part of a file that the server has asked for; see [`crate::local_file`].
    pub async fn send_file(&mut self, part: &[u8], sequence: &mut u8) -> Result<(), LegError> {
        let gone = self.gone.clone();
        tokio::select! {
            biased;
            sent = self.leg.send_file(part, sequence) => sent,
            () = gone.cancelled() => Err(LegError::Lost("the server has left the group".into())),
        }
    }

    /// The server's answer to a client's statement once it has the whole file.
    pub async fn after_file<S: ReplySink>(&mut self, sink: &mut S, running: &Running) -> Result<LegReply, LegError> {
        let gone = self.gone.clone();
        let result = tokio::select! {
            biased;
            result = self.leg.receive(ReplyShape::Query, sink) => result,
            () = gone.cancelled() => Err(LegError::Lost("the server has left the group".into())),
        };
        if let Ok(reply) = &result {
            self.note_status(reply);
        }
        self.ended(result, running).await
    }

    /// Runs Grove's own statements in one flight; each must be answered with OK.
    pub async fn tell(&mut self, statements: &[Bytes]) -> Result<(), LegError> {
        let gone = self.gone.clone();
        tokio::select! {
            biased;
            told = self.send_prelude(statements) => told,
            () = gone.cancelled() => Err(LegError::Lost("the server has left the group".into())),
        }
    }

    async fn send_prelude(&mut self, prelude: &[Bytes]) -> Result<(), LegError> {
        if prelude.is_empty() {
            return Ok(());
        }
        let capabilities = self.leg.capabilities();
        let prelude_here = prelude.iter().map(|own| laid_out(own.clone(), capabilities));
        let commands: smallvec::SmallVec<[Bytes; 4]> = prelude_here.collect();
        self.leg.send(&commands).await?;
        match self.receive_prelude(prelude.len()).await? {
            Some(reason) => Err(LegError::Protocol(reason)),
            None => Ok(()),
        }
    }

    /// Receives the replies to Grove's own statements; tells the first refusal.
    async fn receive_prelude(&mut self, count: usize) -> Result<Option<String>, LegError> {
        let mut refused = None;
        for _ in 0..count {
            let reply = self.leg.receive(ReplyShape::Query, &mut Discard).await?;
            if let (None, Some(err)) = (&refused, reply.reply.err()) {
                let message = String::from_utf8_lossy(&err.message).into_owned();
                refused = Some(format!("refused the session's state: error {}: {message}", err.code));
            }
            self.note_status(&reply);
        }
        Ok(refused)
    }

    fn note_status(&mut self, reply: &LegReply) {
        if let Some(status) = reply.reply.status() {
            self.in_transaction = status.contains(StatusFlags::IN_TRANS);
        }
    }
}

fn prepare_payload(text: &[u8]) -> Bytes {
    let mut payload = BytesMut::with_capacity(text.len() + 1);
    payload.put_u8(COM_STMT_PREPARE);
    payload.put_slice(text);
    payload.freeze()
}

fn close_payload(statement_id: u32) -> Bytes {
    let mut payload = BytesMut::with_capacity(5);
    payload.put_u8(COM_STMT_CLOSE);
    payload.put_u32_le(statement_id);
    payload.freeze()
}
