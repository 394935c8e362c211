//! One trace id leads to what was decided, what was logged, and what is in the audit log.

use axum::body::Body;
use echo_shared::log::line::Severity;
use http::Request;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use serde_json::{Value, json};

use super::super::echo::Echo;
use super::{hex, items, of, record, sorted, trace};

/// A JSON request that goes on with a trace.
fn request(echo: &Echo, path: &str, trace: &str, body: &Value) -> Request<Body> {
    let request = Request::post(path).header("traceparent", format!("00-{trace}-00f067aa0ba902b7-01"));
    let request = request.header("authorization", format!("Bearer {}", echo.token(|_| {})));
    request.header("content-type", "application/json").body(Body::from(body.to_string())).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_leads_to_everything() {
    let echo = Echo::start().await;
    echo.publish_policies("demo").await;
    let trace_id = hex(&trace(4711));
    let ask = json!({"action": "read", "resource": {"type": "Document", "id": "d1"}});
    let (status, _, decision) = echo.send("authorize", request(&echo, "/authorize", &trace_id, &ask)).await;
    assert_eq!(status, 200, "{decision}");
    let event = json!({
        "specversion": "1.0", "id": "e1", "type": "log",
        "data": {"body": "by an event", "severity": "WARN", "service": "shop", "attributes": {"n": 3},
                 "span_id": "00f067aa0ba902b7"},
    });
    let (status, _, answer) = echo.send("ingest", request(&echo, "/events", &trace_id, &event)).await;
    assert_eq!(status, 202, "{answer}");
    let line = LogRecord { trace_id: trace(4711).into(), ..record(echo.nanos(), Severity::Info, "by OTLP") };
    let other = record(echo.nanos(), Severity::Info, "of no trace");
    echo.write(vec![of("shop", vec![line, other])]).await;
    echo.drain().await;

    let log = echo.log().await;
    let entry = log.iter().find(|entry| entry["id"] == decision["decision_id"]).unwrap();
    assert_eq!(entry["trace_id"], trace_id.as_str());
    let page = echo.read_logs(&format!("traces/{trace_id}")).await;
    assert_eq!(sorted(items(&page)), ["by OTLP", "by an event"]);
    let line = items(&page).iter().find(|line| line["body"] == "by an event").unwrap();
    assert_eq!((&line["severity"], &line["service"]), (&json!("WARN"), &json!("shop")));
    assert_eq!((&line["attributes"]["n"], &line["span_id"]), (&json!(3), &json!("00f067aa0ba902b7")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_comes_as_an_event_needs_a_body_and_what_it_says_must_make_sense() {
    let echo = Echo::start().await;
    let trace_id = hex(&trace(1));
    for data in [
        json!({}),
        json!({"severity": "INFO"}),
        json!({"body": "x", "severity": "loud"}),
        json!({"body": "x", "service": 7}),
        json!({"body": "x", "attributes": []}),
        json!({"body": "x", "span_id": "7"}),
        json!({"block": "KLUv/QBY", "days": 30}),
        json!("x"),
    ] {
        let event = json!({"specversion": "1.0", "id": "1", "type": "log", "data": data});
        let (status, _, answer) = echo.send("ingest", request(&echo, "/events", &trace_id, &event)).await;
        assert_eq!(status, 400, "{data}: {answer}");
    }
    assert_eq!(echo.take_logs().await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_of_events_may_hold_lines_and_audit_events() {
    let echo = Echo::start().await;
    let audit = json!({"specversion": "1.0", "id": "a1", "type": "audit", "data":
                       {"actor": {"type": "User", "id": "u"}, "action": "a", "outcome": "success"}});
    let line = |body: Value| json!({"specversion": "1.0", "id": "l", "type": "log", "data": {"body": body}});
    let batch = json!([line(json!("first")), audit, line(json!({"deep": [1, null, true]}))]);
    let (status, _, answer) = echo.send("ingest", request(&echo, "/events", &hex(&trace(2)), &batch)).await;
    assert_eq!(status, 202, "{answer}");
    assert!(echo.drain_logs().await > 0);
    assert_eq!(echo.drain().await, 1);
    let page = echo.read_logs(&format!("traces/{}", hex(&trace(2)))).await;
    let bodies: Vec<&Value> = items(&page).iter().map(|line| &line["body"]).collect();
    assert_eq!(bodies.len(), 2, "{page}");
    assert!(bodies.contains(&&json!("first")) && bodies.contains(&&json!({"deep": [1, null, true]})), "{page}");
    assert!(items(&page).iter().all(|line| line["severity"] == "INFO"));
}
