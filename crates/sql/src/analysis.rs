//! What is known about a statement: its class, its effects on the session, the tables it touches.

use std::ops::Range;

use smallvec::SmallVec;

use crate::name::Name;
use crate::own_value::Found;
use crate::verdict::Verdict;

/// Everything the engine wants to know about one statement.
///
/// A cached analysis is shared by all statements of one shape, so nothing in it depends on a literal. The exceptions are
/// `set`, `prepared_text` and `kill`; statements that fill them are cached by their exact text, which is why ranges in
/// them are valid for the text that was analysed.
///
/// It speaks of what the text says. What triggers, foreign keys and views do beyond that is known to the servers alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Analysis {
    /// What kind of statement it is.
    pub class: Class,
    /// Every table that the statement names, read or written.
    pub tables: TouchedTables,
    /// The tables that the statement may write or create. Unknown, though `tables` are known, where a function is called that may write.
    pub written: TouchedTables,
    /// Hash of the statement's shape: without literals, comments and white space, with identifiers as written.
    pub digest: u64,
    /// User variables whose value the statement may read, without `@`.
    pub user_variables_read: Vec<Name>,
    /// User variables that the statement may assign, without `@`.
    pub user_variables_written: Vec<Name>,
    /// Details that decide how a statement must be replicated.
    pub flags: AnalysisFlags,
    /// The assignments of a SET statement, in order.
    pub set: Vec<SetItem>,
    /// The schema of a USE statement.
    pub schema: Option<Name>,
    /// The statement name of PREPARE, EXECUTE and DEALLOCATE PREPARE.
    pub prepared_name: Option<Name>,
    /// The string literal (with its quotes) of `PREPARE s FROM '..'` or `EXECUTE IMMEDIATE '..'`.
    pub prepared_text: Option<Range<usize>>,
    /// The name in SAVEPOINT, ROLLBACK TO and RELEASE SAVEPOINT.
    pub savepoint: Option<Name>,
    /// Whom a KILL statement means.
    pub kill: Option<KillTarget>,
    /// Columns, from 0, of a query of one row without FROM that are ROW_COUNT() and nothing else.
    pub row_count_columns: Vec<u16>,
    /// Whether a write gives the same rows on every server.
    pub verdict: Verdict,
    /// The calls to be replaced under [`Verdict::Rewritable`]. They are where this text has them, so what is cached has none.
    pub(crate) replaceable: Vec<Found>,
}

impl Analysis {
    /// An analysis of the given class that knows nothing else.
    pub(crate) fn new(class: Class) -> Self {
        Self {
            class,
            tables: TouchedTables::Unknown,
            written: TouchedTables::Unknown,
            digest: 0,
            user_variables_read: Vec::new(),
            user_variables_written: Vec::new(),
            flags: AnalysisFlags::default(),
            set: Vec::new(),
            schema: None,
            prepared_name: None,
            prepared_text: None,
            savepoint: None,
            kill: None,
            row_count_columns: Vec::new(),
            verdict: Verdict::Deterministic,
            replaceable: Vec::new(),
        }
    }
}

