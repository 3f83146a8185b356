//! The connection phase: greeting (protocol version 10), handshake response, auth switch, COM_CHANGE_USER.

use crate::read::{Reader, WireError, put_lenenc_bytes};
use crate::{CapabilityFlags, StatusFlags};

/// Length of a challenge, in bytes, without the NUL that ends it on the wire.
pub const CHALLENGE_LEN: usize = 20;

/// The server's first packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Greeting {
    /// Version, verbatim (MariaDB before 11 begins with "5.5.5-").
    pub version: Vec<u8>,
    /// The server's connection id.
    pub connection_id: u32,
    /// Random bytes, none of them NUL.
    pub challenge: [u8; CHALLENGE_LEN],
    /// Capabilities; MariaDB's extended ones in the high half.
    pub capabilities: CapabilityFlags,
    /// Default collation id.
    pub collation: u8,
    /// Status flags.
    pub status: StatusFlags,
    /// Authentication plugin that the challenge is for.
    pub auth_plugin: Vec<u8>,
}

impl Greeting {
    /// Reads a greeting's payload.
    pub fn parse(payload: &[u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(payload);
        if reader.u8("protocol version")? != 10 {
            return Err(WireError::Malformed("the greeting's protocol version is not 10"));
        }
        let version = reader.nul_bytes("server version")?.to_vec();
        let connection_id = reader.u32("connection id")?;
        let mut challenge = [0; CHALLENGE_LEN];
        challenge[..8].copy_from_slice(reader.bytes(8, "challenge")?);
        reader.u8("filler")?;
        let mut capabilities = reader.int(2, "capabilities")?;
        let collation = reader.u8("collation")?;
        let status = StatusFlags(reader.u16("status")?);
        capabilities |= reader.int(2, "upper capabilities")? << 16;
        let challenge_len = reader.u8("challenge length")?;
        reader.bytes(6, "reserved bytes")?;
        let extended = reader.int(4, "extended capabilities")?;
        if capabilities & CapabilityFlags::LONG_PASSWORD.0 == 0 {
            capabilities |= extended << 32;
        }
        let rest = usize::from(challenge_len).saturating_sub(8).max(13).min(reader.len());
        let tail = reader.bytes(rest, "challenge")?;
        let take = tail.len().min(CHALLENGE_LEN - 8);
        challenge[8..8 + take].copy_from_slice(&tail[..take]);
        let mut auth_plugin = reader.rest();
        if let Some(end) = auth_plugin.iter().position(|&byte| byte == 0) {
            auth_plugin = &auth_plugin[..end];
        }
        Ok(Self {
            version,
            connection_id,
            challenge,
            capabilities: CapabilityFlags(capabilities),
            collation,
            status,
            auth_plugin: auth_plugin.to_vec(),
        })
    }

    /// The payload.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![10];
        out.extend_from_slice(&self.version);
        out.push(0);
        out.extend_from_slice(&self.connection_id.to_le_bytes());
        out.extend_from_slice(&self.challenge[..8]);
        out.push(0);
        let capabilities = self.capabilities.0.to_le_bytes();
        out.extend_from_slice(&capabilities[..2]);
        out.push(self.collation);
        out.extend_from_slice(&self.status.0.to_le_bytes());
        out.extend_from_slice(&capabilities[2..4]);
        out.push(CHALLENGE_LEN as u8 + 1);
        out.extend_from_slice(&[0; 6]);
        out.extend_from_slice(&capabilities[4..]);
        out.extend_from_slice(&self.challenge[8..]);
        out.push(0);
        out.extend_from_slice(&self.auth_plugin);
        out.push(0);
        out
    }
}

/// The client's answer to a greeting.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HandshakeResponse {
    /// Capabilities.
    pub capabilities: CapabilityFlags,
    /// Largest packet, in bytes.
    pub max_packet_len: u32,
    /// Collation id.
    pub collation: u8,
    /// Account name.
    pub user: Vec<u8>,
    /// Answer to the challenge.
    pub auth_response: Vec<u8>,
    /// Default schema; empty for none.
    pub database: Vec<u8>,
    /// Plugin that the answer is for; empty for the old default.
    pub auth_plugin: Vec<u8>,
    /// Connection attributes, the bytes inside their length-encoded block.
    pub connect_attributes: Vec<u8>,
    /// Level of zstd, 1 to 22; sent with that capability only.
    pub zstd_level: u8,
}

