//! The issuer's keys over HTTP, cached.
//!
//! Never fetched during init. Fresh for five minutes; an unknown `kid` fetches again, at most once a minute; when the
//! issuer is away the keys that are known go on serving.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use jsonwebtoken::DecodingKey;
use jsonwebtoken::jwk::JwkSet;
use tokio::sync::Mutex;

use super::{KeySource, KeysUnavailable};
use crate::causes::with_causes;
use crate::clock::Clock;

/// Seconds for which fetched keys are fresh; login's `Cache-Control` says the same.
const FRESH: i64 = 300;
/// Seconds between two fetches for the sake of an unknown `kid`.
const UNKNOWN_KEY_INTERVAL: i64 = 60;
/// Seconds between two tries when the issuer is away.
const RETRY: i64 = 1;
const TIMEOUT: Duration = Duration::from_secs(2);
const MAX_BODY: usize = 64 * 1024;
const MAX_KEYS: usize = 32;

/// A cached JSON Web Key Set (RFC 7517).
pub struct Jwks {
    http: Client<HttpsConnector<HttpConnector>, Empty<Bytes>>,
    url: String,
    clock: Clock,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    keys: HashMap<String, Arc<DecodingKey>>,
    fetched: Option<i64>,
    tried: Option<i64>,
}

impl State {
    fn must_fetch(&self, kid: &str, now: i64) -> bool {
        let older = |moment: Option<i64>, seconds| moment.is_none_or(|moment| now - moment >= seconds);
        let wanted = if self.keys.contains_key(kid) {
            older(self.fetched, FRESH)
        } else {
            older(self.fetched, UNKNOWN_KEY_INTERVAL)
        };
        wanted && older(self.tried, RETRY)
    }
}

impl Jwks {
    /// The key set at `url`; nothing is fetched yet.
    pub fn new(url: impl Into<String>, clock: Clock) -> Self {
        // Mozilla's roots, compiled in: an issuer may have any public certificate, and nothing is read at start.
        let https = HttpsConnectorBuilder::new().with_webpki_roots().https_or_http().enable_http1().build();
        let http = Client::builder(TokioExecutor::new()).build(https);
        Self { http, url: url.into(), clock, state: Mutex::default() }
    }

    async fn fetch(&self) -> Result<HashMap<String, Arc<DecodingKey>>, String> {
        let body = tokio::time::timeout(TIMEOUT, self.get()).await.map_err(|_| "the issuer does not answer")??;
        let set: JwkSet = serde_json::from_slice(&body).map_err(|error| error.to_string())?;
        let usable = set.keys.iter().take(MAX_KEYS).filter_map(|jwk| {
            let key = DecodingKey::from_jwk(jwk).ok()?;
            Some((jwk.common.key_id.clone()?, Arc::new(key)))
        });
        Ok(usable.collect())
    }

    async fn get(&self) -> Result<Bytes, String> {
        let request = http::Request::get(&self.url).body(Empty::new()).map_err(|error| error.to_string())?;
        let response = self.http.request(request).await.map_err(|error| with_causes(&error))?;
        if !response.status().is_success() {
            return Err(format!("the issuer answered {}", response.status()));
        }
        let body = Limited::new(response.into_body(), MAX_BODY).collect().await.map_err(|error| error.to_string())?;
        Ok(body.to_bytes())
    }
}

impl KeySource for Jwks {
    async fn key(&self, kid: &str) -> Result<Option<Arc<DecodingKey>>, KeysUnavailable> {
        // Held across the fetch: callers that come meanwhile wait for its result instead of fetching too.
        let mut state = self.state.lock().await;
        let now = self.clock.unix();
        if state.must_fetch(kid, now) {
            state.tried = Some(now);
            match self.fetch().await {
                Ok(keys) => {
                    state.keys = keys;
                    state.fetched = Some(now);
                }
                Err(error) => tracing::warn!(error, url = self.url, "the issuer's keys cannot be fetched"),
            }
        }
        match state.keys.get(kid) {
            Some(key) => Ok(Some(Arc::clone(key))),
            None if state.fetched.is_none() => Err(KeysUnavailable(self.url.clone())),
            None => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicI64, AtomicU16, AtomicUsize, Ordering::SeqCst};

    use axum::Router;
    use axum::http::StatusCode;
    use axum::routing::get;
    use serde_json::json;
    use time::OffsetDateTime;

    use super::Jwks;
    use crate::clock::Clock;
    use crate::token::{KeySource, SigningKey};

    struct Issuer {
        jwks: Jwks,
        seconds: Arc<AtomicI64>,
        fetches: Arc<AtomicUsize>,
        status: Arc<AtomicU16>,
    }

    async fn issuer() -> Issuer {
        let (seconds, fetches) = (Arc::new(AtomicI64::new(1_000)), Arc::new(AtomicUsize::new(0)));
        let status = Arc::new(AtomicU16::new(200));
        let key = SigningKey::from_pkcs8("k", &SigningKey::generate().unwrap()).unwrap();
        let set = json!({"keys": [key.jwk(), {"kty": "EC", "crv": "P-256", "kid": "broken", "x": "!", "y": "!"}]});
        let (count, answer) = (Arc::clone(&fetches), Arc::clone(&status));
        let serve = move || {
            count.fetch_add(1, SeqCst);
            let status = StatusCode::from_u16(answer.load(SeqCst)).unwrap();
            let body = set.to_string();
            async move { (status, body) }
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/jwks", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, Router::new().route("/jwks", get(serve))).await });
        let now = Arc::clone(&seconds);
        let clock = Clock::from_fn(move || OffsetDateTime::from_unix_timestamp(now.load(SeqCst)).unwrap());
        Issuer { jwks: Jwks::new(url, clock), seconds, fetches, status }
    }

    #[tokio::test]
    async fn keys_are_cached_and_unknown_ones_fetched_at_most_once_a_minute() {
        let issuer = issuer().await;
        assert_eq!(issuer.fetches.load(SeqCst), 0, "nothing is fetched during init");
        for _ in 0..3 {
            assert!(issuer.jwks.key("k").await.unwrap().is_some());
            assert!(issuer.jwks.key("other").await.unwrap().is_none());
        }
        assert_eq!(issuer.fetches.load(SeqCst), 1);
        issuer.seconds.fetch_add(60, SeqCst);
        assert!(issuer.jwks.key("other").await.unwrap().is_none());
        assert_eq!(issuer.fetches.load(SeqCst), 2);
    }

    #[tokio::test]
    async fn known_keys_serve_on_while_the_issuer_is_away() {
        let issuer = issuer().await;
        issuer.status.store(503, SeqCst);
        assert!(issuer.jwks.key("k").await.is_err(), "nothing known, nothing to be had");
        issuer.status.store(200, SeqCst);
        issuer.seconds.fetch_add(1, SeqCst);
        assert!(issuer.jwks.key("k").await.unwrap().is_some());
        issuer.status.store(503, SeqCst);
        issuer.seconds.fetch_add(3_600, SeqCst);
        assert!(issuer.jwks.key("k").await.unwrap().is_some());
        assert_eq!(issuer.fetches.load(SeqCst), 3);
    }
}
