//! One authentication, at login or for COM_CHANGE_USER, as a server with the account's plugin does it.
//!
//! Source: MySQL Internals "Authentication Method". Where Grove knows the password, the fast path of caching_sha2_password works for a
//! client that has the right one; a wrong one takes the full path, as on a server that has not seen the account yet. That path also brings
//! the passwords of accounts that are configured with a hash (`credential.rs`).
//! Invariant: every comparison takes the same time, but for the first one with a hash, and unknown users see the same packets. An account
//! that requires TLS or a certificate is refused after its password was found right, as the servers do for REQUIRE SSL and REQUIRE X509.

use super::accounts::{Account, Accounts};
use super::challenge::fresh_challenge;
use super::password_key::PasswordKey;
use crate::error::LinkError;
use crate::link::{Link, without_nul};
use crate::peer::Peer;
use crate::refusal::UsingPassword;
use bytes::Bytes;
use grove_wire::CapabilityFlags;
use grove_wire::auth::{self, AUTH_MORE_DATA, FAST_AUTH_OK, PERFORM_FULL_AUTH, REQUEST_PUBLIC_KEY};
use grove_wire::handshake::{AuthSwitchRequest, CHALLENGE_LEN};

/// A plugin that Grove speaks. The clear password is taken from clients that name its plugin themselves, over a private connection; Grove
/// never asks for it first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plugin {
    Native,
    CachingSha2,
    /// For clients that name it themselves: no server names it in its greeting.
    Ed25519,
    Clear,
}

impl Plugin {
    /// The plugin of that name; the empty name is the one of clients that know no plugins.
    pub fn named(name: &[u8]) -> Option<Self> {
        match name {
            b"" | b"mysql_native_password" => Some(Self::Native),
            b"caching_sha2_password" => Some(Self::CachingSha2),
            b"client_ed25519" => Some(Self::Ed25519),
            b"mysql_clear_password" => Some(Self::Clear),
            _ => None,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Native => auth::NATIVE_PASSWORD,
            Self::CachingSha2 => auth::CACHING_SHA2_PASSWORD,
            Self::Ed25519 => auth::ED25519,
            Self::Clear => auth::CLEAR_PASSWORD,
        }
    }
}

/// What a client answered to a challenge.
pub(crate) struct Answer {
    /// `None` for a plugin that Grove does not speak.
    pub plugin: Option<Plugin>,
    pub challenge: [u8; CHALLENGE_LEN],
    pub response: Bytes,
}

/// Why nobody is logged in.
pub(crate) enum Denied {
    Link(LinkError),
    Password(UsingPassword),
}

impl From<LinkError> for Denied {
    fn from(error: LinkError) -> Self {
        Self::Link(error)
    }
}

/// The exchange.
pub(crate) struct Authenticator<'a> {
    pub link: &'a mut Link,
    pub accounts: &'a Accounts,
    pub password_key: &'a PasswordKey,
    pub peer: Peer,
}

