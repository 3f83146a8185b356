//! Passwords of clients' accounts, so that what an account has written can be replayed as that account.
//!
//! The log has no passwords in it. They are known from the configuration, or from clients that have logged in since Grove started.

use dashmap::DashMap;
use std::fmt;
use std::sync::Arc;

/// Accounts and their passwords; clones share them.
#[derive(Clone, Default)]
pub struct Accounts(Arc<DashMap<String, String>>);

impl Accounts {
    /// Learns the password of an account.
    pub fn learn(&self, user: &str, password: &str) {
        // Reading is enough for nearly every login.
        let is_known = self.0.get(user).is_some_and(|known| known.value() == password);
        if !is_known {
            self.0.insert(user.to_owned(), password.to_owned());
        }
    }

    /// The password of an account, if it is known.
    pub fn password(&self, user: &str) -> Option<String> {
        self.0.get(user).map(|known| known.value().clone())
    }

    /// The accounts' names.
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.0.iter().map(|account| account.key().clone()).collect();
        names.sort_unstable();
        names
    }
}

/// Tells no password.
impl fmt::Debug for Accounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Accounts").field(&self.names()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_password_counts_and_none_is_shown() {
        let accounts = Accounts::default();
        accounts.learn("app", "old");
        accounts.learn("app", "secret");
        assert_eq!(accounts.password("app").as_deref(), Some("secret"));
        assert_eq!(accounts.password("other"), None);
        assert_eq!(format!("{accounts:?}"), "Accounts([\"app\"])");
    }
}
