//! A client's task, from accept to the end: its place in the registry, its PROXY header if it comes through a load balancer, its login, its last packet.

use super::Client;
use super::prepared::Statements;
use crate::balancer::client_behind;
use crate::error::LinkError;
use crate::link::Link;
use crate::login::{self, LoggedIn};
use crate::peer::Peer;
use crate::refusal;
use crate::shared::Shared;
use crate::stream::{Socket, Stream};
use grove_engine::io::World;
use grove_sql::Flavor;
use grove_telemetry::Metrics;
use std::sync::Arc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Serves one connection until it ends.
pub(crate) async fn serve<W: World>(shared: Arc<Shared<W>>, socket: Socket, neighbour: Peer) {
    let place = Place::take(shared);
    let id = place.id;
    let link = Link::new(Stream::Plain(socket), place.cut.clone());
    // The login's future is large and short-lived: boxed, it is not part of an idle client's memory.
    let mut client = match Box::pin(begin(&place, link, neighbour)).await {
        Some(client) => client,
        None => return,
    };
    let ended = client.run().await;
    if let Err(error) = &ended {
        tracing::debug!(connection = id, user = &*client.user, %error, "session ended");
    }
    Box::pin(client.end(ended)).await;
}

/// Greeting and login. What a client is refused for is sent here.
async fn begin<W: World>(place: &Place<W>, mut link: Link, neighbour: Peer) -> Option<Client<W>> {
    let shared = &place.shared;
    let deadline = Instant::now() + shared.connect_timeout;
    let peer = match client_behind(neighbour, &mut link, shared, deadline).await {
        Ok(peer) => peer,
        Err(error) => {
            close(link, error, Flavor::Mysql, shared).await;
            return None;
        }
    };
    match login::log_in(shared, &mut link, place.id, peer, deadline).await {
        Ok(LoggedIn {
            session,
            user,
            seat,
            flavor,
            collation,
            max_packet_len,
            compression,
            challenge,
        }) => {
            link.accept_commands(shared.max_packet_len, compression);
            let interrupter = session.interrupter();
            Some(Client {
                shared: Arc::clone(shared),
                link,
                id: place.id,
                peer,
                user,
                _seat: seat,
                flavor,
                collation,
                max_packet_len,
                challenge,
                session,
                interrupter,
                statements: Statements::new(flavor),
                _counted: Counted::new(shared.group.metrics()),
            })
        }
        Err(error) => {
            tracing::debug!(connection = place.id, host = peer.host(), %error, "login ended");
            close(link, error, Flavor::Mysql, shared).await;
            None
        }
    }
}

/// A client's place in the registry, given up however its task ends.
struct Place<W: World> {
    shared: Arc<Shared<W>>,
    id: u32,
    cut: CancellationToken,
}

impl<W: World> Place<W> {
    fn take(shared: Arc<Shared<W>>) -> Self {
        let cut = shared.cut.child_token();
        let id = shared.registry.enter(&cut);
        Self { shared, id, cut }
    }
}

impl<W: World> Drop for Place<W> {
    fn drop(&mut self) {
        self.shared.registry.leave(self.id);
    }
}

/// A session in the gauge of open sessions, however it ends.
pub(super) struct Counted(Arc<Metrics>);

impl Counted {
    fn new(metrics: &Arc<Metrics>) -> Self {
        metrics.sessions.add(1);
        Self(Arc::clone(metrics))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.sessions.subtract(1);
    }
}

/// Tells the client why, if there is a packet for it, and closes.
pub(super) async fn close<W: World>(mut link: Link, error: LinkError, flavor: Flavor, shared: &Shared<W>) {
    let err = match error {
        LinkError::Protocol(error) => {
            shared.metrics().protocol_errors.add(1);
            refusal::malformed(&error, flavor)
        }
        LinkError::Refused(err) => err,
        // Whoever cut it does not want to wait for the client.
        LinkError::Cut => return,
        LinkError::Gone(_) | LinkError::Silent(_) | LinkError::Session(_) => {
            return link.close().await;
        }
    };
    if link.send_err(&err).await.is_ok() {
        link.close_lingering(shared.max_packet_len).await;
    }
}
