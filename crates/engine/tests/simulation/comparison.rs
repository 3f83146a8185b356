//! The comparison of model servers: the clients' rows of one instant.

use crate::model::sql::Table;
use crate::model::storage::Rows;
use crate::world::SimulatedServers;
use grove_engine::io::{BackendId, Compared, Comparer, ComparisonProgress, CopyError, Difference};
use std::collections::BTreeMap;
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(1);

pub struct SimulatedComparison {
    doors: SimulatedServers,
    servers: Vec<BackendId>,
    taken: Vec<BTreeMap<Table, Rows>>,
}

impl SimulatedComparison {
    pub fn new(doors: SimulatedServers, servers: Vec<BackendId>) -> Self {
        Self {
            doors,
            servers,
            taken: Vec::new(),
        }
    }
}

impl Comparer for SimulatedComparison {
    async fn freeze(&mut self) -> Result<(), CopyError> {
        for &server in &self.servers {
            let server = self.doors.reach(server, TIMEOUT).await?;
            let rows = |table| server.step(|state| state.storage.committed_rows(table));
            self.taken
                .push(Table::ALL.into_iter().map(|table| (table, rows(table))).collect());
        }
        Ok(())
    }

    async fn definitions(&mut self) -> Result<(), CopyError> {
        Ok(())
    }

    async fn rows(self, _: &ComparisonProgress) -> Result<Compared, CopyError> {
        let mut compared = Compared::default();
        if let Some((first, others)) = self.taken.split_first() {
            let differing = others.iter().enumerate().filter(|(_, other)| *other != first);
            compared.differences.extend(differing.map(|(server, other)| Difference {
                server,
                what: format!("{other:?} instead of {first:?}"),
            }));
        }
        Ok(compared)
    }
}
