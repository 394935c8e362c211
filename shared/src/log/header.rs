//! Headers: what can be said of a block without unpacking it. Searches read headers first.

use std::collections::BTreeSet;

use aws_lc_rs::digest::{SHA256, digest};
use opentelemetry_proto::tonic::logs::v1::LogsData;
use prost::Message;

use super::Damaged;
use super::key::HOUR;
use super::line::{MAX_SERVICE, Severity, lines};

/// Services of one block. A block is closed before it has more.
pub const MAX_SERVICES: usize = 16;
/// Combinations of service, severity and minute in one block.
pub const MAX_COUNTS: usize = 64;
/// With all of the above, a header stays one write unit (1 KB) in nearly every case.
const MAX_BLOOM: usize = 640;
/// Hash functions of the Bloom filter. Eight bits per id and five functions: one block in fifty is read in vain.
const FUNCTIONS: u64 = 5;
/// Bytes of the checksum before a stored header.
const SUM: usize = 4;

/// What a block holds.
#[derive(Clone, PartialEq, Message)]
pub struct Header {
    /// The time of the first line: nanoseconds since 1970.
    #[prost(fixed64, tag = "1")]
    pub first: u64,
    /// The time of the last line. Both lie in one hour.
    #[prost(fixed64, tag = "2")]
    pub last: u64,
    /// How many lines.
    #[prost(uint32, tag = "3")]
    pub lines: u32,
    /// Bytes of the block, unpacked.
    #[prost(uint32, tag = "4")]
    pub raw: u32,
    /// Bytes of the block as it is stored.
    #[prost(uint32, tag = "5")]
    pub stored: u32,
    /// The services that [`Count`] points at.
    #[prost(string, repeated, tag = "6")]
    pub services: Vec<String>,
    /// How many lines of which service, severity and minute; all lines are counted.
    #[prost(message, repeated, tag = "7")]
    pub counts: Vec<Count>,
    /// A Bloom filter of the trace and span ids, or of the trace ids alone.
    #[prost(bytes = "vec", tag = "8")]
    pub bloom: Vec<u8>,
    /// Whether the filter has the span ids, too. It has not where it would be too full to tell anything.
    #[prost(bool, tag = "9")]
    pub spans: bool,
}

/// Lines of one service, severity and minute.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct Count {
    /// Which of the block's services.
    #[prost(uint32, tag = "1")]
    pub service: u32,
    /// Which [`Severity`]: its place in [`Severity::ALL`].
    #[prost(uint32, tag = "2")]
    pub severity: u32,
    /// Which minute of the hour.
    #[prost(uint32, tag = "3")]
    pub minute: u32,
    /// How many.
    #[prost(uint32, tag = "4")]
    pub lines: u32,
}

/// A block cannot have a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// It has no line.
    #[error("the block is empty")]
    Empty,
    /// Its lines are of more than one hour.
    #[error("the block spans more than one hour")]
    Hours,
    /// [`MAX_SERVICES`] or [`MAX_COUNTS`].
    #[error("the block is of too many kinds")]
    Kinds,
    /// [`MAX_SERVICE`].
    #[error("the name of a service has more than {MAX_SERVICE} bytes")]
    Service,
}

