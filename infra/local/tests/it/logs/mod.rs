//! The log store: lines come in by OTLP, lie in blocks, and are found again.

mod correlation;
mod crash;
mod damage;
mod exporters;
mod otlp;
mod redact;
mod retention;
mod search;
mod store;

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use axum::body::Body;
use echo_shared::event::log::Packed;
use echo_shared::log::block::{Block, read};
use echo_shared::log::key::HOUR;
use echo_shared::log::line::Severity;
use http::{HeaderMap, Request};
use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsServiceRequest, ExportLogsServiceResponse};
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, LogsData, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::echo::{Echo, consume_logs};
use super::support;

pub const TABLE: &str = "echo-log_store";
pub const PROTOBUF: (&str, &str) = ("content-type", "application/x-protobuf");
pub const JSON: (&str, &str) = ("content-type", "application/json");
pub const GZIP: (&str, &str) = ("content-encoding", "gzip");

pub type Item = HashMap<String, AttributeValue>;

pub fn text(value: &str) -> AnyValue {
    AnyValue { value: Some(any_value::Value::StringValue(value.into())) }
}

pub fn attribute(key: &str, value: &str) -> KeyValue {
    KeyValue { key: key.into(), value: Some(text(value)), ..Default::default() }
}

/// A line.
pub fn record(time: u64, severity: Severity, body: &str) -> LogRecord {
    let severity_number = severity.number();
    LogRecord { time_unix_nano: time, severity_number, body: Some(text(body)), ..Default::default() }
}

/// Lines of one service.
pub fn of(service: &str, records: Vec<LogRecord>) -> ResourceLogs {
    let scope = InstrumentationScope { name: "tests".into(), ..Default::default() };
    ResourceLogs {
        resource: Some(Resource { attributes: vec![attribute("service.name", service)], ..Default::default() }),
        scope_logs: vec![ScopeLogs { scope: Some(scope), log_records: records, ..Default::default() }],
        ..Default::default()
    }
}

/// A trace id of this number; its first byte is the number's last, since postings lie by it.
pub fn trace(number: u64) -> [u8; 16] {
    let mut id = [7; 16];
    id[..8].copy_from_slice(&number.to_le_bytes());
    id
}

/// The trace of the block of this number in an hour.
pub fn trace_in(hour: u64, number: u64) -> [u8; 16] {
    trace(hour / HOUR * 1_000 + number)
}

/// Bytes as lower-case digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Numbers that look random and are the same in every run (SplitMix64).
pub struct Seeded(pub u64);

impl Seeded {
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.draw() % end as u64).unwrap()
    }

    /// A text of 16 digits for each of `count` numbers, which no compressor makes smaller than half.
    pub fn noise(&mut self, count: usize) -> String {
        (0..count).map(|_| format!("{:016x}", self.draw())).collect()
    }
}

/// The parameters of a stretch of time.
pub fn range(from: u64, to: u64) -> String {
    format!("from={}&to={}", rfc3339(from), rfc3339(to))
}

pub fn rfc3339(nanos: u64) -> String {
    OffsetDateTime::from_unix_timestamp_nanos(nanos.into()).unwrap().format(&Rfc3339).unwrap()
}

/// The block of these lines.
pub fn block(logs: Vec<ResourceLogs>) -> Block {
    Block::pack(&LogsData { resource_logs: logs }.encode_to_vec()).unwrap()
}

/// A block whose stored form is too large to be folded: 60 lines of one trace, a millisecond apart and behind those of
/// the number before.
pub fn large_block(hour: u64, number: u64) -> Block {
    let mut noise = Seeded(number);
    let line = |n: u64, noise: &mut Seeded| {
        let body = format!("large {number} {n} {}", noise.noise(40));
        let record = record(hour + (number * 60 + n) * 1_000_000, Severity::Info, &body);
        LogRecord { trace_id: trace_in(hour, number).into(), ..record }
    };
    let records = (0..60).map(|n| line(n, &mut noise)).collect();
    let block = block(vec![of("large", records)]);
    assert!((16_000..44_000).contains(&block.data.len()), "{}", block.data.len());
    block
}

/// The body of the event that carries a block.
pub fn event(org: &str, block: &Block, days: u32) -> String {
    event_with(&json!({ "org": org, "data": Packed::new(block, days).to_data(), "id": block.id.to_string() }))
}

/// The body of a `log` event with these attributes.
pub fn event_with(attributes: &Value) -> String {
    let mut event = json!({
        "specversion": "1.0", "id": "0", "source": "/clients/test", "type": "log", "time": "2026-01-01T00:00:00Z",
        "org": "demo", "data": {},
    });
    for (name, value) in attributes.as_object().unwrap() {
        event[name] = value.clone();
    }
    event.to_string()
}

/// The texts of lines.
pub fn bodies(lines: &[Value]) -> Vec<String> {
    lines.iter().map(|line| line["body"].as_str().unwrap_or_else(|| panic!("{line}")).to_owned()).collect()
}

/// The same, in order.
pub fn sorted(lines: &[Value]) -> Vec<String> {
    let mut bodies = bodies(lines);
    bodies.sort();
    bodies
}

pub fn items(page: &Value) -> &Vec<Value> {
    page["items"].as_array().unwrap_or_else(|| panic!("{page}"))
}

impl Echo {
    /// Now, in nanoseconds since 1970.
    pub fn nanos(&self) -> u64 {
        u64::try_from(self.now().unix_timestamp_nanos()).unwrap()
    }

