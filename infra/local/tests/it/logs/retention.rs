//! How long lines are kept: what DynamoDB is told, by org and severity.

use std::collections::BTreeSet;

use echo_shared::log::key::{DAY, HOUR, SECOND};
use echo_shared::log::line::{Severity, lines};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use prost::Message;
use serde_json::json;

use super::super::echo::Echo;
use super::{Item, PROTOBUF, expires_at, hex, items, of, range, record, sorted, string, trace, unpacked};

async fn echo() -> Echo {
    Echo::with_settings(&json!({
        "default": {"days": 30},
        "orgs": {"demo": {"days": 14, "days_by_severity": {"DEBUG": 3, "ERROR": 365}}},
    }))
    .await
}

fn line(time: u64, severity: Severity) -> LogRecord {
    LogRecord { trace_id: trace(1).into(), ..record(time, severity, severity.name()) }
}

/// Unix seconds of the end of an hour and some days.
fn later(hour: u64, days: u64) -> u64 {
    (hour + HOUR) / SECOND + days * 86_400
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_a_block_for_each_retention() {
    let echo = echo().await;
    let hour = echo.hour();
    let times =
        [(0, Severity::Debug), (1, Severity::Info), (2, Severity::Error), (3, Severity::Fatal), (4, Severity::Debug)];
    let records = times.map(|(n, severity)| line(hour + n * SECOND, severity));
    echo.write(vec![of("web", records.into())]).await;
    let mut found: Vec<(Vec<String>, u64)> = Vec::new();
    for payload in echo.stored_as("BLOCK").await {
        let logs = unpacked(&payload);
        let names = lines(&logs).map(|line| line.severity().name().to_owned()).collect();
        found.push((names, expires_at(&payload)));
    }
    found.sort();
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let expected = [
        (names(&["DEBUG", "DEBUG"]), later(hour, 3)),
        (names(&["ERROR"]), later(hour, 365)),
        (names(&["INFO", "FATAL"]), later(hour, 14)),
    ];
    assert_eq!(found, expected);
    // Whatever leads to a block goes away with it.
    let ends = |items: Vec<Item>| items.iter().map(expires_at).collect::<BTreeSet<u64>>();
    let all = BTreeSet::from([3, 14, 365].map(|days| later(hour, days)));
    assert_eq!(ends(echo.stored_as("HEADER").await), all);
    assert_eq!(ends(echo.stored_as("TRACE").await), all);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_org_has_its_own() {
    let echo = echo().await;
    let hour = echo.hour();
    let token = echo.token(|claims| claims["org"] = "acme".into());
    let body = ExportLogsServiceRequest { resource_logs: vec![of("web", vec![line(hour, Severity::Debug)])] };
    assert_eq!(echo.post_logs(&token, &[PROTOBUF], body.encode_to_vec()).await.0, 200);
    echo.drain_logs().await;
    let payloads = echo.stored_as("BLOCK").await;
    assert_eq!(payloads.iter().map(expires_at).collect::<Vec<_>>(), [later(hour, 30)]);
    assert!(string(&payloads[0], "pk").ends_with("#acme"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_is_too_old_when_its_retention_is_over() {
    let echo = echo().await;
    let time = echo.nanos() - 4 * DAY;
    let (rejected, _) =
        echo.send_otlp(vec![of("web", [Severity::Debug, Severity::Info].map(|s| line(time, s)).into())]).await;
    assert_eq!(rejected, 1);
    echo.drain_logs().await;
    let payloads = echo.stored_as("BLOCK").await;
    assert_eq!(payloads.len(), 1);
    assert_eq!(lines(&unpacked(&payloads[0])).map(|line| line.severity()).collect::<Vec<_>>(), [Severity::Info]);
}

/// A message comes again within 14 days, and within as many after a redrive; its marker is there that long.
#[tokio::test(flavor = "multi_thread")]
async fn markers_outlive_messages() {
    let echo = echo().await;
    let before = echo.nanos() / SECOND;
    echo.write(vec![of("web", vec![line(echo.hour(), Severity::Info)])]).await;
    let markers = echo.stored_as("SOURCE").await;
    assert_eq!(markers.len(), 1);
    let days = 30 * 86_400;
    assert!((before + days..=echo.nanos() / SECOND + days).contains(&expires_at(&markers[0])));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_expired_is_not_found_before_dynamodb_removes_it() {
    let echo = echo().await;
    let hour = echo.hour();
    let records = [Severity::Debug, Severity::Info, Severity::Error].map(|severity| line(hour, severity));
    echo.write(vec![of("web", records.into())]).await;
    let window = range(hour, hour + HOUR);
    for (days, expected) in [(0, &["DEBUG", "ERROR", "INFO"][..]), (4, &["ERROR", "INFO"]), (11, &["ERROR"])] {
        echo.pass(days * 86_400);
        assert_eq!(sorted(&echo.search(&window).await), expected);
        assert_eq!(echo.counted(&window).await, expected.len() as u64);
        let page = echo.read_logs(&format!("traces/{}", hex(&trace(1)))).await;
        assert_eq!(sorted(items(&page)), expected);
    }
    assert_eq!(echo.stored_as("BLOCK").await.len(), 3, "all of it is there");
}
