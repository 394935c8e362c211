//! Errors as RFC 9457 problem details.

use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use serde_json::{Map, Value, json};

use crate::token::TokenError;

/// An error answer. `title` names the kind, `detail` says what to do next; nothing in it is secret.
#[derive(Debug)]
pub struct Problem {
    status: StatusCode,
    kind: &'static str,
    detail: String,
    members: Map<String, Value>,
    challenge: Option<String>,
}

impl Problem {
    /// A problem of `kind`, a stable word in kebab case that programs may compare.
    pub fn new(status: StatusCode, kind: &'static str, detail: impl Into<String>) -> Self {
        Self { status, kind, detail: detail.into(), members: Map::new(), challenge: None }
    }

    /// 503: try again soon. The cause goes to the log, not to the caller.
    pub fn unavailable(cause: &dyn std::fmt::Display) -> Self {
        tracing::error!(%cause, "unavailable");
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "a part of Echo cannot be reached; try again")
    }

    /// Adds an extension member (RFC 9457 section 3.2).
    #[must_use]
    pub fn with(mut self, member: &str, value: Value) -> Self {
        self.members.insert(member.into(), value);
        self
    }

    /// Adds a `WWW-Authenticate` challenge (RFC 6750 section 3).
    #[must_use]
    pub fn challenge(mut self, challenge: impl Into<String>) -> Self {
        self.challenge = Some(challenge.into());
        self
    }

    /// The HTTP status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The sentence for the caller: for protocols that have a form of their own for errors.
    pub fn detail(&self) -> &str {
        &self.detail
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut body = json!({
            "type": format!("urn:echo:problem:{}", self.kind),
            "title": self.kind.replace('-', " "),
            "status": self.status.as_u16(),
            "detail": self.detail,
        });
        if let Value::Object(object) = &mut body {
            object.extend(self.members);
        }
        let mut response = (self.status, body.to_string()).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if let Some(challenge) = self.challenge.and_then(|text| HeaderValue::try_from(text).ok()) {
            headers.insert(WWW_AUTHENTICATE, challenge);
        }
        response
    }
}

/// A token that is not accepted, as an answer: 401 with a challenge, or 503 when it could not be checked.
pub struct TokenProblem(pub TokenError);

impl From<TokenProblem> for Problem {
    fn from(TokenProblem(error): TokenProblem) -> Self {
        match error {
            TokenError::Keys(cause) => Self::unavailable(&cause),
            error => Self::new(StatusCode::UNAUTHORIZED, "invalid-token", format!("{error}; get a new one"))
                .challenge(format!("Bearer error=\"invalid_token\", error_description=\"{error}\"")),
        }
    }
}
