//! A function's line as an OTLP log record.

use echo_shared::event::SYSTEM_ORG;
use echo_shared::log::key::unhex;
use echo_shared::log::line::Severity;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::resource::v1::Resource;
use serde_json::{Map, Value};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// The functions that bring lines into the store. What they say of every batch would be a batch again, without end.
const QUIET: [&str; 2] = ["ingest", "log-consume"];

/// A record, whose it is, and which function wrote it.
pub(super) struct Entry {
    pub(super) org: String,
    pub(super) function: String,
    pub(super) record: LogRecord,
}

/// A line that is no log line, though it begins as one.
#[derive(Debug)]
pub(super) struct Unreadable;

impl Entry {
    /// Reads a log line; nothing when it is no function's, or none that is kept.
    pub(super) fn read(line: &str) -> Result<Option<Self>, Unreadable> {
        let mut fields: Map<String, Value> = serde_json::from_str(line).map_err(|_| Unreadable)?;
        let of_readers = is_of_readers(&fields);
        let mut text = |name: &str| match fields.remove(name) {
            Some(Value::String(text)) => Some(text),
            _ => None,
        };
        let timestamp = text("timestamp").ok_or(Unreadable)?;
        let time = OffsetDateTime::parse(&timestamp, &Rfc3339).map_err(|_| Unreadable)?;
        let Some(function) = text("function") else { return Ok(None) };
        let severity = text("level").and_then(|level| Severity::parse(&level)).unwrap_or(Severity::Unspecified);
        if severity < Severity::Warn && (QUIET.contains(&function.as_str()) || of_readers) {
            return Ok(None);
        }
        let org = text("org").unwrap_or_else(|| SYSTEM_ORG.to_owned());
        let trace_id = text("trace_id").and_then(|id| unhex::<16>(&id)).map(Vec::from).unwrap_or_default();
        let message = text("message").unwrap_or_default();
        let attributes = fields.into_iter().map(|(name, value)| attribute(&name, otlp(value))).collect();
        let record = LogRecord { trace_id, attributes, ..record(time, severity, message) };
        Ok(Some(Self { org, function, record }))
    }

    /// Says that lines were dropped.
    pub(super) fn of_dropped(count: u64, now: OffsetDateTime) -> Self {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        let attributes = vec![attribute("lines", any_value::Value::IntValue(count))];
        let record = LogRecord { attributes, ..record(now, Severity::Warn, "lines were dropped".into()) };
        Self { org: SYSTEM_ORG.into(), function: "echo-local".into(), record }
    }
}

/// Whether a line tells of somebody who reads lines: who follows them would see themselves, once a second.
fn is_of_readers(fields: &Map<String, Value>) -> bool {
    fields.get("path").and_then(Value::as_str).is_some_and(|path| path.starts_with("/logs/v1/"))
}

/// Records of one function.
pub(super) fn of_function(function: String, log_records: Vec<LogRecord>) -> ResourceLogs {
    let text = any_value::Value::StringValue;
    let attributes =
        vec![attribute("service.name", text(function)), attribute("service.namespace", text("echo".into()))];
    ResourceLogs {
        resource: Some(Resource { attributes, ..Default::default() }),
        scope_logs: vec![ScopeLogs { log_records, ..Default::default() }],
        ..Default::default()
    }
}

fn record(time: OffsetDateTime, severity: Severity, message: String) -> LogRecord {
    LogRecord {
        time_unix_nano: u64::try_from(time.unix_timestamp_nanos()).unwrap_or_default(),
        severity_number: severity.number(),
        body: Some(AnyValue { value: Some(any_value::Value::StringValue(message)) }),
        ..Default::default()
    }
}

fn attribute(name: &str, value: any_value::Value) -> KeyValue {
    KeyValue { key: name.into(), value: Some(AnyValue { value: Some(value) }), ..Default::default() }
}

