//! The lines of a trace, oldest first.
//!
//! Its blocks are found by postings, or by the headers of a stretch of time where the org has no postings. What one
//! budget finds is a window, newest first. Of the blocks of a window, those that one budget can read are brought into
//! one order; a trace of more is answered in such parts.

use std::collections::BTreeSet;

use echo_shared::log::key::{HOUR, Id, Place};
use echo_shared::log::line::lines;
use echo_shared::log::posting::TraceId;
use echo_shared::table::TableError;
use opentelemetry_proto::tonic::logs::v1::LogsData;
use serde_json::Value;

use super::budget::{Limits, Spent};
use super::filter::Filter;
use super::json::line;
use super::kept::{Kept, Room};
use super::open::{GROUP, fetch, open};
use super::source::Source;
use super::spot::{Mark, Spot};
use super::walk::{Ahead, Walk};

/// Above and below everything.
const TOP: Spot = Spot { time: u64::MAX, block: Id([255; 16]), index: u32::MAX };
const BOTTOM: Spot = Spot { time: 0, block: Id([0; 16]), index: 0 };

/// Where a trace goes on. Both ends of what was begun are kept: what is stored between two pages must not move them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    /// The window: headers or postings below this one.
    pub behind: Spot,
    /// And at or above this one; at the bottom when it is not known how far the budget goes.
    pub until: Spot,
    /// The part: blocks above this spot.
    pub from: Spot,
    /// And not above this one; at the bottom when it is not known how far the budget goes.
    pub end: Spot,
    /// Lines of the part up to here are done.
    pub above: Spot,
}

impl Part {
    /// All of a trace.
    pub(crate) fn first() -> Self {
        Self::window(TOP)
    }

    /// What lies behind a window.
    fn window(behind: Spot) -> Self {
        Self { behind, until: BOTTOM, from: BOTTOM, end: BOTTOM, above: BOTTOM }
    }

    /// The limits for finding its window.
    fn search(&self, limits: Limits) -> Limits {
        if *self == Self::window(self.behind) { limits } else { limits.again() }
    }

    /// The limits for reading its blocks.
    fn read(&self, limits: Limits) -> Limits {
        if self.end == BOTTOM { limits } else { limits.again() }
    }

    fn has(&self, place: Place) -> bool {
        let top = Spot::above(place);
        top > self.from && (self.end == BOTTOM || top <= self.end)
    }

    /// The form in cursors.
    pub(crate) fn text(&self) -> String {
        [self.behind, self.until, self.from, self.end, self.above].map(Spot::text).join("~")
    }

    /// Reads that form.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let spots: Vec<Spot> = text.split('~').map(Spot::parse).collect::<Option<_>>()?;
        let [behind, until, from, end, above] = *spots.as_slice() else { return None };
        Some(Self { behind, until, from, end, above })
    }
}

/// A page of lines.
#[derive(Debug)]
pub(crate) struct Page {
    /// The lines, oldest first.
    pub items: Vec<Value>,
    /// Where the next page starts; none when this was all.
    pub next: Option<Part>,
}

/// The blocks of a window that may hold lines of a trace.
#[derive(Debug)]
pub(crate) struct Blocks {
    /// Where.
    pub places: BTreeSet<Place>,
    /// Whether all of them must be there.
    pub must_exist: bool,
    /// The window's lower end; the bottom when nothing is left behind it.
    pub until: Spot,
    /// What was read.
    pub spent: Spent,
}

impl Blocks {
    /// When the budget ended the window: what was not looked at is before this time.
    pub(crate) fn scanned_to(&self) -> Option<u64> {
        (self.until > BOTTOM).then(|| self.until.end())
    }
}

/// Finds blocks by postings. They may name blocks that expired or that a fold in the end did not make: a missing one is
/// no damage. A block that is being stored has its lines here slightly before a search, which waits for its header.
pub(crate) async fn posted<S: Source>(
    source: &S,
    filter: &Filter,
    trace: &TraceId,
    part: Part,
    limits: Limits,
) -> Result<Blocks, TableError> {
    let limits = part.search(limits);
    let from = Spot::at(filter.times.start).max(part.until).place();
    let begins = |place: &Place| place.last - place.last % HOUR;
    let inside = |place: &Place| place.last >= filter.times.start && begins(place) < filter.times.end;
    let mut blocks = Blocks { places: BTreeSet::new(), must_exist: false, until: part.until, spent: Spent::default() };
    let mut behind = part.behind.place();
    loop {
        let found = source.postings(trace, from, behind).await?;
        blocks.spent.stored += found.bytes;
        for id in found.damaged {
            blocks.spent.damage(id, &"the posting is not what its name says");
        }
        blocks.places.extend(found.places.into_iter().filter(inside));
        let Some(next) = found.next else { return Ok(blocks) };
        if blocks.spent.stored >= limits.headers {
            return Ok(Blocks { until: Spot::behind(next), ..blocks });
        }
        behind = next;
    }
}

