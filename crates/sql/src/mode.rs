//! What decides how bytes become tokens: the server's flavor and version, two sql_mode bits and the client's charset.

/// Which of the two server families reads the statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Flavor {
    /// MySQL by Oracle and its patched builds (Percona Server).
    Mysql,
    /// MariaDB Server.
    MariaDb,
}

/// The session's `character_set_client`, as far as the lexer needs to tell them apart.
///
/// Only charsets whose trailing bytes may be ASCII need their own value: there `0x5C` or `0x60` may be the second half of
/// a character and must neither escape nor end anything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ClientCharset {
    /// UTF-8, the multi-byte charsets whose trailing bytes are never a quote or a backslash, and single-byte charsets without blanks of their own.
    #[default]
    AsciiCompatible,
    /// A single-byte charset in which one more byte counts as white space: the no-break space, 0xA0 or 0xFF.
    Blank(u8),
    /// `gbk`: lead 0x81-0xFE, trail 0x40-0x7E or 0x80-0xFE.
    Gbk,
    /// `sjis`: lead 0x81-0x9F or 0xE0-0xFC, trail 0x40-0x7E or 0x80-0xFC.
    Sjis,
    /// `big5`: lead 0xA1-0xF9, trail 0x40-0x7E or 0xA1-0xFE.
    Big5,
    /// `gb18030`: like `gbk`, and four-byte characters whose second and fourth bytes are digits.
    Gb18030,
    /// `cp932`: the same byte ranges as `sjis`.
    Cp932,
}

/// Charsets whose no-break space is white space for the servers' lexers; found by trying all of them on MySQL 9.7 and MariaDB 10.11.
const NO_BREAK_SPACE_A0: [&str; 10] = [
    "latin1", "latin2", "latin5", "latin7", "greek", "hebrew", "cp1250", "dec8", "armscii8", "geostd8",
];
const NO_BREAK_SPACE_FF: [&str; 3] = ["cp852", "cp866", "keybcs2"];

impl ClientCharset {
    /// The value for a MySQL charset name such as `utf8mb4` or `gbk`.
    pub fn from_name(name: &[u8]) -> Self {
        let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
        if is("gbk") {
            Self::Gbk
        } else if is("sjis") {
            Self::Sjis
        } else if is("big5") {
            Self::Big5
        } else if is("gb18030") {
            Self::Gb18030
        } else if is("cp932") {
            Self::Cp932
        } else if NO_BREAK_SPACE_A0.iter().any(|name| is(name)) {
            Self::Blank(0xA0)
        } else if NO_BREAK_SPACE_FF.iter().any(|name| is(name)) {
            Self::Blank(0xFF)
        } else {
            Self::AsciiCompatible
        }
    }

    /// The value for a collation id, as a client sends it when it connects. MariaDB's NOPAD collations have ids from 1024.
    pub fn from_collation(id: u16) -> Self {
        match id {
            1 | 84 | 1025 | 1108 => Self::Big5,
            13 | 88 | 1037 | 1112 => Self::Sjis,
            28 | 87 | 1052 | 1111 => Self::Gbk,
            95 | 96 | 1119 | 1120 => Self::Cp932,
            248..=250 => Self::Gb18030,
            // latin1, latin2, latin5, latin7
            5 | 8 | 15 | 31 | 47 | 48 | 49 | 94 | 1032 | 1071 => Self::Blank(0xA0),
            2 | 9 | 21 | 27 | 77 | 1033 | 1101 | 30 | 78 | 1054 | 1102 => Self::Blank(0xA0),
            20 | 41 | 42 | 79 | 1065 | 1103 => Self::Blank(0xA0),
            // greek, hebrew, cp1250
            25 | 70 | 1049 | 1094 | 16 | 71 | 1040 | 1095 => Self::Blank(0xA0),
            26 | 34 | 44 | 66 | 99 | 1050 | 1090 => Self::Blank(0xA0),
            // dec8, armscii8, geostd8
            3 | 69 | 1027 | 1093 | 32 | 64 | 1056 | 1088 | 92 | 93 | 1116 | 1117 => Self::Blank(0xA0),
            // cp866, keybcs2, cp852
            36 | 68 | 1060 | 1092 | 37 | 73 | 1061 | 1097 | 40 | 81 | 1064 | 1105 => Self::Blank(0xFF),
            _ => Self::AsciiCompatible,
        }
    }

    /// A number for each value, for hashing.
    pub(crate) fn number(self) -> u64 {
        match self {
            Self::AsciiCompatible => 0,
            Self::Gbk => 1,
            Self::Sjis => 2,
            Self::Big5 => 3,
            Self::Gb18030 => 4,
            Self::Cp932 => 5,
            Self::Blank(byte) => 0x100 | u64::from(byte),
        }
    }

