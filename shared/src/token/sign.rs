//! Signing with ES256.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header};
use serde::Serialize;
use serde_json::{Value, json};
use zeroize::Zeroizing;

/// A P-256 key that signs.
pub struct SigningKey {
    kid: String,
    key: EncodingKey,
    x: String,
    y: String,
}

/// A key or a token could not be made.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// The bytes are no P-256 private key in PKCS #8.
    #[error("the key is no P-256 private key in PKCS #8")]
    Key,
    /// Signing failed.
    #[error("signing failed: {0}")]
    Token(#[from] jsonwebtoken::errors::Error),
}

impl SigningKey {
    /// A new private key in PKCS #8. aws-lc draws its own randomness for it.
    ///
    /// # Errors
    /// When aws-lc fails.
    pub fn generate() -> Result<Zeroizing<Vec<u8>>, SignError> {
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new());
        Ok(Zeroizing::new(document.map_err(|_| SignError::Key)?.as_ref().to_vec()))
    }

    /// Loads a private key in PKCS #8.
    ///
    /// # Errors
    /// When the bytes are no such key.
    pub fn from_pkcs8(kid: impl Into<String>, pkcs8: &[u8]) -> Result<Self, SignError> {
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8).map_err(|_| SignError::Key)?;
        // An uncompressed point: 0x04, then x and y of 32 bytes each (SEC 1 section 2.3.3).
        let point = pair.public_key().as_ref();
        let coordinate = |range| point.get(range).map(|bytes| URL_SAFE_NO_PAD.encode(bytes)).ok_or(SignError::Key);
        Ok(Self {
            kid: kid.into(),
            key: EncodingKey::from_ec_der(pkcs8),
            x: coordinate(1..33)?,
            y: coordinate(33..65)?,
        })
    }

    /// The key's id.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The public half as a JWK (RFC 7517).
    pub fn jwk(&self) -> Value {
        json!({"kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": self.kid, "x": self.x, "y": self.y})
    }

    /// The public half for verification.
    ///
    /// # Errors
    /// Never for a key made by [`SigningKey::from_pkcs8`].
    pub fn decoding_key(&self) -> Result<DecodingKey, SignError> {
        Ok(DecodingKey::from_ec_components(&self.x, &self.y)?)
    }

    /// Signs `claims` as a JWT whose header says `typ`.
    ///
    /// # Errors
    /// When the claims cannot be serialised or aws-lc fails.
    pub fn sign(&self, typ: &str, claims: &impl Serialize) -> Result<String, SignError> {
        let mut header = Header::new(Algorithm::ES256);
        header.typ = Some(typ.into());
        header.kid = Some(self.kid.clone());
        Ok(jsonwebtoken::encode(&header, claims, &self.key)?)
    }
}
