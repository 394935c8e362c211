//! Receiving.

use std::collections::HashMap;
use std::future::Future;
use std::time::Duration;

use sqlx::{MySql, QueryBuilder, Transaction};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::{Queue, QueueError, Queues, Receipt};

/// Pauses between two looks at an empty queue: other processes write to it too, and hidden messages come back.
const SHORTEST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(250);
/// The most rows one claim locks.
const MOST_ROWS: usize = 500;

/// Reads one range of the index `message_queue_claim` in its own order. `SKIP LOCKED`: claims never wait for each other.
const CLAIM: &str = "SELECT id, CAST(receive_count AS SIGNED), CAST(OCTET_LENGTH(payload) AS SIGNED), \
    TIMESTAMPDIFF(MICROSECOND, TIMESTAMP'1970-01-01 00:00:00', NOW(6)) \
    FROM message_queue FORCE INDEX (message_queue_claim) \
    WHERE queue = ? AND visible_at <= NOW(6) AND created_at > NOW(6) - INTERVAL ? SECOND \
    ORDER BY visible_at LIMIT ? FOR UPDATE SKIP LOCKED";

/// What to receive.
#[derive(Clone, Copy, Debug)]
pub struct Receive {
    /// The most messages.
    pub max: usize,
    /// The most bytes of all bodies together; one message is received however large it is.
    pub max_bytes: usize,
    /// How long to wait for the first message.
    pub wait: Duration,
    /// How long the messages are hidden; the queue's own timeout when `None`.
    pub visibility: Option<Duration>,
}

impl Receive {
    /// Up to `max` messages, without waiting.
    pub fn up_to(max: usize) -> Self {
        Self { max, max_bytes: usize::MAX, wait: Duration::ZERO, visibility: None }
    }
}

/// A received message.
#[derive(Clone, Debug)]
pub struct Message {
    /// The message's id. It stays the same for this message only; an event's identity is in the body.
    pub message_id: String,
    /// This receive.
    pub receipt: Receipt,
    /// The body, byte for byte as it was sent.
    pub body: String,
    /// How often the message was received, this time included.
    pub receive_count: i64,
    /// When it was sent, in milliseconds since 1970.
    pub sent_at: i64,
    /// When it was received for the first time, in milliseconds since 1970.
    pub first_received_at: i64,
    /// The queue it came from, for a dead letter.
    pub source_queue: Option<String>,
}

/// One locked row.
struct Candidate {
    receipt: Receipt,
    size: usize,
    now: i64,
}

impl Queues {
    /// Receives messages; returns as soon as there is one.
    ///
    /// # Errors
    /// When there is no such queue, or the database is away.
    pub async fn receive(&self, queue: &str, wanted: Receive) -> Result<Vec<Message>, QueueError> {
        self.receive_until(queue, wanted, std::future::pending()).await
    }

    /// As [`Queues::receive`], but stops waiting when `stop` completes. Never stops between claiming and returning.
    ///
    /// # Errors
    /// When there is no such queue, or the database is away.
    pub async fn receive_until(
        &self,
        queue: &str,
        wanted: Receive,
        stop: impl Future<Output = ()>,
    ) -> Result<Vec<Message>, QueueError> {
        let state = self.queue(queue)?;
        let deadline = Instant::now() + wanted.wait;
        let found = self.claim(state, &wanted).await?;
        if !found.is_empty() || wanted.wait.is_zero() {
            return Ok(found);
        }
        tokio::pin!(stop);
        let _turn = tokio::select! {
            biased;
            () = &mut stop => return Ok(Vec::new()),
            turn = timeout_at(deadline, state.turn.lock()) => match turn {
                Ok(turn) => turn,
                Err(_) => return Ok(Vec::new()),
            },
        };
        let mut pause = SHORTEST_PAUSE;
        loop {
            let found = self.claim(state, &wanted).await?;
            if !found.is_empty() || Instant::now() >= deadline {
                return Ok(found);
            }
            tokio::select! {
                // First: a message that came together with the order to stop is left for others.
                biased;
                () = &mut stop => return Ok(Vec::new()),
                () = state.wake.notified() => pause = SHORTEST_PAUSE,
                () = sleep_until(deadline.min(Instant::now() + pause)) => pause = (pause * 2).min(LONGEST_PAUSE),
            }
        }
    }

    /// Leases what is visible; goes on when all it found were dead letters.
    async fn claim(&self, queue: &Queue, wanted: &Receive) -> Result<Vec<Message>, QueueError> {
        loop {
            let (messages, moved) = self.retrying(|| self.claim_once(queue, wanted)).await?;
            if moved > 0
                && let Some(target) = queue.spec.redrive.as_ref().and_then(|redrive| self.queue(&redrive.target).ok())
            {
                target.wake.notify_one();
            }
            if moved == 0 || !messages.is_empty() {
                return Ok(messages);
            }
        }
    }