    /// The byte besides the ASCII ones that counts as white space.
    pub(crate) fn blank(self) -> Option<u8> {
        match self {
            Self::Blank(byte) => Some(byte),
            _ => None,
        }
    }

    /// Whether some character has more than one byte, the second of which can be mistaken for something else.
    pub(crate) fn is_multi_byte(self) -> bool {
        !matches!(self, Self::AsciiCompatible | Self::Blank(_))
    }

    /// Length of the multi-byte character at the start of `bytes`, or 1 when there is none. A lead byte without a valid
    /// trail is one byte, as it is for the servers: `0xBF 0x27` in gbk ends a string.
    pub(crate) fn character_len(self, bytes: &[u8]) -> usize {
        let (Some(&lead), Some(&trail)) = (bytes.first(), bytes.get(1)) else {
            return 1;
        };
        let pair = match self {
            Self::AsciiCompatible | Self::Blank(_) => false,
            Self::Gbk => (0x81..=0xFE).contains(&lead) && matches!(trail, 0x40..=0x7E | 0x80..=0xFE),
            Self::Gb18030 => {
                if (0x81..=0xFE).contains(&lead)
                    && trail.is_ascii_digit()
                    && matches!(bytes.get(2), Some(0x81..=0xFE))
                    && matches!(bytes.get(3), Some(b'0'..=b'9'))
                {
                    return 4;
                }
                (0x81..=0xFE).contains(&lead) && matches!(trail, 0x40..=0x7E | 0x80..=0xFE)
            }
            Self::Sjis | Self::Cp932 => {
                matches!(lead, 0x81..=0x9F | 0xE0..=0xFC) && matches!(trail, 0x40..=0x7E | 0x80..=0xFC)
            }
            Self::Big5 => (0xA1..=0xF9).contains(&lead) && matches!(trail, 0x40..=0x7E | 0xA1..=0xFE),
        };
        if pair { 2 } else { 1 }
    }
}

/// How a session's statements are to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LexMode {
    /// MySQL or MariaDB.
    pub flavor: Flavor,
    /// The server's version as its executable comments count it: 101119 for 10.11.19, 90704 for 9.7.4.
    pub version: u32,
    /// `sql_mode` contains `ANSI_QUOTES`: `"x"` is a name.
    pub ansi_quotes: bool,
    /// `sql_mode` contains `NO_BACKSLASH_ESCAPES`: a backslash in a string is an ordinary character.
    pub no_backslash_escapes: bool,
    /// The charset in which the client writes.
    pub charset: ClientCharset,
}

impl LexMode {
    /// The mode of a server with default `sql_mode` and a client that writes UTF-8.
    pub fn new(flavor: Flavor, version: u32) -> Self {
        Self {
            flavor,
            version,
            ansi_quotes: false,
            no_backslash_escapes: false,
            charset: ClientCharset::AsciiCompatible,
        }
    }

    /// The mode of a server that greets with this version and has this `@@sql_mode`, and of a client that writes UTF-8.
    pub fn of_server(version: &str, sql_mode: &str) -> Self {
        let has = |mode: &str| {
            let mut words = sql_mode.split(',');
            words.any(|word| word.trim().eq_ignore_ascii_case(mode))
        };
        let flavor = match version.contains("MariaDB") {
            true => Flavor::MariaDb,
            false => Flavor::Mysql,
        };
        Self {
            ansi_quotes: has("ANSI_QUOTES"),
            no_backslash_escapes: has("NO_BACKSLASH_ESCAPES"),
            ..Self::new(flavor, version_number(version))
        }
    }
}

/// 101119 for `5.5.5-10.11.19-MariaDB`: MariaDB before 11 puts 5.5.5 in front for old replicas.
fn version_number(version: &str) -> u32 {
    let version = version.strip_prefix("5.5.5-").unwrap_or(version);
    let mut parts = version.split(|c: char| !c.is_ascii_digit());
    let mut part = || {
        parts
            .next()
            .and_then(|part| part.parse::<u32>().ok())
            .unwrap_or(0)
            .min(99)
    };
    part() * 10_000 + part() * 100 + part()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_executable_comments_count_them() {
        for (text, number) in [
            ("5.5.5-10.11.19-MariaDB-0+deb12u1", 101_119),
            ("11.4.2-MariaDB", 110_402),
            ("9.7.4", 90_704),
            ("8.0.36-28.1 Percona", 80_036),
            ("", 0),
        ] {
            assert_eq!(version_number(text), number, "{text}");
        }
    }
}
