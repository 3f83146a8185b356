//! Every section of the file, key by key.
//!
//! Invariant: each key is read by exactly one line here, whatever mistakes came before it.

use crate::config::{
    Acknowledge, Admin, Backend, BackendTls, BackendTlsMode, Compression, Config, FirstStart, Limits, Listen,
    ListenTls, ListenTlsMode, Log, LogFormat, ReadCommitted, ReadPolicy, Reads, RecoveryLog, Timeouts, TlsIdentity,
    UnequalSettings, UnsafeStatements, User, WhenFull, Writes,
};
use crate::reader::Reader;
use crate::schema::{self, Kind};
use figment::value::Value;
use std::time::Duration;

/// A table of more connections than ports, or of more shapes than memory, is a typing mistake.
const COUNT_MAX: u64 = 10_000_000;
/// More clients than one process can have sockets.
const CONNECTIONS_MAX: u64 = 1_000_000;

/// Reads every section; where a key is wrong its default, or nothing, stands in the result.
pub(crate) fn read(reader: &mut Reader<'_>) -> Config {
    let backends = backends(reader);
    let recovery_log = recovery_log(reader, &backends);
    Config {
        listen: listen(reader),
        admin: Admin {
            address: reader.listen_address("admin.address", Admin::default().address),
        },
        backends,
        users: users(reader),
        reads: Reads {
            policy: reader.choice(
                "reads.policy",
                &[
                    ("least_outstanding", ReadPolicy::LeastOutstanding),
                    ("round_robin", ReadPolicy::RoundRobin),
                    ("weighted", ReadPolicy::Weighted),
                    ("latency", ReadPolicy::Latency),
                ],
            ),
        },
        writes: writes(reader),
        timeouts: timeouts(reader),
        limits: limits(reader),
        recovery_log,
        log: log(reader),
    }
}

fn listen(reader: &mut Reader<'_>) -> Listen {
    let default = Listen::default();
    let connections = default.max_connections as u64;
    let delay = u64::try_from(default.refused_login_delay.as_millis()).unwrap_or(u64::MAX);
    // A minute is longer than most clients wait.
    let delay = reader.integer("listen.refused_login_delay_ms", delay, 0..=60_000);
    Listen {
        address: reader.listen_address("listen.address", default.address),
        socket: reader.socket_path("listen.socket"),
        proxy_protocol_from: reader.networks("listen.proxy_protocol_from"),
        tls: listen_tls(reader),
        compression: listen_compression(reader, default.compression),
        max_connections: count(reader, "listen.max_connections", connections, 1..=CONNECTIONS_MAX),
        connect_timeout: reader.milliseconds("listen.connect_timeout_ms", default.connect_timeout),
        refused_login_delay: Duration::from_millis(delay),
        idle_timeout: reader.seconds("listen.idle_timeout_s", default.idle_timeout),
    }
}

/// A list of algorithms, or the word none.
fn listen_compression(reader: &mut Reader<'_>, default: Vec<Compression>) -> Vec<Compression> {
    let path = "listen.compression";
    if !reader.has(path) {
        return default;
    }
    let texts = reader.texts(path);
    let is_alone = texts.len() == 1;
    let mut algorithms = Vec::new();
    for (path, text) in texts {
        match text.as_str() {
            "zlib" => algorithms.push(Compression::Zlib),
            "zstd" => algorithms.push(Compression::Zstd),
            "none" if is_alone => {}
            _ => {
                let wrong = format!("`{text}` is not a choice");
                reader.problem(&path, wrong, "write zlib, zstd, both as a list, or none alone");
            }
        }
    }
    algorithms
}

fn listen_tls(reader: &mut Reader<'_>) -> ListenTls {
    let mode = reader.choice(
        "listen.tls.mode",
        &[
            ("disabled", ListenTlsMode::Disabled),
            ("preferred", ListenTlsMode::Preferred),
            ("required", ListenTlsMode::Required),
        ],
    );
    let files = ["listen.tls.certificate", "listen.tls.key"];
    let identity = match files.map(|path| reader.has(path)) {
        [false, false] => TlsIdentity::SelfGenerated,
        [true, true] => {
            let certificate = reader.pem_file(files[0], "CERTIFICATE");
            let key = reader.pem_file(files[1], "PRIVATE KEY");
            match (certificate, key) {
                (Some(certificate), Some(key)) => TlsIdentity::Files { certificate, key },
                _ => TlsIdentity::SelfGenerated,
            }
        }
        [certificate, _] => {
            let [there, missing] = if certificate { files } else { [files[1], files[0]] };
            let wrong = format!("missing, although {there} is given");
            reader.problem(
                missing,
                wrong,
                "give both files, or neither for a certificate made at start",
            );
            TlsIdentity::SelfGenerated
        }
    };
    ListenTls {
        mode,
        identity,
        client_ca: reader
            .has("listen.tls.client_ca")
            .then(|| reader.pem_file("listen.tls.client_ca", "CERTIFICATE"))
            .flatten(),
    }
}

