//! Capability and status flags, under the servers' own names without their prefixes.

use std::ops::{BitAnd, BitOr};

macro_rules! flag_type {
    ($(#[$doc:meta])* $name:ident($repr:ty) { $($(#[$flag_doc:meta])* $flag:ident = $value:expr;)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
        pub struct $name(pub $repr);

        impl $name {
            $($(#[$flag_doc])* pub const $flag: Self = Self($value);)*

            /// Whether every flag of `other` is set.
            pub fn contains(self, other: Self) -> bool {
                self.0 & other.0 == other.0
            }

            /// Sets the flags of `other`.
            pub fn insert(&mut self, other: Self) {
                self.0 |= other.0;
            }

            /// Clears the flags of `other`.
            pub fn remove(&mut self, other: Self) {
                self.0 &= !other.0;
            }
        }

        impl BitAnd for $name {
            type Output = Self;
            fn bitand(self, other: Self) -> Self {
                Self(self.0 & other.0)
            }
        }

        impl BitOr for $name {
            type Output = Self;
            fn bitor(self, other: Self) -> Self {
                Self(self.0 | other.0)
            }
        }
    };
}

flag_type! {
    /// Capabilities: the low 32 bits are MySQL's, the high 32 MariaDB's extended ones.
    CapabilityFlags(u64) {
        /// Set by MySQL servers and clients; clear in a MariaDB server's greeting, which announces the extended ones.
        LONG_PASSWORD = 1;
        /// OK packets count matched, not changed, rows.
        FOUND_ROWS = 1 << 1;
        /// Long column flags.
        LONG_FLAG = 1 << 2;
        /// A default schema is in the handshake response.
        CONNECT_WITH_DB = 1 << 3;
        /// `schema.table.column` is refused.
        NO_SCHEMA = 1 << 4;
        /// zlib compression.
        COMPRESS = 1 << 5;
        /// ODBC behaviour; no effect.
        ODBC = 1 << 6;
        /// LOAD DATA LOCAL.
        LOCAL_FILES = 1 << 7;
        /// Spaces before `(` are ignored.
        IGNORE_SPACE = 1 << 8;
        /// The 4.1 protocol.
        PROTOCOL_41 = 1 << 9;
        /// `interactive_timeout` instead of `wait_timeout`.
        INTERACTIVE = 1 << 10;
        /// TLS.
        SSL = 1 << 11;
        /// Transactions: status flags in replies.
        TRANSACTIONS = 1 << 13;
        /// 4.1 authentication.
        SECURE_CONNECTION = 1 << 15;
        /// Several statements in one COM_QUERY.
        MULTI_STATEMENTS = 1 << 16;
        /// Several results of COM_QUERY.
        MULTI_RESULTS = 1 << 17;
        /// Several results of COM_STMT_EXECUTE.
        PS_MULTI_RESULTS = 1 << 18;
        /// Authentication plugins are named.
        PLUGIN_AUTH = 1 << 19;
        /// Connection attributes.
        CONNECT_ATTRS = 1 << 20;
        /// Length-encoded authentication data.
        PLUGIN_AUTH_LENENC_DATA = 1 << 21;
        /// Expired passwords may be changed.
        CAN_HANDLE_EXPIRED_PASSWORDS = 1 << 22;
        /// Session state in OK packets.
        SESSION_TRACK = 1 << 23;
        /// No EOF packets: results end with an OK packet of header 0xFE.
        DEPRECATE_EOF = 1 << 24;
        /// Optional result set metadata.
        OPTIONAL_RESULTSET_METADATA = 1 << 25;
        /// zstd compression.
        ZSTD = 1 << 26;
        /// Query attributes.
        QUERY_ATTRIBUTES = 1 << 27;
        /// MariaDB: COM_STMT_BULK_EXECUTE.
        STMT_BULK_OPERATIONS = 1 << 34;
        /// MariaDB: column definitions have one string more, which tells types that the protocol has no code for.
        EXTENDED_METADATA = 1 << 35;
    }
}

flag_type! {
    /// Server status, in OK and EOF packets.
    StatusFlags(u16) {
        /// A transaction is open.
        IN_TRANS = 1;
        /// Autocommit is on.
        AUTOCOMMIT = 2;
        /// Another result follows.
        MORE_RESULTS = 8;
        /// A cursor is open; rows come with COM_STMT_FETCH.
        CURSOR_EXISTS = 64;
        /// The cursor's last row has been sent.
        LAST_ROW_SENT = 128;
        /// A schema was dropped.
        DB_DROPPED = 256;
        /// `NO_BACKSLASH_ESCAPES` is in force.
        NO_BACKSLASH_ESCAPES = 512;
        /// Column definitions changed since the statement was prepared.
        METADATA_CHANGED = 1024;
        /// The statement was slow.
        QUERY_WAS_SLOW = 2048;
        /// The result carries OUT parameters.
        PS_OUT_PARAMS = 4096;
        /// The open transaction is read-only.
        IN_TRANS_READONLY = 8192;
        /// Session state follows in this OK packet.
        SESSION_STATE_CHANGED = 16384;
    }
}
