//! The RSA key with which clients encrypt a password on a connection without TLS (full authentication of caching_sha2_password).
//!
//! Made at start, like the servers' automatic `private_key.pem`, and kept in memory only.

use crate::error::FrontendError;
use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rsa::{KeySize, OAEP_SHA1_MGF1SHA1, OaepPrivateDecryptingKey, PrivateDecryptingKey};

/// The key.
pub(crate) struct PasswordKey {
    private: OaepPrivateDecryptingKey,
    public_pem: Vec<u8>,
}

impl PasswordKey {
    pub fn generate() -> Result<Self, FrontendError> {
        Self::try_generate().map_err(|_| FrontendError::Cryptography("an RSA key"))
    }

    fn try_generate() -> Result<Self, aws_lc_rs::error::Unspecified> {
        let private = PrivateDecryptingKey::generate(KeySize::Rsa2048)?;
        let der: PublicKeyX509Der<'_> = private.public_key().as_der()?;
        Ok(Self {
            public_pem: pem("PUBLIC KEY", der.as_ref()).into_bytes(),
            private: OaepPrivateDecryptingKey::new(private)?,
        })
    }

    /// What a client is given that asks for the key.
    pub fn public_pem(&self) -> &[u8] {
        &self.public_pem
    }

    /// The password that a client encrypted, without its NUL; `None` if it was not encrypted with this key.
    pub fn decrypt(&self, encrypted: &[u8], challenge: &[u8]) -> Option<Vec<u8>> {
        let mut plain = vec![0; self.private.min_output_size()];
        let masked = self
            .private
            .decrypt(&OAEP_SHA1_MGF1SHA1, encrypted, &mut plain, None)
            .ok()?;
        let mut password: Vec<u8> = masked
            .iter()
            .zip(challenge.iter().cycle())
            .map(|(byte, mask)| byte ^ mask)
            .collect();
        (password.pop() == Some(0)).then_some(password)
    }
}

/// PEM with lines of 64 characters (RFC 7468).
fn pem(label: &str, der: &[u8]) -> String {
    let encoded = base64(der);
    let mut text = format!("-----BEGIN {label}-----\n");
    for line in encoded.as_bytes().chunks(64) {
        text.extend(line.iter().map(|&byte| char::from(byte)));
        text.push('\n');
    }
    text + "-----END " + label + "-----\n"
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let value = (0..3).fold(0_usize, |value, at| {
            value << 8 | usize::from(group.get(at).copied().unwrap_or(0))
        });
        for at in 0..4 {
            let is_padding = at > group.len();
            let symbol = ALPHABET[value >> (18 - 6 * at) & 63];
            text.push(if is_padding { '=' } else { char::from(symbol) });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::rsa::{OaepPublicEncryptingKey, PublicEncryptingKey};
    use rustls::pki_types::SubjectPublicKeyInfoDer;
    use rustls::pki_types::pem::PemObject;

    #[test]
    fn base64_is_the_one_of_rfc_4648() {
        for (plain, encoded) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(plain.as_bytes()), encoded);
        }
    }

    #[test]
    fn a_password_encrypted_with_the_pem_comes_back() {
        let key = PasswordKey::generate().unwrap();
        let der = SubjectPublicKeyInfoDer::from_pem_slice(key.public_pem()).unwrap();
        let public = OaepPublicEncryptingKey::new(PublicEncryptingKey::from_der(&der).unwrap()).unwrap();
        let challenge = *b"abcdefghijklmnopqrst";
        let masked = grove_wire::auth::mask_password(b"secret", &challenge);
        let mut encrypted = vec![0; public.ciphertext_size()];
        let encrypted = public
            .encrypt(&OAEP_SHA1_MGF1SHA1, &masked, &mut encrypted, None)
            .unwrap();
        assert_eq!(key.decrypt(encrypted, &challenge).unwrap(), b"secret");
        assert_eq!(key.decrypt(b"not a ciphertext", &challenge), None);
    }
}
