//! A reader that takes no more than it is told to comes to the same header as one that has everything, and takes nothing behind it.

use grove_wire::proxy_protocol::{MAX_LEN, Progress, parse};

/// Panics if it does not hold for this input.
pub fn check(input: &[u8]) {
    let whole = parse(input);
    let mut there = 0;
    loop {
        match parse(&input[..there]) {
            Ok(Progress::Incomplete { at_least }) => {
                assert!(at_least > 0 && there + at_least <= MAX_LEN);
                if there + at_least > input.len() {
                    assert!(!matches!(whole, Ok(Progress::Complete { .. })));
                    break;
                }
                there += at_least;
            }
            Ok(Progress::Complete { client, header_len }) => {
                assert_eq!(header_len, there);
                assert_eq!(whole, Ok(Progress::Complete { client, header_len }));
                break;
            }
            Err(error) => {
                assert_eq!(whole, Err(error));
                break;
            }
        }
    }
}
