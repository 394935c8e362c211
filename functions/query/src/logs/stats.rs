//! How many lines of which service and severity, by headers alone.

use std::collections::BTreeMap;

use echo_shared::http::Problem;
use echo_shared::log::header::Header;
use echo_shared::log::key::{HOUR, SECOND};
use echo_shared::log::line::Severity;
use serde_json::{Value, json};

use super::budget::{Limits, Spent};
use super::filter::Filter;
use super::json::rfc3339;
use super::source::Source;
use super::spot::{Mark, Spot};
use super::walk::{Ahead, Walk};
use crate::filter::invalid;

/// Nanoseconds of a minute: headers count by minute.
pub(crate) const MINUTE: u64 = 60 * SECOND;
/// The most items of an answer.
const MOST: usize = 5_000;

/// Time, service and severity.
type Kind = (u64, String, Severity);

/// Counts of lines.
#[derive(Debug)]
pub(crate) struct Counted {
    /// The counts, newest first.
    pub items: Vec<Value>,
    /// Where the rest is counted; none when all was.
    pub next: Option<Mark>,
    /// When the budget ended the count: what was not counted is before this time.
    pub scanned_to: Option<u64>,
    /// What was read.
    pub spent: Spent,
}

/// Counts the lines that `filter` wants by its times, service and severity; minutes that its times touch count whole.
///
/// When the budget ends, minutes that are not complete are left to the next page. Where it does not suffice for a
/// single hour, they cannot be: the counts of pages add up.
///
/// # Errors
/// 400 when there are too many counts, 503 when the table cannot be read.
pub(crate) async fn count<S: Source>(
    source: &S,
    filter: &Filter,
    mark: Option<Mark>,
    bucket: u64,
    limits: Limits,
) -> Result<Counted, Problem> {
    let end = Spot::at(filter.times.end.div_ceil(MINUTE).saturating_mul(MINUTE));
    let mark = mark.unwrap_or_else(|| Mark::all(end)).cut(end);
    let filter = Filter { times: filter.times.start - filter.times.start % MINUTE..mark.below.time, ..filter.clone() };
    let mut walk = Walk::new(source, &filter, mark, limits).at_length();
    let mut sums = Sums { filter: &filter, bucket, minutes: BTreeMap::new(), buckets: BTreeMap::new() };
    let next = loop {
        match walk.ahead().await.map_err(|error| Problem::unavailable(&error))? {
            Ahead::Block(_) => walk.take().map_or(Ok(()), |candidate| sums.add(&candidate.header))?,
            Ahead::Spent(bound) => break Some(rest(mark, bound)),
            Ahead::End => break None,
        }
    };
    // Of an hour that was not begun anew nothing is left out.
    let from = next.filter(|next| next.below < mark.below).map_or(0, |next| next.below.time);
    let scanned_to = next.map(|next| next.below.time);
    Ok(Counted { items: sums.finish(from)?, next, scanned_to, spent: walk.spent })
}

/// What is left of `mark` when the budget ended at `bound`.
fn rest(mark: Mark, bound: Spot) -> Mark {
    // Blocks that were not read may have lines of this minute and of those before.
    let minute = Spot::at((bound.newest() / MINUTE).saturating_add(1).saturating_mul(MINUTE));
    let whole = mark == Mark::all(mark.below) || bound.newest() / HOUR < mark.below.newest() / HOUR;
    if whole && minute < mark.below {
        return Mark::all(minute);
    }
    Mark { behind: bound, ..mark }
}

/// Sums on their way.
struct Sums<'a> {
    filter: &'a Filter,
    /// Nanoseconds.
    bucket: u64,
    /// Of the present hour by minute: only of that one it may turn out that minutes are not complete.
    minutes: BTreeMap<Kind, u64>,
    /// Of the hours that are done.
    buckets: BTreeMap<Kind, u64>,
}

impl Sums<'_> {
    fn add(&mut self, header: &Header) -> Result<(), Problem> {
        let other = |(minute, ..): &Kind| minute / HOUR != header.first / HOUR;
        if self.minutes.first_key_value().is_some_and(|(kind, _)| other(kind)) {
            self.close(0)?;
        }
        for (service, severity, minute, lines) in header.kinds() {
            if self.filter.times.contains(&minute) && self.filter.is_kind(service, severity) {
                *self.minutes.entry((minute, service.to_owned(), severity)).or_default() += u64::from(lines);
            }
        }
        Ok(())
    }

    /// Sums up the minutes of the hour from a time on.
    fn close(&mut self, from: u64) -> Result<(), Problem> {
        for ((minute, service, severity), lines) in std::mem::take(&mut self.minutes) {
            if minute >= from {
                *self.buckets.entry((minute - minute % self.bucket, service, severity)).or_default() += lines;
            }
        }
        if self.buckets.len() > MOST {
            return Err(invalid(&format!("the answer has more than {MOST} counts; choose a larger `bucket`")));
        }
        Ok(())
    }

    fn finish(mut self, from: u64) -> Result<Vec<Value>, Problem> {
        self.close(from)?;
        let show = |((time, service, severity), lines): (Kind, u64)| {
            let (time, severity) = (rfc3339(time), severity.name());
            json!({ "time": time, "service": service, "severity": severity, "lines": lines })
        };
        Ok(self.buckets.into_iter().rev().map(show).collect())
    }
}

#[cfg(test)]
mod tests {
    use echo_shared::log::key::{DAY, HOUR, SECOND};
    use echo_shared::log::line::Severity;
    use opentelemetry_proto::tonic::logs::v1::LogRecord;
    use serde_json::{Value, json};

