//! Walking headers, newest first, day by day.

use std::collections::VecDeque;

use echo_shared::log::Damaged;
use echo_shared::log::header::Header;
use echo_shared::log::key::{DAY, Place};
use echo_shared::table::TableError;

use super::budget::{Limits, Spent};
use super::filter::Filter;
use super::source::{Headers, Source, belongs};
use super::spot::{Mark, Spot};

/// Headers of the first page: the newest lines are in few blocks.
const FIRST: i32 = 100;

/// A block that may hold wanted lines.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    /// Where.
    pub place: Place,
    /// What it says.
    pub header: Header,
}

/// What a walk comes to next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ahead {
    /// A candidate; everything not yet taken is below this.
    Block(Spot),
    /// The end of the budget; everything not yet looked at is below this.
    Spent(Spot),
    /// Nothing.
    End,
}

impl Ahead {
    /// What all lines that were not taken yet are below of.
    pub(crate) fn bound(self) -> Spot {
        match self {
            Self::Block(bound) | Self::Spent(bound) => bound,
            Self::End => Spot::at(0),
        }
    }
}

/// A walk on its way.
pub(crate) struct Walk<'a, S> {
    /// What the request has read so far.
    pub spent: Spent,
    source: &'a S,
    filter: &'a Filter,
    mark: Mark,
    limits: Limits,
    /// Candidates that were read.
    read: VecDeque<Candidate>,
    /// The day to read next; none behind the last.
    day: Option<u64>,
    /// The last place that was read of it.
    after: Option<Place>,
    /// Headers of the next page at most.
    page: Option<i32>,
}

impl<'a, S: Source> Walk<'a, S> {
    /// A walk over the blocks that may hold lines which `filter` wants and `mark` leaves.
    pub(crate) fn new(source: &'a S, filter: &'a Filter, mark: Mark, limits: Limits) -> Self {
        let mut walk = Self {
            spent: Spent::default(),
            source,
            filter,
            mark,
            limits,
            read: VecDeque::new(),
            day: None,
            after: None,
            page: Some(FIRST),
        };
        let top = walk.top();
        walk.day = (!filter.times.is_empty() && top >= filter.times.start).then_some(top / DAY);
        // The block that ended the budget before is not read again, lest it end this one, too.
        walk.after = (mark.behind.index == 0 && mark.behind.time == top).then(|| mark.behind.place());
        walk
    }

    /// The same with pages as long as they may be.
    pub(crate) fn at_length(self) -> Self {
        Self { page: None, ..self }
    }

    /// What comes next; reads headers until it is known.
    pub(crate) async fn ahead(&mut self) -> Result<Ahead, TableError> {
        loop {
            if let Some(candidate) = self.read.front() {
                return Ok(Ahead::Block(Spot::above(candidate.place).min(self.mark.behind)));
            }
            let Some(day) = self.day else { return Ok(Ahead::End) };
            if self.spent.headers_over(&self.limits) {
                let end = || Spot::at(day.saturating_add(1).saturating_mul(DAY));
                return Ok(Ahead::Spent(self.after.map_or_else(end, Spot::behind)));
            }
            self.read_page(day).await?;
        }
    }

    /// Takes the candidate that is ahead.
    pub(crate) fn take(&mut self) -> Option<Candidate> {
        self.read.pop_front()
    }

    /// The newest time that the last line of a block may have.
    fn top(&self) -> u64 {
        self.mark.behind.newest()
    }

    async fn read_page(&mut self, day: u64) -> Result<(), TableError> {
        let start = day.saturating_mul(DAY);
        let last = self.filter.times.start.max(start)..=self.top().min(start.saturating_add(DAY - 1));
        let Headers { found, read, bytes, next } = self.source.headers(last, self.after, self.page).await?;
        if read > 0 {
            self.page = None;
        }
        self.spent.headers += read;
        self.spent.header_bytes += bytes;
        for (place, header) in found {
            self.look_at(place, header);
        }
        self.after = next;
        if next.is_none() {
            self.spent.days += 1;
            self.day = (start > self.filter.times.start).then(|| day.saturating_sub(1));
        }
        Ok(())
    }

    fn look_at(&mut self, place: Place, header: Result<Header, Damaged>) {
        match header {
            Ok(header) if belongs(&header, place) => {
                let left = header.first <= self.mark.below.newest() && Spot::behind(place) < self.mark.behind;
                if left && self.filter.may_be_in(&header) {
                    self.read.push_back(Candidate { place, header });
                }
            }
            Ok(_) => self.spent.damage(place.id, &"its header is of another time"),
            Err(cause) => self.spent.damage(place.id, &cause),
        }
    }
}

#[cfg(test)]
mod tests {
    use echo_shared::log::key::{DAY, HOUR, Place, SECOND};

    use super::super::budget::LIMITS;
    use super::super::filter::Filter;
    use super::super::memory::{Memory, record};
    use super::super::spot::{Mark, Spot};
    use super::{Ahead, Limits, Walk};

