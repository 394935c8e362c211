//! A queue or a table that cannot be reached is reported at once and tried again at the next request.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use axum::body::Body;
use echo_shared::aws::Aws;
use echo_shared::config::Env;
use echo_shared::event::Envelope;
use echo_shared::log::line::Severity;
use http::{Request, StatusCode};
use opentelemetry_proto::tonic::logs::v1::LogsData;
use prost::Message;
use serde_json::{Value, json};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};

use super::echo::Echo;
use super::{logs, support};

/// Longer than the SDK tries once, shorter than it would try for each of a batch's records.
const PATIENCE: Duration = Duration::from_secs(10);

/// A line to a service: connections are taken by the kernel, and nobody speaks until it is connected.
struct Line(TcpListener);

impl Line {
    async fn silent() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    fn endpoint(&self) -> String {
        format!("http://{}", self.0.local_addr().unwrap())
    }

    /// From now on the service at `endpoint` answers.
    fn connect(self, endpoint: &str) {
        let address = endpoint.strip_prefix("http://").unwrap().to_owned();
        tokio::spawn(async move {
            while let Ok((mut caller, _)) = self.0.accept().await {
                let address = address.clone();
                tokio::spawn(async move {
                    let mut service = TcpStream::connect(address).await.unwrap();
                    // Whoever gave up meanwhile has closed its side.
                    let _ = copy_bidirectional(&mut caller, &mut service).await;
                });
            }
        });
    }
}

/// All functions, with silent lines to their tables and to their queues.
async fn cut_off() -> (Echo, Line, Line) {
    let (tables, queues) = (Line::silent().await, Line::silent().await);
    let get = |key: &str| match key {
        "AWS_ENDPOINT_URL_DYNAMODB" => Some(tables.endpoint()),
        "AWS_ENDPOINT_URL_SQS" => Some(queues.endpoint()),
        "AWS_REGION" => Some("us-east-1".to_owned()),
        "AWS_ACCESS_KEY_ID" | "AWS_SECRET_ACCESS_KEY" => Some("test".to_owned()),
        _ => None,
    };
    let echo = Echo::behind(Some(Env::from_fn(get).read(Aws::read).unwrap())).await;
    (echo, tables, queues)
}

/// What `work` comes to, in time.
async fn soon<T>(work: impl Future<Output = T>) -> T {
    let begun = Instant::now();
    let done = work.await;
    assert!(begun.elapsed() < PATIENCE, "{:?}", begun.elapsed());
    done
}

fn event() -> Value {
    json!({"specversion": "1.0", "id": "1", "type": "audit", "data":
           {"actor": {"type": "User", "id": "u"}, "action": "a", "outcome": "success"}})
}

async fn token_request(echo: &Echo, secret: &str) -> StatusCode {
    let form = format!("grant_type=client_credentials&client_id=demo-service&client_secret={secret}");
    let request = Request::post("/oauth2/token").header("content-type", "application/x-www-form-urlencoded");
    soon(echo.send("login", request.body(Body::from(form)).unwrap())).await.0
}

const SECRET: &str = "demo-service-secret-for-local-use-only";

