//! What people see: complete HTML, without script.

pub mod account;
pub mod login;
pub mod logout;

use std::sync::LazyLock;

use askama::Template;
use aws_lc_rs::digest::{SHA256, digest};
use axum::body::{Body, Bytes};
use axum::response::{Html, IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use echo_shared::http::{content_type, read_body};
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderName, LOCATION, REFERRER_POLICY, RETRY_AFTER, X_FRAME_OPTIONS,
};
use http::{HeaderMap, HeaderValue, StatusCode};

use crate::MAX_FORM;
use crate::error::Unavailable;
use crate::params::Params;

/// The one style sheet, inside every page; the policy allows it by its hash.
pub const STYLE: &str = include_str!("../../templates/style.css");

static STYLE_SOURCE: LazyLock<String> =
    LazyLock::new(|| format!("'sha256-{}'", STANDARD.encode(digest(&SHA256, STYLE.as_bytes()))));

/// Why a page cannot be shown: the one place where that becomes an answer.
#[derive(Debug, thiserror::Error)]
pub enum PageError {
    /// Echo's fault.
    #[error("unavailable: {0}")]
    Unavailable(Unavailable),
    /// The form is of another media type.
    #[error("not a form")]
    MediaType,
    /// The form is larger than it can be, or broke off.
    #[error("the form cannot be read")]
    Body(StatusCode),
    /// An authorization request names no client that is known here, so nobody can be redirected.
    #[error("unknown client")]
    UnknownClient,
    /// An authorization request names a target that its client did not register.
    #[error("unregistered redirect_uri")]
    RedirectUri,
    /// A request is longer than any real one.
    #[error("request too long")]
    TooLong,
}

impl<E: Into<Unavailable>> From<E> for PageError {
    fn from(error: E) -> Self {
        Self::Unavailable(error.into())
    }
}

impl IntoResponse for PageError {
    fn into_response(self) -> Response {
        let (status, title, text) = match &self {
            Self::Unavailable(cause) => {
                tracing::error!(%cause, "a page is unavailable");
                (StatusCode::SERVICE_UNAVAILABLE, "Please try again", "Echo cannot be reached in full right now.")
            }
            Self::MediaType => {
                let text = "Forms must be sent as application/x-www-form-urlencoded.";
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, "This form cannot be read", text)
            }
            Self::Body(status) => (*status, "This form cannot be read", "It is too large, or broke off on the way."),
            Self::UnknownClient => {
                let text = "The application that sent you here is not registered. Please tell whoever runs it.";
                (StatusCode::BAD_REQUEST, "Unknown application", text)
            }
            Self::RedirectUri => {
                let text = "The application that sent you here asked to send you on to an address that it has not \
                            registered. Please tell whoever runs it.";
                (StatusCode::BAD_REQUEST, "Unknown destination", text)
            }
            Self::TooLong => (StatusCode::URI_TOO_LONG, "This request cannot be read", "It is too long."),
        };
        let mut response = message(status, title, text, None);
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

#[derive(Template)]
#[template(path = "message.html")]
struct Message<'a> {
    title: &'a str,
    text: &'a str,
    link: Option<(&'a str, &'a str)>,
}

/// A page that says one thing, with at most one link (target, label).
pub fn message(status: StatusCode, title: &str, text: &str, link: Option<(&str, &str)>) -> Response {
    page(status, &Message { title, text, link }, None)
}

/// A page with the headers of a page. Its forms may be sent to ourselves, and end at `form_target` besides.
pub fn page(status: StatusCode, template: &impl Template, form_target: Option<&str>) -> Response {
    let html = match template.render() {
        Ok(html) => html,
        Err(error) => {
            tracing::error!(%error, "a page cannot be rendered");
            return StatusCode::INTERNAL_SERVER_ERROR.into_response();
        }
    };
    let target = form_target.map(|target| format!(" {target}")).unwrap_or_default();
    let policy = format!(
        "default-src 'none'; style-src {}; form-action 'self'{target}; frame-ancestors 'none'; base-uri 'none'",
        *STYLE_SOURCE
    );
    let headers = [
        (CONTENT_SECURITY_POLICY, policy.as_str()),
        (X_FRAME_OPTIONS, "DENY"),
        (REFERRER_POLICY, "no-referrer"),
        (CACHE_CONTROL, "no-store"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    ];
    (status, headers, Html(html)).into_response()
}

/// 303: the browser goes on with GET and leaves the form behind (RFC 9700 section 4.12).
pub fn see_other(target: &str) -> Response {
    let headers = [(LOCATION, target), (REFERRER_POLICY, "no-referrer"), (CACHE_CONTROL, "no-store")];
    (StatusCode::SEE_OTHER, headers).into_response()
}

/// Reads a form.
///
/// # Errors
/// When it is of another media type, too large, or broke off.
pub async fn form(headers: &HeaderMap, body: Body) -> Result<Params, PageError> {
    if content_type(headers) != "application/x-www-form-urlencoded" {
        return Err(PageError::MediaType);
    }
    let read: Bytes = read_body(headers, body, MAX_FORM).await.map_err(|problem| PageError::Body(problem.status()))?;
    Ok(Params::parse(&read))
}

/// A `Set-Cookie` header on a response.
pub fn with_cookie(mut response: Response, cookie: &str) -> Response {
    if let Ok(cookie) = HeaderValue::try_from(cookie) {
        response.headers_mut().append(http::header::SET_COOKIE, cookie);
    }
    response
}
