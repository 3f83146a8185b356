//! Authentication plugins: `mysql_native_password`, `caching_sha2_password` and `client_ed25519`, as functions of password and challenge;
//! `mysql_clear_password` by its name, because its answer is the password with a NUL behind it.
//!
//! Sources: MySQL Internals "Secure Password Authentication" and "Caching SHA-2 pluggable authentication"; MariaDB "Authentication Plugin - ed25519". RSA
//! is the caller's.

use ed25519_dalek::hazmat::{ExpandedSecretKey, raw_sign};
use ed25519_dalek::{Signature, VerifyingKey};
use sha1::{Digest, Sha1};
use sha2::{Sha256, Sha512};

/// Name of the old default plugin.
pub const NATIVE_PASSWORD: &str = "mysql_native_password";
/// Name of MySQL 8's default plugin.
pub const CACHING_SHA2_PASSWORD: &str = "caching_sha2_password";

/// Name of the plugin that sends the password itself.
pub const CLEAR_PASSWORD: &str = "mysql_clear_password";

/// Name of MariaDB's plugin with signatures.
pub const ED25519: &str = "client_ed25519";
/// Length of its challenge, in bytes; no NUL follows it.
pub const ED25519_CHALLENGE_LEN: usize = 32;

/// First byte of an AuthMoreData packet.
pub const AUTH_MORE_DATA: u8 = 0x01;
/// caching_sha2: the client asks for the server's public key.
pub const REQUEST_PUBLIC_KEY: u8 = 0x02;
/// caching_sha2: the fast path succeeded; OK follows.
pub const FAST_AUTH_OK: u8 = 0x03;
/// caching_sha2: the server wants the password itself.
pub const PERFORM_FULL_AUTH: u8 = 0x04;

/// The answer of `mysql_native_password`: SHA1(password) XOR SHA1(challenge, SHA1(SHA1(password))). Empty for an empty password.
pub fn native_password(password: &[u8], challenge: &[u8]) -> Vec<u8> {
    if password.is_empty() {
        return Vec::new();
    }
    let once = Sha1::digest(password);
    let twice = Sha1::digest(once);
    let mask = Sha1::new().chain_update(challenge).chain_update(twice).finalize();
    once.iter().zip(mask).map(|(a, b)| a ^ b).collect()
}

/// The answer of `caching_sha2_password`: SHA256(password) XOR SHA256(SHA256(SHA256(password)), challenge). Empty for an empty password.
pub fn caching_sha2_password(password: &[u8], challenge: &[u8]) -> Vec<u8> {
    if password.is_empty() {
        return Vec::new();
    }
    let once = Sha256::digest(password);
    let twice = Sha256::digest(once);
    let mask = Sha256::new().chain_update(twice).chain_update(challenge).finalize();
    once.iter().zip(mask).map(|(a, b)| a ^ b).collect()
}

/// The answer of `client_ed25519`: the challenge, signed with the key that SHA512(password) is expanded to (RFC 8032 hashes a seed of 32 bytes instead).
pub fn ed25519(password: &[u8], challenge: &[u8]) -> Vec<u8> {
    let secret = ed25519_secret(password);
    raw_sign::<Sha512>(&secret, challenge, &VerifyingKey::from(&secret))
        .to_bytes()
        .to_vec()
}

/// Whether `response` is the answer of `client_ed25519` to `challenge`.
pub fn is_ed25519(password: &[u8], challenge: &[u8], response: &[u8]) -> bool {
    let key = VerifyingKey::from(&ed25519_secret(password));
    Signature::from_slice(response).is_ok_and(|signature| key.verify_strict(challenge, &signature).is_ok())
}

fn ed25519_secret(password: &[u8]) -> ExpandedSecretKey {
    ExpandedSecretKey::from_bytes(&Sha512::digest(password).into())
}

/// The answer of the named plugin, if it is known.
pub fn answer(plugin: &[u8], password: &[u8], challenge: &[u8]) -> Option<Vec<u8>> {
    match plugin {
        b"" | b"mysql_native_password" => Some(native_password(password, challenge)),
        b"caching_sha2_password" => Some(caching_sha2_password(password, challenge)),
        b"client_ed25519" => Some(ed25519(password, challenge)),
        _ => None,
    }
}

/// The password with its NUL, masked with the challenge, as the full path of caching_sha2 encrypts it.
pub fn mask_password(password: &[u8], challenge: &[u8]) -> Vec<u8> {
    let terminated = password.iter().chain(&[0]);
    terminated.zip(challenge.iter().cycle()).map(|(a, b)| a ^ b).collect()
}

/// Equality that takes the same time wherever the difference is.
pub fn equal(left: &[u8], right: &[u8]) -> bool {
    left.len() == right.len()
        && left
            .iter()
            .zip(right)
            .fold(0, |difference, (a, b)| difference | (a ^ b))
            == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_side_check_of_native_password_accepts_the_answer() {
        let (password, challenge) = (b"secret", b"abcdefghijklmnopqrst");
        let stored = Sha1::digest(Sha1::digest(password));
        let mask = Sha1::new().chain_update(challenge).chain_update(stored).finalize();
        let once: Vec<u8> = native_password(password, challenge)
            .iter()
            .zip(mask)
            .map(|(a, b)| a ^ b)
            .collect();
        assert_eq!(Sha1::digest(once), stored);
        assert!(native_password(b"", challenge).is_empty());
    }

    #[test]
    fn the_server_side_check_of_caching_sha2_accepts_the_answer() {
        let (password, challenge) = (b"secret", b"abcdefghijklmnopqrst");
        let stored = Sha256::digest(Sha256::digest(password));
        let mask = Sha256::new().chain_update(stored).chain_update(challenge).finalize();
        let once: Vec<u8> = caching_sha2_password(password, challenge)
            .iter()
            .zip(mask)
            .map(|(a, b)| a ^ b)
            .collect();
        assert_eq!(Sha256::digest(once), stored);
    }

    #[test]
    fn a_signature_is_checked_with_its_password_and_challenge() {
        let challenge = [7; ED25519_CHALLENGE_LEN];
        let signature = ed25519(b"secret", &challenge);
        assert!(is_ed25519(b"secret", &challenge, &signature));
        assert!(!is_ed25519(b"secrets", &challenge, &signature));
        assert!(!is_ed25519(b"secret", &[8; ED25519_CHALLENGE_LEN], &signature));
        assert!(!is_ed25519(b"secret", &challenge, &signature[1..]));
        assert!(is_ed25519(b"", &challenge, &ed25519(b"", &challenge)));
    }

    #[test]
    fn masking_twice_gives_the_password_with_its_nul() {
        let challenge = b"abcdefghijklmnopqrst";
        let masked = mask_password(b"secret", challenge);
        let back: Vec<u8> = masked
            .iter()
            .zip(challenge.iter().cycle())
            .map(|(a, b)| a ^ b)
            .collect();
        assert_eq!(back, b"secret\0");
    }
}