/// Finds blocks by headers.
pub(crate) async fn searched<S: Source>(
    source: &S,
    filter: &Filter,
    part: Part,
    limits: Limits,
) -> Result<Blocks, TableError> {
    let filter = Filter { times: filter.times.start.max(part.until.time)..filter.times.end, ..filter.clone() };
    let mark = Mark::all(Spot::at(filter.times.end));
    let mark = Mark { behind: mark.behind.min(part.behind), ..mark };
    let mut walk = Walk::new(source, &filter, mark, part.search(limits)).at_length();
    let (mut places, mut until) = (BTreeSet::new(), part.until);
    loop {
        match walk.ahead().await? {
            Ahead::Block(_) => places.extend(walk.take().map(|candidate| candidate.place)),
            Ahead::Spent(bound) => {
                until = until.max(bound);
                break;
            }
            Ahead::End => break,
        }
    }
    // At the window's end the time alone does not tell.
    places.retain(|place| Spot::behind(*place) >= until);
    Ok(Blocks { places, must_exist: true, until, spent: walk.spent })
}

/// Lists up to `limit` lines of a part of these blocks.
pub(crate) async fn list<S: Source>(
    source: &S,
    filter: &Filter,
    blocks: &mut Blocks,
    part: Part,
    limit: usize,
    limits: Limits,
) -> Result<Page, TableError> {
    let limits = part.read(limits);
    let places: Vec<Place> = blocks.places.iter().filter(|place| part.has(**place)).copied().collect();
    let room = Room { lines: limit, bytes: limits.page };
    let mut oldest = Oldest { filter, part, room, lines: Kept::new() };
    let mut end = part.from;
    for group in places.chunks(GROUP) {
        if blocks.spent.blocks_over(&limits, 1) {
            break;
        }
        for (place, data) in fetch(source, group, blocks.must_exist, &mut blocks.spent).await? {
            if let Some(logs) = open(place.id, data, &mut blocks.spent) {
                oldest.add(place.id, &logs);
            }
        }
        end = group.last().map_or(end, |place| Spot::above(*place));
    }
    let rest = blocks.places.last().is_some_and(|newest| Spot::above(*newest) > end);
    let begun = Part { until: blocks.until, end, ..part };
    let next = if rest {
        Some(Part { from: end, end: BOTTOM, above: BOTTOM, ..begun })
    } else {
        (blocks.until > BOTTOM).then(|| Part::window(blocks.until))
    };
    Ok(oldest.page(begun, next))
}

/// The oldest lines of a part: never more than a page takes.
struct Oldest<'a> {
    filter: &'a Filter,
    part: Part,
    room: Room,
    lines: Kept<Spot>,
}

impl Oldest<'_> {
    fn add(&mut self, block: Id, logs: &LogsData) {
        for (found, index) in lines(logs).zip(0..) {
            let spot = Spot { time: found.time(), block, index };
            if spot > self.part.above && self.filter.fits(&found) {
                self.lines.add(spot, self.room, || line(&found, spot));
            }
        }
    }

    /// The page: `begun` is this part with its end, `next` what lies behind it.
    fn page(mut self, begun: Part, next: Option<Part>) -> Page {
        let (mut items, mut above) = (Vec::new(), self.part.above);
        while let Some((spot, item, _)) = self.lines.pop() {
            above = spot;
            items.push(item);
        }
        Page { items, next: if self.lines.dropped { Some(Part { above, ..begun }) } else { next } }
    }
}

#[cfg(test)]
mod tests {
    use echo_shared::log::key::{DAY, HOUR, Place, SECOND};
    use opentelemetry_proto::tonic::logs::v1::LogRecord;

    use super::super::budget::{LIMITS, Limits};
    use super::super::filter::Filter;
    use super::super::memory::{Memory, record};
    use super::super::spot::Spot;
    use super::{Blocks, Page, Part, list, posted, searched};

