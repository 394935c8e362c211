//! The most memory that the functions need, whatever is sent: large requests, and such as nobody means well by.
//!
//! Ingest has to refuse the bomb and to take all else, log-consume to store all blocks; what counts is what they had
//! resident.

use axum::body::Bytes;
use echo_shared::log::block::Block;
use echo_shared::log::key::HOUR;
use echo_shared::telemetry::hex;
use http::StatusCode;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, LogsData, ResourceLogs, ScopeLogs};
use prost::Message;
use serde_json::{Value as Json, json};
use time::OffsetDateTime;

use super::super::events;
use super::super::instance::Instance;
use super::super::lab::Lab;
use super::super::usage::peak_memory_mb;
use super::ask::{PROTOBUF, batches};
use super::draw::Draw;
use super::made::{Lines, Made};
use super::otlp::{any, number};
use super::requests::{batch, gzip};
use super::store;
use super::stub::Stub;
use crate::Failure;

/// The largest request, unpacked: 4 MiB, and a little less.
const LARGEST: usize = 4 * 1_048_576 - 4_096;
/// Tiny records of one request.
const TINY: usize = 20_000;
/// Attributes of one record.
const ATTRIBUTES: u64 = 200_000;
/// What a few kilobytes of gzip unpack to.
const BOMB: usize = 64 * 1_048_576;
/// Blocks of one delivery.
const BLOCKS: u64 = 100;
/// Lines of a small block.
const SMALL: usize = 25;
/// Each input is handed over so many times: what is freed is not always given back.
const TIMES: usize = 3;
/// Nanoseconds between two lines.
const PACE: u64 = 1_000_000;

/// The most memory each function had resident, in megabytes.
pub struct Peaks {
    /// Ingest.
    pub ingest: f64,
    /// Log-consume.
    pub consumer: f64,
}

/// Hands over all inputs to one process of each function.
///
/// # Errors
/// When a function does not answer as it should.
pub async fn run(lab: &mut Lab, now: OffsetDateTime) -> Result<Peaks, Failure> {
    // A full hour that is over.
    let begin = u64::try_from(now.unix_timestamp_nanos())? / HOUR * HOUR - HOUR;
    Ok(Peaks { ingest: of_ingest(lab, begin).await?, consumer: of_consumer(lab, begin).await? })
}

async fn of_ingest(lab: &mut Lab, begin: u64) -> Result<f64, Failure> {
    let stub = Stub::start().await?;
    let token = lab.token().await?;
    let packed = |bytes: Vec<u8>, status| gzip(&bytes).map(|body| (PROTOBUF, true, body, status));
    let inputs = [
        ("application/json", false, large_json(begin), StatusCode::OK),
        packed(large_protobuf(begin), StatusCode::OK)?,
        packed(tiny(begin), StatusCode::OK)?,
        // The one record in it is larger than records may be, which the answer says.
        packed(attributes(begin), StatusCode::OK)?,
        packed(vec![0; BOMB], StatusCode::PAYLOAD_TOO_LARGE)?,
    ];
    let mut ingest = lab.launch_with("ingest", &[("AWS_ENDPOINT_URL_SQS", stub.endpoint())]).await?;
    let answered = |expected, answer: &Bytes| match events::response(answer)?.status() {
        status if status == expected => Ok(()),
        status => Err(Failure::from(format!("ingest answered {status} instead of {expected}"))),
    };
    for (content_type, gzipped, body, status) in inputs {
        let event = lab.events.logs(&token, content_type, gzipped, body)?;
        feed(&mut ingest, &event, |answer| answered(status, answer)).await?;
    }
    let peak = peak_memory_mb(ingest.pid())?;
    ingest.stop().await;
    Ok(peak)
}

