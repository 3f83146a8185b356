//! The connection phase: greeting, TLS, handshake response, authentication, the engine's session.
//!
//! Source: MySQL Internals "Connection Phase". The client's part of it ends by the deadline that `listen.connect_timeout` set; opening the
//! session is bounded by the engine.

mod accounts;
mod authenticate;
mod challenge;
mod credential;
mod greeting;
mod password_key;
mod refusals;
mod seats;

pub(crate) use accounts::{Account, Accounts};
pub(crate) use authenticate::{Answer, Authenticator, Denied, Plugin};
pub(crate) use challenge::fresh_challenge;
pub(crate) use greeting::Offer;
pub(crate) use password_key::PasswordKey;
pub(crate) use refusals::Refusals;
pub(crate) use seats::Seat;

use crate::error::LinkError;
use crate::link::Link;
use crate::peer::Peer;
use crate::refusal::{self, UsingPassword};
use crate::shared::Shared;
use grove_compression::Algorithm;
use grove_engine::Session;
use grove_engine::io::{Identity, World};
use grove_sql::Flavor;
use grove_wire::handshake::{CHALLENGE_LEN, Greeting, HandshakeResponse};
use grove_wire::{CapabilityFlags, ErrPacket, OkPacket, StatusFlags};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// A client that has proved who it is.
pub(crate) struct LoggedIn<W: World> {
    pub session: Session<W>,
    pub user: Arc<str>,
    pub seat: Seat,
    pub flavor: Flavor,
    pub collation: u16,
    pub max_packet_len: u32,
    /// How packets are compressed from now on.
    pub compression: Option<Algorithm>,
    /// The greeting's challenge, for COM_CHANGE_USER by clients that know no plugins.
    pub challenge: [u8; CHALLENGE_LEN],
}

/// What the client's part of the login gave.
struct Proven {
    account: Account,
    response: HandshakeResponse,
    challenge: [u8; CHALLENGE_LEN],
}

/// Logs a client in. A [`LinkError::Refused`] has not been sent yet.
pub(crate) async fn log_in<W: World>(
    shared: &Shared<W>,
    link: &mut Link,
    id: u32,
    peer: Peer,
    deadline: Instant,
) -> Result<LoggedIn<W>, LinkError> {
    let facts = shared.group.server_facts();
    let facts = facts.ok_or_else(|| LinkError::Refused(refusal::no_server()))?;
    let offer = Offer::new(&facts, shared.tls.acceptor.is_some(), shared.compression);
    if !shared.accounts.know(peer) {
        shared.metrics().refused_logins.add(1);
        // The servers say this in place of a greeting, before they know what the client can read: without SQLSTATE.
        link.capabilities = CapabilityFlags(0);
        return Err(LinkError::Refused(refusal::host_not_allowed(
            &peer.host(),
            offer.flavor(),
        )));
    }
    // Dropping the handshake may lose bytes, and ends the connection.
    let proven = tokio::select! {
        biased;
        proven = prove(shared, link, id, peer, &offer, deadline) => proven?,
        () = shared.stop.cancelled() => return Err(LinkError::Cut),
    };
    let Proven {
        account,
        response,
        challenge,
    } = proven;
    let seat = account.take_seat().ok_or_else(|| no_seat(shared, &account))?;
    let compression = Algorithm::agreed(link.capabilities, response.zstd_level);
    let collation = u16::from(response.collation);
    let database = if response.database.is_empty() {
        account.default_schema.clone()
    } else {
        response.database
    };
    let identity = Identity {
        user: account.user.to_string(),
        password: account.password().to_owned(),
        capabilities: layout_of(link.capabilities),
        collation,
        max_packet_len: response.max_packet_len,
        database: database.clone(),
        connect_attributes: response.connect_attributes,
        connection_id: id,
    };
    let lex_mode = offer.lex_mode(collation);
    // One more would find no connection to a server for its first write.
    let room = shared.group.room_for_sessions().max(1);
    if usize::try_from(shared.metrics().sessions.value()).is_ok_and(|sessions| sessions >= room) {
        return Err(LinkError::Refused(refusal::too_many_connections()));
    }
    let opened = Session::open(
        Arc::clone(&shared.group),
        Arc::clone(&shared.analyser),
        identity,
        lex_mode,
    );
    let session = opened.await.map_err(session_refused)?;
    // Before the client knows that it is in: its next connection may kill this one at once.
    shared.registry.own(id, &account.user, session.interrupter());
    link.send_packet(&first_ok(link.capabilities, &database)).await?;
    Ok(LoggedIn {
        session,
        user: account.user,
        seat,
        flavor: offer.flavor(),
        collation,
        max_packet_len: response.max_packet_len,
        compression,
        challenge,
    })
}

