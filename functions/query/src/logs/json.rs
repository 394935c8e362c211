//! Lines as they are shown.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use echo_shared::log::line::Line;
use echo_shared::telemetry::hex;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use serde_json::{Map, Number, Value, json};
use time::OffsetDateTime;
use time::macros::format_description;

use super::spot::Spot;
use crate::json::set;

/// A line; members that it does not have are left out.
pub(crate) fn line(line: &Line<'_>, spot: Spot) -> Value {
    let record = line.record;
    let resource = line.resource.map(|resource| resource.attributes.as_slice()).unwrap_or_default();
    let mut shown = json!({
        "time": rfc3339(spot.time),
        "severity": line.severity().name(),
        "severity_number": record.severity_number,
        "service": line.service(),
        "body": value(record.body.as_ref()),
        "attributes": object(&record.attributes),
        "resource": object(resource),
        "block": spot.block.to_string(),
        "index": spot.index,
    });
    let scope = line.scope.map(|scope| scope.name.clone());
    let observed = (record.observed_time_unix_nano != 0).then(|| rfc3339(record.observed_time_unix_nano));
    let rest = [
        ("observed_time", observed),
        ("severity_text", Some(record.severity_text.clone())),
        ("trace_id", line.trace_id().map(|id| hex(&id))),
        ("span_id", line.span_id().map(|id| hex(&id))),
        ("event_name", Some(record.event_name.clone())),
        ("scope", scope),
    ];
    for (name, text) in rest {
        if let Some(text) = text.filter(|text| !text.is_empty()) {
            set(&mut shown, name, text);
        }
    }
    shown
}

/// A time in nanoseconds since 1970, with all of them.
pub(crate) fn rfc3339(nanos: u64) -> String {
    let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:9]Z");
    let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(nanos)).ok();
    time.and_then(|time| time.format(&format).ok()).unwrap_or_default()
}

/// Any value as JSON; how deep it goes was bounded when its block was decoded.
fn value(value: Option<&AnyValue>) -> Value {
    value.and_then(|value| value.value.as_ref()).map_or(Value::Null, json)
}

fn json(any: &Any) -> Value {
    match any {
        Any::StringValue(text) => Value::String(text.clone()),
        Any::BoolValue(bool) => Value::Bool(*bool),
        Any::IntValue(number) => Value::from(*number),
        Any::DoubleValue(number) => double(*number),
        Any::ArrayValue(list) => list.values.iter().map(|item| value(Some(item))).collect(),
        Any::KvlistValue(list) => object(&list.values),
        Any::BytesValue(bytes) => Value::String(STANDARD.encode(bytes)),
        // It points into a table that logs do not have.
        Any::StringValueStrindex(_) => Value::Null,
    }
}

/// JSON has no other numbers than finite ones; protobuf's JSON form has words for the rest.
fn double(number: f64) -> Value {
    let word = if number.is_nan() {
        "NaN"
    } else if number > 0.0 {
        "Infinity"
    } else {
        "-Infinity"
    };
    Number::from_f64(number).map_or_else(|| Value::from(word), Value::Number)
}

/// Of attributes with the same key the first counts, as it does for filters.
fn object(attributes: &[KeyValue]) -> Value {
    let mut members = Map::new();
    for attribute in attributes {
        members.entry(attribute.key.clone()).or_insert_with(|| value(attribute.value.as_ref()));
    }
    Value::Object(members)
}

/// A value as text: strings as they are, all else as its JSON.
pub(crate) fn text(any: &Any) -> Cow<'_, str> {
    match any {
        Any::StringValue(text) => Cow::Borrowed(text),
        any => match json(any) {
            Value::String(text) => Cow::Owned(text),
            value => Cow::Owned(value.to_string()),
        },
    }
}

/// Whether a value, or one inside it, passes a test of its text.
pub(crate) fn any_text(any: &AnyValue, test: &impl Fn(&str) -> bool) -> bool {
    match &any.value {
        None => false,
        Some(Any::ArrayValue(list)) => list.values.iter().any(|item| any_text(item, test)),
        Some(Any::KvlistValue(list)) => {
            list.values.iter().filter_map(|pair| pair.value.as_ref()).any(|item| any_text(item, test))
        }
        Some(plain) => test(&text(plain)),
    }
}

