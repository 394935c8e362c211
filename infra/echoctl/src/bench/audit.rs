//! The audit log: how fast it takes entries and what that takes, how soon it proves and finds, how fast it is verified.
//!
//! Everything is measured with the release binaries and a database in a file, as `echoctl up` keeps it. Requests and
//! write units are the same on every machine, so they have limits; times are shown beside what they should be.

mod append;
mod baseline;
mod export;
mod import;
mod made;
mod read;

use std::path::Path;

use axum::body::Bytes;
use clap::Args;
use echo_shared::audit::chunk::{Chunk, key};
use echo_shared::audit::merkle::Hash;
use echo_shared::clock::Clock;
use echo_shared::table::Table;
use serde_json::json;
use time::Duration;
use tokio::task::spawn_blocking;

use super::lab::Lab;
use super::report::{Report, percentile, round, say};
use super::{Findings, events};
use crate::Failure;
use append::Bodies;
use made::{Maker, seeded};

/// The table of entries, and that of heads, without the stack's name.
const LOG: &str = "audit_log";
const HEADS: &str = "audit_head";
/// The demo organisation, whose service may ask.
const ORG: &str = "demo";
/// What the long log's events stretch over.
const MONTH: Duration = Duration::days(30);

/// The most requests for a thousand entries.
const MAX_TRIPS: f64 = 25.0;
/// The most write units of an entry, without those of indexes and with them.
const MAX_UNITS: f64 = 3.0;
const MAX_UNITS_INDEXED: f64 = 7.0;

/// What to measure.
#[derive(Args, Clone)]
pub struct Options {
    /// Entries that are appended
    #[arg(long, default_value_t = 20_000, value_parser = at_least_one)]
    entries: usize,
    /// Entries of the log that is read
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(2_000..))]
    log: u64,
    /// Entries of the export that is verified
    #[arg(long, default_value_t = 200_000, value_parser = clap::value_parser!(u64).range(1..))]
    export: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { entries: 20_000, log: 1_000_000, export: 200_000 }
    }
}

fn at_least_one(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|entries| *entries > 0).ok_or_else(|| "give 1 or more".into())
}

/// The database's file in the lab's directory.
pub const DATABASE: &str = "dynamodb.sqlite";

/// Measures the audit log in a lab whose database is `directory`'s [`DATABASE`].
///
/// # Errors
/// When a part fails or answers something wrong.
pub async fn run(options: &Options, directory: &Path, lab: &mut Lab, found: &mut Findings) -> Result<(), Failure> {
    let mut report = Report::default();
    appending(options, lab, &mut report, &mut found.objections).await?;
    reading(options, directory, lab, &mut report).await?;
    say(&format!("verifying an export of {} entries", options.export));
    let (file, issuer, entries) = (directory.join("export.jsonl"), lab.events.issuer.clone(), options.export);
    let events = Maker::new(ORG, 8, Clock::system().now() - MONTH, Duration::SECOND);
    let per_s = spawn_blocking(move || export::run(&file, &issuer, ORG, entries, events)).await??;
    report.rate("verify_per_s", per_s, "entries of an export verified offline, one thread; aim 200,000");
    report.file("audit log", found);
    Ok(())
}

async fn appending(
    options: &Options,
    lab: &Lab,
    report: &mut Report,
    objections: &mut Vec<String>,
) -> Result<(), Failure> {
    say(&format!("appending {} entries", options.entries));
    let appended = append::run(lab, options.entries).await?;
    say(&format!("inserting {} events without a log", options.entries));
    let baseline = baseline::run(lab, options.entries).await?;
    let batch = lab.batch_size();
    report.rate("entries_per_s", appended.per_s, &format!("into one log, batches of {batch}; aim 5,000"));
    report.rate("baseline_inserts_per_s", baseline, "the same events in bare transactions of 98 inserts, no log");
    report.ratio("ratio_to_baseline", appended.per_s / baseline, "of the two");
    let shown = format!("{:.0} µs", appended.cpu_us);
    report.note("cpu_us_per_entry", json!(round(appended.cpu_us, 1)), "processor time of audit-consume", shown);
    let counts = [
        ("round_trips_per_1000", appended.round_trips, MAX_TRIPS, "requests to DynamoDB for 1,000 entries"),
        ("write_units_per_entry", appended.units, MAX_UNITS, "of both tables, in transactions"),
        ("write_units_per_entry_indexed", appended.units + appended.index_units, MAX_UNITS_INDEXED, "and of indexes"),
    ];
    for (name, value, limit, meaning) in counts {
        report.ratio(name, value, &format!("{meaning}; limit {limit}"));
        objections.extend(objection(name, value, limit));
    }
    Ok(())
}

fn objection(name: &str, value: f64, limit: f64) -> Option<String> {
    (value > limit).then(|| format!("{name} is {value:.2}, more than {limit}"))
}

async fn reading(options: &Options, directory: &Path, lab: &mut Lab, report: &mut Report) -> Result<(), Failure> {
    say(&format!("making a log of {} entries", options.log));
    // The last batch comes the usual way: its checkpoint is signed.
    let last = lab.batch_size().min(1_000);
    let log = import::run(import::Plan {
        file: &directory.join(DATABASE),
        tables: (&lab.table(LOG)?.name, &lab.table(HEADS)?.name),
        org: ORG,
        leaves: leaves(lab).await?,
        size: options.log - last as u64,
        events: Maker::new(ORG, 3, Clock::system().now() - MONTH, MONTH / u32::try_from(options.log)?),
        salts: seeded(4),
    })
    .await?;
    finish(lab, events::batch(&Bodies::new(ORG, 9).take(last))).await?;
    say("asking for proofs and searching");
    let reads = read::run(lab, &log, options.log).await?;
    let length = format!("a log of {} entries", options.log);
    report.millis("inclusion_proof_p50_ms", percentile(&reads.proofs, 0.5), &format!("in {length}; aim 20 ms"));
    report.millis("inclusion_proof_p99_ms", percentile(&reads.proofs, 0.99), "the same");
    report.millis("search_p50_ms", percentile(&reads.searches, 0.5), "by actor, action or resource, 50 entries");
    report.millis("search_p95_ms", percentile(&reads.searches, 0.95), "the same; aim 300 ms");
    report.millis("get_item_p50_ms", percentile(&reads.items, 0.5), "one chunk by its key, without a function");
    Ok(())
}

/// The hashes of the leaves that are in the log already; few.
async fn leaves(lab: &Lab) -> Result<Vec<Hash>, Failure> {
    let log = Table::new(lab.dynamodb().client(), lab.table(LOG)?.name.clone());
    let chunks: Vec<Chunk> = log.partition(&key::chunks(ORG)).await?;
    let hashes = chunks.iter().map(Chunk::hashes).collect::<Result<Vec<_>, _>>()?;
    Ok(hashes.concat())
}

async fn finish(lab: &Lab, batch: Bytes) -> Result<(), Failure> {
    let mut consumer = lab.launch_unrecorded("audit-consume").await?;
    append::append(&mut consumer, batch).await?;
    consumer.stop().await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::objection;

    #[test]
    fn what_is_over_its_limit_is_named() {
        assert_eq!(objection("a", 3.0, 3.0), None);
        assert_eq!(objection("a", 3.02, 3.0).unwrap(), "a is 3.02, more than 3");
    }
}
