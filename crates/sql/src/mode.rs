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
    /// Single-byte charsets, UTF-8 and the multi-byte charsets whose trailing bytes are never ASCII.
    #[default]
    AsciiCompatible,
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
        } else {
            Self::AsciiCompatible
        }
    }

    /// Length of the multi-byte character at the start of `bytes`, or 1 when there is none. A lead byte without a valid
    /// trail is one byte, as it is for the servers: `0xBF 0x27` in gbk ends a string.
    pub(crate) fn character_len(self, bytes: &[u8]) -> usize {
        let (Some(&lead), Some(&trail)) = (bytes.first(), bytes.get(1)) else {
            return 1;
        };
        let pair = match self {
            Self::AsciiCompatible => false,
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
}
