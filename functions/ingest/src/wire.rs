//! Counts what is in a protobuf message before anything of it is decoded.
//!
//! An empty record takes two bytes on the wire and a hundred times that in memory: the size of a body says nothing of
//! what decoding it costs.

use crate::limits::{DecodeError, Kind, Limits, MAX_DEPTH};

/// A message of OTLP's logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Message {
    Request,
    OfResource,
    Resource,
    Entity,
    OfScope,
    Scope,
    Record,
    Attribute,
    Value,
    Array,
    List,
    /// A text in a list of texts.
    Text,
}

impl Message {
    /// What the field with this number holds, where that is a message or repeated.
    fn field(self, number: u64) -> Option<Self> {
        Some(match (self, number) {
            (Self::Request, 1) => Self::OfResource,
            (Self::OfResource, 1) => Self::Resource,
            (Self::OfResource, 2) => Self::OfScope,
            (Self::Resource, 3) => Self::Entity,
            (Self::Entity, 3 | 4) => Self::Text,
            (Self::OfScope, 1) => Self::Scope,
            (Self::OfScope, 2) => Self::Record,
            (Self::Record, 5) | (Self::Attribute, 2) | (Self::Array, 1) => Self::Value,
            (Self::Resource, 1) | (Self::Scope, 3) | (Self::Record, 6) | (Self::List, 1) => Self::Attribute,
            (Self::Value, 5) => Self::Array,
            (Self::Value, 6) => Self::List,
            _ => return None,
        })
    }

    /// What an element is counted as.
    fn kind(self) -> Option<Kind> {
        match self {
            Self::OfResource => Some(Kind::Resources),
            Self::OfScope => Some(Kind::Scopes),
            Self::Record => Some(Kind::Records),
            Self::Attribute | Self::Value | Self::Entity | Self::Text => Some(Kind::Values),
            _ => None,
        }
    }
}

/// Holds the bytes of an `ExportLogsServiceRequest` against the limits. Returns whether all records are well, as far as
/// can be told from here.
///
/// # Errors
/// When there is too much of anything, or what is around the records is no protobuf.
pub(crate) fn check(bytes: &[u8]) -> Result<bool, DecodeError> {
    let mut walk = Walk::default();
    walk.through(Message::Request, bytes, 0)?;
    Ok(!walk.spoilt)
}

/// The same for the bytes of a single record.
///
/// # Errors
/// When it is no protobuf, or nested too deeply.
pub(crate) fn check_record(bytes: &[u8]) -> Result<(), DecodeError> {
    Walk::default().through(Message::Record, bytes, 0)
}

#[derive(Default)]
struct Walk {
    limits: Limits,
    /// Whether there is a record that cannot be read.
    spoilt: bool,
}

impl Walk {
    /// `depth`: how many values are around this message.
    fn through(&mut self, message: Message, bytes: &[u8], depth: usize) -> Result<(), DecodeError> {
        let mut reader = Reader(bytes);
        while !reader.0.is_empty() {
            let Some(inner) = reader.field().ok_or_else(malformed)? else { continue };
            let Some(field) = message.field(inner.number) else { continue };
            self.count(message, field)?;
            let depth = depth + usize::from(field == Message::Value);
            if depth > MAX_DEPTH {
                return Err(DecodeError::deep());
            }
            if field == Message::Text {
                continue;
            }
            match self.through(field, inner.bytes, depth) {
                // Its neighbours are read without it.
                Err(DecodeError::Malformed(_)) if field == Message::Record => self.spoilt = true,
                walked => walked?,
            }
        }
        Ok(())
    }

    /// Counts a field of a message.
    fn count(&mut self, message: Message, field: Message) -> Result<(), DecodeError> {
        match field.kind() {
            // The value of an attribute is counted with it, a body with its record.
            Some(kind) if field != Message::Value || message == Message::Array => self.limits.count(kind, 1),
            _ => Ok(()),
        }
    }
}

fn malformed() -> DecodeError {
    DecodeError::Malformed("it is no protobuf".into())
}

/// A field that has a length.
struct Field<'a> {
    number: u64,
    bytes: &'a [u8],
}

