//! What holds for every text: tokens tile it, nothing panics, comments and white space mean nothing, pieces stay whole.

use std::path::Path;

use grove_sql::{Analyser, ClientCharset, Flavor, LexMode, Lexer, TokenKind, split};
use proptest::prelude::*;

fn modes() -> impl Strategy<Value = LexMode> {
    let servers = prop_oneof![
        Just((Flavor::Mysql, 50_624)),
        Just((Flavor::Mysql, 80_100)),
        Just((Flavor::Mysql, 90_704)),
        Just((Flavor::MariaDb, 100_500)),
        Just((Flavor::MariaDb, 110_802)),
    ];
    let charsets = prop_oneof![
        Just(ClientCharset::AsciiCompatible),
        Just(ClientCharset::Blank(0xA0)),
        Just(ClientCharset::Gbk),
        Just(ClientCharset::Sjis),
        Just(ClientCharset::Big5),
        Just(ClientCharset::Gb18030),
        Just(ClientCharset::Cp932),
    ];
    (servers, any::<bool>(), any::<bool>(), charsets).prop_map(
        |((flavor, version), ansi_quotes, no_backslash_escapes, charset)| LexMode {
            flavor,
            version,
            ansi_quotes,
            no_backslash_escapes,
            charset,
        },
    )
}

/// Pieces of SQL in any order, with noise between them: closer to what the classifier looks at than random bytes are.
fn soup() -> impl Strategy<Value = Vec<u8>> {
    let words = "SELECT FROM WHERE INSERT INTO VALUES UPDATE SET DELETE USING WITH RECURSIVE AS UNION TABLE JOIN ON DUPLICATE KEY FOR SHARE LOCK IN \
        OUTFILE LIMIT CREATE TEMPORARY ALTER DROP RENAME TO TRUNCATE PROCEDURE BEGIN END COMMIT ROLLBACK SAVEPOINT GLOBAL SESSION STATEMENT NAMES \
        TRANSACTION ISOLATION LEVEL PREPARE EXECUTE IMMEDIATE EXPLAIN ANALYZE SHOW KILL QUERY XA CALL DO NEXT VALUE NEXTVAL POINT COUNT GET DIAGNOSTICS \
        PARTITION LIKE REFERENCES ROW CYCLE RESTRICT NULL t u db f a @a @@b 'x' \"y\" `z` 1 1.e 0x1 ( ) , ; . = := * ? { } /*! */ /* -- # \n /*!50000 /*M! $$";
    let words: Vec<&str> = words.split(' ').collect();
    prop::collection::vec(prop::sample::select(words), 0..40).prop_map(|words| words.join(" ").into_bytes())
}

fn texts() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..200),
        "[ -~\n]{0,120}".prop_map(String::into_bytes),
        soup(),
        (soup(), prop::collection::vec(any::<u8>(), 0..8), soup()).prop_map(|(a, b, c)| [a, b, c].concat()),
    ]
}

/// The statements of the tables, with the mode in which they stand there.
#[allow(clippy::unwrap_used, reason = "a table that cannot be read fails the test")]
fn statements() -> Vec<(LexMode, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/statements");
    let mut statements = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let mut mode = LexMode::new(Flavor::MariaDb, 101_119);
        for line in std::fs::read_to_string(entry.unwrap().path()).unwrap().lines() {
            if let Some(server) = line.strip_prefix("server: ") {
                let (flavor, version) = server.split_once(' ').unwrap();
                let flavor = if flavor == "mysql" {
                    Flavor::Mysql
                } else {
                    Flavor::MariaDb
                };
                mode = LexMode::new(flavor, version.parse().unwrap());
            } else if let Some(bits) = line.strip_prefix("mode: ") {
                mode.ansi_quotes = bits.contains("ansi_quotes");
                mode.no_backslash_escapes = bits.contains("no_backslash_escapes");
            } else if let Some(statement) = line.splitn(3, " | ").nth(2).filter(|_| !line.starts_with('#')) {
                statements.push((mode, statement.to_owned()));
            }
        }
    }
    statements
}

