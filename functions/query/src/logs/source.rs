//! The table `log_store` as searches read it.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use aws_sdk_dynamodb::types::AttributeValue;
use echo_shared::log::Damaged;
use echo_shared::log::header::Header;
use echo_shared::log::key::{self, DAY, HOUR, Id, Place};
use echo_shared::log::posting::{Posting, TraceId};
use echo_shared::table::{Item, Table, TableError};

use crate::store::{self, Select};

/// The log store of one org: a table, or a test's own.
pub(crate) trait Source: Sync {
    /// A page of the headers of blocks whose last lines have these times, all of one day, newest first. `after` is the
    /// `next` of the page before; `limit` bounds the headers of the page.
    fn headers(
        &self,
        last: RangeInclusive<u64>,
        after: Option<Place>,
        limit: Option<i32>,
    ) -> impl Future<Output = Result<Headers, TableError>> + Send;

    /// Blocks as they are stored; without those that are missing.
    fn payloads(&self, ids: &[Id]) -> impl Future<Output = Result<BTreeMap<Id, Vec<u8>>, TableError>> + Send;

    /// A page of what the postings say of a trace: of those from `from` on and before `behind`, newest first. A posting's
    /// place is that of the newest of its blocks, others of them may be older by any time.
    fn postings(
        &self,
        trace: &TraceId,
        from: Place,
        behind: Place,
    ) -> impl Future<Output = Result<Postings, TableError>> + Send;
}

/// A page of headers.
#[derive(Debug, Default)]
pub(crate) struct Headers {
    /// Each with its place; without those that expired.
    pub found: Vec<(Place, Result<Header, Damaged>)>,
    /// How many were read. Those that expired are paid for as well.
    pub read: usize,
    /// Bytes of all that were read.
    pub bytes: usize,
    /// The last place looked at, when there is more behind it.
    pub next: Option<Place>,
}

/// A page of what the postings say of a trace.
#[derive(Debug, Default)]
pub(crate) struct Postings {
    /// The blocks that may hold lines of it.
    pub places: Vec<Place>,
    /// Bytes of the postings that were read.
    pub bytes: usize,
    /// Postings that cannot be read.
    pub damaged: Vec<Id>,
    /// The last posting looked at, when there is more behind it.
    pub next: Option<Place>,
}

/// The table, for one request.
pub(crate) struct Stored<'a> {
    /// The table.
    pub table: &'a Table,
    /// Whose.
    pub org: &'a str,
    /// Seconds since 1970: what expires until then is not there, whenever DynamoDB removes it.
    pub now: i64,
}

impl Source for Stored<'_> {
    async fn headers(
        &self,
        last: RangeInclusive<u64>,
        after: Option<Place>,
        limit: Option<i32>,
    ) -> Result<Headers, TableError> {
        let partition = key::headers(self.org, last.start() / DAY);
        let start = after.map(|place| store::key(&partition, &place.sort()));
        let (from, to) = (key::time(*last.start()), format!("{}~", key::time(*last.end())));
        // Half the price. What was written within the last second may be missing; it arrives late by more than that.
        let select = Select { partition, from, to, descending: true, eventual: true, limit, ..Select::default() };
        let page = store::page(self.table, &select, start).await?;
        let next = page.next.as_ref().map(place).transpose()?;
        let mut headers = Headers { next, ..Headers::default() };
        for item in &page.items {
            headers.add(place(item)?, bytes(item, "header"), self.lives(item));
        }
        Ok(headers)
    }

    async fn payloads(&self, ids: &[Id]) -> Result<BTreeMap<Id, Vec<u8>>, TableError> {
        let keys: Vec<Item> = ids.iter().map(|id| store::key(&key::payload(self.org, id), key::ALONE)).collect();
        let ids: BTreeMap<String, Id> = ids.iter().map(|id| (key::payload(self.org, id), *id)).collect();
        // Strongly consistent: the header may have been seen before the payload is everywhere.
        let items = store::fetch(self.table, &keys).await?.into_iter().filter(|item| self.lives(item));
        Ok(items.filter_map(|mut item| Some((*ids.get(store::text(&item, "pk"))?, take(&mut item, "data")))).collect())
    }

    async fn postings(&self, trace: &TraceId, from: Place, behind: Place) -> Result<Postings, TableError> {
        let mut postings = Postings::default();
        if from >= behind {
            return Ok(postings);
        }
        let [prefix, ..] = *trace;
        let (partition, from, to) = (key::postings(self.org, prefix), from.sort(), behind.sort());
        let select = Select { partition, from, to, descending: true, eventual: true, ..Select::default() };
        let page = store::page(self.table, &select, None).await?;
        for item in &page.items {
            postings.read(place(item)?, behind, bytes(item, "posting"), self.lives(item).then_some(trace));
        }
        postings.next = page.next.as_ref().map(place).transpose()?;
        Ok(postings)
    }
}

