//! COM_STMT_BULK_EXECUTE (MariaDB): a prepared write for many rows of parameters in one command.
//!
//! To the engine it is an execution like others, in one packet for each server, with the types that the client sent before. What the servers do not
//! run in this form is refused here, so that it has no effect on any of them.

use super::{After, Client};
use crate::error::LinkError;
use crate::refusal::{self, StatementCommand};
use crate::reply::Next;
use bytes::Bytes;
use grove_engine::io::World;
use grove_engine::{Body, Statement};
use grove_sql::Class;
use grove_wire::command::StmtBulkExecute;
use std::sync::Arc;

impl<W: World> Client<W> {
    pub(super) async fn execute_bulk(&mut self, id: u32, payload: Bytes) -> Result<After, LinkError> {
        let Some(known) = self.statements.find(id) else {
            return self.unknown_statement(id, StatementCommand::Execute).await;
        };
        if let Some(err) = known.broken.clone() {
            return self.refuse(&err).await;
        }
        let prepared = Arc::clone(&known.prepared);
        // What was not understood may be a write, and then the servers decide.
        let may_run = matches!(prepared.analysis.class, Class::Write(_) | Class::Unknown);
        if !may_run || prepared.params == 0 {
            return self.refuse(&refusal::not_preparable()).await;
        }
        let parsed = match StmtBulkExecute::parse(&payload, prepared.params) {
            Ok(parsed) => parsed,
            Err(error) => return self.refuse(&refusal::malformed(&error, self.flavor)).await,
        };
        let mut payload = payload;
        if !parsed.types.is_empty() {
            known.types.clear();
            known.types.extend_from_slice(&payload[parsed.types.clone()]);
        } else if known.types.is_empty() {
            return self.refuse(&refusal::wrong_bulk_arguments()).await;
        } else {
            payload = parsed.with_types(&payload, &known.types);
        }
        let statement = Statement {
            analysis: Arc::clone(&prepared.analysis),
            body: Body::Execute {
                prepared,
                payload,
                long_data: known.take_long_data(),
            },
        };
        let (after, _) = self.run_statement(statement, Next::End).await?;
        Ok(after)
    }
}
