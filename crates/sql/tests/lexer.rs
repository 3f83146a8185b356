//! How bytes become tokens. What stands here was tried on MySQL 5.6, MySQL 9.7 and MariaDB 10.11; the comments say where they differ.

use grove_sql::{ClientCharset, Flavor, LexMode, Lexer, TokenKind, split};

const MYSQL: fn() -> LexMode = || LexMode::new(Flavor::Mysql, 90_704);
const OLD_MYSQL: fn() -> LexMode = || LexMode::new(Flavor::Mysql, 50_744);
const MARIADB: fn() -> LexMode = || LexMode::new(Flavor::MariaDb, 101_119);

fn with_charset(charset: ClientCharset) -> LexMode {
    LexMode { charset, ..MARIADB() }
}

/// The significant tokens as one line: `w` word, `q` quoted name, `s` string, `n` number, `u` and `v` user and system variable, punctuation as it is.
fn kinds(text: &[u8], mode: LexMode) -> String {
    let tokens = Lexer::new(text, mode);
    let short = tokens.filter_map(|token| match token.kind {
        TokenKind::Whitespace | TokenKind::Comment => None,
        TokenKind::ExecutableOpen => Some('<'),
        TokenKind::ExecutableClose => Some('>'),
        TokenKind::Word => Some('w'),
        TokenKind::QuotedName => Some('q'),
        TokenKind::String => Some('s'),
        TokenKind::Number => Some('n'),
        TokenKind::UserVariable => Some('u'),
        TokenKind::SystemVariable => Some('v'),
        TokenKind::Placeholder => Some('?'),
        TokenKind::Assign => Some('='),
        TokenKind::Punctuation(byte) => Some(byte as char),
        TokenKind::Unterminated => Some('!'),
    });
    short.collect()
}

#[track_caller]
fn check(text: &[u8], mode: LexMode, expected: &str) {
    assert_eq!(kinds(text, mode), expected, "{}", String::from_utf8_lossy(text));
}

#[test]
fn names_and_numbers() {
    for mode in [MYSQL(), MARIADB()] {
        check(b"SELECT a1, _b, $c, d$e, 5f, \xC3\xA9t\xC3\xA9", mode, "ww,w,w,w,w,w");
        check(b"1 1.5 .5 1. 1e5 1E+5 1.5e-3 0x1F 0b01", mode, "nnnnnnnnn");
        // The base is written in lower case, else it is a name; so is what does not end as a number.
        check(b"0X1F 0B1 0x 0b2 0x1G 1e 5f", mode, "wwwwwww");
        check(b"1e1x 1.5a", mode, "nwnw");
        check(b"t.5a t.a.5 t .5", mode, "w.ww.w.wwn");
        check(b"`t`.5", mode, "q.w");
        check(b"t.select x.1e5", mode, "w.ww.w");
    }
}

#[test]
fn strings_end_where_the_servers_end_them() {
    for mode in [MYSQL(), MARIADB()] {
        check(b"'a''b' 'c\\'d' \"e\"\"f\" \"g\\\"h\" 'i\"j'", mode, "sssss");
        check(b"n'a' N'b' x'41' X'41' b'01' B'01' _utf8'c'", mode, "ssssssws");
        // Between the quotes of a hexadecimal string nothing escapes.
        check(b"x'4\\' ,", mode, "s,");
        check(b"'\\\\' ,", mode, "s,");
        check(b"'a\0b' ,", mode, "s,");
    }
    let no_escapes = LexMode {
        no_backslash_escapes: true,
        ..MARIADB()
    };
    check(b"'a\\' , \"b\\\" ,", no_escapes, "s,s,");
    let ansi = LexMode {
        ansi_quotes: true,
        ..MARIADB()
    };
    check(b"\"a\" \"b\"\"c\" \"d\\\" 'e' @\"f\\\"", ansi, "qqqsu");
}

#[test]
fn quoted_names_know_no_escapes() {
    check(b"`a` `b``c` `d\\` `e'`", MARIADB(), "qqqq");
}

#[test]
fn variables() {
    for mode in [MYSQL(), MARIADB()] {
        check(b"@a @a.b @$c @`d e` @'f' @\"g\" @_1", mode, "uuuuuuu");
        check(b"@@a @@global.b @@`c` @@session.`d` @@e.f", mode, "vvvvv");
        check(b"@a:=1 @ a 'u'@'h' u@h", mode, "u=n@wsuwu");
        check(b"@@ a", mode, "vw");
    }
}

#[test]
fn two_dashes_begin_a_comment_only_before_a_blank_or_a_control_character() {
    for mode in [MYSQL(), MARIADB()] {
        check(b"1 -- 2\n, 3", mode, "n,n");
        check(b"1 --2", mode, "n--n");
        check(b"1 --", mode, "n");
        check(b"1 --\t2", mode, "n");
        check(b"1 --\x012", mode, "n");
        check(b"1 --\x7F2", mode, "n");
        check(b"1 --\n2", mode, "nn");
        check(b"1 # 2\n3", mode, "nn");
        check(b"a-- b\nc", mode, "ww");
    }
}

