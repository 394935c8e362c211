//! A long load: neither the table nor the latency may grow, and nothing may be lost.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use echo_local::queue::{Counts, Outgoing, Queues, Receive};
use serde_json::json;
use sqlx::{Executor, MySqlPool};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, Interval, interval_at};

use super::super::report::{percentile, round, say};
use super::{Bench, QUEUE, Report, TEN, body};
use crate::Failure;

const CLIENTS: u32 = 16;
const WINDOW: Duration = Duration::from_secs(10);
/// Longer than the queue's visibility timeout: what a receive lost comes again.
const DRAIN: Duration = Duration::from_secs(90);

/// Milliseconds that the claims of a window took.
type Claims = Arc<Mutex<Vec<f64>>>;

/// What a window ended with.
struct Sample {
    rows: f64,
    megabytes: f64,
    /// Of a claim of ten, in milliseconds.
    p99: f64,
}

/// What the server has counted since its start.
struct Locks {
    deadlocks: i64,
    timeouts: i64,
}

/// Sends, receives and deletes `per_s` messages a second while the cleaner runs, and watches the table.
///
/// # Errors
/// When the queue or the database fails.
pub async fn run(bench: &Bench, schema: &str, per_s: f64, time: Duration, report: &mut Report) -> Result<(), Failure> {
    let queues = bench.queues(schema).await?;
    let pool = bench.database(schema).await?;
    let (stop, stopped) = watch::channel(false);
    let cleaner = tokio::spawn(queues.clone().keep_clean(stopped));
    let before = Locks::read(&pool).await?;
    let claims = Claims::default();
    let begin = Instant::now();
    let mut clients = JoinSet::new();
    let pause = Duration::from_secs_f64(TEN as f64 * f64::from(CLIENTS) / per_s);
    for n in 0..CLIENTS {
        // One after the other, not all at once; who is late catches up.
        let ticks = interval_at(begin + pause * n / CLIENTS, pause);
        clients.spawn(client(queues.clone(), ticks, begin + time, Arc::clone(&claims)));
    }
    let mut samples = Vec::new();
    let mut windows = interval_at(begin + WINDOW, WINDOW);
    let (mut sent, mut deleted) = (0, 0);
    loop {
        tokio::select! {
            _ = windows.tick() => {
                let sample = Sample::take(&pool, &claims).await?;
                if (samples.len() + 1).is_multiple_of(6) {
                    let Locks { deadlocks, timeouts } = Locks::read(&pool).await?.since(&before);
                    let Sample { rows, megabytes, p99 } = sample;
                    say(&format!(
                        "minute {}: {rows} rows, {megabytes:.1} MB, claim p99 {p99:.2} ms, {deadlocks} deadlocks, \
                         {timeouts} lock timeouts",
                        samples.len() / 6 + 1
                    ));
                }
                samples.push(sample);
            }
            done = clients.join_next() => match done {
                Some(done) => {
                    let done = done??;
                    sent += done.sent;
                    deleted += done.deleted;
                }
                None => break,
            }
        }
    }
    let rate = deleted as f64 / begin.elapsed().as_secs_f64();
    deleted += drain(&queues).await?;
    let locks = Locks::read(&pool).await?.since(&before);
    stop.send_replace(true);
    cleaner.await?;

    let minutes = time.as_secs_f64() / 60.0;
    report.note("soak_minutes", json!(minutes), "of steady load", format!("{minutes}"));
    report.rate("soak_per_s", rate, "meant to be half of what 16 clients can do");
    let median = |samples: &[&Sample], of: fn(&Sample) -> f64| {
        let values: Vec<f64> = samples.iter().map(|sample| of(sample)).collect();
        percentile(&values, 0.5)
    };
    let third = samples.len().div_ceil(3);
    let first: Vec<_> = samples.iter().take(third).collect();
    let last: Vec<_> = samples.iter().rev().take(third).collect();
    for (name, third) in [("first", first), ("last", last)] {
        let rows = median(&third, |sample| sample.rows);
        report.note(&format!("soak_rows_{name}_third"), json!(rows), "rows in the table, median", format!("{rows}"));
        let megabytes = round(median(&third, |sample| sample.megabytes), 1);
        let shown = format!("{megabytes} MB");
        report.note(&format!("soak_megabytes_{name}_third"), json!(megabytes), "data and indexes, median", shown);
        let p99 = median(&third, |sample| sample.p99);
        report.millis(&format!("soak_p99_{name}_third_ms"), p99, "claim of ten, p99 of ten seconds, median");
    }
    let lost = i128::from(sent) - i128::from(deleted);
    report.note("soak_deadlocks", json!(locks.deadlocks), "that the database resolved", locks.deadlocks.to_string());
    report.note("soak_lock_timeouts", json!(locks.timeouts), "waits for a lock given up", locks.timeouts.to_string());
    report.note("soak_lost", json!(i64::try_from(lost)?), "messages sent and never deleted", lost.to_string());
    Ok(())
}