    const TRACE: [u8; 16] = [7; 16];

    fn traced(time: u64, trace: [u8; 16]) -> LogRecord {
        LogRecord { trace_id: trace.to_vec(), ..record(time, "x") }
    }

    /// Blocks that lie over each other, each with two lines of the trace and one of another.
    fn store() -> Memory {
        let mut memory = Memory::default();
        let at = |second: u64| 50 * HOUR + second * SECOND;
        for n in 0..20 {
            let lines = vec![traced(at(n), TRACE), traced(at(30), TRACE), traced(at(40 + n), [8; 16])];
            let place = memory.add("web", lines);
            memory.postings.insert(place);
        }
        memory.add("web", vec![traced(at(1), [9; 16])]);
        memory
    }

    fn filter() -> Filter {
        Filter { trace: Some(TRACE), ..Filter::all(0..4 * DAY) }
    }

    async fn found(memory: &Memory) -> Blocks {
        posted(memory, &filter(), &TRACE, Part::first(), LIMITS).await.unwrap()
    }

    /// A page, of what postings say or headers.
    async fn page(memory: &Memory, part: Part, limit: usize, (by_postings, limits): (bool, Limits)) -> Page {
        let filter = filter();
        let mut blocks = if by_postings {
            posted(memory, &filter, &TRACE, part, limits).await.unwrap()
        } else {
            searched(memory, &filter, part, limits).await.unwrap()
        };
        list(memory, &filter, &mut blocks, part, limit, limits).await.unwrap()
    }

    fn names(page: &Page) -> Vec<(String, String)> {
        page.items.iter().map(|item| (item["time"].to_string(), item["block"].to_string())).collect()
    }

    /// All pages, each by the cursor of the one before; `between` happens to the store after the first.
    async fn pages(
        memory: &mut Memory,
        limit: usize,
        way: (bool, Limits),
        between: impl FnOnce(&mut Memory),
    ) -> Vec<(String, String)> {
        let (mut part, mut lines, mut between) = (Part::first(), Vec::new(), Some(between));
        for _ in 0..1_000 {
            let page = page(memory, part, limit, way).await;
            lines.extend(names(&page));
            if let Some(between) = between.take() {
                between(memory);
            }
            let Some(next) = page.next else { return lines };
            part = Part::parse(&next.text()).unwrap();
        }
        panic!("no end of pages");
    }

    async fn all(memory: &mut Memory, limit: usize, limits: Limits) -> Vec<(String, String)> {
        pages(memory, limit, (true, limits), |_| {}).await
    }

    fn sorted(mut lines: Vec<(String, String)>) -> Vec<(String, String)> {
        lines.sort_unstable();
        lines
    }

    #[tokio::test]
    async fn every_page_size_answers_the_trace_oldest_first() {
        let mut memory = store();
        let expected = all(&mut memory, 1_000, LIMITS).await;
        assert!(expected.len() == 40 && expected.is_sorted());
        for limit in 1..45 {
            assert_eq!(all(&mut memory, limit, LIMITS).await, expected, "{limit}");
        }
    }

    #[tokio::test]
    async fn a_page_ends_with_its_bytes() {
        let mut memory = store();
        let expected = all(&mut memory, 1_000, LIMITS).await;
        let limits = Limits { page: 1_000, ..LIMITS };
        let first = page(&memory, Part::first(), 1_000, (true, limits)).await;
        assert!((1..5).contains(&first.items.len()) && first.next.is_some());
        assert_eq!(all(&mut memory, 1_000, limits).await, expected);
        assert_eq!(all(&mut memory, 1_000, Limits { page: 1, ..LIMITS }).await, expected);
    }

    #[tokio::test]
    async fn a_trace_of_many_blocks_comes_in_parts() {
        let mut memory = store();
        let expected = all(&mut memory, 1_000, LIMITS).await;
        for limit in [1, 7, 1_000] {
            let parts = all(&mut memory, limit, Limits { blocks: 1, ..LIMITS }).await;
            assert_eq!(sorted(parts), sorted(expected.clone()));
        }
    }