#[test]
fn comments_do_not_nest_but_in_a_skipped_version() {
    for mode in [MYSQL(), MARIADB()] {
        check(b"1 /* /* */ 2 */ 3", mode, "nn*/n");
        check(b"1 /*/ 2 */ 3", mode, "nn");
        check(b"1 /**/ 2 /***/ 3", mode, "nnn");
        check(b"1 /*!999999 /* */ 2 */ 3", mode, "nn");
        // A comment in an executable one ends for itself; an executable one does not nest.
        check(b"/*! 1 /* x */ 2 */ 3", mode, "<nn>n");
        check(b"/*! 1 /*! 2 */ 3 */", mode, "<n<n>n*/");
        check(b"/*! 1 # */\n 2 */", mode, "<nn>");
    }
}

#[test]
fn executable_comments_by_version() {
    // Fewer than five digits are no version.
    for mode in [MYSQL(), MARIADB(), OLD_MYSQL()] {
        check(b"/*!5 , */ 6", mode, "<n,>n");
        check(b"/*!1234*/", mode, "<n>");
        check(b"/*! a */", mode, "<w>");
        check(b"/*!40101 a*/", mode, "<w>");
        check(b"/*!40101a*/", mode, "<w>");
        check(b"/*!99999 a */", mode, "");
    }
    check(b"/*!90704 a */ /*!90705 b */", MYSQL(), "<w>");
    check(b"/*!101119 a */ /*!101120 b */", MARIADB(), "<w>");
    // MariaDB leaves alone what is for MySQL 5.7 to 9.x.
    check(
        b"/*!50699 a */ /*!50700 b */ /*!80000 c */ /*!99999 d */ /*!100000 e */",
        MARIADB(),
        "<w><w>",
    );
    check(
        b"/*M! a */ /*M!100100 b */ /*M!101120 c */ /*M!50700 d */",
        MARIADB(),
        "<w><w><w>",
    );
    check(b"/*M! a */ /*M!100100 b */", MYSQL(), "");
    // Six digits: always a version in MariaDB; in MySQL from 8.1 on, if a blank follows; five of them before.
    check(b"/*!090704 a */ /*!090705 b */", MYSQL(), "<w>");
    check(b"/*!0907041*/", MYSQL(), "<n>");
    check(b"/*!101119 a */", MYSQL(), "");
    check(b"/*!101119 a */", OLD_MYSQL(), "<nw>");
}

#[test]
fn dollar_quotes_are_strings_in_new_versions_of_mysql() {
    check(b"$$'$$ , $tag$ '; $$ $tag$ , $a b$c", MYSQL(), "s,s,ww");
    check(b"$$ '", MYSQL(), "!");
    check(b"$$ $a$ , t.$b$", MARIADB(), "ww,w.w");
    check(b"$$ $a$", OLD_MYSQL(), "ww");
    // In the releases in between it is not known.
    check(b"$$ a", LexMode::new(Flavor::Mysql, 80_100), "!");
}

#[test]
fn what_does_not_end_runs_to_the_end() {
    for text in [
        "'a",
        "\"a",
        "`a",
        "/* a",
        "/*!999999 a",
        "x'4",
        "n'a",
        "@'a",
        "@`a",
        "@@`a",
        "'a\\",
        "'a\\'",
        "`a``",
        "'a''",
    ] {
        let kinds = kinds(text.as_bytes(), MARIADB());
        assert!(kinds.ends_with('!'), "{text}: {kinds}");
    }
    let mut lexer = Lexer::new(b"/*! a", MARIADB());
    assert_eq!(lexer.by_ref().last().unwrap().kind, TokenKind::Word);
    assert!(lexer.in_executable_comment());
}

#[test]
fn the_second_byte_of_a_character_is_no_quote_and_no_backslash() {
    // 0x5C is a backslash, 0x60 a backtick, 0xBF 0x5C one character in gbk and gb18030.
    for charset in [ClientCharset::Gbk, ClientCharset::Gb18030] {
        check(b"'\xBF\\' ,", with_charset(charset), "s,");
        check(b"\"\xBF\\\" ,", with_charset(charset), "s,");
        check(b"`\xBF`, 2 -- ` ,", with_charset(charset), "q,");
        check(b"a\xBF\\ \xBF`b", with_charset(charset), "ww");
        // A lead byte without a trail is one byte.
        check(b"'\xBF' ,", with_charset(charset), "s,");
        // The byte that a backslash escapes may be a lead byte: it is still one byte.
        check(b"'\\\xBF\\' ,", with_charset(charset), "!");
    }
    check(b"'\x81\x30\x81\x30\\' ,", with_charset(ClientCharset::Gb18030), "!");
    check(b"'\x81\x30\\' ,", with_charset(ClientCharset::Gb18030), "!");
    check(b"'\x83\\' ,", with_charset(ClientCharset::Sjis), "s,");
    check(b"'\x83\\' ,", with_charset(ClientCharset::Cp932), "s,");
    // A half-width letter is one byte.
    check(b"'\xB1\\' ,", with_charset(ClientCharset::Sjis), "!");
    check(b"'\xA4\\' ,", with_charset(ClientCharset::Big5), "s,");
    check(b"'\x81\\' ,", with_charset(ClientCharset::Big5), "!");
    check(b"'\xBF\\' ,", MARIADB(), "!");
}

