//! Sealing private keys at rest: AES-256-GCM under the master key.

use crate::entropy::Entropy;
use crate::secret::Secret;
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Bytes of a GCM nonce.
const NONCE: usize = 12;

/// The key that seals the signing keys. Cannot be printed.
pub struct MasterKey(LessSafeKey);

/// What is wrong with a master key, or with something sealed under it.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The text is not base64 of 32 bytes.
    #[error("it must be 32 random bytes in base64: openssl rand -base64 32")]
    Key,
    /// The sealed bytes are damaged, moved, or sealed under another master key.
    #[error("a signing key cannot be opened: is ECHO_MASTER_KEY the one it was sealed with?")]
    Sealed,
}

impl MasterKey {
    /// Reads 32 bytes in base64.
    ///
    /// # Errors
    /// When the text is anything else.
    pub fn parse(secret: &Secret) -> Result<Self, SealError> {
        let mut bytes = STANDARD.decode(secret.expose().trim()).map_err(|_| SealError::Key)?;
        let key = UnboundKey::new(&AES_256_GCM, &bytes).map_err(|_| SealError::Key);
        bytes.fill(0);
        Ok(Self(LessSafeKey::new(key?)))
    }

    /// Seals `plain` for `name`: nonce, ciphertext and tag in base64. A random nonce is safe for the few keys that a
    /// deployment ever has.
    ///
    /// # Errors
    /// When the cipher fails.
    pub fn seal(&self, entropy: &Entropy, name: &str, plain: &[u8]) -> Result<String, SealError> {
        let nonce = entropy.bytes::<NONCE>();
        let mut bytes = plain.to_vec();
        let sealed = self.0.seal_in_place_append_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(name.as_bytes()),
            &mut bytes,
        );
        sealed.map_err(|_| SealError::Sealed)?;
        Ok(STANDARD.encode([nonce.as_slice(), &bytes].concat()))
    }

    /// Opens what was sealed for `name`.
    ///
    /// # Errors
    /// When it was not sealed for this name under this key, or was changed.
    pub fn open(&self, name: &str, sealed: &str) -> Result<Vec<u8>, SealError> {
        let bytes = STANDARD.decode(sealed).map_err(|_| SealError::Sealed)?;
        let (nonce, rest) = bytes.split_first_chunk::<NONCE>().ok_or(SealError::Sealed)?;
        let mut rest = rest.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let plain = self.0.open_in_place(nonce, Aad::from(name.as_bytes()), &mut rest);
        plain.map(|plain| plain.to_vec()).map_err(|_| SealError::Sealed)
    }
}

#[cfg(test)]
mod tests {
    use crate::entropy::Entropy;
    use crate::secret::Secret;
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

    use super::MasterKey;

    fn key(byte: u8) -> MasterKey {
        MasterKey::parse(&Secret::new(STANDARD.encode([byte; 32]))).unwrap()
    }

    #[test]
    fn only_the_same_key_and_name_open_it() {
        let sealed = key(1).seal(&Entropy::system(), "k", b"private").unwrap();
        assert_eq!(key(1).open("k", &sealed).unwrap(), b"private");
        assert!(key(2).open("k", &sealed).is_err());
        assert!(key(1).open("other", &sealed).is_err());
        assert!(key(1).open("k", "AAAA").is_err() && key(1).open("k", "").is_err());
    }
}