impl Authenticator<'_> {
    /// Checks an answer; asks again, for `default`, if the client answered for a plugin that Grove does not speak here.
    pub async fn authenticate(&mut self, user: &[u8], answer: Answer, default: Plugin) -> Result<Account, Denied> {
        let plugin = self.or_default(answer.plugin, default);
        // What a client can have signed before it was given a long challenge says nothing.
        if answer.plugin != Some(plugin) || plugin == Plugin::Ed25519 {
            return self.switch_to(user, plugin).await;
        }
        self.check(user, plugin, &answer.challenge, &answer.response).await
    }

    /// The plugin that a client wants, if Grove speaks it on this connection.
    pub fn or_default(&self, wanted: Option<Plugin>, default: Plugin) -> Plugin {
        match wanted {
            Some(Plugin::Clear) if !self.link.is_private() => default,
            Some(plugin) => plugin,
            None => default,
        }
    }

    /// Asks with a fresh challenge.
    pub async fn switch_to(&mut self, user: &[u8], plugin: Plugin) -> Result<Account, Denied> {
        let challenge = match plugin {
            Plugin::Ed25519 => fresh_challenge::<{ auth::ED25519_CHALLENGE_LEN }>().map(|bytes| bytes.to_vec()),
            _ => fresh_challenge::<CHALLENGE_LEN>().map(|bytes| bytes.to_vec()),
        };
        let challenge = challenge.ok_or_else(|| LinkError::Session("no random bytes".into()))?;
        self.switch_with(user, plugin, &challenge).await
    }

    /// Asks with this challenge.
    pub async fn switch_with(&mut self, user: &[u8], plugin: Plugin, challenge: &[u8]) -> Result<Account, Denied> {
        let request = AuthSwitchRequest {
            plugin: plugin.name().into(),
            challenge: challenge.to_vec(),
        };
        let response = self.ask(&request.encode()).await?;
        self.check(user, plugin, challenge, &response).await
    }

    async fn check(
        &mut self,
        user: &[u8],
        plugin: Plugin,
        challenge: &[u8],
        response: &[u8],
    ) -> Result<Account, Denied> {
        let password = self.accounts.password(user, self.peer).to_vec();
        let using = match plugin {
            Plugin::Native => {
                let expected = auth::native_password(&password, challenge);
                if auth::equal(&expected, response) {
                    return self.accept(user, response);
                }
                if self.may_bring_the_password(response) {
                    return Box::pin(self.switch_to(user, Plugin::CachingSha2)).await;
                }
                UsingPassword::of(response)
            }
            Plugin::CachingSha2 => {
                // A lone NUL is how clients of this plugin send an empty password.
                let response = if response == [0] { &[] } else { response };
                if self.check_caching_sha2(user, &password, challenge, response).await? {
                    return self.accept(user, response);
                }
                UsingPassword::of(response)
            }
            Plugin::Ed25519 => {
                if auth::is_ed25519(&password, challenge, response) {
                    return self.accept(user, response);
                }
                if self.may_bring_the_password(response) {
                    return Box::pin(self.switch_to(user, Plugin::CachingSha2)).await;
                }
                UsingPassword::of(response)
            }
            Plugin::Clear => {
                let given = response.strip_suffix(&[0]).unwrap_or(response);
                if self.accounts.is_password(user, self.peer, given).await {
                    return self.accept(user, given);
                }
                UsingPassword::of(given)
            }
        };
        Err(Denied::Password(using))
    }

    fn accept(&self, user: &[u8], response: &[u8]) -> Result<Account, Denied> {
        let account = self.accounts.find(user, self.peer);
        let (is_encrypted, has_certificate) = (self.link.is_encrypted(), self.link.has_certificate());
        let account = account.filter(|account| {
            (is_encrypted || !account.requires_tls) && (has_certificate || !account.requires_certificate)
        });
        account
            .cloned()
            .ok_or_else(|| Denied::Password(UsingPassword::of(response)))
    }

    /// Whether a client whose answer is wrong is asked for the password itself, because only that can tell.
    fn may_bring_the_password(&self, response: &[u8]) -> bool {
        let knows_plugins = self.link.capabilities.contains(CapabilityFlags::PLUGIN_AUTH);
        self.accounts.have_hashes() && knows_plugins && !response.is_empty()
    }

    async fn check_caching_sha2(
        &mut self,
        user: &[u8],
        password: &[u8],
        challenge: &[u8],
        response: &[u8],
    ) -> Result<bool, LinkError> {
        let expected = auth::caching_sha2_password(password, challenge);
        if response.is_empty() || password.is_empty() {
            return Ok(response.is_empty() && password.is_empty());
        }
        if auth::equal(&expected, response) {
            let fast = [AUTH_MORE_DATA, FAST_AUTH_OK];
            self.link.put_packet(&fast);
            return Ok(true);
        }
        let sent = self.ask(&[AUTH_MORE_DATA, PERFORM_FULL_AUTH]).await?;
        let given = if self.link.is_private() {
            Some(without_nul(&sent).to_vec())
        } else if sent[..] == [REQUEST_PUBLIC_KEY] {
            let key = [&[AUTH_MORE_DATA], self.password_key.public_pem()].concat();
            let encrypted = self.ask(&key).await?;
            self.password_key.decrypt(&encrypted, challenge)
        } else {
            // A client that has the key already does not ask for it.
            self.password_key.decrypt(&sent, challenge)
        };
        Ok(self
            .accounts
            .is_password(user, self.peer, &given.unwrap_or_default())
            .await)
    }

    async fn ask(&mut self, packet: &[u8]) -> Result<Bytes, LinkError> {
        self.link.send_packet(packet).await?;
        self.link.receive_exactly().await
    }
}
