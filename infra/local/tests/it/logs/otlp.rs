//! `POST /v1/logs` as OTLP has it: encodings, answers, and what is refused.

use std::io::Write;

use echo_shared::log::key::{DAY, HOUR, SECOND};
use echo_shared::log::line::Severity;
use flate2::Compression;
use flate2::write::GzEncoder;
use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsServiceRequest, ExportLogsServiceResponse};
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs};
use prost::Message;
use serde_json::{Value, json};

use super::super::echo::Echo;
use super::{GZIP, JSON, PROTOBUF, attribute, bodies, hex, items, of, range, record, sorted, trace};

const MINUTE: u64 = 60 * SECOND;

fn protobuf(logs: Vec<ResourceLogs>) -> Vec<u8> {
    ExportLogsServiceRequest { resource_logs: logs }.encode_to_vec()
}

/// OTLP's JSON of one line.
fn json_line(time: u64, body: &str) -> Vec<u8> {
    let record = json!({
        "timeUnixNano": time.to_string(), "severityNumber": 17, "severityText": "ERROR", "body": {"stringValue": body},
        "traceId": hex(&trace(5)), "spanId": "00f067aa0ba902b7",
        "attributes": [{"key": "tries", "value": {"intValue": "3"}}],
    });
    let resource = json!({"attributes": [{"key": "service.name", "value": {"stringValue": "web"}}]});
    let logs = json!({"resource": resource, "scopeLogs": [{"scope": {"name": "s"}, "logRecords": [record]}]});
    json!({ "resourceLogs": [logs] }).to_string().into_bytes()
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

/// Nothing is on its way to the store.
async fn nothing_came(echo: &Echo) {
    assert_eq!(echo.take_logs().await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn protobuf_and_json_are_taken_plain_and_packed_and_answered_in_kind() {
    let echo = Echo::start().await;
    let (token, time) = (echo.token(|_| {}), echo.hour());
    let as_protobuf = |body: &str| protobuf(vec![of("web", vec![record(time, Severity::Error, body)])]);
    let packed = gzip(&as_protobuf("protobuf, packed"));
    for (headers, body) in [
        (&[PROTOBUF][..], as_protobuf("protobuf")),
        (&[PROTOBUF, GZIP], packed),
        (&[JSON], json_line(time, "json")),
        (&[JSON, GZIP], gzip(&json_line(time, "json, packed"))),
        (&[("content-type", "application/json; charset=utf-8")], json_line(time, "json, with charset")),
        (&[PROTOBUF, ("content-encoding", "identity")], as_protobuf("protobuf, as it is")),
    ] {
        let (status, answered, answer) = echo.post_logs(&token, headers, body).await;
        assert_eq!(status, 200, "{}", String::from_utf8_lossy(&answer));
        let kind = headers[0].1.split(';').next().unwrap();
        assert_eq!(answered["content-type"].to_str().unwrap().split(';').next(), Some(kind));
        let rejected = if kind == JSON.1 {
            rejected(&serde_json::from_slice(&answer).unwrap()).0
        } else {
            let answer = ExportLogsServiceResponse::decode(&*answer).unwrap();
            answer.partial_success.unwrap_or_default().rejected_log_records
        };
        assert_eq!(rejected, 0);
    }
    assert_eq!(echo.drain_logs().await, 6, "a block for each");
    let lines = echo.search(&range(time, time + HOUR)).await;
    let all = ["json", "json, packed", "json, with charset", "protobuf", "protobuf, as it is", "protobuf, packed"];
    assert_eq!(sorted(&lines), all);
    let line = lines.iter().find(|line| line["body"] == "json").unwrap();
    assert_eq!((&line["service"], &line["severity"]), (&json!("web"), &json!("ERROR")));
    assert_eq!((&line["severity_number"], &line["severity_text"]), (&json!(17), &json!("ERROR")));
    assert_eq!((&line["trace_id"], &line["span_id"]), (&json!(hex(&trace(5))), &json!("00f067aa0ba902b7")));
    assert_eq!((&line["attributes"]["tries"], &line["scope"]), (&json!(3), &json!("s")));
    assert_eq!(line["resource"]["service.name"], "web");
}

/// How many records OTLP's JSON answer counts as rejected, and why. Numbers of 64 bits are texts there.
fn rejected(answer: &Value) -> (i64, String) {
    let Some(part) = answer.get("partialSuccess") else { return (0, String::new()) };
    let count = match &part["rejectedLogRecords"] {
        Value::String(digits) => digits.parse().unwrap(),
        Value::Null => 0,
        number => number.as_i64().unwrap(),
    };
    (count, part["errorMessage"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn empty_requests_are_fine_and_store_nothing() {
    let echo = Echo::start().await;
    let token = echo.token(|_| {});
    for (headers, body) in [
        (PROTOBUF, Vec::new()),
        (PROTOBUF, protobuf(vec![of("web", Vec::new())])),
        (PROTOBUF, protobuf(vec![ResourceLogs::default()])),
        (JSON, b"{}".to_vec()),
        (JSON, br#"{"resourceLogs": []}"#.to_vec()),
    ] {
        let (status, _, answer) = echo.post_logs(&token, &[headers], body).await;
        assert_eq!(status, 200, "{}", String::from_utf8_lossy(&answer));
    }
    nothing_came(&echo).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_lines_are_counted_and_their_neighbours_stored() {
    let echo = Echo::start().await;
    let now = echo.nanos();
    let line = |time: u64, body: &str| record(time, Severity::Info, body);
    let cases = [
        (line(now + 11 * MINUTE, "from the future"), false),
        (line(now + 9 * MINUTE, "a clock that is fast"), true),
        (line(now - 31 * DAY, "older than lines are kept"), false),
        (line(now - 29 * DAY, "old"), true),
        (line(u64::MAX, "from the end of time"), false),
        (line(1, "from its beginning"), false),
        (line(now, &"x".repeat(41_000)), false),
        (line(now, &"x".repeat(1_048_576)), false),
        (line(now, "good"), true),
    ];
    let bad = cases.iter().filter(|(_, good)| !good).count();
    let records = cases.iter().map(|(record, _)| record.clone()).collect();
    let (count, message) = echo.send_otlp(vec![of("web", records)]).await;
    assert_eq!(count, i64::try_from(bad).unwrap());
    assert!(!message.is_empty(), "the sender is told why");
    echo.drain_logs().await;
    let recent = echo.search(&range(now - HOUR, now + 15 * MINUTE)).await;
    assert_eq!(sorted(&recent), ["a clock that is fast", "good"]);
    assert_eq!(bodies(&echo.search(&range(now - 29 * DAY - HOUR, now - 29 * DAY + HOUR)).await), ["old"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn json_tells_of_bad_lines_too() {
    let echo = Echo::start().await;
    let body = json_line(echo.nanos() - 40 * DAY, "old");
    let (status, _, answer) = echo.post_logs(&echo.token(|_| {}), &[JSON], body).await;
    let (count, message) = rejected(&serde_json::from_slice(&answer).unwrap());
    assert_eq!((status, count), (200, 1));
    assert!(!message.is_empty());
    nothing_came(&echo).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_without_a_time_is_of_when_it_came() {
    let echo = Echo::start().await;
    let before = echo.nanos();
    let observed = LogRecord { observed_time_unix_nano: before - MINUTE, ..record(0, Severity::Info, "observed") };
    echo.write(vec![of("web", vec![record(0, Severity::Info, "timeless"), observed])]).await;
    let lines = echo.search(&range(before, echo.nanos() + SECOND)).await;
    assert_eq!(bodies(&lines), ["timeless"]);
    let lines = echo.search(&range(before - MINUTE, before - MINUTE + 1)).await;
    assert_eq!(bodies(&lines), ["observed"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_otlp_is_refused_whole() {
    let echo = Echo::start().await;
    let token = echo.token(|_| {});
    let good = protobuf(vec![of("web", vec![record(echo.hour(), Severity::Info, "good")])]);
    let cut = good[..good.len() - 3].to_vec();
    let packed = gzip(&good);
    let cut_packed = packed[..packed.len() / 2].to_vec();
    for (headers, body, expected) in [
        (&[PROTOBUF][..], cut, 400),
        (&[PROTOBUF], b"\xff\xff\xff".to_vec(), 400),
        (&[JSON], b"{".to_vec(), 400),
        (&[JSON], b"[]".to_vec(), 400),
        (&[JSON], br#"{"resourceLogs": 7}"#.to_vec(), 400),
        (&[JSON], b"\xff".to_vec(), 400),
        (&[JSON], format!("{}{}", "[".repeat(100_000), "]".repeat(100_000)).into_bytes(), 400),
        (&[PROTOBUF, GZIP], good.clone(), 400),
        (&[PROTOBUF, GZIP], cut_packed, 400),
        (&[("content-type", "text/plain")], good.clone(), 415),
        (&[], good.clone(), 415),
        (&[PROTOBUF, ("content-encoding", "br")], good.clone(), 415),
        (&[PROTOBUF], vec![0; 4 * 1024 * 1024 + 1], 413),
        (&[JSON], vec![b' '; 4 * 1024 * 1024 + 1], 413),
        (&[PROTOBUF, GZIP], gzip(&vec![0; 64 * 1024 * 1024]), 413),
    ] {
        let size = body.len();
        let (status, _, answer) = echo.post_logs(&token, headers, body).await;
        assert_eq!(status, expected, "{headers:?}, {size} bytes: {}", String::from_utf8_lossy(&answer));
    }
    nothing_came(&echo).await;
    assert_eq!(echo.post_logs(&token, &[PROTOBUF], good).await.0, 200, "it was good");
}

/// A good line, and one whose text is no UTF-8.
fn not_utf8(time: u64) -> Vec<u8> {
    let mut body = protobuf(vec![of("web", ["good", "BAD!"].map(|body| record(time, Severity::Info, body)).into())]);
    let at = body.windows(4).position(|part| part == b"BAD!").unwrap();
    body[at] = 0xff;
    body
}

/// Bytes of a field that holds bytes.
fn field(number: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![number << 3 | 2];
    prost::encoding::encode_varint(content.len() as u64, &mut bytes);
    bytes.extend(content);
    bytes
}

/// A request with one record that holds these bytes.
fn with_record(record: &[u8]) -> Vec<u8> {
    // resource_logs, scope_logs, log_records.
    field(1, &field(2, &field(2, record)))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_cannot_be_read_is_counted_and_its_neighbours_stored() {
    let echo = Echo::start().await;
    let (token, time) = (echo.token(|_| {}), echo.hour());
    // An AnyValue that holds a list of an AnyValue, and so on.
    let deep = (0..1_000).fold(Vec::new(), |inner, _| field(5, &field(1, &inner)));
    let good = |body: &str| protobuf(vec![of("web", vec![record(time, Severity::Info, body)])]);
    let deep = [good("beside a deep body"), with_record(&field(5, &deep))].concat();
    for body in [not_utf8(time), deep] {
        let (status, _, answer) = echo.post_logs(&token, &[PROTOBUF], body).await;
        let partial = ExportLogsServiceResponse::decode(&*answer).unwrap().partial_success.unwrap();
        assert_eq!((status, partial.rejected_log_records), (200, 1));
        assert!(!partial.error_message.is_empty());
    }
    let line = String::from_utf8(json_line(time, "beside odd values")).unwrap();
    for odd in [json!({"traceId": "xyz"}), json!({"body": {"intValue": "many"}}), json!({"body": "text"})] {
        let body = line.replace(r#""logRecords":["#, &format!(r#""logRecords":[{odd},"#));
        let (status, _, answer) = echo.post_logs(&token, &[JSON], body.into_bytes()).await;
        assert_eq!((status, rejected(&serde_json::from_slice(&answer).unwrap()).0), (200, 1), "{odd}");
    }
    echo.drain_logs().await;
    let lines = sorted(&echo.search(&range(time, time + HOUR)).await);
    // Three requests with the same line: its block is stored once.
    assert_eq!(lines, ["beside a deep body", "beside odd values", "good"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn few_bytes_do_not_become_much_memory() {
    let echo = Echo::start().await;
    let token = echo.token(|_| {});
    let empty_records = |count: usize| field(1, &field(2, &field(2, &[]).repeat(count)));
    let attributes = field(6, &[]).repeat(200_001);
    let resources = field(1, &[]).repeat(1_000_000);
    let scopes = field(1, &field(2, &[]).repeat(1_000_000));
    for (name, body) in [
        ("records", empty_records(20_001)),
        ("attributes", with_record(&attributes)),
        ("resources", resources),
        ("scopes", scopes),
    ] {
        for (headers, body) in [(&[PROTOBUF][..], body.clone()), (&[PROTOBUF, GZIP], gzip(&body))] {
            let (status, _, answer) = echo.post_logs(&token, headers, body).await;
            let said = String::from_utf8_lossy(&answer);
            assert!([400, 413].contains(&status), "{name}, {headers:?}: {status} {said}");
        }
    }
    nothing_came(&echo).await;
    let (status, _, _) = echo.post_logs(&token, &[PROTOBUF], empty_records(20_000)).await;
    assert_eq!(status, 200);
    let now = echo.nanos();
    echo.drain_logs().await;
    assert_eq!(echo.counted(&range(now - HOUR, now + HOUR)).await, 20_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_send_and_for_whom_is_the_token_s_to_say() {
    let echo = Echo::start().await;
    let time = echo.hour();
    let body = protobuf(vec![of("web", vec![record(time, Severity::Info, "x")])]);
    let powerless = echo.token(|claims| claims["scope"] = "events.write logs.read".into());
    let expired = echo.token(|claims| claims["exp"] = 1.into());
    for (token, expected) in [("", 401), ("junk", 401), (expired.as_str(), 401), (&powerless, 403)] {
        assert_eq!(echo.post_logs(token, &[PROTOBUF], body.clone()).await.0, expected);
    }
    nothing_came(&echo).await;

    // Whatever the lines say of themselves.
    let mut logs = of("web", vec![record(time, Severity::Info, "foreign")]);
    let claims: Vec<KeyValue> = ["org", "tenant", "echo.org"].map(|name| attribute(name, "acme")).into();
    logs.resource.as_mut().unwrap().attributes.extend(claims);
    echo.write(vec![logs]).await;
    let query = format!("query?{}", range(time, time + HOUR));
    assert_eq!(bodies(items(&echo.read_logs(&query).await)), ["foreign"]);
    assert_eq!(items(&echo.read_logs_of("acme", &query).await).len(), 0);
}
