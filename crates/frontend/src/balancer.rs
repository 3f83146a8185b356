//! Whose connection a load balancer passes on: the PROXY header that a connection from a trusted network begins with.
//!
//! Invariants: from those networks the header must be there, from all others none is looked for; it is read in the client's own task,
//! within the time for a login, and nothing behind it is read, because the client's TLS may follow.

use crate::error::LinkError;
use crate::link::Link;
use crate::peer::Peer;
use crate::shared::Shared;
use grove_engine::io::World;
use grove_wire::CapabilityFlags;
use grove_wire::proxy_protocol::Announced;
use tokio::time::Instant;

/// The client at the far end, where `neighbour` is what Grove itself is connected with.
pub(crate) async fn client_behind<W: World>(
    neighbour: Peer,
    link: &mut Link,
    shared: &Shared<W>,
    deadline: Instant,
) -> Result<Peer, LinkError> {
    if !neighbour.is_in(&shared.balancers) {
        return Ok(neighbour);
    }
    // Dropping the reading may lose bytes, and ends the connection.
    let header = tokio::select! {
        biased;
        header = tokio::time::timeout_at(deadline, link.receive_proxy_header()) => header,
        () = shared.stop.cancelled() => return Err(LinkError::Cut),
    };
    match header.unwrap_or(Err(LinkError::Silent(shared.connect_timeout))) {
        Ok(Announced::Client(address)) => Ok(Peer::announced(address.ip())),
        Ok(Announced::Sender) => Ok(neighbour.behind_itself()),
        Err(error) => {
            // A health check that only connects is no reason for a line in the log, a balancer that sends no header is.
            if !matches!(error, LinkError::Gone(_)) {
                tracing::warn!(host = neighbour.host(), %error, "no PROXY header from listen.proxy_protocol_from");
            }
            // As before any greeting: nobody knows what the client can read.
            link.capabilities = CapabilityFlags(0);
            Err(error)
        }
    }
}
