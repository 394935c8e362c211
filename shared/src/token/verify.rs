//! Verification: fails closed, with one reason per way to be wrong.

use std::future::Future;
use std::sync::Arc;

use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::{ACCESS_TOKEN, AccessClaims, Audience, ID_TOKEN};
use crate::clock::Clock;
use crate::config::Issuer;

/// A longer token is refused before it is decoded.
const MAX_TOKEN: usize = 8 * 1024;
/// Clocks of issuer and verifier may differ by this many seconds.
const LEEWAY: i64 = 5;

/// Where public keys come from.
pub trait KeySource: Send + Sync {
    /// The key `kid`, or none when the issuer has no such key.
    ///
    /// # Errors
    /// When the keys cannot be had at all.
    fn key(&self, kid: &str) -> impl Future<Output = Result<Option<Arc<DecodingKey>>, KeysUnavailable>> + Send;
}

/// The issuer's keys cannot be had: nobody can say whether the token is good.
#[derive(Debug, thiserror::Error)]
#[error("the issuer's keys cannot be fetched: {0}")]
pub struct KeysUnavailable(pub String);

/// Why a token is not accepted.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// Not a JWT, too long, or a claim is missing.
    #[error("the token is malformed")]
    Malformed,
    /// Signed with an algorithm other than ES256, or not at all.
    #[error("the token's algorithm is not accepted")]
    Algorithm,
    /// Not an access token: `typ` is another.
    #[error("the token is of another type")]
    Type,
    /// No key of the issuer has this `kid`.
    #[error("the token was signed with an unknown key")]
    UnknownKey,
    /// The signature does not fit.
    #[error("the token's signature is wrong")]
    Signature,
    /// From another issuer.
    #[error("the token is from another issuer")]
    Issuer,
    /// For another audience.
    #[error("the token is for another audience")]
    Audience,
    /// Its time is over.
    #[error("the token has expired")]
    Expired,
    /// Its time has not come.
    #[error("the token is not valid yet")]
    NotYet,
    /// Could not be checked: not the token's fault.
    #[error(transparent)]
    Keys(#[from] KeysUnavailable),
}

/// Checks tokens of one issuer for one audience.
pub struct Verifier<K> {
    issuer: Issuer,
    audience: String,
    keys: K,
    clock: Clock,
}

impl<K: KeySource> Verifier<K> {
    /// A verifier for tokens that `issuer` signed for itself, the default audience.
    pub fn new(issuer: Issuer, keys: K, clock: Clock) -> Self {
        Self { audience: issuer.as_str().to_owned(), issuer, keys, clock }
    }

    /// Fetches the keys before the first token comes. No key has an empty id.
    pub async fn warm_up(&self) {
        let _ = self.keys.key("").await;
    }

    /// Checks an access token: `typ`, algorithm, signature, issuer, audience and times.
    ///
    /// # Errors
    /// The first reason not to accept it.
    pub async fn access_token(&self, token: &str) -> Result<AccessClaims, TokenError> {
        let claims: AccessClaims = self.signed(token, ACCESS_TOKEN).await?;
        if !claims.aud.contains(&self.audience) {
            return Err(TokenError::Audience);
        }
        let now = self.clock.unix();
        if claims.exp.saturating_add(LEEWAY) <= now {
            return Err(TokenError::Expired);
        }
        if claims.nbf.unwrap_or(claims.iat) > now.saturating_add(LEEWAY) {
            return Err(TokenError::NotYet);
        }
        Ok(claims)
    }

    /// Checks an ID token that comes back as a hint. It may have expired (OpenID Connect RP-Initiated Logout 1.0
    /// section 2); whose it is counts.
    ///
    /// # Errors
    /// The first reason not to accept it.
    pub async fn id_token_hint<T: DeserializeOwned>(&self, token: &str) -> Result<T, TokenError> {
        self.signed(token, ID_TOKEN).await
    }

    async fn signed<T: DeserializeOwned>(&self, token: &str, typ: &str) -> Result<T, TokenError> {
        if token.len() > MAX_TOKEN {
            return Err(TokenError::Malformed);
        }
        let header = jsonwebtoken::decode_header(token).map_err(header_error)?;
        if header.alg != Algorithm::ES256 {
            return Err(TokenError::Algorithm);
        }
        if !header.typ.is_some_and(|found| found.eq_ignore_ascii_case(typ)) {
            return Err(TokenError::Type);
        }
        let kid = header.kid.ok_or(TokenError::UnknownKey)?;
        let key = self.keys.key(&kid).await?.ok_or(TokenError::UnknownKey)?;
        let mut rules = Validation::new(Algorithm::ES256);
        // Times and audience are checked by the callers, against the clock that is a parameter.
        rules.validate_exp = false;
        rules.validate_aud = false;
        rules.required_spec_claims.clear();
        let claims: serde_json::Value = jsonwebtoken::decode(token, &key, &rules).map_err(signature_error)?.claims;
        let issuer = Issuing::deserialize(&claims).map_err(|_| TokenError::Malformed)?;
        if issuer.iss != self.issuer.as_str() {
            return Err(TokenError::Issuer);
        }
        serde_json::from_value(claims).map_err(|_| TokenError::Malformed)
    }
}

