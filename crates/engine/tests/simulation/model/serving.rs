//! The server's end of a wire: flights come in, replies go out, and the end of a connection is noticed sooner or later.
//!
//! It is a task of its own, as a server's thread is: a client that goes away does not stop the statement that is running, and the
//! transaction is rolled back only when the server notices.

use super::connection::{Connection, statement_id};
use super::server::Server;
use bytes::Bytes;
use grove_wire::command::COM_STMT_CLOSE;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

/// Commands that were sent in one write.
pub struct Flight {
    /// When they arrive.
    pub at: Instant,
    pub commands: Vec<Bytes>,
    pub fate: Fate,
}

/// What the network does to a flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Arrives,
    /// The connection breaks after the server has executed this many of the commands; none of the replies from there on arrives.
    BreaksAfter(usize),
    /// The connection breaks in the middle of the reply to this command.
    BreaksInReply(usize),
}

/// A piece of what the server sends.
pub struct Piece {
    /// When it arrives.
    pub at: Instant,
    pub bytes: Bytes,
}

/// The server's end of a connection's wire.
pub struct Wire {
    pub flights: mpsc::UnboundedReceiver<Flight>,
    pub pieces: mpsc::UnboundedSender<Piece>,
    /// The client has closed the connection in a way that discards what is on its way.
    pub reset: Arc<AtomicBool>,
}

/// How much later than a new connection's first words something arrives that was sent into a cut, in milliseconds.
const SENT_AGAIN_AFTER: [u64; 5] = [0, 1, 30, 400, 2_000];

/// How long a server keeps a connection whose end was said into a cut, in milliseconds.
const NOTICES_CUT_AFTER: [u64; 5] = [0, 10, 500, 5_000, 20_000];

/// Starts a connection's task; its id.
pub fn open(server: &Arc<Server>, wire: Wire) -> u32 {
    let (id, ended) = server.new_connection();
    tokio::spawn(Connection::new(server, id).live(wire, ended));
    id
}

impl Connection {
    async fn live(mut self, wire: Wire, ended: Arc<Notify>) {
        let server = Arc::clone(&self.server);
        tokio::select! {
            biased;
            () = server.dies() => return,
            () = ended.notified() => {
                server.trace.event(&[64, u64::from(self.id)], || format!("s{} #{} is killed", server.id, self.id));
                server.forget_connection(self.id);
                return;
            }
            () = self.serve(wire) => {}
        }
        let noticed = async {
            if server.link.is_cut() {
                self.was_cut = true;
                server.link.whole().await;
            }
            let late = server.step(|state| {
                let bound = if state.random.chance(50) { 10 } else { 1 };
                let late = state.random.below(bound * server.policy.notices_close_within + 1);
                // Nothing tells a server that its peer is gone if that was said into a cut; it finds out by itself.
                late + if self.was_cut {
                    state.random.pick(&NOTICES_CUT_AFTER)
                } else {
                    0
                }
            });
            tokio::time::sleep(Duration::from_millis(late)).await;
            server.runs().await;
        };
        tokio::select! {
            biased;
            () = server.dies() => {}
            () = ended.notified() => server.forget_connection(self.id),
            () = noticed => {
                server.trace.event(&[62, u64::from(self.id)], || format!("s{} #{} is closed", server.id, self.id));
                server.forget_connection(self.id);
            }
        }
    }

    async fn serve(&mut self, mut wire: Wire) {
        let server = Arc::clone(&self.server);
        while let Some(flight) = wire.flights.recv().await {
            tokio::time::sleep_until(flight.at).await;
            if server.link.holds_back(flight.at) && !self.crosses_cut().await {
                return;
            }
            if wire.reset.load(Ordering::Relaxed) {
                return;
            }
            for (index, command) in flight.commands.iter().enumerate() {
                if flight.fate == Fate::BreaksAfter(index) {
                    return;
                }
                server.runs().await;
                if command.first() == Some(&COM_STMT_CLOSE) {
                    self.prepared.remove(&statement_id(command));
                    continue;
                }
                let reply = self.execute(command).await;
                server.runs().await;
                let delay = server.step(|state| state.random.below(server.policy.reply_delay + 1));
                let at = Instant::now() + Duration::from_millis(delay);
                if flight.fate == Fate::BreaksInReply(index) {
                    let bytes = reply.slice(..reply.len() / 2);
                    let _ = wire.pieces.send(Piece { at, bytes });
                    return;
                }
                if flight.fate != Fate::BreaksAfter(index + 1) {
                    let _ = wire.pieces.send(Piece { at, bytes: reply });
                }
            }
            if flight.fate != Fate::Arrives {
                return;
            }
        }
    }

    /// Waits until the network is whole again. False if what was sent into the cut is lost and the connection with it; otherwise it arrives
    /// after whatever newer connections have sent meanwhile.
    async fn crosses_cut(&mut self) -> bool {
        let server = Arc::clone(&self.server);
        self.was_cut = true;
        server.link.whole().await;
        let (arrives, late) = server.step(|state| (state.random.chance(750), state.random.pick(&SENT_AGAIN_AFTER)));
        tokio::time::sleep(Duration::from_millis(late)).await;
        arrives
    }
}
