#![no_main]
#![allow(dead_code)]
//! See `checks/messages.rs`.

#[path = "../checks/mod.rs"]
mod checks;

libfuzzer_sys::fuzz_target!(|input: &[u8]| checks::messages::check(input));
