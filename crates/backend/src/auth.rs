//! The client's side of authentication, as a machine without I/O: a packet from the server in, what to send out.
//!
//! Sources: MySQL Internals "Authentication Method" pages; caching_sha2's full path sends the password itself over TLS or a Unix socket, and
//! encrypted with the server's RSA key otherwise. Invariants: a password never goes in clear over an open connection; the number of rounds is bounded.
//! Deliberately absent: mysql_old_password, sha256_password, dialogs.

use crate::stream::Secrecy;
use aws_lc_rs::rsa::{OAEP_SHA1_MGF1SHA1, OaepPublicEncryptingKey, PublicEncryptingKey};
use grove_wire::auth::{
    AUTH_MORE_DATA, CACHING_SHA2_PASSWORD, ED25519, ED25519_CHALLENGE_LEN, FAST_AUTH_OK, NATIVE_PASSWORD,
    PERFORM_FULL_AUTH, REQUEST_PUBLIC_KEY, caching_sha2_password, ed25519, mask_password, native_password,
};
use grove_wire::handshake::AuthSwitchRequest;
use grove_wire::{CapabilityFlags, ErrPacket};
use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::pki_types::pem::PemObject;

/// Name of the plugin that sends the password as it is.
const CLEAR_PASSWORD: &str = "mysql_clear_password";

/// Packets of one login at most; a server that asks on and on is broken.
const MAX_ROUNDS: u32 = 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plugin {
    Native,
    CachingSha2,
    Ed25519,
    Clear,
}

impl Plugin {
    pub fn named(name: &[u8]) -> Option<Self> {
        [Self::Native, Self::CachingSha2, Self::Ed25519, Self::Clear]
            .into_iter()
            .find(|plugin| plugin.name().as_bytes() == name)
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Native => NATIVE_PASSWORD,
            Self::CachingSha2 => CACHING_SHA2_PASSWORD,
            Self::Ed25519 => ED25519,
            Self::Clear => CLEAR_PASSWORD,
        }
    }
}

/// What follows a packet from the server.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Logged in.
    Done,
    /// The server will say more.
    Wait,
    /// Send this payload.
    Send(Vec<u8>),
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AuthError {
    #[error("{}", String::from_utf8_lossy(&.0.message))]
    Refused(ErrPacket),
    #[error("{0}")]
    Protocol(String),
}

fn broken(reason: impl Into<String>) -> AuthError {
    AuthError::Protocol(reason.into())
}

pub(crate) struct Authentication<'a> {
    password: &'a [u8],
    secrecy: Secrecy,
    plugin: Plugin,
    challenge: Vec<u8>,
    awaits_key: bool,
    rounds: u32,
}

impl<'a> Authentication<'a> {
    /// Begins with the plugin and challenge of the server's greeting. An unknown plugin is answered as the old default: the server then asks for
    /// the account's own one.
    pub fn new(password: &'a [u8], secrecy: Secrecy, plugin: &[u8], challenge: &[u8]) -> Self {
        let plugin = match Plugin::named(plugin) {
            // A greeting cannot lead to a password in clear; only the account's own plugin can ask for it.
            // No greeting has a challenge that is long enough to be signed.
            None | Some(Plugin::Clear | Plugin::Ed25519) => Plugin::Native,
            Some(plugin) => plugin,
        };
        Self {
            password,
            secrecy,
            plugin,
            challenge: challenge.to_vec(),
            awaits_key: false,
            rounds: 0,
        }
    }

    pub fn plugin(&self) -> Plugin {
        self.plugin
    }

    /// The answer to the challenge.
    pub fn answer(&self) -> Result<Vec<u8>, AuthError> {
        match self.plugin {
            Plugin::Native => Ok(native_password(self.password, &self.challenge)),
            Plugin::CachingSha2 => Ok(caching_sha2_password(self.password, &self.challenge)),
            Plugin::Ed25519 if self.challenge.len() == ED25519_CHALLENGE_LEN => {
                Ok(ed25519(self.password, &self.challenge))
            }
            Plugin::Ed25519 => Err(broken("client_ed25519: the challenge has not 32 bytes")),
            Plugin::Clear if self.secrecy == Secrecy::Encrypted => Ok(self.password_with_nul()),
            Plugin::Clear => Err(broken("the account wants the password in clear, which needs TLS")),
        }
    }

