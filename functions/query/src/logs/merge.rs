//! The lines of many blocks in one order, newest first.
//!
//! Blocks lie over each other in time. They are read in the order of their last lines; a line is answered once no block
//! that was not read can hold a newer one. When the budget of a request ends, the page does, with a `next`.
//!
//! Where so many blocks lie over each other that even several budgets do not reach a first line, order is given up: the
//! rest of that hour is answered block by block, in order within each page, so that every search comes to its end.

use std::cmp::Reverse;

use echo_shared::log::key::{HOUR, Place};
use echo_shared::log::line::{Line, lines};
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

/// How many budgets a page may use until it has a first line.
const PATIENCE: usize = 4;

/// A page of lines.
#[derive(Debug)]
pub(crate) struct Page {
    /// The lines, newest first.
    pub items: Vec<Value>,
    /// Where the next page starts; none when there is nothing left to look at.
    pub next: Option<Mark>,
    /// When the budget ended the page: what was not looked at is before this time.
    pub scanned_to: Option<u64>,
    /// What was read.
    pub spent: Spent,
}

/// Lists up to `limit` lines that `filter` wants and `mark` leaves.
pub(crate) async fn merge<S: Source>(
    source: &S,
    filter: &Filter,
    mark: Mark,
    limit: usize,
    limits: Limits,
) -> Result<Page, TableError> {
    let mark = mark.cut(Spot::at(filter.times.end));
    let walk = Walk::new(source, filter, mark, limits);
    let merge = Merge { source, filter, mark, limit, limits, walk, waiting: Kept::new(), items: Vec::new(), bytes: 0 };
    if mark.apart { merge.apart().await } else { merge.ordered().await }
}

/// A merge on its way.
struct Merge<'a, S> {
    source: &'a S,
    filter: &'a Filter,
    mark: Mark,
    limit: usize,
    limits: Limits,
    walk: Walk<'a, S>,
    /// Lines that were found and may not be the newest of those left. Never more than the page takes.
    waiting: Kept<Reverse<Spot>>,
    items: Vec<(Spot, Value)>,
    /// Bytes of `items`.
    bytes: usize,
}