impl Sample {
    async fn take(pool: &MySqlPool, claims: &Claims) -> Result<Self, Failure> {
        let times = std::mem::take(&mut *claims.lock().unwrap_or_else(PoisonError::into_inner));
        let rows: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM message_queue").fetch_one(pool).await?;
        // Without it MySQL tells what it found a day ago.
        pool.execute("ANALYZE NO_WRITE_TO_BINLOG TABLE message_queue").await?;
        let bytes: i64 = sqlx::query_scalar(
            "SELECT CAST(data_length + index_length AS SIGNED) FROM information_schema.tables \
             WHERE table_schema = DATABASE() AND table_name = 'message_queue'",
        )
        .fetch_one(pool)
        .await?;
        Ok(Self { rows: rows as f64, megabytes: bytes as f64 / 1e6, p99: percentile(&times, 0.99) })
    }
}

impl Locks {
    async fn read(pool: &MySqlPool) -> Result<Self, Failure> {
        let (deadlocks, timeouts) = sqlx::query_as(
            "SELECT CAST(SUM(IF(name = 'lock_deadlocks', `count`, 0)) AS SIGNED), \
             CAST(SUM(IF(name = 'lock_timeouts', `count`, 0)) AS SIGNED) FROM information_schema.innodb_metrics",
        )
        .fetch_one(pool)
        .await?;
        Ok(Self { deadlocks, timeouts })
    }

    fn since(&self, before: &Self) -> Self {
        Self { deadlocks: self.deadlocks - before.deadlocks, timeouts: self.timeouts - before.timeouts }
    }
}

/// What a client did.
struct Done {
    sent: u64,
    deleted: u64,
}

/// Sends ten, receives ten and deletes them at every tick.
async fn client(queues: Queues, mut ticks: Interval, until: Instant, claims: Claims) -> Result<Done, Failure> {
    let messages = vec![Outgoing { body: body(), delay: None }; TEN];
    let mut done = Done { sent: 0, deleted: 0 };
    loop {
        ticks.tick().await;
        if Instant::now() >= until {
            return Ok(done);
        }
        let sent = queues.send(QUEUE, &messages).await?;
        done.sent += sent.iter().filter(|sent| sent.is_ok()).count() as u64;
        done.deleted += take(&queues, &claims).await?;
    }
}

/// Receives up to ten and deletes them.
async fn take(queues: &Queues, claims: &Claims) -> Result<u64, Failure> {
    let begin = Instant::now();
    let received = queues.receive(QUEUE, Receive { wait: Duration::from_secs(1), ..Receive::up_to(TEN) }).await?;
    if received.is_empty() {
        return Ok(0);
    }
    claims.lock().unwrap_or_else(PoisonError::into_inner).push(begin.elapsed().as_secs_f64() * 1000.0);
    let receipts: Vec<_> = received.iter().map(|message| message.receipt).collect();
    Ok(queues.delete(QUEUE, &receipts).await?)
}

/// Receives and deletes what is left.
async fn drain(queues: &Queues) -> Result<u64, Failure> {
    let deadline = Instant::now() + DRAIN;
    let mut deleted = 0;
    while queues.counts(QUEUE).await? != Counts::default() && Instant::now() < deadline {
        deleted += take(queues, &Claims::default()).await?;
    }
    Ok(deleted)
}
