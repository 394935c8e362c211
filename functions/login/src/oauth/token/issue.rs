//! Making tokens: access tokens in RFC 9068 form, ID tokens of OpenID Connect Core 1.0.

use echo_shared::telemetry::hex;
use echo_shared::token::{ACCESS_TOKEN, AccessClaims, Audience, ID_TOKEN};
use serde::Serialize;

use crate::TOKEN_SECONDS;
use crate::app::App;
use crate::digest::left_half;
use crate::error::Unavailable;
use crate::session::SignedIn;
use crate::store::{Client, Grant, Session};

/// Seconds that a grant is kept beyond its token, for verifiers whose clock is slow.
const GRANT_MARGIN: i64 = 60;

/// Whom a token speaks for.
pub struct Subject<'a> {
    /// Their id.
    pub sub: &'a str,
    /// The tenant.
    pub org: &'a str,
    /// Their roles in it.
    pub roles: &'a [String],
    /// The session, for a person.
    pub session: Option<&'a Session>,
}

/// An access token that is signed, and the grant that has to be recorded before it leaves.
pub struct Access {
    /// The token.
    pub token: String,
    /// Its record.
    pub grant: Grant,
}

/// What the endpoint answers (RFC 6749 section 5.1). Cannot be printed.
#[derive(Serialize)]
pub struct Tokens {
    access_token: String,
    token_type: &'static str,
    expires_in: i64,
    /// What the access token is good for.
    pub scope: String,
    /// The ID token, when `openid` was granted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id_token: Option<String>,
}

impl Tokens {
    /// An access token alone.
    pub fn new(access_token: String, scope: String) -> Self {
        Self { access_token, token_type: "Bearer", expires_in: TOKEN_SECONDS, scope, id_token: None }
    }
}

/// Signs an access token for `client` with scope and audience.
///
/// # Errors
/// When there is no key to sign with.
pub async fn access_token(
    app: &App,
    subject: &Subject<'_>,
    client: &Client,
    (scope, audience): (&str, &str),
) -> Result<Access, Unavailable> {
    let (now, jti) = (app.clock.unix(), hex(&app.entropy.bytes::<16>()));
    let sid = subject.session.map(|session| session.id.clone());
    let claims = AccessClaims {
        iss: app.issuer.as_str().into(),
        sub: subject.sub.into(),
        aud: Audience::One(audience.into()),
        exp: now + TOKEN_SECONDS,
        iat: now,
        nbf: None,
        jti: jti.clone(),
        client_id: client.id.clone(),
        scope: scope.into(),
        org: subject.org.into(),
        roles: subject.roles.to_vec(),
        sid: sid.clone(),
        auth_time: subject.session.map(|session| session.auth_time),
    };
    let token = app.keys.current().await?.signing().sign(ACCESS_TOKEN, &claims)?;
    let expires_at = claims.exp + GRANT_MARGIN;
    let grant = Grant { jti, sub: claims.sub, client_id: claims.client_id, sid, revoked: false, expires_at };
    Ok(Access { token, grant })
}

#[derive(Serialize)]
struct IdClaims<'a> {
    iss: &'a str,
    sub: &'a str,
    aud: &'a str,
    exp: i64,
    iat: i64,
    auth_time: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    nonce: Option<&'a str>,
    sid: &'a str,
    amr: [&'static str; 1],
    at_hash: String,
    org: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    email_verified: Option<bool>,
}

/// Signs the ID token that goes with an access token.
///
/// # Errors
/// When there is no key to sign with.
pub async fn id_token(
    app: &App,
    SignedIn { session, user }: &SignedIn,
    client: &Client,
    (nonce, tokens): (Option<&str>, &Tokens),
) -> Result<String, Unavailable> {
    let now = app.clock.unix();
    let has = |scope: &str| tokens.scope.split(' ').any(|granted| granted == scope);
    let claims = IdClaims {
        iss: app.issuer.as_str(),
        sub: &user.id,
        aud: &client.id,
        exp: now + TOKEN_SECONDS,
        iat: now,
        auth_time: session.auth_time,
        nonce,
        sid: &session.id,
        amr: ["pwd"],
        at_hash: left_half(&tokens.access_token),
        org: &user.org,
        name: has("profile").then_some(&user.name),
        email: has("email").then_some(&user.email),
        email_verified: has("email").then_some(user.email_verified),
    };
    Ok(app.keys.current().await?.signing().sign(ID_TOKEN, &claims)?)
}
