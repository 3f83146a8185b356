//! From the file's text to a [`Config`]: shape first, then every key, then what keys say about each other.
//!
//! Invariant: all three run to their end whatever they find, so that one run of `proxyd check` shows every mistake.

use std::collections::{BTreeMap, HashSet};
use std::fmt::Display;
use std::hash::Hash;
use std::path::Path;

use figment::Figment;
use figment::providers::{Format, Yaml};
use figment::value::{Dict, Value};

use crate::config::{
    Acknowledge, Admin, Backend, BackendTls, BackendTlsMode, Config, Limits, Listen, ListenTls, ListenTlsMode, Log,
    LogFormat, ReadCommitted, ReadPolicy, Reads, Timeouts, TlsIdentity, User, Writes,
};
use crate::environment::Environment;
use crate::lines::Lines;
use crate::reader::Reader;
use crate::report::{Origin, Problem, Report};
use crate::schema::{self, Kind};

/// A table of more connections than ports, or of more shapes than memory, is a typing mistake.
const COUNT_MAX: u64 = 10_000_000;

impl Config {
    /// Loads the file at `path`, with the overrides of the process's environment.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, Report> {
        Self::load_with(path, &Environment::of_process())
    }

    /// Loads the file at `path`, with the overrides of this environment.
    pub fn load_with(path: impl AsRef<Path>, environment: &Environment) -> Result<Self, Report> {
        let path = path.as_ref();
        match std::fs::read_to_string(path) {
            Ok(text) => Self::parse(path, &text, environment),
            Err(error) => Err(Report::new(
                path,
                vec![Problem {
                    origin: Origin::File,
                    key: String::new(),
                    wrong: format!("cannot be read: {error}"),
                    right: "name a readable YAML file with --config".to_owned(),
                }],
            )),
        }
    }

    /// Reads `text` as the content of the file at `path`, which gives the report its name and relative paths
    /// their start, and need not exist.
    pub fn parse(path: &Path, text: &str, environment: &Environment) -> Result<Self, Report> {
        let mut root = yaml(text).map_err(|problem| Report::new(path, vec![problem]))?;
        let mut variables = BTreeMap::new();
        let mut problems = Vec::new();
        environment.apply(&mut root, &mut variables, &mut problems);
        let mut reader = Reader {
            lines: Lines::scan(text),
            variables,
            environment,
            directory: path.parent().unwrap_or(Path::new("")),
            problems,
            root,
        };
        check_shape(&mut reader);
        let config = read(&mut reader);
        check_together(&mut reader, &config);
        if reader.problems.is_empty() {
            Ok(config)
        } else {
            Err(Report::new(path, reader.problems))
        }
    }
}

/// The text as a tree. A syntax error is the only mistake that hides others.
fn yaml(text: &str) -> Result<Dict, Problem> {
    let blank = |line: &str| line.trim().is_empty() || line.trim_start().starts_with('#');
    if text.lines().all(blank) {
        return Ok(Dict::new());
    }
    Figment::from(Yaml::string(text)).extract::<Dict>().map_err(|error| {
        let message = error.kind.to_string();
        let line = message.split(" line ").nth(1).and_then(|rest| {
            let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
            digits.parse().ok()
        });
        Problem {
            origin: line.map_or(Origin::File, Origin::Line),
            key: String::new(),
            wrong: format!("this is not YAML with keys: {message}"),
            right: "mend this first; other mistakes show afterwards".to_owned(),
        }
    })
}

/// Unknown keys, keys that stand twice, and sections and lists that are something else.
fn check_shape(reader: &mut Reader<'_>) {
    for (path, line) in std::mem::take(&mut reader.lines.duplicates) {
        let first = reader.lines.line_of(&path).unwrap_or(1);
        reader.problems.push(Problem {
            origin: Origin::Line(line),
            key: path,
            wrong: format!("the key stands here for the second time, after line {first}"),
            right: "keep one".to_owned(),
        });
    }
    let root = std::mem::take(&mut reader.root);
    check_section(reader, "", &root);
    reader.root = root;
}

