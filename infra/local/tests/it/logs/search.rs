//! Searches, traces and statistics, held against a list of the same lines.

use std::collections::BTreeMap;

use echo_shared::log::key::{HOUR, SECOND};
use echo_shared::log::line::Severity;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::super::echo::Echo;
use super::{
    Seeded, attribute, block, bodies, event, hex, items, large_block, of, range, record, rfc3339, sorted, trace,
};

const SERVICES: [&str; 3] = ["web", "db", "mail"];
const MINUTE: u64 = 60 * SECOND;

/// A line as it was sent.
#[derive(Clone)]
struct Written {
    time: u64,
    severity: Severity,
    service: &'static str,
    body: String,
    trace: Option<u64>,
    span: [u8; 8],
    user: String,
    kind: &'static str,
}

impl Written {
    fn record(&self) -> LogRecord {
        LogRecord {
            trace_id: self.trace.map(trace).map(Vec::from).unwrap_or_default(),
            span_id: self.span.into(),
            attributes: vec![attribute("user", &self.user), attribute("kind", self.kind)],
            ..record(self.time, self.severity, &self.body)
        }
    }
}

/// 400 lines of two hours from `hour` on, no two of the same time.
fn lines(hour: u64) -> Vec<Written> {
    let mut seeded = Seeded(1);
    let mut line = |n: u64| {
        // Two hours have 400 times 18 seconds; somewhere in those.
        let time = hour + n * 18 * SECOND + seeded.draw() % (18 * SECOND);
        let word = ["Timeout", "accepted", "REFUSED", "größer"][seeded.below(4)];
        Written {
            time,
            severity: Severity::ALL[seeded.below(7)],
            service: SERVICES[seeded.below(3)],
            body: format!("line {n} {word}"),
            trace: (!seeded.draw().is_multiple_of(3)).then_some(n % 20),
            span: (n % 50 + 1).to_be_bytes(),
            user: format!("U{}", seeded.below(5)),
            kind: ["odd", "even"][seeded.below(2)],
        }
    };
    (0..400).map(&mut line).collect()
}

/// A store of these lines: thrown into a dozen requests and three batches, so that all blocks overlap in time.
async fn fill(echo: &Echo, lines: &[Written]) {
    let mut seeded = Seeded(2);
    let mut requests = vec![BTreeMap::<&str, Vec<LogRecord>>::new(); 12];
    for line in lines {
        requests[seeded.below(12)].entry(line.service).or_default().push(line.record());
    }
    for batch in requests.chunks(4) {
        for request in batch {
            let logs = request.iter().map(|(service, records)| of(service, records.clone())).collect();
            assert_eq!(echo.send_otlp(logs).await, (0, String::new()));
        }
        assert!(echo.drain_logs().await > 0);
    }
}