    /// Takes the server's next packet.
    pub fn on_packet(&mut self, payload: &[u8]) -> Result<Step, AuthError> {
        self.rounds += 1;
        if self.rounds > MAX_ROUNDS {
            return Err(broken("the login does not end"));
        }
        match payload {
            [0x00, ..] => Ok(Step::Done),
            [0xFF, ..] => {
                let err = ErrPacket::parse(payload, CapabilityFlags::PROTOCOL_41);
                Err(err.map_or_else(|error| broken(error.to_string()), AuthError::Refused))
            }
            [0xFE] => Err(broken("the account uses mysql_old_password, which is not supported")),
            [0xFE, ..] => self.switch(payload),
            [AUTH_MORE_DATA, data @ ..] if self.plugin == Plugin::CachingSha2 => self.on_more_data(data),
            _ => Err(broken("a packet that does not belong to a login")),
        }
    }

    fn switch(&mut self, payload: &[u8]) -> Result<Step, AuthError> {
        let request = AuthSwitchRequest::parse(payload).map_err(|error| broken(error.to_string()))?;
        self.plugin = Plugin::named(&request.plugin).ok_or_else(|| {
            let name = String::from_utf8_lossy(&request.plugin);
            broken(format!("the account uses the plugin {name}, which is not supported"))
        })?;
        self.challenge = request.challenge;
        self.awaits_key = false;
        self.answer().map(Step::Send)
    }

    fn on_more_data(&mut self, data: &[u8]) -> Result<Step, AuthError> {
        if std::mem::take(&mut self.awaits_key) {
            return encrypt(data, &mask_password(self.password, &self.challenge)).map(Step::Send);
        }
        match data {
            [FAST_AUTH_OK] => Ok(Step::Wait),
            [PERFORM_FULL_AUTH] if self.secrecy == Secrecy::Open => {
                self.awaits_key = true;
                Ok(Step::Send(vec![REQUEST_PUBLIC_KEY]))
            }
            [PERFORM_FULL_AUTH] => Ok(Step::Send(self.password_with_nul())),
            _ => Err(broken("caching_sha2_password: unknown state of the login")),
        }
    }

    fn password_with_nul(&self) -> Vec<u8> {
        [self.password, &[0]].concat()
    }
}

