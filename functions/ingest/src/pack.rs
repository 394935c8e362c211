//! From log records to blocks that may enter the queue.

use std::collections::BTreeMap;
use std::io;

use echo_shared::clock::sortable;
use echo_shared::event::{Envelope, log};
use echo_shared::log::block::{Block, MAX_BLOCK};
use echo_shared::log::header::Kinds;
use echo_shared::log::key::{DAY, HOUR, SECOND};
use echo_shared::log::line::{self, MAX_SERVICE, Severity};
use echo_shared::log::settings::Org;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, LogsData, ResourceLogs, ScopeLogs};
use prost::Message;
use time::OffsetDateTime;

use crate::redact::{Redactor, Rules};
use crate::values::Extent;

/// The largest record with its resource and scope, in bytes. Even what cannot be compressed fits a block then.
pub const MAX_RECORD: usize = 40_000;
/// Bytes of a block before it is compressed, unless that makes it too large.
const TARGET: usize = 327_680;
/// How far ahead a sender's clock may be, in nanoseconds.
const AHEAD: u64 = 600 * SECOND;
/// What the tags and lengths around a message take at most, in bytes.
const FRAME: usize = 16;
/// Each block repeats the resources and scopes of its records: the most bytes that one request may have repeated.
const MAX_REPEATED: usize = 16 * 1_048_576;
/// What a value takes in memory beside its bytes, roughly.
const VALUE: usize = 64;
/// The most attributes and elements of arrays that a record's resource and scope may have together.
const MAX_AROUND: usize = 1_000;

/// Who sends lines.
pub struct Sender<'a> {
    /// The tenant.
    pub org: &'a str,
    /// The blocks' source: `/clients/{client_id}`.
    pub source: &'a str,
    /// What the tenant wants.
    pub settings: &'a Org,
    /// Hides secrets.
    pub redactor: &'a Redactor,
    /// The time of the request.
    pub now: OffsetDateTime,
}

/// What became of them.
#[derive(Debug, Default)]
pub struct Packed {
    /// A `log` event for each block.
    pub events: Vec<Envelope>,
    /// How many records are in the blocks.
    pub accepted: usize,
    /// How many records are in none.
    pub rejected: usize,
    /// Why the first of them is not: a sentence.
    pub reason: Option<String>,
}

/// Hides secrets, and puts every record that may be stored into exactly one block.
///
/// # Errors
/// When the compressor fails; then nothing counts.
pub fn pack(logs: Vec<ResourceLogs>, sender: &Sender<'_>) -> io::Result<Packed> {
    let mut packer = Packer::new(sender);
    for of_resource in logs {
        packer.add(of_resource)?;
    }
    packer.finish()
}

/// Why a record is in no block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Rejection {
    /// The sender's clock is wrong.
    #[error("time {} lies in the future", instant(.0))]
    Future(u64),
    /// It would be deleted at once.
    #[error("time {} lies before the {days} days that lines are kept", instant(.time))]
    Past {
        /// Nanoseconds since 1970.
        time: u64,
        /// How long lines like it are kept.
        days: u32,
    },
    /// [`MAX_RECORD`].
    #[error("a record of {0} bytes with its resource and scope; at most {MAX_RECORD}")]
    Size(usize),
    /// [`MAX_AROUND`].
    #[error("{0} attributes and values of the resource and scope; at most {MAX_AROUND}")]
    Values(usize),
    /// [`MAX_SERVICE`].
    #[error("a service.name of {0} bytes; at most {MAX_SERVICE}")]
    Service(usize),
    /// [`MAX_REPEATED`].
    #[error("large resources with records of many hours; send fewer hours at once")]
    Repeated,
}

fn instant(nanos: &u64) -> String {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(*nanos)).map(sortable).unwrap_or_default()
}

/// Packs one request.
pub(crate) struct Packer<'a> {
    sender: &'a Sender<'a>,
    rules: Rules<'a>,
    /// Nanoseconds since 1970.
    now: u64,
    /// Blocks that still take records, by their hour and the days that they are kept.
    open: BTreeMap<(u64, u32), Open>,
    /// How large blocks become before they are compressed.
    target: usize,
    /// How many resources have been seen; the last one is the present one. The same for scopes.
    resources: usize,
    scopes: usize,
    /// What resources and scopes cost in all blocks: bytes.
    repeated: usize,
    events: Vec<Envelope>,
    accepted: usize,
    rejected: usize,
    first: Option<Rejection>,
}

