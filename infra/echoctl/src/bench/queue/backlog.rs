//! Whether a long queue is slower than a short one.

use std::time::Duration;

use echo_local::queue::{Outgoing, Queues, Receive};
use tokio::time::{Instant, sleep};

use super::super::report::percentile;
use super::{Bench, QUEUE, TEN, body};
use crate::Failure;

/// Claims measured.
const CLAIMS: usize = 3_000;

/// The 99th percentiles of a claim of ten, in milliseconds.
pub struct Backlog {
    /// With nothing but these ten in the table.
    pub empty: f64,
    /// With the backlog.
    pub full: f64,
}

/// Claims from an almost empty table, and from one with `rows` more messages.
///
/// # Errors
/// When the queue fails.
pub async fn run(bench: &Bench, schema: &str, rows: u64) -> Result<Backlog, Failure> {
    let queues = bench.queues(schema).await?;
    let empty = claims(&queues, true).await?;
    drop(queues);
    let pool = bench.database(schema).await?;
    // Doubled until there are enough, the quick way to a million.
    sqlx::query(
        "INSERT INTO message_queue (queue, event_type, payload, message_id, created_at, updated_at, visible_at) \
         VALUES (?, 'audit', ?, UUID(), NOW(6), NOW(6), NOW(6))",
    )
    .bind(QUEUE)
    .bind(body())
    .execute(&pool)
    .await?;
    let mut count = 1;
    while count < rows {
        let more = count.min(rows - count).min(100_000);
        sqlx::query(
            "INSERT INTO message_queue (queue, event_type, payload, message_id, created_at, updated_at, visible_at) \
             SELECT queue, event_type, payload, UUID(), NOW(6), NOW(6), NOW(6) FROM message_queue \
             WHERE status <> 'DONE' LIMIT ?",
        )
        .bind(more)
        .execute(&pool)
        .await?;
        count += more;
    }
    let queues = bench.queues(schema).await?;
    while queues.counts(QUEUE).await?.visible < rows {
        sleep(Duration::from_millis(10)).await;
    }
    let full = claims(&queues, false).await?;
    Ok(Backlog { empty, full })
}

/// Claims ten and deletes them, again and again; into the empty table they are sent first.
async fn claims(queues: &Queues, send: bool) -> Result<f64, Failure> {
    let messages = vec![Outgoing { body: body(), delay: None }; TEN];
    let mut times = Vec::with_capacity(CLAIMS);
    for _ in 0..CLAIMS {
        if send {
            queues.send(QUEUE, &messages).await?;
        }
        let begin = Instant::now();
        let received = queues.receive(QUEUE, Receive::up_to(TEN)).await?;
        times.push(begin.elapsed().as_secs_f64() * 1000.0);
        if received.len() != TEN {
            return Err(format!("{} messages claimed instead of ten", received.len()).into());
        }
        let receipts: Vec<_> = received.iter().map(|message| message.receipt).collect();
        queues.delete(QUEUE, &receipts).await?;
    }
    Ok(percentile(&times, 0.99))
}
