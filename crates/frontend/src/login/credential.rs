//! What Grove knows of an account's password: all of it, or first only what the servers store of it.
//!
//! Grove logs in on the servers with the password itself. Where the configuration has only a hash, the first client that sends the right
//! password (full authentication of caching_sha2_password, or mysql_clear_password) teaches it, for as long as the process lives: what the
//! servers' own cache of caching_sha2_password does. Invariant: what was learned has passed the hash. A check against a hash takes
//! milliseconds, and time tells that there is an account with one; afterwards it is one like others.

use grove_config::PasswordHash;
use grove_wire::{auth, stored_password};
use std::sync::{Arc, OnceLock};

/// The password, or what is known of it.
pub(crate) struct Credential {
    hash: Option<PasswordHash>,
    password: OnceLock<String>,
}

impl Credential {
    pub fn new(configured: &grove_config::Credential) -> Arc<Self> {
        let (hash, password) = match configured {
            grove_config::Credential::Password(password) => (None, OnceLock::from(password.expose().to_owned())),
            grove_config::Credential::Hash(hash) => (Some(hash.clone()), OnceLock::new()),
        };
        Arc::new(Self { hash, password })
    }

    /// The password, unless nobody has brought it yet.
    pub fn password(&self) -> Option<&str> {
        self.password.get().map(String::as_str)
    }

    /// Whether this is the password itself. If it is, it is known from now on.
    pub async fn is(self: &Arc<Self>, given: &[u8]) -> bool {
        if let Some(password) = self.password() {
            return is_same(password.as_bytes(), given);
        }
        let Ok(given) = String::from_utf8(given.to_vec()) else {
            return false;
        };
        let credential = Arc::clone(self);
        // Rounds by the thousands: not on a thread that serves other clients.
        let checking = tokio::task::spawn_blocking(move || {
            let is_right = credential.passes_the_hash(given.as_bytes());
            if is_right {
                // Another client may have been faster, with the same password.
                let _ = credential.password.set(given);
            }
            is_right
        });
        checking.await.unwrap_or(false)
    }

    fn passes_the_hash(&self, given: &[u8]) -> bool {
        match &self.hash {
            Some(PasswordHash::Native(stored)) => stored_password::is_native(stored, given),
            Some(PasswordHash::CachingSha2 { rounds, salt, crypt }) => {
                stored_password::is_caching_sha2(crypt, salt, *rounds, given)
            }
            None => false,
        }
    }
}

/// Compares digests, which have the same length whatever the passwords are.
pub(super) fn is_same(password: &[u8], given: &[u8]) -> bool {
    let [password, given] = [password, given].map(|text| auth::caching_sha2_password(text, b""));
    auth::equal(&password, &given)
}

#[cfg(test)]
mod tests {
    use super::*;
    use grove_config::Secret;

    #[tokio::test]
    async fn a_password_is_known_and_a_hash_learns_it() {
        let known = Credential::new(&grove_config::Credential::Password(Secret::new("app secret")));
        assert_eq!(known.password(), Some("app secret"));
        assert!(known.is(b"app secret").await && !known.is(b"").await);

        let hash = "*C59FB35116D870D298C2A21D24F5D1BEE9934857".parse().unwrap();
        let learning = Credential::new(&grove_config::Credential::Hash(hash));
        for wrong in [&b"wrong"[..], b"", b"\xFF"] {
            assert!(!learning.is(wrong).await);
        }
        assert_eq!(learning.password(), None, "a wrong password teaches nothing");
        assert!(learning.is(b"app secret").await);
        assert_eq!(learning.password(), Some("app secret"));
        assert!(learning.is(b"app secret").await && !learning.is(b"wrong").await);
    }
}