fn backends(reader: &mut Reader<'_>) -> Vec<Backend> {
    if reader.items("backends") == 0 && !malformed(reader, "backends") {
        let right = "list at least one server with name, address, user and password";
        reader.problem("backends", "there is no backend", right);
    }
    (0..reader.items("backends"))
        .filter_map(|index| backend(reader, &format!("backends[{index}]")))
        .collect()
}

fn backend(reader: &mut Reader<'_>, path: &str) -> Option<Backend> {
    if malformed(reader, path) {
        return None;
    }
    let name_form = "give each server a short name for logs, metrics and the API";
    let name = reader.required_text(&format!("{path}.name"), name_form);
    let address = reader.backend_address(&format!("{path}.address"));
    let user = reader.required_text(&format!("{path}.user"), "name Grove's account there");
    let password = reader.secret(path);
    let weight = reader.integer(&format!("{path}.weight"), 1, 1..=65_535);
    let tls = backend_tls(reader, path);
    let compression = reader.choice(
        &format!("{path}.compression"),
        &[
            ("none", None),
            ("zlib", Some(Compression::Zlib)),
            ("zstd", Some(Compression::Zstd)),
        ],
    );
    Some(Backend {
        name: name?,
        address: address?,
        user: user?,
        password: password?,
        weight: u32::try_from(weight).unwrap_or(1),
        tls,
        compression,
    })
}

fn backend_tls(reader: &mut Reader<'_>, path: &str) -> BackendTls {
    let mode = reader.choice(
        &format!("{path}.tls.mode"),
        &[
            ("disabled", BackendTlsMode::Disabled),
            ("preferred", BackendTlsMode::Preferred),
            ("required", BackendTlsMode::Required),
            ("verify_ca", BackendTlsMode::VerifyCa),
        ],
    );
    let path = format!("{path}.tls.ca");
    let ca = match (mode, reader.has(&path)) {
        (_, false) if mode != BackendTlsMode::VerifyCa => None,
        (BackendTlsMode::VerifyCa, true) => reader.pem_file(&path, "CERTIFICATE"),
        (_, false) => {
            let right = "name the PEM file of the authorities to trust";
            reader.problem(&path, "missing, although mode is verify_ca", right);
            None
        }
        (_, true) => {
            let right = "set mode: verify_ca, or leave ca out";
            reader.problem(&path, "only mode verify_ca looks at it", right);
            None
        }
    };
    BackendTls { mode, ca }
}

fn users(reader: &mut Reader<'_>) -> Vec<User> {
    if reader.items("users") == 0 && !malformed(reader, "users") {
        let right = "list at least one account with name and password";
        reader.problem("users", "there is no user", right);
    }
    (0..reader.items("users"))
        .filter_map(|index| user(reader, &format!("users[{index}]")))
        .collect()
}

fn user(reader: &mut Reader<'_>, path: &str) -> Option<User> {
    if malformed(reader, path) {
        return None;
    }
    let name_form = "write the name that clients log in with";
    let name = reader.required_text(&format!("{path}.name"), name_form);
    let credential = reader.credential(path);
    let default_schema = reader.text(&format!("{path}.default_schema"));
    let allow_from = reader.sources(&format!("{path}.allow_from"));
    let max_connections = format!("{path}.max_connections");
    let max_connections = reader
        .has(&max_connections)
        .then(|| count(reader, &max_connections, 100, 1..=CONNECTIONS_MAX));
    let require_tls = reader.truth(&format!("{path}.require_tls"));
    Some(User {
        name: name?,
        credential: credential?,
        default_schema,
        allow_from,
        max_connections,
        require_tls,
        require_certificate: reader.truth(&format!("{path}.require_certificate")),
    })
}

fn writes(reader: &mut Reader<'_>) -> Writes {
    let path = "writes.acknowledge";
    let acknowledge = reader.choice(
        path,
        &[
            ("all", Acknowledge::All),
            ("majority", Acknowledge::Majority),
            ("lead", Acknowledge::Lead),
        ],
    );
    if acknowledge != Acknowledge::All {
        let wrong = "only `all` is implemented in this version";
        reader.problem(path, wrong, "write acknowledge: all, or leave the key out");
    }
    Writes {
        acknowledge,
        read_committed: reader.choice(
            "writes.read_committed",
            &[("gate", ReadCommitted::Gate), ("upgrade", ReadCommitted::Upgrade)],
        ),
        unequal_settings: reader.choice(
            "writes.unequal_settings",
            &[("align", UnequalSettings::Align), ("warn", UnequalSettings::Warn)],
        ),
        unsafe_statements: reader.choice(
            "writes.unsafe_statements",
            &[
                ("warn", UnsafeStatements::Warn),
                ("reject", UnsafeStatements::Reject),
                ("allow", UnsafeStatements::Allow),
            ],
        ),
    }
}

