#![no_main]
//! Tokens tile every text.

mod mode;

use grove_sql::Lexer;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((mode, text)) = mode::mode_and_text(input) else { return };
    let mut end = 0;
    for token in Lexer::new(text, mode) {
        assert_eq!(token.range.start, end);
        assert!(token.range.end > end);
        end = token.range.end;
    }
    assert_eq!(end, text.len());
});