/// The statement with something insignificant between tokens, where that does not make other tokens of them; `None` if it has parts in which every byte
/// counts.
fn spread(statement: &str, mode: LexMode, fillers: &[&str]) -> Option<String> {
    let text = statement.as_bytes();
    let mut spread = String::new();
    let mut filler = fillers.iter().cycle();
    let mut before: Option<TokenKind> = None;
    for token in Lexer::new(text, mode) {
        let kind = token.kind;
        let is_executable = matches!(kind, TokenKind::ExecutableOpen | TokenKind::ExecutableClose);
        if is_executable || kind == TokenKind::Unterminated {
            return None;
        }
        // A name and its parenthesis, the parts of a qualified name and of a comparison, a number and what is glued to it: here blanks matter.
        let may_stay_apart = match (before, kind) {
            (_, TokenKind::Whitespace | TokenKind::Comment) | (None, _) => false,
            (Some(TokenKind::Word), TokenKind::Punctuation(b'(')) => false,
            (Some(TokenKind::Number), TokenKind::Word) => false,
            (Some(TokenKind::Punctuation(a)), TokenKind::Punctuation(b)) => {
                matches!(a, b',' | b'(' | b')') || matches!(b, b',' | b'(' | b')')
            }
            (Some(TokenKind::Punctuation(b'-')), _) => false,
            (Some(TokenKind::Punctuation(b'.')), _) | (_, TokenKind::Punctuation(b'.')) => false,
            (_, TokenKind::UserVariable) => false,
            _ => true,
        };
        if may_stay_apart {
            spread.push_str(filler.next()?);
        }
        spread.push_str(&statement[token.range]);
        before = Some(kind);
    }
    Some(spread)
}

#[test]
fn comments_and_white_space_change_neither_class_nor_digest() {
    let analyser = Analyser::new(10_000);
    let mut count = 0;
    for (mode, statement) in statements() {
        let fillers = [" ", "/* x */", "\n", "/**/", " -- y\n", "\t", "# z ' \n"];
        let Some(spread) = spread(&statement, mode, &fillers) else {
            continue;
        };
        count += 1;
        let plain = analyser.analyse(statement.as_bytes(), mode);
        let apart = analyser.analyse(spread.as_bytes(), mode);
        assert_eq!(plain.digest, apart.digest, "{statement}\n{spread}");
        assert_eq!(plain.class, apart.class, "{statement}\n{spread}");
        assert_eq!(
            (&plain.tables, &plain.written, plain.flags),
            (&apart.tables, &apart.written, apart.flags),
            "{spread}"
        );
    }
    assert!(count > 400, "{count}");
}

#[test]
fn a_cached_analysis_is_that_of_the_text() {
    let shared = Analyser::new(10_000);
    for (mode, statement) in statements() {
        let alone = Analyser::new(1).analyse(statement.as_bytes(), mode);
        assert_eq!(shared.analyse(statement.as_bytes(), mode), alone, "{statement}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn tokens_tile_the_text(text in texts(), mode in modes()) {
        let mut end = 0;
        for token in Lexer::new(&text, mode) {
            prop_assert_eq!(token.range.start, end);
            prop_assert!(token.range.end > end);
            end = token.range.end;
        }
        prop_assert_eq!(end, text.len());
    }

    #[test]
    fn nothing_panics_and_the_second_answer_is_the_first(text in texts(), mode in modes()) {
        let analyser = Analyser::new(8);
        let first = analyser.analyse(&text, mode);
        prop_assert_eq!(analyser.analyse(&text, mode), first.clone());
        for item in &first.set {
            prop_assert!(text.get(item.text.clone()).is_some() && text.get(item.value.clone()).is_some());
        }
        if let Some(range) = &first.prepared_text {
            prop_assert!(text.get(range.clone()).is_some());
        }
    }

    /// Two texts of one shape have one analysis, so that of a shape that was seen before is that of the text itself.
    #[test]
    fn texts_of_one_shape_have_one_analysis(text in texts(), mode in modes(), seed in any::<u64>()) {
        let twin = with_other_literals(&text, mode, seed);
        let (of_text, of_twin) = (Analyser::new(8).analyse(&text, mode), Analyser::new(8).analyse(&twin, mode));
        if of_text.digest == of_twin.digest && of_text.set.is_empty() && of_text.kill.is_none() && of_text.prepared_text.is_none() {
            prop_assert_eq!(of_text, of_twin, "{}", String::from_utf8_lossy(&twin));
        }
    }

    #[test]
    fn pieces_stay_whole(text in texts(), mode in modes()) {
        let mut end = 0;
        for piece in split(&text, mode) {
            prop_assert!(piece.start >= end);
            end = piece.end;
            let piece = &text[piece];
            let again = split(piece, mode);
            let is_whole = again.len() == 1 && again[0] == (0..piece.len());
            prop_assert!(again.is_empty() || is_whole, "{}", String::from_utf8_lossy(piece));
        }
    }
}

/// The text with literals of other kinds and, in lists, in other numbers.
fn with_other_literals(text: &[u8], mode: LexMode, mut seed: u64) -> Vec<u8> {
    let literals: [&[u8]; 5] = [b"7", b"'k'", b"NULL", b"1, 2", b"true"];
    let mut twin = Vec::new();
    for token in Lexer::new(text, mode) {
        if matches!(token.kind, TokenKind::String | TokenKind::Number) {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            twin.extend_from_slice(literals[(seed >> 33) as usize % literals.len()]);
        } else {
            twin.extend_from_slice(&text[token.range]);
        }
    }
    twin
}