/// Where a record stands.
struct Around<'a> {
    /// Without scopes.
    of_resource: &'a ResourceLogs,
    /// Without records.
    of_scope: &'a ScopeLogs,
    /// The resource's, looked up once: a record must not pay for it again.
    service: &'a str,
    /// Bytes of both.
    size: usize,
    /// Attributes and elements of arrays of both.
    values: usize,
}

impl<'a> Packer<'a> {
    pub(crate) fn new(sender: &'a Sender<'a>) -> Self {
        Self {
            sender,
            rules: sender.redactor.rules(&sender.settings.redact),
            now: u64::try_from(sender.now.unix_timestamp_nanos()).unwrap_or_default(),
            open: BTreeMap::new(),
            target: TARGET,
            resources: 0,
            scopes: 0,
            repeated: 0,
            events: Vec::new(),
            accepted: 0,
            rejected: 0,
            first: None,
        }
    }

    /// Why the first record was rejected, if one was.
    pub(crate) fn rejection(&self) -> Option<Rejection> {
        self.first
    }

    /// Packs the records of a resource.
    ///
    /// # Errors
    /// When the compressor fails.
    pub(crate) fn add(&mut self, logs: ResourceLogs) -> io::Result<()> {
        let ResourceLogs { mut resource, scope_logs, schema_url } = logs;
        if let Some(resource) = &mut resource {
            self.rules.attributes(&mut resource.attributes);
        }
        let of_resource = ResourceLogs { resource, scope_logs: Vec::new(), schema_url };
        let resource = of_resource.resource.as_ref();
        let (service, size) = (line::service(resource), of_resource.encoded_len() + FRAME);
        let values = resource.map(Extent::of_resource).unwrap_or_default().values;
        self.resources += 1;
        for ScopeLogs { mut scope, log_records, schema_url } in scope_logs {
            if let Some(scope) = &mut scope {
                self.rules.scope(scope);
            }
            let of_scope = ScopeLogs { scope, log_records: Vec::new(), schema_url };
            let size = size + of_scope.encoded_len() + FRAME;
            let attributes = of_scope.scope.as_ref().map(|scope| scope.attributes.as_slice()).unwrap_or_default();
            let values = values + Extent::of_attributes(attributes).values;
            self.scopes += 1;
            let around = Around { of_resource: &of_resource, of_scope: &of_scope, service, size, values };
            log_records.into_iter().try_for_each(|record| self.add_record(record, &around))?;
        }
        Ok(())
    }

    /// Closes all blocks.
    ///
    /// # Errors
    /// When the compressor fails.
    pub(crate) fn finish(mut self) -> io::Result<Packed> {
        for ((_, days), open) in std::mem::take(&mut self.open) {
            self.close(open.logs, days)?;
        }
        let Self { events, accepted, rejected, first, .. } = self;
        Ok(Packed { events, accepted, rejected, reason: first.map(|rejection| rejection.to_string()) })
    }

    fn add_record(&mut self, mut record: LogRecord, around: &Around<'_>) -> io::Result<()> {
        self.clean(&mut record);
        let size = record.encoded_len() + FRAME;
        let days = match self.check(&record, around, size) {
            Ok(days) => days,
            Err(rejection) => {
                self.rejected += 1;
                self.first.get_or_insert(rejection);
                return Ok(());
            }
        };
        self.accepted += 1;
        let key = (line::time(&record) / HOUR, days);
        let target = self.target;
        let open = self.open.entry(key).or_default();
        if !open.takes(&record, around, size, target) {
            let full = std::mem::take(open);
            // One that is empty takes every record.
            open.takes(&record, around, size, target);
            self.close(full.logs, days)?;
        }
        let present = (self.resources, self.scopes);
        self.repeated += self.open.entry(key).or_default().push(record, around, size, present);
        Ok(())
    }

    /// Makes of a record what may be stored: with a time, without ids that are none, without secrets.
    fn clean(&self, record: &mut LogRecord) {
        if line::time(record) == 0 {
            record.observed_time_unix_nano = self.now;
        }
        if record.trace_id.len() != 16 {
            record.trace_id.clear();
        }
        if record.span_id.len() != 8 {
            record.span_id.clear();
        }
        self.rules.record(record);
    }

