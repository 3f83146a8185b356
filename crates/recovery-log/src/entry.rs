//! What the log holds: write units with their context and the lead's results, DDL, membership changes, named checkpoints.
//!
//! Entries carry the client's bytes, never SQL printed back from a syntax tree.

use bytes::Bytes;
use smallvec::SmallVec;

use crate::Position;

/// One entry of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// What commits atomically.
    Unit(WriteUnit),
    /// A statement that commits by itself is about to be sent to the lead.
    Intent(Intent),
    /// A statement that commits by itself and cannot share a transaction (DDL, account management) has been executed.
    Standalone(Standalone),
    /// A change of the group's membership.
    Membership(MembershipChange),
    /// A place with a name, to come back to.
    Checkpoint(Checkpoint),
}

/// A transaction with writes, or one autocommit write.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WriteUnit {
    /// Whose session wrote it.
    pub origin: Origin,
    /// The highest position whose COMMIT had been sent when every server had executed all of this unit; 0 if none had been. Two units of which neither
    /// depends on the other held all their locks at the same time, so they cannot conflict.
    pub depends_on: Position,
    /// What brings a fresh connection into the session's state at the unit's beginning and begins the transaction, as COM_QUERY payloads with the
    /// command byte.
    pub opening: Vec<Bytes>,
    /// The session's temporary tables at that time, which a fresh connection lacks.
    pub temporary: Temporary,
    /// Statements in the order in which the lead executed them.
    pub statements: Vec<LoggedStatement>,
}

/// A session's temporary tables as something that is logged finds them.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Temporary {
    /// What it has to do with them.
    pub usage: TemporaryUse,
    /// Schema and name of each, in lower case; none, with [`TemporaryUse::Needed`], if they are not known.
    pub names: Vec<(Bytes, Bytes)>,
    /// What makes them again with their rows, as COM_QUERY payloads with the command byte. Only where a server may need that: one was lost since they were
    /// made, or since they were last copied.
    pub copy: Vec<Bytes>,
}

/// What a unit has to do with its session's temporary tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum TemporaryUse {
    /// The session had none at the unit's beginning.
    #[default]
    None,
    /// The unit does without those that there were.
    Untouched,
    /// It reads or writes them, and others with them.
    Needed,
    /// It writes nothing but temporary tables.
    Only,
}

/// What was decided before the lead was asked: after a crash, servers may have executed it or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intent {
    /// Whose session wants it.
    pub origin: Origin,
    /// The command.
    pub body: StatementBody,
    /// Session statements that precede it, as COM_QUERY payloads with the command byte.
    pub context: Vec<Bytes>,
}

/// A statement that commits by itself, as every server has executed it. Entries before it and behind it do not pass it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standalone {
    /// Whose session ran it.
    pub origin: Origin,
    /// Position of its [`Intent`].
    pub intent: Position,
    /// The session's temporary tables before, which a fresh connection lacks.
    pub temporary: Temporary,
    /// The statement and the lead's answer.
    pub statement: LoggedStatement,
}

/// The session that a statement came from, as far as its connection decides what statements mean.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// Account name on the servers.
    pub user: String,
    /// Capability flags of the client's connection, in the protocol's bits.
    pub capabilities: u64,
    /// Collation id that the client announced.
    pub collation: u16,
    /// Schema of the connection at its start, in the client's character set; empty for none.
    pub schema: Bytes,
    /// Grove's own id of the client connection. Statements that keep state on their connection (LOCK TABLES, XA) belong together by it.
    pub connection_id: u32,
    /// Tells sessions apart, those of earlier processes too: COM_CHANGE_USER and COM_RESET_CONNECTION begin another one on the same connection.
    pub session: u64,
}

/// The command as the client sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
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
    /// COM_QUERY payload of a LOAD DATA LOCAL, without the command byte and without the client's file, which was too large for the log.
    LoadWithoutFile(Bytes),
    /// The same with the client's file.
    Load {
        /// Statement text.
        text: Bytes,
        /// All of the file.
        file: Bytes,
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedStatement {
    /// The command.
    pub body: StatementBody,
    /// Session statements that precede it (schema, sql_mode, timestamp, seeds), as COM_QUERY payloads with the command byte.
    pub context: Vec<Bytes>,
    /// The first auto-increment value that the lead generated for it, to be forced with INSERT_ID; 0 if it generated none.
    pub generated_id: u64,
    /// The lead has taken it back with ROLLBACK TO SAVEPOINT, except for what no rollback takes back. Its answer need not be given again: the locks under which it
    /// was given may have been released with it.
    pub undone: bool,
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

/// An epoch begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MembershipChange {
    /// Epoch that begins with this change.
    pub epoch: u64,
    /// Name of its lead.
    pub lead: String,
    /// Names of the servers that are online in it, the lead among them.
    pub online: Vec<String>,
    /// Why it begins.
    pub cause: MembershipCause,
}

/// Why an epoch begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MembershipCause {
    /// Grove started with the servers that answered.
    Formed,
    /// A server left.
    Evicted {
        /// Its name.
        server: String,
        /// Why it had to.
        reason: String,
    },
    /// A server that holds all of the log came, or came back.
    Joined {
        /// Its name.
        server: String,
    },
}

/// A place in the log with a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// What operators call it.
    pub name: String,
}