async fn of_consumer(lab: &Lab, begin: u64) -> Result<f64, Failure> {
    let table = store::make(lab, "memory").await?;
    let variables = [("AWS_ENDPOINT_URL_DYNAMODB", lab.dynamodb().endpoint()), ("LOG_STORE_TABLE", table.as_str())];
    let mut consumer = lab.launch_with("log-consume", &variables).await?;
    let most = lab.mapping("log-consume")?.batch_size;
    for blocks in [wide(begin)?, flat(begin)?, small(begin)?] {
        for delivery in batches(blocks.iter().map(|block| lab.events.log_event(block)), most) {
            feed(&mut consumer, &delivery, |answer| events::check("log-consume", answer)).await?;
        }
    }
    let peak = peak_memory_mb(consumer.pid())?;
    consumer.stop().await;
    Ok(peak)
}

/// Hands over an event some times; `check` looks at each answer.
async fn feed(
    instance: &mut Instance,
    event: &Bytes,
    check: impl Fn(&Bytes) -> Result<(), Failure>,
) -> Result<(), Failure> {
    for _ in 0..TIMES {
        check(&instance.invoke(event.clone()).await?.body)?;
    }
    Ok(())
}

/// Ordinary lines in OTLP's JSON.
fn large_json(begin: u64) -> Bytes {
    let mut lines = Lines::new(31, begin, PACE);
    let (mut records, mut bytes) = (Vec::new(), 0);
    loop {
        let record = record_json(&lines.line());
        bytes += record.len() + 1;
        if bytes + 1_024 > LARGEST {
            break;
        }
        records.push(record);
    }
    let resource = json!({"attributes": [{"key": "service.name", "value": {"stringValue": "edge"}}]});
    let records = records.join(",");
    Bytes::from(format!(r#"{{"resourceLogs":[{{"resource":{resource},"scopeLogs":[{{"logRecords":[{records}]}}]}}]}}"#))
}

fn record_json(made: &Made) -> String {
    let record = &made.record;
    json!({
        "timeUnixNano": record.time_unix_nano.to_string(), "severityNumber": record.severity_number,
        "severityText": record.severity_text, "body": value_json(record.body.as_ref()),
        "attributes": attributes_json(&record.attributes),
        "traceId": hex(&record.trace_id), "spanId": hex(&record.span_id),
    })
    .to_string()
}

fn attributes_json(attributes: &[KeyValue]) -> Json {
    let attribute = |attribute: &KeyValue| json!({"key": attribute.key, "value": value_json(attribute.value.as_ref())});
    attributes.iter().map(attribute).collect()
}

/// Of the kinds of values that made-up lines have; the others are empty.
fn value_json(value: Option<&AnyValue>) -> Json {
    match value.and_then(|value| value.value.as_ref()) {
        Some(Value::StringValue(text)) => json!({"stringValue": text}),
        Some(Value::IntValue(number)) => json!({"intValue": number.to_string()}),
        Some(Value::BoolValue(yes)) => json!({"boolValue": yes}),
        Some(Value::KvlistValue(list)) => json!({"kvlistValue": {"values": attributes_json(&list.values)}}),
        _ => json!({}),
    }
}

/// Ordinary lines in protobuf.
fn large_protobuf(begin: u64) -> Vec<u8> {
    let mut lines = Lines::new(32, begin, PACE);
    let (mut some, mut bytes) = (Vec::new(), 0);
    loop {
        let made = lines.line();
        bytes += made.record.encoded_len() + 4;
        if bytes + 8_192 > LARGEST {
            break;
        }
        some.push(made);
    }
    LogsData { resource_logs: batch(some).logs }.encode_to_vec()
}

/// Records of a few bytes.
fn tiny(begin: u64) -> Vec<u8> {
    encode((0..TINY as u64).map(|n| LogRecord { time_unix_nano: begin + n, ..Default::default() }).collect())
}

/// A record of nothing but attributes.
fn attributes(begin: u64) -> Vec<u8> {
    let attributes = (0..ATTRIBUTES).map(|n| number(&format!("{n:x}"), n)).collect();
    encode(vec![LogRecord { time_unix_nano: begin, attributes, ..Default::default() }])
}

fn encode(log_records: Vec<LogRecord>) -> Vec<u8> {
    let scope_logs = vec![ScopeLogs { log_records, ..Default::default() }];
    LogsData { resource_logs: vec![ResourceLogs { scope_logs, ..Default::default() }] }.encode_to_vec()
}

/// Blocks that unpack to nearly as much as a block may, and are nearly as large as a message may be: each line has some
/// random bytes, a trace of its own and a long rest that repeats.
fn wide(begin: u64) -> Result<Vec<Block>, Failure> {
    let mut draw = Draw::new(33);
    let rest = "x".repeat(886);
    let block = |_| {
        let record = |n: u64| LogRecord {
            time_unix_nano: begin + n,
            trace_id: draw.bytes::<16>().into(),
            span_id: draw.bytes::<8>().into(),
            body: Some(any(Value::StringValue(format!("{}{rest}", hex(&draw.bytes::<32>()))))),
            ..Default::default()
        };
        pack(&encode((0..500).map(record).collect()))
    };
    (0..BLOCKS).map(block).collect()
}

/// Blocks that unpack to as much and are a few hundred bytes packed.
fn flat(begin: u64) -> Result<Vec<Block>, Failure> {
    let block = |number: u64| {
        let record = |n: u64| LogRecord {
            time_unix_nano: begin + number * 100 + n,
            body: Some(any(Value::StringValue("x".repeat(36_000)))),
            ..Default::default()
        };
        pack(&encode((0..14).map(record).collect()))
    };
    (0..BLOCKS).map(block).collect()
}

/// Small blocks of ordinary lines.
fn small(begin: u64) -> Result<Vec<Block>, Failure> {
    let mut lines = Lines::new(34, begin, PACE);
    let block = |_| {
        let some = (0..SMALL).map(|_| lines.line()).collect();
        pack(&LogsData { resource_logs: batch(some).logs }.encode_to_vec())
    };
    (0..BLOCKS).map(block).collect()
}

fn pack(raw: &[u8]) -> Result<Block, Failure> {
    Ok(Block::pack(raw)?)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use echo_shared::log::block::{Block, MAX_BLOCK, MAX_RAW, read};
    use echo_shared::log::header::Header;
    use echo_shared::log::key::HOUR;

    use super::{LARGEST, attributes, flat, large_json, large_protobuf, small, tiny, wide};

    const BEGIN: u64 = 491_600 * HOUR;

    #[test]
    fn large_requests_are_as_large_as_they_may_be() {
        let (json, protobuf) = (large_json(BEGIN), large_protobuf(BEGIN));
        assert!(serde_json::from_slice::<serde_json::Value>(&json).is_ok());
        for length in [json.len(), protobuf.len()] {
            assert!((LARGEST * 98 / 100..=LARGEST).contains(&length), "{length}");
        }
        assert_eq!(read(&tiny(BEGIN)).unwrap().resource_logs[0].scope_logs[0].log_records.len(), 20_000);
        assert!((2_000_000..LARGEST).contains(&attributes(BEGIN).len()));
    }

    fn check(blocks: &[Block], raw: std::ops::RangeInclusive<usize>, packed: std::ops::RangeInclusive<usize>) {
        assert_eq!(blocks.iter().map(|block| block.id).collect::<BTreeSet<_>>().len(), blocks.len());
        for block in blocks.iter().step_by(25) {
            let bytes = block.unpack().unwrap();
            assert!(Header::of(&read(&bytes).unwrap(), bytes.len(), block.data.len()).is_ok());
            assert!(raw.contains(&bytes.len()), "{} unpacked", bytes.len());
            assert!(packed.contains(&block.data.len()), "{} packed", block.data.len());
        }
    }

    #[test]
    fn blocks_are_blocks_and_of_the_wanted_sizes() {
        check(&wide(BEGIN).unwrap(), 480_000..=MAX_RAW, 30_000..=MAX_BLOCK);
        check(&flat(BEGIN).unwrap(), 480_000..=MAX_RAW, 50..=15_999);
        check(&small(BEGIN).unwrap(), 5_000..=30_000, 1_000..=15_999);
    }
}
