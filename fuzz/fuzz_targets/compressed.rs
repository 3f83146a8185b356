#![no_main]
#![allow(dead_code)]
//! See `checks/compressed.rs`.

#[path = "../checks/mod.rs"]
mod checks;

libfuzzer_sys::fuzz_target!(|input: &[u8]| checks::compressed::check(input));
