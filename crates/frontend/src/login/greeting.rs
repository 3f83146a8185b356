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
            lex_mode: server_lex_mode(facts),
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

/// Which of the two server families the lead belongs to.
fn flavor_of(version: &str) -> Flavor {
    if version.contains("MariaDB") {
        Flavor::MariaDb
    } else {
        Flavor::Mysql
    }
}

fn server_lex_mode(facts: &ServerFacts) -> LexMode {
    let flavor = flavor_of(&facts.version);
    let has = |mode: &str| {
        facts
            .sql_mode
            .split(',')
            .any(|word| word.trim().eq_ignore_ascii_case(mode))
    };
    LexMode {
        ansi_quotes: has("ANSI_QUOTES"),
        no_backslash_escapes: has("NO_BACKSLASH_ESCAPES"),
        ..LexMode::new(flavor, version_number(&facts.version))
    }
}

/// 101119 for `5.5.5-10.11.19-MariaDB`: MariaDB before 11 puts 5.5.5 in front for old replicas.
fn version_number(version: &str) -> u32 {
    let version = version.strip_prefix("5.5.5-").unwrap_or(version);
    let mut parts = version.split(|c: char| !c.is_ascii_digit());
    let mut part = || {
        parts
            .next()
            .and_then(|part| part.parse::<u32>().ok())
            .unwrap_or(0)
            .min(99)
    };
    part() * 10_000 + part() * 100 + part()
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
    fn versions_are_read_as_executable_comments_count_them() {
        for (text, number) in [
            ("5.5.5-10.11.19-MariaDB-0+deb12u1", 101_119),
            ("11.4.2-MariaDB", 110_402),
            ("9.7.4", 90_704),
            ("8.0.36-28.1 Percona", 80_036),
            ("", 0),
        ] {
            assert_eq!(version_number(text), number, "{text}");
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
