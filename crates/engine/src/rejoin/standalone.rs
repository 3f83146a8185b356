//! Statements that commit by themselves: executing them on the server that comes back, and what is not known of them.
//!
//! Each has two positions: its intent, and its end. A server that has noted only the first may have executed it or not; see [`super::doubt`].

use super::Setback;
use super::connection::ReplayConnection;
use super::doubt::{Certainty, is_idempotent, knows_tables, says_it_is_done};
use super::execute::{Executor, agrees, beginning, differs, text_of};
use crate::io::World;
use bytes::Bytes;
use grove_recovery_log::{Entry, LoggedStatement, Origin, Outcome, Position, ResultOutcome, Standalone, Temporary};
use grove_sql::Class;
use grove_wire::command::COM_INIT_DB;

impl<W: World> Executor<W> {
    pub(super) async fn execute_standalone(
        &self,
        standalone: &Standalone,
        position: Position,
        connection: Option<ReplayConnection<W>>,
    ) -> Result<Option<ReplayConnection<W>>, Setback> {
        let statement = &standalone.statement;
        let text = text_of(&statement.body);
        let analysis = self.analyse(text, standalone.origin.collation);
        if did_nothing(&statement.outcome) || matches!(analysis.class, Class::LockTables | Class::UnlockTables) {
            // Table locks order what was done under them, and here nothing else runs.
            self.mark(position).await?;
            return Ok(connection);
        }
        if analysis.class == Class::Xa {
            return Err(Setback::Differs(format!(
                "entry {position} belongs to an XA transaction, which cannot be replayed: {}",
                beginning(text)
            )));
        }
        // Without an answer of the lead: the first server of a group has executed it, perhaps for the second time.
        let is_known = !statement.outcome.results.is_empty();
        let certainty = match self.standing.holds(standalone.intent) || !is_known {
            true => Certainty::InDoubt,
            false => Certainty::NotExecuted,
        };
        if certainty == Certainty::InDoubt && !is_idempotent(&analysis) {
            return Err(Setback::Differs(format!(
                "whether entry {position} was executed there before the server was lost is not known: {}",
                beginning(text)
            )));
        }
        let mut connection = match connection {
            Some(connection) => connection,
            None => {
                let (origin, context) = (&standalone.origin, &statement.context);
                self.open_for_session(origin, context, &standalone.temporary, position)
                    .await?
            }
        };
        // Its context tells all of the session's state.
        connection.tell(&statement.context);
        connection.forget();
        self.mark(standalone.intent).await?;
        let (reply, outcome) = self
            .run(&mut connection, &statement.context, statement, 0, position)
            .await?;
        if !agrees(&statement.outcome, &outcome) {
            let tolerated = certainty == Certainty::InDoubt && says_it_is_done(&outcome);
            if !tolerated && is_known {
                return Err(differs(position, &statement.body, &statement.outcome, &outcome, &reply));
            }
        }
        if certainty == Certainty::InDoubt {
            let schema = default_schema(&standalone.origin, &statement.context);
            self.doubts.note(&analysis, &schema, position, text);
        }
        self.mark(position).await?;
        connection.is_dirty = true;
        connection.has_temporary_tables |= analysis.class == Class::TemporaryDdl;
        Ok(Some(connection))
    }
    /// This is the first server of the group: what it holds is what happened. Intents that have no end in the log get one.
    pub async fn decide_for_all(&self) -> Result<(), Setback> {
        self.doubts.forget_tables();
        for (position, intent) in self.doubts.take_begun() {
            let text = text_of(&intent.body);
            let analysis = self.analyse(text, intent.origin.collation);
            let statement = LoggedStatement {
                body: intent.body.clone(),
                context: intent.context.clone(),
                generated_id: 0,
                undone: false,
                outcome: Outcome::default(),
            };
            tracing::warn!(
                position,
                statement = beginning(text),
                "a statement that commits by itself was under way when Grove, or its only server, was lost"
            );
            if is_idempotent(&analysis) {
                let mut connection = self.connections.open(&intent.origin, position).await?;
                self.run(&mut connection, &statement.context, &statement, 0, position)
                    .await?;
            }
            let ended = Standalone {
                origin: intent.origin,
                intent: position,
                temporary: Temporary::default(),
                statement,
            };
            let ended = self.connections.group.log.append(Entry::Standalone(ended)).await?;
            self.mark(ended).await?;
        }
        Ok(())
    }

    /// What may have been executed twice here, or here alone, must have left what the lead has.
    pub async fn compare_with_lead(&self) -> Result<(), Setback> {
        for (position, intent) in self.doubts.take_begun() {
            let text = text_of(&intent.body);
            let analysis = self.analyse(text, intent.origin.collation);
            if !is_idempotent(&analysis) || !knows_tables(&analysis) {
                return Err(Setback::Differs(format!(
                    "entry {position} was begun there, and its end is not in the log: {}",
                    beginning(text)
                )));
            }
            let schema = default_schema(&intent.origin, &intent.context);
            self.doubts.note(&analysis, &schema, position, text);
        }
        let tables = self.doubts.take_tables();
        let group = &self.connections.group;
        let lead = group.view().lead;
        if tables.is_empty() {
            return Ok(());
        }
        let mut there = group.open_position_rows(lead, self.connections.scope.clone()).await?;
        let mut here = self.rows.lock().await;
        for doubtful in tables {
            let (schema, table) = (&doubtful.schema, &doubtful.table);
            let (wanted, found) = (
                there.definition(schema, table).await?,
                here.definition(schema, table).await?,
            );
            if wanted != found {
                return Err(Setback::Differs(format!(
                    "whether entry {} was executed there before the server was lost is not known, and {}.{} is defined otherwise than on {}: {}",
                    doubtful.position,
                    String::from_utf8_lossy(schema),
                    String::from_utf8_lossy(table),
                    group.name(lead),
                    doubtful.statement
                )));
            }
        }
        Ok(())
    }
}

/// The default schema of a statement's session: the last one that its context names, or that of the login.
fn default_schema(origin: &Origin, context: &[Bytes]) -> Vec<u8> {
    let mut named = context
        .iter()
        .rev()
        .filter(|payload| payload.first() == Some(&COM_INIT_DB));
    let named = named.next().map(|payload| payload[1..].to_vec());
    named.unwrap_or_else(|| origin.schema.to_vec())
}

/// Refused by the parser, or ended before it began: it has done nothing anywhere.
fn did_nothing(outcome: &Outcome) -> bool {
    matches!(
        outcome.results.as_slice(),
        [ResultOutcome::Err {
            code: 1064 | 1205 | 1213 | 1317 | 1969 | 3024
        }]
    )
}
