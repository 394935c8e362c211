//! `/oauth2/authorize`: the authorization code flow with PKCE (RFC 6749 section 4.1, RFC 7636, RFC 9700).
//!
//! Invariant: nothing is ever redirected to an address that the client did not register; every redirect names the
//! issuer (RFC 9207). Clients are registered by the operator, so nobody is asked for consent.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::response::Response;
use http::HeaderMap;

use crate::app::App;
use crate::error::Unavailable;
use crate::pages::{PageError, form, see_other};
use crate::params::Params;
use crate::redirect::{is_registered, with_parameters};
use crate::return_to::ReturnTo;
use crate::scopes;
use crate::session::{self, SignedIn};
use crate::store::{Client, NewCode};

/// A longer query is refused, in bytes: it would not fit into `return_to`.
const MAX_QUERY: usize = 6 * 1024;

/// Where the answer goes. Until this is known, errors stay on a page.
pub struct Target {
    /// Who asks.
    pub client: Client,
    /// Where it wants the answer.
    pub redirect_uri: String,
}

/// Why a request is not granted: the client learns it through a redirect.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("{0}")]
    InvalidRequest(&'static str),
    #[error("the client may not use the authorization code grant")]
    UnauthorizedClient,
    #[error("response_type must be code")]
    UnsupportedResponseType,
    #[error("scope has characters that are not allowed")]
    InvalidScope,
    #[error("resource must be the issuer")]
    InvalidTarget,
    #[error("nobody is signed in")]
    LoginRequired,
    #[error("request objects are not supported")]
    RequestNotSupported,
    #[error("request_uri is not supported")]
    RequestUriNotSupported,
    #[error("try again")]
    Unavailable(Unavailable),
}

impl<E: Into<Unavailable>> From<E> for Refusal {
    fn from(error: E) -> Self {
        Self::Unavailable(error.into())
    }
}

impl Refusal {
    /// The `error` parameter: RFC 6749 section 4.1.2.1, RFC 8707 section 2, OpenID Connect Core 1.0 section 3.1.2.6.
    fn code(&self) -> &'static str {
        match self {
            Self::InvalidRequest(_) => "invalid_request",
            Self::UnauthorizedClient => "unauthorized_client",
            Self::UnsupportedResponseType => "unsupported_response_type",
            Self::InvalidScope => "invalid_scope",
            Self::InvalidTarget => "invalid_target",
            Self::LoginRequired => "login_required",
            Self::RequestNotSupported => "request_not_supported",
            Self::RequestUriNotSupported => "request_uri_not_supported",
            Self::Unavailable(_) => "temporarily_unavailable",
        }
    }
}

/// Whether a page may or must be shown.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Prompt {
    IfNeeded,
    Never,
    Always,
}

/// A request that is in order.
struct Request<'a> {
    scopes: Vec<&'a str>,
    nonce: Option<&'a str>,
    challenge: &'a str,
    prompt: Prompt,
    max_age: Option<i64>,
}

