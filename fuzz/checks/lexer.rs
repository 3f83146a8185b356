//! Tokens tile every text.

use grove_sql::Lexer;

/// Panics if it does not hold for this input.
pub fn check(input: &[u8]) {
    let Some((mode, text)) = super::mode::mode_and_text(input) else {
        return;
    };
    let mut end = 0;
    for token in Lexer::new(text, mode) {
        assert_eq!(token.range.start, end);
        assert!(token.range.end > end);
        end = token.range.end;
    }
    assert_eq!(end, text.len());
}