impl Header {
    /// The header of a block of `raw` bytes unpacked and `stored` bytes packed.
    ///
    /// # Errors
    /// When its lines do not belong into one block.
    pub fn of(logs: &LogsData, raw: usize, stored: usize) -> Result<Self, Unfit> {
        let mut kinds = Kinds::default();
        let (mut traces, mut spans) = (BTreeSet::new(), BTreeSet::new());
        let (mut first, mut last, mut count) = (u64::MAX, 0, 0);
        for line in lines(logs) {
            (first, last) = (first.min(line.time()), last.max(line.time()));
            count += 1;
            if line.service.len() > MAX_SERVICE {
                return Err(Unfit::Service);
            }
            if !kinds.add(line.service, line.severity(), line.time(), 1) {
                return Err(Unfit::Kinds);
            }
            traces.extend(line.trace_id());
            spans.extend(line.span_id());
        }
        if count == 0 {
            return Err(Unfit::Empty);
        }
        if first / HOUR != last / HOUR {
            return Err(Unfit::Hours);
        }
        let has_spans = traces.len() + spans.len() <= MAX_BLOOM;
        let spans = spans.iter().filter(|_| has_spans).map(<[u8; 8]>::as_slice);
        let ids: Vec<&[u8]> = traces.iter().map(<[u8; 16]>::as_slice).chain(spans).collect();
        let bloom = filter(&ids);
        let number = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
        let (raw, stored) = (number(raw), number(stored));
        let Kinds { services, counts } = kinds;
        Ok(Self { first, last, lines: count, raw, stored, services, counts, bloom, spans: has_spans })
    }

    /// Whether the block may have a line with this trace or span id.
    pub fn may_hold(&self, id: &[u8]) -> bool {
        let unknown = !self.spans && id.len() == size_of::<u64>();
        unknown
            || positions(id, self.bloom.len())
                .all(|(byte, bit)| self.bloom.get(byte).is_some_and(|found| found & bit != 0))
    }

    /// Whether the block has a line of this service (any when not given) that is at least so severe.
    pub fn has(&self, service: Option<&str>, severity: Severity) -> bool {
        self.kinds().any(|(name, found, _, _)| service.is_none_or(|service| name == service) && found >= severity)
    }

    /// Service, severity, time of the minute and number of lines of each kind.
    pub fn kinds(&self) -> impl Iterator<Item = (&str, Severity, u64, u32)> {
        let hour = self.first - self.first % HOUR;
        self.counts.iter().filter_map(move |count| {
            let service = self.services.get(usize::try_from(count.service).ok()?)?;
            let severity = *Severity::ALL.get(usize::try_from(count.severity).ok()?)?;
            Some((service.as_str(), severity, hour + u64::from(count.minute) * (HOUR / 60), count.lines))
        })
    }

    /// The stored form: the first four bytes of the SHA-256 hash of the message, and the message.
    pub fn to_bytes(&self) -> Vec<u8> {
        let message = self.encode_to_vec();
        let sum = digest(&SHA256, &message);
        sum.as_ref().iter().take(SUM).copied().chain(message.iter().copied()).collect()
    }

    /// Reads the stored form.
    ///
    /// # Errors
    /// When it is not what was written.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Damaged> {
        let (sum, message) = bytes.split_at_checked(SUM).ok_or(Damaged("its header is cut off"))?;
        if digest(&SHA256, message).as_ref().get(..SUM) != Some(sum) {
            return Err(Damaged("its header does not fit its checksum"));
        }
        Self::decode(message).map_err(|_| Damaged("its header cannot be read"))
    }
}

/// What lines a block may still take: their kinds are bounded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kinds {
    services: Vec<String>,
    counts: Vec<Count>,
}

impl Kinds {
    /// Counts some lines of a time; `false` when the block has no room for their kind, and nothing was counted.
    pub fn add(&mut self, name: &str, severity: Severity, time: u64, lines: u32) -> bool {
        let known = self.services.iter().position(|service| service == name);
        let service = known.unwrap_or(self.services.len());
        let kind = Count {
            service: u32::try_from(service).unwrap_or(u32::MAX),
            severity: u32::try_from(severity as usize).unwrap_or_default(),
            minute: u32::try_from(time % HOUR / (HOUR / 60)).unwrap_or_default(),
            lines: 0,
        };
        let same = |count: &&mut Count| Count { lines: 0, ..**count } == kind;
        if let Some(count) = self.counts.iter_mut().rev().find(same) {
            count.lines = count.lines.saturating_add(lines);
            return true;
        }
        if service >= MAX_SERVICES || self.counts.len() >= MAX_COUNTS {
            return false;
        }
        if known.is_none() {
            self.services.push(name.to_owned());
        }
        self.counts.push(Count { lines, ..kind });
        true
    }

