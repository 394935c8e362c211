//! Every file in `events/` does what its name says when its function gets it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use axum::body::Body;
use http::Request;
use lambda_http::request::LambdaRequest;
use serde_json::Value;

use super::echo::Echo;

fn folder() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../events"))
}

fn read(name: &str) -> String {
    std::fs::read_to_string(folder().join(format!("{name}.json"))).unwrap()
}

/// The HTTP events and the status that each is answered with.
const HTTP: [(&str, u16); 11] = [
    ("authorize.read-document", 200),
    ("authorize.no-token", 401),
    ("authorize.alg-none", 401),
    ("authorize.malformed", 400),
    ("ingest.one-event", 202),
    ("ingest.foreign-org", 403),
    ("ingest.no-token", 401),
    ("ingest.unknown-path", 404),
    ("query.newest", 200),
    ("query.no-token", 401),
    ("query.bad-limit", 400),
];

const LOGIN: [(&str, u16); 7] = [
    ("login.discovery", 200),
    ("login.authorize-unknown-client", 400),
    ("login.login-page", 200),
    ("login.login-without-csrf", 403),
    ("login.token-client-credentials", 200),
    ("login.token-password-grant", 400),
    ("login.token-json-body", 415),
];

const OTHER: [&str; 4] =
    ["audit-consume.one-record", "audit-consume.poison-in-the-middle", "audit-consume.empty", "relay.schedule"];

#[test]
fn every_sample_is_tried() {
    let files = std::fs::read_dir(folder()).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
    let files: BTreeSet<String> = files.map(|name| name.trim_end_matches(".json").to_owned()).collect();
    let tried = HTTP.iter().chain(&LOGIN).map(|(name, _)| *name).chain(OTHER);
    assert_eq!(files, tried.map(str::to_owned).collect());
}

#[tokio::test(flavor = "multi_thread")]
async fn http_samples_get_their_answer() {
    let echo = Echo::start().await;
    echo.publish_policies("demo").await;
    let token = format!("Bearer {}", echo.token(|_| {}));
    let mut found = BTreeMap::new();
    for (name, _) in HTTP.iter().chain(&LOGIN) {
        let event: LambdaRequest = serde_json::from_str(&read(name)).unwrap();
        let (mut parts, body) = lambda_http::Request::from(event).into_parts();
        if parts.headers.get("authorization").is_some_and(|value| value.to_str().unwrap().contains("replace-me")) {
            parts.headers.insert("authorization", token.parse().unwrap());
        }
        let request = Request::from_parts(parts, Body::new(body));
        let (status, headers, _) = echo.send(name.split('.').next().unwrap(), request).await;
        assert_eq!(headers["x-request-id"], "0190a0b0-0000-7000-8000-000000000001", "{name}");
        found.insert(*name, status.as_u16());
    }
    assert_eq!(found, HTTP.into_iter().chain(LOGIN).collect());
}

#[tokio::test(flavor = "multi_thread")]
async fn queue_samples_fail_where_they_should() {
    let echo = Echo::start().await;
    for (name, failed) in [("one-record", vec![]), ("poison-in-the-middle", vec!["m2"]), ("empty", vec![])] {
        let event = serde_json::from_str(&read(&format!("audit-consume.{name}"))).unwrap();
        let response = audit_consume::handle(&echo.audit, event).await.unwrap();
        let identifiers = response.batch_item_failures.iter().map(|failure| failure.item_identifier.as_str());
        assert_eq!(identifiers.collect::<Vec<_>>(), failed, "{name}");
    }
    let schedule: Value = serde_json::from_str(&read("relay.schedule")).unwrap();
    assert_eq!(schedule["detail-type"], "Scheduled Event");
    relay::handle(&echo.relay).await.unwrap();
}
