//! OTLP in JSON (the OTLP specification, "JSON Protobuf Encoding").
//!
//! Types of our own, since those of `opentelemetry-proto` stumble over unknown fields in values and over `null`. Here
//! every field may be missing or `null`, and unknown ones are ignored. Each element of a list becomes protobuf's type as
//! soon as it is read. Records are read one by one, so that one that cannot be read does not take others along. Entity
//! references, which are still in development, are left out.

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

use base64::Engine;
use base64::alphabet;
use base64::engine::general_purpose::{GeneralPurpose, PAD_INDIFFERENT};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::resource::v1::Resource;
use serde::de::{self, Unexpected, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::limits::{DecodeError, Kind, Limits, MAX_DEPTH, Spoilt};
use crate::values::Extent;

/// The most objects, arrays and commas: what decoding costs grows with them.
const MAX_MARKS: usize = 600_000;

/// Protobuf's JSON takes both alphabets, with and without padding.
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, PAD_INDIFFERENT);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, PAD_INDIFFERENT);

/// Reads an `ExportLogsServiceRequest`. Records that cannot be read are left out.
///
/// # Errors
/// When there is too much of anything, or what is around the records is no OTLP in JSON.
pub(crate) fn decode(body: &[u8]) -> Result<(Vec<ResourceLogs>, Spoilt), DecodeError> {
    scan(body)?;
    let malformed = |error: &dyn fmt::Display| DecodeError::Malformed(error.to_string());
    // Members that are not read need not be, either: as a whole it is text, or it is no JSON.
    let body = std::str::from_utf8(body).map_err(|error| malformed(&error))?;
    let request: Request<'_> = serde_json::from_str(body).map_err(|error| malformed(&error))?;
    let mut reader = Reader::default();
    let logs = request.resource_logs.unwrap_or_default();
    let logs = logs.into_iter().map(|of_resource| reader.of_resource(of_resource)).collect::<Result<_, _>>()?;
    Ok((logs, reader.spoilt))
}

/// Counts what stands outside of strings, before anything is decoded. How deep it is nested is bounded by serde_json.
fn scan(body: &[u8]) -> Result<(), DecodeError> {
    let (mut marks, mut in_string, mut escaped) = (0_usize, false, false);
    for byte in body {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' | b',' if !in_string => marks += 1,
            _ => {}
        }
    }
    if marks > MAX_MARKS {
        return Err(DecodeError::TooMany { what: "objects, arrays and commas", most: MAX_MARKS });
    }
    Ok(())
}

/// Makes protobuf's types of a request, and counts as they do on the wire.
#[derive(Default)]
struct Reader {
    limits: Limits,
    spoilt: Spoilt,
}

impl Reader {
    fn of_resource(&mut self, json: OfResource<'_>) -> Result<ResourceLogs, DecodeError> {
        self.limits.count(Kind::Resources, 1)?;
        let resource = json.resource.map(Resource::from);
        self.count(resource.as_ref().map(Extent::of_resource).unwrap_or_default())?;
        let scope_logs = json.scope_logs.unwrap_or_default();
        let scope_logs = scope_logs.into_iter().map(|of_scope| self.of_scope(of_scope)).collect::<Result<_, _>>()?;
        Ok(ResourceLogs { resource, scope_logs, schema_url: json.schema_url.unwrap_or_default() })
    }

    fn of_scope(&mut self, json: OfScope<'_>) -> Result<ScopeLogs, DecodeError> {
        self.limits.count(Kind::Scopes, 1)?;
        let scope = json.scope.map(InstrumentationScope::from);
        self.count(scope.as_ref().map(|scope| Extent::of_attributes(&scope.attributes)).unwrap_or_default())?;
        let records = json.log_records.unwrap_or_default();
        self.limits.count(Kind::Records, records.len())?;
        let mut log_records = Vec::with_capacity(records.len());
        for json in records {
            let Some(record) = self.spoilt.take(record(json)) else { continue };
            self.limits.count(Kind::Values, Extent::of_record(&record).values)?;
            log_records.push(record);
        }
        Ok(ScopeLogs { scope, log_records, schema_url: json.schema_url.unwrap_or_default() })
    }