    /// One transaction: lock candidates, move those received too often, lease the rest.
    async fn claim_once(&self, queue: &Queue, wanted: &Receive) -> Result<(Vec<Message>, usize), sqlx::Error> {
        let mut transaction = self.0.pool.begin().await?;
        let candidates = candidates(&mut transaction, queue, wanted.max.min(MOST_ROWS)).await?;
        if candidates.is_empty() {
            transaction.rollback().await?;
            return Ok((Vec::new(), 0));
        }
        let limit = queue.spec.redrive.as_ref().map_or(i64::MAX, |redrive| i64::from(redrive.max_receive_count));
        let (live, dead): (Vec<_>, Vec<_>) = candidates.into_iter().partition(|row| row.receipt.generation < limit);
        redrive(&mut transaction, queue, &dead).await?;
        let live = fitting(live, wanted.max_bytes);
        lease(&mut transaction, &live, wanted.visibility.unwrap_or(queue.spec.visibility_timeout)).await?;
        let messages = read(&mut transaction, &live).await?;
        transaction.commit().await?;
        Ok((messages, dead.len()))
    }
}

async fn candidates(
    transaction: &mut Transaction<'_, MySql>,
    queue: &Queue,
    max: usize,
) -> Result<Vec<Candidate>, sqlx::Error> {
    let max = u32::try_from(max).unwrap_or(u32::MAX);
    let query = sqlx::query_as(CLAIM).bind(&queue.spec.name).bind(queue.spec.retention.as_secs()).bind(max);
    let rows: Vec<(i64, i64, i64, i64)> = query.fetch_all(&mut **transaction).await?;
    let candidate = |(id, generation, size, now)| Candidate {
        receipt: Receipt { id, generation },
        size: usize::try_from(size).unwrap_or_default(),
        now,
    };
    Ok(rows.into_iter().map(candidate).collect())
}

/// The first rows that fit; the others stay visible.
fn fitting(rows: Vec<Candidate>, max_bytes: usize) -> Vec<Candidate> {
    let mut bytes = 0_usize;
    let fits = |row: &Candidate| {
        let first = bytes == 0;
        bytes = bytes.saturating_add(row.size);
        first || bytes <= max_bytes
    };
    rows.into_iter().take_while(fits).collect()
}

/// Dead letters keep id, body, count and the time they were sent.
async fn redrive(
    transaction: &mut Transaction<'_, MySql>,
    queue: &Queue,
    dead: &[Candidate],
) -> Result<(), sqlx::Error> {
    let Some(redrive) = queue.spec.redrive.as_ref().filter(|_| !dead.is_empty()) else { return Ok(()) };
    let mut query = QueryBuilder::new("UPDATE message_queue SET source_queue = queue, queue = ");
    query.push_bind(redrive.target.clone());
    query.push(", status = 'FAILED', visible_at = NOW(6), updated_at = NOW(6), last_error = COALESCE(last_error, ");
    query.push_bind(format!("received {} times and never deleted", redrive.max_receive_count)).push(") WHERE ");
    only(&mut query, dead);
    query.build().execute(&mut **transaction).await?;
    tracing::warn!(queue = queue.spec.name, target = redrive.target, messages = dead.len(), "dead letters");
    Ok(())
}

async fn lease(
    transaction: &mut Transaction<'_, MySql>,
    live: &[Candidate],
    visibility: Duration,
) -> Result<(), sqlx::Error> {
    let Some(first) = live.first() else { return Ok(()) };
    // The claim's own "now", so that the first receive is told the very time that is stored.
    let now = first.now;
    let epoch = "TIMESTAMP'1970-01-01 00:00:00' + INTERVAL ";
    let mut query = QueryBuilder::new("UPDATE message_queue SET retry_count = receive_count, ");
    query.push("receive_count = receive_count + 1, status = IF(status = 'FAILED', 'FAILED', 'IN_PROGRESS'), ");
    query.push("first_received_at = COALESCE(first_received_at, ").push(epoch).push_bind(now);
    query.push(" MICROSECOND), received_at = ").push(epoch).push_bind(now);
    query.push(" MICROSECOND, updated_at = NOW(6), visible_at = NOW(6) + INTERVAL ").push_bind(visibility.as_secs());
    query.push(" SECOND WHERE ");
    only(&mut query, live);
    query.build().execute(&mut **transaction).await?;
    Ok(())
}

async fn read(transaction: &mut Transaction<'_, MySql>, live: &[Candidate]) -> Result<Vec<Message>, sqlx::Error> {
    if live.is_empty() {
        return Ok(Vec::new());
    }
    let millis = |column| format!("TIMESTAMPDIFF(MICROSECOND, TIMESTAMP'1970-01-01 00:00:00', {column}) DIV 1000");
    let mut query = QueryBuilder::new("SELECT id, CAST(receive_count AS SIGNED), message_id, payload, source_queue, ");
    query.push(millis("created_at")).push(", ").push(millis("first_received_at")).push(" FROM message_queue WHERE ");
    only(&mut query, live);
    type Row = (i64, i64, String, String, Option<String>, i64, i64);
    let rows: Vec<Row> = query.build_query_as().fetch_all(&mut **transaction).await?;
    let message = |(id, generation, message_id, body, source_queue, sent_at, first_received_at)| Message {
        message_id,
        receipt: Receipt { id, generation },
        body,
        receive_count: generation,
        sent_at,
        first_received_at,
        source_queue,
    };
    let mut messages: HashMap<i64, Message> = rows.into_iter().map(|row| (row.0, message(row))).collect();
    Ok(live.iter().filter_map(|row| messages.remove(&row.receipt.id)).collect())
}

fn only(query: &mut QueryBuilder<MySql>, rows: &[Candidate]) {
    query.push("id IN (");
    let mut list = query.separated(", ");
    for row in rows {
        list.push_bind(row.receipt.id);
    }
    query.push(")");
}
