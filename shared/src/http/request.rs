//! What every request gets: an id, a trace, a log line, security headers, and answers for unknown paths.

use std::convert::Infallible;

use axum::Router;
use axum::extract::{FromRequestParts, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use http::header::{CACHE_CONTROL, HeaderName, USER_AGENT, X_CONTENT_TYPE_OPTIONS};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, StatusCode};
use lambda_http::request::RequestContext;
use tracing::Instrument;

use super::Problem;
use crate::entropy::Entropy;
use crate::event::audit;
use crate::telemetry::{TraceContext, hex};

/// Who asks, from where, under which id: for answers, logs and audit entries.
#[derive(Clone, Debug)]
pub struct RequestInfo {
    /// Echoed in `x-request-id`.
    pub request_id: String,
    /// The trace this request belongs to.
    pub trace: TraceContext,
    /// The caller's address as the gateway saw it.
    pub ip: Option<String>,
    /// The caller's `User-Agent`, at most 256 bytes.
    pub user_agent: Option<String>,
}

impl RequestInfo {
    /// The `client` part of an audit record.
    pub fn client(&self, client_id: Option<&str>) -> audit::Client {
        audit::Client { ip: self.ip.clone(), user_agent: self.user_agent.clone(), client_id: client_id.map(Into::into) }
    }

    fn of(request: &Request, entropy: &Entropy) -> Self {
        let (gateway_id, ip) = match request.extensions().get::<RequestContext>() {
            Some(RequestContext::ApiGatewayV2(context)) => (context.request_id.clone(), context.http.source_ip.clone()),
            _ => (None, None),
        };
        let headers = request.headers();
        Self {
            request_id: gateway_id.filter(|id| !id.is_empty()).unwrap_or_else(|| hex(&entropy.bytes::<16>())),
            trace: TraceContext::continue_from(text(headers, "traceparent"), text(headers, "x-amzn-trace-id"), entropy),
            ip,
            user_agent: text(headers, USER_AGENT.as_str()).map(|agent| agent.chars().take(256).collect()),
        }
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

impl<S: Send + Sync> FromRequestParts<S> for RequestInfo {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let missing = || Problem::unavailable(&"the router is not behind its door");
        parts.extensions.get::<Self>().cloned().ok_or_else(missing)
    }
}

/// The door in front of a function's routes.
#[derive(Clone)]
pub struct Door {
    /// Source of request and trace ids where the gateway gives none.
    pub entropy: Entropy,
    /// Whether answers demand https for the future (RFC 6797).
    pub https: bool,
}

impl Door {
    /// Puts the door in front of `routes`: unknown paths answer 404, other methods 405, both as problems.
    pub fn guard(self, routes: Router) -> Router {
        let not_found = || async { Problem::new(StatusCode::NOT_FOUND, "not-found", "there is nothing at this path") };
        let not_allowed = || async {
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "this path does not take this method")
        };
        routes.fallback(not_found).method_not_allowed_fallback(not_allowed).layer(from_fn_with_state(self, enter))
    }
}

async fn enter(State(door): State<Door>, mut request: Request, next: Next) -> Result<Response, Infallible> {
    let info = RequestInfo::of(&request, &door.entropy);
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let id = HeaderValue::try_from(&info.request_id).ok();
    let (request_id, trace_id) = (info.request_id.as_str(), info.trace.trace_id());
    // Of the highest level: whatever is logged, it tells of which request. `note_org` fills in the org.
    let span = tracing::error_span!("request", request_id, trace_id, org = tracing::field::Empty);
    request.extensions_mut().insert(info);
    let mut response = next.run(request).instrument(span.clone()).await;
    span.in_scope(|| tracing::info!(%method, path, status = response.status().as_u16(), "answered"));

    let headers = response.headers_mut();
    if let Some(id) = id {
        headers.insert(HeaderName::from_static("x-request-id"), id);
    }
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    if door.https {
        let year = HeaderValue::from_static("max-age=31536000; includeSubDomains");
        headers.insert(HeaderName::from_static("strict-transport-security"), year);
    }
    Ok(response)
}