    /// Counts the lines of a block; `false` when there is no room for all of them, and nothing was counted.
    pub fn join(&mut self, header: &Header) -> bool {
        let mut both = self.clone();
        let fits = header.kinds().all(|(name, severity, time, lines)| both.add(name, severity, time, lines));
        if fits {
            *self = both;
        }
        fits
    }
}

/// The Bloom filter of these ids: a byte for each, as far as they go.
fn filter(ids: &[&[u8]]) -> Vec<u8> {
    let mut bloom = vec![0; ids.len().clamp(8, MAX_BLOOM)];
    for id in ids {
        positions(id, bloom.len()).for_each(|(byte, bit)| {
            if let Some(byte) = bloom.get_mut(byte) {
                *byte |= bit;
            }
        });
    }
    bloom
}

/// Byte and bit of each hash function: double hashing over FNV-1a.
fn positions(id: &[u8], bytes: usize) -> impl Iterator<Item = (usize, u8)> {
    let hash =
        |seed: u64| id.iter().fold(seed, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3));
    let (first, step) = (hash(0xcbf2_9ce4_8422_2325), hash(0x6c62_272e_07bb_0142) | 1);
    let bits = (bytes as u64 * 8).max(1);
    (0..FUNCTIONS).map(move |n| {
        let bit = first.wrapping_add(n.wrapping_mul(step)) % bits;
        (usize::try_from(bit / 8).unwrap_or(usize::MAX), 1 << (bit % 8))
    })
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
    use opentelemetry_proto::tonic::logs::v1::{LogRecord, LogsData, ResourceLogs, ScopeLogs};
    use opentelemetry_proto::tonic::resource::v1::Resource;

    use super::{Header, Kinds, MAX_BLOOM, MAX_SERVICES, Unfit};
    use crate::log::key::{HOUR, SECOND};
    use crate::log::line::{MAX_SERVICE, Severity};

    fn of(service: &str, records: Vec<LogRecord>) -> ResourceLogs {
        let value = AnyValue { value: Some(Value::StringValue(service.into())) };
        let name = KeyValue { key: "service.name".into(), value: Some(value), ..Default::default() };
        ResourceLogs {
            resource: Some(Resource { attributes: vec![name], ..Default::default() }),
            scope_logs: vec![ScopeLogs { log_records: records, ..Default::default() }],
            ..Default::default()
        }
    }

    fn record(time: u64, severity: i32, trace: u64) -> LogRecord {
        let trace_id = [trace.to_be_bytes(), trace.to_le_bytes()].concat();
        LogRecord { time_unix_nano: time, severity_number: severity, trace_id, ..Default::default() }
    }

    fn header(logs: Vec<ResourceLogs>) -> Result<Header, Unfit> {
        Header::of(&LogsData { resource_logs: logs }, 1_000, 100)
    }

    #[test]
    fn a_header_counts_every_line_once() {
        let at = |second: u64| 10 * HOUR + second * SECOND;
        let web = vec![record(at(1), 9, 1), record(at(2), 9, 1), record(at(61), 17, 2)];
        let header = header(vec![of("web", web), of("db", vec![record(at(0), 0, 3)])]).unwrap();
        assert_eq!((header.first, header.last, header.lines), (at(0), at(61), 4));
        let kinds: Vec<_> = header.kinds().collect();
        assert_eq!(kinds[0], ("web", Severity::Info, at(0), 2));
        assert_eq!(kinds[1], ("web", Severity::Error, at(60), 1));
        assert_eq!(kinds[2], ("db", Severity::Unspecified, at(0), 1));
        assert!(header.has(None, Severity::Error) && header.has(Some("web"), Severity::Error));
        assert!(!header.has(Some("db"), Severity::Trace) && !header.has(None, Severity::Fatal));
    }

    #[test]
    fn the_filter_knows_what_is_there_and_rarely_more() {
        let header = header(vec![of("web", (1..=500).map(|n| record(HOUR, 9, n)).collect())]).unwrap();
        let trace = |n: u64| [n.to_be_bytes(), n.to_le_bytes()].concat();
        assert!((1..=500).all(|n| header.may_hold(&trace(n))));
        let wrong = (1_000..11_000).filter(|n| header.may_hold(&trace(*n))).count();
        assert!(wrong < 400, "{wrong} of 10,000");
        assert!(header.to_bytes().len() < 700);
    }

    #[test]
    fn spans_are_left_out_of_a_filter_that_is_too_small_for_them() {
        let with_spans = |count: u64| {
            let line = |n: u64| LogRecord { span_id: n.to_be_bytes().into(), ..record(HOUR, 9, 1) };
            header(vec![of("web", (1..=count).map(line).collect())]).unwrap()
        };
        let room = MAX_BLOOM as u64 - 1;
        let (few, many) = (with_spans(room), with_spans(room + 1));
        let trace = [1_u64.to_be_bytes(), 1_u64.to_le_bytes()].concat();
        assert!(few.spans && few.may_hold(&trace) && few.may_hold(&7_u64.to_be_bytes()));
        assert!((1_000..1_100_u64).any(|n| !few.may_hold(&n.to_be_bytes())));
        assert!(!many.spans && many.may_hold(&trace) && many.bloom.len() == 8);
        assert!((1_000..1_100_u64).all(|n| many.may_hold(&n.to_be_bytes())), "only the block can tell");
        assert!(!many.may_hold(&[9; 16]));
    }

    #[test]
    fn kinds_are_joined_as_far_as_there_is_room() {
        let services = |from: usize, count: usize| {
            header((from..from + count).map(|n| of(&n.to_string(), vec![record(HOUR, 9, 1)])).collect()).unwrap()
        };
        let mut kinds = Kinds::default();
        assert!(kinds.join(&services(0, MAX_SERVICES - 1)) && kinds.join(&services(0, 2)));
        let before = kinds.clone();
        assert!(!kinds.join(&services(MAX_SERVICES - 1, 2)));
        assert_eq!(kinds, before, "nothing was counted");
        assert_eq!(kinds.counts[0].lines, 2);
        assert!(kinds.join(&services(MAX_SERVICES - 1, 1)));
    }

    #[test]
    fn names_of_services_are_bounded() {
        let named = |length: usize| header(vec![of(&"s".repeat(length), vec![record(HOUR, 9, 1)])]);
        assert!(named(MAX_SERVICE).is_ok());
        assert_eq!(named(MAX_SERVICE + 1), Err(Unfit::Service));
    }

    #[test]
    fn lines_of_two_hours_or_many_kinds_are_no_block() {
        assert_eq!(header(vec![]), Err(Unfit::Empty));
        assert_eq!(header(vec![of("a", vec![record(HOUR - 1, 9, 1), record(HOUR, 9, 1)])]), Err(Unfit::Hours));
        let services = |count: usize| (0..count).map(|n| of(&n.to_string(), vec![record(HOUR, 9, 1)])).collect();
        assert!(header(services(MAX_SERVICES)).is_ok());
        assert_eq!(header(services(MAX_SERVICES + 1)), Err(Unfit::Kinds));
    }

    #[test]
    fn a_flipped_bit_is_noticed() {
        let header = header(vec![of("web", vec![record(HOUR, 9, 1)])]).unwrap();
        let bytes = header.to_bytes();
        assert_eq!(Header::from_bytes(&bytes), Ok(header));
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1;
            assert!(Header::from_bytes(&flipped).is_err(), "{at}");
        }
        assert!(Header::from_bytes(&[]).is_err());
    }
}
