//! Grove's own errors to clients, in the servers' words: code, SQLSTATE and message as MySQL and MariaDB send them.
//!
//! Compared with MariaDB 10.11.19 and MySQL 9.7.4; where the two differ, the lead's flavor decides. What a server has refused itself is
//! forwarded as it came and is not here.

use grove_sql::Flavor;
use grove_wire::{ErrPacket, WireError};

/// Whether the client sent a password, as the message about a refused login says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UsingPassword {
    Yes,
    No,
}

impl UsingPassword {
    pub fn of(response: &[u8]) -> Self {
        if response.is_empty() { Self::No } else { Self::Yes }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Yes => "YES",
            Self::No => "NO",
        }
    }
}

pub(crate) fn too_many_connections() -> ErrPacket {
    ErrPacket::new(1040, "08004", "Too many connections")
}

/// No account could be used from there.
pub(crate) fn host_not_allowed(host: &str, flavor: Flavor) -> ErrPacket {
    let server = match flavor {
        Flavor::Mysql => "MySQL",
        Flavor::MariaDb => "MariaDB",
    };
    let message = format!("Host '{host}' is not allowed to connect to this {server} server");
    ErrPacket::new(1130, "HY000", &message)
}

pub(crate) fn too_many_user_connections(user: &str) -> ErrPacket {
    let message = format!("User {user} already has more than 'max_user_connections' active connections");
    ErrPacket::new(1203, "42000", &message)
}

pub(crate) fn bad_handshake() -> ErrPacket {
    ErrPacket::new(1043, "08S01", "Bad handshake")
}

pub(crate) fn access_denied(user: &[u8], host: &str, password: UsingPassword) -> ErrPacket {
    let user = String::from_utf8_lossy(user);
    let message = format!(
        "Access denied for user '{user}'@'{host}' (using password: {})",
        password.word()
    );
    ErrPacket::new(1045, "28000", &message)
}

pub(crate) fn insecure_transport() -> ErrPacket {
    let message = "Connections using insecure transport are prohibited while --require_secure_transport=ON.";
    ErrPacket::new(3159, "HY000", message)
}

pub(crate) fn old_authentication() -> ErrPacket {
    let message =
        "Client does not support authentication protocol requested by server; consider upgrading MySQL client";
    ErrPacket::new(1251, "08004", message)
}

/// Only zstd has a level that the client chooses.
pub(crate) fn wrong_compression_level() -> ErrPacket {
    ErrPacket::new(3923, "HY000", "Invalid zstd compression level for algorithm 'zstd'.")
}

pub(crate) fn no_server() -> ErrPacket {
    ErrPacket::new(1053, "08S01", "Server shutdown in progress")
}

pub(crate) fn unknown_command() -> ErrPacket {
    ErrPacket::new(1047, "08S01", "Unknown command")
}

/// What a client wanted of a prepared statement; messages name the server's own function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StatementCommand {
    Execute,
    Reset,
    Fetch,
    SendLongData,
}

impl StatementCommand {
    fn function(self, flavor: Flavor) -> &'static str {
        match (flavor, self) {
            // MySQL looks for the statement in one place, whatever the command.
            (Flavor::Mysql, _) => "mysql_stmt_precheck",
            (Flavor::MariaDb, Self::Execute) => "mysqld_stmt_execute",
            (Flavor::MariaDb, Self::Reset) => "mysqld_stmt_reset",
            (Flavor::MariaDb, Self::Fetch) => "mysqld_stmt_fetch",
            (Flavor::MariaDb, Self::SendLongData) => "mysqld_stmt_send_long_data",
        }
    }
}

pub(crate) fn unknown_statement(id: u32, command: StatementCommand, flavor: Flavor) -> ErrPacket {
    let function = command.function(flavor);
    let message = format!("Unknown prepared statement handler ({id}) given to {function}");
    ErrPacket::new(1243, "HY000", &message)
}

