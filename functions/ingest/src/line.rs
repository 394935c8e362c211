//! Log lines that come as events, for whoever has no OTLP at hand.

use echo_shared::event::{Envelope, check_text};
use echo_shared::log::key::unhex;
use echo_shared::log::line::Severity;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue, KeyValueList};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::resource::v1::Resource;
use serde::Deserialize;
use serde_json::{Map, Value as Json};

use crate::limits::MAX_DEPTH;

/// The attribute that has the id of the event: two events are two lines, whatever else they say.
const EVENT_ID: &str = "cloudevents.event_id";

/// The `data` of a `log` event at the front door.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Data {
    body: Json,
    severity: Option<String>,
    service: Option<String>,
    #[serde(default)]
    attributes: Map<String, Json>,
    span_id: Option<String>,
}

/// Makes a log record of a `log` event. Its time and trace are those of the event, whose id becomes an attribute.
///
/// # Errors
/// A sentence that says what is wrong.
pub(crate) fn read(event: Envelope) -> Result<ResourceLogs, String> {
    let trace_id = event.trace_id().and_then(|id| unhex::<16>(&id)).map(Vec::from).unwrap_or_default();
    let time = u64::try_from(event.time.unix_timestamp_nanos()).unwrap_or(u64::MAX);
    let mut data: Data = serde_json::from_value(event.data).map_err(|error| format!("data: {error}"))?;
    data.attributes.insert(EVENT_ID.into(), event.id.into());
    let record = LogRecord {
        time_unix_nano: time,
        severity_number: severity(data.severity.as_deref())?.number(),
        body: Some(any(data.body, MAX_DEPTH)?),
        attributes: attributes(data.attributes, MAX_DEPTH)?,
        trace_id,
        span_id: span_id(data.span_id.as_deref())?,
        ..LogRecord::default()
    };
    Ok(ResourceLogs {
        resource: data.service.map(resource).transpose()?,
        scope_logs: vec![ScopeLogs { log_records: vec![record], ..ScopeLogs::default() }],
        ..ResourceLogs::default()
    })
}

fn severity(name: Option<&str>) -> Result<Severity, String> {
    let Some(name) = name else { return Ok(Severity::Info) };
    Severity::parse(name).ok_or_else(|| {
        let names = Severity::ALL.map(Severity::name).join(", ");
        format!("data.severity must be one of {names}")
    })
}

fn span_id(digits: Option<&str>) -> Result<Vec<u8>, String> {
    let Some(digits) = digits else { return Ok(Vec::new()) };
    let id = unhex::<8>(&digits.to_ascii_lowercase());
    id.map(Vec::from).ok_or_else(|| "data.span_id must have 16 hexadecimal digits".into())
}

fn resource(service: String) -> Result<Resource, String> {
    check_text(&service).map_err(|rule| format!("data.service {rule}"))?;
    let attributes = vec![attribute("service.name".into(), AnyValue { value: Some(Value::StringValue(service)) })];
    Ok(Resource { attributes, ..Resource::default() })
}

fn attributes(members: Map<String, Json>, room: usize) -> Result<Vec<KeyValue>, String> {
    members.into_iter().map(|(key, value)| Ok(attribute(key, any(value, room)?))).collect()
}

fn attribute(key: String, value: AnyValue) -> KeyValue {
    KeyValue { key, value: Some(value), ..KeyValue::default() }
}

/// OTLP's form of a JSON value that is nested at most `room` deep.
fn any(json: Json, room: usize) -> Result<AnyValue, String> {
    let Some(room) = room.checked_sub(1) else {
        return Err(format!("data: values are nested more than {MAX_DEPTH} deep"));
    };
    let value = match json {
        Json::Null => None,
        Json::Bool(value) => Some(Value::BoolValue(value)),
        Json::Number(number) => number.as_i64().map(Value::IntValue).or(number.as_f64().map(Value::DoubleValue)),
        Json::String(text) => Some(Value::StringValue(text)),
        Json::Array(items) => {
            let values: Result<_, String> = items.into_iter().map(|item| any(item, room)).collect();
            Some(Value::ArrayValue(ArrayValue { values: values? }))
        }
        Json::Object(members) => Some(Value::KvlistValue(KeyValueList { values: attributes(members, room)? })),
    };
    Ok(AnyValue { value })
}

