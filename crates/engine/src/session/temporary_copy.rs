//! Giving a server the session's temporary tables: one that has joined since they were made, or whose connection was lost.
//!
//! They are read on a leg that has them and made again on the new one, before that begins a transaction. Values travel as literals that no character set
//! changes: numbers as they are printed, FLOAT as the double that it is, everything else as the bytes in hexadecimal digits. Bounded: a session with more
//! than [`Collect`] holds cannot be given to another server.

use super::{LegOf, Session, Slot};
use crate::error::SessionError;
use crate::io::{BackendId, Collect, LegError, World};
use crate::leg::OpenLeg;
use crate::statement::{Body, query_payload};
use crate::value::{escape_backticks, read_definitions, read_rows};
use bytes::Bytes;
use grove_recovery_log::TemporaryUse;
use grove_wire::ErrPacket;

/// Rows in one INSERT.
const ROWS_AT_ONCE: usize = 200;
/// ER_NO_SUCH_TABLE
const ER_NO_SUCH_TABLE: u16 = 1146;

impl<W: World> Session<W> {
    /// A leg on `backend` with the session's temporary tables as they are now on another leg.
    pub(super) async fn open_with_temporary_tables(&mut self, backend: BackendId) -> Result<Box<LegOf<W>>, LegError> {
        let statements = self.temporary_tables_again(Some(backend)).await?;
        let mut leg = Box::new(Box::pin(self.group.open_leg(backend, &self.identity)).await?);
        // The definitions mean what they mean in the session's sql_mode and character set.
        let state: Vec<Bytes> = self.state.since(0).collect();
        leg.tell(&state).await?;
        leg.state_version = self.state.version();
        leg.tell(&statements).await?;
        Ok(leg)
    }

    /// Statements that make the session's temporary tables again, as they are on another leg than that of `missing`.
    async fn temporary_tables_again(&mut self, missing: Option<BackendId>) -> Result<Vec<Bytes>, LegError> {
        let lost = || LegError::Lost("the leg with the temporary tables was lost".into());
        let names = self.state.temporary_tables.names().ok_or_else(lost)?;
        let mut statements = Vec::new();
        let mut at_hand = self.slots.iter_mut().filter_map(|slot| match slot {
            Slot::Mine(leg) if Some(leg.backend) != missing && !leg.gone().is_cancelled() => Some(leg),
            _ => None,
        });
        let source = at_hand.next().ok_or_else(lost)?;
        let was_open = source.in_transaction;
        for (schema, table) in &names {
            describe(source, schema, table, &mut statements).await?;
        }
        if source.in_transaction && !was_open {
            // Without autocommit reading begins a transaction, which is not the session's.
            source.query(b"ROLLBACK").await?;
        }
        Ok(statements)
    }

    /// What the log needs so that a server which is out of the group can replay a transaction that begins now: nothing if no server was lost since the tables
    /// were made, or since they were last copied; the server has replayed what made them then. Without a copy such a server must be rebuilt.
    pub(super) async fn copy_for_the_log(&mut self, losses: u64) -> Vec<Bytes> {
        if !self.state.temporary_tables.any() || self.tables_logged_at == losses || self.group.log.id().is_none() {
            return Vec::new();
        }
        match self.temporary_tables_again(None).await {
            Ok(statements) => {
                self.tables_logged_at = losses;
                statements
            }
            Err(error) => {
                tracing::warn!(%error, "temporary tables are not in the recovery log");
                Vec::new()
            }
        }
    }

    /// A server was lost while a transaction was open that needs temporary tables of before: the log gets them now, if they are still what they were.
    pub(super) async fn copy_before_commit(&mut self) -> Result<(), SessionError> {
        let losses = self.group.losses();
        let Some(transaction) = &self.transaction else {
            return Ok(());
        };
        let usage = transaction.temporary.usage(transaction.opening.has_temporary_tables);
        if usage != TemporaryUse::Needed || transaction.opening.losses == losses {
            return Ok(());
        }
        if transaction.temporary.has_changed_any() {
            let reason = "a server was lost in the middle of a transaction that has changed temporary tables";
            return Err(SessionError::Retry(reason.into()));
        }
        let copy = self.copy_for_the_log(losses).await;
        if let Some(transaction) = &mut self.transaction
            && !copy.is_empty()
        {
            transaction.opening.temporary_copy = copy;
            transaction.opening.losses = losses;
        }
        Ok(())
    }
}