    #[tokio::test]
    async fn a_budget_that_ends_the_search_for_blocks_ends_no_list() {
        let mut memory = store();
        let expected = sorted(all(&mut memory, 1_000, LIMITS).await);
        memory.page = 3;
        for by_postings in [true, false] {
            for limit in [1, 7, 1_000] {
                for headers in [1, 4, 10] {
                    let way = (by_postings, Limits { headers, ..LIMITS });
                    let found = pages(&mut memory, limit, way, |_| {}).await;
                    assert_eq!(sorted(found), expected, "{by_postings} {limit} {headers}");
                }
            }
        }
        let days = (false, Limits { days: 1, ..LIMITS });
        assert_eq!(sorted(pages(&mut memory, 3, days, |_| {}).await), expected);
    }

    #[tokio::test]
    async fn what_is_stored_between_two_pages_moves_no_end() {
        let late = |memory: &mut Memory| {
            for n in 0..3 {
                let at = 50 * HOUR + 40 * SECOND + n * 5 * SECOND;
                let place = memory.add("late", vec![traced(at + 1, TRACE)]);
                memory.postings.insert(place);
            }
        };
        for by_postings in [true, false] {
            for (blocks, headers, size) in [(16, 1_000, 0), (64, 10, 5), (1, 10, 5)] {
                let mut memory = store();
                let expected = sorted(pages(&mut memory, 1_000, (by_postings, LIMITS), |_| {}).await);
                memory.page = size;
                let way = (by_postings, Limits { blocks, headers, ..LIMITS });
                // The first page has a line of every block of its part.
                let found = sorted(pages(&mut memory, 20, way, late).await);
                let late: Vec<_> = found.iter().filter(|line| !expected.contains(line)).collect();
                assert!(late.len() <= 3, "{late:?}");
                let found: Vec<_> = found.iter().filter(|line| expected.contains(line)).cloned().collect();
                assert_eq!(found, expected, "{by_postings} {blocks} {headers}");
            }
        }
    }

    #[tokio::test]
    async fn headers_find_what_postings_do() {
        let memory = store();
        let by_headers = searched(&memory, &filter(), Part::first(), LIMITS).await.unwrap();
        let by_postings = found(&memory).await;
        assert!(by_headers.places.is_superset(&by_postings.places));
        assert!(by_headers.must_exist && !by_postings.must_exist);
        assert_eq!([by_headers.scanned_to(), by_postings.scanned_to()], [None, None]);
        let less = searched(&memory, &filter(), Part::first(), Limits { days: 1, ..LIMITS }).await.unwrap();
        assert_eq!(less.scanned_to(), Some(3 * DAY));
    }

    #[tokio::test]
    async fn the_end_of_a_window_is_before_scanned_to() {
        let mut memory = store();
        memory.page = 1;
        let limits = Limits { headers: 1, ..LIMITS };
        let newest = memory.postings.last().unwrap().last;
        let by_postings = posted(&memory, &filter(), &TRACE, Part::first(), limits).await.unwrap();
        let by_headers = searched(&memory, &filter(), Part::first(), limits).await.unwrap();
        assert_eq!([by_postings.scanned_to(), by_headers.scanned_to()], [Some(newest + 1); 2]);
    }

    #[tokio::test]
    async fn postings_without_their_block_are_passed() {
        let mut memory = store();
        let gone: Place = *memory.postings.first().unwrap();
        memory.payloads.remove(&gone.id);
        let mut blocks = found(&memory).await;
        let page = list(&memory, &filter(), &mut blocks, Part::first(), 1_000, LIMITS).await.unwrap();
        assert_eq!((page.items.len(), blocks.spent.damaged.len()), (38, 0));
    }

    #[tokio::test]
    async fn postings_are_cut_to_the_hours_asked_for() {
        let memory = store();
        for (times, count) in [(0..50 * HOUR, 0), (0..50 * HOUR + 1, 20), (51 * HOUR..DAY * 9, 0)] {
            let filter = Filter { times, ..filter() };
            let blocks = posted(&memory, &filter, &TRACE, Part::first(), LIMITS).await.unwrap();
            assert_eq!(blocks.places.len(), count);
        }
    }

    #[test]
    fn parts_survive_and_junk_does_not() {
        let part = Part { from: Spot::at(3), end: Spot::at(7), above: Spot::at(9), ..Part::first() };
        assert_eq!(Part::parse(&part.text()), Some(part));
        let (shorter, longer) = (part.text().replacen('~', "#", 1), format!("{}~{}", part.text(), Spot::at(1).text()));
        assert_eq!([Part::parse(""), Part::parse(&shorter), Part::parse(&longer)], [None, None, None]);
    }
}