impl Stored<'_> {
    fn lives(&self, item: &Item) -> bool {
        let expires = item.get("expires_at").and_then(|value| value.as_n().ok()?.parse::<i64>().ok());
        expires.is_none_or(|expires| expires > self.now)
    }
}

impl Headers {
    /// Takes a header that was read.
    fn add(&mut self, place: Place, bytes: &[u8], lives: bool) {
        self.read += 1;
        self.bytes += bytes.len();
        if lives {
            self.found.push((place, Header::from_bytes(bytes)));
        }
    }
}

impl Postings {
    /// Takes a posting that was read, and what it says of a trace when it did not expire. DynamoDB's range includes its
    /// end.
    fn read(&mut self, sort: Place, behind: Place, bytes: &[u8], trace: Option<&TraceId>) {
        self.bytes += bytes.len();
        if let Some(trace) = trace.filter(|_| sort < behind) {
            self.add(sort, bytes, trace);
        }
    }

    /// Takes what a posting says. The sort keys of postings look like those of headers: the id is that of the content.
    fn add(&mut self, sort: Place, bytes: &[u8], trace: &TraceId) {
        match Posting::from_bytes(bytes) {
            Ok(posting) if Id::of(bytes) == sort.id => self.places.extend(posting.find(trace)),
            _ => self.damaged.push(sort.id),
        }
    }
}

/// Whether a header is that of the block at `place`.
pub(crate) fn belongs(header: &Header, place: Place) -> bool {
    header.last == place.last && header.first <= header.last && header.first / HOUR == header.last / HOUR
}

fn place(item: &Item) -> Result<Place, TableError> {
    let sort = store::text(item, "sk");
    Place::parse(sort).ok_or_else(|| TableError::Unavailable(format!("an item of the log store with the key `{sort}`")))
}

fn bytes<'a>(item: &'a Item, name: &str) -> &'a [u8] {
    item.get(name).and_then(|value| value.as_b().ok()).map(|blob| -> &[u8] { blob.as_ref() }).unwrap_or_default()
}

fn take(item: &mut Item, name: &str) -> Vec<u8> {
    match item.remove(name) {
        Some(AttributeValue::B(bytes)) => bytes.into_inner(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use echo_shared::log::header::Header;
    use echo_shared::log::key::{HOUR, Id, Place};
    use echo_shared::log::posting::postings;

    use super::{Headers, Postings, belongs};

    const END: Place = Place { last: u64::MAX, id: Id([255; 16]) };

    #[test]
    fn postings_lead_to_blocks_and_damage_is_named() {
        let block = Place { last: 7, id: Id::of(b"block") };
        let made = postings(&BTreeMap::from([(block, BTreeSet::from([[3; 16]]))]));
        let (bytes, id) = made[0].1.to_bytes();
        let sort = Place { last: 7, id };
        let mut found = Postings::default();
        found.read(sort, END, &bytes, Some(&[3; 16]));
        found.read(sort, END, &bytes, Some(&[4; 16]));
        assert_eq!((&found.places, found.bytes), (&vec![block], 2 * bytes.len()));
        found.read(Place { last: 7, id: block.id }, END, &bytes, Some(&[3; 16]));
        assert_eq!((found.places.len(), found.damaged), (1, vec![block.id]));
    }

    #[test]
    fn postings_that_expired_or_are_done_are_paid_for_only() {
        let block = Place { last: 7, id: Id::of(b"block") };
        let made = postings(&BTreeMap::from([(block, BTreeSet::from([[3; 16]]))]));
        let (bytes, id) = made[0].1.to_bytes();
        let sort = Place { last: 7, id };
        let mut found = Postings::default();
        found.read(sort, sort, &bytes, Some(&[3; 16]));
        found.read(sort, END, &bytes, None);
        assert_eq!((found.places.len(), found.bytes), (0, 2 * bytes.len()));
    }

    #[test]
    fn headers_that_expired_are_counted_and_not_found() {
        let header = Header { first: HOUR, last: HOUR + 5, ..Header::default() };
        let (place, bytes) = (Place { last: HOUR + 5, id: Id([0; 16]) }, header.to_bytes());
        let mut headers = Headers::default();
        headers.add(place, &bytes, false);
        headers.add(place, &bytes, true);
        assert_eq!((headers.found.len(), headers.read, headers.bytes), (1, 2, 2 * bytes.len()));
    }

    #[test]
    fn a_header_belongs_to_one_place() {
        let header = Header { first: HOUR, last: HOUR + 5, ..Header::default() };
        let place = |last| Place { last, id: Id([0; 16]) };
        assert!(belongs(&header, place(HOUR + 5)) && !belongs(&header, place(HOUR + 6)));
        assert!(!belongs(&Header { first: HOUR - 1, ..header.clone() }, place(HOUR + 5)));
        assert!(!belongs(&Header { first: HOUR + 6, ..header }, place(HOUR + 5)));
    }
}
