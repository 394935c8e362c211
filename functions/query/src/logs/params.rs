//! Query parameters of the log routes.

use std::ops::Range;

use echo_shared::http::Problem;
use echo_shared::log::key::{DAY, SECOND, unhex};
use echo_shared::log::line::Severity;
use serde::Deserialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::cursor::foreign;
use super::filter::Filter;
use super::stats::MINUTE;
use crate::filter::invalid;
use crate::path::number;

/// The longest stretch of time, in nanoseconds.
const MAX_RANGE: u64 = 400 * DAY;
/// The longest text to look for, in bytes.
const MAX_TEXT: usize = 256;
/// The longest service, or attribute with its value, in bytes.
const MAX_VALUE: usize = 1_024;
/// The most attributes.
const MAX_ATTRIBUTES: usize = 8;
/// The most lines of a trace on a page, and how many there are when not said.
const MAX_TRACE: usize = 1_000;
/// The shortest and the longest bucket, in seconds.
const BUCKETS: [u64; 2] = [60, 86_400];

/// A stretch of time: RFC 3339, `to` exclusive.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct TimesQuery {
    from: Option<String>,
    to: Option<String>,
}

/// What kind of lines.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct KindQuery {
    service: Option<String>,
    severity: Option<String>,
}

/// Which lines of that kind, but for `attribute`, which may come several times.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct LinesQuery {
    trace_id: Option<String>,
    span_id: Option<String>,
    text: Option<String>,
}

/// Lines of a trace on a page.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct TraceQuery {
    limit: Option<String>,
}

/// The length of what is counted together.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct StatsQuery {
    bucket: Option<String>,
}

impl TimesQuery {
    /// Nanoseconds since 1970: those that the cursor of the page before kept; else up to now, and as long as `length`,
    /// when nothing else is said.
    ///
    /// # Errors
    /// 400 when a parameter is no time, or both do not fit together or to what was kept.
    pub(crate) fn times(self, now: u64, length: u64, kept: Option<Range<u64>>) -> Result<Range<u64>, Problem> {
        let (from, to) = (time("from", self.from)?, time("to", self.to)?);
        if let Some(kept) = kept {
            return same(from, to, kept);
        }
        let to = to.unwrap_or(now);
        let times = ordered(from.unwrap_or(to.saturating_sub(length))..to)?;
        if times.end - times.start > MAX_RANGE {
            return Err(invalid("`from` and `to` must lie within 400 days; ask part by part"));
        }
        Ok(times)
    }

    /// The same of any length, with the bounds of `all` where none are given.
    ///
    /// # Errors
    /// As above.
    pub(crate) fn any_times(self, all: Range<u64>, kept: Option<Range<u64>>) -> Result<Range<u64>, Problem> {
        let (from, to) = (time("from", self.from)?, time("to", self.to)?);
        if let Some(kept) = kept {
            return same(from, to, kept);
        }
        let to = to.unwrap_or(all.end);
        ordered(from.unwrap_or(all.start.min(to))..to)
    }
}

impl KindQuery {
    /// The filter for lines of this kind.
    ///
    /// # Errors
    /// 400 when a parameter cannot be such a thing.
    pub(crate) fn filter(self, times: Range<u64>) -> Result<Filter, Problem> {
        let service = bounded("service", self.service, MAX_VALUE)?;
        let severity = self.severity.map_or(Ok(Severity::Unspecified), |name| {
            let unknown = "`severity` must be TRACE, DEBUG, INFO, WARN, ERROR, FATAL or UNSPECIFIED";
            Severity::parse(&name).ok_or_else(|| invalid(unknown))
        })?;
        Ok(Filter { service, severity, ..Filter::all(times) })
    }
}

impl LinesQuery {
    /// Adds conditions to a filter; `pairs` are all parameters of the query.
    ///
    /// # Errors
    /// 400 when a parameter cannot be such a thing.
    pub(crate) fn narrow(self, filter: Filter, pairs: Vec<(String, String)>) -> Result<Filter, Problem> {
        let trace = self.trace_id.map(|text| id("trace_id", &text)).transpose()?;
        let span = self.span_id.map(|text| id("span_id", &text)).transpose()?;
        let text = bounded("text", self.text, MAX_TEXT)?.map(|text| text.to_lowercase());
        Ok(Filter { trace, span, text, attributes: attributes(pairs)?, ..filter })
    }
}

impl TraceQuery {
    /// How many lines to answer: 1 to 1,000, all of these when not said.
    ///
    /// # Errors
    /// 400 when `limit` is no such number.
    pub(crate) fn limit(&self) -> Result<usize, Problem> {
        let Some(text) = &self.limit else { return Ok(MAX_TRACE) };
        let limit = number(text).and_then(|limit| usize::try_from(limit).ok());
        limit.filter(|limit| (1..=MAX_TRACE).contains(limit)).ok_or_else(|| invalid("`limit` must be 1 to 1000"))
    }
}

