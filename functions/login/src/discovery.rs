//! What clients and resource servers read: metadata (RFC 8414, OpenID Connect Discovery 1.0) and public keys.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use echo_shared::http::Problem;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use crate::app::App;
use crate::digest::sha256;
use crate::scopes;

/// `GET /.well-known/openid-configuration` and `/.well-known/oauth-authorization-server`.
pub async fn metadata(State(app): State<Arc<App>>, headers: HeaderMap) -> Response {
    let at = |path: &str| app.issuer.join(path);
    cached(
        &headers,
        &json!({
            "issuer": app.issuer.as_str(),
            "authorization_endpoint": at("/oauth2/authorize"),
            "token_endpoint": at("/oauth2/token"),
            "userinfo_endpoint": at("/oauth2/userinfo"),
            "jwks_uri": at("/oauth2/jwks"),
            "end_session_endpoint": at("/oauth2/logout"),
            "response_types_supported": ["code"],
            "response_modes_supported": ["query"],
            "grant_types_supported": ["authorization_code", "client_credentials"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256"],
            "scopes_supported": scopes::STANDARD,
            "claims_supported": [
                "iss", "sub", "aud", "exp", "iat", "auth_time", "nonce", "sid", "amr", "at_hash", "name", "email",
                "email_verified", "org",
            ],
            "prompt_values_supported": ["none", "login"],
            "token_endpoint_auth_methods_supported": ["none", "client_secret_basic", "client_secret_post"],
            "code_challenge_methods_supported": ["S256"],
            "authorization_response_iss_parameter_supported": true,
            "claims_parameter_supported": false,
            "request_parameter_supported": false,
            "request_uri_parameter_supported": false,
        }),
    )
}

/// `GET /oauth2/jwks`: the public halves of the signing keys.
pub async fn jwks(State(app): State<Arc<App>>, headers: HeaderMap) -> Result<Response, Problem> {
    let keys = app.keys.current().await.map_err(|error| Problem::unavailable(&error))?;
    Ok(cached(&headers, &keys.jwks()))
}

/// A document that may be kept for five minutes; 304 for whoever has it.
fn cached(headers: &HeaderMap, document: &Value) -> Response {
    let body = document.to_string();
    let tag = format!("\"{}\"", sha256(&body));
    let caching = [(CACHE_CONTROL, "public, max-age=300"), (ETAG, tag.as_str())];
    let known = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    if known.flat_map(|value| value.split(',')).any(|known| known.trim().trim_start_matches("W/") == tag) {
        return (StatusCode::NOT_MODIFIED, caching).into_response();
    }
    (caching, [(CONTENT_TYPE, "application/json")], body).into_response()
}