/// The request in the query.
pub async fn get(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response, PageError> {
    let query = query.unwrap_or_default();
    if query.len() > MAX_QUERY {
        return Err(PageError::TooLong);
    }
    answer(&app, &headers, &Params::parse(query.as_bytes())).await
}

/// The request in a form (OpenID Connect Core 1.0 section 3.1.2.1).
pub async fn post(State(app): State<Arc<App>>, headers: HeaderMap, body: Body) -> Result<Response, PageError> {
    let params = form(&headers, body).await?;
    if params.encode_without(&[]).len() > MAX_QUERY {
        return Err(PageError::TooLong);
    }
    answer(&app, &headers, &params).await
}

/// Who asks, and where the answer goes.
///
/// # Errors
/// When the client is unknown, or has not registered the address.
pub async fn target(app: &App, params: &Params) -> Result<Target, PageError> {
    let client = match params.get("client_id") {
        Some(id) => app.store.client(id).await?,
        None => None,
    };
    let client = client.ok_or(PageError::UnknownClient)?;
    let registered = params.get("redirect_uri").filter(|uri| is_registered(&client.redirect_uris, uri));
    let redirect_uri = registered.ok_or(PageError::RedirectUri)?.to_owned();
    Ok(Target { client, redirect_uri })
}

async fn answer(app: &App, headers: &HeaderMap, params: &Params) -> Result<Response, PageError> {
    let target = target(app, params).await?;
    let mut parameters: Vec<(&str, &str)> = Vec::new();
    let (code, description);
    match decide(app, headers, params, &target).await {
        Ok(Decision::Code(issued)) => {
            code = issued;
            parameters.push(("code", code.expose()));
        }
        Ok(Decision::SignIn(page)) => return Ok(see_other(&page)),
        Err(refusal) => {
            if let Refusal::Unavailable(cause) = &refusal {
                tracing::error!(%cause, "an authorization request cannot be answered");
            }
            description = refusal.to_string();
            parameters.extend([("error", refusal.code()), ("error_description", &description)]);
        }
    }
    parameters.extend(params.get("state").map(|state| ("state", state)));
    parameters.push(("iss", app.issuer.as_str()));
    Ok(see_other(&with_parameters(&target.redirect_uri, &parameters)))
}

enum Decision {
    Code(echo_shared::secret::Secret),
    SignIn(String),
}

async fn decide(app: &App, headers: &HeaderMap, params: &Params, target: &Target) -> Result<Decision, Refusal> {
    if !target.client.may("authorization_code") {
        return Err(Refusal::UnauthorizedClient);
    }
    let request = read(app, params)?;
    let signed_in = session::current(app, headers).await?;
    let too_old =
        |found: &SignedIn| request.max_age.is_some_and(|max_age| app.clock.unix() - found.session.auth_time > max_age);
    match signed_in {
        Some(found) if request.prompt != Prompt::Always && !too_old(&found) => {
            let code = NewCode {
                client_id: target.client.id.clone(),
                redirect_uri: target.redirect_uri.clone(),
                challenge: request.challenge.to_owned(),
                sid: found.session.id,
                nonce: request.nonce.map(Into::into),
                scope: scopes::for_user(&request.scopes, &target.client, &found.user),
            };
            Ok(Decision::Code(app.store.new_code(code).await?))
        }
        _ if request.prompt == Prompt::Never => Err(Refusal::LoginRequired),
        found => {
            // What has just forced the sign-in must not force another one when the browser comes back. Clients see
            // by `auth_time` whether it took place.
            let forced = found.as_ref().is_some_and(too_old) || request.max_age == Some(0);
            let left_out: &[&str] = if forced { &["prompt", "max_age"] } else { &["prompt"] };
            Ok(Decision::SignIn(ReturnTo::authorize(&params.encode_without(left_out)).login_page()))
        }
    }
}

fn read<'a>(app: &App, params: &'a Params) -> Result<Request<'a>, Refusal> {
    if params.any_repeated() {
        return Err(Refusal::InvalidRequest("a parameter is repeated"));
    }
    if params.get("request").is_some() {
        return Err(Refusal::RequestNotSupported);
    }
    if params.get("request_uri").is_some() {
        return Err(Refusal::RequestUriNotSupported);
    }
    match params.get("response_type") {
        Some("code") => {}
        Some(_) => return Err(Refusal::UnsupportedResponseType),
        None => return Err(Refusal::InvalidRequest("response_type is missing")),
    }
    if params.get("response_mode").is_some_and(|mode| mode != "query") {
        return Err(Refusal::InvalidRequest("response_mode must be query"));
    }
    if params.get("resource").is_some_and(|resource| resource != app.issuer.as_str()) {
        return Err(Refusal::InvalidTarget);
    }
    Ok(Request {
        scopes: scopes::split(params.get("scope").unwrap_or_default()).map_err(|()| Refusal::InvalidScope)?,
        nonce: params.get("nonce"),
        challenge: challenge(params)?,
        prompt: prompt(params.get("prompt").unwrap_or_default())?,
        max_age: params.get("max_age").map(max_age).transpose()?,
    })
}

/// PKCE, which every client needs, with S256 only (RFC 9700 section 2.1.1). Without a method, RFC 7636 means `plain`.
fn challenge(params: &Params) -> Result<&str, Refusal> {
    let challenge = params.get("code_challenge").ok_or(Refusal::InvalidRequest("code_challenge is missing"))?;
    if params.get("code_challenge_method") != Some("S256") {
        return Err(Refusal::InvalidRequest("code_challenge_method must be S256"));
    }
    let base64url = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if challenge.len() != 43 || !challenge.bytes().all(base64url) {
        return Err(Refusal::InvalidRequest("code_challenge must be a SHA-256 in base64url"));
    }
    Ok(challenge)
}

fn prompt(text: &str) -> Result<Prompt, Refusal> {
    let mut prompt = Prompt::IfNeeded;
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        prompt = match (word, prompt) {
            ("none", Prompt::IfNeeded) if text.trim() == "none" => Prompt::Never,
            ("none", _) => return Err(Refusal::InvalidRequest("prompt=none stands alone")),
            ("login" | "select_account", _) => Prompt::Always,
            // There is no consent to be given: every client is the operator's.
            ("consent", prompt) => prompt,
            _ => return Err(Refusal::InvalidRequest("prompt is unknown")),
        };
    }
    Ok(prompt)
}

fn max_age(text: &str) -> Result<i64, Refusal> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| digits).ok_or(Refusal::InvalidRequest("max_age must be a number of seconds"))
}