/// Reads the wire format (protobuf's "Encoding") from the front.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// The next field, when it has a length; others are skipped. The outer `None`: the bytes are no protobuf.
    fn field(&mut self) -> Option<Option<Field<'a>>> {
        let key = self.varint()?;
        match key & 7 {
            0 => self.varint().map(|_| None),
            1 => self.take(8).map(|_| None),
            2 => {
                let length = self.varint()?;
                self.take(length).map(|bytes| Some(Field { number: key >> 3, bytes }))
            }
            5 => self.take(4).map(|_| None),
            // Groups: OTLP has none.
            _ => None,
        }
    }

    fn take(&mut self, length: u64) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(usize::try_from(length).ok()?)?;
        self.0 = rest;
        Some(taken)
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if *byte < 0x80 {
                return Some(value);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
    use opentelemetry_proto::tonic::common::v1::any_value::Value;
    use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue, KeyValueList};
    use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
    use opentelemetry_proto::tonic::resource::v1::Resource;
    use prost::Message;

    use super::{DecodeError, MAX_DEPTH, check, check_record};
    use crate::limits::{MAX_GROUPS, MAX_RECORDS, MAX_VALUES};

    fn request(records: Vec<LogRecord>) -> ExportLogsServiceRequest {
        let of_scope = ScopeLogs { log_records: records, ..Default::default() };
        let of_resource = ResourceLogs { scope_logs: vec![of_scope], ..Default::default() };
        ExportLogsServiceRequest { resource_logs: vec![of_resource] }
    }

    fn too_many(request: &ExportLogsServiceRequest) -> bool {
        matches!(check(&request.encode_to_vec()), Err(DecodeError::TooMany { .. }))
    }

    fn body(value: Value) -> ExportLogsServiceRequest {
        let body = Some(AnyValue { value: Some(value) });
        request(vec![LogRecord { body, ..Default::default() }])
    }

    #[test]
    fn records_and_groups_are_counted() {
        assert_eq!(check(&[]), Ok(true));
        assert!(!too_many(&request(vec![LogRecord::default(); MAX_RECORDS])));
        assert!(too_many(&request(vec![LogRecord::default(); MAX_RECORDS + 1])));
        let resources = |count| ExportLogsServiceRequest { resource_logs: vec![ResourceLogs::default(); count] };
        assert!(!too_many(&resources(MAX_GROUPS)) && too_many(&resources(MAX_GROUPS + 1)));
        let scopes = ResourceLogs { scope_logs: vec![ScopeLogs::default(); MAX_GROUPS + 1], ..Default::default() };
        assert!(too_many(&ExportLogsServiceRequest { resource_logs: vec![scopes] }));
    }

    #[test]
    fn values_of_all_kinds_are_counted() {
        let array = |count| ArrayValue { values: vec![AnyValue::default(); count] };
        assert!(!too_many(&body(Value::ArrayValue(array(MAX_VALUES)))));
        assert!(too_many(&body(Value::ArrayValue(array(MAX_VALUES + 1)))));
        let list = KeyValueList { values: vec![KeyValue::default(); MAX_VALUES + 1] };
        assert!(too_many(&body(Value::KvlistValue(list))));
        let attributes = vec![KeyValue::default(); MAX_VALUES / 2 + 1];
        let record = LogRecord { attributes, ..Default::default() };
        assert!(!too_many(&request(vec![record.clone()])) && too_many(&request(vec![record.clone(), record])));
    }

    fn deep_value(request: &ExportLogsServiceRequest) -> Option<AnyValue> {
        request.resource_logs[0].scope_logs[0].log_records[0].body.clone()
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |depth: usize| {
            let deepest = Value::StringValue("x".into());
            (1..depth).fold(deepest, |value, _| {
                Value::ArrayValue(ArrayValue { values: vec![AnyValue { value: Some(value) }] })
            })
        };
        assert_eq!(check(&body(nested(MAX_DEPTH)).encode_to_vec()), Ok(true));
        let deep = body(nested(MAX_DEPTH + 1));
        assert_eq!(check(&deep.encode_to_vec()), Ok(false), "a record is");
        let record = deep.resource_logs[0].scope_logs[0].log_records[0].encode_to_vec();
        assert!(matches!(check_record(&record), Err(DecodeError::Malformed(_))));
        let attributes = vec![KeyValue { value: deep_value(&deep), ..Default::default() }];
        let resource = Some(Resource { attributes, ..Default::default() });
        let of_resource = ResourceLogs { resource, ..Default::default() };
        let deep = check(&ExportLogsServiceRequest { resource_logs: vec![of_resource] }.encode_to_vec());
        assert!(matches!(deep, Err(DecodeError::Malformed(_))), "{deep:?}");
    }

    #[test]
    fn what_is_no_protobuf_is_refused() {
        let whole = body(Value::StringValue("hello".into())).encode_to_vec();
        for cut in 1..whole.len() {
            assert!(check(&whole[..cut]).is_err(), "{cut}");
        }
        for bad in [&b"\x0a"[..], b"\x0a\xff", b"\x0b", b"\x0f\x00", &[0x80; 11], b"{}"] {
            assert!(check(bad).is_err(), "{bad:?}");
        }
        // A field that nobody knows is no mistake.
        assert_eq!(check(b"\xfa\x01\x02ab"), Ok(true));
    }
}
