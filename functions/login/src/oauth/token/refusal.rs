//! Why there is no token: the one place where that becomes an event and an answer.

use axum::response::Response;
use echo_shared::event::audit::Outcome;
use echo_shared::http::RequestInfo;
use echo_shared::metric::Metric;
use http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use serde_json::json;

use crate::app::App;
use crate::audit::{self, Event};
use crate::error::Unavailable;
use crate::store::{Client, Session};

/// The errors of RFC 6749 section 5.2 and RFC 8707 section 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OAuthError {
    /// The request is malformed.
    InvalidRequest,
    /// The client is not who it says.
    InvalidClient,
    /// The code is not good.
    InvalidGrant,
    /// The client may not use this grant.
    UnauthorizedClient,
    /// Nobody may use this grant.
    UnsupportedGrantType,
    /// The scopes are not the client's.
    InvalidScope,
    /// The resource is not the client's.
    InvalidTarget,
}

impl OAuthError {
    fn code(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::InvalidClient => "invalid_client",
            Self::InvalidGrant => "invalid_grant",
            Self::UnauthorizedClient => "unauthorized_client",
            Self::UnsupportedGrantType => "unsupported_grant_type",
            Self::InvalidScope => "invalid_scope",
            Self::InvalidTarget => "invalid_target",
        }
    }
}

/// A refusal with what is known about who is refused.
pub struct Refusal {
    error: OAuthError,
    reason: &'static str,
    description: &'static str,
    status: Option<StatusCode>,
    client: Option<Box<Client>>,
    proven: bool,
    sid: Option<String>,
    recorded: bool,
}

impl Refusal {
    /// A refusal; `reason` is for the audit log.
    pub fn new(error: OAuthError, reason: &'static str) -> Self {
        let (client, sid) = (None, None);
        Self { error, reason, description: "", status: None, client, proven: false, sid, recorded: false }
    }

    /// A sentence for the client's developer.
    pub fn because(mut self, description: &'static str) -> Self {
        self.description = description;
        self
    }

    /// Another status than the error's own.
    pub fn with_status(mut self, status: StatusCode) -> Self {
        self.status = Some(status);
        self
    }

    /// The client that asked, and has shown that it is the one.
    pub fn by(mut self, client: &Client) -> Self {
        (self.client, self.proven) = (Some(Box::new(client.clone())), true);
        self
    }

    /// The client that somebody claimed to be.
    pub fn claiming(mut self, client: Option<Client>) -> Self {
        self.client = client.map(Box::new);
        self
    }

    /// The session it was about.
    pub fn in_session(mut self, session: &Session) -> Self {
        self.sid = Some(session.id.clone());
        self
    }

    /// Its event is in a transaction that has been committed.
    pub fn recorded(mut self) -> Self {
        self.recorded = true;
        self
    }

    /// What the audit log says about it.
    pub fn event(&self) -> Event<'_> {
        let action = "token.refused";
        let mut event = match &self.client {
            Some(client) if self.proven => Event::by_client(client, action),
            Some(client) => Event { org: &client.org, ..Event::by_nobody(action).about_client(client) },
            None => Event::by_nobody(action),
        };
        event.session_id = self.sid.as_deref();
        event.ended(Outcome::Denied, self.reason)
    }

    fn answer(&self) -> Response {
        let unproven = self.error == OAuthError::InvalidClient;
        let status = if unproven { StatusCode::UNAUTHORIZED } else { StatusCode::BAD_REQUEST };
        let body = json!({ "error": self.error.code(), "error_description": self.description });
        let mut response = super::json(self.status.unwrap_or(status), &body);
        if unproven {
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"echo\""));
        }
        response
    }
}

/// Why there is no token.
pub enum Failure {
    /// The request is at fault.
    Refused(Box<Refusal>),
    /// Echo is at fault.
    Unavailable(Unavailable),
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(Box::new(refusal))
    }
}

impl<E: Into<Unavailable>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Unavailable(error.into())
    }
}

impl Failure {
    /// Records the refusal, then answers.
    pub async fn into_answer(self, app: &App, info: &RequestInfo) -> Response {
        let refusal = match self {
            Self::Refused(refusal) => refusal,
            Self::Unavailable(cause) => return unavailable(&cause),
        };
        if !refusal.recorded {
            let event = app.envelope(info, refusal.event());
            if let Err(error) = app.publisher.publish(std::slice::from_ref(&event)).await {
                return unavailable(&error.into());
            }
            audit::log(&event);
        }
        app.metrics.count(Metric::Refusals);
        refusal.answer()
    }
}

fn unavailable(cause: &Unavailable) -> Response {
    tracing::error!(%cause, "the token endpoint is unavailable");
    let body = json!({ "error": "temporarily_unavailable", "error_description": "try again" });
    let mut response = super::json(StatusCode::SERVICE_UNAVAILABLE, &body);
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    response
}
