//! What the log holds: write units with their context and the lead's results, DDL, membership changes.
//!
//! Entries carry the client's bytes, never SQL printed back from a syntax tree.

use bytes::Bytes;
use smallvec::SmallVec;

/// One entry of the log.
#[derive(Clone, Debug)]
pub enum Entry {
    /// What commits atomically.
    Unit(WriteUnit),
    /// A statement that commits by itself and cannot share a transaction (DDL, account management).
    Standalone(LoggedStatement),
    /// A change of the group's membership.
    Membership(MembershipChange),
}

/// A transaction with writes, or one autocommit write.
#[derive(Clone, Debug, Default)]
pub struct WriteUnit {
    /// Statements in the order in which the lead executed them.
    pub statements: Vec<LoggedStatement>,
}

/// The command as the client sent it.
#[derive(Clone, Debug)]
pub enum StatementBody {
    /// COM_QUERY payload without the command byte.
    Text(Bytes),
    /// A COM_QUERY with query attributes, which the statement may read.
    Attributed {
        /// Statement text.
        text: Bytes,
        /// What the client sent between the command byte and the text.
        attributes: Bytes,
    },
    /// A prepared statement's text and one execution's binary parameters.
    Execute {
        /// Statement text.
        text: Bytes,
        /// COM_STMT_EXECUTE or COM_STMT_BULK_EXECUTE payload with its command byte, and with parameter types.
        parameters: Bytes,
        /// Parameters that came through COM_STMT_SEND_LONG_DATA, by index.
        long_data: Vec<(u16, Bytes)>,
    },
}

/// One statement with everything that makes it give the same result again.
#[derive(Clone, Debug)]
pub struct LoggedStatement {
    /// The command.
    pub body: StatementBody,
    /// Session statements that precede it (schema, sql_mode, timestamp, seeds), as text.
    pub context: Vec<Bytes>,
    /// What the lead answered.
    pub outcome: Outcome,
}

/// What a server answered, as far as servers must agree.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Outcome {
    /// One per result of the reply.
    pub results: SmallVec<[ResultOutcome; 1]>,
    /// Whether a transaction was open on the connection afterwards.
    pub in_transaction: bool,
}

/// One result of a reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResultOutcome {
    /// An OK packet.
    Ok {
        /// Affected rows (matched rows with CLIENT_FOUND_ROWS).
        affected_rows: u64,
        /// Insert id of the OK packet.
        last_insert_id: u64,
        /// Human-readable counts ("Rows matched: 1  Changed: 1  Warnings: 0").
        info: Bytes,
    },
    /// An ERR packet.
    Err {
        /// MySQL error code.
        code: u16,
    },
    /// A result set; rows of a locking read are counted, not compared.
    Rows {
        /// Number of rows.
        rows: u64,
    },
}

/// A server joined or left the group.
#[derive(Clone, Debug)]
pub struct MembershipChange {
    /// Epoch that begins with this change.
    pub epoch: u64,
    /// Name of the server that left.
    pub evicted: String,
    /// Why.
    pub reason: String,
    /// Name of the lead of the new epoch.
    pub lead: String,
}
