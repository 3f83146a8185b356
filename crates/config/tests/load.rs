//! Whole files in, configurations or complete reports out.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::path::Path;
use std::time::Duration;

use grove_config::{
    BackendAddress, BackendTlsMode, Config, Credential, Environment, ListenTlsMode, LogFormat, PasswordHash,
    ReadPolicy, Source,
};

const MINIMAL: &str = "\
backends:
  - name: db1
    address: 127.0.0.1:3307
    user: grove
    password: secret
users:
  - name: app
    password: app
";

fn load(text: &str, variables: &[(&str, &str)]) -> Result<Config, String> {
    let environment: Environment = variables.iter().copied().collect();
    Config::parse(Path::new("F"), text, &environment).map_err(|report| report.to_string())
}

fn good(text: &str, variables: &[(&str, &str)]) -> Config {
    load(text, variables).unwrap_or_else(|report| panic!("{report}"))
}

/// Expects exactly these problems, in this order, before the line with their number.
#[track_caller]
fn check(text: &str, variables: &[(&str, &str)], expected: &[&str]) {
    let report = load(text, variables).expect_err("the text has mistakes");
    let mut lines: Vec<_> = report.lines().collect();
    let count = lines.pop().expect("a report has a last line");
    assert_eq!(lines, expected);
    let errors = if expected.len() == 1 { "error" } else { "errors" };
    assert_eq!(count, format!("{} {errors} in F", expected.len()));
}

#[test]
fn a_minimal_file_gets_every_default() {
    let mut config = good(MINIMAL, &[]);
    // The only default that depends on where the file is.
    let directory = config.recovery_log.directory.take().unwrap();
    assert_eq!(directory.file_name().unwrap(), "recovery-log");
    let defaults = Config::new(config.backends.clone(), config.users.clone());
    assert_eq!(format!("{config:?}"), format!("{defaults:?}"));
    assert_eq!(config.backends[0].password.expose(), "secret");
    assert_eq!(config.backends[0].address.to_string(), "127.0.0.1:3307");
}

#[test]
fn every_kind_of_value_is_read() {
    let text = format!(
        "listen:\n  address: '[::1]:4000'\n  tls: {{ mode: required }}\n  idle_timeout_s: 60\n\
         reads:\n  policy: weighted\nlog:\n  filter: warn,grove_engine::group=debug\n  format: json\n{MINIMAL}"
    );
    let config = good(&text, &[]);
    assert_eq!(config.listen.address.to_string(), "[::1]:4000");
    assert_eq!(config.listen.tls.mode, ListenTlsMode::Required);
    assert_eq!(config.listen.idle_timeout, Duration::from_secs(60));
    assert_eq!(config.reads.policy, ReadPolicy::Weighted);
    assert_eq!(config.log.format, LogFormat::Json);
}

