//! A block and what is known of it.

use std::cell::Cell;
use std::collections::BTreeSet;

use echo_shared::event::{Envelope, log};
use echo_shared::log::block::{Block, read};
use echo_shared::log::header::Header;
use echo_shared::log::key::{HOUR, Place};
use echo_shared::log::line::lines;
use echo_shared::log::posting::TraceId;
use echo_shared::log::settings::{MAX_DAYS, Settings};

/// Traces of all blocks of a batch. A hundred of the largest blocks have a quarter million or so, unless their ids are
/// so regular that they compress. Blocks that are over are stored without postings.
pub(crate) const MAX_TRACES: usize = 500_000;

/// A block and what is known of it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Piece {
    /// Whose lines these are.
    pub org: String,
    /// Days that they are kept.
    pub days: u32,
    /// The lines, packed.
    pub block: Block,
    /// What they are.
    pub header: Header,
    /// The traces to post: none when the org does not want them posted, or there are too many.
    pub traces: BTreeSet<TraceId>,
    /// The messages that brought it.
    pub messages: Vec<String>,
}

impl Piece {
    /// The block of an event, looked through. `room` is for how many more traces there is memory.
    ///
    /// # Errors
    /// A sentence that says what is wrong with the event.
    pub(crate) fn open(event: Envelope, settings: &Settings, room: &Cell<usize>) -> Result<Self, String> {
        if event.event_type != log::TYPE {
            return Err(format!("type `{}` does not belong into the log store", event.event_type));
        }
        let packed = log::Packed::parse(event.data)?;
        let (block, days) = (packed.block()?, packed.days);
        if !(1..=MAX_DAYS).contains(&days) {
            return Err(format!("data.days is {days}; lines are kept for 1 to {MAX_DAYS}"));
        }
        if block.id.to_string() != event.id {
            return Err("the event's id is not the block's".into());
        }
        let raw = block.unpack().map_err(|error| error.to_string())?;
        let logs = read(&raw).map_err(|error| error.to_string())?;
        let header = Header::of(&logs, raw.len(), block.data.len()).map_err(|error| error.to_string())?;
        let is_posted = settings.of(&event.org).trace_postings;
        let mut traces = lines(&logs).filter_map(|line| line.trace_id()).filter(|_| is_posted).collect::<BTreeSet<_>>();
        if let Some(left) = room.get().checked_sub(traces.len()) {
            room.set(left);
        } else {
            // Failing would not help: alone or not, the block may be too much again. Its header still leads to it.
            tracing::warn!(org = event.org, block = %block.id, traces = traces.len(), "stored without postings");
            traces.clear();
        }
        Ok(Self { org: event.org, days, block, header, traces, messages: Vec::new() })
    }

    /// Where its header belongs.
    pub(crate) fn place(&self) -> Place {
        Place { last: self.header.last, id: self.block.id }
    }

    /// Which hour its lines are of.
    pub(crate) fn hour(&self) -> u64 {
        self.header.last / HOUR
    }

    /// When it expires: unix seconds.
    pub(crate) fn expires_at(&self) -> u64 {
        expiry(self.header.last, self.days)
    }
}

/// When lines expire of which the last is from `last` and that are kept for `days`: unix seconds.
pub(crate) fn expiry(last: u64, days: u32) -> u64 {
    (last / HOUR + 1) * 3_600 + u64::from(days) * 86_400
}

#[cfg(test)]
pub(crate) mod tests {
    use std::cell::Cell;
    use std::collections::BTreeSet;

    use echo_shared::event::{Envelope, log};
    use echo_shared::log::block::Block;
    use echo_shared::log::key::{HOUR, SECOND};
    use echo_shared::log::settings::Settings;
    use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
    use opentelemetry_proto::tonic::logs::v1::{LogRecord, LogsData, ResourceLogs, ScopeLogs};
    use opentelemetry_proto::tonic::resource::v1::Resource;
    use prost::Message;
    use serde_json::json;
    use time::macros::datetime;

    use super::{MAX_TRACES, Piece, expiry};

