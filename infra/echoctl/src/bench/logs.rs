//! The log store: what lines take in it and what that costs, how fast they come in, how soon a trace is found, how much
//! memory that takes.
//!
//! Made-up lines from a seed, the release binaries, and a database in a file, as `echoctl up` keeps it. Bytes, requests
//! and units are the same on every machine; times are the machine's. No figure is a gate: each stands beside its aim.

mod ask;
mod bill;
mod cost;
mod draw;
mod fill;
mod made;
mod memory;
mod otlp;
mod pool;
mod rate;
mod raw;
mod read;
mod requests;
mod sheet;
mod store;
mod stub;

use std::time::Duration;

use clap::Args;
use echo_shared::clock::Clock;

use super::Findings;
use super::lab::Lab;
use super::report::{percentile, say};
use crate::Failure;
use cost::{Cost, Side};
use fill::MAX_DAY;
use made::Lines;
use requests::Request;
use sheet::{Aim, Sheet};

/// The demo organisation, whose service may write and ask.
const ORG: &str = "demo";
/// Nanoseconds between two lines of those that are sent: 200 a second.
const PACE: u64 = 5_000_000;
/// Two days of about a gigabyte each.
const LONG: usize = 2 * MAX_DAY;
const GIGABYTE: f64 = 1e9;

/// What to measure.
#[derive(Args, Clone)]
pub struct Options {
    /// Lines that are sent: for sizes, costs and the rate of the whole stack
    #[arg(long, default_value_t = 200_000, value_parser = some_lines)]
    lines: usize,
    /// Seconds that ingest alone is under load
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u64).range(1..=120))]
    seconds: u64,
    /// Lines of the table that is read, over two days
    #[arg(long, default_value_t = LONG, value_parser = some_lines)]
    import: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { lines: 200_000, seconds: 6, import: LONG }
    }
}

fn some_lines(text: &str) -> Result<usize, String> {
    let fits = |lines: &usize| (1_000..=LONG).contains(lines);
    text.parse().ok().filter(fits).ok_or_else(|| format!("give 1000 to {LONG}"))
}

/// Measures the log store in a lab whose database is a file.
///
/// # Errors
/// When a part fails, or lines are missing where they should be.
pub async fn run(options: &Options, lab: &mut Lab, found: &mut Findings) -> Result<(), Failure> {
    let mut sheet = Sheet::default();
    let now = Clock::system().now();
    // All of them in the past, the last a minute ago.
    let spread = PACE * options.lines as u64 * 11 / 10 + 60_000_000_000;
    let begin = u64::try_from(now.unix_timestamp_nanos())? - spread;
    let requests = requests::requests(Lines::new(1, begin, PACE), options.lines)?;
    storing(lab, &requests, &mut sheet).await?;
    taking_in(options, lab, &requests, &mut sheet).await?;
    reading(options, lab, &mut sheet).await?;
    say("sending what is large or hostile");
    let peaks = memory::run(lab, Clock::system().now()).await?;
    let peak = peaks.ingest.max(peaks.consumer);
    sheet.figure(("peak_rss_mb", "the larger of the two functions, resident"), peak, 1, Aim::AtMost(128.0));
    sheet.fact("ingest", format!("{:.1} MB", peaks.ingest), "after 4 MiB of JSON and of protobuf, tiny records, bombs");
    sheet.fact("log-consume", format!("{:.1} MB", peaks.consumer), "after blocks of 512 KiB unpacked, and small ones");
    sheet.file(found);
    Ok(())
}

async fn storing(lab: &mut Lab, requests: &[Request], sheet: &mut Sheet) -> Result<(), Failure> {
    say("storing lines and counting what it takes");
    let sent = Sent::of(requests);
    let cost = cost::run(lab, requests).await?;
    let ratio = |side: &Side| sent.raw / side.stored.bytes() as f64;
    let usd = |side: &Side| side.used.dollars() * GIGABYTE / sent.raw;
    sheet.figure(
        ("stored_ratio", "raw bytes over stored bytes, without postings"),
        ratio(&cost.plain),
        2,
        Aim::AtLeast(6.0),
    );
    sheet.figure(("stored_ratio_postings", "the same with postings of traces"), ratio(&cost.posted), 2, Aim::None);
    sent.facts(sheet);
    stored_facts(&cost, sheet);
    let about = ("usd_per_raw_gb", "dollars to take in and store a gigabyte, without postings");
    sheet.figure(about, usd(&cost.plain), 4, Aim::AtMost(0.12));
    bill_facts(&cost.plain, sent.raw, sheet);
    let about = ("usd_per_raw_gb_postings", "the same with postings of traces");
    sheet.figure(about, usd(&cost.posted), 4, Aim::AtMost(0.19));
    bill_facts(&cost.posted, sent.raw, sheet);
    Ok(())
}

/// What was sent, added up.
struct Sent {
    requests: usize,
    lines: usize,
    raw: f64,
    unpacked: f64,
    packed: f64,
}