/// The kind of a statement, as far as routing and ordering are concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// A plain read without side effects: any healthy backend may answer it. It may still assign user variables, and LAST_INSERT_ID(n) its value.
    /// Also a text without a statement, and SIGNAL.
    Read,
    /// A SELECT with FOR UPDATE, FOR SHARE or LOCK IN SHARE MODE, in whichever of its parts.
    LockingRead,
    /// Transactional DML.
    Write(WriteKind),
    /// A statement with an implicit commit: definitions, accounts, maintenance of tables (CHECK TABLE too), FLUSH.
    Ddl,
    /// CREATE or DROP TEMPORARY TABLE: session state without an implicit commit.
    TemporaryDdl,
    /// BEGIN or START TRANSACTION.
    Begin {
        /// WITH CONSISTENT SNAPSHOT was given.
        consistent_snapshot: bool,
        /// READ ONLY was given.
        read_only: bool,
    },
    /// COMMIT.
    Commit {
        /// AND CHAIN: the next transaction begins at once.
        chain: bool,
        /// RELEASE: the server closes the connection.
        release: bool,
    },
    /// ROLLBACK of the whole transaction.
    Rollback {
        /// AND CHAIN: the next transaction begins at once.
        chain: bool,
        /// RELEASE: the server closes the connection.
        release: bool,
    },
    /// SAVEPOINT x.
    Savepoint,
    /// ROLLBACK TO x.
    RollbackToSavepoint,
    /// RELEASE SAVEPOINT x.
    ReleaseSavepoint,
    /// Any SET statement, except MariaDB's SET STATEMENT, which has the class of its inner statement.
    Set,
    /// USE schema.
    Use,
    /// PREPARE s FROM.
    Prepare,
    /// EXECUTE s or EXECUTE IMMEDIATE.
    Execute,
    /// DEALLOCATE PREPARE or DROP PREPARE.
    Deallocate,
    /// CALL of a stored procedure.
    Call,
    /// LOCK TABLES, FLUSH TABLES .. WITH READ LOCK or FOR EXPORT, LOCK INSTANCE, BACKUP LOCK and STAGE: the session holds what it locks.
    LockTables,
    /// UNLOCK TABLES and INSTANCE, BACKUP UNLOCK and STAGE END.
    UnlockTables,
    /// Any XA statement.
    Xa,
    /// HANDLER .. OPEN, READ, CLOSE.
    Handler,
    /// DO expressions.
    Do,
    /// KILL.
    Kill,
    /// Anything else, and everything that was not understood: an ordered write to all backends. Also a query that may do more than read: it
    /// calls a function that is not built in, takes a named lock, writes a file. Its tables may be known.
    Unknown,
}

/// The verb of a [`Class::Write`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WriteKind {
    /// INSERT, and a SELECT that advances a sequence.
    Insert,
    /// REPLACE.
    Replace,
    /// UPDATE.
    Update,
    /// DELETE.
    Delete,
    /// LOAD DATA and LOAD XML.
    LoadData,
    /// NEXTVAL, SETVAL and NEXT VALUE FOR outside of other DML.
    Sequence,
}

/// A table as a statement names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableName {
    /// The schema, when the statement names one.
    pub schema: Option<Name>,
    /// The table.
    pub name: Name,
}

/// The tables of a statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TouchedTables {
    /// Exactly these, each once, or some names that are no tables (common table expressions that were not recognised).
    Known(SmallVec<[TableName; 2]>),
    /// Not known: any table may be touched.
    Unknown,
}

impl TouchedTables {
    /// No table at all.
    pub fn none() -> Self {
        Self::Known(SmallVec::new())
    }
}