#[test]
fn servers_have_names_addresses_or_sockets() {
    let address = |text: &str| {
        let text = MINIMAL.replace("127.0.0.1:3307", text);
        load(&text, &[]).map(|config| config.backends[0].address.clone())
    };
    let tcp = |host: &str, port| BackendAddress::Tcp {
        host: host.to_owned(),
        port,
    };
    assert_eq!(address("db.example:3306"), Ok(tcp("db.example", 3306)));
    assert_eq!(address("'[::1]:3306'"), Ok(tcp("::1", 3306)));
    assert_eq!(
        address("/run/db.sock"),
        Ok(BackendAddress::Socket("/run/db.sock".into()))
    );
    for wrong in [
        "db.example",
        "db.example:0",
        "db.example:70000",
        "':3306'",
        "'::1:3306'",
    ] {
        assert!(address(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn an_empty_file_misses_both_lists() {
    let expected = [
        "F:1: backends: there is no backend; list at least one server with name, address, user and password",
        "F:1: users: there is no user; list at least one account with name and password",
    ];
    check("", &[], &expected);
    check("# only a comment\n", &[], &expected);
}

#[test]
fn unknown_keys_are_errors_with_the_nearest_known_one() {
    check(
        &format!("{MINIMAL}timeouts:\n  conect_ms: 1\nbackend: 1\n"),
        &[],
        &[
            "F:10: timeouts.conect_ms: unknown key; did you mean `connect_ms`?",
            "F:11: backend: unknown key; did you mean `backends`?",
        ],
    );
}

#[test]
fn a_key_may_stand_once() {
    let text = format!("{MINIMAL}reads:\n  policy: latency\n  policy: weighted\n");
    let report = load(&text, &[]).unwrap_err();
    assert!(report.starts_with("F:11: reads.policy: "), "{report}");
}

#[test]
fn values_out_of_range_say_what_is_possible() {
    check(
        &format!("{MINIMAL}timeouts:\n  probe_ms: 0\n  drain_ms: soon\nlimits:\n  verified_reads: -1\n"),
        &[],
        &[
            "F:10: timeouts.probe_ms: `0` is not possible; write a whole number from 1 to 86400000, such as 1000",
            "F:11: timeouts.drain_ms: `soon` is not possible; write a whole number from 1 to 86400000, such as 10000",
            "F:13: limits.verified_reads: `-1` is not possible; write a whole number from 1 to 10000000, such as 4096",
        ],
    );
}

#[test]
fn log_levels_are_checked_where_the_logging_library_would_guess() {
    check(
        &format!("{MINIMAL}log:\n  filter: inof,grove_engine=debug\n"),
        &[],
        &[
            "F:10: log.filter: `inof` is no log directive; write one of off, error, warn, info, debug, trace, \
           or pairs such as info,grove_engine=debug",
        ],
    );
}

#[test]
fn acknowledgement_by_fewer_servers_is_refused_honestly() {
    check(
        &format!("{MINIMAL}writes:\n  acknowledge: majority\n"),
        &[],
        &[
            "F:10: writes.acknowledge: only `all` is implemented in this version; write acknowledge: all, or leave the key out",
        ],
    );
}

#[test]
fn names_and_addresses_are_unique_and_listeners_apart() {
    let twice = "\
listen: { address: '127.0.0.1:3306' }
admin: { address: '127.0.0.1:3306' }
backends:
  - { name: db1, address: 'h:1', user: g, password: p }
  - { name: db1, address: 'h:1', user: g, password: p }
users:
  - { name: app, password: a }
  - { name: app, password: b }
";
    check(
        twice,
        &[],
        &[
            "F:2: admin.address: 127.0.0.1:3306 is listen.address too; choose another port",
            "F:5: backends[1].name: `db1` stands in the list twice; give each item its own name",
            "F:5: backends[1].address: `h:1` stands in the list twice; give each item its own address",
            "F:8: users[1].name: `app` stands in the list twice; give each item its own name",
        ],
    );
}

#[test]
fn broken_yaml_is_told_with_its_line() {
    let report = load("listen:\n  address: [1, 2\nusers: {}\n", &[]).unwrap_err();
    assert!(report.starts_with("F:"), "{report}");
    assert!(report.contains("this is not YAML with keys"), "{report}");
    let report = load("just a sentence\n", &[]).unwrap_err();
    assert!(report.contains("this is not YAML with keys"), "{report}");
}

#[test]
fn variables_override_the_file_and_add_items() {
    let config = good(
        MINIMAL,
        &[
            ("GROVE_LISTEN__ADDRESS", "0.0.0.0:3306"),
            ("GROVE_BACKENDS__0__PASSWORD", "0123"),
            ("GROVE_BACKENDS__1__NAME", "db2"),
            ("GROVE_BACKENDS__1__ADDRESS", "db2:3306"),
            ("GROVE_BACKENDS__1__USER", "grove"),
            ("GROVE_BACKENDS__1__PASSWORD_ENV", "DB2"),
            ("GROVE_TIMEOUTS__DRAIN_MS", "5"),
            ("GROVE_CACHE", "/not/an/override"),
            ("DB2", "from the environment"),
        ],
    );
    assert_eq!(config.listen.address.to_string(), "0.0.0.0:3306");
    assert_eq!(config.backends[0].password.expose(), "0123");
    assert_eq!(config.backends[1].password.expose(), "from the environment");
    assert_eq!(config.timeouts.drain, Duration::from_millis(5));
}

#[test]
fn a_wrong_variable_is_named() {
    check(
        MINIMAL,
        &[("GROVE_LISTEN__PORT", "1"), ("GROVE_TIMEOUTS__DRAIN_MS", "x")],
        &[
            "environment variable GROVE_LISTEN__PORT: listen.port: unknown key; known keys here: address, \
             compression, connect_timeout_ms, idle_timeout_s, max_connections, proxy_protocol_from, refused_login_delay_ms, \
             socket, tls",
            "environment variable GROVE_TIMEOUTS__DRAIN_MS: timeouts.drain_ms: `x` is not possible; \
             write a whole number from 1 to 86400000, such as 10000",
        ],
    );
}

#[test]
fn secrets_come_from_one_place_and_never_show() {
    let directory = std::env::temp_dir().join(format!("grove-secret-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    std::fs::write(directory.join("password"), "from a file\n").unwrap();
    let text = MINIMAL.replace("password: secret", "password_file: password");
    let config = Config::parse(&directory.join("F"), &text, &Environment::default()).unwrap();
    assert_eq!(config.backends[0].password.expose(), "from a file");
    std::fs::remove_dir_all(&directory).unwrap();

    assert!(!format!("{:?}", good(MINIMAL, &[])).contains("secret\""));
    check(
        &MINIMAL.replace("password: secret", "password: hidden\n    password_env: X"),
        &[],
        &["F:6: backends[0].password_env: the password is given more than once; \
           keep one of password, password_env, password_file"],
    );
    check(
        &MINIMAL.replace("password: secret", "password: 4711"),
        &[],
        &["F:5: backends[0].password: YAML does not read this password as a text; put it in quotes"],
    );
    check(
        &MINIMAL.replace("password: secret", "password_env: NOWHERE"),
        &[],
        &["F:5: backends[0].password_env: the environment variable `NOWHERE` is not set; set it, or name another one"],
    );
}

#[test]
fn certificates_are_read_when_the_file_is_checked() {
    let report = load(
        &format!("{MINIMAL}listen:\n  tls:\n    certificate: /nowhere/cert.pem\n"),
        &[],
    )
    .unwrap_err();
    assert!(
        report.contains("listen.tls.key: missing, although listen.tls.certificate is given"),
        "{report}"
    );

    let ca = MINIMAL.replace(
        "user: grove",
        "user: grove\n    tls: { mode: verify_ca, ca: /nowhere/ca.pem }",
    );
    let report = load(&ca, &[]).unwrap_err();
    assert!(
        report.contains("backends[0].tls.ca: cannot read /nowhere/ca.pem"),
        "{report}"
    );

    let required = MINIMAL.replace("user: grove", "user: grove\n    tls: { mode: required }");
    assert_eq!(good(&required, &[]).backends[0].tls.mode, BackendTlsMode::Required);
}

#[test]
fn accounts_have_sources_limits_and_a_need_for_tls() {
    let text = MINIMAL.replace(
        "password: app",
        "password: app\n    allow_from: [localhost, 10.0.0.0/8]\n    max_connections: 3\n    require_tls: true",
    );
    let user = good(&text, &[]).users.remove(0);
    let Source::Network(network) = user.allow_from[1] else {
        panic!("{:?}", user.allow_from);
    };
    assert_eq!(user.allow_from[0], Source::Localhost);
    assert!(network.contains([10, 9, 8, 7].into()));
    assert_eq!((user.max_connections, user.require_tls), (Some(3), true));

    let variables = [
        ("GROVE_USERS__0__ALLOW_FROM", "192.0.2.1, fd00::/8"),
        ("GROVE_USERS__0__REQUIRE_TLS", "true"),
    ];
    let user = good(MINIMAL, &variables).users.remove(0);
    assert_eq!((user.allow_from.len(), user.require_tls), (2, true));
}

#[test]
fn a_wrong_item_of_a_list_is_named_with_its_own_line() {
    let items =
        "allow_from:\n      - 10.0.0.0/8\n      - app.example\n      - 10.1.2.3/8\n      - 10.0.0.0/33\n      - 7";
    let text = MINIMAL.replace(
        "password: app",
        &format!("password: app\n    {items}\n    require_tls: maybe"),
    );
    check(
        &text,
        &[],
        &[
            "F:11: users[0].allow_from[1]: `app.example` is no address or network; \
             write an address, or a network as in 10.0.0.0/8 or fd00::/8, or localhost",
            "F:12: users[0].allow_from[2]: `10.1.2.3/8` has bits behind its prefix; write 10.0.0.0/8, or a longer prefix",
            "F:13: users[0].allow_from[3]: the prefix of `10.0.0.0/33` is longer than the address; \
             write a prefix of at most 32 bits",
            "F:14: users[0].allow_from[4]: the item is no text; write one value an item, in quotes if need be",
            "F:15: users[0].require_tls: `maybe` is not possible; write true or false",
        ],
    );
    check(
        &MINIMAL.replace(
            "password: app",
            "password: app\n    allow_from: []\n    max_connections: 0",
        ),
        &[],
        &[
            "F:9: users[0].allow_from: the list is empty; write an item, or leave the key out",
            "F:10: users[0].max_connections: `0` is not possible; write a whole number from 1 to 1000000, such as 100",
        ],
    );
}

#[test]
fn tls_that_is_not_offered_cannot_be_required() {
    let text = MINIMAL.replace("password: app", "password: app\n    require_tls: true");
    check(
        &format!("{text}listen:\n  tls:\n    mode: disabled\n"),
        &[],
        &[
            "F:9: users[0].require_tls: nobody can log in so, because listen.tls.mode is disabled; \
             set listen.tls.mode: preferred, or leave require_tls out",
        ],
    );
}

#[test]
fn the_path_of_a_socket_is_bounded_and_starts_at_the_file() {
    let config = good(&format!("{MINIMAL}listen:\n  socket: /run/grove.sock\n"), &[]);
    assert_eq!(config.listen.socket.as_deref(), Some(Path::new("/run/grove.sock")));
    let text = format!("{MINIMAL}listen:\n  socket: grove.sock\n");
    let config = Config::parse(Path::new("/etc/grove/F"), &text, &Environment::default()).unwrap();
    assert_eq!(
        config.listen.socket.as_deref(),
        Some(Path::new("/etc/grove/grove.sock"))
    );
    let long = format!("/{}", "x".repeat(107));
    check(
        &format!("{MINIMAL}listen:\n  socket: {long}\n"),
        &[],
        &[&format!(
            "F:10: listen.socket: the path {long} has 108 bytes; \
             choose one of at most 107 bytes, which is all that a socket's address holds"
        )],
    );
}

#[test]
fn load_balancers_are_networks() {
    let listen = |networks: &str| format!("{MINIMAL}listen:\n  proxy_protocol_from: [{networks}]\n");
    let config = good(&listen("10.0.0.5, 'fd00::/8'"), &[]);
    let [first, second] = config.listen.proxy_protocol_from[..] else {
        panic!("{:?}", config.listen.proxy_protocol_from);
    };
    assert!(first.contains([10, 0, 0, 5].into()) && !first.contains([10, 0, 0, 6].into()));
    assert!(second.contains("fd00::1".parse().unwrap()));
    check(
        &listen("localhost"),
        &[],
        &[
            "F:10: listen.proxy_protocol_from[0]: `localhost` is no address or network; \
             write an address, or a network as in 10.0.0.0/8 or fd00::/8",
        ],
    );
}

#[test]
fn compression_is_a_list_towards_clients_and_a_word_towards_servers() {
    use grove_config::Compression::{Zlib, Zstd};
    let listen = |algorithms: &str| format!("{MINIMAL}listen:\n  compression: {algorithms}\n");
    assert_eq!(good(MINIMAL, &[]).listen.compression, [Zlib, Zstd]);
    assert_eq!(good(&listen("[zstd]"), &[]).listen.compression, [Zstd]);
    assert_eq!(good(&listen("none"), &[]).listen.compression, []);
    let overridden = good(MINIMAL, &[("GROVE_LISTEN__COMPRESSION", "zlib,zstd")]);
    assert_eq!(overridden.listen.compression, [Zlib, Zstd]);
    check(
        &listen("[zlib, none]"),
        &[],
        &["F:10: listen.compression[1]: `none` is not a choice; write zlib, zstd, both as a list, or none alone"],
    );

    let backend = |algorithm: &str| {
        let address = "    address: 127.0.0.1:3307\n";
        MINIMAL.replace(address, &format!("{address}    compression: {algorithm}\n"))
    };
    assert_eq!(good(MINIMAL, &[]).backends[0].compression, None);
    assert_eq!(good(&backend("zstd"), &[]).backends[0].compression, Some(Zstd));
    assert_eq!(good(&backend("none"), &[]).backends[0].compression, None);
}

#[test]
fn an_account_may_have_a_hash_instead_of_a_password() {
    let hash = "password_hash: '*C59FB35116D870D298C2A21D24F5D1BEE9934857'";
    let config = good(&MINIMAL.replace("password: app", hash), &[]);
    let credential = &config.users[0].credential;
    assert!(matches!(credential, Credential::Hash(PasswordHash::Native(_))));
    assert!(!format!("{config:?}").contains("C59F"));
    let overridden = good(
        MINIMAL,
        &[(
            "GROVE_USERS__0__PASSWORD_HASH",
            "*C59FB35116D870D298C2A21D24F5D1BEE9934857",
        )],
    );
    assert!(matches!(overridden.users[0].credential, Credential::Hash(_)));
    check(
        &MINIMAL.replace("password: app", "password_hash: '*C59F'"),
        &[],
        &["F:8: users[0].password_hash: it is no hash that the servers store; \
           write \"*\" and 40 hexadecimal digits, or $A$005$ with salt and digest, as text or as 0x and digits"],
    );
    check(
        &MINIMAL.replace("password: app", &format!("password: app\n    {hash}")),
        &[],
        &["F:9: users[0].password_hash: the password is given more than once; \
             keep one of password, password_env, password_file, password_hash"],
    );
}

#[test]
fn certificates_that_nobody_signs_cannot_be_required() {
    let text = MINIMAL.replace("password: app", "password: app\n    require_certificate: true");
    check(
        &text,
        &[],
        &[
            "F:9: users[0].require_certificate: nobody can log in so, because there is no listen.tls.client_ca; \
             name the authorities there, or leave require_certificate out",
        ],
    );
    let report = load(&format!("{text}listen:\n  tls:\n    client_ca: /nowhere/ca.pem\n"), &[]).unwrap_err();
    assert!(
        report.contains("F:12: listen.tls.client_ca: cannot read /nowhere/ca.pem"),
        "{report}"
    );
}