    /// How many days a record is kept.
    fn check(&self, record: &LogRecord, around: &Around<'_>, size: usize) -> Result<u32, Rejection> {
        let time = line::time(record);
        let days = self.sender.settings.days(Severity::of(record.severity_number));
        if time > self.now.saturating_add(AHEAD) {
            return Err(Rejection::Future(time));
        }
        if time < self.now.saturating_sub(u64::from(days) * DAY) {
            return Err(Rejection::Past { time, days });
        }
        if around.size + size > MAX_RECORD {
            return Err(Rejection::Size(around.size + size));
        }
        if around.values > MAX_AROUND {
            return Err(Rejection::Values(around.values));
        }
        if around.service.len() > MAX_SERVICE {
            return Err(Rejection::Service(around.service.len()));
        }
        if self.repeated > MAX_REPEATED {
            return Err(Rejection::Repeated);
        }
        Ok(days)
    }

    /// Compresses a block; one that comes out too large is split in halves.
    fn close(&mut self, logs: Vec<ResourceLogs>, days: u32) -> io::Result<()> {
        let logs = LogsData { resource_logs: logs };
        let raw = logs.encode_to_vec();
        let block = Block::pack(&raw)?;
        if block.data.len() <= MAX_BLOCK {
            self.events.push(self.event(&block, days));
            return Ok(());
        }
        // What follows is likely to be of the same kind; a tenth is left for what is worse.
        self.target = self.target.min(raw.len() * MAX_BLOCK / block.data.len() * 9 / 10);
        let lines = line::lines(&logs).count();
        if lines < 2 {
            return Err(io::Error::other("a record does not fit a block"));
        }
        let (first, second) = split(logs.resource_logs, lines / 2);
        self.close(first, days)?;
        self.close(second, days)
    }

    fn event(&self, block: &Block, days: u32) -> Envelope {
        Envelope {
            specversion: "1.0".into(),
            id: block.id.to_string(),
            source: self.sender.source.into(),
            event_type: log::TYPE.into(),
            time: self.sender.now,
            subject: None,
            org: self.sender.org.into(),
            traceparent: None,
            datacontenttype: "application/json".into(),
            data: log::Packed::new(block, days).to_data(),
        }
    }
}

/// A block that still takes records.
#[derive(Default)]
struct Open {
    logs: Vec<ResourceLogs>,
    kinds: Kinds,
    /// Bytes, at most.
    raw: usize,
    /// Which resource and scope, as [`Packer`] counts them, are the last ones.
    last: (usize, usize),
}

impl Open {
    /// Counts a record, if there is room for it.
    fn takes(&mut self, record: &LogRecord, around: &Around<'_>, size: usize, target: usize) -> bool {
        (self.logs.is_empty() || self.raw + around.size + size <= target)
            && self.kinds.add(around.service, Severity::of(record.severity_number), line::time(record), 1)
    }

    /// Adds a record of the `present` resource and scope; returns what it costs if they had to be repeated.
    fn push(&mut self, record: LogRecord, around: &Around<'_>, size: usize, present: (usize, usize)) -> usize {
        let repeats = self.last != present;
        if self.last.0 != present.0 {
            self.logs.push(around.of_resource.clone());
        }
        if let Some(of_resource) = self.logs.last_mut() {
            if repeats {
                of_resource.scope_logs.push(around.of_scope.clone());
            }
            if let Some(of_scope) = of_resource.scope_logs.last_mut() {
                of_scope.log_records.push(record);
            }
        }
        self.last = present;
        self.raw += size;
        if !repeats {
            return 0;
        }
        self.raw += around.size;
        around.size + around.values * VALUE
    }
}