pub(crate) fn no_cursor(id: u32, flavor: Flavor) -> ErrPacket {
    ErrPacket::new(
        1421,
        "HY000",
        &format!("The statement ({id}) has no open cursor{}", full_stop(flavor)),
    )
}

pub(crate) fn too_many_statements(limit: usize) -> ErrPacket {
    let message = format!("Can't create more than max_prepared_stmt_count statements (current value: {limit})");
    ErrPacket::new(1461, "42000", &message)
}

/// MySQL's answer to LOAD DATA as a prepared statement, which MariaDB allows, and MariaDB's to a bulk execution of what is no write.
pub(crate) fn not_preparable() -> ErrPacket {
    let message = "This command is not supported in the prepared statement protocol yet";
    ErrPacket::new(1295, "HY000", message)
}

pub(crate) fn wrong_arguments(command: StatementCommand, flavor: Flavor) -> ErrPacket {
    let function = command.function(flavor);
    ErrPacket::new(1210, "HY000", &format!("Incorrect arguments to {function}"))
}

/// An execution with fewer values than the statement has parameters: only MySQL's form with query attributes has a number of them.
pub(crate) fn parameters_are_missing() -> ErrPacket {
    ErrPacket::new(1210, "HY000", "Incorrect arguments to COM_STMT_EXECUTE")
}

/// An execution without parameter types, where none were sent before.
pub(crate) fn types_are_missing() -> ErrPacket {
    // Here MySQL names the same function.
    wrong_arguments(StatementCommand::Execute, Flavor::MariaDb)
}

/// MariaDB's answer to a bulk execution without types, where none were sent before.
pub(crate) fn wrong_bulk_arguments() -> ErrPacket {
    ErrPacket::new(1210, "HY000", "Incorrect arguments to mysqld_stmt_bulk_execute")
}

pub(crate) fn long_data_too_long() -> ErrPacket {
    let message = "Parameter of prepared statement which is set through mysql_send_long_data() is longer than \
                   'max_allowed_packet' bytes";
    ErrPacket::new(1105, "HY000", message)
}

pub(crate) fn interrupted() -> ErrPacket {
    ErrPacket::new(1317, "70100", "Query execution was interrupted")
}

/// The answer to a client that kills its own connection.
pub(crate) fn killed_itself(flavor: Flavor) -> ErrPacket {
    match flavor {
        Flavor::Mysql => interrupted(),
        Flavor::MariaDb => ErrPacket::new(1927, "70100", "Connection was killed"),
    }
}

pub(crate) fn unknown_thread(id: u64) -> ErrPacket {
    ErrPacket::new(1094, "HY000", &format!("Unknown thread id: {id}"))
}

pub(crate) fn not_owner(id: u64) -> ErrPacket {
    ErrPacket::new(1095, "HY000", &format!("You are not owner of thread {id}"))
}

pub(crate) fn kill_needs_a_number() -> ErrPacket {
    let message = "Grove needs the connection's id as a number: KILL [QUERY] 42";
    ErrPacket::new(1235, "42000", message)
}

/// What a client is told whose bytes break the protocol.
pub(crate) fn malformed(error: &WireError, flavor: Flavor) -> ErrPacket {
    match error {
        WireError::Truncated(_) | WireError::Malformed(_) => malformed_packet(flavor),
        WireError::Uncompress(_) => ErrPacket::new(1157, "08S01", "Couldn't uncompress communication packet"),
        WireError::OutOfOrder { .. } => ErrPacket::new(1156, "08S01", "Got packets out of order"),
        WireError::TooLong(_) => ErrPacket::new(1153, "08S01", "Got a packet bigger than 'max_allowed_packet' bytes"),
    }
}

pub(crate) fn malformed_packet(flavor: Flavor) -> ErrPacket {
    let message = format!("Malformed communication packet{}", full_stop(flavor));
    ErrPacket::new(1835, "HY000", &message)
}

/// MySQL ends some of its messages with one.
fn full_stop(flavor: Flavor) -> &'static str {
    match flavor {
        Flavor::Mysql => ".",
        Flavor::MariaDb => "",
    }
}
