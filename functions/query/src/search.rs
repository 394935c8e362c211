//! `GET /audit/v1/events`: the newest entries that fit.
//!
//! An index answers which entries, by their markers; the entries themselves are in chunks. Every request has a budget:
//! when it is used up, the page ends early, with a `next`. With `id`, the answer is that of [`crate::event`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use echo_shared::http::{Cursor, PageQuery, Problem, RequestInfo};
use echo_shared::table::{Table, TableError};
use echo_shared::token::KeySource;
use http::HeaderMap;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::chunks::{Unpacked, unpack};
use crate::error::ReadError;
use crate::filter::{Filter, FilterQuery, invalid};
use crate::front::Front;
use crate::json::set;
use crate::params::Params;
use crate::store::{self, Select};

/// Pages of an index that one request may cost, at most 1 MB each.
const PAGES: usize = 10;
/// The same when text is looked for, and how many markers each of them has.
const TEXT_PAGES: usize = 5;
const TEXT_MARKERS: i32 = 1_000;
/// Bytes of entries, unpacked, that one request may look for text in.
const TEXT_BYTES: usize = 16_000_000;
/// Chunks fetched at once. Looking for text, most of them may be in vain.
const CHUNKS: usize = 100;
const TEXT_CHUNKS: usize = 32;
/// A page ends when its entries take this many bytes: Lambda carries 6 MB of JSON text inside of JSON.
const PAGE_BYTES: usize = 2_000_000;

/// A page of entries.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    /// The entries, newest first, each with its `index`.
    pub items: Vec<Value>,
    /// Where the next page starts; none when there is nothing left to look at.
    pub next: Option<Cursor>,
    /// The time down to which everything was looked at; none when all of it was.
    pub scanned_to: Option<String>,
}

pub(crate) async fn get_events<K: KeySource>(
    State(front): State<Arc<Front<K>>>,
    info: RequestInfo,
    headers: HeaderMap,
    Params(mut query): Params<FilterQuery>,
    Params(page): Params<PageQuery>,
) -> Result<Response, Problem> {
    let caller = front.caller(&headers).await?;
    let id = query.id.take();
    let (filter, limit) = (query.parse()?, page.limit()?);
    match id {
        Some(_) if !filter.given.is_empty() => return Err(invalid("`id` stands alone; it leaves nothing to filter")),
        Some(id) => return Ok(Json(front.look_up(&info, &caller, id).await?).into_response()),
        None => {}
    }
    let to = page.cursor()?.map_or(Ok(filter.to.clone()), |Cursor(at)| filter.below(&at))?;
    front.report(&info, &caller, "/audit/v1/events", filter.given.clone()).await?;
    let listing = list(&front.app.log, &caller.org, &filter, limit, to).await?;
    let mut answer = json!({ "items": listing.items, "next": listing.next.as_ref().map(Cursor::encode) });
    if filter.text().is_some() {
        set(&mut answer, "scanned_to", listing.scanned_to.unwrap_or(filter.from));
    }
    Ok(Json(answer).into_response())
}

/// Lists up to `limit` entries of `org` that fit, from the sort key `to` downwards.
pub(crate) async fn list(
    log: &Table,
    org: &str,
    filter: &Filter,
    limit: usize,
    to: String,
) -> Result<Listing, ReadError> {
    if filter.from > to {
        return Ok(Listing::default());
    }
    let mut search = Search { log, org, text: filter.text(), limit, items: Vec::new(), bytes: 0, read: 0 };
    let (select, pages) = search.plan(filter, to);
    let mut start = None;
    for _ in 0..pages {
        let page = store::page(log, &select, start).await?;
        let markers: Vec<Marker> = serde_dynamo::from_items(page.items).map_err(TableError::from)?;
        let hits = markers.into_iter().map(Hit::of).collect::<Result<Vec<_>, _>>()?;
        if let Some(end) = search.look_at(&hits).await? {
            let more = page.next.is_some() || hits.last().is_some_and(|last| last.at != end);
            return Ok(search.stop(&end, more));
        }
        let Some(next) = page.next else { return Ok(Listing { items: search.items, ..Listing::default() }) };
        start = Some(next);
    }
    let end = start.as_ref().map_or("", |item| store::text(item, "at")).to_owned();
    Ok(search.stop(&end, true))
}

/// What is stored of an event beside its entry, and in every index.
#[derive(Deserialize)]
pub(crate) struct Marker {
    at: String,
    chunk: String,
}

/// Where an entry is.
pub(crate) struct Hit {
    /// Its sort key in every index.
    pub at: String,
    /// The sort key of its chunk.
    pub chunk: String,
    /// Its index in the log.
    pub index: u64,
}

impl Hit {
    /// Where a marker leads.
    pub(crate) fn of(Marker { at, chunk }: Marker) -> Result<Self, TableError> {
        let index = at.rsplit_once('#').and_then(|(_, index)| index.parse().ok());
        let index = index.ok_or_else(|| TableError::Unavailable(format!("marker with the place `{at}`")))?;
        Ok(Self { at, chunk, index })
    }
}

