#![no_main]
//! Any bytes are decoded to an entry that encodes to the same bytes, or refused with a place inside of them.

use grove_recovery_log::{Kind, decode, encode};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((&number, payload)) = input.split_first() else { return };
    let Some(kind) = Kind::numbered(number) else { return };
    match decode(kind, payload.to_vec().into()) {
        Ok(entry) => assert_eq!(encode(&entry), (kind, payload.to_vec())),
        Err(error) => assert!(error.at <= payload.len()),
    }
});