    use super::super::budget::{LIMITS, Limits};
    use super::super::filter::Filter;
    use super::super::memory::{Memory, record};
    use super::super::spot::Mark;
    use super::{Counted, MINUTE, count};

    /// Two blocks an hour over two days; each with a line in every ten minutes.
    fn store() -> Memory {
        let mut memory = Memory::default();
        for hour in 0..48 {
            for service in ["db", "web"] {
                let line = |n: u64| LogRecord {
                    severity_number: if n == 5 { 17 } else { 9 },
                    ..record(DAY + hour * HOUR + n * 10 * MINUTE + 7 * SECOND, service)
                };
                memory.add(service, (0..6).map(line).collect());
            }
        }
        memory
    }

    async fn counted(memory: &Memory, filter: Filter, bucket: u64, limits: Limits) -> Counted {
        count(memory, &filter, None, bucket, limits).await.unwrap()
    }

    /// The lines of all pages, each by the cursor of the one before.
    async fn by_pages(memory: &Memory, filter: &Filter, limits: Limits) -> u64 {
        let (mut mark, mut sum) = (None, 0);
        for _ in 0..1_000 {
            let part = count(memory, filter, mark, MINUTE, limits).await.unwrap();
            sum += lines(&part.items);
            assert_eq!(part.next.is_some(), part.scanned_to.is_some());
            let Some(next) = part.next else { return sum };
            mark = Mark::parse(&next.text());
        }
        panic!("no end of pages");
    }

    fn lines(items: &[Value]) -> u64 {
        items.iter().map(|item| item["lines"].as_u64().unwrap()).sum()
    }

    #[tokio::test]
    async fn lines_are_summed_in_aligned_buckets_newest_first() {
        let memory = store();
        let all = counted(&memory, Filter::all(DAY..3 * DAY), DAY, LIMITS).await;
        assert_eq!((lines(&all.items), all.items.len(), all.spent.headers), (48 * 2 * 6, 8, 96));
        assert_eq!(
            all.items[0],
            json!({"time": "1970-01-03T00:00:00.000000000Z", "service": "web", "severity": "ERROR", "lines": 24})
        );
        let web = Filter { service: Some("web".into()), severity: Severity::Error, ..Filter::all(DAY..3 * DAY) };
        let web = counted(&memory, web, HOUR, LIMITS).await;
        assert_eq!((lines(&web.items), web.items.len(), web.scanned_to), (48, 48, None));
    }

    #[tokio::test]
    async fn minutes_that_are_touched_count_whole() {
        let memory = store();
        let count = async |times| lines(&counted(&memory, Filter::all(times), MINUTE, LIMITS).await.items);
        assert_eq!(count(DAY..DAY + MINUTE).await, 2);
        assert_eq!(count(DAY + 30 * SECOND..DAY + 10 * MINUTE).await, 2);
        assert_eq!(count(DAY + MINUTE..DAY + 10 * MINUTE).await, 0);
        assert_eq!(count(DAY + MINUTE..DAY + 10 * MINUTE + 1).await, 2);
    }

    #[tokio::test]
    async fn what_the_budget_left_is_counted_by_the_next_request() {
        let mut memory = store();
        memory.page = 3;
        let limits = Limits { headers: 10, ..LIMITS };
        let (mut to, mut sum) = (3 * DAY, 0);
        loop {
            let part = counted(&memory, Filter::all(DAY..to), MINUTE, limits).await;
            sum += lines(&part.items);
            match part.scanned_to {
                Some(time) => assert!(std::mem::replace(&mut to, time) > time),
                None => break,
            }
        }
        assert_eq!(sum, 48 * 2 * 6);
        assert_eq!(by_pages(&memory, &Filter::all(DAY..3 * DAY), limits).await, 48 * 2 * 6);
    }

    #[tokio::test]
    async fn an_hour_of_more_headers_than_a_budget_is_counted_in_parts() {
        let mut memory = Memory::default();
        for hour in [1, 2, 4] {
            // Most of them end late in the hour, and all begin early.
            for n in 0..50 {
                let at = |second: u64| record(DAY + hour * HOUR + second * SECOND, "x");
                memory.add("web", vec![at(n), at(1_000 + n), at(3_000 + n * 10)]);
            }
        }
        for (page, headers) in [(1, 1), (3, 7), (7, 20), (1, 149), (0, 1)] {
            memory.page = page;
            let limits = Limits { headers, ..LIMITS };
            for (times, expected) in [
                (DAY..2 * DAY, 450),
                (DAY + HOUR + 25 * MINUTE..DAY + 4 * HOUR + 30 * MINUTE, 50 + 50 * 3 + 100),
                (DAY + 2 * HOUR..DAY + 2 * HOUR + 20 * MINUTE, 100),
            ] {
                let sum = by_pages(&memory, &Filter::all(times.clone()), limits).await;
                assert_eq!(sum, expected, "{page} {headers} {times:?}");
            }
        }
    }

    #[tokio::test]
    async fn too_many_counts_are_refused() {
        let mut memory = Memory::default();
        for n in 0..5_001 {
            memory.add("web", vec![record(n * MINUTE, "x")]);
        }
        assert!(count(&memory, &Filter::all(0..9 * DAY), None, MINUTE, LIMITS).await.is_err());
        assert!(count(&memory, &Filter::all(0..9 * DAY), None, 2 * MINUTE, LIMITS).await.is_ok());
    }
}