/// The texts of the lines that are wanted, newest first.
fn wanted(lines: &[Written], is_wanted: impl Fn(&Written) -> bool) -> Vec<String> {
    let mut wanted: Vec<&Written> = lines.iter().filter(|line| is_wanted(line)).collect();
    wanted.sort_by_key(|line| std::cmp::Reverse(line.time));
    wanted.into_iter().map(|line| line.body.clone()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_filter_finds_what_it_says_newest_first() {
    let echo = Echo::start().await;
    let hour = echo.hour() - HOUR;
    let lines = lines(hour);
    fill(&echo, &lines).await;
    let window = range(hour, hour + 2 * HOUR);
    let span = hex(&lines[30].span);
    type Fits<'a> = &'a dyn Fn(&Written) -> bool;
    let filters: [(String, Fits<'_>); 14] = [
        (String::new(), &|_| true),
        ("&service=db".into(), &|line| line.service == "db"),
        ("&service=nobody".into(), &|_| false),
        ("&severity=TRACE".into(), &|line| line.severity >= Severity::Trace),
        ("&severity=warn".into(), &|line| line.severity >= Severity::Warn),
        ("&severity=FATAL".into(), &|line| line.severity == Severity::Fatal),
        (format!("&trace_id={}", hex(&trace(7))), &|line| line.trace == Some(7)),
        (format!("&trace_id={}", hex(&trace(999))), &|_| false),
        (format!("&span_id={span}"), &|line| line.span == lines[30].span),
        ("&attribute=user%3DU3".into(), &|line| line.user == "U3"),
        ("&attribute=user%3DU3&attribute=kind%3Dodd".into(), &|line| line.user == "U3" && line.kind == "odd"),
        ("&text=timeOUT".into(), &|line| line.body.contains("Timeout")),
        ("&text=gr%C3%B6%C3%9Fer".into(), &|line| line.body.contains("größer")),
        ("&service=web&severity=ERROR&text=u4".into(), &|line| {
            line.service == "web" && line.severity >= Severity::Error && line.user == "U4"
        }),
    ];
    for (filter, is_wanted) in filters {
        let found = bodies(&echo.search(&format!("{window}{filter}&limit=100")).await);
        assert_eq!(found, wanted(&lines, is_wanted), "{filter}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_any_size_are_the_whole() {
    let echo = Echo::start().await;
    let hour = echo.hour() - HOUR;
    let lines = lines(hour);
    fill(&echo, &lines).await;
    let query = format!("{}&service=mail", range(hour, hour + 2 * HOUR));
    let whole = wanted(&lines, |line| line.service == "mail");
    for limit in [1, 2, 7, 50, 100] {
        let page = echo.read_logs(&format!("query?{query}&limit={limit}")).await;
        assert!(items(&page).len() <= limit);
        assert_eq!(bodies(&echo.search(&format!("{query}&limit={limit}")).await), whole, "{limit}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_of_one_moment_are_on_some_page_each_once() {
    let echo = Echo::start().await;
    let time = echo.hour();
    let line = |n: usize| record(time, Severity::Info, &format!("{n:02}"));
    for part in 0..4 {
        echo.write(vec![of("web", (part * 10..part * 10 + 10).map(line).collect())]).await;
    }
    let expected: Vec<String> = (0..40).map(|n| format!("{n:02}")).collect();
    for limit in [1, 3, 10, 39] {
        let query = format!("{}&limit={limit}", range(time, time + 1));
        assert_eq!(sorted(&echo.search(&query).await), expected, "{limit}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stretch_of_time_has_its_beginning_and_not_its_end() {
    let echo = Echo::start().await;
    let hour = echo.hour() - HOUR;
    let lines = lines(hour);
    fill(&echo, &lines).await;
    for (from, to) in [(10, 20), (0, 399), (150, 151), (199, 201)] {
        let (from, to) = (lines[from].time, lines[to].time);
        let found = bodies(&echo.search(&format!("{}&limit=100", range(from, to))).await);
        assert_eq!(found, wanted(&lines, |line| (from..to).contains(&line.time)));
        let counted = echo.counted(&range(from - from % MINUTE, to - to % MINUTE)).await;
        let inside = from - from % MINUTE..to - to % MINUTE;
        let expected = wanted(&lines, |line| inside.contains(&line.time)).len();
        assert_eq!(counted, expected as u64);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_said_is_the_last_hour() {
    let echo = Echo::start().await;
    let now = echo.nanos();
    let line = |minutes: u64| record(now - minutes * MINUTE, Severity::Info, &minutes.to_string());
    echo.write(vec![of("web", [1, 30, 58, 62].map(line).into())]).await;
    assert_eq!(bodies(items(&echo.read_logs("query").await)), ["1", "30", "58"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_is_found_whole_with_postings_and_without() {
    for postings in [true, false] {
        let echo = Echo::with_settings(&json!({"default": {"trace_postings": postings}})).await;
        let hour = echo.hour() - HOUR;
        let lines = lines(hour);
        fill(&echo, &lines).await;
        assert_eq!(echo.stored_as("TRACE").await.is_empty(), !postings);
        for number in [0, 7, 19] {
            let mut expected = wanted(&lines, |line| line.trace == Some(number));
            expected.reverse();
            assert!(expected.len() > 5);
            let path = format!("traces/{}", hex(&trace(number)));
            let page = echo.read_logs(&path).await;
            assert_eq!((bodies(items(&page)), &page["next"]), (expected.clone(), &Value::Null), "postings: {postings}");
            let (mut found, mut cursor) = (Vec::new(), String::new());
            loop {
                let page = echo.read_logs(&format!("{path}?limit=4{cursor}")).await;
                found.extend(bodies(items(&page)));
                match page["next"].as_str() {
                    Some(next) => cursor = format!("&cursor={next}"),
                    None => break,
                }
            }
            assert_eq!(found, expected, "postings: {postings}");
        }
        let nobody = echo.read_logs(&format!("traces/{}", hex(&trace(21)))).await;
        assert_eq!((items(&nobody).len(), &nobody["next"], &nobody["damaged"]), (0, &Value::Null, &json!([])));
    }
}

/// Time in nanoseconds, service and severity: how many lines.
type Counts = BTreeMap<(u64, String, String), u64>;

fn counts(page: &Value) -> Counts {
    let read = |item: &Value| {
        let time = OffsetDateTime::parse(item["time"].as_str().unwrap(), &Rfc3339).unwrap();
        let word = |name: &str| item[name].as_str().unwrap().to_owned();
        let time = u64::try_from(time.unix_timestamp_nanos()).unwrap();
        ((time, word("service"), word("severity")), item["lines"].as_u64().unwrap())
    };
    let counts: Counts = items(page).iter().map(read).collect();
    assert_eq!(counts.len(), items(page).len(), "a row is there twice: {page}");
    counts
}

#[tokio::test(flavor = "multi_thread")]
async fn statistics_are_what_counting_the_lines_gives() {
    let echo = Echo::start().await;
    let hour = echo.hour() - HOUR;
    let lines = lines(hour);
    fill(&echo, &lines).await;
    let window = range(hour, hour + 2 * HOUR);
    for (bucket, filter, is_wanted) in [
        (60, "", (|_| true) as fn(&Written) -> bool),
        (600, "&service=db", |line| line.service == "db"),
        (3_600, "&severity=WARN", |line| line.severity >= Severity::Warn),
        (120, "&service=web&severity=FATAL", |line| line.service == "web" && line.severity == Severity::Fatal),
    ] {
        let mut expected = Counts::new();
        for line in lines.iter().filter(|line| is_wanted(line)) {
            let time = line.time - line.time % (bucket * SECOND);
            *expected.entry((time, line.service.into(), line.severity.name().into())).or_default() += 1;
        }
        let page = echo.read_logs(&format!("stats?{window}{filter}&bucket={bucket}")).await;
        assert_eq!(counts(&page), expected, "{bucket} {filter}");
    }
    assert_eq!(echo.counted(&window).await, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_org_sees_nothing() {
    let echo = Echo::start().await;
    let hour = echo.hour() - HOUR;
    fill(&echo, &lines(hour)).await;
    let window = range(hour, hour + 2 * HOUR);
    let trace = hex(&trace(7));
    for path in [format!("query?{window}"), format!("stats?{window}"), format!("traces/{trace}")] {
        assert!(!items(&echo.read_logs(&path).await).is_empty(), "{path}");
        for org in ["acme", "dem", "demo#x"] {
            assert_eq!(items(&echo.read_logs_of(org, &path).await).len(), 0, "{path}");
        }
        let asked = if path.contains('?') { format!("{path}&org=demo") } else { format!("{path}?org=demo") };
        assert_eq!(items(&echo.read_logs_of("acme", &asked).await).len(), 0, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_tokens_and_parameters_are_refused() {
    let echo = Echo::start().await;
    let good = echo.token(|_| {});
    let expired = echo.token(|claims| claims["exp"] = 1.into());
    let powerless = echo.token(|claims| claims["scope"] = "logs.write audit.read".into());
    let trace = format!("traces/{}", hex(&trace(1)));
    for path in ["query", "stats", &trace] {
        for (token, expected) in [("", 401), ("junk", 401), (&expired, 401), (&powerless, 403)] {
            assert_eq!(echo.get("query", &format!("/logs/v1/{path}"), token).await.0, expected, "{path}");
        }
    }
    let nine = "&attribute=a%3Db".repeat(9);
    let long = "x".repeat(10_000);
    for path in [
        "query?limit=0",
        "query?limit=101",
        "query?limit=-1",
        "query?limit=x",
        "query?limit=1&limit=2",
        "query?cursor=%25",
        "query?cursor=fn5-",
        "query?from=x",
        "query?to=2026-13-01T00:00:00Z",
        "query?from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z",
        "query?severity=loud",
        "query?trace_id=7",
        "query?trace_id=00000000000000000000000000000000",
        "query?span_id=00f067aa0ba902bx",
        "query?attribute=nothing",
        &format!("query?{nine}"),
        "query?text=",
        &format!("query?text={long}"),
        &format!("{trace}?limit=0"),
        &format!("{trace}?limit=1001"),
        &format!("{trace}?cursor=fn5-"),
        "traces/7",
        "stats?bucket=59",
        "stats?bucket=86401",
        "stats?bucket=x",
        "stats?from=x",
    ] {
        let (status, problem) = echo.get("query", &format!("/logs/v1/{path}"), &good).await;
        assert_eq!(status, 400, "{path} {problem}");
        assert!(problem["detail"].is_string(), "{problem}");
    }
    assert_eq!(echo.get("query", "/logs/v1/nothing", &good).await.0, 404);
    assert_eq!(echo.post("query", "/logs/v1/query", &good, &json!({})).await.0, 405);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_search_stops_at_its_budget_and_goes_on() {
    let echo = Echo::start().await;
    let hour = echo.hour();
    for batch in (0..400).collect::<Vec<u64>>().chunks(100) {
        let bodies: Vec<String> = batch.iter().map(|number| event("demo", &large_block(hour, *number), 30)).collect();
        assert_eq!(echo.keep(&bodies).await, [0usize; 0]);
    }
    let (window, mut cursor) = (range(hour, hour + HOUR), String::new());
    let (mut found, mut stops) = (Vec::new(), vec![rfc3339(hour + HOUR)]);
    loop {
        // The first line of all: what a search comes to last.
        let page = echo.read_logs(&format!("query?{window}&text=large%200%200%20{cursor}")).await;
        assert_eq!(page["damaged"], json!([]));
        found.extend(bodies(items(&page)));
        if let Some(stop) = page["scanned_to"].as_str() {
            assert!(page["blocks_scanned"].as_u64() > Some(0) && page["bytes_read"].as_u64() > Some(0), "{page}");
            stops.push(stop.to_owned());
        }
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert!(stops.len() > 2, "one page read it all: {stops:?}");
    let times: Vec<OffsetDateTime> = stops.iter().map(|stop| OffsetDateTime::parse(stop, &Rfc3339).unwrap()).collect();
    assert!(times.windows(2).all(|pair| pair[0] >= pair[1]), "{stops:?}");
    assert_eq!(found.len(), 1);
    assert!(found[0].starts_with("large 0 0 "));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_header_spares_reading_what_cannot_match() {
    let echo = Echo::start().await;
    let hour = echo.hour();
    let other = block(vec![of("other", vec![record(hour, Severity::Fatal, "rare")])]);
    let mut batch: Vec<String> = (0..20).map(|number| event("demo", &large_block(hour, number), 30)).collect();
    batch.push(event("demo", &other, 30));
    assert_eq!(echo.keep(&batch).await, [0usize; 0]);
    for filter in ["service=other", "severity=FATAL"] {
        let page = echo.read_logs(&format!("query?{}&{filter}", range(hour, hour + HOUR))).await;
        assert_eq!(bodies(items(&page)), ["rare"]);
        assert_eq!((&page["headers_read"], &page["blocks_scanned"]), (&json!(21), &json!(1)), "{filter}");
    }
}
