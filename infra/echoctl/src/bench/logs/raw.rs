//! What "raw" means here: a line as a log shipper would write it, one JSON object.
//!
//! `{"time":"2026-01-31T12:00:00.123456789Z","severity":"INFO","service":"edge","body":…,` the attributes,
//! `"trace_id":"…","span_id":"…"}`. Resources, scopes and times of observation are not in it, though they are stored.

use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::logs::v1::LogRecord;

/// RFC 3339 with nine decimals.
const TIME: usize = 30;

/// Bytes of the line. It is never written: millions of them are counted.
pub fn length(service: &str, record: &LogRecord) -> usize {
    let hex = |bytes: &[u8]| 2 + 2 * bytes.len();
    let body = record.body.as_ref().and_then(|body| body.value.as_ref());
    let own = member("time", 2 + TIME)
        + member("severity", string(&record.severity_text))
        + member("service", string(service))
        + member("body", value(body))
        + member("trace_id", hex(&record.trace_id))
        + member("span_id", hex(&record.span_id));
    // A comma behind every member but the last, and the braces.
    own + members(&record.attributes) + 6 + record.attributes.len() - 1 + 2
}

fn members(attributes: &[KeyValue]) -> usize {
    let length = |attribute: &KeyValue| {
        member(&attribute.key, value(attribute.value.as_ref().and_then(|value| value.value.as_ref())))
    };
    attributes.iter().map(length).sum()
}

fn member(key: &str, value: usize) -> usize {
    string(key) + 1 + value
}

/// Of the kinds of values that made-up lines have; the others count as `null`.
fn value(value: Option<&Value>) -> usize {
    match value {
        Some(Value::StringValue(text)) => string(text),
        Some(Value::IntValue(number)) => digits(*number),
        Some(Value::BoolValue(true)) => "true".len(),
        Some(Value::BoolValue(false)) => "false".len(),
        Some(Value::KvlistValue(list)) => 2 + members(&list.values) + list.values.len().saturating_sub(1),
        _ => "null".len(),
    }
}

/// Bytes of a JSON string, quotes and escapes included.
pub fn string(text: &str) -> usize {
    let written = |byte: u8| match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 0x08 | 0x0c => 2,
        0..=0x1f => 6,
        _ => 1,
    };
    2 + text.bytes().map(written).sum::<usize>()
}

fn digits(number: i64) -> usize {
    let places = number.unsigned_abs().checked_ilog10().unwrap_or_default() as usize;
    places + 1 + usize::from(number < 0)
}

#[cfg(test)]
mod tests {
    use echo_shared::telemetry::hex;
    use opentelemetry_proto::tonic::common::v1::any_value;
    use opentelemetry_proto::tonic::logs::v1::LogRecord;
    use serde_json::{Map, Value, json};

    use super::super::made::{Lines, SERVICES};
    use super::{digits, length, string};

    fn to_json(value: &any_value::Value) -> Value {
        match value {
            any_value::Value::StringValue(text) => json!(text),
            any_value::Value::IntValue(number) => json!(number),
            any_value::Value::BoolValue(yes) => json!(yes),
            any_value::Value::KvlistValue(list) => {
                let members = list.values.iter().map(|member| (member.key.clone(), of(member.value.as_ref())));
                Value::Object(members.collect())
            }
            other => panic!("{other:?}"),
        }
    }

    fn of(value: Option<&opentelemetry_proto::tonic::common::v1::AnyValue>) -> Value {
        to_json(value.unwrap().value.as_ref().unwrap())
    }

    fn written(service: &str, record: &LogRecord) -> String {
        let mut line = Map::new();
        line.insert("time".into(), "2026-01-31T12:00:00.123456789Z".into());
        line.insert("severity".into(), record.severity_text.clone().into());
        line.insert("service".into(), service.into());
        line.insert("body".into(), of(record.body.as_ref()));
        line.insert("trace_id".into(), hex(&record.trace_id).into());
        line.insert("span_id".into(), hex(&record.span_id).into());
        line.extend(record.attributes.iter().map(|member| (member.key.clone(), of(member.value.as_ref()))));
        Value::Object(line).to_string()
    }

    #[test]
    fn what_is_counted_is_what_would_be_written() {
        let mut lines = Lines::new(5, 1_769_860_800_000_000_000, 5_000_000);
        for _ in 0..3_000 {
            let made = lines.line();
            let service = SERVICES[made.from].name;
            let written = written(service, &made.record);
            assert_eq!((length(service, &made.record), made.raw), (written.len(), written.len()), "{written}");
        }
        for text in ["", "a\"b\\c\n\r\t\u{8}\u{c}\u{1}\u{1f}", "Zürich"] {
            assert_eq!(string(text), json!(text).to_string().len(), "{text:?}");
        }
        for number in [0, 9, 10, -1, -100, i64::MAX, i64::MIN] {
            assert_eq!(digits(number), number.to_string().len());
        }
    }
}
