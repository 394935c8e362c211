//! The front door for writers: `POST /events` takes CloudEvents and puts them into their queues.
//!
//! Invariant: `org` and `source` of an accepted event are the caller's, by its token. An answer of 202 means that
//! every event is stored in its queue; any other answer to a batch means that sending all of it again is safe.

mod accept;

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use echo_shared::clock::Clock;
use echo_shared::config::{Env, Issuer};
use echo_shared::entropy::Entropy;
use echo_shared::event::Queue;
use echo_shared::http::{Door, Problem, RequestInfo, authenticate, content_type, read_body};
use echo_shared::queue::Publisher;
use echo_shared::token::{KeySource, Verifier};
use http::{HeaderMap, StatusCode};
use serde_json::json;

pub use accept::{Caller, MAX_EVENTS, Refusal, accept};

/// The largest request body, in bytes.
pub const MAX_BODY: usize = 1_048_576;

/// What the environment has to say.
pub struct Config {
    /// Whose tokens are accepted.
    pub issuer: Issuer,
    /// Where events go.
    pub queue_urls: BTreeMap<Queue, String>,
}

impl Config {
    /// Reads `ECHO_ISSUER` and `AUDIT_QUEUE_URL`.
    pub fn read(env: &mut Env<'_>) -> Self {
        Self { issuer: env.issuer(), queue_urls: Publisher::queue_urls(env) }
    }
}

/// What the function works with.
pub struct App<K> {
    /// Whose tokens are accepted.
    pub issuer: Issuer,
    /// Checks the callers' tokens.
    pub verifier: Verifier<K>,
    /// The queues.
    pub publisher: Publisher,
    /// The time of events that come without one.
    pub clock: Clock,
    /// Request and trace ids.
    pub entropy: Entropy,
}

/// The function's routes.
pub fn router<K: KeySource + 'static>(app: Arc<App<K>>) -> Router {
    let door = Door { entropy: app.entropy.clone(), https: app.issuer.is_https() };
    door.guard(Router::new().route("/events", post(post_events::<K>)).with_state(app))
}

async fn post_events<K: KeySource>(
    State(app): State<Arc<App<K>>>,
    info: RequestInfo,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let claims = authenticate(&app.verifier, &headers, "events.write").await?;
    let batch = match content_type(&headers).as_str() {
        "application/cloudevents+json" => Some(false),
        "application/cloudevents-batch+json" => Some(true),
        // Either shape: what curl users send.
        "application/json" => None,
        _ => {
            let detail = "send `application/cloudevents+json` or `application/cloudevents-batch+json`";
            return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", detail));
        }
    };
    let body = read_body(&headers, body, MAX_BODY).await?;
    let source = format!("/clients/{}", claims.client_id);
    let caller =
        Caller { org: &claims.org, source: &source, traceparent: info.trace.traceparent(), now: app.clock.now() };
    let events = accept(&body, batch, &caller)?;
    app.publisher.publish(&events).await.map_err(|error| Problem::unavailable(&error))?;
    let ids: Vec<&str> = events.iter().map(|event| event.id.as_str()).collect();
    Ok((StatusCode::ACCEPTED, Json(json!({ "accepted": ids.len(), "ids": ids }))).into_response())
}