/// Statements that make a temporary table with its rows.
async fn describe<L: crate::io::Leg>(
    source: &mut OpenLeg<L>,
    schema: &[u8],
    table: &[u8],
    statements: &mut Vec<Bytes>,
) -> Result<(), LegError> {
    let name = [
        b"`".as_slice(),
        &escape_backticks(schema),
        b"`.`",
        &escape_backticks(table),
        b"`",
    ]
    .concat();
    let question = [b"SHOW CREATE TABLE ".as_slice(), &name].concat();
    let mut definition = Collect::default();
    let reply = source.run(&[], &Body::query(&question), &mut definition).await?;
    match reply.reply.err() {
        // Gone with a statement that was not understood.
        Some(err) if err.code == ER_NO_SUCH_TABLE => return Ok(()),
        Some(err) => return Err(not_copied(err)),
        None => {}
    }
    let capabilities = source.capabilities();
    let made = read_rows(&definition, capabilities).into_iter().next();
    let text = made.and_then(|row| row.into_iter().nth(1)).flatten();
    let text = text.ok_or_else(|| LegError::Protocol("SHOW CREATE TABLE has no text".into()))?;
    // What stands before the parenthesis is CREATE TEMPORARY TABLE and the name without its schema.
    let body = text.iter().position(|&byte| byte == b'(');
    let body = body.map_or(&b""[..], |at| &text[at..]);
    statements.push(query_payload(
        &[b"CREATE TEMPORARY TABLE ".as_slice(), &name, b" ", body].concat(),
    ));

    let head = ask(source, &[b"SELECT * FROM ".as_slice(), &name, b" LIMIT 0"].concat()).await?;
    let columns = read_definitions(&head, capabilities);
    let names: Vec<Vec<u8>> = columns
        .iter()
        .map(|column| [b"`".as_slice(), &escape_backticks(&column.name), b"`"].concat())
        .collect();
    let asked = columns
        .iter()
        .zip(&names)
        .map(|(column, name)| match kind(column.column_type) {
            Kind::Number => name.clone(),
            Kind::Float => [name.as_slice(), b"+0e0"].concat(),
            Kind::Json => [b"HEX(CONVERT(".as_slice(), name, b" USING utf8mb4))"].concat(),
            Kind::Bytes => [b"HEX(".as_slice(), name, b")"].concat(),
        });
    let asked: Vec<Vec<u8>> = asked.collect();
    let question = [b"SELECT ".as_slice(), &asked.join(&b","[..]), b" FROM ", &name].concat();
    let rows = ask(source, &question).await?;
    let rows = read_rows(&rows, capabilities);
    let into = [
        b"INSERT INTO ".as_slice(),
        &name,
        b" (",
        &names.join(&b","[..]),
        b") VALUES ",
    ]
    .concat();
    for chunk in rows.chunks(ROWS_AT_ONCE) {
        let mut insert = into.clone();
        for (at, row) in chunk.iter().enumerate() {
            let values = row
                .iter()
                .zip(&columns)
                .map(|(value, column)| match (value, kind(column.column_type)) {
                    (None, _) => b"NULL".to_vec(),
                    (Some(value), Kind::Number | Kind::Float) => value.clone(),
                    (Some(value), Kind::Json) => [b"_utf8mb4 x'".as_slice(), value, b"'"].concat(),
                    (Some(value), Kind::Bytes) => [b"x'".as_slice(), value, b"'"].concat(),
                });
            let values: Vec<Vec<u8>> = values.collect();
            insert.extend_from_slice(if at > 0 { b",(" } else { b"(" });
            insert.extend_from_slice(&values.join(&b","[..]));
            insert.push(b')');
        }
        statements.push(query_payload(&insert));
    }
    Ok(())
}

async fn ask<L: crate::io::Leg>(source: &mut OpenLeg<L>, question: &[u8]) -> Result<Collect, LegError> {
    let mut answer = Collect::default();
    let reply = source.run(&[], &Body::query(question), &mut answer).await?;
    match reply.reply.err() {
        Some(err) => Err(not_copied(err)),
        None => Ok(answer),
    }
}

fn not_copied(err: &ErrPacket) -> LegError {
    LegError::Lost(format!(
        "a temporary table cannot be copied: {}",
        String::from_utf8_lossy(&err.message)
    ))
}

#[derive(Clone, Copy)]
enum Kind {
    Number,
    Float,
    Json,
    Bytes,
}

/// Type codes of the protocol's column definitions (MySQL internals, `enum_field_types`).
fn kind(column_type: u8) -> Kind {
    match column_type {
        0x00 | 0x01 | 0x02 | 0x03 | 0x05 | 0x08 | 0x09 | 0x0D | 0xF6 => Kind::Number,
        0x04 => Kind::Float,
        0xF5 => Kind::Json,
        _ => Kind::Bytes,
    }
}
