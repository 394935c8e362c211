//! `GET /logs/v1/…`: the lines of an org, newest first; those of a trace, oldest first; and how many there are.
//!
//! Headers say which blocks can hold what is wanted; only those are fetched, checked and unpacked. Every request has a
//! budget: when it is used up, the page ends early, with a `next`. A damaged block ends nothing: it is named.

mod budget;
mod cursor;
mod filter;
mod json;
mod kept;
#[cfg(test)]
mod memory;
mod merge;
mod open;
mod params;
mod source;
mod spot;
mod stats;
mod trace;
mod walk;

use std::ops::Range;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use echo_shared::http::{PageQuery, Problem};
use echo_shared::log::key::{DAY, HOUR};
use echo_shared::log::line::Severity;
use echo_shared::log::posting::TraceId;
use echo_shared::log::settings::Org;
use echo_shared::table::TableError;
use echo_shared::token::KeySource;
use http::HeaderMap;
use serde_json::Value;

use crate::front::Front;
use crate::json::set;
use crate::params::Params;
use budget::LIMITS;
use filter::Filter;
use params::{KindQuery, LinesQuery, StatsQuery, TimesQuery, TraceQuery};
use source::Stored;
use spot::{Mark, Spot};
use trace::Part;

pub(crate) async fn get_query<K: KeySource>(
    State(front): State<Arc<Front<K>>>,
    headers: HeaderMap,
    (Params(times), Params(kind), Params(lines)): (Params<TimesQuery>, Params<KindQuery>, Params<LinesQuery>),
    Params(pairs): Params<Vec<(String, String)>>,
    Params(page): Params<PageQuery>,
) -> Result<Json<Value>, Problem> {
    let caller = front.log_reader(&headers).await?;
    let (kept, mark) = cursor::read(page.cursor()?, Mark::parse)?.unzip();
    let times = times.times(front.nanos(), HOUR, kept)?;
    let mark = mark.unwrap_or_else(|| Mark::all(Spot::at(times.end)));
    let filter = lines.narrow(kind.filter(times)?, pairs)?;
    let source = front.log_store(&caller.org);
    let page = merge::merge(&source, &filter, mark, page.limit()?, LIMITS).await;
    let page = page.map_err(|error| Problem::unavailable(&error))?;
    let mut answer = page.spent.answer(page.items, page.scanned_to);
    set(&mut answer, "next", page.next.map(|next| cursor::write(&filter.times, &next.text())));
    set(&mut answer, "blocks_scanned", page.spent.blocks);
    Ok(Json(answer))
}

pub(crate) async fn get_trace<K: KeySource>(
    State(front): State<Arc<Front<K>>>,
    headers: HeaderMap,
    Path(id): Path<String>,
    (Params(times), Params(query)): (Params<TimesQuery>, Params<TraceQuery>),
    Params(page): Params<PageQuery>,
) -> Result<Json<Value>, Problem> {
    let caller = front.log_reader(&headers).await?;
    let trace: TraceId = params::id("trace id", &id)?;
    let (kept, part) = cursor::read(page.cursor()?, Part::parse)?.unzip();
    let part = part.unwrap_or_else(Part::first);
    let settings = front.app.settings.of(&caller.org);
    let all = if settings.trace_postings { 0..u64::MAX } else { lifetime(settings, front.nanos()) };
    let filter = Filter { trace: Some(trace), ..Filter::all(times.any_times(all, kept)?) };
    let (limit, source) = (query.limit()?, front.log_store(&caller.org));
    let read = async {
        let mut blocks = if settings.trace_postings {
            trace::posted(&source, &filter, &trace, part, LIMITS).await?
        } else {
            trace::searched(&source, &filter, part, LIMITS).await?
        };
        let page = trace::list(&source, &filter, &mut blocks, part, limit, LIMITS).await?;
        Ok((blocks, page))
    };
    let (blocks, page) = read.await.map_err(|error: TableError| Problem::unavailable(&error))?;
    let mut answer = blocks.spent.answer(page.items, blocks.scanned_to());
    set(&mut answer, "next", page.next.map(|next| cursor::write(&filter.times, &next.text())));
    set(&mut answer, "blocks_scanned", blocks.spent.blocks);
    Ok(Json(answer))
}

pub(crate) async fn get_stats<K: KeySource>(
    State(front): State<Arc<Front<K>>>,
    headers: HeaderMap,
    (Params(times), Params(kind)): (Params<TimesQuery>, Params<KindQuery>),
    (Params(query), Params(page)): (Params<StatsQuery>, Params<PageQuery>),
) -> Result<Json<Value>, Problem> {
    let caller = front.log_reader(&headers).await?;
    let (kept, mark) = cursor::read(page.cursor()?, Mark::parse)?.unzip();
    let times = times.times(front.nanos(), HOUR, kept)?;
    let bucket = query.bucket(&times)?;
    let filter = kind.filter(times)?;
    let counted = stats::count(&front.log_store(&caller.org), &filter, mark, bucket, LIMITS).await?;
    let mut answer = counted.spent.answer(counted.items, counted.scanned_to);
    set(&mut answer, "next", counted.next.map(|next| cursor::write(&filter.times, &next.text())));
    Ok(Json(answer))
}

impl<K: KeySource> Front<K> {
    /// The log store of an org, at present.
    fn log_store<'a>(&'a self, org: &'a str) -> Stored<'a> {
        Stored { table: &self.app.log_store, org, now: self.app.clock.unix() }
    }

    /// The present moment in nanoseconds since 1970.
    fn nanos(&self) -> u64 {
        params::nanos(self.app.clock.now()).unwrap_or_default()
    }
}

/// The times of all lines of an org that may still be there: an hour's lines go together.
fn lifetime(settings: &Org, now: u64) -> Range<u64> {
    let days = Severity::ALL.into_iter().map(|severity| settings.days(severity)).max().unwrap_or_default();
    now.saturating_sub(u64::from(days) * DAY + HOUR)..now
}

#[cfg(test)]
mod tests {
    use echo_shared::log::key::{DAY, HOUR};
    use echo_shared::log::settings::Settings;

    use super::lifetime;

    #[test]
    fn lines_live_as_long_as_the_longest_of_them() {
        let settings = Settings::parse(r#"{"default": {"days": 14, "days_by_severity": {"DEBUG": 3, "ERROR": 400}}}"#);
        let settings = settings.unwrap();
        assert_eq!(lifetime(settings.of("acme"), 500 * DAY), 100 * DAY - HOUR..500 * DAY);
        assert_eq!(lifetime(settings.of("acme"), DAY), 0..DAY);
    }
}
