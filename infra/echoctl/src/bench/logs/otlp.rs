//! OTLP's values, in few words.

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, KeyValueList};

/// An attribute.
pub fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.into(), value: Some(any(value)), ..Default::default() }
}

/// An attribute that is a text.
pub fn text(key: &str, value: impl Into<String>) -> KeyValue {
    attribute(key, Value::StringValue(value.into()))
}

/// An attribute that is a whole number, such as are far below the largest.
pub fn number(key: &str, value: u64) -> KeyValue {
    attribute(key, Value::IntValue(i64::try_from(value).unwrap_or(i64::MAX)))
}

/// A body with members.
pub fn object(members: Vec<KeyValue>) -> Value {
    Value::KvlistValue(KeyValueList { values: members })
}

/// A value where OTLP allows any.
pub fn any(value: Value) -> AnyValue {
    AnyValue { value: Some(value) }
}
