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

/// The rows of `events/README.md`: the sample and the answer it gets.
fn samples() -> BTreeMap<String, String> {
    let table = std::fs::read_to_string(folder().join("README.md")).unwrap();
    let rows = table.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"));
    let cells = rows.map(|row| row.split(" | ").collect::<Vec<_>>()).filter(|cells| cells[0].contains('.'));
    cells.map(|cells| (cells[0].to_owned(), cells[2].to_owned())).collect()
}

fn http_samples() -> BTreeMap<String, u16> {
    samples().into_iter().filter_map(|(name, answer)| Some((name, answer.parse().ok()?))).collect()
}

#[test]
fn every_sample_is_listed() {
    let files = std::fs::read_dir(folder()).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
    let files: BTreeSet<String> = files.filter_map(|name| Some(name.strip_suffix(".json")?.to_owned())).collect();
    assert_eq!(files, samples().into_keys().collect());
    assert!(http_samples().len() > 15);
}

#[tokio::test(flavor = "multi_thread")]
async fn http_samples_get_their_answer() {
    let echo = Echo::start().await;
    echo.publish_policies("demo").await;
    // What the log's samples prove.
    let event = serde_json::from_str(&read("audit-consume.one-record")).unwrap();
    audit_consume::handle(&echo.audit, event).await.unwrap();
    let token = format!("Bearer {}", echo.token(|_| {}));
    let mut found = BTreeMap::new();
    for name in http_samples().into_keys() {
        let event: LambdaRequest = serde_json::from_str(&read(&name)).unwrap();
        let (mut parts, body) = lambda_http::Request::from(event).into_parts();
        if parts.headers.get("authorization").is_some_and(|value| value.to_str().unwrap().contains("replace-me")) {
            parts.headers.insert("authorization", token.parse().unwrap());
        }
        let request = Request::from_parts(parts, Body::new(body));
        let (status, headers, _) = echo.send(name.split('.').next().unwrap(), request).await;
        assert_eq!(headers["x-request-id"], "0190a0b0-0000-7000-8000-000000000001", "{name}");
        found.insert(name, status.as_u16());
    }
    assert_eq!(found, http_samples());
}

#[tokio::test(flavor = "multi_thread")]
async fn queue_samples_fail_where_they_should() {
    let echo = Echo::start().await;
    let mut tried = 0;
    let batches = |name: &str| name.contains("-consume.") && !name.ends_with(".schedule");
    for (name, answer) in samples().iter().filter(|(name, _)| batches(name)) {
        let event = serde_json::from_str(&read(name)).unwrap();
        let response = match name.split('.').next().unwrap() {
            "audit-consume" => audit_consume::handle(&echo.audit, event).await.unwrap(),
            _ => log_consume::handle(&echo.logs, event).await.unwrap(),
        };
        let identifiers = response.batch_item_failures.iter().map(|failure| failure.item_identifier.as_str());
        let failed = identifiers.collect::<Vec<_>>().join(" ");
        assert_eq!(format!("fails {}", if failed.is_empty() { "nothing" } else { &failed }), *answer, "{name}");
        tried += 1;
    }
    assert_eq!(tried, 6);
    for name in ["relay.schedule", "audit-consume.schedule"] {
        let schedule: Value = serde_json::from_str(&read(name)).unwrap();
        assert_eq!(schedule["detail-type"], "Scheduled Event");
    }
    relay::handle(&echo.relay).await.unwrap();
}