#[cfg(test)]
mod tests {
    use echo_shared::event::Envelope;
    use echo_shared::log::line::{Severity, UNKNOWN_SERVICE, attribute, service};
    use opentelemetry_proto::tonic::common::v1::any_value::Value;
    use opentelemetry_proto::tonic::logs::v1::ResourceLogs;
    use serde_json::{Value as Json, json};

    use super::read;

    fn line(data: Json) -> Result<ResourceLogs, String> {
        let event = json!({
            "specversion": "1.0", "id": "1", "source": "/clients/c", "type": "log", "time": "2026-01-01T00:00:00.5Z",
            "org": "demo", "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "data": data,
        });
        read(Envelope::parse(&event.to_string()).unwrap())
    }

    #[test]
    fn a_line_needs_no_more_than_a_body() {
        let logs = line(json!({"body": "hello"})).unwrap();
        assert_eq!(service(logs.resource.as_ref()), UNKNOWN_SERVICE);
        let record = &logs.scope_logs[0].log_records[0];
        assert_eq!((record.time_unix_nano, record.observed_time_unix_nano), (1_767_225_600_500_000_000, 0));
        assert_eq!(record.severity_number, Severity::Info.number());
        assert_eq!((record.trace_id[0], record.trace_id.len(), record.span_id.len()), (0x4b, 16, 0));
        assert_eq!(record.body.clone().unwrap().value, Some(Value::StringValue("hello".into())));
        assert_eq!(attribute(&record.attributes, "cloudevents.event_id"), Some(&Value::StringValue("1".into())));
    }

    #[test]
    fn everything_else_finds_its_place() {
        let logs = line(json!({
            "body": {"a": [1, 1.5, true, null, u64::MAX]}, "severity": "error", "service": "web",
            "attributes": {"n": 1, "o": {"p": "q"}}, "span_id": "00F067AA0BA902B7",
        }));
        let logs = logs.unwrap();
        assert_eq!(service(logs.resource.as_ref()), "web");
        let record = &logs.scope_logs[0].log_records[0];
        assert_eq!((record.severity_number, record.span_id.len()), (17, 8));
        assert_eq!(attribute(&record.attributes, "n"), Some(&Value::IntValue(1)));
        assert!(matches!(attribute(&record.attributes, "o"), Some(Value::KvlistValue(_))));
        let Some(Value::KvlistValue(body)) = record.body.clone().unwrap().value else { panic!("{record:?}") };
        let Some(Value::ArrayValue(array)) = attribute(&body.values, "a") else { panic!("{body:?}") };
        let values: Vec<_> = array.values.iter().map(|value| value.value.clone()).collect();
        assert_eq!(values[..2], [Some(Value::IntValue(1)), Some(Value::DoubleValue(1.5))]);
        assert!(values[3].is_none() && matches!(values[4], Some(Value::DoubleValue(_))));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let deep = (0..16).fold(json!(1), |inner, _| json!([inner]));
        for (data, named) in [
            (json!({}), "body"),
            (json!("text"), "data"),
            (json!({"body": 1, "level": "info"}), "level"),
            (json!({"body": 1, "severity": "warning"}), "severity"),
            (json!({"body": 1, "service": ""}), "service"),
            (json!({"body": 1, "attributes": []}), "data"),
            (json!({"body": 1, "span_id": "1"}), "span_id"),
            (json!({"body": deep}), "deep"),
        ] {
            let said = line(data).unwrap_err();
            assert!(said.contains(named), "{said}");
        }
    }
}