    /// Blocks with one line each.
    fn store(times: impl IntoIterator<Item = u64>) -> (Memory, Vec<Place>) {
        let mut memory = Memory::default();
        let mut places: Vec<Place> = times.into_iter().map(|time| memory.add("web", vec![record(time, "x")])).collect();
        places.sort_unstable_by(|a, b| b.cmp(a));
        (memory, places)
    }

    async fn places(memory: &Memory, filter: &Filter, limits: Limits) -> (Vec<Place>, Ahead, usize) {
        let mut walk = Walk::new(memory, filter, Mark::all(Spot::at(filter.times.end)), limits);
        let mut places = Vec::new();
        loop {
            match walk.ahead().await.unwrap() {
                Ahead::Block(_) => places.push(walk.take().unwrap().place),
                end => return (places, end, walk.spent.days),
            }
        }
    }

    #[tokio::test]
    async fn days_are_walked_downwards_page_by_page() {
        let (mut memory, all) = store((0..40).map(|n| DAY + n * 3 * HOUR + n % 7));
        memory.page = 3;
        let (found, end, days) = places(&memory, &Filter::all(DAY..7 * DAY), LIMITS).await;
        assert_eq!((found, end, days), (all.clone(), Ahead::End, 6));
        let (found, ..) = places(&memory, &Filter::all(2 * DAY..3 * DAY), LIMITS).await;
        assert_eq!(found.len(), 8);
        assert!(places(&memory, &Filter::all(DAY..DAY), LIMITS).await.0.is_empty());
        assert!(places(&memory, &Filter::all(0..0), LIMITS).await.0.is_empty());
    }

    #[tokio::test]
    async fn a_budget_ends_between_headers_or_days() {
        let (mut memory, all) = store((0..40).map(|n| DAY + n * HOUR));
        let days = |days| Limits { days, ..LIMITS };
        let (found, end, _) = places(&memory, &Filter::all(0..9 * DAY), days(7)).await;
        assert_eq!((found.len(), end), (16, Ahead::Spent(Spot::at(2 * DAY))));
        memory.page = 4;
        let (found, end, _) = places(&memory, &Filter::all(0..3 * DAY), Limits { headers: 1, ..LIMITS }).await;
        assert_eq!((found, end), (all[..4].to_vec(), Ahead::Spent(Spot::behind(all[3]))));
    }

    #[tokio::test]
    async fn the_smallest_budget_gets_on() {
        let (mut memory, all) = store([DAY, DAY + 1, DAY + 2, 2 * DAY]);
        memory.page = 1;
        let (filter, limits) = (Filter::all(0..3 * DAY), Limits { headers: 1, ..LIMITS });
        let mut mark = Mark::all(Spot::at(3 * DAY));
        for place in all {
            let mut walk = Walk::new(&memory, &filter, mark, limits);
            assert_eq!(walk.ahead().await.unwrap(), Ahead::Block(Spot::above(place)));
            walk.take();
            mark = Mark { behind: walk.ahead().await.unwrap().bound(), ..mark };
        }
    }

    #[tokio::test]
    async fn headers_that_expired_cost_what_others_do() {
        let (mut memory, all) = store((0..3_600).map(|n| DAY + n * SECOND));
        memory.expired.extend(&all[..3_000]);
        let (found, end, _) = places(&memory, &Filter::all(0..3 * DAY), LIMITS).await;
        assert_eq!((found.len(), end), (600, Ahead::End));
        // Twice a page of 100 would be too few: what follows the first one is as long as it may be.
        let (filter, limits) = (Filter::all(0..3 * DAY), Limits { headers: 101, ..LIMITS });
        let mut walk = Walk::new(&memory, &filter, Mark::all(Spot::at(3 * DAY)), limits);
        assert_eq!(walk.ahead().await.unwrap(), Ahead::Block(Spot::above(all[3_000])));
        assert_eq!((walk.spent.headers, walk.spent.header_bytes), (3_600, 3_600));
        memory.page = 100;
        let (found, end, _) = places(&memory, &filter, limits).await;
        assert_eq!((found.len(), end), (0, Ahead::Spent(Spot::behind(all[199]))));
    }

    #[tokio::test]
    async fn damaged_headers_are_named_and_passed() {
        let (mut memory, all) = store([HOUR, 2 * HOUR, 3 * HOUR, 4 * HOUR]);
        memory.damage_header(all[1]);
        memory.headers.get_mut(&all[2]).unwrap().as_mut().unwrap().first -= HOUR;
        let filter = Filter::all(0..DAY);
        let mut walk = Walk::new(&memory, &filter, Mark::all(Spot::at(DAY)), LIMITS);
        let mut found = Vec::new();
        while walk.ahead().await.unwrap() != Ahead::End {
            found.push(walk.take().unwrap().place);
        }
        assert_eq!(found, [all[0], all[3]]);
        assert_eq!(walk.spent.damaged, [all[1].id, all[2].id].into());
    }
}
