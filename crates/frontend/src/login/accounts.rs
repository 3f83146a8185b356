//! The accounts that clients may use.
//!
//! Invariant: an unknown user goes the same way as a known one with a wrong password, packet by packet.

use crate::error::FrontendError;
use grove_config::User;
use std::collections::HashMap;
use std::sync::Arc;

/// An account.
#[derive(Clone)]
pub(crate) struct Account {
    pub user: Arc<str>,
    pub password: String,
    /// In use when the client names no schema; empty for none.
    pub default_schema: Vec<u8>,
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
            };
            (user.name.clone().into_bytes(), account)
        };
        Ok(Self {
            by_name: users.iter().map(account).collect(),
            decoy: random.map(|byte| char::from(b'a' + byte % 26)).iter().collect(),
        })
    }

    pub fn find(&self, user: &[u8]) -> Option<&Account> {
        self.by_name.get(user)
    }

    /// The password to compare with, for any user.
    pub fn password(&self, user: &[u8]) -> &[u8] {
        let account = self.by_name.get(user);
        account.map_or(&self.decoy, |account| &account.password).as_bytes()
    }
}
