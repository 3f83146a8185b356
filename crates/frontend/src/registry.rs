//! Clients by Grove's own connection id, for KILL.
//!
//! Ids are given out in order and skip those that are in use when the counter wraps. A client may kill clients of its own account only;
//! there are no accounts with further rights.

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use grove_engine::Interrupter;
use grove_engine::io::World;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use tokio_util::sync::CancellationToken;

/// The registry.
pub(crate) struct Registry<W: World> {
    next_id: AtomicU32,
    clients: DashMap<u32, Registered<W>>,
}

impl<W: World> Default for Registry<W> {
    fn default() -> Self {
        Self {
            next_id: AtomicU32::new(1),
            clients: DashMap::new(),
        }
    }
}

/// What others may do to a client.
struct Registered<W: World> {
    /// Absent until the client has logged in.
    owner: Option<Owner<W>>,
    cut: CancellationToken,
}

struct Owner<W: World> {
    user: Arc<str>,
    interrupter: Interrupter<W>,
}

/// How a KILL ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Killed {
    Done,
    Unknown,
    NotOwner,
}

impl<W: World> Registry<W> {
    /// Enters a new client; `cut` is the token that ends it.
    pub fn enter(&self, cut: &CancellationToken) -> u32 {
        loop {
            let id = self.next_id.fetch_add(1, Ordering::Relaxed);
            if id == 0 {
                continue;
            }
            if let Entry::Vacant(place) = self.clients.entry(id) {
                place.insert(Registered {
                    owner: None,
                    cut: cut.clone(),
                });
                return id;
            }
        }
    }

    /// The client has logged in, or has become another user.
    pub fn own(&self, id: u32, user: &Arc<str>, interrupter: Interrupter<W>) {
        if let Some(mut client) = self.clients.get_mut(&id) {
            client.owner = Some(Owner {
                user: Arc::clone(user),
                interrupter,
            });
        }
    }

    pub fn leave(&self, id: u32) {
        self.clients.remove(&id);
    }

    /// KILL CONNECTION: the client's own task stops what it runs and ends.
    pub fn kill_connection(&self, id: u64, user: &str) -> Killed {
        self.with_owned(id, user, |client, _| client.cut.cancel())
            .map_or_else(|killed| killed, |()| Killed::Done)
    }

    /// KILL QUERY: the client's statement ends with 1317. Bounded as [`Interrupter::interrupt`] is.
    pub async fn kill_query(&self, id: u64, user: &str) -> Killed {
        match self.with_owned(id, user, |_, owner| owner.interrupter.clone()) {
            Ok(interrupter) => {
                interrupter.interrupt().await;
                Killed::Done
            }
            Err(killed) => killed,
        }
    }

    fn with_owned<T>(
        &self,
        id: u64,
        user: &str,
        act: impl FnOnce(&Registered<W>, &Owner<W>) -> T,
    ) -> Result<T, Killed> {
        let client = u32::try_from(id).ok().and_then(|id| self.clients.get(&id));
        let client = client.ok_or(Killed::Unknown)?;
        match &client.owner {
            Some(owner) if *owner.user == *user => Ok(act(&client, owner)),
            _ => Err(Killed::NotOwner),
        }
    }
}