/// RSA with OAEP padding (SHA-1, as the servers fix it) under a public key in PEM.
fn encrypt(pem: &[u8], plain: &[u8]) -> Result<Vec<u8>, AuthError> {
    let unusable = |_| broken("caching_sha2_password: the server's public key is not usable");
    let der = SubjectPublicKeyInfoDer::from_pem_slice(pem)
        .map_err(|error| broken(format!("caching_sha2_password: the server's public key: {error}")))?;
    let key = PublicEncryptingKey::from_der(&der)
        .map_err(|error| broken(format!("caching_sha2_password: the server's public key: {error}")))?;
    let key = OaepPublicEncryptingKey::new(key).map_err(unusable)?;
    let mut cipher = vec![0; key.ciphertext_size()];
    let written = key
        .encrypt(&OAEP_SHA1_MGF1SHA1, plain, &mut cipher, None)
        .map_err(|_| broken("caching_sha2_password: the password is too long for the server's key"))?
        .len();
    cipher.truncate(written);
    Ok(cipher)
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::encoding::AsDer;
    use aws_lc_rs::rsa::{KeySize, OaepPrivateDecryptingKey, PrivateDecryptingKey};

    const CHALLENGE: &[u8] = b"abcdefghijklmnopqrst";
    const FULL: &[u8] = &[AUTH_MORE_DATA, PERFORM_FULL_AUTH];

    fn begin(secrecy: Secrecy) -> Authentication<'static> {
        Authentication::new(b"secret", secrecy, b"caching_sha2_password", CHALLENGE)
    }

    fn switch_to(plugin: &str) -> Vec<u8> {
        AuthSwitchRequest {
            plugin: plugin.as_bytes().to_vec(),
            challenge: b"12345678901234567890".to_vec(),
        }
        .encode()
    }

    #[test]
    fn fast_path_waits_for_the_ok() {
        let mut login = begin(Secrecy::Open);
        assert_eq!(login.answer().unwrap(), caching_sha2_password(b"secret", CHALLENGE));
        assert_eq!(login.on_packet(&[AUTH_MORE_DATA, FAST_AUTH_OK]), Ok(Step::Wait));
        assert_eq!(login.on_packet(&[0, 0, 0, 2, 0, 0, 0]), Ok(Step::Done));
    }

    #[test]
    fn full_path_sends_the_password_only_where_nobody_listens() {
        for secrecy in [Secrecy::Local, Secrecy::Encrypted] {
            assert_eq!(begin(secrecy).on_packet(FULL), Ok(Step::Send(b"secret\0".to_vec())));
        }
        assert_eq!(
            begin(Secrecy::Open).on_packet(FULL),
            Ok(Step::Send(vec![REQUEST_PUBLIC_KEY]))
        );
    }

    #[test]
    fn full_path_over_an_open_connection_encrypts_the_masked_password() {
        let private = PrivateDecryptingKey::generate(KeySize::Rsa2048).unwrap();
        let der = AsDer::as_der(&private.public_key()).unwrap();
        let pem = pem(der.as_ref());
        let mut login = begin(Secrecy::Open);
        login.on_packet(FULL).unwrap();
        let Ok(Step::Send(cipher)) = login.on_packet(&[&[AUTH_MORE_DATA], pem.as_bytes()].concat()) else {
            panic!("no ciphertext");
        };
        let private = OaepPrivateDecryptingKey::new(private).unwrap();
        let mut plain = vec![0; private.min_output_size()];
        let plain = private.decrypt(&OAEP_SHA1_MGF1SHA1, &cipher, &mut plain, None).unwrap();
        assert_eq!(plain, mask_password(b"secret", CHALLENGE));
    }

    #[test]
    fn a_key_that_is_none_is_an_error() {
        for key in [&b"no key"[..], b"", &[0xFF; 300]] {
            let mut login = begin(Secrecy::Open);
            login.on_packet(FULL).unwrap();
            assert!(matches!(
                login.on_packet(&[&[AUTH_MORE_DATA], key].concat()),
                Err(AuthError::Protocol(_))
            ));
        }
    }

    #[test]
    fn a_switch_is_answered_with_the_new_challenge() {
        let mut login = begin(Secrecy::Open);
        let wanted = native_password(b"secret", b"12345678901234567890");
        assert_eq!(login.on_packet(&switch_to(NATIVE_PASSWORD)), Ok(Step::Send(wanted)));
    }

    #[test]
    fn the_password_in_clear_needs_tls_even_on_a_socket() {
        for secrecy in [Secrecy::Open, Secrecy::Local] {
            assert!(begin(secrecy).on_packet(&switch_to(CLEAR_PASSWORD)).is_err());
        }
        let sent = begin(Secrecy::Encrypted).on_packet(&switch_to(CLEAR_PASSWORD));
        assert_eq!(sent, Ok(Step::Send(b"secret\0".to_vec())));
        let greeted = Authentication::new(b"secret", Secrecy::Encrypted, CLEAR_PASSWORD.as_bytes(), CHALLENGE);
        assert_eq!(greeted.plugin(), Plugin::Native);
    }

    #[test]
    fn refusals_old_plugins_and_endless_logins_are_errors() {
        let err = ErrPacket::new(1045, "28000", "Access denied");
        let mut login = begin(Secrecy::Open);
        let refused = login.on_packet(&err.encode(CapabilityFlags::PROTOCOL_41));
        assert_eq!(refused, Err(AuthError::Refused(err)));
        assert!(begin(Secrecy::Open).on_packet(&[0xFE]).is_err());
        assert!(begin(Secrecy::Open).on_packet(&switch_to("parsec")).is_err());
        // Its challenge has 32 bytes, not 20.
        assert!(begin(Secrecy::Open).on_packet(&switch_to("client_ed25519")).is_err());
        assert!(begin(Secrecy::Open).on_packet(&[]).is_err());
        let mut login = begin(Secrecy::Open);
        let more = [AUTH_MORE_DATA, FAST_AUTH_OK];
        assert!((0..=MAX_ROUNDS).any(|_| login.on_packet(&more).is_err()));
    }

    fn pem(der: &[u8]) -> String {
        const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let mut text = String::from("-----BEGIN PUBLIC KEY-----\n");
        for (index, chunk) in der.chunks(3).enumerate() {
            let bits = chunk.iter().fold(0u32, |bits, &byte| bits << 8 | u32::from(byte)) << (8 * (3 - chunk.len()));
            for place in 0..4 {
                let symbol = ALPHABET[(bits >> (18 - 6 * place) & 63) as usize] as char;
                text.push(if place <= chunk.len() { symbol } else { '=' });
            }
            if index % 16 == 15 {
                text.push('\n');
            }
        }
        text.push_str("\n-----END PUBLIC KEY-----\n");
        text
    }
}
