//! Values that a server makes for itself, so that another server, asked with the same words, has another one.
//!
//! Absent are those that Grove makes equal without touching the text: the clock, generated keys, LAST_INSERT_ID(), user variables, what stands
//! in the session's own variables. RAND() is here although its seeds are equal: over several rows their order matters.

use std::ops::Range;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OwnValue {
    Uuid,
    UuidShort,
    /// MariaDB's SYS_GUID: a UUID without hyphens.
    SystemGuid,
    RandomBytes,
    Sysdate,
    ConnectionId,
    Rand,
    /// Nobody but the server can tell.
    Other(&'static str),
}

/// Functions of [`OwnValue::Other`].
const FUNCTIONS: [(&str, &str); 27] = [
    ("UUID_V4", "UUID_V4()"),
    ("UUID_V7", "UUID_V7()"),
    ("ENCRYPT", "ENCRYPT()"),
    ("LOAD_FILE", "LOAD_FILE()"),
    ("VERSION", "VERSION()"),
    ("ICU_VERSION", "ICU_VERSION()"),
    ("USER", "USER()"),
    ("SESSION_USER", "SESSION_USER()"),
    ("SYSTEM_USER", "SYSTEM_USER()"),
    ("FOUND_ROWS", "FOUND_ROWS()"),
    ("ROW_COUNT", "ROW_COUNT()"),
    ("GET_LOCK", "GET_LOCK()"),
    ("RELEASE_LOCK", "RELEASE_LOCK()"),
    ("RELEASE_ALL_LOCKS", "RELEASE_ALL_LOCKS()"),
    ("IS_FREE_LOCK", "IS_FREE_LOCK()"),
    ("IS_USED_LOCK", "IS_USED_LOCK()"),
    ("MASTER_POS_WAIT", "MASTER_POS_WAIT()"),
    ("SOURCE_POS_WAIT", "SOURCE_POS_WAIT()"),
    ("MASTER_GTID_WAIT", "MASTER_GTID_WAIT()"),
    ("BINLOG_GTID_POS", "BINLOG_GTID_POS()"),
    ("WAIT_FOR_EXECUTED_GTID_SET", "WAIT_FOR_EXECUTED_GTID_SET()"),
    (
        "WAIT_UNTIL_SQL_THREAD_AFTER_GTIDS",
        "WAIT_UNTIL_SQL_THREAD_AFTER_GTIDS()",
    ),
    ("WSREP_LAST_SEEN_GTID", "WSREP_LAST_SEEN_GTID()"),
    ("WSREP_LAST_WRITTEN_GTID", "WSREP_LAST_WRITTEN_GTID()"),
    ("WSREP_SYNC_WAIT_UPTO_GTID", "WSREP_SYNC_WAIT_UPTO_GTID()"),
    ("PS_CURRENT_THREAD_ID", "PS_CURRENT_THREAD_ID()"),
    ("PS_THREAD_ID", "PS_THREAD_ID()"),
];

/// System variables that name a server, its place or its version, or that differ between the connections of one session.
const VARIABLES: [(&str, &str); 38] = [
    ("HOSTNAME", "@@hostname"),
    ("SERVER_ID", "@@server_id"),
    ("SERVER_ID_BITS", "@@server_id_bits"),
    ("SERVER_UUID", "@@server_uuid"),
    ("SERVER_UID", "@@server_uid"),
    ("PORT", "@@port"),
    ("SOCKET", "@@socket"),
    ("BIND_ADDRESS", "@@bind_address"),
    ("DATADIR", "@@datadir"),
    ("BASEDIR", "@@basedir"),
    ("TMPDIR", "@@tmpdir"),
    ("PLUGIN_DIR", "@@plugin_dir"),
    ("PID_FILE", "@@pid_file"),
    ("LOG_ERROR", "@@log_error"),
    ("LOG_BIN_BASENAME", "@@log_bin_basename"),
    ("LOG_BIN_INDEX", "@@log_bin_index"),
    ("GENERAL_LOG_FILE", "@@general_log_file"),
    ("SLOW_QUERY_LOG_FILE", "@@slow_query_log_file"),
    ("REPORT_HOST", "@@report_host"),
    ("REPORT_PORT", "@@report_port"),
    ("VERSION", "@@version"),
    ("VERSION_COMMENT", "@@version_comment"),
    ("VERSION_COMPILE_MACHINE", "@@version_compile_machine"),
    ("VERSION_COMPILE_OS", "@@version_compile_os"),
    ("VERSION_SOURCE_REVISION", "@@version_source_revision"),
    ("INNODB_VERSION", "@@innodb_version"),
    ("GTID_EXECUTED", "@@gtid_executed"),
    ("GTID_PURGED", "@@gtid_purged"),
    ("GTID_NEXT", "@@gtid_next"),
    ("GTID_SEQ_NO", "@@gtid_seq_no"),
    ("GTID_CURRENT_POS", "@@gtid_current_pos"),
    ("GTID_BINLOG_POS", "@@gtid_binlog_pos"),
    ("GTID_SLAVE_POS", "@@gtid_slave_pos"),
    ("LAST_GTID", "@@last_gtid"),
    ("PSEUDO_THREAD_ID", "@@pseudo_thread_id"),
    ("INSERT_ID", "@@insert_id"),
    ("WARNING_COUNT", "@@warning_count"),
    ("ERROR_COUNT", "@@error_count"),
];

impl OwnValue {
    /// What the built-in function `name`, in upper case, is asked for.
    pub fn of_function(name: &str) -> Option<Self> {
        Some(match name {
            "UUID" => Self::Uuid,
            "UUID_SHORT" => Self::UuidShort,
            "SYS_GUID" => Self::SystemGuid,
            "RANDOM_BYTES" => Self::RandomBytes,
            "SYSDATE" => Self::Sysdate,
            "CONNECTION_ID" => Self::ConnectionId,
            "RAND" => Self::Rand,
            name => return find(&FUNCTIONS, name),
        })
    }

    /// The same for a system variable.
    pub fn of_variable(name: &str) -> Option<Self> {
        find(&VARIABLES, name)
    }

    /// How messages call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Uuid => "UUID()",
            Self::UuidShort => "UUID_SHORT()",
            Self::SystemGuid => "SYS_GUID()",
            Self::RandomBytes => "RANDOM_BYTES()",
            Self::Sysdate => "SYSDATE()",
            Self::ConnectionId => "CONNECTION_ID()",
            Self::Rand => "RAND()",
            Self::Other(name) => name,
        }
    }
}

fn find(names: &[(&str, &'static str)], name: &str) -> Option<OwnValue> {
    let found = names.iter().find(|(known, _)| *known == name);
    found.map(|(_, title)| OwnValue::Other(title))
}

/// Where a statement asks for one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub value: OwnValue,
    /// Between the parentheses of a query.
    pub in_subquery: bool,
    /// Behind ON DUPLICATE KEY UPDATE.
    pub in_upsert: bool,
    /// The call in the text, if it has at most one token between its parentheses.
    pub call: Option<Range<usize>>,
    /// That token.
    pub argument: Option<Vec<u8>>,
}
