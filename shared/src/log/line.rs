//! Lines: OTLP log records with what stands around them.

use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, LogsData};
use opentelemetry_proto::tonic::resource::v1::Resource;

/// The service of lines that name none (OpenTelemetry's semantic conventions have this name).
pub const UNKNOWN_SERVICE: &str = "unknown_service";
/// The most bytes of a service's name: headers hold the names of their block's services.
pub const MAX_SERVICE: usize = 255;

/// A line where it stands.
#[derive(Clone, Copy, Debug)]
pub struct Line<'a> {
    /// What wrote it.
    pub resource: Option<&'a Resource>,
    /// The part of the program.
    pub scope: Option<&'a InstrumentationScope>,
    /// What was written.
    pub record: &'a LogRecord,
    /// The resource's `service.name`, looked up once for all of its lines.
    pub service: &'a str,
}

/// All lines of a block, in its order.
pub fn lines(logs: &LogsData) -> impl Iterator<Item = Line<'_>> {
    logs.resource_logs.iter().flat_map(|of_resource| {
        let resource = of_resource.resource.as_ref();
        let service = service(resource);
        of_resource.scope_logs.iter().flat_map(move |of_scope| {
            let scope = of_scope.scope.as_ref();
            of_scope.log_records.iter().map(move |record| Line { resource, scope, record, service })
        })
    })
}

impl<'a> Line<'a> {
    /// Nanoseconds since 1970: when it happened, or when it was observed if that is not known; 0 when neither is.
    pub fn time(&self) -> u64 {
        time(self.record)
    }

    /// The resource's `service.name`.
    pub fn service(&self) -> &'a str {
        self.service
    }

    /// The trace it belongs to.
    pub fn trace_id(&self) -> Option<[u8; 16]> {
        id(&self.record.trace_id)
    }

    /// The span it belongs to.
    pub fn span_id(&self) -> Option<[u8; 8]> {
        id(&self.record.span_id)
    }

    /// How severe it is.
    pub fn severity(&self) -> Severity {
        Severity::of(self.record.severity_number)
    }
}

/// The time of a record; see [`Line::time`].
pub fn time(record: &LogRecord) -> u64 {
    if record.time_unix_nano == 0 { record.observed_time_unix_nano } else { record.time_unix_nano }
}

/// The `service.name` of a resource.
pub fn service(resource: Option<&Resource>) -> &str {
    let attributes = resource.map(|resource| resource.attributes.as_slice()).unwrap_or_default();
    match attribute(attributes, "service.name") {
        Some(Value::StringValue(name)) if !name.is_empty() => name,
        _ => UNKNOWN_SERVICE,
    }
}

/// The value of an attribute.
pub fn attribute<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a Value> {
    let found = attributes.iter().find(|attribute| attribute.key == key)?;
    found.value.as_ref().and_then(|AnyValue { value }| value.as_ref())
}

/// An id of the right length that is not all zero; others mean "none" (OTLP).
fn id<const N: usize>(bytes: &[u8]) -> Option<[u8; N]> {
    bytes.try_into().ok().filter(|id| *id != [0; N])
}

/// The ranges of OTLP's severity numbers, 1 to 24 in fours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// No number, or one that OTLP does not know.
    Unspecified,
    /// 1 to 4.
    Trace,
    /// 5 to 8.
    Debug,
    /// 9 to 12.
    Info,
    /// 13 to 16.
    Warn,
    /// 17 to 20.
    Error,
    /// 21 to 24.
    Fatal,
}

impl Severity {
    /// All, from the least severe.
    pub const ALL: [Self; 7] =
        [Self::Unspecified, Self::Trace, Self::Debug, Self::Info, Self::Warn, Self::Error, Self::Fatal];

    /// The range of a number.
    pub fn of(number: i32) -> Self {
        match number {
            1..=4 => Self::Trace,
            5..=8 => Self::Debug,
            9..=12 => Self::Info,
            13..=16 => Self::Warn,
            17..=20 => Self::Error,
            21..=24 => Self::Fatal,
            _ => Self::Unspecified,
        }
    }

    /// Reads a name, in any case.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|severity| severity.name().eq_ignore_ascii_case(name))
    }

    /// OTLP's short name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unspecified => "UNSPECIFIED",
            Self::Trace => "TRACE",
            Self::Debug => "DEBUG",
            Self::Info => "INFO",
            Self::Warn => "WARN",
            Self::Error => "ERROR",
            Self::Fatal => "FATAL",
        }
    }

    /// The least number of the range.
    pub fn number(self) -> i32 {
        match self {
            Self::Unspecified => 0,
            Self::Trace => 1,
            Self::Debug => 5,
            Self::Info => 9,
            Self::Warn => 13,
            Self::Error => 17,
            Self::Fatal => 21,
        }
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::logs::v1::{LogsData, ResourceLogs, ScopeLogs};

    use super::{Line, Severity, lines};

    #[test]
    fn the_lines_of_a_resource_share_its_service() {
        let of_scope = ScopeLogs { log_records: vec![Default::default(); 2], ..Default::default() };
        let of_resource = ResourceLogs { scope_logs: vec![of_scope.clone(), of_scope], ..Default::default() };
        let logs = LogsData { resource_logs: vec![of_resource] };
        let names: Vec<&str> = lines(&logs).map(|Line { service, .. }| service).collect();
        assert_eq!(names, [super::UNKNOWN_SERVICE; 4]);
    }

    #[test]
    fn severities_have_one_order_in_number_and_name() {
        assert!(Severity::ALL.is_sorted());
        for severity in Severity::ALL {
            assert_eq!(Severity::of(severity.number()), severity);
            assert_eq!(Severity::parse(&severity.name().to_lowercase()), Some(severity));
        }
        assert_eq!(
            [Severity::of(12), Severity::of(24), Severity::of(25), Severity::of(-1)],
            [Severity::Info, Severity::Fatal, Severity::Unspecified, Severity::Unspecified]
        );
        assert_eq!(Severity::parse("warning"), None);
    }
}