/// The first `room` records, and the others; both keep their order.
fn split(logs: Vec<ResourceLogs>, mut room: usize) -> (Vec<ResourceLogs>, Vec<ResourceLogs>) {
    let (mut first, mut second) = (Vec::new(), Vec::new());
    for ResourceLogs { resource, scope_logs, schema_url } in logs {
        let (mut before, mut behind) = (Vec::new(), Vec::new());
        for mut of_scope in scope_logs {
            let records = of_scope.log_records.split_off(room.min(of_scope.log_records.len()));
            room -= of_scope.log_records.len();
            if !records.is_empty() {
                let (scope, schema_url) = (of_scope.scope.clone(), of_scope.schema_url.clone());
                behind.push(ScopeLogs { scope, log_records: records, schema_url });
            }
            if !of_scope.log_records.is_empty() {
                before.push(of_scope);
            }
        }
        let put = |into: &mut Vec<ResourceLogs>, scope_logs: Vec<ScopeLogs>| {
            if !scope_logs.is_empty() {
                let (resource, schema_url) = (resource.clone(), schema_url.clone());
                into.push(ResourceLogs { resource, scope_logs, schema_url });
            }
        };
        put(&mut first, before);
        put(&mut second, behind);
    }
    (first, second)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use echo_shared::event::{Envelope, log};
    use echo_shared::log::block::{self, MAX_BLOCK};
    use echo_shared::log::header::{Header, MAX_SERVICES};
    use echo_shared::log::key::{DAY, HOUR, SECOND};
    use echo_shared::log::line::{MAX_SERVICE, attribute, lines};
    use echo_shared::log::settings::Settings;
    use opentelemetry_proto::tonic::common::v1::any_value::Value;
    use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, InstrumentationScope, KeyValue};
    use opentelemetry_proto::tonic::logs::v1::{LogRecord, LogsData, ResourceLogs, ScopeLogs};
    use opentelemetry_proto::tonic::resource::v1::Resource;
    use time::macros::datetime;

    use super::{MAX_AROUND, MAX_RECORD, Packed, Sender, pack};
    use crate::redact::Redactor;

    const NOW: u64 = 1_767_225_600 * SECOND;

    fn packed(settings: &str, logs: Vec<ResourceLogs>) -> Packed {
        let (settings, redactor) = (Settings::parse(settings).unwrap(), Redactor::new());
        let sender = Sender {
            org: "demo",
            source: "/clients/c",
            settings: settings.of("demo"),
            redactor: &redactor,
            now: datetime!(2026-01-01 00:00 UTC),
        };
        pack(logs, &sender).unwrap()
    }

    fn text(text: String) -> AnyValue {
        AnyValue { value: Some(Value::StringValue(text)) }
    }

    fn named(key: &str, value: String) -> KeyValue {
        KeyValue { key: key.into(), value: Some(text(value)), ..Default::default() }
    }

    fn of(service: &str, records: Vec<LogRecord>) -> ResourceLogs {
        ResourceLogs {
            resource: Some(Resource { attributes: vec![named("service.name", service.into())], ..Default::default() }),
            scope_logs: vec![ScopeLogs { log_records: records, ..Default::default() }],
            ..Default::default()
        }
    }

    fn record(time: u64, body: String) -> LogRecord {
        LogRecord { time_unix_nano: time, severity_number: 9, body: Some(text(body)), ..Default::default() }
    }

    /// The lines of a block and the days that they are kept; the block holds what the design promises.
    fn open(event: &Envelope) -> (LogsData, u32) {
        assert_eq!(
            (event.org.as_str(), event.source.as_str(), event.event_type.as_str()),
            ("demo", "/clients/c", "log")
        );
        let packed = log::Packed::parse(event.data.clone()).unwrap();
        let block = packed.block().unwrap();
        assert_eq!(event.id, block.id.to_string());
        assert!(block.data.len() <= MAX_BLOCK);
        assert!(Envelope::parse(&event.to_body()).is_ok());
        let raw = block.unpack().unwrap();
        let logs = block::read(&raw).unwrap();
        assert!(Header::of(&logs, raw.len(), block.data.len()).is_ok());
        (logs, packed.days)
    }

    /// Service and body of every line of all blocks.
    fn bodies(packed: &Packed) -> Vec<(String, String)> {
        let body = |record: &LogRecord| match record.body.clone().unwrap().value {
            Some(Value::StringValue(text)) => text,
            other => panic!("{other:?}"),
        };
        let logs = packed.events.iter().map(|event| open(event).0);
        let mut all: Vec<_> = logs
            .flat_map(|logs| {
                lines(&logs).map(|line| (line.service().to_owned(), body(line.record))).collect::<Vec<_>>()
            })
            .collect();
        all.sort();
        all
    }

    /// Text that cannot be compressed much.
    fn noise(seed: u64, length: usize) -> String {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let letter = |_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            char::from(b'!' + u8::try_from((state >> 33) % 90).unwrap())
        };
        // Marks and digits make secrets of noise.
        (0..length).map(letter).filter(|c| c.is_ascii_alphabetic()).collect()
    }

    #[test]
    fn every_line_is_in_exactly_one_block() {
        let mut sent = Vec::new();
        let logs = ["web", "db", "web"].into_iter().enumerate().map(|(n, service)| {
            let of_scope = |scope: usize| {
                let records = (0..150).map(|line| {
                    let body = format!("{n} {scope} {line} {}", noise((n * 1_000 + scope * 200 + line) as u64, 1_500));
                    sent.push((service.to_owned(), body.clone()));
                    record(NOW - HOUR + 1 + line as u64, body)
                });
                ScopeLogs { log_records: records.collect(), ..Default::default() }
            };
            let mut logs = of(service, vec![]);
            logs.scope_logs = (0..3).map(of_scope).collect();
            logs
        });
        let logs = logs.collect();
        sent.sort();
        let packed = packed("{}", logs);
        assert_eq!((packed.accepted, packed.rejected, packed.reason.as_deref()), (1_350, 0, None));
        assert!(packed.events.len() > 10, "{} blocks: they were split", packed.events.len());
        assert_eq!(bodies(&packed), sent);
        let ids: std::collections::BTreeSet<_> = packed.events.iter().map(|event| &event.id).collect();
        assert_eq!(ids.len(), packed.events.len());
    }

    #[test]
    fn blocks_are_of_one_hour_and_one_retention() {
        let severe = |time, severity| LogRecord { severity_number: severity, ..record(time, "x".into()) };
        let records =
            vec![severe(NOW - HOUR, 5), severe(NOW - 1, 9), severe(NOW, 9), severe(NOW - HOUR, 9), severe(NOW - 1, 5)];
        let packed = packed(r#"{"default": {"days_by_severity": {"DEBUG": 3}}}"#, vec![of("web", records)]);
        let found: BTreeMap<_, _> = packed
            .events
            .iter()
            .map(open)
            .map(|(logs, days)| {
                let times: Vec<u64> = lines(&logs).map(|line| line.time()).collect();
                ((times[0] / HOUR, days), times)
            })
            .collect();
        let hour = NOW / HOUR;
        assert_eq!(found.len(), packed.events.len());
        assert_eq!(
            found,
            BTreeMap::from([
                ((hour - 1, 3), vec![NOW - HOUR, NOW - 1]),
                ((hour - 1, 30), vec![NOW - 1, NOW - HOUR]),
                ((hour, 30), vec![NOW]),
            ])
        );
    }

    #[test]
    fn a_block_has_room_for_a_number_of_services() {
        let services = MAX_SERVICES * 2 + 1;
        let packed = packed("{}", (0..services).map(|n| of(&n.to_string(), vec![record(NOW, "x".into())])).collect());
        assert_eq!((packed.events.len(), bodies(&packed).len()), (3, services));
    }

    #[test]
    fn times_and_sizes_are_held_against_their_bounds() {
        let one = |record: LogRecord| packed("{}", vec![of("web", vec![record])]);
        for (good, time) in [
            (true, NOW + 600 * SECOND),
            (false, NOW + 600 * SECOND + 1),
            (true, NOW - 30 * DAY),
            (false, NOW - 30 * DAY - 1),
            (false, u64::MAX),
            (false, 1),
        ] {
            let packed = one(record(time, "x".into()));
            assert_eq!((packed.accepted == 1, packed.events.len() == 1), (good, good), "{time}");
            assert_eq!(packed.reason.is_some(), !good);
        }
        assert!(one(record(NOW, "x".repeat(MAX_RECORD - 200))).reason.is_none());
        let reason = one(record(NOW, "x".repeat(MAX_RECORD))).reason.unwrap();
        assert!(reason.contains("40000"), "{reason}");
        assert!(one(record(NOW + HOUR, "x".into())).reason.unwrap().starts_with("time 2026-01-01T01:00:00"));
        let large = of(&"s".repeat(MAX_RECORD), vec![record(NOW, "x".into())]);
        let large = packed("{}", vec![large, of("web", vec![record(NOW, "y".into()), record(1, "z".into())])]);
        assert_eq!((large.accepted, large.rejected), (1, 2));
        assert!(large.reason.unwrap().contains("a record of"), "the first reason counts");
    }

    #[test]
    fn records_without_time_or_good_ids_are_kept() {
        let observed = LogRecord { observed_time_unix_nano: NOW - 1, ..record(0, "x".into()) };
        let ids = LogRecord { trace_id: vec![1; 15], span_id: vec![1; 16], ..record(0, "y".into()) };
        let good = LogRecord { trace_id: vec![1; 16], span_id: vec![1; 8], ..record(NOW, "z".into()) };
        let packed = packed("{}", vec![of("web", vec![observed, ids, good])]);
        let (mut times, mut known) = (Vec::new(), 0);
        for event in &packed.events {
            for line in lines(&open(event).0) {
                times.push(line.time());
                known += line.record.trace_id.len() + line.record.span_id.len();
            }
        }
        times.sort_unstable();
        assert_eq!((times, known), (vec![NOW - 1, NOW, NOW], 24));
    }

    #[test]
    fn secrets_are_in_no_block() {
        let mut logs = of("web", vec![record(NOW, "login password=hunter2".into())]);
        logs.resource.as_mut().unwrap().attributes.push(named("db.password", "hunter2".into()));
        logs.scope_logs[0].log_records[0].attributes.push(named("ssn", "hunter2".into()));
        let packed = packed(r#"{"orgs": {"demo": {"redact": ["SSN"]}}}"#, vec![logs]);
        let (logs, _) = open(&packed.events[0]);
        assert!(!format!("{logs:?}").contains("hunter2"), "{logs:?}");
        let attributes = &logs.resource_logs[0].resource.as_ref().unwrap().attributes;
        assert_eq!(attribute(attributes, "db.password"), Some(&Value::StringValue("[redacted]".into())));
    }

    #[test]
    fn large_resources_are_not_repeated_without_end() {
        let records = (0..700).map(|hour| record(NOW - hour * HOUR, "x".into())).collect();
        let mut logs = of("web", records);
        logs.resource.as_mut().unwrap().attributes.push(named("noise", noise(1, 60_000)));
        let packed = packed("{}", vec![logs]);
        assert_eq!(packed.accepted + packed.rejected, 700);
        assert!(packed.rejected > 0 && packed.events.len() == packed.accepted);
    }

    /// A service whose resource has many small values besides.
    fn valued(values: usize, records: Vec<LogRecord>) -> ResourceLogs {
        let mut logs = of("web", records);
        let array = ArrayValue { values: vec![AnyValue::default(); values] };
        let value = Some(AnyValue { value: Some(Value::ArrayValue(array)) });
        logs.resource.as_mut().unwrap().attributes.push(KeyValue { value, ..Default::default() });
        logs
    }

    #[test]
    fn values_count_for_what_they_take_when_they_are_repeated() {
        let records = (0..700).map(|hour| record(NOW - hour * HOUR, "x".into())).collect();
        // Two kilobytes on the wire, but 64 more in memory: 16 MiB are 254 times as much.
        let packed = packed("{}", vec![valued(MAX_AROUND - 2, records)]);
        assert!((250..260).contains(&packed.accepted), "{}", packed.accepted);
        assert_eq!(packed.accepted + packed.rejected, 700);
    }

    #[test]
    fn resources_and_names_of_services_are_bounded() {
        let one = |logs: ResourceLogs| packed("{}", vec![logs]).reason;
        let record = || vec![record(NOW, "x".into())];
        assert_eq!(one(valued(MAX_AROUND - 2, record())), None);
        assert!(one(valued(MAX_AROUND - 1, record())).unwrap().contains("1001 attributes"));
        let mut of_scope = valued(MAX_AROUND - 2, record());
        let attributes = vec![named("a", "b".into())];
        of_scope.scope_logs[0].scope = Some(InstrumentationScope { attributes, ..Default::default() });
        assert!(one(of_scope).unwrap().contains("1001 attributes"));
        assert_eq!(one(of(&"s".repeat(MAX_SERVICE), record())), None);
        assert!(one(of(&"s".repeat(MAX_SERVICE + 1), record())).unwrap().contains("256 bytes"));
    }
}