impl StatsQuery {
    /// The bucket in nanoseconds; a sixtieth of the times when not said.
    ///
    /// # Errors
    /// 400 when `bucket` is no whole number of minutes, or not from 60 to 86,400 seconds.
    pub(crate) fn bucket(&self, times: &Range<u64>) -> Result<u64, Problem> {
        let [shortest, longest] = BUCKETS;
        let Some(text) = &self.bucket else {
            let sixtieth = (times.end - times.start).div_ceil(60).div_ceil(MINUTE).saturating_mul(MINUTE);
            return Ok(sixtieth.clamp(shortest * SECOND, longest * SECOND));
        };
        let bucket = number(text).filter(|bucket| (shortest..=longest).contains(bucket) && bucket % 60 == 0);
        let refused = || invalid("`bucket` must be a multiple of 60 from 60 to 86400, in seconds");
        bucket.map(|bucket| bucket * SECOND).ok_or_else(refused)
    }
}

/// Reads a trace or span id in hexadecimal digits of any case; all zero means none and names nothing.
///
/// # Errors
/// 400 when it is none.
pub(crate) fn id<const N: usize>(name: &str, text: &str) -> Result<[u8; N], Problem> {
    let id = unhex(&text.to_ascii_lowercase()).filter(|id| *id != [0; N]);
    id.ok_or_else(|| invalid(&format!("`{name}` must be {} hexadecimal digits, not all of them 0", 2 * N)))
}

/// Nanoseconds since 1970.
pub(crate) fn nanos(time: OffsetDateTime) -> Option<u64> {
    u64::try_from(time.unix_timestamp_nanos()).ok()
}

/// The times that were kept; what is given must be the same.
fn same(from: Option<u64>, to: Option<u64>, kept: Range<u64>) -> Result<Range<u64>, Problem> {
    let same = from.is_none_or(|from| from == kept.start) && to.is_none_or(|to| to == kept.end);
    if same { Ok(kept) } else { Err(foreign()) }
}

fn ordered(times: Range<u64>) -> Result<Range<u64>, Problem> {
    if times.start > times.end {
        return Err(invalid("`from` must not lie after `to`"));
    }
    Ok(times)
}

fn time(name: &str, text: Option<String>) -> Result<Option<u64>, Problem> {
    let Some(text) = text else { return Ok(None) };
    let time = OffsetDateTime::parse(&text, &Rfc3339).ok().and_then(nanos);
    let refused = "must be an RFC 3339 time from 1970 on such as 2026-01-31T12:00:00Z (a `+` is written %2B)";
    time.map(Some).ok_or_else(|| invalid(&format!("`{name}` {refused}")))
}

fn bounded(name: &str, text: Option<String>, most: usize) -> Result<Option<String>, Problem> {
    match text {
        Some(text) if text.is_empty() || text.len() > most => {
            Err(invalid(&format!("`{name}` must have 1 to {most} bytes")))
        }
        text => Ok(text),
    }
}

fn attributes(pairs: Vec<(String, String)>) -> Result<Vec<(String, String)>, Problem> {
    let given = pairs.into_iter().filter(|(name, _)| name == "attribute");
    let attributes: Vec<_> = given.map(|(_, text)| attribute(text)).collect::<Result<_, _>>()?;
    if attributes.len() > MAX_ATTRIBUTES {
        return Err(invalid(&format!("give at most {MAX_ATTRIBUTES} times `attribute`")));
    }
    Ok(attributes)
}

fn attribute(text: String) -> Result<(String, String), Problem> {
    let pair = text.split_once('=').filter(|(key, _)| !key.is_empty() && text.len() <= MAX_VALUE);
    let refused = || invalid(&format!("`attribute` must read key=value, in at most {MAX_VALUE} bytes"));
    pair.map(|(key, value)| (key.to_owned(), value.to_owned())).ok_or_else(refused)
}

#[cfg(test)]
mod tests {
    use echo_shared::log::key::{DAY, HOUR, SECOND};
    use echo_shared::log::line::Severity;

    use super::super::filter::Filter;
    use super::{KindQuery, LinesQuery, MINUTE, StatsQuery, TimesQuery, TraceQuery, id};

    fn some(text: impl Into<String>) -> Option<String> {
        Some(text.into())
    }

    fn times(from: Option<&str>, to: Option<&str>) -> Option<std::ops::Range<u64>> {
        let query = TimesQuery { from: from.map(Into::into), to: to.map(Into::into) };
        query.times(9 * DAY, HOUR, None).ok()
    }

    #[test]
    fn times_have_defaults_and_bounds() {
        let (day, next) = ("1970-01-02T00:00:00Z", "1970-01-03T01:00:00.000000001+01:00");
        assert_eq!(times(None, None), Some(9 * DAY - HOUR..9 * DAY));
        assert_eq!(times(Some(day), None), Some(DAY..9 * DAY));
        assert_eq!(times(None, Some(day)), Some(DAY - HOUR..DAY));
        assert_eq!(times(Some(day), Some(next)), Some(DAY..2 * DAY + 1));
        assert_eq!(times(None, Some("1970-01-01T00:00:00Z")), Some(0..0));
        let never = ["", "yesterday", "1969-12-31T23:59:59Z", "2600-01-01T00:00:00Z"];
        assert!(never.into_iter().all(|bad| times(None, Some(bad)).is_none()));
        assert_eq!([times(Some(next), Some(day)), times(Some(day), Some("1971-02-06T00:00:01Z"))], [None, None]);
        assert!(times(Some(day), Some("1971-02-06T00:00:00Z")).is_some());
    }