/// The client's part: greeting to the last packet before OK. The time that it has to wait for others' refusals is not counted.
async fn prove<W: World>(
    shared: &Shared<W>,
    link: &mut Link,
    id: u32,
    peer: Peer,
    offer: &Offer,
    deadline: Instant,
) -> Result<Proven, LinkError> {
    let late = |_| LinkError::Silent(shared.connect_timeout);
    let challenge = fresh_challenge().ok_or_else(|| LinkError::Session("no random bytes".into()))?;
    let hearing = hear(shared, link, offer, offer.greeting(id, challenge));
    let response = tokio::time::timeout_at(deadline, hearing).await.map_err(late)??;
    let waited = wait_for_refusals(shared, peer).await;
    let mut authenticator = Authenticator {
        link,
        accounts: &shared.accounts,
        password_key: &shared.password_key,
        peer,
    };
    let answer = Answer {
        plugin: Plugin::named(&response.auth_plugin),
        challenge,
        response: response.auth_response.clone().into(),
    };
    let proving = authenticator.authenticate(&response.user, answer, offer.plugin);
    match tokio::time::timeout_at(deadline + waited, proving)
        .await
        .map_err(late)?
    {
        Ok(account) => {
            shared.refusals.clear(peer);
            Ok(Proven {
                account,
                response,
                challenge,
            })
        }
        Err(Denied::Link(error)) => Err(error),
        Err(Denied::Password(password)) => Err(LinkError::Refused(denied(shared, &response.user, peer, password))),
    }
}

/// The greeting and the client's answer, under TLS if it wants that.
async fn hear<W: World>(
    shared: &Shared<W>,
    link: &mut Link,
    offer: &Offer,
    greeting: Greeting,
) -> Result<HandshakeResponse, LinkError> {
    link.send_packet(&greeting.encode()).await?;
    let payload = link.receive_exactly().await?;
    let mut response = parse_response(&payload)?;
    if asks_for_tls(&response, payload.len()) {
        let acceptor = shared.tls.acceptor.as_ref();
        let acceptor = acceptor.ok_or_else(|| LinkError::Refused(refusal::bad_handshake()))?;
        link.start_tls(acceptor).await?;
        response = parse_response(&link.receive_exactly().await?)?;
    }
    link.capabilities = offer.capabilities & response.capabilities;
    if shared.tls.is_required && !link.is_private() {
        return Err(LinkError::Refused(refusal::insecure_transport()));
    }
    if !link.capabilities.contains(CapabilityFlags::SECURE_CONNECTION) {
        return Err(LinkError::Refused(refusal::old_authentication()));
    }
    let compression = Algorithm::agreed(link.capabilities, response.zstd_level);
    if compression.is_some_and(|algorithm| !algorithm.is_possible()) {
        return Err(LinkError::Refused(refusal::wrong_compression_level()));
    }
    Ok(response)
}

/// Waits as long as earlier refusals from there make it wait; gives that time. The caller holds nothing that others want.
pub(crate) async fn wait_for_refusals<W: World>(shared: &Shared<W>, peer: Peer) -> Duration {
    let wait = shared.refusals.wait_of(peer, Instant::now());
    if !wait.is_zero() {
        shared.metrics().delayed_logins.add(1);
        tokio::time::sleep(wait).await;
    }
    wait
}

fn parse_response(payload: &[u8]) -> Result<HandshakeResponse, LinkError> {
    HandshakeResponse::parse(payload).map_err(|error| {
        tracing::debug!(%error, "handshake response");
        LinkError::Refused(refusal::bad_handshake())
    })
}

fn asks_for_tls(response: &HandshakeResponse, payload_len: usize) -> bool {
    payload_len == HandshakeResponse::SSL_REQUEST_LEN && response.capabilities.contains(CapabilityFlags::SSL)
}

/// The password is wrong, or as good as wrong: counted, and remembered for the next login from there.
pub(crate) fn denied<W: World>(shared: &Shared<W>, user: &[u8], peer: Peer, password: UsingPassword) -> ErrPacket {
    shared.metrics().refused_logins.add(1);
    shared.refusals.add(peer, Instant::now());
    refusal::access_denied(user, &peer.host(), password)
}

/// The account has as many clients as it may have.
pub(crate) fn no_seat<W: World>(shared: &Shared<W>, account: &Account) -> LinkError {
    shared.metrics().refused_logins.add(1);
    LinkError::Refused(refusal::too_many_user_connections(&account.user))
}

/// The capabilities that decide the layout of replies; encryption and compression are a matter of each connection.
pub(crate) fn layout_of(mut capabilities: CapabilityFlags) -> CapabilityFlags {
    capabilities.remove(CapabilityFlags::SSL | CapabilityFlags::COMPRESS | CapabilityFlags::ZSTD);
    capabilities
}

/// The OK packet of a session that has just begun.
pub(crate) fn first_ok(capabilities: CapabilityFlags, schema: &[u8]) -> Vec<u8> {
    let mut ok = OkPacket {
        status: StatusFlags::AUTOCOMMIT,
        ..OkPacket::default()
    };
    if capabilities.contains(CapabilityFlags::SESSION_TRACK) && !schema.is_empty() {
        ok = ok.tracking_schema(schema);
    }
    ok.encode(capabilities)
}

/// A session that the engine could not open.
pub(crate) fn session_refused(error: grove_engine::SessionError) -> LinkError {
    LinkError::Refused(error.to_err_packet())
}