fn timeouts(reader: &mut Reader<'_>) -> Timeouts {
    let default = Timeouts::default();
    let failures = u64::from(default.probe_failures);
    let failures = reader.integer("timeouts.probe_failures", failures, 1..=1000);
    let mut time = |key: &str, default| reader.milliseconds(&format!("timeouts.{key}"), default);
    Timeouts {
        connect: time("connect_ms", default.connect),
        probe_interval: time("probe_interval_ms", default.probe_interval),
        probe: time("probe_ms", default.probe),
        probe_failures: u32::try_from(failures).unwrap_or(default.probe_failures),
        follower_lock_wait: time("follower_lock_wait_ms", default.follower_lock_wait),
        no_backend_wait: time("no_backend_wait_ms", default.no_backend_wait),
        drain: time("drain_ms", default.drain),
    }
}

fn limits(reader: &mut Reader<'_>) -> Limits {
    let default = Limits::default();
    let mut limit = |key: &str, default: usize, range| count(reader, &format!("limits.{key}"), default as u64, range);
    Limits {
        // The servers' own bounds of max_allowed_packet.
        max_packet_bytes: limit("max_packet_bytes", default.max_packet_bytes, 1024..=1 << 30),
        transaction_statements: limit("transaction_statements", default.transaction_statements, 1..=COUNT_MAX),
        transaction_bytes: limit("transaction_bytes", default.transaction_bytes, 1024..=1 << 40),
        verified_reads: limit("verified_reads", default.verified_reads, 1..=COUNT_MAX),
        statement_shapes: limit("statement_shapes", default.statement_shapes, 1..=COUNT_MAX),
    }
}

fn recovery_log(reader: &mut Reader<'_>, backends: &[Backend]) -> RecoveryLog {
    let default = RecoveryLog::default();
    RecoveryLog {
        directory: match reader.text("recovery_log.directory") {
            Some(none) if none == "none" => None,
            Some(_) => reader.path("recovery_log.directory"),
            None => Some(reader.beside_the_file("recovery-log")),
        },
        // A smaller one is made more often than it is worth, a larger one is dropped too late.
        segment_bytes: reader.integer("recovery_log.segment_bytes", default.segment_bytes, 1 << 20..=1 << 32),
        retention_bytes: reader.integer("recovery_log.retention_bytes", default.retention_bytes, 0..=1 << 50),
        retention_age: reader.seconds("recovery_log.retention_age_s", default.retention_age),
        most_bytes: match reader.integer("recovery_log.most_bytes", 0, 0..=1 << 60) {
            0 => u64::MAX,
            bytes => bytes,
        },
        when_full: reader.choice(
            "recovery_log.when_full",
            &[
                ("stop_writes", WhenFull::StopWrites),
                ("evict_slowest", WhenFull::EvictSlowest),
            ],
        ),
        first_start: first_start(reader, backends),
    }
}

fn first_start(reader: &mut Reader<'_>, backends: &[Backend]) -> FirstStart {
    let path = "recovery_log.first_start";
    match reader.text(path) {
        None => FirstStart::default(),
        Some(word) if word == "compare" => FirstStart::Compare,
        Some(word) if word == "trust" => FirstStart::Trust,
        Some(name) => {
            if !backends.iter().any(|backend| backend.name == name) {
                let names: Vec<&str> = backends.iter().map(|backend| backend.name.as_str()).collect();
                let wrong = format!("`{name}` is no backend");
                let right = format!(
                    "write compare, trust, or the name of the backend that the others become copies of: {}",
                    names.join(", ")
                );
                reader.problem(path, wrong, right);
            }
            FirstStart::Copy(name)
        }
    }
}

fn count(reader: &mut Reader<'_>, path: &str, default: u64, range: std::ops::RangeInclusive<u64>) -> usize {
    usize::try_from(reader.integer(path, default, range)).unwrap_or(usize::MAX)
}

/// Whether the shape of `path` has been reported already.
fn malformed(reader: &Reader<'_>, path: &str) -> bool {
    match schema::kind(path) {
        Kind::List => reader.has(path) && !matches!(reader.value(path), Some(Value::Array(..))),
        _ => !matches!(reader.value(path), Some(Value::Dict(..))),
    }
}

fn log(reader: &mut Reader<'_>) -> Log {
    let path = "log.filter";
    let filter = reader.text(path).unwrap_or_else(|| Log::default().filter);
    if let Some(wrong) = filter.split(',').find(|directive| !is_log_directive(directive.trim())) {
        let wrong = format!("`{}` is no log directive", wrong.trim());
        let right = format!(
            "write one of {}, or pairs such as info,grove_engine=debug",
            LEVELS.join(", ")
        );
        reader.problem(path, wrong, right);
    }
    Log {
        filter,
        format: reader.choice("log.format", &[("text", LogFormat::Text), ("json", LogFormat::Json)]),
    }
}

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// A level, or `module=level`. The logging library takes more, but would read a misspelt level as a module's name.
fn is_log_directive(text: &str) -> bool {
    let (module, level) = text.split_once('=').unwrap_or(("grove", text));
    let is_module = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    !module.is_empty() && module.chars().all(is_module) && LEVELS.contains(&level)
}
