//! The local queue: how fast, how soon, how steadily, beside what its database can do at most and beside a peer.
//!
//! Everything runs with the shipped defaults on a MariaDB of its own whose every commit is on disk before it returns.

mod backlog;
mod ceiling;
mod latency;
mod load;
mod peer;
mod soak;

use std::path::Path;
use std::time::Duration;

use clap::Args;
use echo_local::mysql::Server;
use echo_local::queue::Queues;
use echo_local::spec::{QueueSpec, Redrive};
use echo_local::state::State;
use serde_json::json;
use sqlx::MySqlPool;

use super::Findings;
use super::report::{Report, say};
use crate::Failure;

/// What to measure.
#[derive(Args, Clone)]
pub struct Options {
    /// Seconds of load per measurement
    #[arg(long, default_value_t = 8)]
    seconds: u64,
    /// Rows in the backlog, of which 30,000 are claimed
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(30_000..))]
    backlog: u64,
    /// Do not measure the peer
    #[arg(long)]
    no_peer: bool,
    /// Also 30 minutes of load: flat table, flat latency, no lost lock race that is not explained
    #[arg(long)]
    long: bool,
    /// Minutes of it
    #[arg(long, default_value_t = 30, hide = true)]
    long_minutes: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { seconds: 8, backlog: 1_000_000, no_peer: false, long: false, long_minutes: 30 }
    }
}

/// The measured queue's name, and its dead-letter queue's.
const QUEUE: &str = "bench";
const DEAD: &str = "bench-dead-letter";
/// Messages are sent, received and deleted in tens, as SQS's batches are.
const TEN: usize = 10;
/// A body of this many bytes.
const BODY: usize = 200;

/// A schema of its own, with an empty table.
struct Bench {
    server: Server,
}

impl Bench {
    async fn database(&self, schema: &str) -> Result<MySqlPool, Failure> {
        Ok(self.server.database(schema).await?)
    }

    async fn queues(&self, schema: &str) -> Result<Queues, Failure> {
        Ok(Queues::new(self.database(schema).await?, specs()))
    }
}

fn specs() -> Vec<QueueSpec> {
    let redrive = Some(Redrive { target: DEAD.into(), max_receive_count: 10 });
    vec![
        QueueSpec { redrive, visibility_timeout: Duration::from_secs(60), ..QueueSpec::new(QUEUE) },
        QueueSpec::new(DEAD),
    ]
}

fn body() -> String {
    let envelope = r#"{"specversion":"1.0","type":"audit","data":""}"#;
    envelope.replace("\"\"}", &format!("\"{}\"}}", "x".repeat(BODY.saturating_sub(envelope.len()))))
}

/// Measures the queue.
///
/// # Errors
/// When a part does not start or fails.
pub async fn run(options: &Options, root: &Path, directory: &Path, found: &mut Findings) -> Result<(), Failure> {
    if !options.no_peer {
        peer::find(root)?;
    }
    let state = State::open(directory, false).await?;
    let server = Server::start(&state.path("mysql"), directory, &state.path("logs/mysql.log")).await?;
    let bench = Bench { server };
    let result = measure(options, root, directory, &bench, found).await;
    bench.server.stop().await;
    result
}

async fn measure(
    options: &Options,
    root: &Path,
    directory: &Path,
    bench: &Bench,
    found: &mut Findings,
) -> Result<(), Failure> {
    let time = Duration::from_secs(options.seconds);
    let pool = bench.database("settings").await?;
    let flush: i64 =
        sqlx::query_scalar("SELECT CAST(@@innodb_flush_log_at_trx_commit AS SIGNED)").fetch_one(&pool).await?;
    let (version,): (String,) = sqlx::query_as("SELECT VERSION()").fetch_one(&pool).await?;
    let mut report = Report::default();
    report.note("durable", json!(flush == 1), "every commit on disk", version);

    say("in process, 16 clients");
    let sixteen = load::in_process(bench, "p16", 16, time).await?;
    say("in process, 256 clients");
    let many = load::in_process(bench, "p256", 256, time).await?;
    say("the database alone");
    let ceiling = ceiling::run(bench, "ceiling", sixteen.rows_per_statement, time).await?;
    report.rate("in_process_per_s", sixteen.per_s, "in process, 16 clients");
    report.rate("raw_ceiling_per_s", ceiling, &format!("SQL alone, {} rows a statement", sixteen.rows_per_statement));
    report.ratio("ratio_to_ceiling", sixteen.per_s / ceiling, "of the two");
    report.rate("in_process_256_per_s", many.per_s, "in process, 256 clients");
    report.ratio("rate_256_over_16", many.per_s / sixteen.per_s, "256 clients over 16");

    say("through the SQS protocol and the mapping");
    let protocol = load::protocol(bench, "protocol", 16, time).await?;
    report.rate("protocol_per_s", protocol, "through aws-sdk-sqs, HTTP and the mapping");

    say("idle to handler");
    let idle = latency::idle(bench, "idle").await?;
    report.millis("idle_to_handler_p50_ms", idle.p50, "send to handler, idle, p50");
    report.percent("idle_cpu_percent", idle.cpu, "of a core while idle, MariaDB included");
    let busy = latency::half_load(bench, "busy", sixteen.per_s / 2.0, time).await?;
    report.millis("idle_to_handler_p99_ms", busy, "send to handler at half load, p99");

    say(&format!("a backlog of {} messages", options.backlog));
    let backlog = backlog::run(bench, "backlog", options.backlog).await?;
    report.millis("empty_claim_p99_ms", backlog.empty, "claim of ten, table empty, p99");
    report.millis("backlog_claim_p99_ms", backlog.full, "claim of ten, backlog, p99");
    report.ratio("backlog_claim_p99_ratio", backlog.full / backlog.empty, "of the two");

    if !options.no_peer {
        say("the peer: graphile-worker on PostgreSQL");
        let peer = peer::run(root, directory, time).await?;
        report.note("peer_name", json!(peer.name), "the peer", peer.name.clone());
        report.rate("peer_per_s", peer.per_s, "its rate");
    }
    if options.long {
        let time = Duration::from_secs(options.long_minutes * 60);
        say(&format!("{} minutes of half load", options.long_minutes));
        soak::run(bench, "soak", sixteen.per_s / 2.0, time, &mut report).await?;
    }
    report.file("queue", found);
    Ok(())
}
