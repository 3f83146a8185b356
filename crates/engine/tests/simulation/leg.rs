//! The engine's end of a wire: flights go out after a delay, replies come in, and both may be lost on the way.

use crate::model::serving::{Flight, Piece};
use crate::model::{CAPABILITIES, Server};
use crate::world::Network;
use bytes::{Bytes, BytesMut};
use grove_engine::io::{Leg, LegError, LegReply, ReplySink};
use grove_wire::{CapabilityFlags, ReplyShape, ReplyWalker};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::mpsc;
use tokio::time::Instant;

/// A leg in memory.
pub struct SimulatedLeg {
    thread_id: u32,
    server: Arc<Server>,
    network: Arc<Network>,
    to_server: mpsc::UnboundedSender<Flight>,
    from_server: mpsc::UnboundedReceiver<Piece>,
    reset: Arc<AtomicBool>,
    last_arrival: Instant,
}

impl SimulatedLeg {
    pub fn new(
        thread_id: u32,
        server: Arc<Server>,
        network: Arc<Network>,
        to_server: mpsc::UnboundedSender<Flight>,
        from_server: mpsc::UnboundedReceiver<Piece>,
        reset: Arc<AtomicBool>,
    ) -> Self {
        Self {
            thread_id,
            server,
            network,
            to_server,
            from_server,
            reset,
            last_arrival: Instant::now(),
        }
    }

    fn lost(&self, when: &str) -> LegError {
        let id = self.thread_id;
        self.network.trace.event(&[73, u64::from(id)], || {
            format!("s{} #{id} lost {when}", self.server.id)
        });
        LegError::Lost(format!("broken {when}"))
    }
}

impl Leg for SimulatedLeg {
    fn thread_id(&self) -> u32 {
        self.thread_id
    }

    fn capabilities(&self) -> CapabilityFlags {
        CAPABILITIES
    }

    async fn send(&mut self, commands: &[Bytes]) -> Result<(), LegError> {
        let at = (Instant::now() + self.network.delay()).max(self.last_arrival);
        self.last_arrival = at;
        let flight = Flight {
            at,
            commands: commands.to_vec(),
            fate: self.network.fate(&self.server, commands.len()),
        };
        let sent = self.to_server.send(flight);
        // Nobody learns through a cut that the other end is gone.
        if sent.is_err() && !self.server.link.is_cut() {
            return Err(self.lost("while sending"));
        }
        Ok(())
    }

    async fn receive<S: ReplySink>(&mut self, shape: ReplyShape, sink: &mut S) -> Result<LegReply, LegError> {
        let Some(piece) = self.from_server.recv().await else {
            self.server.link.whole().await;
            return Err(self.lost("before the reply"));
        };
        let crash = async {
            self.server.dies().await;
            let loses_replies = self.network.weather.loses_replies;
            if loses_replies == 0 || !self.network.draw(|random| random.chance(loses_replies)) {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            biased;
            () = tokio::time::sleep_until(piece.at) => {}
            () = crash => {
                self.server.link.whole().await;
                return Err(self.lost("with its server"));
            }
        }
        if self.server.link.holds_back(piece.at) {
            self.server.link.whole().await;
        }
        let mut walker = ReplyWalker::new(shape, CAPABILITIES);
        let walk = walker
            .walk(&piece.bytes)
            .map_err(|error| LegError::Protocol(error.to_string()))?;
        sink.forward(&piece.bytes[..walk.forward])
            .await
            .map_err(LegError::ClientGone)?;
        if !walk.done {
            return Err(self.lost("in the middle of a reply"));
        }
        assert_eq!(
            walk.forward + walk.last_len,
            piece.bytes.len(),
            "a model server sent too much"
        );
        Ok(LegReply {
            reply: walker.finish(),
            last_frame: BytesMut::from(&piece.bytes[walk.forward..]),
        })
    }

    async fn send_file(&mut self, _part: &[u8], _sequence: &mut u8) -> Result<(), LegError> {
        Err(LegError::Protocol("this server asks for no file".into()))
    }

    fn is_stale(&mut self) -> bool {
        if self.server.link.is_cut() {
            return false;
        }
        self.to_server.is_closed() || !self.from_server.is_empty() || self.from_server.is_closed()
    }
}

impl Drop for SimulatedLeg {
    fn drop(&mut self) {
        // What is on its way may still reach the server, or be discarded with the connection.
        let resets = self.network.draw(|random| random.chance(500));
        self.reset.store(resets, Ordering::Relaxed);
    }
}
