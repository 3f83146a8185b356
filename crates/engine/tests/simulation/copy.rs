//! The copy of a model server: taken at once, written table by table, with Grove's own tables last.

use crate::model::own_run::OwnSchema;
use crate::model::storage::{Copied, Storage};
use crate::world::SimulatedServers;
use grove_engine::io::{BackendId, Copier, CopyError, CopyProgress};
use std::sync::atomic::Ordering;
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(1);

pub struct SimulatedCopy {
    servers: SimulatedServers,
    donor: BackendId,
    target: BackendId,
    taken: Option<(Copied, OwnSchema)>,
}

impl SimulatedCopy {
    pub fn new(servers: SimulatedServers, donor: BackendId, target: BackendId) -> Self {
        Self {
            servers,
            donor,
            target,
            taken: None,
        }
    }
}

impl Copier for SimulatedCopy {
    async fn freeze(&mut self) -> Result<(), CopyError> {
        let donor = self.servers.reach(self.donor, TIMEOUT).await?;
        self.taken = Some(donor.step(|state| (state.storage.copy(), state.own.clone())));
        Ok(())
    }

    async fn survey(&mut self) -> Result<(), CopyError> {
        self.servers.reach(self.donor, TIMEOUT).await?;
        Ok(())
    }

    async fn fill(&mut self, progress: &CopyProgress) -> Result<(), CopyError> {
        let Some((copied, _)) = &self.taken else {
            return Err(CopyError::Unsuitable("nothing was taken".into()));
        };
        let target = self.servers.reach(self.target, TIMEOUT).await?;
        target.step(|state| {
            state.own = OwnSchema::default();
            state.storage = Storage::empty();
        });
        let mut written = Copied::new();
        for (table, rows) in copied {
            // In the order of the tables: Grove's own are behind the clients'.
            let target = self.servers.reach(self.target, TIMEOUT).await?;
            progress.rows.fetch_add(rows.0.len() as u64, Ordering::Relaxed);
            written.insert(*table, rows.clone());
            target.step(|state| state.storage = Storage::of(&written));
        }
        Ok(())
    }

    async fn complete(self) -> Result<(), CopyError> {
        let target = self.servers.reach(self.target, TIMEOUT).await?;
        target.step(|state| state.own = self.taken.map(|(_, own)| own).unwrap_or_default());
        Ok(())
    }
}
