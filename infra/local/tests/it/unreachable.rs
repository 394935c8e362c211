//! A queue or a table that cannot be reached is reported at once and tried again at the next request.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use echo_local::queue::Queues;
use echo_local::spec::QueueSpec;
use echo_local::sqs;
use echo_shared::aws::Aws;
use echo_shared::clock::Clock;
use echo_shared::config::{Env, Issuer};
use echo_shared::entropy::Entropy;
use echo_shared::event::Queue;
use echo_shared::queue::Publisher;
use echo_shared::token::Verifier;
use http::{Request, StatusCode};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tower::ServiceExt;

use super::echo::{Echo, ISSUER};
use super::support;

/// Longer than the SDK tries once, shorter than it would try for each of a batch's records.
const PATIENCE: Duration = Duration::from_secs(10);

fn clients(endpoint: &str) -> Aws {
    let get = |key: &str| match key {
        "AWS_ENDPOINT_URL" => Some(endpoint.to_owned()),
        "AWS_REGION" => Some("us-east-1".to_owned()),
        "AWS_ACCESS_KEY_ID" | "AWS_SECRET_ACCESS_KEY" => Some("test".to_owned()),
        _ => None,
    };
    Env::from_fn(get).read(Aws::read).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_is_silent_is_an_answer_and_comes_back() {
    let echo = Echo::start().await;
    // Connections are taken by the kernel, and nobody speaks.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let base_url = format!("{endpoint}/000000000000");
    let issuer = Issuer::parse(ISSUER).unwrap();
    let ingest = ingest::App {
        issuer: issuer.clone(),
        verifier: Verifier::new(issuer, echo.keys(), Clock::system()),
        publisher: Publisher::new(
            clients(&endpoint).sqs(),
            BTreeMap::from([(Queue::Audit, format!("{base_url}/echo-audit"))]),
        ),
        clock: Clock::system(),
        entropy: Entropy::system(),
    };
    let router = ingest::router(Arc::new(ingest));
    let event = json!({"specversion": "1.0", "id": "1", "type": "audit", "data":
                       {"actor": {"type": "User", "id": "u"}, "action": "a", "outcome": "success"}});
    let token = echo.token(|_| {});
    let post = async || {
        let request = Request::post("/events").header("authorization", format!("Bearer {token}"));
        let request = request.header("content-type", "application/json").body(Body::from(event.to_string())).unwrap();
        router.clone().oneshot(request).await.unwrap()
    };
    let begun = Instant::now();
    let refused = post().await;
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(refused.headers().contains_key("retry-after"));
    assert!(begun.elapsed() < PATIENCE, "{:?}", begun.elapsed());

    let queues = Queues::new(support::database().await, vec![QueueSpec::new("echo-audit")]);
    let (_stop, stopped) = watch::channel(false);
    tokio::spawn(sqs::serve(listener, queues.clone(), base_url, stopped));
    assert_eq!(post().await.status(), StatusCode::ACCEPTED);
    assert!(!support::take(&queues, "echo-audit").await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_silent_fails_the_records_and_no_more() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let mut app = Echo::start().await.audit;
    app.log = echo_shared::table::Table::new(clients(&endpoint).dynamodb(), "echo-audit_log");
    let body = json!({"specversion": "1.0", "id": "1", "source": "/t", "type": "audit", "org": "o",
                      "time": "2026-01-01T00:00:00Z", "data":
                      {"actor": {"type": "User", "id": "u"}, "action": "a", "outcome": "success"}});
    let record = |n: usize| json!({"messageId": n.to_string(), "body": body.to_string()});
    let event = json!({"Records": (0..100).map(record).collect::<Vec<_>>()});
    let begun = Instant::now();
    let response = audit_consume::handle(&app, serde_json::from_value(event).unwrap()).await.unwrap();
    assert_eq!(response.batch_item_failures.len(), 100);
    assert!(begun.elapsed() < PATIENCE, "{:?}", begun.elapsed());
}
