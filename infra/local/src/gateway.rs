//! API Gateway's HTTP API on a laptop: routes from the template, payload format 2.0, one handler per function.
//!
//! <https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html>

pub mod payload;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State};
use axum::response::{IntoResponse, Response};
use echo_shared::clock::Clock;
use echo_shared::entropy::Entropy;
use echo_shared::http::Problem;
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use http_body_util::BodyExt;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

use crate::lambda::{Invoke, InvokeError};
use crate::spec::RouteSpec;

/// Requests of one function in flight; more are refused. `cargo lambda watch` wedges for good at a hundred.
const MAX_IN_FLIGHT: usize = 64;
/// An HTTP API waits this long for its integration.
const TIMEOUT: Duration = Duration::from_secs(30);
/// An HTTP API takes bodies up to 10 MB.
const MAX_BODY: usize = 10 * 1024 * 1024;
/// A refused body is read to this length, for this long.
const MAX_DISCARD: usize = 64 * 1024 * 1024;
const DISCARD_TIMEOUT: Duration = Duration::from_secs(5);
/// An HTTP API takes this much of request line and headers, in bytes.
const MAX_HEADERS: usize = 10_240;

/// The gateway in front of the functions.
pub struct Gateway<I> {
    routes: matchit::Router<HashMap<Method, Target>>,
    invoker: I,
    clock: Clock,
    entropy: Entropy,
}

#[derive(Clone)]
struct Target {
    route_key: String,
    function: String,
    in_flight: Arc<Semaphore>,
}

/// The routes contradict each other.
#[derive(Debug, thiserror::Error)]
#[error("route `{route}`: {reason}")]
pub struct RouteError {
    route: String,
    reason: String,
}

impl<I: Invoke> Gateway<I> {
    /// A gateway for `routes`.
    ///
    /// # Errors
    /// When a method or a path is none, or two routes are in conflict.
    pub fn new(routes: &[RouteSpec], invoker: I, clock: Clock, entropy: Entropy) -> Result<Self, RouteError> {
        let mut by_path: HashMap<String, HashMap<Method, Target>> = HashMap::new();
        let mut in_flight: HashMap<&str, Arc<Semaphore>> = HashMap::new();
        for route in routes {
            let route_key = format!("{} {}", route.method, route.path);
            let fail = |reason: String| RouteError { route: route_key.clone(), reason };
            let method = route.method.parse::<Method>().map_err(|error| fail(error.to_string()))?;
            let limit = in_flight.entry(&route.function).or_insert_with(|| Arc::new(Semaphore::new(MAX_IN_FLIGHT)));
            let target =
                Target { route_key: route_key.clone(), function: route.function.clone(), in_flight: Arc::clone(limit) };
            by_path.entry(route.path.clone()).or_default().insert(method, target);
        }
        let mut router = matchit::Router::new();
        for (path, targets) in by_path {
            router
                .insert(pattern(&path), targets)
                .map_err(|error| RouteError { route: path, reason: error.to_string() })?;
        }
        Ok(Self { routes: router, invoker, clock, entropy })
    }

    /// Serves until `shutdown` turns true, then finishes what is in flight.
    pub async fn serve(self, listener: TcpListener, mut shutdown: watch::Receiver<bool>) {
        let app = Router::new().fallback(handle::<I>).with_state(Arc::new(self));
        let until = async move {
            let _ = shutdown.wait_for(|stop| *stop).await;
        };
        let service = app.into_make_service_with_connect_info::<SocketAddr>();
        if let Err(error) = axum::serve(listener, service).with_graceful_shutdown(until).await {
            tracing::error!(%error, "the gateway stopped");
        }
    }

    async fn answer(&self, request: Request, peer: SocketAddr, id: &str) -> Result<Response, Problem> {
        let (parts, body) = request.into_parts();
        let headers: usize = parts.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
        if headers + parts.uri.to_string().len() > MAX_HEADERS {
            let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
            return Err(Problem::new(status, "headers-too-large", "request line and headers exceed 10,240 bytes"));
        }
        let not_found = || Problem::new(StatusCode::NOT_FOUND, "not-found", "there is nothing at this path");
        let matched = self.routes.at(parts.uri.path()).map_err(|_| not_found())?;
        let target = matched.value.get(&parts.method).ok_or_else(|| {
            let detail = "this path does not take this method";
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", detail)
        })?;
        let Ok(_permit) = target.in_flight.try_acquire() else {
            let detail = "too many requests are in flight; try again";
            return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "throttled", detail));
        };
        let body = if is_too_large(&parts.headers) {
            discard(body).await;
            Body::empty()
        } else {
            body
        };
        let body = echo_shared::http::read_body(&parts.headers, body, MAX_BODY).await?;
        let path_parameters = matched.params.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let event = payload::Incoming { parts: &parts, body: &body, peer, id, route_key: &target.route_key }
            .event(path_parameters, self.clock.now());
        let invoked = self.invoker.invoke(&target.function, event);
        match tokio::time::timeout(TIMEOUT, invoked).await {
            Ok(Ok(answer)) => payload::response(&answer).ok_or_else(|| {
                tracing::error!(function = target.function, "the answer is no HTTP response");
                internal()
            }),
            Ok(Err(InvokeError::Throttled | InvokeError::Timeout)) | Err(_) => {
                let detail = "the function took too long; try again";
                Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "timeout", detail))
            }
            Ok(Err(error)) => {
                tracing::error!(function = target.function, %error, "invocation failed");
                Err(internal())
            }
        }
    }
}

/// `{rest+}` is API Gateway's, `{*rest}` the router's way to write the same.
fn pattern(path: &str) -> String {
    let segment = |segment: &str| match segment.strip_suffix("+}") {
        Some(greedy) => format!("{}}}", greedy.replacen('{', "{*", 1)),
        None => segment.to_owned(),
    };
    path.split('/').map(segment).collect::<Vec<_>>().join("/")
}

/// Whether the body is refused by its declared length alone.
fn is_too_large(headers: &HeaderMap) -> bool {
    let declared = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    declared.is_some_and(|length| length > MAX_BODY)
}

/// Reads what the caller still sends, within bounds: one who is cut off while sending never reads the refusal.
async fn discard(mut body: Body) {
    let all = async {
        let mut left = MAX_DISCARD;
        while let Some(Ok(frame)) = body.frame().await
            && left > 0
        {
            left = left.saturating_sub(frame.data_ref().map_or(0, |data| data.len()));
        }
    };
    let _ = tokio::time::timeout(DISCARD_TIMEOUT, all).await;
}

fn internal() -> Problem {
    let detail = "the function failed; its log says why";
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal-error", detail)
}

async fn handle<I: Invoke>(
    State(gateway): State<Arc<Gateway<I>>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request<Body>,
) -> Response {
    let id = gateway.entropy.uuid_v7(gateway.clock.now()).to_string();
    let mut response = gateway.answer(request, peer, &id).await.unwrap_or_else(|problem| problem.into_response());
    let header = HeaderName::from_static("x-request-id");
    if let Ok(id) = HeaderValue::try_from(id) {
        response.headers_mut().entry(header).or_insert(id);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::pattern;

    #[test]
    fn greedy_segments_are_translated() {
        assert_eq!(pattern("/a/{id}/b/{rest+}"), "/a/{id}/b/{*rest}");
    }
}