impl Sent {
    fn of(requests: &[Request]) -> Self {
        let sum = |bytes: fn(&Request) -> usize| requests.iter().map(bytes).sum::<usize>() as f64;
        Self {
            requests: requests.len(),
            lines: requests.iter().map(|request| request.lines).sum(),
            raw: sum(|request| request.raw),
            unpacked: sum(|request| request.unpacked),
            packed: sum(|request| request.body.len()),
        }
    }

    fn facts(&self, sheet: &mut Sheet) {
        sheet.fact("lines", self.lines.to_string(), &format!("in {} requests", self.requests));
        sheet.fact("raw", megabytes(self.raw), &format!("{:.0} bytes a line, as JSON", self.raw / self.lines as f64));
        sheet.fact("as OTLP", megabytes(self.unpacked), &format!("protobuf; {} in gzip", megabytes(self.packed)));
    }
}

fn stored_facts(cost: &Cost, sheet: &mut Sheet) {
    let (count, bytes) = cost.messages;
    sheet.fact("messages", count.to_string(), &format!("{} in the queue", megabytes(bytes as f64)));
    let stored = &cost.posted.stored;
    let kinds = [
        ("payloads", stored.payloads),
        ("headers", stored.headers),
        ("postings", stored.postings),
        ("markers", stored.markers),
    ];
    for (name, kind) in kinds {
        sheet.fact(name, megabytes(kind.bytes as f64), &format!("in {} items", kind.items));
    }
}

/// Who charges how much for a gigabyte.
fn bill_facts(side: &Side, raw: f64, sheet: &mut Sheet) {
    let part = |(name, dollars): (&str, f64)| format!("{name} {:.4}", dollars * GIGABYTE / raw);
    let parts: Vec<String> = side.used.parts().map(part).into();
    sheet.fact("of it", String::new(), &parts.join(", "));
    let units = side.used.write_units * GIGABYTE / raw;
    sheet.fact("write units", format!("{units:.0}"), "for a gigabyte");
}

fn megabytes(bytes: f64) -> String {
    format!("{:.2} MB", bytes / 1e6)
}

async fn taking_in(options: &Options, lab: &mut Lab, requests: &[Request], sheet: &mut Sheet) -> Result<(), Failure> {
    let cores = rate::cores();
    sheet.figure(("cores", "that ingest keeps busy, a process each"), cores as f64, 0, Aim::None);
    say("sending lines to ingest alone");
    let per_s = rate::alone(lab, requests, Duration::from_secs(options.seconds)).await?;
    let meaning = format!("ingest on {cores} cores, a queue that accepts at once");
    sheet.figure(("ingest_lines_per_s", &meaning), per_s, 0, Aim::AtLeast(50_000.0));
    say("sending lines through the whole stack");
    let per_s = rate::with_stack(lab, requests).await?;
    let meaning =
        format!("the same {cores}, until all are stored: queue in MariaDB, mapping, log-consume, database on disk");
    sheet.figure(("ingest_lines_per_s_with_emulator", &meaning), per_s, 0, Aim::None);
    Ok(())
}

async fn reading(options: &Options, lab: &mut Lab, sheet: &mut Sheet) -> Result<(), Failure> {
    say(&format!("making a table of {} lines", options.import));
    let log = fill::run(lab, options.import, Clock::system().now()).await?;
    say("looking up traces");
    let times = read::traces(lab, &log).await?;
    let meaning = format!("a trace of ten lines among {}, through query", options.import);
    sheet.figure(("trace_lookup_p95_ms", &meaning), percentile(&times, 0.95), 1, Aim::AtMost(100.0));
    let others = format!("{:.1} and {:.1} ms", percentile(&times, 0.5), percentile(&times, 0.99));
    sheet.fact("p50 and p99", others, &format!("of {} look-ups", times.len()));
    say("counting the lines of a day");
    let day = log.days.first().ok_or("no day was filled")?;
    let scan = read::day(lab, &log.table, day).await?;
    let units = read::per_gigabyte(&scan, day);
    let meaning = "statistics of a day with a raw gigabyte, by headers";
    sheet.figure(("day_scan_read_units", meaning), units, 0, Aim::AtMost(500.0));
    let (raw, asked) = (megabytes(day.raw as f64), scan.requests);
    let meaning = format!("{asked} requests, {:.0} ms; the day has {raw}", scan.ms);
    sheet.fact("as read", format!("{:.0}", scan.units), &meaning);
    Ok(())
}

#[cfg(test)]
mod tests {
    use axum::body::Bytes;

    use super::{LONG, Request, Sent, some_lines};

    #[test]
    fn trials_have_at_least_a_thousand_lines() {
        assert_eq!((some_lines("1000"), some_lines("5000000")), (Ok(1_000), Ok(LONG)));
        for bad in ["", "999", "5000001", "-1", "x"] {
            assert!(some_lines(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_was_sent_is_added_up() {
        let request = |lines| Request { body: Bytes::from_static(b"abc"), unpacked: 5, lines, raw: 400 };
        let sent = Sent::of(&[request(1), request(2)]);
        assert_eq!((sent.requests, sent.lines, sent.raw, sent.unpacked, sent.packed), (2, 3, 800.0, 10.0, 6.0));
    }
}