    #[test]
    fn a_list_keeps_its_times_from_page_to_page() {
        let query = |from: Option<&str>| TimesQuery { from: from.map(Into::into), to: None };
        assert_eq!(query(None).times(9 * DAY, HOUR, Some(3..DAY)).unwrap(), 3..DAY);
        let (day, next) = (Some("1970-01-02T00:00:00Z"), Some("1970-01-03T00:00:00Z"));
        for times in [DAY..5 * DAY, DAY..500 * DAY] {
            assert_eq!(query(day).times(9 * DAY, HOUR, Some(times.clone())).unwrap(), times);
            assert_eq!(query(day).any_times(0..9, Some(times.clone())).unwrap(), times);
            assert!(query(next).times(9 * DAY, HOUR, Some(times.clone())).is_err());
            assert!(query(next).any_times(0..9, Some(times)).is_err());
        }
    }

    #[test]
    fn a_trace_is_looked_for_in_any_times() {
        let query = |from: Option<&str>, to: Option<&str>| {
            TimesQuery { from: from.map(Into::into), to: to.map(Into::into) }.any_times(5 * DAY..2_000 * DAY, None).ok()
        };
        let day = Some("1970-01-02T00:00:00Z");
        assert_eq!(query(None, None), Some(5 * DAY..2_000 * DAY));
        assert_eq!(query(day, None), Some(DAY..2_000 * DAY));
        assert_eq!([query(None, day), query(Some("1970-01-03T00:00:00Z"), day)], [Some(DAY..DAY), None]);
    }

    #[test]
    fn kinds_and_conditions_are_checked() {
        let kind = |service: &str, severity: &str| {
            KindQuery { service: some(service), severity: some(severity) }.filter(0..1).ok()
        };
        let expected = Filter { service: some("web"), severity: Severity::Warn, ..Filter::all(0..1) };
        assert_eq!(kind("web", "warn"), Some(expected));
        assert_eq!([kind("", "warn"), kind(&"x".repeat(1_025), "warn"), kind("web", "warning")], [None, None, None]);
        let lines = LinesQuery { trace_id: some("0A".repeat(16)), span_id: some("0b".repeat(8)), text: some("ZOË") };
        let filter = lines.narrow(Filter::all(0..1), Vec::new()).unwrap();
        assert_eq!((filter.trace, filter.span, filter.text), (Some([10; 16]), Some([11; 8]), some("zoë")));
        for text in ["".to_owned(), "x".repeat(257)] {
            let lines = LinesQuery { text: Some(text), ..LinesQuery::default() };
            assert!(lines.narrow(Filter::all(0..1), Vec::new()).is_err());
        }
    }

    #[test]
    fn attributes_come_several_times() {
        let narrow = |pairs: &[(&str, &str)]| {
            let pairs = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            LinesQuery::default().narrow(Filter::all(0..1), pairs).map(|filter| filter.attributes).ok()
        };
        let found = narrow(&[("text", "x"), ("attribute", "a=b=c"), ("attribute", "d=")]).unwrap();
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(found, [pair("a", "b=c"), pair("d", "")]);
        assert!(narrow(&[("attribute", "a=1"); 8]).is_some() && narrow(&[("attribute", "a=1"); 9]).is_none());
        assert!(narrow(&[("attribute", "=1")]).is_none() && narrow(&[("attribute", "a")]).is_none());
        let long = format!("a={}", "x".repeat(1_023));
        assert!(narrow(&[("attribute", long.as_str())]).is_none());
    }

    #[test]
    fn ids_have_one_length() {
        assert_eq!(id::<2>("trace_id", "00fF").unwrap(), [0, 255]);
        for bad in ["", "00f", "00f0f", "0000", "00fg", "+0ff"] {
            assert!(id::<2>("trace_id", bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn limits_and_buckets_are_numbers_in_their_range() {
        let limit = |text: &str| TraceQuery { limit: some(text) }.limit().ok();
        assert_eq!(
            [limit("1"), limit("1000"), limit("0"), limit("1001"), limit("x")],
            [Some(1), Some(1_000), None, None, None]
        );
        assert_eq!(TraceQuery::default().limit().unwrap(), 1_000);
        let bucket = |text: &str| StatsQuery { bucket: some(text) }.bucket(&(0..DAY)).ok();
        assert_eq!([bucket("60"), bucket("86400")], [Some(MINUTE), Some(DAY)]);
        assert_eq!([bucket("59"), bucket("61"), bucket("86460"), bucket("")], [None; 4]);
        let default = |length: u64| StatsQuery::default().bucket(&(0..length)).unwrap();
        assert_eq!([default(0), default(HOUR), default(HOUR + SECOND)], [MINUTE, MINUTE, 2 * MINUTE]);
        assert_eq!([default(DAY), default(400 * DAY)], [24 * MINUTE, DAY]);
    }
}
