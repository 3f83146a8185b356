//! What can go wrong for a client inside the engine, split by what the client may do next.

use crate::io::LegError;
use grove_wire::ErrPacket;

/// Why a statement got no answer from a server.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The transaction is rolled back on every server; the client may run it again, as after any deadlock.
    #[error("transaction rolled back: {0}")]
    Retry(String),
    /// A bounded wait for a lock ended; only the statement failed.
    #[error("lock wait timeout exceeded: {0}")]
    LockWait(String),
    /// `KILL QUERY` reached the statement inside Grove.
    #[error("Query execution was interrupted")]
    Interrupted,
    /// No server was reachable within the bounded wait.
    #[error("no server is online: {0}")]
    NoServer(String),
    /// A server refused the session (wrong password, unknown schema): its own words.
    #[error("refused by the server")]
    Refused(ErrPacket),
    /// A configured bound would be exceeded.
    #[error("limit exceeded: {0}")]
    Limit(String),
    /// The recovery log did not take what was to be decided, so it has happened on no server.
    #[error("not done, because it cannot be logged: {0}")]
    NotLogged(grove_recovery_log::LogError),
    /// Part of the answer has been sent, or the outcome of a commit is unknown: the connection must be closed.
    #[error("connection cannot go on: {0}")]
    Fatal(String),
}

impl SessionError {
    /// The ERR packet that tells the client, with MySQL's own code.
    pub fn to_err_packet(&self) -> ErrPacket {
        let packet = |code, state: &str| ErrPacket::new(code, state, &format!("{self}"));
        match self {
            Self::Retry(_) => ErrPacket::new(
                1213,
                "40001",
                "Deadlock found when trying to get lock; try restarting transaction",
            ),
            Self::LockWait(_) => {
                ErrPacket::new(1205, "HY000", "Lock wait timeout exceeded; try restarting transaction")
            }
            Self::Interrupted => packet(1317, "70100"),
            // ER_SERVER_SHUTDOWN: drivers take class 08 as "the connection is of no use now", which is the truth.
            Self::NoServer(_) => packet(1053, "08S01"),
            Self::Refused(err) => err.clone(),
            Self::Limit(_) => packet(1197, "HY000"),
            // ER_ERROR_DURING_COMMIT: no driver takes it for a conflict that goes away by trying again at once.
            Self::NotLogged(_) => packet(1180, "HY000"),
            Self::Fatal(_) => packet(1053, "08S01"),
        }
    }
}

impl From<LegError> for SessionError {
    fn from(error: LegError) -> Self {
        match error {
            LegError::Refused(err) => Self::Refused(err),
            LegError::ClientGone(reason) => Self::Fatal(reason),
            other => Self::Fatal(other.to_string()),
        }
    }
}
