//! Reading a long log: traces by their ids, and how many lines of which kind a day has.

use axum::body::Bytes;
use echo_shared::log::key::DAY;
use echo_shared::telemetry::hex;
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use url::form_urlencoded;

use super::super::events;
use super::super::instance::Instance;
use super::super::lab::Lab;
use super::draw::Draw;
use super::fill::{Day, Filled};
use super::made::LINES;
use crate::Failure;

const FUNCTION: &str = "query";
/// Look-ups that are measured, and those before them.
const LOOKUPS: usize = 300;
const WARM_UP: usize = 20;
/// Requests for one day, at most: each goes on where the one before used up what it may read.
const PAGES: usize = 50;

/// Milliseconds that each look-up of a trace took.
///
/// # Errors
/// When an answer is not the whole trace.
pub async fn traces(lab: &mut Lab, log: &Filled) -> Result<Vec<f64>, Failure> {
    let token = lab.token().await?;
    let variables = [("AWS_ENDPOINT_URL_DYNAMODB", lab.dynamodb().endpoint()), ("LOG_STORE_TABLE", log.table.as_str())];
    let mut query = lab.launch_with(FUNCTION, &variables).await?;
    let (mut draw, mut times) = (Draw::new(21), Vec::new());
    for _ in 0..WARM_UP + LOOKUPS {
        let trace = hex(&draw.pick(&log.traces));
        let event = lab.events.get(&format!("/logs/v1/traces/{trace}"), Some(&token))?;
        let (ms, answer) = ask(&mut query, event).await?;
        check(&trace, &answer)?;
        times.push(ms);
    }
    query.stop().await;
    Ok(times.split_off(WARM_UP))
}

fn check(trace: &str, answer: &Value) -> Result<(), Failure> {
    let items = answer.get("items").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let of_trace = |line: &Value| line.get("trace_id").and_then(Value::as_str) == Some(trace);
    if items.len() == LINES && items.iter().all(of_trace) {
        return Ok(());
    }
    Err(format!("the trace {trace} has {LINES} lines; the answer has {}", items.len()).into())
}

/// What reading a day took.
#[derive(Debug, Default)]
pub struct Scan {
    /// Read units.
    pub units: f64,
    /// Requests to query.
    pub requests: usize,
    /// Milliseconds, all requests together.
    pub ms: f64,
}

/// Counts the lines of a day, by headers alone.
///
/// # Errors
/// When a line of the day is not counted, or counted twice.
pub async fn day(lab: &mut Lab, table: &str, day: &Day) -> Result<Scan, Failure> {
    let token = lab.token().await?;
    let mut query = lab.launch_with(FUNCTION, &[("LOG_STORE_TABLE", table)]).await?;
    let (from, mut to) = (written(day.begin)?, written(day.begin + DAY - 1)?);
    let (mut scan, mut lines) = (Scan::default(), 0);
    lab.take();
    while scan.requests < PAGES {
        let (ms, answer) = ask(&mut query, lab.events.get(&path(&from, &to), Some(&token))?).await?;
        scan.requests += 1;
        scan.ms += ms;
        lines += counted(&answer);
        let Some(reached) = answer.get("scanned_to").and_then(Value::as_str) else { break };
        to = reached.to_owned();
    }
    query.stop().await;
    scan.units = lab.take().calls.iter().map(|call| call.read_units).sum();
    if lines != day.lines as u64 {
        return Err(format!("the day has {} lines; {lines} were counted", day.lines).into());
    }
    Ok(scan)
}

fn path(from: &str, to: &str) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("from", from).append_pair("to", to).append_pair("bucket", "86400");
    format!("/logs/v1/stats?{}", query.finish())
}

fn counted(answer: &Value) -> u64 {
    let items = answer.get("items").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    items.iter().filter_map(|item| item.get("lines")?.as_u64()).sum()
}

fn written(nanos: u64) -> Result<String, Failure> {
    Ok(OffsetDateTime::from_unix_timestamp_nanos(nanos.into())?.format(&Rfc3339)?)
}

/// Asks once; milliseconds, and the answer's JSON.
async fn ask(query: &mut Instance, event: Bytes) -> Result<(f64, Value), Failure> {
    let answer = query.invoke(event).await?;
    events::check(FUNCTION, &answer.body)?;
    Ok((answer.took.as_secs_f64() * 1_000.0, serde_json::from_slice(&events::body(&answer.body).await?)?))
}

/// Read units for a gigabyte of raw lines.
pub fn per_gigabyte(scan: &Scan, day: &Day) -> f64 {
    scan.units * 1e9 / day.raw as f64
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Day, Scan, check, counted, path, per_gigabyte, written};

    #[test]
    fn a_day_is_asked_for_and_counted() {
        let (from, to) = (written(1_769_817_600_000_000_000).unwrap(), written(1_769_903_999_999_999_999).unwrap());
        assert_eq!((from.as_str(), to.as_str()), ("2026-01-31T00:00:00Z", "2026-01-31T23:59:59.999999999Z"));
        let asked = "/logs/v1/stats?from=2026-01-31T00%3A00%3A00Z&to=2026-01-31T23%3A59%3A59.999999999Z&bucket=86400";
        assert_eq!(path(&from, &to), asked);
        assert_eq!(counted(&json!({"items": [{"lines": 3}, {"lines": 4}, {}]})), 7);
        let scan = Scan { units: 50.0, ..Scan::default() };
        assert_eq!(per_gigabyte(&scan, &Day { begin: 0, lines: 1, raw: 100_000_000 }), 500.0);
    }

    #[test]
    fn a_trace_is_found_with_all_of_its_lines() {
        let lines = |count| json!({"items": vec![json!({"trace_id": "ab"}); count]});
        assert!(check("ab", &lines(10)).is_ok());
        assert!(
            check("ab", &lines(9)).is_err() && check("cd", &lines(10)).is_err() && check("ab", &json!({})).is_err()
        );
    }
}
