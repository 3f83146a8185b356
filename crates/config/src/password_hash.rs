//! What the servers store of a password, as text.
//!
//! `*` and 40 hexadecimal digits is `mysql_native_password`'s form, `$A$` that of `caching_sha2_password`: the rounds in thousands as three
//! hexadecimal digits, `$`, a salt of 20 bytes and a digest of 43. The salt may hold any byte, so the whole may be written as `0x` and
//! hexadecimal digits, as SHOW CREATE USER does with `print_identified_with_as_hex`. Deliberately absent: what a hash means.

use std::fmt;
use std::str::FromStr;

/// MySQL makes no fewer rounds, in thousands.
const ROUNDS_MIN: u32 = 5;

/// A stored password. It does not print itself: who has it can try passwords.
#[derive(Clone, PartialEq, Eq)]
pub enum PasswordHash {
    /// Of `mysql_native_password`.
    Native([u8; 20]),
    /// Of `caching_sha2_password`.
    CachingSha2 {
        /// How often the digest was made.
        rounds: u32,
        /// What the password was mixed with.
        salt: [u8; 20],
        /// The digest, as text.
        crypt: [u8; 43],
    },
}

/// The text has none of the two forms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no hash that the servers store")]
pub struct NotAHash;

impl FromStr for PasswordHash {
    type Err = NotAHash;

    fn from_str(text: &str) -> Result<Self, NotAHash> {
        if let Some(digits) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
            return Self::from_bytes(&bytes_of(digits).ok_or(NotAHash)?);
        }
        Self::from_bytes(text.as_bytes())
    }
}

impl PasswordHash {
    fn from_bytes(bytes: &[u8]) -> Result<Self, NotAHash> {
        if let Some(digits) = bytes.strip_prefix(b"*") {
            let digits = std::str::from_utf8(digits).map_err(|_| NotAHash)?;
            let digest = bytes_of(digits).ok_or(NotAHash)?;
            return digest.try_into().map(Self::Native).map_err(|_| NotAHash);
        }
        let rest = bytes.strip_prefix(b"$A$").ok_or(NotAHash)?;
        let (thousands, rest) = rest.split_first_chunk::<3>().ok_or(NotAHash)?;
        let rest = rest.strip_prefix(b"$").ok_or(NotAHash)?;
        let (salt, rest) = rest.split_first_chunk::<20>().ok_or(NotAHash)?;
        let crypt: [u8; 43] = rest.try_into().map_err(|_| NotAHash)?;
        let thousands = thousands.iter().try_fold(0, |value, &digit| {
            char::from(digit).to_digit(16).map(|digit| value * 16 + digit)
        });
        match thousands {
            Some(thousands) if thousands >= ROUNDS_MIN => Ok(Self::CachingSha2 {
                rounds: thousands * 1000,
                salt: *salt,
                crypt,
            }),
            _ => Err(NotAHash),
        }
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(redacted)")
    }
}

/// The bytes that hexadecimal digits stand for.
fn bytes_of(digits: &str) -> Option<Vec<u8>> {
    let values: Option<Vec<u32>> = digits.chars().map(|digit| digit.to_digit(16)).collect();
    let values = values.filter(|values| values.len().is_multiple_of(2))?;
    let byte = |pair: &[u32]| u8::try_from(pair[0] * 16 + pair[1]).ok();
    values.chunks(2).map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NATIVE: &str = "*C59FB35116D870D298C2A21D24F5D1BEE9934857";

    #[test]
    fn both_forms_are_read_as_text_and_in_hexadecimal_digits() {
        let Ok(PasswordHash::Native(digest)) = NATIVE.parse() else {
            panic!("the native form");
        };
        assert_eq!((digest[0], digest[19]), (0xC5, 0x57));
        assert!(NATIVE.to_lowercase().parse::<PasswordHash>().is_ok());
        let (salt, crypt) = ("s".repeat(20), "c".repeat(43));
        let text = format!("$A$00A${salt}{crypt}");
        let expected = PasswordHash::CachingSha2 {
            rounds: 10_000,
            salt: [b's'; 20],
            crypt: [b'c'; 43],
        };
        assert_eq!(text.parse(), Ok(expected.clone()));
        let digits: String = text.bytes().map(|byte| format!("{byte:02X}")).collect();
        assert_eq!(format!("0x{digits}").parse(), Ok(expected.clone()));
        assert_eq!(format!("{expected:?}"), "PasswordHash(redacted)");
    }

    #[test]
    fn what_is_no_hash_is_refused() {
        let tail = "x".repeat(63);
        for text in [
            "",
            "*",
            &NATIVE[..40],
            "*C59FB35116D870D298C2A21D24F5D1BEE993485X",
            "secret",
            "$A$005$",
            &format!("$A$005${tail}x"),
            &format!("$A$004${tail}"),
            &format!("$A$0-5${tail}"),
            &format!("$B$005${tail}"),
            "0x",
            "0x2A4",
        ] {
            assert_eq!(text.parse::<PasswordHash>(), Err(NotAHash), "{text}");
        }
    }
}