    /// The beginning of an hour that is over.
    pub fn hour(&self) -> u64 {
        (self.nanos() / HOUR - 2) * HOUR
    }

    /// Sends a body to `POST /v1/logs`; status, headers and body of the answer.
    pub async fn post_logs(&self, token: &str, headers: &[(&str, &str)], body: Vec<u8>) -> (u16, HeaderMap, Vec<u8>) {
        let mut request = Request::post("/v1/logs");
        if !token.is_empty() {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (parts, body) = self.route("ingest", request.body(Body::from(body)).unwrap()).await.into_parts();
        let body = axum::body::to_bytes(body, usize::MAX).await.unwrap().to_vec();
        (parts.status.as_u16(), parts.headers, body)
    }

    /// Sends lines of the org `demo`; how many are refused, and why the first is.
    pub async fn send_otlp(&self, logs: Vec<ResourceLogs>) -> (i64, String) {
        let body = ExportLogsServiceRequest { resource_logs: logs }.encode_to_vec();
        let (status, _, answer) = self.post_logs(&self.token(|_| {}), &[PROTOBUF], body).await;
        assert_eq!(status, 200, "{}", String::from_utf8_lossy(&answer));
        let answer = ExportLogsServiceResponse::decode(&*answer).unwrap().partial_success.unwrap_or_default();
        (answer.rejected_log_records, answer.error_message)
    }

    /// Sends lines of the org `demo` and sees them through to the store.
    pub async fn write(&self, logs: Vec<ResourceLogs>) {
        assert_eq!(self.send_otlp(logs).await, (0, String::new()));
        assert!(self.drain_logs().await > 0);
    }

    /// What the queue `log` holds, which is then empty.
    pub async fn take_logs(&self) -> Vec<String> {
        let mut taken = Vec::new();
        while let bodies = support::take(&self.queues, "echo-log").await
            && !bodies.is_empty()
        {
            taken.extend(bodies);
        }
        taken
    }

    /// Hands bodies to log-consume as one batch; the indices of those that failed.
    pub async fn keep(&self, bodies: &[String]) -> Vec<usize> {
        consume_logs(&self.logs, bodies).await
    }

    /// Empties the queue `log` into log-consume; how many events it held.
    pub async fn drain_logs(&self) -> usize {
        let bodies = self.take_logs().await;
        for batch in bodies.chunks(100) {
            assert_eq!(self.keep(batch).await, [0usize; 0]);
        }
        bodies.len()
    }

    /// A page of `GET /logs/v1/{path}` as the org `demo` sees it.
    pub async fn read_logs(&self, path: &str) -> Value {
        self.read_logs_of("demo", path).await
    }

    /// The same for any org.
    pub async fn read_logs_of(&self, org: &str, path: &str) -> Value {
        let token = self.token(|claims| claims["org"] = org.into());
        let (status, page) = self.get("query", &format!("/logs/v1/{path}"), &token).await;
        assert_eq!(status, 200, "{path}: {page}");
        page
    }

    /// All lines that a search finds, page by page.
    pub async fn search(&self, query: &str) -> Vec<Value> {
        let (mut lines, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = self.read_logs(&format!("query?{query}{cursor}")).await;
            assert_eq!(page["damaged"], json!([]), "{page}");
            lines.extend(items(&page).iter().cloned());
            match page["next"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return lines,
            }
        }
    }

    /// How many lines the statistics count.
    pub async fn counted(&self, query: &str) -> u64 {
        let page = self.read_logs(&format!("stats?{query}")).await;
        assert_eq!((&page["damaged"], &page["scanned_to"]), (&json!([]), &Value::Null), "{page}");
        items(&page).iter().map(|item| item["lines"].as_u64().unwrap()).sum()
    }

    /// Everything that lies in the store.
    pub async fn stored(&self) -> Vec<Item> {
        let (client, mut items, mut start) = (self.tables(), Vec::new(), None);
        loop {
            let scan = client.scan().table_name(TABLE).consistent_read(true).set_exclusive_start_key(start);
            let page = scan.send().await.unwrap();
            items.extend(page.items.unwrap());
            start = page.last_evaluated_key;
            if start.is_none() {
                return items;
            }
        }
    }

    /// The items of one kind: `HEADER`, `BLOCK`, `TRACE` or `SOURCE`.
    pub async fn stored_as(&self, kind: &str) -> Vec<Item> {
        let prefix = format!("{kind}#");
        self.stored().await.into_iter().filter(|item| string(item, "pk").starts_with(&prefix)).collect()
    }

    /// Overwrites an item.
    pub async fn put_stored(&self, item: Item) {
        self.tables().put_item().table_name(TABLE).set_item(Some(item)).send().await.unwrap();
    }

    /// Removes an item.
    pub async fn remove_stored(&self, item: &Item) {
        let key = ["pk", "sk"].map(|name| (name.to_owned(), item[name].clone()));
        self.tables().delete_item().table_name(TABLE).set_key(Some(key.into())).send().await.unwrap();
    }
}

pub fn string(item: &Item, name: &str) -> String {
    item[name].as_s().unwrap().clone()
}

pub fn bytes(item: &Item, name: &str) -> Vec<u8> {
    item[name].as_b().unwrap().as_ref().to_vec()
}

/// When an item goes away: seconds since 1970.
pub fn expires_at(item: &Item) -> u64 {
    item["expires_at"].as_n().unwrap().parse().unwrap()
}

/// What lies in a payload.
pub fn unpacked(item: &Item) -> LogsData {
    read(&Block::of(bytes(item, "data")).unpack().unwrap()).unwrap()
}
