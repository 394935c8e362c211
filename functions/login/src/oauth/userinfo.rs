//! `/oauth2/userinfo` (OpenID Connect Core 1.0 section 5.3): a revoked grant or an ended session shows at once.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use echo_shared::http::{Problem, authenticate};
use echo_shared::table::TableError;
use echo_shared::token::AccessClaims;
use http::{HeaderMap, StatusCode};
use serde::Serialize;

use crate::app::App;
use crate::store::User;

/// Claims about the person whom the bearer token speaks for.
pub async fn answer(State(app): State<Arc<App>>, headers: HeaderMap) -> Result<Json<Claims>, Problem> {
    let claims = authenticate(&app.verifier, &headers, "openid").await?;
    match person(&app, &claims).await {
        Ok(Some(user)) => Ok(Json(described(user, &claims))),
        Ok(None) => {
            let detail = "the token was revoked or its session has ended; sign in again";
            Err(Problem::new(StatusCode::UNAUTHORIZED, "invalid-token", detail)
                .challenge(r#"Bearer error="invalid_token", error_description="the token was revoked""#))
        }
        Err(error) => Err(Problem::unavailable(&error)),
    }
}

/// The token's person, while grant and session are alive.
async fn person(app: &App, claims: &AccessClaims) -> Result<Option<User>, TableError> {
    let Some(sid) = &claims.sid else { return Ok(None) };
    if app.store.grant(&claims.jti).await?.is_none() {
        return Ok(None);
    }
    match app.store.session(sid).await? {
        Some(session) if session.user_id == claims.sub => app.store.user(&claims.sub).await,
        _ => Ok(None),
    }
}

/// The claims that the token's scopes show.
#[derive(Serialize)]
pub struct Claims {
    sub: String,
    org: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    email_verified: Option<bool>,
}

fn described(user: User, claims: &AccessClaims) -> Claims {
    let (profile, email) = (claims.has_scope("profile"), claims.has_scope("email"));
    Claims {
        sub: user.id,
        org: user.org,
        name: profile.then_some(user.name),
        email: email.then_some(user.email),
        email_verified: email.then_some(user.email_verified),
    }
}