fn otlp(value: Value) -> any_value::Value {
    match value {
        Value::String(text) => any_value::Value::StringValue(text),
        Value::Bool(truth) => any_value::Value::BoolValue(truth),
        Value::Number(number) => match number.as_i64() {
            Some(whole) => any_value::Value::IntValue(whole),
            None => any_value::Value::DoubleValue(number.as_f64().unwrap_or_default()),
        },
        // Log lines are flat; what is not stays as it is written.
        other => any_value::Value::StringValue(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use echo_shared::log::line::{Severity, attribute, service};
    use opentelemetry_proto::tonic::common::v1::any_value::Value;
    use serde_json::json;
    use time::macros::datetime;

    use super::{Entry, Unreadable, of_function};

    fn try_read(change: serde_json::Value) -> Result<Option<Entry>, Unreadable> {
        let mut line = json!({"timestamp": "2026-01-01T00:00:00.000001Z", "level": "INFO", "message": "answered",
            "function": "login"});
        for (name, value) in change.as_object().unwrap() {
            line[name] = value.clone();
        }
        Entry::read(&line.to_string())
    }

    fn read(change: serde_json::Value) -> Option<Entry> {
        try_read(change).unwrap()
    }

    #[test]
    fn a_line_becomes_a_record() {
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
        let known = json!({"request_id": "r", "trace_id": trace, "org": "acme", "status": 200, "ratio": 0.5, "ok": true,
            "list": [1]});
        let Entry { org, function, record } = read(known).unwrap();
        assert_eq!((org.as_str(), function.as_str()), ("acme", "login"));
        assert_eq!(record.time_unix_nano, 1_767_225_600_000_001_000);
        assert_eq!(record.severity_number, Severity::Info.number());
        assert_eq!(record.body.clone().unwrap().value, Some(Value::StringValue("answered".into())));
        assert_eq!(echo_shared::telemetry::hex(&record.trace_id), trace);
        let expected = [
            ("request_id", Value::StringValue("r".into())),
            ("status", Value::IntValue(200)),
            ("ratio", Value::DoubleValue(0.5)),
            ("ok", Value::BoolValue(true)),
            ("list", Value::StringValue("[1]".into())),
        ];
        assert_eq!(record.attributes.len(), expected.len());
        for (name, value) in expected {
            assert_eq!(attribute(&record.attributes, name), Some(&value), "{name}");
        }
        let logs = of_function(function, vec![record]);
        assert_eq!(service(logs.resource.as_ref()), "login");
    }

    #[test]
    fn levels_are_severities_and_lines_without_an_org_are_the_systems() {
        for (level, severity) in [
            ("TRACE", Severity::Trace),
            ("DEBUG", Severity::Debug),
            ("WARN", Severity::Warn),
            ("ERROR", Severity::Error),
            ("loud", Severity::Unspecified),
        ] {
            let entry = read(json!({ "level": level })).unwrap();
            assert_eq!(entry.record.severity_number, severity.number(), "{level}");
            assert_eq!((entry.org.as_str(), entry.record.trace_id.len()), ("_system", 0));
        }
    }

    #[test]
    fn only_log_lines_of_functions_count() {
        for other in [json!({"function": null}), json!({"function": 1})] {
            assert!(read(other.clone()).is_none(), "{other}");
        }
        for junk in [json!({"timestamp": null}), json!({"timestamp": "yesterday"})] {
            assert!(try_read(junk.clone()).is_err(), "{junk}");
        }
        for junk in ["", "{", "{}", "[]", "1", r#"{"timestamp":"2026-01-01T00:00:00Z""#] {
            assert!(Entry::read(junk).is_err(), "{junk}");
        }
    }

    #[test]
    fn the_stores_own_functions_are_heard_when_something_is_wrong() {
        let kept = |function: &str, level: &str| read(json!({"function": function, "level": level})).is_some();
        for function in ["ingest", "log-consume"] {
            assert!(kept(function, "WARN") && kept(function, "ERROR"), "{function}");
            assert!(!kept(function, "INFO") && !kept(function, "DEBUG"), "{function}");
        }
        assert!(kept("query", "INFO"));
        let of = |path: &str, level: &str| read(json!({"function": "query", "path": path, "level": level})).is_some();
        assert!(of("/audit/v1/events", "INFO") && of("/logs/v1/query", "WARN") && !of("/logs/v1/query", "INFO"));
    }

    #[test]
    fn dropped_lines_are_told_of() {
        let entry = Entry::of_dropped(7, datetime!(2026-01-01 00:00 UTC));
        assert_eq!((entry.org.as_str(), entry.function.as_str()), ("_system", "echo-local"));
        assert_eq!(entry.record.severity_number, Severity::Warn.number());
        assert_eq!(attribute(&entry.record.attributes, "lines"), Some(&Value::IntValue(7)));
    }
}
