//! One client after its login: the command loop.
//!
//! The task waits for a command, runs it to its end, and only then looks at the next: commands that a client sent ahead wait in its
//! socket. A client that goes away is noticed when it is written to or read from. A statement on its way is never dropped, because it may be
//! between two servers: to cut a client is to interrupt its statement, refuse its bytes, and let the engine come to an end.

mod bulk;
mod change_user;
mod connection_status;
mod explain;
mod kill;
mod options;
mod prepared;
mod query;
mod task;

pub(crate) use task::serve;

use crate::error::LinkError;
use crate::link::Link;
use crate::login::Seat;
use crate::peer::Peer;
use crate::refusal;
use crate::reply::{Next, ReplyWriter};
use crate::shared::Shared;
use bytes::{Bytes, BytesMut};
use grove_engine::io::World;
use grove_engine::{Interrupter, Session, SessionError};
use grove_sql::Flavor;
use grove_wire::command::{COM_PING, COM_STMT_BULK_EXECUTE, Command};
use grove_wire::handshake::CHALLENGE_LEN;
use grove_wire::{ErrPacket, ReplyShape};
use prepared::Statements;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use task::Counted;
use tokio_util::sync::CancellationToken;

/// Pause between two attempts to interrupt what a client runs that is to be cut: it may have begun something new.
const INTERRUPT_PAUSE: Duration = Duration::from_millis(200);

/// A client after its login.
struct Client<W: World> {
    shared: Arc<Shared<W>>,
    link: Link,
    id: u32,
    peer: Peer,
    user: Arc<str>,
    _seat: Seat,
    flavor: Flavor,
    collation: u16,
    max_packet_len: u32,
    challenge: [u8; CHALLENGE_LEN],
    session: Session<W>,
    interrupter: Interrupter<W>,
    statements: Statements,
    _counted: Counted,
}

/// Whether the connection goes on after a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum After {
    GoesOn,
    Ends,
}

impl<W: World> Client<W> {
    /// Runs commands until the client quits, is gone, or must go.
    async fn run(&mut self) -> Result<(), LinkError> {
        loop {
            let stop = &self.shared.stop;
            let may_stop = !self.session.in_transaction();
            // Dropping `receive` loses no bytes, and the connection ends in the other cases anyway. A command that is there already is
            // taken before a stop, so that what a client sent in time is answered.
            let command = tokio::select! {
                biased;
                () = self.link.cut.clone().cancelled_owned() => return Err(LinkError::Cut),
                command = self.link.receive(self.shared.idle_timeout) => command?,
                () = stop.cancelled(), if may_stop => return Ok(()),
            };
            // A command's future is large: boxed, it is not part of an idle client's memory. It is moved into its box as a whole, so what is
            // rare or long on the way of a statement is in a box of its own.
            if Box::pin(self.command(command)).await? == After::Ends {
                return Ok(());
            }
            if self.link.cut.is_cancelled() {
                return Err(LinkError::Cut);
            }
            if self.shared.stop.is_cancelled() && !self.session.in_transaction() {
                return Ok(());
            }
        }
    }