    /// A block of lines of a service, a second apart, each of its own trace.
    pub(crate) fn block(service: &str, from: u64, count: u64) -> Block {
        let line = |n: u64| LogRecord {
            time_unix_nano: from + n * SECOND,
            severity_number: 9,
            trace_id: [(n + 1).to_be_bytes(), from.to_be_bytes()].concat(),
            ..Default::default()
        };
        let name = AnyValue { value: Some(Value::StringValue(service.into())) };
        let name = KeyValue { key: "service.name".into(), value: Some(name), ..Default::default() };
        let logs = ResourceLogs {
            resource: Some(Resource { attributes: vec![name], ..Default::default() }),
            scope_logs: vec![ScopeLogs { log_records: (0..count).map(line).collect(), ..Default::default() }],
            ..Default::default()
        };
        Block::pack(&LogsData { resource_logs: vec![logs] }.encode_to_vec()).unwrap()
    }

    /// The event that brings a block.
    pub(crate) fn event(block: &Block, days: u32) -> Envelope {
        Envelope {
            specversion: "1.0".into(),
            id: block.id.to_string(),
            source: "/clients/web".into(),
            event_type: log::TYPE.into(),
            time: datetime!(2026-01-01 00:00 UTC),
            subject: None,
            org: "acme".into(),
            traceparent: None,
            datacontenttype: "application/json".into(),
            data: log::Packed::new(block, days).to_data(),
        }
    }

    /// The block of [`block`], opened.
    pub(crate) fn piece(service: &str, from: u64, count: u64) -> Piece {
        open(event(&block(service, from, count), 30)).unwrap()
    }

    fn open(event: Envelope) -> Result<Piece, String> {
        Piece::open(event, &Settings::default(), &Cell::new(MAX_TRACES))
    }

    #[test]
    fn a_block_is_looked_through() {
        let piece = piece("web", 10 * HOUR, 3);
        assert_eq!((piece.org.as_str(), piece.days, piece.header.lines, piece.traces.len()), ("acme", 30, 3, 3));
        assert_eq!((piece.hour(), piece.place().last), (10, 10 * HOUR + 2 * SECOND));
        assert_eq!(piece.expires_at(), 11 * 3_600 + 30 * 86_400);
        assert_eq!(expiry(11 * HOUR - 1, 1), 11 * 3_600 + 86_400);
    }

    #[test]
    fn postings_are_as_the_org_wants_them() {
        let settings = Settings::parse(r#"{"orgs": {"acme": {"trace_postings": false}}}"#).unwrap();
        let event = event(&block("web", HOUR, 3), 30);
        let opened = Piece::open(event, &settings, &Cell::new(0)).unwrap();
        assert_eq!((opened.traces, opened.header.lines), (BTreeSet::new(), 3));
    }

    #[test]
    fn what_is_no_block_is_refused() {
        let good = block("web", HOUR, 1);
        let of = |block: &Block| open(event(block, 30));
        assert!(of(&good).is_ok());
        let refused = [
            open(Envelope { event_type: "audit".into(), ..event(&good, 30) }),
            open(Envelope { id: "1".into(), ..event(&good, 30) }),
            open(Envelope { data: json!({ "block": "" }), ..event(&good, 30) }),
            open(event(&good, 0)),
            open(event(&good, 3_661)),
            of(&Block::of(b"no zstd".to_vec())),
            of(&Block::pack(b"\xff\xff").unwrap()),
            of(&block("web", HOUR, 0)),
            of(&block("web", 2 * HOUR - SECOND, 2)),
            of(&block(&"w".repeat(256), HOUR, 1)),
        ];
        for (number, result) in refused.into_iter().enumerate() {
            assert!(result.is_err(), "{number}: {result:?}");
        }
    }

    #[test]
    fn there_is_room_for_so_many_traces() {
        let room = Cell::new(5);
        let open = |from| Piece::open(event(&block("web", from, 3), 30), &Settings::default(), &room);
        assert_eq!(open(HOUR).unwrap().traces.len(), 3);
        let without = open(2 * HOUR).unwrap();
        assert_eq!((without.traces.len(), without.header.lines, room.get()), (0, 3, 2));
    }
}
