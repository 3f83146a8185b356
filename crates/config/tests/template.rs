//! `proxy-config.yaml` at the root documents every key and repeats every default.
//!
//! A key without a default stands in a line that begins with `#` and goes on without a space; a sentence begins with
//! `# `. The tests below read both kinds of line.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use grove_config::{BackendTls, Config, Environment, KEYS, Secret, User};

fn file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../proxy-config.yaml")
}

/// Every key of the file in order: its path without item numbers, and whether a sentence stands directly above it.
fn keys(text: &str) -> Vec<(String, bool)> {
    let mut found = Vec::new();
    let mut open: Vec<(usize, String)> = Vec::new();
    let mut explained = false;
    for line in text.lines() {
        let body = line.trim_start();
        if body.is_empty() || body.starts_with("# ") || body == "#" {
            explained = !body.is_empty();
            continue;
        }
        let mut indent = line.len() - body.len();
        let mut body = body.trim_start_matches('#');
        while open.last().is_some_and(|(outer, _)| *outer >= indent) {
            open.pop();
        }
        if let Some(item) = body.strip_prefix("- ") {
            if let Some((_, list)) = open.last_mut() {
                *list = format!("{}[]", list.trim_end_matches("[]"));
            }
            indent += 2;
            body = item;
        }
        let key = body.split(':').next().unwrap();
        let path = match open.last() {
            Some((_, outer)) => format!("{outer}.{key}"),
            None => key.to_owned(),
        };
        open.push((indent, path.clone()));
        found.push((path, explained));
        explained = false;
    }
    found
}

#[test]
fn every_key_is_documented() {
    let text = std::fs::read_to_string(file()).unwrap();
    let mut documented = BTreeSet::new();
    for (path, explained) in keys(&text) {
        // The second server repeats keys of the first without a word.
        if documented.insert(path.clone()) {
            let is_section = KEYS.iter().any(|key| key.starts_with(&format!("{path}.")));
            assert!(
                explained || is_section || path.ends_with("]"),
                "{path} has no sentence above it"
            );
        }
    }
    for key in KEYS {
        assert!(documented.contains(*key), "{key} is not in proxy-config.yaml");
    }
}

#[test]
fn the_file_is_right_and_repeats_the_defaults() {
    let mut loaded = Config::load_with(file(), &Environment::default()).unwrap_or_else(|report| panic!("{report}"));
    // The only default that depends on where the file is.
    let directory = loaded.recovery_log.directory.take();
    assert_eq!(directory, Some(file().with_file_name("recovery-log")));
    let defaults = Config::new(loaded.backends.clone(), loaded.users.clone());
    assert_eq!(format!("{loaded:#?}"), format!("{defaults:#?}"));
    for backend in &loaded.backends {
        assert_eq!((backend.weight, &backend.tls), (1, &BackendTls::default()));
        assert_eq!(backend.compression, None);
    }
    for user in &loaded.users {
        let default = User::new(&user.name, Secret::new(""));
        assert_eq!(format!("{user:?}"), format!("{default:?}"));
    }
}

#[test]
fn a_default_that_stands_in_the_file_is_read_from_it() {
    // Guards the test above: a key that only stands in a comment would compare equal as well.
    let text = std::fs::read_to_string(file()).unwrap();
    let without_default = [
        "listen.socket",
        "listen.proxy_protocol_from",
        "listen.tls.certificate",
        "listen.tls.key",
        "listen.tls.client_ca",
        "backends[].password_env",
        "backends[].password_file",
        "backends[].tls.ca",
        "users[].password_env",
        "users[].password_file",
        "users[].password_hash",
        "users[].default_schema",
        "users[].allow_from",
        "users[].max_connections",
        "recovery_log.directory",
    ];
    let live: String = text
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'))
        .map(|line| format!("{line}\n"))
        .collect();
    let live: BTreeSet<String> = keys(&live).into_iter().map(|(path, _)| path).collect();
    for key in KEYS {
        assert_eq!(live.contains(*key), !without_default.contains(key), "{key}");
    }
}

#[test]
fn keys_in_comments_become_right_when_their_mark_is_removed() {
    // A path in a comment must have the indentation that makes it work; files that do not exist are the only errors.
    let text = std::fs::read_to_string(file()).unwrap();
    let uncommented: String = text
        .lines()
        .map(|line| match line.trim_start().strip_prefix('#') {
            Some(key) if key.starts_with(|c: char| c.is_ascii_lowercase()) => line.replacen('#', "", 1),
            _ => line.to_owned(),
        })
        .map(|line| line + "\n")
        .collect();
    let report = Config::parse(&file(), &uncommented, &Environment::default()).unwrap_err();
    for problem in report.problems() {
        assert_ne!(problem.wrong, "unknown key", "{report}");
    }
    let keys: BTreeSet<_> = report.problems().iter().map(|problem| problem.key.as_str()).collect();
    let expected = [
        "backends[0].password_file",
        "backends[0].tls.ca",
        "listen.tls.certificate",
        "listen.tls.client_ca",
        "listen.tls.key",
        "users[0].password_hash",
    ];
    assert_eq!(keys, BTreeSet::from(expected), "{report}");
}