#[test]
fn a_variable_ends_at_a_backtick_even_if_that_is_the_second_byte_of_a_character() {
    let gbk = with_charset(ClientCharset::Gbk);
    check(b"@\xBF` 1 ` , 2", gbk, "uq,n");
    check(b"@@\xBF` 1 ` , 2", gbk, "vq,n");
}

#[test]
fn the_no_break_space_is_white_space_where_the_servers_say_so() {
    let latin1 = with_charset(ClientCharset::from_name(b"latin1"));
    check(b"FOR\xA0UPDATE", latin1, "ww");
    check(b"1 --\xA0 2", latin1, "n");
    check(b"@a\xA0b", latin1, "uw");
    check(b"FOR\xFFUPDATE", with_charset(ClientCharset::from_name(b"cp866")), "ww");
    check(b"FOR\xA0UPDATE", with_charset(ClientCharset::from_name(b"koi8r")), "w");
    check(b"a\xC3\xA0b", MARIADB(), "w");
    assert_eq!(ClientCharset::from_collation(8), ClientCharset::from_name(b"latin1"));
    assert_eq!(ClientCharset::from_collation(45), ClientCharset::AsciiCompatible);
    assert_eq!(ClientCharset::from_collation(28), ClientCharset::Gbk);
}

#[test]
fn texts_are_cut_at_their_semicolons() {
    let pieces = |sql: &str, mode| -> Vec<String> {
        let ranges = split(sql.as_bytes(), mode);
        ranges.into_iter().map(|range| sql[range].trim().to_owned()).collect()
    };
    for mode in [MYSQL(), MARIADB()] {
        assert_eq!(pieces("SELECT 1; SELECT 2;", mode), ["SELECT 1", "SELECT 2"]);
        assert_eq!(
            pieces("SELECT ';'; SELECT `;` -- ;\n; /* ; */", mode),
            ["SELECT ';'", "SELECT `;` -- ;"]
        );
        assert_eq!(
            pieces("BEGIN; DELETE FROM t; COMMIT", mode),
            ["BEGIN", "DELETE FROM t", "COMMIT"]
        );
        assert_eq!(pieces("", mode), Vec::<String>::new());
        assert_eq!(pieces(" ; ;; ", mode), Vec::<String>::new());
        assert_eq!(pieces(";SELECT 1", mode), ["", "SELECT 1"]);
        assert_eq!(pieces("/*!40000 SELECT 1; */ SELECT 2", mode).len(), 1);
        assert_eq!(pieces("CREATE TABLE t (a INT); SELECT 1", mode).len(), 2);
        assert_eq!(
            pieces("CREATE TABLESPACE event ADD DATAFILE 'x'; SELECT 1", mode).len(),
            2
        );
        assert_eq!(
            pieces("CREATE DEFINER=event@h VIEW v AS SELECT 1; SELECT 1", mode).len(),
            2
        );
        assert_eq!(
            pieces(
                "CREATE DEFINER=`a`@`b` PROCEDURE p() BEGIN SELECT 1; SELECT 2; END; SELECT 3",
                mode
            )
            .len(),
            1
        );
        assert_eq!(pieces("ALTER EVENT e DO BEGIN SELECT 1; END", mode).len(), 1);
        assert_eq!(
            pieces(
                "SELECT 1; CREATE TRIGGER g BEFORE INSERT ON t FOR EACH ROW BEGIN SET @a = 1; END",
                mode
            )
            .len(),
            2
        );
    }
    assert_eq!(pieces("BEGIN NOT ATOMIC SELECT 1; SELECT 2; END", MARIADB()).len(), 1);
    assert_eq!(pieces("IF 1 THEN SELECT 1; END IF", MARIADB()).len(), 1);
    assert_eq!(pieces("x: LOOP SELECT 1; END LOOP", MARIADB()).len(), 1);
    assert_eq!(
        pieces("SET STATEMENT a = 1 FOR BEGIN NOT ATOMIC SELECT 1; END", MARIADB()).len(),
        1
    );
    assert_eq!(pieces("SET STATEMENT a = 1 FOR SELECT 1; SELECT 2", MARIADB()).len(), 2);
}
