//! The accounts that clients may use.
//!
//! Invariant: an unknown user, and a known one from an address that its account does not allow, go the same way as a wrong password,
//! packet by packet. As on the servers, where `app@'10.%'` and `app@'192.168.%'` are different accounts, an account is a name and the
//! places that its clients come from.

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
    pub password: String,
    /// In use when the client names no schema; empty for none.
    pub default_schema: Vec<u8>,
    /// Clients without TLS are refused.
    pub requires_tls: bool,
    sources: Arc<[Source]>,
    seats: Arc<Seats>,
}

impl Account {
    /// A place among the account's clients; `None` if there are as many as it may have.
    pub fn take_seat(&self) -> Option<Seat> {
        self.seats.take()
    }
}

/// All accounts, by name.
pub(crate) struct Accounts {
    by_name: HashMap<Vec<u8>, Account>,
    /// Compared with the answers of unknown users, and equal to none of them.
    decoy: String,
}

impl Accounts {
    pub fn new(users: &[User]) -> Result<Self, FrontendError> {
        let mut random = [0; 32];
        aws_lc_rs::rand::fill(&mut random).map_err(|_| FrontendError::Cryptography("random bytes"))?;
        let account = |user: &User| {
            let account = Account {
                user: Arc::from(user.name.as_str()),
                password: user.password.expose().to_owned(),
                default_schema: user.default_schema.clone().unwrap_or_default().into_bytes(),
                requires_tls: user.require_tls,
                sources: user.allow_from.as_slice().into(),
                seats: Seats::new(user.max_connections),
            };
            (user.name.clone().into_bytes(), account)
        };
        Ok(Self {
            by_name: users.iter().map(account).collect(),
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

    /// The password to compare with, for any user from anywhere.
    pub fn password(&self, user: &[u8], peer: Peer) -> &[u8] {
        let account = self.find(user, peer);
        account.map_or(&self.decoy, |account| &account.password).as_bytes()
    }
}