impl HandshakeResponse {
    /// Length of the part that an SSLRequest consists of.
    pub const SSL_REQUEST_LEN: usize = 32;

    /// Reads a payload. A payload of 32 bytes with the SSL capability is an SSLRequest: everything after the collation is empty then.
    pub fn parse(payload: &[u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(payload);
        let low = reader.int(4, "capabilities")?;
        let max_packet_len = reader.u32("maximum packet length")?;
        let collation = reader.u8("collation")?;
        reader.bytes(19, "reserved bytes")?;
        let extended = reader.int(4, "extended capabilities")?;
        let mut capabilities = CapabilityFlags(low);
        if !capabilities.contains(CapabilityFlags::PROTOCOL_41) {
            return Err(WireError::Malformed("the client does not speak protocol 4.1"));
        }
        if !capabilities.contains(CapabilityFlags::LONG_PASSWORD) {
            capabilities.0 |= extended << 32;
        }
        let mut response = Self {
            capabilities,
            max_packet_len,
            collation,
            ..Self::default()
        };
        if reader.is_empty() {
            return Ok(response);
        }
        response.user = reader.nul_bytes("user")?.to_vec();
        let has = |flag| capabilities.contains(flag);
        response.auth_response = if has(CapabilityFlags::PLUGIN_AUTH_LENENC_DATA) {
            reader.lenenc_bytes("auth response")?.to_vec()
        } else if has(CapabilityFlags::SECURE_CONNECTION) {
            let length = usize::from(reader.u8("auth response length")?);
            reader.bytes(length, "auth response")?.to_vec()
        } else {
            reader.nul_bytes("auth response")?.to_vec()
        };
        if has(CapabilityFlags::CONNECT_WITH_DB) && !reader.is_empty() {
            response.database = nul_or_rest(&mut reader).to_vec();
        }
        if has(CapabilityFlags::PLUGIN_AUTH) && !reader.is_empty() {
            response.auth_plugin = nul_or_rest(&mut reader).to_vec();
        }
        if has(CapabilityFlags::CONNECT_ATTRS) && !reader.is_empty() {
            response.connect_attributes = reader.lenenc_bytes("connection attributes")?.to_vec();
        }
        if has(CapabilityFlags::ZSTD) && !reader.is_empty() {
            response.zstd_level = reader.u8("zstd level")?;
        }
        Ok(response)
    }

    fn encode_head(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(128);
        let capabilities = self.capabilities.0.to_le_bytes();
        out.extend_from_slice(&capabilities[..4]);
        out.extend_from_slice(&self.max_packet_len.to_le_bytes());
        out.push(self.collation);
        out.extend_from_slice(&[0; 19]);
        out.extend_from_slice(&capabilities[4..]);
        out
    }

    /// The SSLRequest that precedes this response on an encrypted connection.
    pub fn encode_ssl_request(&self) -> Vec<u8> {
        self.encode_head()
    }

    /// The payload, laid out by `capabilities`.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = self.encode_head();
        let has = |flag| self.capabilities.contains(flag);
        out.extend_from_slice(&self.user);
        out.push(0);
        if has(CapabilityFlags::PLUGIN_AUTH_LENENC_DATA) {
            put_lenenc_bytes(&mut out, &self.auth_response);
        } else if has(CapabilityFlags::SECURE_CONNECTION) {
            out.push(self.auth_response.len() as u8);
            out.extend_from_slice(&self.auth_response);
        } else {
            out.extend_from_slice(&self.auth_response);
            out.push(0);
        }
        if has(CapabilityFlags::CONNECT_WITH_DB) {
            out.extend_from_slice(&self.database);
            out.push(0);
        }
        if has(CapabilityFlags::PLUGIN_AUTH) {
            out.extend_from_slice(&self.auth_plugin);
            out.push(0);
        }
        if has(CapabilityFlags::CONNECT_ATTRS) {
            put_lenenc_bytes(&mut out, &self.connect_attributes);
        }
        if has(CapabilityFlags::ZSTD) {
            out.push(self.zstd_level);
        }
        out
    }
}

/// Some clients leave out the NUL of the last string.
fn nul_or_rest<'a>(reader: &mut Reader<'a>) -> &'a [u8] {
    reader.nul_bytes("string").unwrap_or_else(|_| reader.rest())
}

