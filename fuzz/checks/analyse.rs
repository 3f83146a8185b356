//! Every text has an analysis, the same one from the cache, whose ranges are in the text; what is called a read writes nothing.

use std::sync::LazyLock;

use grove_sql::{Analyser, Class, TouchedTables};

/// Shared by all inputs, so that a wrong answer from another text of the same shape is found.
static SHARED: LazyLock<Analyser> = LazyLock::new(|| Analyser::new(4_096));

/// Panics if it does not hold for this input.
pub fn check(input: &[u8]) {
    let Some((mode, text)) = super::mode::mode_and_text(input) else {
        return;
    };
    let analysis = Analyser::new(1).analyse(text, mode);
    assert_eq!(SHARED.analyse(text, mode), analysis);
    assert_eq!(SHARED.analyse(text, mode), analysis);
    for item in &analysis.set {
        assert!(text.get(item.text.clone()).is_some() && text.get(item.value.clone()).is_some());
    }
    if let Some(range) = &analysis.prepared_text {
        assert!(text.get(range.clone()).is_some_and(|literal| literal.len() >= 2));
    }
    if analysis.class == Class::Read {
        assert_eq!(analysis.written, TouchedTables::none());
        assert!(!analysis.flags.calls_unknown_function && !analysis.flags.into_outfile && !analysis.flags.named_lock);
    }
}