impl<S: Source> Merge<'_, S> {
    async fn ordered(mut self) -> Result<Page, TableError> {
        loop {
            let places = self.group().await?;
            for (place, data) in fetch(self.source, &places, true, &mut self.walk.spent).await? {
                if let Some(logs) = open(place.id, data, &mut self.walk.spent) {
                    self.wait(place, &logs);
                }
            }
            let ahead = self.walk.ahead().await?;
            if self.emit(ahead.bound()) {
                let next = self.items.last().map(|(last, _)| self.mark.cut(*last));
                return Ok(self.page(next, None));
            }
            match ahead {
                Ahead::End => return Ok(self.page(None, None)),
                Ahead::Spent(bound) => return Ok(self.stop(bound)),
                Ahead::Block(bound) if self.is_over(bound) => return Ok(self.stop(bound)),
                Ahead::Block(_) => {}
            }
        }
    }

    /// The next blocks to read, and no more than are needed.
    async fn group(&mut self) -> Result<Vec<Place>, TableError> {
        let waiting = self.waiting.len() + usize::from(self.waiting.dropped);
        let (mut places, mut expected) = (Vec::new(), self.items.len() + waiting);
        // Lines that wait need the block ahead to be read, however many they are.
        while places.is_empty() || (places.len() < GROUP && expected <= self.limit) {
            let Ahead::Block(_) = self.walk.ahead().await? else { break };
            let Some(candidate) = self.walk.take() else { break };
            expected += self.filter.expected_in(&candidate.header);
            places.push(candidate.place);
        }
        Ok(places)
    }

    /// Keeps the newest lines of a block.
    fn wait(&mut self, place: Place, logs: &LogsData) {
        let lines = self.limit.saturating_sub(self.items.len());
        let room = Room { lines, bytes: self.limits.page.saturating_sub(self.bytes) };
        for (spot, found) in self.found(place, logs) {
            if !self.waiting.add(Reverse(spot), room, || line(&found, spot)) {
                return;
            }
        }
    }

    /// The lines of a block that are wanted and left, newest first.
    fn found<'l>(&self, place: Place, logs: &'l LogsData) -> Vec<(Spot, Line<'l>)> {
        let spots =
            lines(logs).zip(0..).map(|(line, index)| (Spot { time: line.time(), block: place.id, index }, line));
        let wanted = spots.filter(|(spot, line)| self.mark.leaves(place, *spot) && self.filter.fits(line));
        let mut found: Vec<_> = wanted.collect();
        found.sort_unstable_by_key(|(spot, _)| Reverse(*spot));
        found
    }

    /// Moves the lines that wait above `bound` to the page; whether more is left than it takes.
    fn emit(&mut self, bound: Spot) -> bool {
        while self.waiting.first().is_some_and(|Reverse(newest)| newest >= bound)
            && let Some((Reverse(spot), item, bytes)) = self.waiting.pop()
        {
            self.bytes += bytes;
            self.items.push((spot, item));
        }
        if self.waiting.len() > 0 {
            return self.is_full();
        }
        // With `bound` at the very end nothing is left.
        self.waiting.dropped || (self.is_full() && bound > Spot::at(0))
    }

    /// Whether the page takes no more.
    fn is_full(&self) -> bool {
        self.items.len() >= self.limit || self.bytes >= self.limits.page
    }

    /// Whether the budget is used up. A page that would not get anywhere has more of it.
    fn is_over(&self, bound: Spot) -> bool {
        let progress = !self.items.is_empty() || self.waiting.len() == 0 || bound < self.mark.below;
        self.walk.spent.blocks_over(&self.limits, if progress { 1 } else { PATIENCE })
    }

    /// The page when the budget ends: all lines above `bound` are done.
    fn stop(self, bound: Spot) -> Page {
        let mut next = self.mark.cut(bound);
        if self.waiting.len() == 0 {
            next.behind = next.behind.min(bound);
        }
        next.apart = next == self.mark && self.items.is_empty();
        let scanned_to = next.below.end();
        self.page(Some(next), Some(scanned_to))
    }

    /// Block by block, at most to the end of the hour.
    async fn apart(mut self) -> Result<Page, TableError> {
        let hour = self.mark.below.newest() / HOUR;
        loop {
            let ahead = self.walk.ahead().await?;
            let bound = ahead.bound();
            if ahead == Ahead::End {
                return Ok(self.page(None, None));
            }
            if bound.newest() / HOUR < hour {
                return Ok(self.page(Some(Mark::all(bound)), Some(bound.end())));
            }
            if ahead == Ahead::Spent(bound) || self.walk.spent.blocks_over(&self.limits, 1) {
                return Ok(self.leave(bound, true));
            }
            let Some(candidate) = self.walk.take() else { continue };
            for (place, data) in fetch(self.source, &[candidate.place], true, &mut self.walk.spent).await? {
                let logs = open(place.id, data, &mut self.walk.spent);
                if let Some(bound) = logs.and_then(|logs| self.empty(place, &logs)) {
                    return Ok(self.leave(bound, false));
                }
            }
        }
    }

    /// Moves a block's lines to the page, last first; answers the one that filled it.
    fn empty(&mut self, place: Place, logs: &LogsData) -> Option<Spot> {
        let mut found = self.found(place, logs);
        found.sort_unstable_by_key(|(spot, _)| Reverse(spot.index));
        for (spot, found) in found {
            let item = line(&found, spot);
            self.bytes += item.to_string().len();
            self.items.push((spot, item));
            if self.is_full() {
                return Some(Spot { time: place.last, ..spot });
            }
        }
        None
    }

    /// The page when all blocks at or above `behind` are done.
    fn leave(self, behind: Spot, over: bool) -> Page {
        let next = Mark { behind, ..self.mark };
        // Of the blocks behind, lines as new as the last line of the first may come.
        let scanned_to = over.then(|| behind.min(self.mark.below).end());
        self.page(Some(next), scanned_to)
    }

    fn page(mut self, next: Option<Mark>, scanned_to: Option<u64>) -> Page {
        self.items.sort_by_key(|(spot, _)| Reverse(*spot));
        let items = self.items.into_iter().map(|(_, item)| item).collect();
        Page { items, next, scanned_to, spent: self.walk.spent }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use echo_shared::log::key::{HOUR, Place, SECOND};
    use serde_json::Value;

    use super::super::budget::{LIMITS, Limits};
    use super::super::filter::Filter;
    use super::super::memory::{Memory, record};
    use super::super::spot::{Mark, Spot};
    use super::{Page, merge};

    /// Blocks that lie over each other, with equal times within and across them, in three hours.
    fn overlapping() -> Memory {
        let mut memory = Memory::default();
        for block in 0..9 {
            let hour = 100 + block % 3;
            let line = |n: u64| record(hour * HOUR + (n / 2 * 5 + block) % 7 * SECOND, &format!("{block}/{n}"));
            memory.add("web", (0..6).map(line).collect());
        }
        memory
    }

    fn name(item: &Value) -> (String, String, u64) {
        let text = |name: &str| item[name].as_str().unwrap().to_owned();
        (text("time"), text("block"), item["index"].as_u64().unwrap())
    }

    async fn page(memory: &Memory, filter: &Filter, mark: Mark, limit: usize, limits: Limits) -> Page {
        merge(memory, filter, mark, limit, limits).await.unwrap()
    }

    /// All pages of a list, each by the cursor of the one before.
    async fn pages(memory: &Memory, filter: &Filter, limit: usize, limits: Limits) -> Vec<Page> {
        let mut mark = Mark::all(Spot::at(filter.times.end));
        let mut pages = Vec::new();
        loop {
            let page = page(memory, filter, mark, limit, limits).await;
            assert!(page.items.len() <= limit && pages.len() < 1_000);
            let next = page.next;
            pages.push(page);
            match next {
                Some(next) => mark = Mark::parse(&next.text()).unwrap(),
                None => return pages,
            }
        }
    }

    fn names(pages: &[Page]) -> Vec<(String, String, u64)> {
        pages.iter().flat_map(|page| &page.items).map(name).collect()
    }

    /// Every line there is, in order: from one page that is large enough.
    async fn sorted(memory: &Memory, filter: &Filter) -> Vec<(String, String, u64)> {
        let one = page(memory, filter, Mark::all(Spot::at(filter.times.end)), 10_000, LIMITS).await;
        let mut names = names(&[one]);
        names.sort_unstable_by(|a, b| b.cmp(a));
        names
    }

    #[tokio::test]
    async fn every_page_size_answers_every_line_once_and_in_order() {
        let memory = overlapping();
        let all = Filter::all(0..200 * HOUR);
        let expected = sorted(&memory, &all).await;
        assert_eq!(expected.len(), 54);
        for limit in 1..60 {
            let pages = pages(&memory, &all, limit, LIMITS).await;
            assert_eq!(names(&pages), expected, "{limit}");
            assert_eq!(pages.len(), 54usize.div_ceil(limit), "{limit}");
            assert!(pages.iter().all(|page| page.scanned_to.is_none()));
        }
    }

    #[tokio::test]
    async fn filters_cut_the_same_list() {
        let memory = overlapping();
        let (from, to) = (101 * HOUR + 2 * SECOND, 102 * HOUR + 4 * SECOND);
        let expected = sorted(&memory, &Filter::all(from..to)).await;
        let inside = sorted(&memory, &Filter::all(0..200 * HOUR)).await;
        let times = ["1970-01-05T05:00:02.000000000Z", "1970-01-05T06:00:04.000000000Z"];
        let inside = inside.into_iter().filter(|(time, ..)| times[0] <= time.as_str() && time.as_str() < times[1]);
        let inside: Vec<_> = inside.collect();
        assert!(!inside.is_empty() && inside == expected);
        for limit in [1, 2, 7] {
            assert_eq!(names(&pages(&memory, &Filter::all(from..to), limit, LIMITS).await), expected);
        }
        let text = Filter { text: Some("4/3".into()), ..Filter::all(0..200 * HOUR) };
        assert_eq!(names(&pages(&memory, &text, 5, LIMITS).await).len(), 1);
    }

    #[tokio::test]
    async fn little_is_read_for_the_newest_lines() {
        let mut memory = Memory::default();
        for n in 0..40 {
            memory.add("web", (0..10).map(|m| record(100 * HOUR + (n * 10 + m) * SECOND, "x")).collect());
        }
        let all = Filter::all(0..200 * HOUR);
        let first = page(&memory, &all, Mark::all(Spot::at(200 * HOUR)), 5, LIMITS).await;
        assert_eq!((first.items.len(), first.spent.blocks, first.spent.headers), (5, 1, 40));
    }

    #[tokio::test]
    async fn a_small_budget_ends_pages_early_and_loses_nothing() {
        let memory = overlapping();
        let expected = sorted(&memory, &Filter::all(0..200 * HOUR)).await;
        for limits in [Limits { blocks: 1, ..LIMITS }, Limits { headers: 1, ..LIMITS }, Limits { days: 1, ..LIMITS }] {
            for limit in [1, 4, 100] {
                let mut found = names(&pages(&memory, &Filter::all(0..200 * HOUR), limit, limits).await);
                found.sort_unstable_by(|a, b| b.cmp(a));
                assert_eq!(found, expected, "{limits:?} {limit}");
            }
        }
    }

    #[tokio::test]
    async fn a_rare_text_is_found_behind_any_number_of_blocks() {
        let mut memory = Memory::default();
        let at = |second: u64| 100 * HOUR + second * SECOND;
        // All of them span nearly the whole hour: no budget reaches the first line below the last of each.
        for n in 0..100 {
            let text = if n % 10 == 0 { "needle" } else { "hay" };
            memory.add("web", vec![record(at(n), text), record(at(3_000 + n), "hay")]);
        }
        memory.page = 7;
        let filter = Filter { text: Some("needle".into()), ..Filter::all(0..200 * HOUR) };
        for limits in [Limits { blocks: 2, ..LIMITS }, Limits { headers: 1, ..LIMITS }, LIMITS] {
            let pages = pages(&memory, &filter, 3, limits).await;
            let mut found = names(&pages);
            found.sort_unstable();
            found.dedup();
            assert_eq!((found.len(), names(&pages).len()), (10, 10), "{limits:?}");
            let mut early = pages.iter().filter(|page| page.items.len() < 3 && page.next.is_some());
            assert!(early.all(|page| page.scanned_to.is_some()) && pages.len() < 200);
        }
    }

    #[tokio::test]
    async fn where_order_is_given_up_it_is_for_an_hour() {
        let mut memory = Memory::default();
        for hour in [100, 101] {
            for n in 0..30 {
                let lines = [n, 1_000 + n, 3_000 + n].map(|second| record(hour * HOUR + second * SECOND, "x"));
                memory.add("web", lines.to_vec());
            }
        }
        // All lines but the newest of each block: none can be answered before every block is read.
        let filter = Filter { text: Some("x".into()), ..Filter::all(0..101 * HOUR + 2_000 * SECOND) };
        let pages = pages(&memory, &filter, 4, Limits { blocks: 2, ..LIMITS }).await;
        let apart: Vec<bool> = pages.iter().map(|page| page.next.is_some_and(|next| next.apart)).collect();
        assert!(apart[0] && apart.contains(&false));
        let mut found = names(&pages);
        found.sort_unstable();
        found.dedup();
        assert_eq!((found.len(), names(&pages).len()), (150, 150));
        let hours: Vec<_> =
            names(&pages).into_iter().map(|(time, ..)| time.chars().take(13).collect::<String>()).collect();
        assert!(hours.is_sorted_by(|a, b| a >= b));
        for page in &pages {
            assert!(names(std::slice::from_ref(page)).is_sorted_by(|a, b| a > b));
        }
    }

    #[tokio::test]
    async fn a_search_up_to_scanned_to_finds_the_rest() {
        let memory = overlapping();
        let filter = |to| Filter::all(0..to);
        let expected: BTreeSet<_> = sorted(&memory, &filter(200 * HOUR)).await.into_iter().collect();
        for limits in [Limits { blocks: 1, ..LIMITS }, Limits { headers: 1, ..LIMITS }, Limits { days: 1, ..LIMITS }] {
            let (mut to, mut found) = (200 * HOUR, BTreeSet::new());
            loop {
                let filter = filter(to);
                let pages = pages(&memory, &filter, 100, limits).await;
                // The first page that the budget ended.
                let stopped = pages.iter().position(|page| page.scanned_to.is_some_and(|time| time < to));
                found.extend(names(&pages[..stopped.map_or(pages.len(), |at| at + 1)]));
                match stopped.and_then(|at| pages[at].scanned_to) {
                    Some(time) => to = time,
                    None => break,
                }
            }
            assert_eq!(found, expected, "{limits:?}");
        }
    }

    #[tokio::test]
    async fn what_is_left_of_the_same_moment_is_before_scanned_to() {
        let mut memory = Memory::default();
        // Each block fills a budget, and all their lines are of one moment.
        for n in 0..3 {
            memory.add("web", vec![record(100 * HOUR, &format!("{n}"))]);
        }
        let limits = Limits { blocks: 1, ..LIMITS };
        let filter = Filter { text: Some("2".into()), ..Filter::all(0..200 * HOUR) };
        for page in pages(&memory, &filter, 100, limits).await {
            assert!(page.scanned_to.is_none_or(|time| time == 100 * HOUR + 1), "{:?}", page.scanned_to);
        }
        let mut apart = Mark::all(Spot::at(200 * HOUR));
        apart = Mark { below: Spot::at(101 * HOUR), apart: true, ..apart };
        let page = page(&memory, &filter, apart, 100, limits).await;
        assert_eq!(page.scanned_to, Some(100 * HOUR + 1));
    }

    #[tokio::test]
    async fn a_page_ends_with_its_bytes() {
        let mut memory = Memory::default();
        for block in 0..4 {
            let line = |n: u64| record(100 * HOUR + (n * 4 + block) * SECOND, &"x".repeat(1_000));
            memory.add("web", (0..5).map(line).collect());
        }
        let all = Filter::all(0..200 * HOUR);
        let expected = sorted(&memory, &all).await;
        for (page, most) in [(1, 1), (4_000, 3), (LIMITS.page, 20)] {
            let limits = Limits { page, ..LIMITS };
            let pages = pages(&memory, &all, 100, limits).await;
            assert_eq!(names(&pages), expected);
            assert!(pages.iter().all(|page| page.items.len() <= most && page.scanned_to.is_none()));
            assert!(pages.len() <= 20usize.div_ceil(most) + 1);
        }
    }

    #[tokio::test]
    async fn a_damaged_block_is_named_and_the_others_are_answered() {
        let mut memory = overlapping();
        let all = Filter::all(0..200 * HOUR);
        let before = sorted(&memory, &all).await;
        let place: Place = *memory.headers.keys().nth(4).unwrap();
        memory.payloads.get_mut(&place.id).unwrap()[9] ^= 1;
        let after = pages(&memory, &all, 100, LIMITS).await;
        let expected: Vec<_> = before.into_iter().filter(|(_, block, _)| *block != place.id.to_string()).collect();
        assert_eq!((names(&after), after[0].spent.damaged.clone()), (expected, [place.id].into()));
    }
}
