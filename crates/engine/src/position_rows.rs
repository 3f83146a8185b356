//! What a server holds of the log, in its own tables: position rows.
//!
//! A unit's position is inserted in the unit's own transaction, so after any crash the server itself says whether it has the unit. Rows below the
//! contiguous prefix are folded into one number. Each of them carries the fence, a random number that a server is given whenever it begins to take part, and
//! the insertion holds a shared lock on the fence until the transaction ends. So once a new fence is up, whatever was sent under the old one has either
//! committed with its row, or will fail: late commands of a former process, or of connections that Grove has given up, cannot commit any more.
//!
//! Statements that commit by themselves cannot share a transaction with their row. They have two: that of their intent before, that of their end after.

use crate::io::{BackendId, Collect, Leg, LegError, OWN_TABLES};
use crate::leg::OpenLeg;
use crate::statement::Body;
use crate::value::read_all_rows;
use grove_recovery_log::{LogId, Position};
use std::collections::BTreeSet;
use tokio_util::sync::CancellationToken;

/// Rows that are read at once.
const ROWS_AT_ONCE: usize = 10_000;

/// The number without which nothing commits on a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fence(pub u64);

impl Fence {
    /// A new one, never 0.
    pub fn random(bits: u64) -> Self {
        Self(bits >> 1 | 1)
    }

    /// The statement that inserts a unit's position in the unit's transaction. It fails with error 1048 behind a newer fence, and with 1062 where the
    /// unit is already.
    pub fn mark(self, position: Position) -> String {
        let fence = self.0;
        format!(
            "INSERT INTO `_grove`.`applied` VALUES ({position},\
             (SELECT `token` FROM `_grove`.`fence` WHERE `token`={fence} LOCK IN SHARE MODE))"
        )
    }
}

/// Error of [`Fence::mark`]: the position is there.
pub(crate) const ER_DUP_ENTRY: u16 = 1062;
/// Error of [`Fence::mark`] in a transaction that can only have written to temporary tables.
pub(crate) const ER_CANT_EXECUTE_IN_READ_ONLY_TRANSACTION: u16 = 1792;

/// Whether an account was refused because it may not write position rows: ER_DBACCESS_DENIED_ERROR, ER_TABLEACCESS_DENIED_ERROR, ER_COLUMNACCESS_DENIED_ERROR.
pub(crate) fn is_access_denied(code: u16) -> bool {
    matches!(code, 1044 | 1142 | 1143)
}

/// What a server holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    /// The log that it has taken part in; `None` if in none yet.
    pub log: Option<LogId>,
    /// It holds every entry up to here.
    pub prefix: Position,
    /// Further ones that it holds.
    pub applied: BTreeSet<Position>,
}

impl Standing {
    pub fn holds(&self, position: Position) -> bool {
        position <= self.prefix || self.applied.contains(&position)
    }

    /// The highest position that it holds.
    pub fn newest(&self) -> Position {
        self.applied.last().copied().unwrap_or(0).max(self.prefix)
    }
}

/// A connection of Grove's own account that keeps a server's position rows.
pub(crate) struct PositionRows<L: Leg> {
    leg: OpenLeg<L>,
}

impl<L: Leg> PositionRows<L> {
    /// Takes a fresh connection. Every wait on it ends with `gone`.
    pub fn new(backend: BackendId, leg: L, gone: CancellationToken) -> Self {
        Self {
            leg: OpenLeg::new(backend, leg, gone, None),
        }
    }

    /// Makes the tables where they are missing.
    pub async fn prepare(&mut self) -> Result<(), LegError> {
        for statement in OWN_TABLES {
            self.run(statement).await?;
        }
        Ok(())
    }

    /// What the server holds now.
    pub async fn read(&mut self) -> Result<Standing, LegError> {
        let rows = self.rows("SELECT `log`,`prefix` FROM `_grove`.`standing`").await?;
        let mut standing = match rows.as_slice() {
            [] => return Ok(Standing::default()),
            [row, ..] => {
                let [log, prefix] = row.as_slice() else {
                    return Err(unreadable("standing"));
                };
                let log = u128::from_str_radix(log, 16).map_err(|_| unreadable("standing"))?;
                Standing {
                    log: Some(LogId(log)),
                    prefix: prefix.parse().map_err(|_| unreadable("standing"))?,
                    applied: BTreeSet::new(),
                }
            }
        };
        let mut above: Position = 0;
        loop {
            let question = format!(
                "SELECT `position` FROM `_grove`.`applied` WHERE `position`>{above} ORDER BY `position` LIMIT {ROWS_AT_ONCE}"
            );
            let rows = self.rows(&question).await?;
            let positions = rows.iter().map(|row| row.first()?.parse().ok());
            let positions: Option<Vec<Position>> = positions.collect();
            let positions = positions.ok_or_else(|| unreadable("applied"))?;
            above = positions.last().copied().unwrap_or(above);
            let is_last = positions.len() < ROWS_AT_ONCE;
            standing.applied.extend(positions);
            if is_last {
                return Ok(standing);
            }
        }
    }

