//! What the servers store of a password, and whether a password is the one.
//!
//! Sources: MySQL Internals "Secure Password Authentication" for `*` and 40 digits; Ulrich Drepper's "Unix crypt using SHA-256 and SHA-512"
//! for `$A$`, which MySQL uses with a salt of 20 bytes and with the rounds in thousands. Deliberately absent: making such values, and the
//! texts that they are written as.

use crate::auth::equal;
use sha1::Sha1;
use sha2::{Digest, Sha256};

/// Length of the salt of `caching_sha2_password`.
pub const SALT_LEN: usize = 20;
/// Length of the text that is the digest of `caching_sha2_password`.
pub const CRYPT_LEN: usize = 43;
/// MySQL takes no longer passwords; each byte costs time.
const PASSWORD_MAX_LEN: usize = 256;
/// The alphabet of crypt(3), which is not the one of RFC 4648.
const ALPHABET: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Whether `stored` is SHA1(SHA1(password)), as `mysql_native_password` stores it.
pub fn is_native(stored: &[u8; 20], password: &[u8]) -> bool {
    equal(&Sha1::digest(Sha1::digest(password)), stored)
}

/// Whether `stored` is the crypt of the password, as `caching_sha2_password` stores it. Takes milliseconds, on purpose.
pub fn is_caching_sha2(stored: &[u8; CRYPT_LEN], salt: &[u8; SALT_LEN], rounds: u32, password: &[u8]) -> bool {
    password.len() <= PASSWORD_MAX_LEN && equal(&sha256_crypt(password, salt, rounds), stored)
}

/// SHA-crypt with SHA-256. The names are those of its specification.
fn sha256_crypt(password: &[u8], salt: &[u8], rounds: u32) -> [u8; CRYPT_LEN] {
    let b = Sha256::new()
        .chain_update(password)
        .chain_update(salt)
        .chain_update(password)
        .finalize();
    let mut a = Sha256::new().chain_update(password).chain_update(salt);
    a.update(stretched(&b, password.len()));
    let mut length = password.len();
    while length > 0 {
        a.update(if length & 1 == 1 { &b[..] } else { password });
        length >>= 1;
    }
    let mut digest = a.finalize();
    let dp = repeated_digest(password, password.len());
    let p = stretched(&dp, password.len());
    let ds = repeated_digest(salt, 16 + usize::from(digest[0]));
    let s = stretched(&ds, salt.len());
    for round in 0..rounds {
        let mut c = Sha256::new();
        let is_odd = round % 2 == 1;
        c.update(if is_odd { &p[..] } else { &digest[..] });
        if round % 3 != 0 {
            c.update(&s);
        }
        if round % 7 != 0 {
            c.update(&p);
        }
        c.update(if is_odd { &digest[..] } else { &p[..] });
        digest = c.finalize();
    }
    as_text(&digest)
}

/// The digest of so many copies of the text.
fn repeated_digest(text: &[u8], times: usize) -> impl AsRef<[u8]> + std::ops::Deref<Target = [u8]> {
    let mut digest = Sha256::new();
    for _ in 0..times {
        digest.update(text);
    }
    digest.finalize()
}

/// The bytes over and over, up to that length.
fn stretched(bytes: &[u8], length: usize) -> Vec<u8> {
    bytes.iter().copied().cycle().take(length).collect()
}

/// Six bits a character, the lowest first, of groups of three bytes that are ten apart.
fn as_text(digest: &[u8]) -> [u8; CRYPT_LEN] {
    let mut text = [0; CRYPT_LEN];
    let group = |index: usize| {
        if index == 10 {
            return [0, digest[31], digest[30]];
        }
        // 0-10-20, 21-1-11, 12-22-2, 3-13-23, ...: each group's bytes are the next of each third, one place further.
        let thirds = [index, index + 10, index + 20];
        let turn = (3 - index % 3) % 3;
        [0, 1, 2].map(|place| digest[thirds[(place + turn) % 3]])
    };
    for (index, characters) in text.chunks_mut(4).enumerate() {
        let [high, middle, low] = group(index).map(usize::from);
        let bits = high << 16 | middle << 8 | low;
        for (place, character) in characters.iter_mut().enumerate() {
            *character = ALPHABET[bits >> (6 * place) & 63];
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crypts_are_those_of_openssl() {
        for (password, salt, rounds, expected) in [
            (
                "Hello world!",
                "saltstring",
                5000,
                "5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5",
            ),
            (
                "This is just a test",
                "toolongsaltstrin",
                5000,
                "Un/5jzAHMgOGZ5.mWJpuVolil07guHPvOW8mGRcvxa5",
            ),
            (
                "a very much longer text to encrypt.  This one even stretches over morethan one line.",
                "anotherlongsalts",
                1400,
                "Rx.j8H.h8HjEDGomFU8bDkXm3XIUnzyxf12oP84Bnq1",
            ),
        ] {
            let made = sha256_crypt(password.as_bytes(), salt.as_bytes(), rounds);
            assert_eq!(std::str::from_utf8(&made), Ok(expected), "{password}");
        }
    }

    /// Salt and digest of MySQL 9.7.4's `mysql.user`, made with its 10000 rounds.
    const STORED: [(&[u8], &[u8; SALT_LEN], &[u8; CRYPT_LEN]); 2] = [
        (
            b"app secret",
            b"bKe\x1CP'[Q%LHO,m[E2\x0B}C",
            b"hxej1CLhIQdGj6iu.rhF79.y5Mc1v8KxNZEGG3/WFQ7",
        ),
        (
            b"a much longer password than thirty-two bytes, with more",
            b"EMpN6]f\x0B\x01\x16i\x0FU;U6fyc ",
            b"nkVjA1YRy4qHkZx5yXxLxtzR4L1/aF4z3FZ/jOdxhB4",
        ),
    ];

    #[test]
    fn passwords_are_known_by_what_mysql_stores_of_them() {
        for (password, salt, stored) in STORED {
            assert!(is_caching_sha2(stored, salt, 10_000, password));
            assert!(!is_caching_sha2(stored, salt, 5000, password));
            assert!(!is_caching_sha2(stored, salt, 10_000, &password[1..]));
        }
        assert!(!is_caching_sha2(
            STORED[0].2,
            STORED[0].1,
            10_000,
            &[b'x'; PASSWORD_MAX_LEN + 1]
        ));
    }

    #[test]
    fn passwords_are_known_by_their_native_digest() {
        // SELECT PASSWORD('app secret') on MariaDB, without the star.
        let stored = [
            0xC5, 0x9F, 0xB3, 0x51, 0x16, 0xD8, 0x70, 0xD2, 0x98, 0xC2, 0xA2, 0x1D, 0x24, 0xF5, 0xD1, 0xBE, 0xE9, 0x93,
            0x48, 0x57,
        ];
        assert!(is_native(&stored, b"app secret"));
        assert!(!is_native(&stored, b"app secret "));
    }
}