/// The server asks for another plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthSwitchRequest {
    /// The plugin.
    pub plugin: Vec<u8>,
    /// A fresh challenge.
    pub challenge: Vec<u8>,
}

impl AuthSwitchRequest {
    /// Reads a payload that begins with 0xFE.
    pub fn parse(payload: &[u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(payload);
        reader.u8("auth switch header")?;
        let plugin = reader.nul_bytes("plugin")?.to_vec();
        let challenge = reader.rest();
        let text = match ends_with_nul(&plugin) {
            true => challenge.strip_suffix(&[0]),
            false => None,
        };
        Ok(Self {
            challenge: text.unwrap_or(challenge).to_vec(),
            plugin,
        })
    }

    /// The payload.
    pub fn encode(&self) -> Vec<u8> {
        let end: &[u8] = if ends_with_nul(&self.plugin) { &[0] } else { &[] };
        [&[0xFE][..], &self.plugin, &[0], &self.challenge, end].concat()
    }
}

/// Challenges are text with a NUL behind it, but for the one that is signed.
fn ends_with_nul(plugin: &[u8]) -> bool {
    plugin != crate::auth::ED25519.as_bytes()
}

/// COM_CHANGE_USER.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChangeUser {
    /// Account name.
    pub user: Vec<u8>,
    /// Answer to the connection's challenge.
    pub auth_response: Vec<u8>,
    /// Default schema; empty for none.
    pub database: Vec<u8>,
    /// Collation id, if sent.
    pub collation: Option<u16>,
    /// Plugin that the answer is for; empty for the old default.
    pub auth_plugin: Vec<u8>,
    /// Connection attributes, the bytes inside their length-encoded block.
    pub connect_attributes: Vec<u8>,
}

impl ChangeUser {
    /// Reads a payload without its command byte.
    pub fn parse(payload: &[u8], capabilities: CapabilityFlags) -> Result<Self, WireError> {
        let mut reader = Reader::new(payload);
        let user = reader.nul_bytes("user")?.to_vec();
        let length = usize::from(reader.u8("auth response length")?);
        let auth_response = reader.bytes(length, "auth response")?.to_vec();
        let database = nul_or_rest(&mut reader).to_vec();
        let mut change = Self {
            user,
            auth_response,
            database,
            ..Self::default()
        };
        if !reader.is_empty() {
            change.collation = Some(reader.u16("collation")?);
        }
        if capabilities.contains(CapabilityFlags::PLUGIN_AUTH) && !reader.is_empty() {
            change.auth_plugin = nul_or_rest(&mut reader).to_vec();
        }
        if capabilities.contains(CapabilityFlags::CONNECT_ATTRS) && !reader.is_empty() {
            change.connect_attributes = reader.lenenc_bytes("connection attributes")?.to_vec();
        }
        Ok(change)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn greeting_and_response_survive_a_round_trip() {
        let greeting = Greeting {
            version: b"5.5.5-10.11.9-MariaDB".to_vec(),
            connection_id: 77,
            challenge: *b"abcdefghijklmnopqrst",
            capabilities: CapabilityFlags(0x1_81BF_F7FE),
            collation: 45,
            status: StatusFlags::AUTOCOMMIT,
            auth_plugin: b"mysql_native_password".to_vec(),
        };
        assert_eq!(Greeting::parse(&greeting.encode()).unwrap(), greeting);
        let response = HandshakeResponse {
            capabilities: CapabilityFlags(0x04FF_FFFF & !CapabilityFlags::SSL.0),
            max_packet_len: 1 << 24,
            collation: 45,
            user: b"app".to_vec(),
            auth_response: vec![9; 20],
            database: b"app".to_vec(),
            auth_plugin: b"caching_sha2_password".to_vec(),
            connect_attributes: b"\x01a\x01b".to_vec(),
            zstd_level: 7,
        };
        assert_eq!(HandshakeResponse::parse(&response.encode()).unwrap(), response);
    }

    proptest::proptest! {
        #[test]
        fn hostile_handshakes_never_panic(bytes in proptest::collection::vec(0u8.., 0..200)) {
            let _ = Greeting::parse(&bytes);
            let _ = HandshakeResponse::parse(&bytes);
            let _ = AuthSwitchRequest::parse(&bytes);
            let _ = ChangeUser::parse(&bytes, CapabilityFlags(u64::MAX));
        }
    }
}