#[derive(Deserialize)]
struct Issuing {
    iss: String,
    #[expect(dead_code, reason = "a token without an audience is malformed")]
    aud: Audience,
}

fn header_error(error: jsonwebtoken::errors::Error) -> TokenError {
    use jsonwebtoken::errors::ErrorKind;
    match error.kind() {
        // `none`, and every other name the library does not know, fails while the header is read.
        ErrorKind::InvalidAlgorithmName | ErrorKind::InvalidAlgorithm | ErrorKind::Json(_) => TokenError::Algorithm,
        _ => TokenError::Malformed,
    }
}

fn signature_error(error: jsonwebtoken::errors::Error) -> TokenError {
    use jsonwebtoken::errors::ErrorKind;
    match error.kind() {
        ErrorKind::InvalidSignature => TokenError::Signature,
        ErrorKind::InvalidAlgorithm => TokenError::Algorithm,
        _ => TokenError::Malformed,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use jsonwebtoken::DecodingKey;
    use serde_json::{Value, json};
    use time::macros::datetime;

    use super::{KeySource, KeysUnavailable, TokenError, Verifier};
    use crate::clock::Clock;
    use crate::config::Issuer;
    use crate::token::SigningKey;

    const NOW: i64 = 1_767_225_600;

    struct One(SigningKey);

    impl KeySource for One {
        async fn key(&self, kid: &str) -> Result<Option<Arc<DecodingKey>>, KeysUnavailable> {
            Ok((kid == self.0.kid()).then(|| Arc::new(self.0.decoding_key().unwrap())))
        }
    }

    fn key(kid: &str) -> SigningKey {
        SigningKey::from_pkcs8(kid, &SigningKey::generate().unwrap()).unwrap()
    }

    fn claims() -> Value {
        json!({"iss": "https://echo.test", "sub": "u", "aud": "https://echo.test", "exp": NOW + 300, "iat": NOW,
               "jti": "j", "client_id": "c", "scope": "a b", "org": "demo"})
    }

    fn verifier(key: SigningKey) -> Verifier<One> {
        let clock = Clock::from_fn(|| datetime!(2026-01-01 00:00 UTC));
        Verifier::new(Issuer::parse("https://echo.test").unwrap(), One(key), clock)
    }

    async fn refusal(change: impl FnOnce(&mut Value), typ: &str, kid: &str) -> TokenError {
        let mut changed = claims();
        change(&mut changed);
        let pkcs8 = SigningKey::generate().unwrap();
        let token = SigningKey::from_pkcs8(kid, &pkcs8).unwrap().sign(typ, &changed).unwrap();
        verifier(SigningKey::from_pkcs8("k", &pkcs8).unwrap()).access_token(&token).await.expect_err("the token is bad")
    }

    #[tokio::test]
    async fn a_good_token_is_accepted() {
        let own = key("k");
        let token = own.sign("at+jwt", &claims()).unwrap();
        let accepted = verifier(own).access_token(&token).await.unwrap();
        assert!(accepted.has_scope("b") && !accepted.has_scope("c"));
    }

    #[tokio::test]
    async fn each_flaw_has_its_reason() {
        use TokenError as E;
        let set = |name: &'static str, value: Value| move |claims: &mut Value| claims[name] = value;
        assert!(matches!(refusal(set("exp", json!(NOW - 5)), "at+jwt", "k").await, E::Expired));
        assert!(matches!(refusal(set("nbf", json!(NOW + 60)), "at+jwt", "k").await, E::NotYet));
        assert!(matches!(refusal(set("iat", json!(NOW + 60)), "at+jwt", "k").await, E::NotYet));
        assert!(matches!(refusal(set("aud", json!("https://other")), "at+jwt", "k").await, E::Audience));
        assert!(matches!(refusal(set("aud", json!(1)), "at+jwt", "k").await, E::Malformed));
        assert!(matches!(refusal(set("iss", json!("https://evil")), "at+jwt", "k").await, E::Issuer));
        assert!(matches!(refusal(set("org", Value::Null), "at+jwt", "k").await, E::Malformed));
        assert!(matches!(refusal(|_| {}, "JWT", "k").await, E::Type));
        assert!(matches!(refusal(|_| {}, "at+jwt", "../../k").await, E::UnknownKey));
    }

    #[tokio::test]
    async fn forged_tokens_are_refused() {
        use base64::Engine;
        use base64::engine::general_purpose::URL_SAFE_NO_PAD as B64;
        let token = key("k").sign("at+jwt", &claims()).unwrap();
        assert!(matches!(verifier(key("k")).access_token(&token).await, Err(TokenError::Signature)));
        let body = B64.encode(claims().to_string());
        for alg in ["none", "None", "HS256", "RS256"] {
            let header = B64.encode(json!({"alg": alg, "typ": "at+jwt", "kid": "k"}).to_string());
            let forged = format!("{header}.{body}.");
            let refused = verifier(key("k")).access_token(&forged).await;
            assert!(matches!(refused, Err(TokenError::Algorithm)), "{alg}: {refused:?}");
        }
        for junk in ["", "a", "a.b.c", &"x".repeat(9000)] {
            assert!(verifier(key("k")).access_token(junk).await.is_err());
        }
    }
}
