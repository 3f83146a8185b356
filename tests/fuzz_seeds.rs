//! The kept inputs of the fuzz targets: what was found once stays found, also where nobody fuzzes.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;
use std::path::Path;

#[path = "../fuzz/checks/mod.rs"]
mod checks;

fn every_seed(target: &str, check: fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut seeds = 0;
    for entry in fs::read_dir(&corpus).unwrap_or_else(|error| panic!("{}: {error}", corpus.display())) {
        let path = entry.unwrap().path();
        eprintln!("{}", path.display());
        check(&fs::read(&path).unwrap());
        seeds += 1;
    }
    assert!(seeds > 0, "{} holds no seed", corpus.display());
}

#[test]
fn seeds_of_analyse() {
    every_seed("analyse", checks::analyse::check);
}

#[test]
fn seeds_of_compressed() {
    every_seed("compressed", checks::compressed::check);
}

#[test]
fn seeds_of_lexer() {
    every_seed("lexer", checks::lexer::check);
}

#[test]
fn seeds_of_messages() {
    every_seed("messages", checks::messages::check);
}

#[test]
fn seeds_of_packets() {
    every_seed("packets", checks::packets::check);
}

#[test]
fn seeds_of_proxy_protocol() {
    every_seed("proxy_protocol", checks::proxy_protocol::check);
}

#[test]
fn seeds_of_replies() {
    every_seed("replies", checks::replies::check);
}

#[test]
fn seeds_of_split() {
    every_seed("split", checks::split::check);
}
