//! Secrets are hidden before anything is stored: they are looked for in the bytes of everything that is.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use echo_shared::log::block::Block;
use echo_shared::log::line::Severity;
use http::Request;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue, KeyValueList, any_value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs};
use serde_json::{Value, json};

use super::super::echo::Echo;
use super::{attribute, bytes, items, of, range, record, string, text};

/// What no stored byte may spell.
const CANARY: &str = "kAnArI8vogel";
/// A number that a payment card could have.
const CARD: &str = "4111 1111 1111 1111";

fn basic() -> String {
    STANDARD.encode(format!("user:{CANARY}"))
}

/// Texts that hold a secret each, with something that must stay.
fn texts() -> Vec<String> {
    vec![
        format!("stays password={CANARY}"),
        format!("stays pwd: {CANARY}"),
        format!(r#"stays {{"client_secret": "{CANARY}"}}"#),
        format!(r#"stays {{\"api_key\": \"{CANARY}\"}}"#),
        format!("stays access_token={CANARY}&a=b"),
        format!("stays Authorization: Bearer {CANARY}"),
        format!("stays got bearer {CANARY} today"),
        format!("stays Authorization: Basic {}", basic()),
        format!("stays with Basic {} today", basic()),
        format!("stays Cookie: session={CANARY}; a=b"),
        format!("stays Set-Cookie: session={CANARY}; Path=/"),
        format!("stays X-Api-Key: {CANARY}"),
        format!("stays private_key={CANARY}"),
        format!("stays eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJ1MSJ9.{CANARY}"),
        format!("stays postgres://user:{CANARY}@db:5432/x"),
        format!("stays paid with {CARD}"),
        format!("stays paid with {}", CARD.replace(' ', "")),
    ]
}

/// Names whose values are hidden, in the spellings of many programs.
const NAMES: [&str; 14] = [
    "password",
    "db.password",
    "DB_PASSWORD",
    "passwd",
    "pwd",
    "client_secret",
    "clientSecret",
    "token",
    "http.request.header.authorization",
    "Set-Cookie",
    "x-api-key",
    "privateKey",
    "credit_card",
    "cardNumber",
];

fn valued(value: any_value::Value) -> AnyValue {
    AnyValue { value: Some(value) }
}

/// A list in a map in a list, with a secret at the bottom under a telling name, and one in a text.
fn deep() -> AnyValue {
    let map = KeyValueList { values: vec![attribute("password", CANARY), attribute("note", &texts()[0])] };
    let list = ArrayValue { values: vec![valued(any_value::Value::KvlistValue(map)), text(&texts()[5])] };
    valued(any_value::Value::ArrayValue(list))
}

/// Lines with secrets wherever a line can have any.
fn secrets(time: u64) -> ResourceLogs {
    let line = |body: AnyValue, attributes: Vec<KeyValue>| LogRecord {
        body: Some(body),
        attributes,
        ..record(time, Severity::Info, "")
    };
    let mut records: Vec<LogRecord> = texts().iter().map(|body| line(text(body), Vec::new())).collect();
    records.extend(texts().iter().map(|note| line(text("stays"), vec![attribute("note", note)])));
    records.extend(NAMES.map(|name| line(text("stays"), vec![attribute(name, CANARY)])));
    let raw = valued(any_value::Value::BytesValue(CANARY.into()));
    let of_bytes = KeyValue { key: "token".into(), value: Some(raw), ..Default::default() };
    records.push(line(deep(), vec![of_bytes]));
    let of_list = KeyValue { key: "list".into(), value: Some(deep()), ..Default::default() };
    records.push(line(text("stays"), vec![of_list]));
    let mut logs = of("web", records);
    logs.resource.as_mut().unwrap().attributes.push(attribute("deploy.token", CANARY));
    let scope = logs.scope_logs[0].scope.as_mut().unwrap();
    scope.attributes.push(attribute("secret", CANARY));
    logs
}

/// Whether any item of the store, or any block in it, spells one of these.
async fn spelled(echo: &Echo, wanted: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    let mut blocks = 0;
    for item in echo.stored().await {
        let mut contents = vec![format!("{item:?}").into_bytes()];
        if item.contains_key("data") {
            contents.push(Block::of(bytes(&item, "data")).unpack().unwrap());
            blocks += 1;
        }
        for wanted in wanted {
            let spells = |content: &Vec<u8>| content.windows(wanted.len()).any(|part| part == wanted.as_bytes());
            if contents.iter().any(spells) {
                found.push(format!("{wanted} in {}", string(&item, "pk")));
            }
        }
    }
    assert!(blocks > 0, "nothing was looked at");
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_stored() {
    let echo = Echo::start().await;
    let time = echo.hour();
    let logs = secrets(time);
    let count = logs.scope_logs[0].log_records.len();
    echo.write(vec![logs]).await;
    let (basic, bare) = (basic(), CARD.replace(' ', ""));
    assert_eq!(spelled(&echo, &[CANARY, &basic, CARD, &bare]).await, [""; 0]);
    // What is hidden is that alone: the lines are there, and say that something was.
    let lines = echo.search(&format!("{}&limit=100", range(time, time + 1))).await;
    assert_eq!(lines.len(), count);
    for line in lines {
        assert_eq!(line["resource"]["deploy.token"], "[redacted]");
        let line = json!([line["body"], line["attributes"]]).to_string();
        assert!(line.contains("stays") && line.contains("[redacted]"), "{line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_search_for_secrets_finds_what_is_there() {
    let echo = Echo::start().await;
    echo.write(vec![of("web", vec![record(echo.hour(), Severity::Info, "a harmless word")])]).await;
    assert_eq!(spelled(&echo, &["harmless", CANARY]).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_org_hides_attributes_of_its_own() {
    let echo = Echo::with_settings(&json!({"orgs": {"demo": {"redact": ["ssn", "Date-Of-Birth"]}}})).await;
    let time = echo.hour();
    let attributes = ["SSN", "user.ssn", "date_of_birth"].map(|name| attribute(name, CANARY));
    let mut attributes = Vec::from(attributes);
    attributes.push(attribute("city", "Ulm"));
    echo.write(vec![of("web", vec![LogRecord { attributes, ..record(time, Severity::Info, "x") }])]).await;
    assert_eq!(spelled(&echo, &[CANARY]).await, [""; 0]);
    let page = echo.read_logs(&format!("query?{}", range(time, time + 1))).await;
    let hidden = json!("[redacted]");
    let expected = json!({"SSN": hidden, "user.ssn": hidden, "date_of_birth": hidden, "city": "Ulm"});
    assert_eq!(items(&page)[0]["attributes"], expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_that_come_as_events_are_no_exception() {
    let echo = Echo::start().await;
    let line = |body: Value, attributes: Value| {
        let data = json!({"body": body, "attributes": attributes});
        json!({"specversion": "1.0", "id": "1", "type": "log", "data": data})
    };
    let mut batch: Vec<Value> = texts().into_iter().map(|body| line(body.into(), json!({}))).collect();
    batch.extend(NAMES.map(|name| line("stays".into(), json!({ name: CANARY }))));
    batch.push(line(json!({"stays": {"password": CANARY, "list": [{"token": CANARY}]}}), json!({})));
    let request = Request::post("/events").header("authorization", format!("Bearer {}", echo.token(|_| {})));
    let request = request.header("content-type", "application/json");
    let (status, _, answer) = echo.send("ingest", request.body(json!(batch).to_string().into()).unwrap()).await;
    assert_eq!(status, 202, "{answer}");
    assert!(echo.drain_logs().await > 0);
    let (basic, bare) = (basic(), CARD.replace(' ', ""));
    assert_eq!(spelled(&echo, &[CANARY, &basic, CARD, &bare]).await, [""; 0]);
    let lines = items(&echo.read_logs("query?limit=100").await).clone();
    assert_eq!(lines.len(), batch.len());
    assert!(lines.iter().all(|line| line.to_string().contains("[redacted]")));
}
