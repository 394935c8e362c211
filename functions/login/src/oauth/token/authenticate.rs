//! Client authentication (RFC 6749 section 2.3): HTTP Basic or the form, never both; a public client names itself.
//!
//! An unknown client and a wrong secret are answered alike.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use url::form_urlencoded;

use super::Call;
use super::refusal::{Failure, OAuthError, Refusal};
use crate::digest::{same, sha256};
use crate::store::Client;

/// Whom the request says it is from.
struct Claimed {
    id: String,
    secret: Option<String>,
}

/// The client that sends the request.
///
/// # Errors
/// When it does not say or prove who it is.
pub async fn client(call: &Call<'_>, headers: &HeaderMap) -> Result<Client, Failure> {
    let claimed = claimed(call, headers)?;
    let known = call.app.store.client(&claimed.id).await?;
    let expected = known.as_ref().and_then(|client| client.secret_sha256.as_deref());
    let proven = match (&known, expected, &claimed.secret) {
        (Some(_), None, None) => true,
        // Compared also when there is nothing to compare with, so that time tells nothing.
        (_, expected, Some(secret)) => same(expected.unwrap_or_default(), &sha256(secret)),
        _ => false,
    };
    match known {
        Some(client) if proven => Ok(client),
        known => {
            let reason = if known.is_some() { "wrong_secret" } else { "unknown_client" };
            let refusal = Refusal::new(OAuthError::InvalidClient, reason).because("client authentication failed");
            Err(refusal.claiming(known).into())
        }
    }
}

fn claimed(call: &Call<'_>, headers: &HeaderMap) -> Result<Claimed, Refusal> {
    let malformed = |text| Refusal::new(OAuthError::InvalidRequest, "malformed_request").because(text);
    let (id, secret) = (call.params.get("client_id"), call.params.get("client_secret"));
    if !headers.contains_key(AUTHORIZATION) {
        let id = id.ok_or_else(|| {
            Refusal::new(OAuthError::InvalidClient, "unknown_client").because("client authentication failed")
        })?;
        return Ok(Claimed { id: id.to_owned(), secret: secret.map(Into::into) });
    }
    if secret.is_some() {
        return Err(malformed("authenticate by HTTP Basic or in the form, not both"));
    }
    let basic = basic(headers).ok_or_else(|| {
        Refusal::new(OAuthError::InvalidClient, "malformed_credentials").because("client authentication failed")
    })?;
    if id.is_some_and(|id| id != basic.id) {
        return Err(malformed("client_id is not the client that authenticates"));
    }
    Ok(basic)
}

/// Id and secret, each form-encoded, in HTTP Basic (RFC 6749 section 2.3.1).
fn basic(headers: &HeaderMap) -> Option<Claimed> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    let (scheme, encoded) = value.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let pair = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (id, secret) = pair.split_once(':')?;
    Some(Claimed { id: decode(id), secret: Some(decode(secret)) })
}

fn decode(text: &str) -> String {
    // As the name of a parameter without a value; `&` and `=` would be encoded.
    let mut pairs = form_urlencoded::parse(text.as_bytes());
    match (pairs.next(), pairs.next()) {
        (Some((name, value)), None) if value.is_empty() && !text.contains('=') => name.into_owned(),
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::decode;

    #[test]
    fn credentials_are_form_encoded() {
        assert_eq!(decode("a%3Ab+c"), "a:b c");
        assert_eq!(decode("plain-secret"), "plain-secret");
        assert_eq!(decode("base64=="), "base64==");
    }
}
