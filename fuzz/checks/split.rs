//! The pieces of every text follow each other and stay whole when they are cut again.

use grove_sql::split;

/// Panics if it does not hold for this input.
pub fn check(input: &[u8]) {
    let Some((mode, text)) = super::mode::mode_and_text(input) else {
        return;
    };
    let mut end = 0;
    for piece in split(text, mode) {
        assert!(piece.start >= end);
        end = piece.end;
        let piece = &text[piece];
        let again = split(piece, mode);
        assert!(again.is_empty() || again.len() == 1 && again[0] == (0..piece.len()));
    }
    assert!(end <= text.len());
}
