//! The connection phase on the client's side: greeting, TLS, handshake response, authentication (MySQL Internals "Connection Phase"), and
//! compression, which begins behind its last packet.
//!
//! Invariants: the leg's replies are laid out as its client expects them, or the login fails; a server's own refusal reaches the caller as it is.
//! Futures are not safe to drop: the connection goes with them.

use crate::auth::{AuthError, Authentication, Step};
use crate::capabilities::negotiate;
use crate::channel::Channel;
use crate::stream::{Secrecy, Socket, Stream};
use crate::tls::TlsPolicy;
use grove_compression::{Algorithm, DEFAULT_ZSTD_LEVEL};
use grove_config::Compression;
use grove_engine::io::{Identity, LegError};
use grove_wire::handshake::{Greeting, HandshakeResponse};
use grove_wire::{CapabilityFlags, ErrPacket};
use rustls::pki_types::ServerName;

/// utf8mb4_general_ci, which every MySQL and MariaDB since 5.5 has under this id: announced where the wanted collation's id does not fit.
const UTF8MB4_GENERAL_CI: u8 = 45;

/// A connection that is logged in.
pub(crate) struct LoggedIn {
    pub stream: Stream,
    pub greeting: Greeting,
    pub capabilities: CapabilityFlags,
}

/// Logs in over a fresh socket.
pub(crate) async fn log_in(
    socket: Socket,
    tls: &TlsPolicy,
    tls_name: &ServerName<'static>,
    compression: Option<Compression>,
    identity: &Identity,
) -> Result<LoggedIn, LegError> {
    let mut channel = Channel::new(socket);
    let greeting = read_greeting(&mut channel).await?;
    let mut response = response_to(&greeting, identity)?;
    ask_for_compression(&mut response, compression, &greeting);
    let offered = greeting.capabilities.contains(CapabilityFlags::SSL);
    let connector = match tls {
        TlsPolicy::Never => None,
        TlsPolicy::IfOffered(connector) => {
            Some(connector).filter(|_| offered && channel.stream.secrecy() == Secrecy::Open)
        }
        TlsPolicy::Always(_) if !offered => {
            return Err(LegError::Protocol(
                "TLS is demanded and the server does not offer it".into(),
            ));
        }
        TlsPolicy::Always(connector) => Some(connector),
    };
    if let Some(connector) = connector {
        response.capabilities.insert(CapabilityFlags::SSL);
        channel.send(&response.encode_ssl_request()).await?;
        channel = channel.encrypt(connector, tls_name.clone()).await?;
    }
    let mut authentication = Authentication::new(
        identity.password.as_bytes(),
        channel.stream.secrecy(),
        &greeting.auth_plugin,
        &greeting.challenge,
    );
    response.auth_plugin = authentication.plugin().name().into();
    response.auth_response = authentication.answer().map_err(refusal)?;
    channel.send(&response.encode()).await?;
    authenticate(&mut channel, &mut authentication).await?;
    let mut stream = channel.finish()?;
    if let Some(algorithm) = Algorithm::agreed(response.capabilities, response.zstd_level) {
        stream = stream.compressed(algorithm);
    }
    Ok(LoggedIn {
        stream,
        greeting,
        capabilities: response.capabilities,
    })
}

async fn authenticate(channel: &mut Channel, authentication: &mut Authentication<'_>) -> Result<(), LegError> {
    loop {
        let payload = channel.receive().await?;
        match authentication.on_packet(&payload).map_err(refusal)? {
            Step::Done => return Ok(()),
            Step::Wait => {}
            Step::Send(answer) => channel.send(&answer).await?,
        }
    }
}

async fn read_greeting(channel: &mut Channel) -> Result<Greeting, LegError> {
    let payload = channel.receive().await?;
    if payload.first() == Some(&0xFF) {
        // Too many connections, host blocked: sent in the place of a greeting.
        let err = ErrPacket::parse(&payload, CapabilityFlags(0));
        return Err(err.map_or_else(|error| LegError::Protocol(error.to_string()), LegError::Refused));
    }
    Greeting::parse(&payload).map_err(|error| LegError::Protocol(format!("greeting: {error}")))
}

