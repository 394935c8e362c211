//! `POST /oauth2/token` (RFC 6749 section 3.2).
//!
//! Invariant: every answer is on record before it leaves. A token's event is written in the transaction that records
//! its grant; a refusal's event is in the queue, or the answer is 503.

mod authenticate;
mod client;
mod code;
mod issue;
mod refusal;

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use echo_shared::http::{RequestInfo, content_type, read_body};
use echo_shared::telemetry::note_org;
use http::header::CACHE_CONTROL;
use http::{HeaderMap, StatusCode};
use serde::Serialize;

use crate::MAX_FORM;
use crate::app::App;
use crate::params::Params;
use issue::Tokens;
use refusal::{Failure, OAuthError, Refusal};

/// A request to the endpoint, on its way through it.
struct Call<'a> {
    app: &'a App,
    info: &'a RequestInfo,
    params: Params,
}

/// Gives a token, or says why not.
pub async fn post(State(app): State<Arc<App>>, info: RequestInfo, headers: HeaderMap, body: Body) -> Response {
    match answer(&app, &info, &headers, body).await {
        Ok(tokens) => json(StatusCode::OK, &tokens),
        Err(failure) => failure.into_answer(&app, &info).await,
    }
}

async fn answer(app: &App, info: &RequestInfo, headers: &HeaderMap, body: Body) -> Result<Tokens, Failure> {
    let call = Call { app, info, params: form(headers, body).await? };
    let client = authenticate::client(&call, headers).await?;
    note_org(&client.org);
    match call.params.get("grant_type") {
        Some("authorization_code") => code::redeem(&call, &client).await,
        Some("client_credentials") => client::issue(&call, &client).await,
        Some(_) => {
            let refusal = Refusal::new(OAuthError::UnsupportedGrantType, "unsupported_grant_type");
            Err(refusal.because("grant_type must be authorization_code or client_credentials").by(&client).into())
        }
        None => {
            let refusal = Refusal::new(OAuthError::InvalidRequest, "malformed_request");
            Err(refusal.because("grant_type is missing").by(&client).into())
        }
    }
}

async fn form(headers: &HeaderMap, body: Body) -> Result<Params, Failure> {
    let malformed = |text| Refusal::new(OAuthError::InvalidRequest, "malformed_request").because(text);
    if content_type(headers) != "application/x-www-form-urlencoded" {
        let refusal = malformed("send application/x-www-form-urlencoded");
        return Err(refusal.with_status(StatusCode::UNSUPPORTED_MEDIA_TYPE).into());
    }
    let body = read_body(headers, body, MAX_FORM).await;
    let body = body.map_err(|problem| malformed("the body cannot be read").with_status(problem.status()))?;
    let params = Params::parse(&body);
    if params.any_repeated() {
        return Err(malformed("a parameter is repeated").into());
    }
    Ok(params)
}

fn json(status: StatusCode, body: &impl Serialize) -> Response {
    (status, [(CACHE_CONTROL, "no-store")], Json(body)).into_response()
}