    /// The server takes part in this log from now on, and holds all of it up to `prefix`.
    pub async fn adopt(&mut self, log: LogId, prefix: Position) -> Result<(), LegError> {
        let set = format!(
            "INSERT INTO `_grove`.`standing` VALUES (1,'{log}',{prefix}) ON DUPLICATE KEY UPDATE `log`='{log}',`prefix`={prefix}"
        );
        let forget = "DELETE FROM `_grove`.`applied` WHERE `position`<=18446744073709551615";
        self.together(&[&set, forget]).await
    }

    /// Puts a new fence up. Waits until every transaction that has inserted its position behind the old one has ended.
    pub async fn raise(&mut self, fence: Fence) -> Result<(), LegError> {
        let token = fence.0;
        let raise = format!("INSERT INTO `_grove`.`fence` VALUES (1,{token}) ON DUPLICATE KEY UPDATE `token`={token}");
        self.run(&raise).await
    }

    /// Inserts the position of what has committed by itself. Having it already is as good.
    pub async fn mark(&mut self, position: Position, fence: Fence) -> Result<(), LegError> {
        match self.run(&fence.mark(position)).await {
            Err(LegError::Refused(err)) if err.code == ER_DUP_ENTRY => Ok(()),
            result => result,
        }
    }

    /// The server holds everything up to `prefix`, and perhaps more already.
    pub async fn fold(&mut self, log: LogId, prefix: Position) -> Result<(), LegError> {
        let raise = format!("UPDATE `_grove`.`standing` SET `prefix`=GREATEST(`prefix`,{prefix}) WHERE `log`='{log}'");
        let forget = format!("DELETE FROM `_grove`.`applied` WHERE `position`<={prefix}");
        self.together(&[&raise, &forget]).await
    }

    /// How a table is defined, without its AUTO_INCREMENT counter; the error's code if it is not there.
    pub async fn definition(&mut self, schema: &[u8], table: &[u8]) -> Result<String, LegError> {
        let name = |name: &[u8]| String::from_utf8_lossy(&crate::value::escape_backticks(name)).into_owned();
        let question = format!("SHOW CREATE TABLE `{}`.`{}`", name(schema), name(table));
        match self.rows(&question).await {
            Ok(rows) => {
                let text = rows.into_iter().next().and_then(|row| row.into_iter().nth(1));
                Ok(without_counter(&text.unwrap_or_default()))
            }
            Err(LegError::Refused(err)) => Ok(format!("error {}", err.code)),
            Err(error) => Err(error),
        }
    }

    async fn together(&mut self, statements: &[&str]) -> Result<(), LegError> {
        self.run("BEGIN").await?;
        for statement in statements {
            if let Err(error) = self.run(statement).await {
                // The connection is not used again after an error, but a lock wait is one after which it might be.
                let _ = self.run("ROLLBACK").await;
                return Err(error);
            }
        }
        self.run("COMMIT").await
    }

    async fn run(&mut self, sql: &str) -> Result<(), LegError> {
        let reply = self.leg.query(sql.as_bytes()).await?;
        reply
            .reply
            .err()
            .map_or(Ok(()), |err| Err(LegError::Refused(err.clone())))
    }

    async fn rows(&mut self, sql: &str) -> Result<Vec<Vec<String>>, LegError> {
        let mut answer = Collect::default();
        let reply = self.leg.run(&[], &Body::query(sql.as_bytes()), &mut answer).await?;
        if let Some(err) = reply.reply.err() {
            return Err(LegError::Refused(err.clone()));
        }
        Ok(read_all_rows(&answer, self.leg.capabilities()))
    }
}

fn unreadable(table: &str) -> LegError {
    LegError::Protocol(format!(
        "what stands in `_grove`.`{table}` was not written by Grove; drop the schema `_grove` there and rebuild the server"
    ))
}

/// The counter differs between servers that hold the same rows.
fn without_counter(definition: &str) -> String {
    let Some((before, after)) = definition.split_once(" AUTO_INCREMENT=") else {
        return definition.to_owned();
    };
    [before, after.trim_start_matches(|c: char| c.is_ascii_digit())].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_holds_its_prefix_and_what_it_has_beyond() {
        let standing = Standing {
            log: Some(LogId(1)),
            prefix: 5,
            applied: [7, 9].into(),
        };
        let held: Vec<Position> = (1..=10).filter(|&position| standing.holds(position)).collect();
        assert_eq!(held, [1, 2, 3, 4, 5, 7, 9]);
        assert_eq!(standing.newest(), 9);
    }

    #[test]
    fn the_counter_is_no_part_of_a_definition() {
        assert_eq!(
            without_counter("CREATE TABLE `t` (...) ENGINE=InnoDB AUTO_INCREMENT=17 DEFAULT CHARSET=utf8mb4"),
            "CREATE TABLE `t` (...) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4"
        );
        assert_eq!(without_counter("CREATE TABLE `t` (...)"), "CREATE TABLE `t` (...)");
    }
}
