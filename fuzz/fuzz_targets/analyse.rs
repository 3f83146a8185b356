#![no_main]
#![allow(dead_code)]
//! See `checks/analyse.rs`.

#[path = "../checks/mod.rs"]
mod checks;

libfuzzer_sys::fuzz_target!(|input: &[u8]| checks::analyse::check(input));