#[cfg(test)]
mod tests {
    use echo_shared::log::key::Id;
    use echo_shared::log::line::{Line, UNKNOWN_SERVICE};
    use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
    use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList};
    use opentelemetry_proto::tonic::logs::v1::LogRecord;
    use opentelemetry_proto::tonic::resource::v1::Resource;
    use serde_json::{Value, json};

    use super::super::spot::Spot;
    use super::{any_text, line, rfc3339, text, value};

    fn any(value: Any) -> AnyValue {
        AnyValue { value: Some(value) }
    }

    fn pair(key: &str, value: Any) -> KeyValue {
        KeyValue { key: key.into(), value: Some(any(value)), ..Default::default() }
    }

    fn shown(plain: Any) -> Value {
        value(Some(&any(plain)))
    }

    #[test]
    fn values_become_json() {
        assert_eq!(shown(Any::StringValue("a".into())), json!("a"));
        assert_eq!(shown(Any::IntValue(i64::MIN)), json!(i64::MIN));
        assert_eq!(shown(Any::BytesValue(vec![0, 255])), json!("AP8="));
        let doubles = [1.5, f64::NAN, f64::INFINITY, f64::NEG_INFINITY].map(|number| shown(Any::DoubleValue(number)));
        assert_eq!(doubles, [json!(1.5), json!("NaN"), json!("Infinity"), json!("-Infinity")]);
        let values = vec![any(Any::BoolValue(true)), AnyValue { value: None }];
        assert_eq!(shown(Any::ArrayValue(ArrayValue { values })), json!([true, null]));
        let values = vec![pair("a", Any::IntValue(1)), pair("a", Any::IntValue(2))];
        assert_eq!(shown(Any::KvlistValue(KeyValueList { values })), json!({"a": 1}));
        assert_eq!((value(None), shown(Any::StringValueStrindex(3))), (Value::Null, Value::Null));
    }

    #[test]
    fn texts_are_found_at_any_depth() {
        assert_eq!(text(&Any::StringValue("7".into())), text(&Any::IntValue(7)));
        assert_eq!(text(&Any::BytesValue(vec![0])), "AA==");
        let inner = KeyValueList { values: vec![pair("key", Any::DoubleValue(2.5))] };
        let outer = any(Any::ArrayValue(ArrayValue { values: vec![any(Any::KvlistValue(inner))] }));
        assert!(any_text(&outer, &|text| text == "2.5"));
        assert!(!any_text(&outer, &|text| text == "key") && !any_text(&AnyValue { value: None }, &|_| true));
    }

    #[test]
    fn a_line_has_what_it_was_given() {
        let resource =
            Resource { attributes: vec![pair("service.name", Any::StringValue("web".into()))], ..Default::default() };
        let scope = InstrumentationScope { name: "http".into(), ..Default::default() };
        let record = LogRecord {
            time_unix_nano: 1_767_225_600_000_000_001,
            severity_number: 13,
            body: Some(any(Any::StringValue("slow".into()))),
            attributes: vec![pair("ms", Any::IntValue(900))],
            trace_id: vec![0xab; 16],
            span_id: vec![0; 8],
            ..Default::default()
        };
        let spot = Spot { time: record.time_unix_nano, block: Id([1; 16]), index: 4 };
        let full = Line { resource: Some(&resource), scope: Some(&scope), record: &record, service: "web" };
        assert_eq!(
            line(&full, spot),
            json!({
                "time": "2026-01-01T00:00:00.000000001Z", "severity": "WARN", "severity_number": 13, "service": "web",
                "body": "slow", "attributes": {"ms": 900}, "resource": {"service.name": "web"}, "scope": "http",
                "trace_id": "ab".repeat(16), "block": "01".repeat(16), "index": 4,
            })
        );
        let record = LogRecord { observed_time_unix_nano: 1, ..Default::default() };
        let bare = Line { resource: None, scope: None, record: &record, service: UNKNOWN_SERVICE };
        let bare = line(&bare, Spot::at(1));
        assert_eq!(bare["observed_time"], "1970-01-01T00:00:00.000000001Z");
        assert_eq!((&bare["body"], &bare["service"]), (&Value::Null, &json!("unknown_service")));
    }

    #[test]
    fn every_time_can_be_written() {
        assert_eq!(rfc3339(u64::MAX), "2554-07-21T23:34:33.709551615Z");
    }
}
