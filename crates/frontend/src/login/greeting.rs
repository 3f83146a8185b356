//! What Grove says of itself first: the lead's words, masked to what Grove can do.

use super::authenticate::Plugin;
use grove_engine::io::ServerFacts;
use grove_sql::{ClientCharset, Flavor, LexMode};
use grove_wire::handshake::{CHALLENGE_LEN, Greeting};
use grove_wire::{CapabilityFlags, StatusFlags};

/// Capabilities that Grove passes on when the servers offer them. Not among them: optional metadata, several factors, and most of
/// MariaDB's extended ones.
const SUPPORTED: CapabilityFlags = CapabilityFlags(
    CapabilityFlags::LONG_PASSWORD.0
        | CapabilityFlags::FOUND_ROWS.0
        | CapabilityFlags::LONG_FLAG.0
        | CapabilityFlags::CONNECT_WITH_DB.0
        | CapabilityFlags::NO_SCHEMA.0
        | CapabilityFlags::ODBC.0
        | CapabilityFlags::LOCAL_FILES.0
        | CapabilityFlags::IGNORE_SPACE.0
        | CapabilityFlags::PROTOCOL_41.0
        | CapabilityFlags::INTERACTIVE.0
        | CapabilityFlags::TRANSACTIONS.0
        | CapabilityFlags::SECURE_CONNECTION.0
        | CapabilityFlags::MULTI_STATEMENTS.0
        | CapabilityFlags::MULTI_RESULTS.0
        | CapabilityFlags::PS_MULTI_RESULTS.0
        | CapabilityFlags::PLUGIN_AUTH.0
        | CapabilityFlags::CONNECT_ATTRS.0
        | CapabilityFlags::PLUGIN_AUTH_LENENC_DATA.0
        | CapabilityFlags::CAN_HANDLE_EXPIRED_PASSWORDS.0
        | CapabilityFlags::SESSION_TRACK.0
        | CapabilityFlags::DEPRECATE_EOF.0
        | CapabilityFlags::QUERY_ATTRIBUTES.0
        | CapabilityFlags::STMT_BULK_OPERATIONS.0
        | CapabilityFlags::EXTENDED_METADATA.0,
);

/// The offer to one client.
pub(crate) struct Offer {
    pub capabilities: CapabilityFlags,
    pub plugin: Plugin,
    version: String,
    collation: u8,
    lex_mode: LexMode,
}

impl Offer {
    /// The lead's offer, with TLS as Grove itself is configured, and with those of `compression` that the lead offers too.
    pub fn new(facts: &ServerFacts, has_tls: bool, compression: CapabilityFlags) -> Self {
        let mut capabilities = facts.capabilities & (SUPPORTED | compression);
        if has_tls {
            capabilities.insert(CapabilityFlags::SSL);
        }
        Self {
            capabilities,
            // A server whose default Grove does not speak knows the newer one.
            plugin: Plugin::named(facts.auth_plugin.as_bytes()).unwrap_or(Plugin::CachingSha2),
            version: facts.version.clone(),
            collation: facts.collation,
            lex_mode: LexMode::of_server(&facts.version, &facts.sql_mode),
        }
    }

    pub fn greeting(&self, id: u32, challenge: [u8; CHALLENGE_LEN]) -> Greeting {
        Greeting {
            version: self.version.clone().into_bytes(),
            connection_id: id,
            challenge,
            capabilities: self.capabilities,
            collation: self.collation,
            status: StatusFlags::AUTOCOMMIT,
            auth_plugin: self.plugin.name().into(),
        }
    }

    pub fn flavor(&self) -> Flavor {
        self.lex_mode.flavor
    }

    /// How the statements of a client with that collation are to be read at first.
    pub fn lex_mode(&self, collation: u16) -> LexMode {
        LexMode {
            charset: ClientCharset::from_collation(collation),
            ..self.lex_mode
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(version: &str, plugin: &str) -> ServerFacts {
        ServerFacts {
            version: version.to_owned(),
            capabilities: CapabilityFlags(u64::MAX),
            collation: 45,
            auth_plugin: plugin.to_owned(),
            autoinc_lock_mode: 1,
            sql_mode: "STRICT_TRANS_TABLES,ANSI_QUOTES".to_owned(),
            isolation: "REPEATABLE-READ".to_owned(),
            lock_wait_timeout_s: 50,
            max_connections: 151,
        }
    }

    #[test]
    fn what_grove_cannot_do_is_not_offered() {
        let none = CapabilityFlags(0);
        let offer = Offer::new(&facts("9.7.4", "caching_sha2_password"), false, none);
        for flag in [
            CapabilityFlags::COMPRESS,
            CapabilityFlags::ZSTD,
            CapabilityFlags::OPTIONAL_RESULTSET_METADATA,
            CapabilityFlags::SSL,
        ] {
            assert!(!offer.capabilities.contains(flag), "{flag:?}");
        }
        let extended = CapabilityFlags::STMT_BULK_OPERATIONS | CapabilityFlags::EXTENDED_METADATA;
        assert_eq!(offer.capabilities.0 >> 28, extended.0 >> 28);
        let offer = Offer::new(&facts("9.7.4", "sha256_password"), true, none);
        assert!(offer.capabilities.contains(CapabilityFlags::SSL));
        assert_eq!(offer.plugin, Plugin::CachingSha2);
    }

    #[test]
    fn compression_is_offered_where_both_the_lead_and_the_configuration_have_it() {
        let both = CapabilityFlags::COMPRESS | CapabilityFlags::ZSTD;
        let mut lead = facts("9.7.4", "caching_sha2_password");
        assert_eq!(Offer::new(&lead, false, both).capabilities & both, both);
        lead.capabilities.remove(CapabilityFlags::ZSTD);
        let offered = Offer::new(&lead, false, both).capabilities & both;
        assert_eq!(offered, CapabilityFlags::COMPRESS);
        let offered = Offer::new(&lead, false, CapabilityFlags::ZSTD).capabilities & both;
        assert_eq!(offered, CapabilityFlags(0));
    }

    #[test]
    fn the_lexer_is_told_the_servers_mode_and_the_clients_charset() {
        let plugin = "mysql_native_password";
        let offer = Offer::new(&facts("5.5.5-10.11.19-MariaDB", plugin), true, CapabilityFlags(0));
        let mode = offer.lex_mode(28);
        assert_eq!(
            (mode.flavor, mode.version, mode.charset),
            (Flavor::MariaDb, 101_119, ClientCharset::Gbk)
        );
        assert!(mode.ansi_quotes && !mode.no_backslash_escapes);
    }
}