/// The response without its authentication.
fn response_to(greeting: &Greeting, identity: &Identity) -> Result<HandshakeResponse, LegError> {
    let mut capabilities = negotiate(identity.capabilities, greeting.capabilities)
        .map_err(|missing| LegError::Protocol(format!("the server lacks what the client relies on: {missing}")))?;
    if !identity.database.is_empty() {
        capabilities.insert(CapabilityFlags::CONNECT_WITH_DB);
    }
    if !identity.connect_attributes.is_empty() {
        capabilities.insert(CapabilityFlags::CONNECT_ATTRS & greeting.capabilities);
    }
    Ok(HandshakeResponse {
        capabilities,
        max_packet_len: identity.max_packet_len,
        collation: u8::try_from(identity.collation).unwrap_or(UTF8MB4_GENERAL_CI),
        user: identity.user.as_bytes().to_vec(),
        database: identity.database.clone(),
        connect_attributes: identity.connect_attributes.clone(),
        ..HandshakeResponse::default()
    })
}

/// Announces what is wanted if the server offers it.
fn ask_for_compression(response: &mut HandshakeResponse, wanted: Option<Compression>, greeting: &Greeting) {
    let flag = match wanted {
        None => return,
        Some(Compression::Zlib) => CapabilityFlags::COMPRESS,
        Some(Compression::Zstd) => CapabilityFlags::ZSTD,
    };
    response.capabilities.insert(flag & greeting.capabilities);
    response.zstd_level = DEFAULT_ZSTD_LEVEL;
}

fn refusal(error: AuthError) -> LegError {
    match error {
        AuthError::Refused(err) => LegError::Refused(err),
        AuthError::Protocol(reason) => LegError::Protocol(reason),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use grove_wire::StatusFlags;
    use grove_wire::handshake::CHALLENGE_LEN;

    fn greeting(capabilities: u64) -> Greeting {
        Greeting {
            version: b"9.7.4".to_vec(),
            connection_id: 9,
            challenge: [b'x'; CHALLENGE_LEN],
            capabilities: CapabilityFlags(capabilities),
            collation: 255,
            status: StatusFlags::AUTOCOMMIT,
            auth_plugin: b"caching_sha2_password".to_vec(),
        }
    }

    fn identity() -> Identity {
        Identity {
            user: "app".into(),
            password: "app".into(),
            capabilities: CapabilityFlags::DEPRECATE_EOF,
            collation: 2048,
            max_packet_len: 1 << 24,
            database: b"app".to_vec(),
            connect_attributes: b"\x01a\x01b".to_vec(),
            connection_id: 1,
        }
    }

    #[test]
    fn schema_and_attributes_are_announced_where_they_are() {
        let response = response_to(&greeting(u64::MAX), &identity()).unwrap();
        assert_eq!(response.collation, UTF8MB4_GENERAL_CI);
        let both = CapabilityFlags::CONNECT_WITH_DB | CapabilityFlags::CONNECT_ATTRS;
        assert!(response.capabilities.contains(both));
        let none = Identity {
            database: Vec::new(),
            connect_attributes: Vec::new(),
            collation: 255,
            ..identity()
        };
        let response = response_to(&greeting(u64::MAX), &none).unwrap();
        assert_eq!((response.capabilities & both).0, 0);
        assert_eq!(response.collation, 255);
    }

    #[test]
    fn compression_is_asked_for_where_it_is_wanted_and_offered() {
        let asked = |wanted, offered: u64| {
            let greeting = greeting(offered);
            let mut response = response_to(&greeting, &identity()).unwrap();
            ask_for_compression(&mut response, wanted, &greeting);
            Algorithm::agreed(response.capabilities, response.zstd_level)
        };
        assert_eq!(asked(None, u64::MAX), None);
        assert_eq!(asked(Some(Compression::Zlib), u64::MAX), Some(Algorithm::Zlib));
        let level = DEFAULT_ZSTD_LEVEL;
        assert_eq!(
            asked(Some(Compression::Zstd), u64::MAX),
            Some(Algorithm::Zstd { level })
        );
        assert_eq!(asked(Some(Compression::Zstd), !CapabilityFlags::ZSTD.0), None);
    }

    #[test]
    fn a_server_without_the_clients_layout_is_refused() {
        let error = response_to(&greeting(0xFFFF), &identity()).unwrap_err();
        assert!(
            matches!(&error, LegError::Protocol(reason) if reason.contains("DEPRECATE_EOF")),
            "{error}"
        );
    }
}
