//! A logical copy: everything that one server holds, as of one instant, onto another one, while the first goes on serving.
//!
//! [`Copier::freeze`] begins transactions with a consistent snapshot on several connections; whoever calls it sees to it that nothing commits meanwhile, so
//! they show the same instant. [`Copier::survey`] reads all definitions; [`Copier::fill`] empties the other server, makes everything there, and fills the tables
//! in parallel, large ones by ranges of their primary key. Rows are never decoded: the bytes of the text protocol become literals in a
//! connection without a character set.
//!
//! Grove's own schema `_grove` goes last, so that a server that holds half a copy says of itself that it holds nothing.
//!
//! Deliberately absent: tables whose engine has no transactions, and MariaDB's system-versioned ones. They cannot be read as of one instant, and the
//! copy is refused with their names.

mod accounts;
mod compare;
mod comparison;
mod connection;
mod definitions;
mod grants;
mod json;
mod literal;
mod make;
mod places;
mod ranges;
mod rows;
mod sequences;
mod survey;
mod warnings;

pub use compare::differences;
pub use comparison::LogicalComparison;

use connection::Connection;
use futures_util::future::try_join_all;
use grove_engine::io::{Copier, CopyError, CopyProgress, Leg};
use places::Places;
use sequences::Sequence;
use survey::Survey;

/// Errors after which another attempt may succeed. A table is not any more what it was at the snapshot: ER_NO_SUCH_TABLE, ER_TABLE_DEF_CHANGED,
/// ER_BAD_FIELD_ERROR. Something was in the way: ER_LOCK_WAIT_TIMEOUT, ER_LOCK_DEADLOCK. The server goes, or somebody has ended the connection:
/// ER_SERVER_SHUTDOWN, ER_QUERY_INTERRUPTED, MariaDB's ER_CONNECTION_KILLED.
const PASSING: [u16; 8] = [1146, 1412, 1054, 1205, 1213, 1053, 1317, 1927];

/// A copy from one server to another.
pub struct LogicalCopy<L: Leg> {
    /// To the server that is copied, without a transaction: SHOW CREATE USER of MySQL takes locks in one, after which it keeps its tables until its end.
    definitions: Connection<L>,
    from: Vec<Connection<L>>,
    into: Vec<Connection<L>>,
    sequences: Vec<Sequence>,
    /// Their values at the instant.
    values: Vec<String>,
    /// Where the donor kept what before the instant.
    places: Places,
    survey: Survey,
}

impl<L: Leg> LogicalCopy<L> {
    /// Takes fresh connections of Grove's own account: one for definitions, and as many from the one server as into the other, at least one.
    pub async fn prepare(definitions: L, from: Vec<L>, into: Vec<L>) -> Result<Self, CopyError> {
        let mut definitions = Connection::new(definitions);
        let mut from: Vec<_> = from.into_iter().map(Connection::new).collect();
        let mut into: Vec<_> = into.into_iter().map(Connection::new).collect();
        prepare_to_read(&mut definitions).await?;
        try_join_all(from.iter_mut().map(prepare_to_read)).await?;
        try_join_all(into.iter_mut().map(make::prepare)).await?;
        let sequences = sequences::read(&mut definitions).await?;
        sequences::refuse_cached(&mut definitions, &sequences).await?;
        Ok(Self {
            places: Places::read(&mut definitions).await?,
            definitions,
            from,
            into,
            sequences,
            values: Vec::new(),
            survey: Survey::default(),
        })
    }
}

impl<L: Leg> Copier for LogicalCopy<L> {
    async fn freeze(&mut self) -> Result<(), CopyError> {
        try_join_all(self.from.iter_mut().map(Connection::begin_snapshot)).await?;
        for sequence in &self.sequences {
            self.values
                .push(sequences::values(&mut self.definitions, sequence).await?);
        }
        Ok(())
    }

    async fn survey(&mut self) -> Result<(), CopyError> {
        // Those of the preparation, unless one has been made or altered before the instant.
        if self.sequences != sequences::read(&mut self.definitions).await? {
            return Err(CopyError::Changed("a sequence was defined before the instant".into()));
        }
        let sequences = std::mem::take(&mut self.sequences);
        let sequences = sequences.into_iter().zip(std::mem::take(&mut self.values)).collect();
        self.survey = Survey::read(&mut self.definitions, first(&mut self.from)?, sequences).await?;
        Ok(())
    }

    async fn fill(&mut self, progress: &CopyProgress) -> Result<(), CopyError> {
        let survey = &self.survey;
        make::empty(first(&mut self.into)?).await?;
        make::tables(first(&mut self.into)?, survey).await?;
        survey.copy_rows(&mut self.from, &mut self.into, progress).await?;
        let into = first(&mut self.into)?;
        make::programs(into, survey).await?;
        make::accounts(into, &survey.accounts).await
    }

    async fn complete(mut self) -> Result<(), CopyError> {
        self.places.must_be_unmoved(&mut self.definitions).await?;
        make::standing(first(&mut self.into)?, &self.survey.standing).await
    }
}

fn first<L: Leg>(connections: &mut [Connection<L>]) -> Result<&mut Connection<L>, CopyError> {
    let none = || CopyError::Unsuitable("there is no connection to copy over".into());
    connections.first_mut().ok_or_else(none)
}

async fn prepare_to_read<L: Leg>(connection: &mut Connection<L>) -> Result<(), CopyError> {
    connection.say("SET NAMES utf8mb4").await?;
    connection
        .say("SET SESSION sql_mode='', time_zone='+00:00', net_write_timeout=3600, wait_timeout=86400, lock_wait_timeout=60")
        .await?;
    // Expressions for documents are written by GROUP_CONCAT.
    connection.say("SET SESSION group_concat_max_len=1073741824").await?;
    // MariaDB ends transactions that idle, if it is told to. MySQL writes password hashes so that they survive a character set.
    for optional in [
        "SET SESSION idle_transaction_timeout=0",
        "SET SESSION print_identified_with_as_hex=ON",
        "SET SESSION max_statement_time=0",
        "SET SESSION max_execution_time=0",
        "SET SESSION cte_max_recursion_depth=1000",
    ] {
        connection.try_to_say(optional).await?;
    }
    connection
        .say("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        .await
}
