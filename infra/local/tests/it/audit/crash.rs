//! A consumer that dies at any of its calls leaves a log that is whole; who takes over finishes the batch.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::Request;
use tokio::net::TcpListener;
use tokio::sync::Notify;

use super::super::echo::{Echo, consume};
use super::events;

/// A line to the tables on which one call is never answered.
#[derive(Clone)]
struct Line {
    target: String,
    http: reqwest::Client,
    calls: Arc<AtomicUsize>,
    /// The call that is not answered, counted from 1.
    at: usize,
    /// Whether it is made all the same.
    made: bool,
    broken: Arc<Notify>,
}

impl Line {
    async fn to(target: &str, at: usize, made: bool) -> (Self, String) {
        let line = Self {
            target: target.into(),
            http: reqwest::Client::new(),
            calls: Arc::default(),
            at,
            made,
            broken: Arc::default(),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(pass).with_state(line.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        (line, endpoint)
    }
}

async fn pass(State(line): State<Line>, request: Request<Body>) -> Response {
    let is_it = line.calls.fetch_add(1, SeqCst) + 1 == line.at;
    if is_it && !line.made {
        line.broken.notify_one();
        std::future::pending::<()>().await;
    }
    let (mut parts, body) = request.into_parts();
    parts.headers.remove("host");
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    let answer = line.http.post(&line.target).headers(parts.headers).body(body).send().await.unwrap();
    let (status, headers) = (answer.status(), answer.headers().clone());
    let body = answer.bytes().await.unwrap();
    if is_it {
        line.broken.notify_one();
        std::future::pending::<()>().await;
    }
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_may_die_at_any_call() {
    let mut died = 0;
    for made in [false, true] {
        for at in 1.. {
            let echo = Echo::start().await;
            // 100 entries that the one to die has not seen: it must read what the tile begins with.
            assert!(echo.consume(&events(0..100)).await.is_empty());
            let (line, endpoint) = Line::to(echo.table_endpoint(), at, made).await;
            let dying = echo.consumer(2, Some(echo_local::dynamodb::client(&endpoint)));
            let batch = events(50..350);
            let finished = tokio::select! {
                failed = consume(&dying, &batch) => { assert!(failed.is_empty()); true }
                () = line.broken.notified() => false,
            };
            drop(dying);
            let kept = echo.checkpoint("demo").await;
            // Delivered again, to an instance that knows nothing.
            assert!(consume(&echo.consumer(2, None), &batch).await.is_empty());
            let verified =
                echo.verify("demo", &[kept]).await.unwrap_or_else(|found| panic!("call {at}: {}", found.finding));
            assert_eq!(verified.size, 350, "call {at}, made: {made}");
            if finished {
                died += at - 1;
                break;
            }
        }
    }
    // Head, key, its insert, key again, edge, and a transaction for every 98, made or not.
    assert!(died >= 2 * 8, "{died}");
}