    /// Counts what is around records.
    fn count(&mut self, extent: Extent) -> Result<(), DecodeError> {
        if extent.depth > MAX_DEPTH {
            return Err(DecodeError::deep());
        }
        self.limits.count(Kind::Values, extent.values)
    }
}

fn record(json: &RawValue) -> Result<LogRecord, DecodeError> {
    let json: RecordJson =
        serde_json::from_str(json.get()).map_err(|error| DecodeError::Malformed(error.to_string()))?;
    let record = LogRecord::from(json);
    if Extent::of_record(&record).depth > MAX_DEPTH { Err(DecodeError::deep()) } else { Ok(record) }
}

fn list<A, B: From<A>>(items: Option<Vec<A>>) -> Vec<B> {
    items.unwrap_or_default().into_iter().map(B::from).collect()
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request<'a> {
    #[serde(borrow)]
    resource_logs: Option<Vec<OfResource<'a>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OfResource<'a> {
    resource: Option<Origin>,
    #[serde(borrow)]
    scope_logs: Option<Vec<OfScope<'a>>>,
    schema_url: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Origin {
    attributes: Option<Vec<Attribute>>,
    dropped_attributes_count: Option<Number<u32>>,
}

impl From<Origin> for Resource {
    fn from(json: Origin) -> Self {
        Self {
            attributes: list(json.attributes),
            dropped_attributes_count: number(json.dropped_attributes_count),
            ..Self::default()
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OfScope<'a> {
    scope: Option<Scope>,
    #[serde(borrow)]
    log_records: Option<Vec<&'a RawValue>>,
    schema_url: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Scope {
    name: Option<String>,
    version: Option<String>,
    attributes: Option<Vec<Attribute>>,
    dropped_attributes_count: Option<Number<u32>>,
}

impl From<Scope> for InstrumentationScope {
    fn from(json: Scope) -> Self {
        Self {
            name: json.name.unwrap_or_default(),
            version: json.version.unwrap_or_default(),
            attributes: list(json.attributes),
            dropped_attributes_count: number(json.dropped_attributes_count),
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RecordJson {
    time_unix_nano: Option<Number<u64>>,
    observed_time_unix_nano: Option<Number<u64>>,
    severity_number: Option<Number<i32>>,
    severity_text: Option<String>,
    body: Option<Any>,
    attributes: Option<Vec<Attribute>>,
    dropped_attributes_count: Option<Number<u32>>,
    flags: Option<Number<u32>>,
    trace_id: Option<Hex>,
    span_id: Option<Hex>,
    event_name: Option<String>,
}

impl From<RecordJson> for LogRecord {
    fn from(json: RecordJson) -> Self {
        Self {
            time_unix_nano: number(json.time_unix_nano),
            observed_time_unix_nano: number(json.observed_time_unix_nano),
            severity_number: number(json.severity_number),
            severity_text: json.severity_text.unwrap_or_default(),
            body: json.body.map(AnyValue::from),
            attributes: list(json.attributes),
            dropped_attributes_count: number(json.dropped_attributes_count),
            flags: number(json.flags),
            trace_id: json.trace_id.map(|Hex(id)| id).unwrap_or_default(),
            span_id: json.span_id.map(|Hex(id)| id).unwrap_or_default(),
            event_name: json.event_name.unwrap_or_default(),
        }
    }
}

#[derive(Deserialize)]
struct AttributeJson {
    key: Option<String>,
    value: Option<Any>,
}

#[derive(Deserialize)]
#[serde(from = "AttributeJson")]
struct Attribute(KeyValue);

impl From<AttributeJson> for Attribute {
    fn from(json: AttributeJson) -> Self {
        let (key, value) = (json.key.unwrap_or_default(), json.value.map(AnyValue::from));
        Self(KeyValue { key, value, ..KeyValue::default() })
    }
}

impl From<Attribute> for KeyValue {
    fn from(Attribute(attribute): Attribute) -> Self {
        attribute
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AnyJson {
    string_value: Option<String>,
    bool_value: Option<bool>,
    int_value: Option<Number<i64>>,
    double_value: Option<Number<f64>>,
    array_value: Option<Values<Any>>,
    kvlist_value: Option<Values<Attribute>>,
    bytes_value: Option<Base64>,
}

#[derive(Deserialize)]
struct Values<T> {
    values: Option<Vec<T>>,
}

#[derive(Deserialize)]
#[serde(from = "AnyJson")]
struct Any(AnyValue);

impl From<AnyJson> for Any {
    fn from(json: AnyJson) -> Self {
        let array = |list_of: Values<Any>| Value::ArrayValue(ArrayValue { values: list(list_of.values) });
        let members = |list_of: Values<Attribute>| Value::KvlistValue(KeyValueList { values: list(list_of.values) });
        let value = None
            .or(json.string_value.map(Value::StringValue))
            .or(json.bool_value.map(Value::BoolValue))
            .or(json.int_value.map(|Number(number)| Value::IntValue(number)))
            .or(json.double_value.map(|Number(number)| Value::DoubleValue(number)))
            .or(json.array_value.map(array))
            .or(json.kvlist_value.map(members))
            .or(json.bytes_value.map(|Base64(bytes)| Value::BytesValue(bytes)));
        Self(AnyValue { value })
    }
}

impl From<Any> for AnyValue {
    fn from(Any(value): Any) -> Self {
        value
    }
}

/// Bytes in hexadecimal digits of any case.
#[derive(Deserialize)]
#[serde(try_from = "String")]
struct Hex(Vec<u8>);

impl TryFrom<String> for Hex {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|value| u8::try_from(value).ok());
        let byte = |pair: &[u8]| match pair {
            [high, low] => Some((digit(*high)? << 4) | digit(*low)?),
            _ => None,
        };
        let bytes: Option<Vec<u8>> = text.as_bytes().chunks(2).map(byte).collect();
        bytes.map(Self).ok_or("an id must be in hexadecimal digits")
    }
}

/// Bytes in base64.
#[derive(Deserialize)]
#[serde(try_from = "String")]
struct Base64(Vec<u8>);

impl TryFrom<String> for Base64 {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let bytes = STANDARD.decode(&text).or_else(|_| URL_SAFE.decode(&text));
        bytes.map(Self).map_err(|_| "bytes must be in base64")
    }
}

/// A number, as such or in a string: JSON's numbers do not hold 64 bits everywhere.
struct Number<T>(T);

fn number<T: Default>(number: Option<Number<T>>) -> T {
    number.map(|Number(number)| number).unwrap_or_default()
}

impl<'de, T: FromStr> Deserialize<'de> for Number<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NumberVisitor(PhantomData))
    }
}

struct NumberVisitor<T>(PhantomData<T>);

/// Every number goes through its text: a float that is whole is an integer then, as protobuf's JSON wants it, and what
/// does not fit is noticed in one place.
impl<T: FromStr> Visitor<'_> for NumberVisitor<T> {
    type Value = Number<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number that fits, or a string that holds one")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Number<T>, E> {
        text.parse().map(Number).map_err(|_| E::invalid_value(Unexpected::Str(text), &self))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Number<T>, E> {
        self.visit_str(&value.to_string())
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Number<T>, E> {
        self.visit_str(&value.to_string())
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Number<T>, E> {
        self.visit_str(&value.to_string())
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::common::v1::AnyValue;
    use opentelemetry_proto::tonic::common::v1::any_value::Value;
    use opentelemetry_proto::tonic::logs::v1::LogRecord;
    use serde_json::{Value as Json, json};

    use super::{DecodeError, MAX_MARKS, decode, scan};
    use crate::limits::{MAX_DEPTH, MAX_GROUPS, MAX_RECORDS, MAX_VALUES, Spoilt};

    fn request(record: Json) -> String {
        json!({"resourceLogs": [{"scopeLogs": [{"logRecords": [record]}]}]}).to_string()
    }

    /// The record as it is read, or what is wrong with it.
    fn record(record: Json) -> Result<LogRecord, String> {
        let (mut logs, spoilt) = decode(request(record).as_bytes()).map_err(|error| error.to_string())?;
        let read = logs.remove(0).scope_logs.remove(0).log_records.pop();
        assert_eq!(read.is_none(), spoilt.count == 1);
        read.ok_or_else(|| spoilt.reason.unwrap())
    }

    fn body(value: Json) -> Option<Value> {
        record(json!({"body": value})).unwrap().body.unwrap().value
    }

    #[test]
    fn the_example_of_the_specification_is_read() {
        let text = r#"{"resourceLogs": [{
            "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "my.service"}}]},
            "scopeLogs": [{
                "scope": {"name": "my.library", "version": "1.0.0", "attributes": [
                    {"key": "my.scope.attribute", "value": {"stringValue": "some scope attribute"}}]},
                "logRecords": [{
                    "timeUnixNano": "1544712660300000000", "observedTimeUnixNano": "1544712660300000000",
                    "severityNumber": 10, "severityText": "Information",
                    "traceId": "5B8EFFF798038103D269B633813FC60C", "spanId": "eee19b7ec3c1b174",
                    "body": {"stringValue": "Example log record"},
                    "attributes": [
                        {"key": "string.attribute", "value": {"stringValue": "some string"}},
                        {"key": "boolean.attribute", "value": {"boolValue": true}},
                        {"key": "int.attribute", "value": {"intValue": "10"}},
                        {"key": "double.attribute", "value": {"doubleValue": 637.704}},
                        {"key": "array.attribute", "value": {"arrayValue": {"values": [
                            {"stringValue": "many"}, {"stringValue": "values"}]}}},
                        {"key": "map.attribute", "value": {"kvlistValue": {"values": [
                            {"key": "some.map.key", "value": {"stringValue": "some value"}}]}}}
                    ]}]}]}]}"#;
        let (logs, _) = decode(text.as_bytes()).unwrap();
        let of_scope = &logs[0].scope_logs[0];
        let scope = of_scope.scope.as_ref().unwrap();
        assert_eq!((scope.name.as_str(), scope.version.as_str(), scope.attributes.len()), ("my.library", "1.0.0", 1));
        let record = &of_scope.log_records[0];
        assert_eq!(record.time_unix_nano, 1_544_712_660_300_000_000);
        assert_eq!((record.severity_number, record.severity_text.as_str()), (10, "Information"));
        assert_eq!((record.trace_id[0], record.trace_id.len(), record.span_id.len()), (0x5b, 16, 8));
        let values: Vec<_> = record.attributes.iter().map(|a| a.value.clone().unwrap().value.unwrap()).collect();
        assert_eq!(values[1..4], [Value::BoolValue(true), Value::IntValue(10), Value::DoubleValue(637.704)]);
        assert!(matches!(&values[4], Value::ArrayValue(array) if array.values.len() == 2));
        assert!(matches!(&values[5], Value::KvlistValue(list) if list.values[0].key == "some.map.key"));
    }

    #[test]
    fn integers_come_as_numbers_and_as_strings() {
        for time in [json!("1700000000123456789"), json!(1_700_000_000_123_456_789_u64)] {
            assert_eq!(record(json!({"timeUnixNano": time})).unwrap().time_unix_nano, 1_700_000_000_123_456_789);
        }
        for (json, number) in [(json!("-7"), -7), (json!(-7), -7), (json!(7.0), 7), (json!("7"), 7)] {
            assert_eq!(body(json!({"intValue": json})), Some(Value::IntValue(number)), "{json}");
        }
        assert_eq!(record(json!({"severityNumber": "9", "flags": 1})).unwrap().severity_number, 9);
        for bad in [json!("x"), json!(1.5), json!("9223372036854775808"), json!(true), json!([1]), json!("")] {
            assert!(record(json!({"body": {"intValue": bad}})).is_err(), "{bad}");
        }
        assert!(record(json!({"timeUnixNano": -1})).is_err());
        assert!(record(json!({"severityNumber": "SEVERITY_NUMBER_INFO"})).is_err());
    }

    #[test]
    fn floats_and_bytes_have_their_spellings() {
        for (json, float) in [(json!(1), 1.0), (json!("1.5"), 1.5), (json!("-Infinity"), f64::NEG_INFINITY)] {
            assert_eq!(body(json!({"doubleValue": json})), Some(Value::DoubleValue(float)), "{json}");
        }
        assert!(matches!(body(json!({"doubleValue": "NaN"})), Some(Value::DoubleValue(float)) if float.is_nan()));
        for text in ["+/8=", "+/8", "-_8=", "-_8"] {
            assert_eq!(body(json!({"bytesValue": text})), Some(Value::BytesValue(vec![0xfb, 0xff])), "{text}");
        }
        assert!(record(json!({"body": {"bytesValue": "%"}})).is_err());
    }

    #[test]
    fn unknown_fields_are_ignored_everywhere() {
        let unknown = json!({"deep": [{"er": null}]});
        assert_eq!(body(json!({"new": unknown, "stringValue": "x"})), Some(Value::StringValue("x".into())));
        assert_eq!(body(json!({"stringValue": "x", "new": unknown})), Some(Value::StringValue("x".into())));
        assert_eq!(body(json!({"new": unknown})), None);
        let read = record(json!({"new": unknown, "attributes": [{"key": "k", "value": {}, "new": unknown}]})).unwrap();
        assert_eq!(read.attributes[0].value, Some(AnyValue::default()));
        let text = json!({"new": 1, "resourceLogs": [{"new": 1, "resource": {"new": 1}, "scopeLogs": []}]}).to_string();
        assert!(decode(text.as_bytes()).unwrap().0[0].resource.is_some());
    }

    #[test]
    fn what_is_null_or_missing_has_its_default() {
        for text in ["{}", r#"{"resourceLogs":[]}"#, r#"{"resourceLogs":null}"#] {
            assert_eq!(decode(text.as_bytes()), Ok((vec![], Spoilt::default())), "{text}");
        }
        let null = json!({
            "timeUnixNano": null, "severityNumber": null, "severityText": null, "body": null, "attributes": null,
            "traceId": null, "spanId": "", "flags": null
        });
        assert_eq!(record(null), Ok(LogRecord::default()));
        assert_eq!(body(json!({"stringValue": null, "intValue": 1})), Some(Value::IntValue(1)));
        assert!(matches!(body(json!({"arrayValue": {}})), Some(Value::ArrayValue(array)) if array.values.is_empty()));
    }

    #[test]
    fn ids_of_a_wrong_length_are_read_and_others_refused() {
        assert_eq!(record(json!({"traceId": "0A0b"})).unwrap().trace_id, [10, 11]);
        for bad in ["0", "0g", "é", "+1"] {
            assert!(record(json!({"traceId": bad})).is_err(), "{bad}");
        }
    }

    #[test]
    fn other_bodies_are_refused() {
        for bad in ["", "[]", "1", "null", "{", r#"{"resourceLogs":{}}"#, r#"{"resourceLogs":[1]}"#, "{}{}"] {
            assert!(matches!(decode(bad.as_bytes()), Err(DecodeError::Malformed(_))), "{bad}");
        }
        assert!(matches!(decode(b"{\"a\": \"\xff\"}"), Err(DecodeError::Malformed(_))));
        assert!(record(json!({"body": "text"})).is_err());
    }

    #[test]
    fn a_bad_record_does_not_take_its_neighbours_along() {
        let good = json!({"body": {"stringValue": "good"}});
        for bad in [
            json!({"traceId": "xyz"}),
            json!({"body": {"intValue": "many"}}),
            json!({"body": "text"}),
            json!({"attributes": {"a": "b"}}),
            json!({"severityText": 7}),
            json!(null),
            json!(7),
            json!({"body": nested(MAX_DEPTH + 1)}),
            json!({"body": nested(100)}),
        ] {
            let records = json!([good, bad, good]);
            let text = json!({"resourceLogs": [{"scopeLogs": [{"logRecords": records}]}]}).to_string();
            let (logs, spoilt) = decode(text.as_bytes()).unwrap();
            assert_eq!((logs[0].scope_logs[0].log_records.len(), spoilt.count), (2, 1), "{bad}");
        }
        let half = request(good).replace("good", r"\ud800");
        assert_eq!(decode(half.as_bytes()).unwrap().1.count, 1, "half a character");
    }

    /// Values in values, so deep.
    fn nested(depth: usize) -> Json {
        (1..depth).fold(
            json!({"stringValue": "x"}),
            |value, _| json!({"kvlistValue": {"values": [{"key": "k", "value": value}]}}),
        )
    }

    #[test]
    fn depth_is_bounded_as_in_protobuf() {
        assert!(record(json!({"body": nested(MAX_DEPTH)})).is_ok());
        let around = |value: Json| {
            let resource = json!({"attributes": [{"key": "k", "value": value}]});
            decode(json!({"resourceLogs": [{"resource": resource}]}).to_string().as_bytes())
        };
        assert!(around(nested(MAX_DEPTH)).is_ok());
        for depth in [MAX_DEPTH + 1, 100] {
            assert!(matches!(around(nested(depth)), Err(DecodeError::Malformed(_))), "{depth}");
        }
        let deep = [vec![b'['; 100_000], vec![b']'; 100_000]].concat();
        assert!(matches!(decode(&deep), Err(DecodeError::Malformed(_))));
    }

    #[test]
    fn values_are_counted_as_in_protobuf() {
        let record = |values: usize| {
            let values = vec!["{}"; values].join(",");
            format!(r#"{{"body":{{"arrayValue":{{"values":[{values}]}}}}}}"#)
        };
        let records = |records: &[String]| {
            let records = records.join(",");
            decode(format!(r#"{{"resourceLogs":[{{"scopeLogs":[{{"logRecords":[{records}]}}]}}]}}"#).as_bytes())
        };
        assert!(records(&[record(MAX_VALUES)]).is_ok());
        let half = record(MAX_VALUES / 2 + 1);
        for many in [records(&[record(MAX_VALUES + 1)]), records(&[half.clone(), half])] {
            assert!(matches!(many, Err(DecodeError::TooMany { .. })));
        }
    }

    #[test]
    fn size_is_bounded_before_decoding() {
        assert_eq!(scan(&vec![b','; MAX_MARKS]), Ok(()));
        assert!(matches!(decode(&vec![b','; MAX_MARKS + 1]), Err(DecodeError::TooMany { .. })));
        let string = format!("\"\\\"{}\"", "[,{".repeat(MAX_MARKS));
        assert_eq!(scan(string.as_bytes()), Ok(()), "what stands in strings costs nothing");
    }

    #[test]
    fn records_and_groups_are_bounded() {
        let many = |count: usize, element: &str| vec![element; count].join(",");
        let records =
            |count| format!(r#"{{"resourceLogs":[{{"scopeLogs":[{{"logRecords":[{}]}}]}}]}}"#, many(count, "{}"));
        assert!(decode(records(MAX_RECORDS).as_bytes()).is_ok());
        assert!(matches!(decode(records(MAX_RECORDS + 1).as_bytes()), Err(DecodeError::TooMany { .. })));
        let resources = format!(r#"{{"resourceLogs":[{}]}}"#, many(MAX_GROUPS + 1, "{}"));
        assert!(matches!(decode(resources.as_bytes()), Err(DecodeError::TooMany { .. })));
    }
}
