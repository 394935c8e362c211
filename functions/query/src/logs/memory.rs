//! A log store for tests.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use echo_shared::log::Damaged;
use echo_shared::log::block::Block;
use echo_shared::log::header::Header;
use echo_shared::log::key::{Id, Place};
use echo_shared::log::line::lines;
use echo_shared::log::posting::TraceId;
use echo_shared::table::TableError;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, LogsData, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;

use super::source::{Headers, Postings, Source};

/// Blocks in memory.
#[derive(Default)]
pub(crate) struct Memory {
    /// By place.
    pub headers: BTreeMap<Place, Result<Header, Damaged>>,
    /// By block.
    pub payloads: BTreeMap<Id, Vec<u8>>,
    /// Headers that are there and do not count.
    pub expired: BTreeSet<Place>,
    /// What the postings say of every trace, each of one block, at the block's own place.
    pub postings: BTreeSet<Place>,
    /// Headers or postings of a page; 0 for no bound.
    pub page: usize,
}

impl Memory {
    /// Stores a block with records of a service.
    pub(crate) fn add(&mut self, service: &str, records: Vec<LogRecord>) -> Place {
        let logs = logs(service, records);
        let raw = logs.encode_to_vec();
        let block = Block::pack(&raw).unwrap();
        let header = Header::of(&logs, raw.len(), block.data.len()).unwrap();
        let place = Place { last: header.last, id: block.id };
        assert!(lines(&logs).all(|line| line.time() <= place.last));
        self.headers.insert(place, Ok(header));
        self.payloads.insert(block.id, block.data);
        place
    }

    /// Damages a header.
    pub(crate) fn damage_header(&mut self, place: Place) {
        self.headers.insert(place, Err(Damaged("a test did it")));
    }
}

impl Source for Memory {
    async fn headers(
        &self,
        last: RangeInclusive<u64>,
        after: Option<Place>,
        limit: Option<i32>,
    ) -> Result<Headers, TableError> {
        let inside = |place: &Place| last.contains(&place.last) && after.is_none_or(|after| *place < after);
        let mut rest = self.headers.iter().rev().filter(|(place, _)| inside(place));
        let most = limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap());
        let most = if self.page == 0 { most } else { most.min(self.page) };
        let mut found: Vec<_> = rest.by_ref().take(most).map(|(place, header)| (*place, header.clone())).collect();
        let next = rest.next().and(found.last()).map(|(place, _)| *place);
        let read = found.len();
        found.retain(|(place, _)| !self.expired.contains(place));
        Ok(Headers { bytes: read, read, next, found })
    }

    async fn payloads(&self, ids: &[Id]) -> Result<BTreeMap<Id, Vec<u8>>, TableError> {
        Ok(ids.iter().filter_map(|id| Some((*id, self.payloads.get(id)?.clone()))).collect())
    }

    async fn postings(&self, _: &TraceId, from: Place, behind: Place) -> Result<Postings, TableError> {
        let most = if self.page == 0 { usize::MAX } else { self.page };
        let mut rest = self.postings.iter().rev().filter(|place| (from..behind).contains(place));
        let places: Vec<Place> = rest.by_ref().take(most).copied().collect();
        let next = rest.next().and(places.last()).copied();
        Ok(Postings { bytes: places.len(), places, next, ..Postings::default() })
    }
}

/// The records of a service.
pub(crate) fn logs(service: &str, records: Vec<LogRecord>) -> LogsData {
    let resource = Resource { attributes: attributes(&[("service.name", service)]), ..Default::default() };
    let scope_logs = vec![ScopeLogs { log_records: records, ..Default::default() }];
    LogsData { resource_logs: vec![ResourceLogs { resource: Some(resource), scope_logs, ..Default::default() }] }
}

/// A record with a text.
pub(crate) fn record(time: u64, body: &str) -> LogRecord {
    let body = Some(AnyValue { value: Some(Value::StringValue(body.into())) });
    LogRecord { time_unix_nano: time, severity_number: 9, body, ..Default::default() }
}

/// Attributes with texts.
pub(crate) fn attributes(pairs: &[(&str, &str)]) -> Vec<KeyValue> {
    let pair = |(key, text): &(&str, &str)| KeyValue {
        key: (*key).to_owned(),
        value: Some(AnyValue { value: Some(Value::StringValue((*text).to_owned())) }),
        ..Default::default()
    };
    pairs.iter().map(pair).collect()
}
