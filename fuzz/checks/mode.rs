//! The lexical mode of an input: its first two bytes; the rest is the text.

use grove_sql::{ClientCharset, Flavor, LexMode};

/// Cuts an input into its mode and its text.
pub fn mode_and_text(input: &[u8]) -> Option<(LexMode, &[u8])> {
    let (&[server, charset], text) = input.split_first_chunk::<2>()?;
    let (flavor, version) = match server & 7 {
        0 => (Flavor::Mysql, 50_624),
        1 => (Flavor::Mysql, 50_744),
        2 => (Flavor::Mysql, 80_036),
        3 => (Flavor::Mysql, 80_405),
        4 => (Flavor::Mysql, 90_704),
        5 => (Flavor::MariaDb, 100_523),
        6 => (Flavor::MariaDb, 101_119),
        _ => (Flavor::MariaDb, 110_806),
    };
    let charsets = ["utf8mb4", "latin1", "cp866", "gbk", "sjis", "big5", "gb18030", "cp932"];
    let mode = LexMode {
        flavor,
        version,
        ansi_quotes: server & 8 != 0,
        no_backslash_escapes: server & 16 != 0,
        charset: ClientCharset::from_name(charsets[usize::from(charset) % charsets.len()].as_bytes()),
    };
    Some((mode, text))
}