#[tokio::test(flavor = "multi_thread")]
async fn ingest_without_its_queue() {
    let (echo, _tables, queues) = cut_off().await;
    let token = echo.token(|_| {});
    let post = async || soon(echo.post("ingest", "/events", &token, &event())).await.0;
    assert_eq!(post().await, StatusCode::SERVICE_UNAVAILABLE);
    queues.connect(echo.queue_endpoint());
    assert_eq!(post().await, StatusCode::ACCEPTED);
    assert!(!support::take(&echo.queues, "echo-audit").await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn ingest_without_its_queue_for_lines() {
    let (echo, _tables, queues) = cut_off().await;
    let token = echo.token(|_| {});
    let line = logs::record(echo.hour(), Severity::Info, "a line");
    let body = LogsData { resource_logs: vec![logs::of("web", vec![line])] }.encode_to_vec();
    let post = async || soon(echo.post_logs(&token, &[logs::PROTOBUF], body.clone())).await;
    let (status, headers, _) = post().await;
    // OTLP's exporters try again by themselves, after this pause.
    assert_eq!(status, 503);
    assert!(headers["retry-after"].to_str().unwrap().parse::<u32>().unwrap() > 0);
    queues.connect(echo.queue_endpoint());
    assert_eq!(post().await.0, 200);
    // What was sent before may arrive after all; it is the same block.
    let bodies = echo.take_logs().await;
    let ids: BTreeSet<String> = bodies.iter().map(|body| Envelope::parse(body).unwrap().id).collect();
    assert_eq!(ids.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn log_consume_without_its_table() {
    let (echo, tables, _queues) = cut_off().await;
    let hour = echo.hour();
    let small = |n: u64| logs::block(vec![logs::of("web", vec![logs::record(hour + n, Severity::Info, "a line")])]);
    let blocks = (0..60).map(small).chain((0..30).map(|n| logs::large_block(hour, n)));
    let bodies: Vec<String> = blocks.map(|block| logs::event("demo", &block, 30)).collect();
    assert_eq!(soon(echo.keep(&bodies)).await.len(), 90);
    tables.connect(echo.table_endpoint());
    assert!(echo.keep(&bodies).await.is_empty());
    assert_eq!(echo.stored_as("HEADER").await.len(), 31);
}

#[tokio::test(flavor = "multi_thread")]
async fn query_of_lines_without_its_table() {
    let (echo, tables, _queues) = cut_off().await;
    let token = echo.token(|_| {});
    let trace = format!("/logs/v1/traces/{}", "7".repeat(32));
    let get = async |path: &str| soon(echo.get("query", path, &token)).await.0;
    let refused = tokio::join!(get("/logs/v1/query"), get("/logs/v1/stats"), get(&trace));
    let away = StatusCode::SERVICE_UNAVAILABLE;
    assert_eq!(refused, (away, away, away));
    tables.connect(echo.table_endpoint());
    for path in ["/logs/v1/query", "/logs/v1/stats", &trace] {
        assert_eq!(get(path).await, StatusCode::OK, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn login_without_its_table() {
    let (echo, tables, queues) = cut_off().await;
    queues.connect(echo.queue_endpoint());
    let page = async || {
        let path = "/oauth2/authorize?response_type=code&client_id=nobody";
        soon(echo.send("login", Request::get(path).body(Body::empty()).unwrap())).await.0
    };
    let refused = tokio::join!(token_request(&echo, SECRET), page());
    assert_eq!(refused, (StatusCode::SERVICE_UNAVAILABLE, StatusCode::SERVICE_UNAVAILABLE));
    tables.connect(echo.table_endpoint());
    assert_eq!(token_request(&echo, SECRET).await, StatusCode::OK);
    assert_eq!(page().await, StatusCode::BAD_REQUEST, "there is no such client");
}

#[tokio::test(flavor = "multi_thread")]
async fn login_without_its_queue() {
    let (echo, tables, queues) = cut_off().await;
    tables.connect(echo.table_endpoint());
    let answers = tokio::join!(token_request(&echo, SECRET), token_request(&echo, "wrong"));
    // The event of a token is safe in the outbox; that of a refusal is nowhere.
    assert_eq!(answers, (StatusCode::OK, StatusCode::SERVICE_UNAVAILABLE));
    queues.connect(echo.queue_endpoint());
    assert_eq!(token_request(&echo, "wrong").await, StatusCode::UNAUTHORIZED);
}

#[tokio::test(flavor = "multi_thread")]
async fn authorize_without_its_table_or_its_queue() {
    let (echo, tables, queues) = cut_off().await;
    echo.publish_policies("demo").await;
    let admin = echo.person("a", "admin");
    let body = json!({"action": "read", "resource": {"type": "Document", "id": "d1"}});
    let ask = async || {
        let (status, answer) = soon(echo.post("authorize", "/authorize", &admin, &body)).await;
        (status.as_u16(), answer["decision"].as_str().unwrap().to_owned())
    };
    assert_eq!(ask().await, (503, "DENY".to_owned()), "no table");
    tables.connect(echo.table_endpoint());
    assert_eq!(ask().await, (503, "DENY".to_owned()), "no queue");
    queues.connect(echo.queue_endpoint());
    assert_eq!(ask().await, (200, "ALLOW".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn query_without_its_table() {
    let (echo, tables, queues) = cut_off().await;
    queues.connect(echo.queue_endpoint());
    let token = echo.token(|_| {});
    let get = async |path: &str| soon(echo.get("query", path, &token)).await.0;
    let refused = tokio::join!(get("/audit/v1/events"), get("/audit/v1/keys"));
    assert_eq!(refused, (StatusCode::SERVICE_UNAVAILABLE, StatusCode::SERVICE_UNAVAILABLE));
    tables.connect(echo.table_endpoint());
    assert_eq!(get("/audit/v1/events").await, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn query_without_its_queue() {
    let (echo, tables, queues) = cut_off().await;
    tables.connect(echo.table_endpoint());
    let token = echo.token(|_| {});
    let get = async |path: &str| soon(echo.get("query", path, &token)).await.0;
    assert_eq!(get("/audit/v1/events").await, StatusCode::SERVICE_UNAVAILABLE, "nobody reads unrecorded");
    assert_eq!(get("/audit/v1/keys").await, StatusCode::OK);
    queues.connect(echo.queue_endpoint());
    assert_eq!(get("/audit/v1/events").await, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn audit_consume_without_its_table() {
    let (echo, tables, _queues) = cut_off().await;
    let mut body = event();
    (body["source"], body["org"], body["time"]) = ("/t".into(), "o".into(), "2026-01-01T00:00:00Z".into());
    let bodies = vec![body.to_string(); 100];
    assert_eq!(soon(echo.consume(&bodies)).await.len(), 100);
    tables.connect(echo.table_endpoint());
    assert!(echo.consume(&bodies).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn relay_without_its_table() {
    let (echo, tables, queues) = cut_off().await;
    queues.connect(echo.queue_endpoint());
    assert!(soon(relay::handle(&echo.relay)).await.is_err());
    tables.connect(echo.table_endpoint());
    soon(relay::handle(&echo.relay)).await.unwrap();
}
