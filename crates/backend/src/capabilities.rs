//! Which capabilities a leg announces to a server, from what the client and Grove agreed on and what the server offers.
//!
//! Invariant: a capability that decides how replies or commands are laid out is announced exactly if the client has it; a server without it is
//! refused, because its bytes could not be forwarded. Capabilities of the handshake itself are Grove's own business on each side.

use grove_wire::CapabilityFlags;

/// MariaDB: progress reports in ERR packets of their own. They are no end of a reply and no client needs them.
const PROGRESS: CapabilityFlags = CapabilityFlags(1 << 32);

/// MariaDB's extended capabilities.
const EXTENDED: CapabilityFlags = CapabilityFlags(0xFFFF_FFFF << 32);

/// Announced whatever the client has; every server since 4.1 knows them. TRANSACTIONS puts the status flags in replies.
const ALWAYS: CapabilityFlags = CapabilityFlags(
    CapabilityFlags::PROTOCOL_41.0 | CapabilityFlags::SECURE_CONNECTION.0 | CapabilityFlags::TRANSACTIONS.0,
);

/// Decide the layout of packets, or what a command may hold: present on both sides or on none.
const LAYOUT: CapabilityFlags = CapabilityFlags(
    CapabilityFlags::MULTI_STATEMENTS.0
        | CapabilityFlags::MULTI_RESULTS.0
        | CapabilityFlags::PS_MULTI_RESULTS.0
        | CapabilityFlags::SESSION_TRACK.0
        | CapabilityFlags::DEPRECATE_EOF.0
        | CapabilityFlags::OPTIONAL_RESULTSET_METADATA.0
        | CapabilityFlags::QUERY_ATTRIBUTES.0
        | (EXTENDED.0 & !PROGRESS.0),
);

/// Change how the server behaves, not how packets look.
const BEHAVIOUR: CapabilityFlags = CapabilityFlags(
    CapabilityFlags::FOUND_ROWS.0
        | CapabilityFlags::LONG_FLAG.0
        | CapabilityFlags::NO_SCHEMA.0
        | CapabilityFlags::ODBC.0
        | CapabilityFlags::LOCAL_FILES.0
        | CapabilityFlags::IGNORE_SPACE.0
        | CapabilityFlags::INTERACTIVE.0
        | CapabilityFlags::CAN_HANDLE_EXPIRED_PASSWORDS.0,
);

/// Belong to the handshake.
const HANDSHAKE: CapabilityFlags =
    CapabilityFlags(CapabilityFlags::PLUGIN_AUTH.0 | CapabilityFlags::PLUGIN_AUTH_LENENC_DATA.0);

/// What the handshake response announces, without SSL, CONNECT_WITH_DB and CONNECT_ATTRS, or the names of what the server lacks.
pub(crate) fn negotiate(client: CapabilityFlags, server: CapabilityFlags) -> Result<CapabilityFlags, String> {
    let layout = client & LAYOUT;
    let missing = CapabilityFlags(layout.0 & !server.0);
    if missing.0 != 0 {
        return Err(names(missing));
    }
    let mut announced = ALWAYS | layout | (client & BEHAVIOUR & server) | (server & HANDSHAKE);
    if (announced & EXTENDED).0 == 0 {
        // Set, it says "a MySQL client"; clear, the server reads extended capabilities from what are reserved bytes otherwise.
        announced.insert(CapabilityFlags::LONG_PASSWORD);
    }
    Ok(announced)
}

fn names(missing: CapabilityFlags) -> String {
    let known = [
        (CapabilityFlags::MULTI_STATEMENTS, "MULTI_STATEMENTS"),
        (CapabilityFlags::MULTI_RESULTS, "MULTI_RESULTS"),
        (CapabilityFlags::PS_MULTI_RESULTS, "PS_MULTI_RESULTS"),
        (CapabilityFlags::SESSION_TRACK, "SESSION_TRACK"),
        (CapabilityFlags::DEPRECATE_EOF, "DEPRECATE_EOF"),
        (
            CapabilityFlags::OPTIONAL_RESULTSET_METADATA,
            "OPTIONAL_RESULTSET_METADATA",
        ),
        (CapabilityFlags::QUERY_ATTRIBUTES, "QUERY_ATTRIBUTES"),
    ];
    let mut names: Vec<String> = known
        .iter()
        .filter(|(flag, _)| missing.contains(*flag))
        .map(|(_, name)| (*name).to_owned())
        .collect();
    let extended = (missing & EXTENDED).0 >> 32;
    if extended != 0 {
        names.push(format!("MariaDB's extended {extended:#x}"));
    }
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// MySQL 9.7's greeting.
    const MYSQL: CapabilityFlags = CapabilityFlags(0xDFFF_FFFF);

    #[test]
    fn the_layout_is_the_clients() {
        for client in [
            CapabilityFlags(0),
            CapabilityFlags::DEPRECATE_EOF | CapabilityFlags::SESSION_TRACK,
        ] {
            let announced = negotiate(client, MYSQL).unwrap();
            assert_eq!(announced & LAYOUT, client);
            assert!(announced.contains(ALWAYS | CapabilityFlags::PLUGIN_AUTH | CapabilityFlags::LONG_PASSWORD));
        }
    }

    #[test]
    fn what_changes_behaviour_is_the_clients_where_the_server_has_it() {
        assert_eq!(negotiate(BEHAVIOUR, MYSQL).unwrap() & BEHAVIOUR, BEHAVIOUR);
        assert_eq!((negotiate(CapabilityFlags(0), MYSQL).unwrap() & BEHAVIOUR).0, 0);
        let mut server = MYSQL;
        server.remove(CapabilityFlags::NO_SCHEMA);
        assert!(
            !negotiate(BEHAVIOUR, server)
                .unwrap()
                .contains(CapabilityFlags::NO_SCHEMA)
        );
    }

    #[test]
    fn a_server_that_cannot_lay_replies_out_is_refused_by_name() {
        let mut server = MYSQL;
        server.remove(CapabilityFlags::DEPRECATE_EOF);
        let client = CapabilityFlags::DEPRECATE_EOF | CapabilityFlags(1 << 35);
        assert_eq!(
            negotiate(client, server).unwrap_err(),
            "DEPRECATE_EOF, MariaDB's extended 0x8"
        );
    }

    #[test]
    fn compression_tls_factors_and_progress_are_never_passed_on() {
        let client = CapabilityFlags(u64::MAX);
        let announced = negotiate(client, client).unwrap();
        for flag in [
            CapabilityFlags::COMPRESS,
            CapabilityFlags::ZSTD,
            CapabilityFlags::SSL,
            CapabilityFlags::CONNECT_WITH_DB,
            CapabilityFlags::CONNECT_ATTRS,
            CapabilityFlags::LONG_PASSWORD,
            CapabilityFlags(1 << 28),
            PROGRESS,
        ] {
            assert_eq!((announced & flag).0, 0, "{flag:?}");
        }
    }
}