fn check_section(reader: &mut Reader<'_>, path: &str, section: &Dict) {
    for (key, value) in section {
        let dot = if path.is_empty() { "" } else { "." };
        let here = format!("{path}{dot}{key}");
        match (schema::kind(&here), value) {
            (Kind::Unknown, _) => {
                reader.problem(&here, "unknown key", schema::suggestion(path, key));
            }
            (Kind::Section, Value::Dict(_, inner)) => check_section(reader, &here, inner),
            (Kind::List, Value::Array(_, items)) => check_items(reader, &here, items),
            (Kind::Value, _) | (_, Value::Empty(..)) => {}
            (Kind::Section, _) => {
                let keys: Vec<_> = schema::children(&here).into_iter().collect();
                let right = format!("indent keys below it: {}", keys.join(", "));
                reader.problem(&here, "this must be a section", right);
            }
            (Kind::List, _) => {
                let right = "begin each item with `- ` on a line below it";
                reader.problem(&here, "this must be a list", right);
            }
        }
    }
}

fn check_items(reader: &mut Reader<'_>, path: &str, items: &[Value]) {
    for (index, item) in items.iter().enumerate() {
        let here = format!("{path}[{index}]");
        match item {
            Value::Dict(_, section) => check_section(reader, &here, section),
            _ => {
                let keys: Vec<_> = schema::children(&here).into_iter().collect();
                let right = format!("write keys in it: {}", keys.join(", "));
                reader.problem(&here, "this item must be a section", right);
            }
        }
    }
}

fn read(reader: &mut Reader<'_>) -> Config {
    Config {
        listen: listen(reader),
        admin: Admin {
            address: reader.listen_address("admin.address", Admin::default().address),
        },
        backends: backends(reader),
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
        log: Log {
            filter: reader.text("log.filter").unwrap_or_else(|| Log::default().filter),
            format: reader.choice("log.format", &[("text", LogFormat::Text), ("json", LogFormat::Json)]),
        },
    }
}

fn listen(reader: &mut Reader<'_>) -> Listen {
    let default = Listen::default();
    let connections = default.max_connections as u64;
    Listen {
        address: reader.listen_address("listen.address", default.address),
        tls: listen_tls(reader),
        max_connections: count(reader, "listen.max_connections", connections, 1..=1_000_000),
        connect_timeout: reader.milliseconds("listen.connect_timeout_ms", default.connect_timeout),
        idle_timeout: reader.seconds("listen.idle_timeout_s", default.idle_timeout),
    }
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
    ListenTls { mode, identity }
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
    Some(Backend {
        name: name?,
        address: address?,
        user: user?,
        password: password?,
        weight: u32::try_from(weight).unwrap_or(1),
        tls,
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
    let password = reader.secret(path);
    let default_schema = reader.text(&format!("{path}.default_schema"));
    Some(User {
        name: name?,
        password: password?,
        default_schema,
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

/// What keys say about each other. Names and addresses are read again by path, because a backend with another
/// mistake is not in `config`.
fn check_together(reader: &mut Reader<'_>, config: &Config) {
    check_unique(reader, "backends", "name", |reader, path| text(reader, path));
    check_unique(reader, "backends", "address", |reader, path| text(reader, path));
    check_unique(reader, "users", "name", |reader, path| text(reader, path));
    let (listen, admin) = (config.listen.address, config.admin.address);
    if listen == admin && listen.port() != 0 {
        let wrong = format!("{admin} is listen.address too");
        reader.problem("admin.address", wrong, "choose another port");
    }
}

fn text(reader: &Reader<'_>, path: &str) -> Option<String> {
    reader.value(path)?.as_str().map(str::to_owned)
}

fn check_unique<T: Eq + Hash + Display>(
    reader: &mut Reader<'_>,
    list: &str,
    key: &str,
    value: impl Fn(&Reader<'_>, &str) -> Option<T>,
) {
    let mut seen = HashSet::new();
    for index in 0..reader.items(list) {
        let path = format!("{list}[{index}].{key}");
        let Some(value) = value(reader, &path) else {
            continue;
        };
        let wrong = format!("`{value}` stands in the list twice");
        if !seen.insert(value) {
            reader.problem(&path, wrong, format!("give each item its own {key}"));
        }
    }
}
