//! Statements that were not understood: most of them are mistakes, and a mistake should not stop all writers.
//!
//! What is not understood runs on every server under the exclusive global gate. Before that gate is taken, a server is asked whether it
//! understands the statement at all, by preparing it without running it.

use super::{Session, Slot};
use crate::error::SessionError;
use crate::io::World;
use crate::statement::{Body, Statement};
use bytes::BytesMut;
use grove_sql::{Class, TouchedTables};

/// Refusals of a prepare that say the same as those of an execution: syntax, unknown table, column, routine or schema, no schema chosen,
/// access denied. Others (1295: not for prepared statements) say nothing.
const FINAL: [u16; 10] = [1064, 1146, 1054, 1305, 1049, 1046, 1044, 1142, 1143, 1370];

impl<W: World> Session<W> {
    /// The server's refusal of a statement that was not understood, if it refuses it before running it.
    pub(super) async fn refusal(&mut self, statement: &Statement) -> Result<Option<BytesMut>, SessionError> {
        let is_unknown =
            statement.analysis.class == Class::Unknown && statement.analysis.tables == TouchedTables::Unknown;
        let Body::Query(query) = &statement.body else {
            // The client has prepared it, so a server has understood it.
            return Ok(None);
        };
        if !is_unknown || statement.analysis.flags.named_lock {
            return Ok(None);
        }
        let mut attempts = 0;
        loop {
            let backend = match &self.transaction {
                Some(_) => self.current(),
                None => self.settle_reader().await,
            };
            let result = match self.told_leg(backend).await {
                Ok(()) => match self.slot(backend) {
                    Slot::Mine(leg) => leg.try_to_prepare(query.text()).await,
                    _ => return Ok(None),
                },
                Err(error) => Err(error),
            };
            match result {
                Ok(refusal) => return Ok(refusal.filter(|(code, _)| FINAL.contains(code)).map(|(_, frame)| frame)),
                Err(error) => self.current_leg_failed(backend, error, &mut attempts).await?,
            }
        }
    }
}
