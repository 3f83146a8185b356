#![no_main]
#![allow(dead_code)]
//! See `checks/proxy_protocol.rs`.

#[path = "../checks/mod.rs"]
mod checks;

libfuzzer_sys::fuzz_target!(|input: &[u8]| checks::proxy_protocol::check(input));
