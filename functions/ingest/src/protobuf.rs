//! OTLP in protobuf.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;

use crate::limits::{DecodeError, Spoilt};
use crate::wire;

/// Reads an `ExportLogsServiceRequest`. Records that cannot be read are left out.
///
/// # Errors
/// When there is too much of anything, or what is around the records is no OTLP.
pub(crate) fn decode(body: &[u8]) -> Result<(Vec<ResourceLogs>, Spoilt), DecodeError> {
    if wire::check(body)?
        && let Ok(request) = ExportLogsServiceRequest::decode(body)
    {
        return Ok((request.resource_logs, Spoilt::default()));
    }
    let request = Request::decode(body).map_err(|error| DecodeError::Malformed(error.to_string()))?;
    let mut spoilt = Spoilt::default();
    let logs = request.resource_logs.into_iter().map(|of_resource| of_resource.read(&mut spoilt)).collect();
    Ok((logs, spoilt))
}

fn record(bytes: &[u8]) -> Result<LogRecord, DecodeError> {
    wire::check_record(bytes)?;
    LogRecord::decode(bytes).map_err(|error| DecodeError::Malformed(error.to_string()))
}

/// An `ExportLogsServiceRequest` whose records are left as bytes.
#[derive(Clone, PartialEq, Message)]
struct Request {
    #[prost(message, repeated, tag = "1")]
    resource_logs: Vec<OfResource>,
}

#[derive(Clone, PartialEq, Message)]
struct OfResource {
    #[prost(message, optional, tag = "1")]
    resource: Option<Resource>,
    #[prost(message, repeated, tag = "2")]
    scope_logs: Vec<OfScope>,
    #[prost(string, tag = "3")]
    schema_url: String,
}

#[derive(Clone, PartialEq, Message)]
struct OfScope {
    #[prost(message, optional, tag = "1")]
    scope: Option<InstrumentationScope>,
    #[prost(bytes = "vec", repeated, tag = "2")]
    log_records: Vec<Vec<u8>>,
    #[prost(string, tag = "3")]
    schema_url: String,
}

impl OfResource {
    fn read(self, spoilt: &mut Spoilt) -> ResourceLogs {
        let Self { resource, scope_logs, schema_url } = self;
        let scope_logs = scope_logs.into_iter().map(|of_scope| of_scope.read(spoilt)).collect();
        ResourceLogs { resource, scope_logs, schema_url }
    }
}

impl OfScope {
    fn read(self, spoilt: &mut Spoilt) -> ScopeLogs {
        let Self { scope, log_records, schema_url } = self;
        let log_records = log_records.iter().filter_map(|bytes| spoilt.take(record(bytes))).collect();
        ScopeLogs { scope, log_records, schema_url }
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
    use opentelemetry_proto::tonic::common::v1::any_value::Value;
    use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, InstrumentationScope};
    use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
    use opentelemetry_proto::tonic::resource::v1::Resource;
    use prost::Message;

    use super::decode;
    use crate::limits::{DecodeError, Spoilt};

    fn text(text: &str) -> LogRecord {
        let body = Some(AnyValue { value: Some(Value::StringValue(text.into())) });
        LogRecord { body, time_unix_nano: 1, ..Default::default() }
    }

    fn logs(log_records: Vec<LogRecord>) -> Vec<ResourceLogs> {
        let scope = Some(InstrumentationScope { name: "scope".into(), ..Default::default() });
        let of_scope = ScopeLogs { scope, log_records, schema_url: "a".into() };
        let resource = Some(Resource { dropped_attributes_count: 7, ..Default::default() });
        vec![ResourceLogs { resource, scope_logs: vec![of_scope], schema_url: "b".into() }]
    }

    fn request(records: Vec<LogRecord>) -> Vec<u8> {
        ExportLogsServiceRequest { resource_logs: logs(records) }.encode_to_vec()
    }

    #[test]
    fn a_bad_record_does_not_take_its_neighbours_along() {
        let (good, good_too) = (text("good"), text("good, too"));
        let neighbours = || logs(vec![good.clone(), good_too.clone()]);
        assert_eq!(decode(&request(vec![good.clone(), good_too.clone()])), Ok((neighbours(), Spoilt::default())));
        // A text that is no UTF-8.
        let mut bytes = request(vec![good.clone(), text("BAD!"), good_too.clone()]);
        let at = bytes.windows(4).position(|part| part == b"BAD!").unwrap();
        bytes[at] = 0xff;
        // Values in values.
        let deep = (0..20).fold(Value::BoolValue(true), |value, _| {
            Value::ArrayValue(ArrayValue { values: vec![AnyValue { value: Some(value) }] })
        });
        let deep = LogRecord { body: Some(AnyValue { value: Some(deep) }), ..Default::default() };
        for bytes in [bytes, request(vec![good.clone(), deep, good_too.clone()])] {
            let (read, spoilt) = decode(&bytes).unwrap();
            assert_eq!((read, spoilt.count), (neighbours(), 1));
            assert!(spoilt.reason.is_some());
        }
        // A record that is cut off within its bounds: field 5 says that it is longer.
        let cut = b"\x0a\x0a\x12\x08\x12\x02\x2a\x09\x12\x02\x2a\x00";
        let (read, spoilt) = decode(cut).unwrap();
        assert_eq!((read[0].scope_logs[0].log_records.len(), spoilt.count), (1, 1));
    }

    #[test]
    fn what_is_around_records_is_refused_whole() {
        // A text that is no UTF-8: field 3 of a `ResourceLogs`.
        for bad in [&b"\x0a\x03\x1a\x01\xff"[..], b"\xff\xff", b"\x0a\x05"] {
            assert!(matches!(decode(bad), Err(DecodeError::Malformed(_))), "{bad:?}");
        }
        assert_eq!(decode(&[]), Ok((vec![], Spoilt::default())));
    }
}
