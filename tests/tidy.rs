//! Rules of the house that a machine keeps: the arrows between crates, and what every source file opens with.

#![allow(clippy::unwrap_used, reason = "a test fails where it stands")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Which crates of ours each crate may use. An arrow that is not here needs an argument before it gets a line.
const ARROWS: &[(&str, &[&str])] = &[
    ("wire", &[]),
    ("sql", &[]),
    ("config", &[]),
    ("telemetry", &[]),
    ("recovery-log", &[]),
    ("sandbox", &[]),
    ("engine", &["wire", "sql", "recovery-log", "telemetry"]),
    ("compression", &["wire"]),
    ("copy", &["engine", "wire"]),
    (
        "backend",
        &["engine", "wire", "config", "telemetry", "compression", "copy"],
    ),
    (
        "frontend",
        &["engine", "wire", "sql", "config", "telemetry", "compression"],
    ),
    ("control", &["engine", "telemetry"]),
    ("proxyctl", &[]),
    ("testkit", &["sandbox", "wire", "compression"]),
];

#[test]
fn crates_use_only_what_is_below_them() {
    let allowed: BTreeMap<&str, BTreeSet<&str>> = ARROWS
        .iter()
        .map(|(name, uses)| (*name, uses.iter().copied().collect()))
        .collect();
    let mut wrong = Vec::new();
    for manifest in files_below(&root().join("crates"), "Cargo.toml") {
        let name = manifest
            .parent()
            .and_then(Path::file_name)
            .unwrap()
            .to_string_lossy()
            .into_owned();
        let Some(allowed) = allowed.get(name.as_str()) else {
            wrong.push(format!("{name}: a crate without a line in ARROWS"));
            continue;
        };
        for used in dependencies(&fs::read_to_string(&manifest).unwrap()) {
            if !allowed.contains(used.as_str()) {
                wrong.push(format!("{name} uses {used}"));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "arrows that the architecture does not have:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn every_source_file_says_what_it_is_for() {
    let mut silent = Vec::new();
    for folder in ["src", "crates", "tests", "benches", "fuzz"] {
        for file in files_below(&root().join(folder), ".rs") {
            let text = fs::read_to_string(&file).unwrap();
            let first = text.lines().find(|line| !line.starts_with("#!["));
            if !first.is_some_and(|line| line.starts_with("//!")) {
                silent.push(file.strip_prefix(root()).unwrap().display().to_string());
            }
        }
    }
    assert!(
        silent.is_empty(),
        "files that do not open with `//!`:\n{}",
        silent.join("\n")
    );
}

/// The names after `grove-` in the section `[dependencies]`.
fn dependencies(manifest: &str) -> Vec<String> {
    let section = manifest
        .lines()
        .skip_while(|line| line.trim() != "[dependencies]")
        .skip(1)
        .take_while(|line| !line.starts_with('['));
    section
        .filter_map(|line| line.strip_prefix("grove-"))
        .filter_map(|line| line.split(['.', ' ', '=']).next())
        .map(str::to_owned)
        .collect()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Files whose path ends with `ending`, without build output.
fn files_below(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for path in entries.map(|entry| entry.unwrap().path()) {
            if path.is_dir() && path.file_name().is_some_and(|name| name != "target") {
                folders.push(path);
            } else if path.to_string_lossy().ends_with(ending) {
                found.push(path);
            }
        }
    }
    found
}