/// Facts about a statement that decide how it can be replicated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct AnalysisFlags {
    /// NEXTVAL, NEXT VALUE FOR or SETVAL: a ROLLBACK does not take them back.
    pub advances_sequence: bool,
    /// RENAME of tables into each other's names, EXCHANGE PARTITION: done twice, it is undone.
    pub swaps_tables: bool,
    /// NOW(), CURDATE, SYSDATE(), UNIX_TIMESTAMP() and the like.
    pub reads_clock: bool,
    /// SYSDATE(), which SET TIMESTAMP does not cover.
    pub uses_sysdate: bool,
    /// RAND() or RANDOM_BYTES().
    pub uses_rand: bool,
    /// UUID(), UUID_SHORT(), SYS_GUID().
    pub uses_uuid: bool,
    /// CONNECTION_ID(), @@pseudo_thread_id.
    pub uses_connection_id: bool,
    /// USER(), CURRENT_USER, SESSION_USER(), CURRENT_ROLE.
    pub uses_current_user: bool,
    /// LAST_INSERT_ID(), @@last_insert_id, @@identity.
    pub uses_last_insert_id: bool,
    /// FOUND_ROWS() or ROW_COUNT().
    pub uses_found_rows_or_row_count: bool,
    /// SQL_CALC_FOUND_ROWS: the session's next FOUND_ROWS() depends on this statement.
    pub calculates_found_rows: bool,
    /// A system variable is read.
    pub reads_system_variable: bool,
    /// LOAD_FILE().
    pub reads_file: bool,
    /// SLEEP(), BENCHMARK(), and functions that wait for replication.
    pub sleeps: bool,
    /// A function that is not a built-in is called.
    pub calls_unknown_function: bool,
    /// GET_LOCK, RELEASE_LOCK and their family.
    pub named_lock: bool,
    /// INSERT or REPLACE with more than one row of values.
    pub multi_row_insert: bool,
    /// INSERT or REPLACE, or CREATE TABLE, from a SELECT, TABLE or VALUES query.
    pub insert_select: bool,
    /// ON DUPLICATE KEY UPDATE.
    pub on_duplicate_key: bool,
    /// LIMIT, FETCH FIRST or ROWNUM anywhere in the statement.
    pub has_limit: bool,
    /// SKIP LOCKED: which rows are read and locked depends on what others hold at this moment.
    pub skips_locked: bool,
    /// RETURNING: the write answers with rows.
    pub returning: bool,
    /// A table of information_schema, performance_schema or sys is named.
    pub touches_information_schema: bool,
    /// INTO OUTFILE or INTO DUMPFILE.
    pub into_outfile: bool,
    /// SHOW WARNINGS, SHOW ERRORS, GET DIAGNOSTICS, @@warning_count, @@error_count: the answer depends on the session's previous statement.
    pub is_show_warnings_or_errors: bool,
    /// IGNORE in DML, which turns errors into warnings.
    pub ignore: bool,
    /// DROP TABLE, also of temporary tables.
    pub drops_tables: bool,
    /// LOAD DATA LOCAL: the client sends the file.
    pub load_local: bool,
    /// The statement is SHOW, EXPLAIN, DESCRIBE or HELP: it describes the server that answers.
    pub describes_server: bool,
}

/// One assignment of a SET statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetItem {
    /// What is set.
    pub scope: SetScope,
    /// The variable, without `@`, `@@` and scope. Empty for Transaction, Names, Password and the other forms without one.
    pub name: Name,
    /// The value is one plain literal, bare word, DEFAULT or a signed number: evaluated elsewhere it gives the same. Never for a value of autocommit,
    /// sql_mode, character_set_client or the isolation level that does not spell what it means (`sql_mode=4`).
    pub literal: bool,
    /// The whole assignment in the statement's text, without SET and without the comma.
    pub text: Range<usize>,
    /// The value in the statement's text; empty when there is none. For Names and CharacterSet the charset without COLLATE.
    pub value: Range<usize>,
}

/// What a [`SetItem`] sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SetScope {
    /// `@x`.
    User,
    /// A session variable, with or without SESSION, LOCAL or @@.
    Session,
    /// GLOBAL x.
    Global,
    /// PERSIST x or PERSIST_ONLY x.
    Persist,
    /// SET TRANSACTION, and `SET @@transaction_isolation` without a scope: the next transaction only.
    Transaction,
    /// SET SESSION TRANSACTION.
    SessionTransaction,
    /// SET GLOBAL TRANSACTION.
    GlobalTransaction,
    /// SET NAMES.
    Names,
    /// SET CHARACTER SET or SET CHARSET.
    CharacterSet,
    /// SET PASSWORD: writes the server's accounts.
    Password,
    /// SET ROLE: session state.
    Role,
    /// SET DEFAULT ROLE: writes the server's accounts.
    DefaultRole,
    /// SET RESOURCE GROUP.
    ResourceGroup,
    /// MariaDB's SET STATEMENT x=1 FOR ..: for the inner statement only.
    Statement,
    /// The item was not understood.
    Unknown,
}

/// Whom a KILL statement means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct KillTarget {
    /// The connection id, when it is a literal.
    pub id: Option<u64>,
    /// KILL QUERY: only the running statement.
    pub query_only: bool,
}