    async fn command(&mut self, payload: Bytes) -> Result<After, LinkError> {
        if payload.is_empty() {
            // To the servers an empty packet is COM_SLEEP, which nobody may send.
            return self.refuse(&refusal::unknown_command()).await;
        }
        match Command::parse(&payload, self.link.capabilities)? {
            Command::Quit => Ok(After::Ends),
            Command::Query => self.query(payload).await,
            Command::StmtExecute { id } => self.execute_prepared(id, payload).await,
            Command::StmtBulkExecute { id } => Box::pin(self.execute_bulk(id, payload)).await,
            Command::StmtPrepare(text) => Box::pin(self.prepare(text)).await,
            Command::StmtClose(id) => self.close_prepared(id).await,
            Command::StmtReset(id) => Box::pin(self.reset_prepared(id)).await,
            Command::StmtSendLongData { id, parameter, data } => {
                self.add_long_data(id, parameter, data);
                Ok(After::GoesOn)
            }
            Command::InitDb(schema) => {
                let mut writer = ReplyWriter::new(&mut self.link);
                let result = Box::pin(self.session.init_db(schema, &mut writer)).await;
                conclude(writer, result, Next::End).await
            }
            Command::FieldList => Box::pin(self.field_list(payload)).await,
            Command::Statistics => Box::pin(self.statistics(payload)).await,
            Command::SetOption(option) => Box::pin(self.set_option(option)).await,
            Command::ProcessKill(id) => Box::pin(self.process_kill(id)).await,
            Command::Ping => Box::pin(self.ping()).await,
            Command::ResetConnection => Box::pin(self.reset()).await,
            Command::ChangeUser(change) => Box::pin(self.change_user(change)).await,
            Command::StmtFetch { id, rows } => Box::pin(self.fetch(id, rows)).await,
            Command::Debug => Box::pin(self.debug(payload)).await,
            Command::Unknown(COM_STMT_BULK_EXECUTE) if self.flavor == Flavor::MariaDb => {
                // A client that has not announced it.
                self.refuse(&refusal::not_preparable()).await
            }
            Command::Unknown(_) => self.refuse(&refusal::unknown_command()).await,
        }
    }

    /// COM_PING. It also gives Grove's own successes an OK packet with the status flags that the server knows.
    async fn ping(&mut self) -> Result<After, LinkError> {
        self.ping_then(Next::End).await
    }

    async fn ping_then(&mut self, next: Next) -> Result<After, LinkError> {
        let mut writer = ReplyWriter::new(&mut self.link);
        let ping = Bytes::from_static(&[COM_PING]);
        let result = self.session.command(ping, ReplyShape::SingleOk, &mut writer).await;
        conclude(writer, result, next).await
    }

    async fn reset(&mut self) -> Result<After, LinkError> {
        self.statements = Statements::new(self.flavor);
        match self.session.reset().await {
            Ok(()) => self.ping().await,
            Err(error) => {
                let writer = ReplyWriter::new(&mut self.link);
                conclude(writer, Err(error), Next::End).await
            }
        }
    }

    async fn refuse(&mut self, err: &ErrPacket) -> Result<After, LinkError> {
        self.link.send_err(err).await?;
        Ok(After::GoesOn)
    }

    /// Ends the session in order: what is open is rolled back before the client is told that the connection is closed.
    async fn end(mut self, ended: Result<(), LinkError>) {
        self.session.close().await;
        match ended {
            Ok(()) => self.link.close().await,
            Err(error) => task::close(self.link, error, self.flavor, &self.shared).await,
        }
    }
}

/// Sends the end of a reply: the leg's last frame, or the engine's error.
async fn conclude(
    mut writer: ReplyWriter<'_>,
    result: Result<BytesMut, SessionError>,
    next: Next,
) -> Result<After, LinkError> {
    let error = match result {
        Ok(frame) => {
            writer.finish(frame, next).await?;
            return Ok(After::GoesOn);
        }
        Err(error) => error,
    };
    writer.fail(&error.to_err_packet()).await?;
    match error {
        // Its SQLSTATE tells drivers that the connection is of no use now.
        SessionError::NoServer(_) | SessionError::Fatal(_) => Ok(After::Ends),
        _ => Ok(After::GoesOn),
    }
}

/// Runs `statement` to its end, whatever happens. Once the client is cut, what it runs is interrupted until it ends.
async fn run_to_the_end<W: World, T>(
    interrupter: &Interrupter<W>,
    cut: &CancellationToken,
    statement: impl Future<Output = T>,
) -> T {
    let interrupting = async {
        cut.cancelled().await;
        loop {
            Box::pin(interrupter.interrupt()).await;
            tokio::time::sleep(INTERRUPT_PAUSE).await;
        }
    };
    let mut statement = pin!(statement);
    // The first branch is the only one that ends. Dropping an interruption is allowed: see `Interrupter::interrupt`.
    tokio::select! {
        biased;
        result = &mut statement => result,
        never = interrupting => never,
    }
}
