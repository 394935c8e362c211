//! The front door for writers: `POST /events` takes CloudEvents, `POST /v1/logs` takes log records in OTLP, and puts them
//! into their queues.
//!
//! Invariant: `org` and `source` of an accepted event are the caller's, by its token. An answer of 202 (for OTLP, of 200)
//! means that every event is stored in its queue; after any other answer to a batch all of it may be sent again. Audit
//! events have ids and are safe then; log lines may be there twice if they have no time of their own or come in another
//! company, since blocks are known by what they hold.
//! Log lines travel in blocks, whose ids are the hashes of what they hold; no secret that is recognised enters one.

mod accept;
mod card;
mod json;
mod limits;
mod line;
mod logs;
mod otlp;
mod pack;
mod protobuf;
mod redact;
mod secrets;
mod values;
mod wire;

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
use echo_shared::log::settings::Settings;
use echo_shared::queue::Publisher;
use echo_shared::token::{KeySource, Verifier};
use http::{HeaderMap, StatusCode};
use serde_json::json;

pub use accept::{Accepted, Caller, MAX_EVENTS, Refusal, accept};
pub use logs::MAX_LOGS;
pub use pack::{MAX_RECORD, Packed, Sender, pack};
pub use redact::Redactor;

/// The largest body of a request with events, in bytes.
pub const MAX_BODY: usize = 1_048_576;

/// What the environment has to say.
pub struct Config {
    /// Whose tokens are accepted.
    pub issuer: Issuer,
    /// Where events go.
    pub queue_urls: BTreeMap<Queue, String>,
    /// What each org wants of its log lines.
    pub settings: Settings,
}

impl Config {
    /// Reads `ECHO_ISSUER`, `AUDIT_QUEUE_URL`, `LOG_QUEUE_URL` and `LOG_SETTINGS`.
    pub fn read(env: &mut Env<'_>) -> Self {
        Self {
            issuer: env.issuer(),
            queue_urls: Publisher::queue_urls(env, [Queue::Audit, Queue::Log]),
            settings: Settings::read(env),
        }
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
    /// What each org wants of its log lines.
    pub settings: Settings,
    /// Hides secrets in log lines.
    pub redactor: Redactor,
    /// The time of events that come without one.
    pub clock: Clock,
    /// Request and trace ids.
    pub entropy: Entropy,
}

impl<K> App<K> {
    /// Who sends now: an org's client, by its token.
    pub(crate) fn sender<'a>(&'a self, org: &'a str, source: &'a str) -> Sender<'a> {
        Sender { org, source, settings: self.settings.of(org), redactor: &self.redactor, now: self.clock.now() }
    }
}

/// The function's routes.
pub fn router<K: KeySource + 'static>(app: Arc<App<K>>) -> Router {
    let door = Door { entropy: app.entropy.clone(), https: app.issuer.is_https() };
    let routes = Router::new().route("/events", post(post_events::<K>)).route("/v1/logs", post(logs::post_logs::<K>));
    door.guard(routes.with_state(app))
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
    let sender = app.sender(&claims.org, &source);
    let Accepted { ids, events } = accept(&body, batch, &Caller { sender, traceparent: info.trace.traceparent() })?;
    app.publisher.publish(&events).await.map_err(|error| Problem::unavailable(&error))?;
    Ok((StatusCode::ACCEPTED, Json(json!({ "accepted": ids.len(), "ids": ids }))).into_response())
}
