//! `/oauth2/logout`: OpenID Connect RP-Initiated Logout 1.0.
//!
//! Invariant: a session ends only for whoever shows its own ID token, or says so on our own page. A browser is sent
//! on only to an address that its client registered.

use std::sync::Arc;

use askama::Template;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::response::Response;
use echo_shared::http::RequestInfo;
use echo_shared::table::TableError;
use http::{HeaderMap, StatusCode};
use serde::Deserialize;

use super::{PageError, form, message, page, see_other, with_cookie};
use crate::app::App;
use crate::audit::Event;
use crate::csrf::{self, Csrf};
use crate::params::Params;
use crate::redirect::{form_source, with_parameters};
use crate::session::{self, SignedIn};
use crate::store::Client;

#[derive(Template)]
#[template(path = "logout.html")]
struct LogoutPage<'a> {
    client_name: Option<&'a str>,
    name: &'a str,
    alert: Option<&'a str>,
    csrf: &'a str,
    kept: Vec<(&'a str, &'a str)>,
}

/// What counts of an ID token that comes back.
#[derive(Deserialize)]
struct Hint {
    aud: String,
    #[serde(default)]
    sid: Option<String>,
}

/// A request to sign out, as far as it can be believed.
struct Request {
    hint: Option<Hint>,
    client: Option<Client>,
    /// Where to go afterwards.
    target: Option<String>,
}

impl Request {
    fn is_for(&self, signed_in: &SignedIn) -> bool {
        let sid = self.hint.as_ref().and_then(|hint| hint.sid.as_ref());
        sid == Some(&signed_in.session.id)
    }
}

/// Ends the session whose ID token comes along; asks otherwise.
pub async fn get(
    State(app): State<Arc<App>>,
    info: RequestInfo,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response, PageError> {
    let params = Params::parse(query.unwrap_or_default().as_bytes());
    let request = read(&app, &params).await?;
    match session::current(&app, &headers).await? {
        Some(signed_in) if request.is_for(&signed_in) => end(&app, &info, &request, Some(signed_in)).await,
        Some(signed_in) => Ok(ask(&app, &headers, &params, (&request, &signed_in), None)),
        None if request.hint.is_some() => end(&app, &info, &request, None).await,
        None => Ok(signed_out(&app, None)),
    }
}

/// Ends the session for a form of our own; a client's form (the specification allows POST) is asked by GET, which
/// brings the cookies that a foreign form does not.
pub async fn post(
    State(app): State<Arc<App>>,
    info: RequestInfo,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, PageError> {
    let params = form(&headers, body).await?;
    let from_client = params.get("id_token_hint").or(params.get("client_id")).is_some();
    if params.get("csrf").is_none() && from_client {
        return Ok(see_other(&format!("/oauth2/logout?{}", params.encode_without(&[]))));
    }
    let request = read(&app, &params).await?;
    let signed_in = session::current(&app, &headers).await?;
    if csrf::is_ours(&app.issuer, &headers, params.get("csrf")) {
        return end(&app, &info, &request, signed_in).await;
    }
    match signed_in {
        Some(signed_in) => {
            let alert = "This form was out of date. Please try again.";
            Ok(ask(&app, &headers, &params, (&request, &signed_in), Some(alert)))
        }
        None => {
            let text = "There is no session in this browser that could be ended.";
            Ok(message(StatusCode::FORBIDDEN, "You are signed out", text, Some(("/login", "Sign in"))))
        }
    }
}

async fn read(app: &App, params: &Params) -> Result<Request, PageError> {
    // Read first: what fails below is the hint's fault.
    app.keys.current().await?;
    let mut hint = match params.get("id_token_hint") {
        Some(token) => app.verifier.id_token_hint::<Hint>(token).await.ok(),
        None => None,
    };
    let named = params.get("client_id");
    if hint.as_ref().is_some_and(|hint| named.is_some_and(|named| named != hint.aud)) {
        // Somebody else's ID token proves nothing.
        hint = None;
    }
    let client = match hint.as_ref().map(|hint| hint.aud.as_str()).or(named) {
        Some(id) => app.store.client(id).await?,
        None => None,
    };
    let wanted = params.get("post_logout_redirect_uri");
    let registered = client.as_ref().map(|client| client.post_logout_redirect_uris.as_slice()).unwrap_or_default();
    let state: Vec<_> = params.get("state").map(|state| ("state", state)).into_iter().collect();
    let target = wanted.filter(|wanted| registered.iter().any(|known| known == wanted));
    let target = target.map(|target| with_parameters(target, &state));
    Ok(Request { hint, client, target })
}

/// Ends the session, if there is one, and sends the browser on.
async fn end(
    app: &App,
    info: &RequestInfo,
    request: &Request,
    signed_in: Option<SignedIn>,
) -> Result<Response, PageError> {
    if let Some(SignedIn { session, user }) = signed_in {
        let mut event = Event::by_user(&user, "logout").in_session(&session);
        event.client_id = request.client.as_ref().map(|client| client.id.as_str());
        let event = app.envelope(info, event);
        match app.commit(vec![app.store.end_session(&session.id)?], &[event]).await {
            // Another tab was faster, and has reported it.
            Ok(()) | Err(TableError::Condition) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(signed_out(app, request.target.as_deref()))
}

fn signed_out(app: &App, target: Option<&str>) -> Response {
    let response = match target {
        Some(target) => see_other(target),
        None => {
            let text = "You are signed out of Echo in this browser.";
            message(StatusCode::OK, "You are signed out", text, Some(("/login", "Sign in again")))
        }
    };
    with_cookie(response, &session::no_cookie(app))
}

/// Asks whether to sign out.
fn ask(
    app: &App,
    headers: &HeaderMap,
    params: &Params,
    (request, signed_in): (&Request, &SignedIn),
    alert: Option<&str>,
) -> Response {
    let csrf = Csrf::issue(app, headers);
    let client_id = request.client.as_ref().map(|client| client.id.as_str());
    let target = params.get("post_logout_redirect_uri").filter(|_| request.target.is_some());
    let kept = [("client_id", client_id), ("post_logout_redirect_uri", target), ("state", params.get("state"))];
    let template = LogoutPage {
        client_name: request.client.as_ref().map(|client| client.name.as_str()),
        name: &signed_in.user.name,
        alert,
        csrf: &csrf.token,
        kept: kept.into_iter().filter_map(|(name, value)| Some((name, value?))).collect(),
    };
    let status = if alert.is_some() { StatusCode::FORBIDDEN } else { StatusCode::OK };
    let form_target = request.target.as_deref().and_then(form_source);
    csrf.attach(page(status, &template, form_target.as_deref()))
}
