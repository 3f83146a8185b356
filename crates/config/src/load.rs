//! From the file's text to a [`Config`]: shape first, then every key, then what keys say about each other.
//!
//! Invariant: all three run to their end whatever they find, so that one run of `proxyd check` shows every mistake.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use figment::Figment;
use figment::providers::{Format, Yaml};
use figment::value::{Dict, Value};

use crate::config::{Config, ListenTlsMode};
use crate::environment::Environment;
use crate::lines::Lines;
use crate::reader::Reader;
use crate::report::{Origin, Problem, Report};
use crate::schema::{self, Kind};
use crate::sections;

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
        let config = sections::read(&mut reader);
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

/// What keys say about each other. Names and addresses are read again by path, because a backend with another
/// mistake is not in `config`.
fn check_together(reader: &mut Reader<'_>, config: &Config) {
    check_unique(reader, "backends", "name");
    check_unique(reader, "backends", "address");
    check_unique(reader, "users", "name");
    check_tls_is_offered(reader, config);
    let (listen, admin) = (config.listen.address, config.admin.address);
    if listen == admin && listen.port() != 0 {
        let wrong = format!("{admin} is listen.address too");
        reader.problem("admin.address", wrong, "choose another port");
    }
}

/// Accounts that must use TLS or a certificate, where there is none.
fn check_tls_is_offered(reader: &mut Reader<'_>, config: &Config) {
    if config.listen.tls.mode == ListenTlsMode::Disabled {
        let wrong = "nobody can log in so, because listen.tls.mode is disabled";
        check_not_required(reader, "require_tls", wrong, "set listen.tls.mode: preferred");
        check_not_required(reader, "require_certificate", wrong, "set listen.tls.mode: preferred");
    } else if !reader.has("listen.tls.client_ca") {
        let wrong = "nobody can log in so, because there is no listen.tls.client_ca";
        check_not_required(reader, "require_certificate", wrong, "name the authorities there");
    }
}

fn check_not_required(reader: &mut Reader<'_>, key: &str, wrong: &str, right: &str) {
    for index in 0..reader.items("users") {
        let path = format!("users[{index}].{key}");
        let is_required = match reader.value(&path) {
            Some(Value::Bool(_, truth)) => *truth,
            Some(Value::String(_, text)) => text.trim() == "true",
            _ => false,
        };
        if is_required {
            reader.problem(&path, wrong, format!("{right}, or leave {key} out"));
        }
    }
}

fn check_unique(reader: &mut Reader<'_>, list: &str, key: &str) {
    let mut seen = HashSet::new();
    for index in 0..reader.items(list) {
        let path = format!("{list}[{index}].{key}");
        let Some(value) = reader.value(&path).and_then(Value::as_str).map(str::to_owned) else {
            continue;
        };
        let wrong = format!("`{value}` stands in the list twice");
        if !seen.insert(value) {
            reader.problem(&path, wrong, format!("give each item its own {key}"));
        }
    }
}
