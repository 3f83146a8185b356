//! The accounts that clients may use.
//!
//! Invariant: an unknown user, and a known one from an address that its account does not allow, go the same way as a wrong password,
//! packet by packet. As on the servers, where `app@'10.%'` and `app@'192.168.%'` are different accounts, an account is a name and the
//! places that its clients come from.

use super::credential::{Credential, is_same};
use super::seats::{Seat, Seats};
use crate::error::FrontendError;
use crate::peer::Peer;
use grove_config::{Source, User};
use std::collections::HashMap;
use std::sync::Arc;

/// An account.
#[derive(Clone)]
pub(crate) struct Account {
    pub user: Arc<str>,
    /// In use when the client names no schema; empty for none.
    pub default_schema: Vec<u8>,
    /// Clients without TLS are refused.
    pub requires_tls: bool,
    /// Clients without a certificate are refused.
    pub requires_certificate: bool,
    credential: Arc<Credential>,
    sources: Arc<[Source]>,
    seats: Arc<Seats>,
}

impl Account {
    /// The password, for the servers. A client that was let in has brought it, if the configuration had not.
    pub fn password(&self) -> &str {
        self.credential.password().unwrap_or_default()
    }

    /// A place among the account's clients; `None` if there are as many as it may have.
    pub fn take_seat(&self) -> Option<Seat> {
        self.seats.take()
    }
}

/// All accounts, by name.
pub(crate) struct Accounts {
    by_name: HashMap<Vec<u8>, Account>,
    /// Compared with the answers of unknown users, and of known ones whose password is not known yet; equal to none of them.
    decoy: String,
    have_hashes: bool,
}

impl Accounts {
    pub fn new(users: &[User]) -> Result<Self, FrontendError> {
        let mut random = [0; 32];
        aws_lc_rs::rand::fill(&mut random).map_err(|_| FrontendError::Cryptography("random bytes"))?;
        let account = |user: &User| {
            let account = Account {
                user: Arc::from(user.name.as_str()),
                default_schema: user.default_schema.clone().unwrap_or_default().into_bytes(),
                requires_tls: user.require_tls,
                requires_certificate: user.require_certificate,
                credential: Credential::new(&user.credential),
                sources: user.allow_from.as_slice().into(),
                seats: Seats::new(user.max_connections),
            };
            (user.name.clone().into_bytes(), account)
        };
        Ok(Self {
            by_name: users.iter().map(account).collect(),
            have_hashes: users
                .iter()
                .any(|user| matches!(user.credential, grove_config::Credential::Hash(_))),
            decoy: random.map(|byte| char::from(b'a' + byte % 26)).iter().collect(),
        })
    }

    /// Whether any account may be used from there.
    pub fn know(&self, peer: Peer) -> bool {
        self.by_name.values().any(|account| peer.is_from(&account.sources))
    }

    pub fn find(&self, user: &[u8], peer: Peer) -> Option<&Account> {
        let account = self.by_name.get(user)?;
        peer.is_from(&account.sources).then_some(account)
    }

    /// The password to compare a client's answer with, for any user from anywhere.
    pub fn password(&self, user: &[u8], peer: Peer) -> &[u8] {
        let account = self.find(user, peer);
        let password = account.and_then(|account| account.credential.password());
        password.unwrap_or(&self.decoy).as_bytes()
    }

    /// Whether a client has sent the user's password itself.
    pub async fn is_password(&self, user: &[u8], peer: Peer, given: &[u8]) -> bool {
        match self.find(user, peer) {
            Some(account) => account.credential.is(given).await,
            None => is_same(self.decoy.as_bytes(), given),
        }
    }

    /// Whether there is an account whose password a client may have to bring. Then all users are asked for theirs whose answer is not the
    /// right one, so that nobody learns which accounts these are.
    pub fn have_hashes(&self) -> bool {
        self.have_hashes
    }
}