/// A search on its way.
struct Search<'a> {
    log: &'a Table,
    org: &'a str,
    text: Option<&'a str>,
    limit: usize,
    items: Vec<Value>,
    /// Bytes of `items`.
    bytes: usize,
    /// Bytes of the chunks that were read, unpacked.
    read: usize,
}

impl Search<'_> {
    /// What to ask the index for, and how many pages of it.
    fn plan(&self, filter: &Filter, to: String) -> (Select, usize) {
        let mut select = filter.select(self.org, to);
        if self.text.is_some() {
            select.limit = Some(TEXT_MARKERS);
            return (select, TEXT_PAGES);
        }
        if select.equals.is_empty() {
            select.limit = i32::try_from(self.limit).ok();
        }
        (select, PAGES)
    }

    /// Takes what fits of `hits`; answers the last one looked at when the search must stop there.
    async fn look_at(&mut self, hits: &[Hit]) -> Result<Option<String>, ReadError> {
        let mut rest = hits;
        while let Some((group, behind)) = rest.split_at_checked(self.group(rest)).filter(|(group, _)| !group.is_empty())
        {
            let places: BTreeSet<&str> = group.iter().map(|hit| hit.chunk.as_str()).collect();
            let chunks = unpack(self.log, self.org, &places).await?;
            self.read += chunks.values().map(|chunk| chunk.bytes).sum::<usize>();
            for hit in group {
                self.take(hit, &chunks)?;
                if self.items.len() == self.limit || self.bytes > PAGE_BYTES {
                    return Ok(Some(hit.at.clone()));
                }
            }
            if self.text.is_some() && self.read > TEXT_BYTES {
                return Ok(group.last().map(|hit| hit.at.clone()));
            }
            rest = behind;
        }
        Ok(None)
    }

    /// How many of `hits` to look at next, and no more than are needed.
    fn group(&self, hits: &[Hit]) -> usize {
        match self.text {
            Some(_) => few(hits, usize::MAX, TEXT_CHUNKS),
            None => few(hits, self.limit.saturating_sub(self.items.len()), CHUNKS),
        }
    }

    fn take(&mut self, hit: &Hit, chunks: &BTreeMap<String, Unpacked>) -> Result<(), ReadError> {
        let item = entry(hit, chunks)?;
        let shown = item.to_string();
        if self.text.is_none_or(|text| shown.to_lowercase().contains(text)) {
            self.bytes += shown.len();
            let mut item = item;
            set(&mut item, "index", hit.index);
            self.items.push(item);
        }
        Ok(())
    }

    fn stop(self, end: &str, more: bool) -> Listing {
        let time = end.split('#').next().unwrap_or_default().to_owned();
        let next = more.then(|| Cursor(end.to_owned()));
        Listing { items: self.items, scanned_to: next.is_some().then_some(time), next }
    }
}

/// How many of the first `most` hits lie in the first `chunks` chunks.
fn few(hits: &[Hit], most: usize, chunks: usize) -> usize {
    let mut places = BTreeSet::new();
    let few = hits.iter().take(most).take_while(|hit| {
        places.insert(&hit.chunk);
        places.len() <= chunks
    });
    few.count()
}

/// The entry of a hit as JSON.
fn entry(hit: &Hit, chunks: &BTreeMap<String, Unpacked>) -> Result<Value, ReadError> {
    let leaf = chunks.get(&hit.chunk).and_then(|chunk| chunk.leaf(hit.index));
    let entry = leaf.ok_or_else(|| ReadError::missing(hit.index))?.entry();
    let entry = entry.map_err(|error| ReadError::damaged(hit.index, error))?;
    serde_json::to_value(entry).map_err(|error| ReadError::damaged(hit.index, error))
}

#[cfg(test)]
mod tests {
    use super::{Hit, Marker, few};

    #[test]
    fn no_more_is_fetched_than_is_needed() {
        let hits = |chunks: &[u64]| -> Vec<Hit> {
            let hit = |chunk: &u64| Hit { at: String::new(), chunk: chunk.to_string(), index: 0 };
            chunks.iter().map(hit).collect()
        };
        let many: Vec<u64> = (0..200).collect();
        assert_eq!([few(&hits(&many), 50, 100), few(&hits(&many), 5, 100), few(&hits(&many), 500, 32)], [50, 5, 32]);
        assert_eq!([few(&hits(&[1; 500]), 500, 32), few(&hits(&[1, 2, 1, 2, 3]), 500, 2)], [500, 4]);
        assert_eq!(few(&[], 50, 100), 0);
    }

    #[test]
    fn a_marker_names_a_place() {
        let marker = |at: &str| Marker { at: at.into(), chunk: "0000000000000000098".into() };
        assert_eq!(Hit::of(marker("2026-01-01T00:00:00.000000Z#0000000000000000099")).unwrap().index, 99);
        assert!(Hit::of(marker("2026-01-01T00:00:00.000000Z")).is_err());
    }
}
