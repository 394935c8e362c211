//! Sending: the rows of many callers in one INSERT. A row for which a receive is waiting is stored as received, so that
//! one commit both keeps and delivers it.

use std::sync::Arc;
use std::time::Duration;

use sqlx::Connection;
use sqlx::mysql::MySqlConnection;
use sqlx::types::time::PrimitiveDateTime;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::lane::{self, Link};
use super::retry::Tries;
use super::shelf::{Found, Stored, Waiter};
use super::statement::{self, MOST_INSERTED, New};
use super::{Message, Queue, QueueError, Queues, Receipt, Refused, Shared, body};

/// Bytes of bodies in one INSERT; a single send may have more. Far below every server's `max_allowed_packet`.
const MOST_BYTES: usize = 4 * 1_048_576;

/// A message to send.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// The body.
    pub body: String,
    /// How long it is hidden first; the queue's own delay when `None`.
    pub delay: Option<Duration>,
}

/// A message that was stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// The message's id.
    pub message_id: String,
}

/// A caller's rows.
pub(super) struct Sending {
    queue: Arc<Queue>,
    rows: Vec<Row>,
    answer: oneshot::Sender<Result<(), QueueError>>,
}

struct Row {
    body: String,
    event_type: String,
    message_id: String,
    delay: Duration,
}

impl Queues {
    /// Stores messages; each is accepted or refused by itself. Those accepted are on disk when this returns.
    ///
    /// # Errors
    /// When there is no such queue, or the database is away; some may have been stored then.
    pub async fn send(&self, queue: &str, messages: &[Outgoing]) -> Result<Vec<Result<Sent, Refused>>, QueueError> {
        let queue = self.queue(queue)?;
        let (mut rows, mut results) = (Vec::with_capacity(messages.len()), Vec::with_capacity(messages.len()));
        for message in messages {
            if let Some(refused) = body::refusal(&message.body, queue.spec.max_message_size) {
                results.push(Err(refused));
                continue;
            }
            let random = self.0.shared.entropy.bytes();
            let message_id = uuid::Builder::from_random_bytes(random).into_uuid().to_string();
            results.push(Ok(Sent { message_id: message_id.clone() }));
            rows.push(Row {
                body: message.body.clone(),
                event_type: body::event_type(&message.body),
                message_id,
                delay: message.delay.unwrap_or(queue.spec.delay),
            });
        }
        let mut rows = rows.into_iter();
        loop {
            let rows: Vec<Row> = rows.by_ref().take(MOST_INSERTED).collect();
            if rows.is_empty() {
                return Ok(results);
            }
            let (answer, answered) = oneshot::channel();
            let sending = Sending { queue: Arc::clone(queue), rows, answer };
            self.0.sends.send(sending).map_err(|_| QueueError::stopped())?;
            answered.await.map_err(|_| QueueError::stopped())??;
        }
    }
}

/// Stores what callers send until nobody is left who could.
pub(super) async fn run(shared: Arc<Shared>, mut jobs: mpsc::UnboundedReceiver<Sending>) {
    let mut link = Link::new(shared.pool.clone());
    let mut left = None;
    let weigh = |job: &Sending| (job.rows.len(), job.rows.iter().map(|row| row.body.len()).sum());
    while let Some(batch) = lane::next(&mut jobs, &mut left, (MOST_INSERTED, MOST_BYTES), weigh).await {
        let Err((batch, error)) = store(&shared, &mut link, batch).await else { continue };
        let alone = batch.len() == 1 || error.as_database_error().is_none();
        for job in batch {
            // What one caller sends must not fail another's.
            let result =
                if alone { Err((vec![job], QueueError::from(&error))) } else { again(&shared, &mut link, job).await };
            if let Err((jobs, error)) = result {
                for job in jobs {
                    let _ = job.answer.send(Err(error.clone()));
                }
            }
        }
    }
}

async fn again(shared: &Shared, link: &mut Link, job: Sending) -> Result<(), (Vec<Sending>, QueueError)> {
    store(shared, link, vec![job]).await.map_err(|(jobs, error)| (jobs, QueueError::from(&error)))
}

/// A waiting receive, and the rows it gets: (job, row).
struct Handed {
    queue: Arc<Queue>,
    waiter: Waiter,
    visibility: Duration,
    bytes: usize,
    rows: Vec<(usize, usize)>,
}

/// Stores a batch and answers; gives it back when it was not stored.
async fn store(shared: &Shared, link: &mut Link, batch: Vec<Sending>) -> Result<(), (Vec<Sending>, sqlx::Error)> {
    let handed = hand_out(&batch);
    let cursors: Vec<i64> = batch.iter().map(|job| job.queue.shelf().cursor()).collect();
    match write(shared, link, &batch, &handed).await {
        Ok((now, ids)) => {
            settle(batch, handed, &ids, now);
            Ok(())
        }
        Err(error) => {
            link.failed(&error);
            for Handed { queue, waiter, .. } in handed.into_iter().rev() {
                queue.shelf().wait_on(std::iter::once(waiter));
                queue.wake.notify_one();
            }
            for (job, cursor) in batch.iter().zip(cursors) {
                // The commit may have happened all the same.
                job.queue.shelf().doubt(cursor);
                job.queue.look.notify_one();
            }
            Err((batch, error))
        }
    }
}

/// Finds those who wait for what is being sent.
fn hand_out(batch: &[Sending]) -> Vec<Handed> {
    let mut handed: Vec<Handed> = Vec::new();
    for (job, sending) in batch.iter().enumerate() {
        let mut shelf = sending.queue.shelf();
        for (row, size) in sending.rows.iter().map(|row| row.body.len()).enumerate() {
            if !sending.rows.get(row).is_some_and(|row| row.delay.is_zero()) {
                continue;
            }
            let open = handed.iter_mut().rev().find(|handed| Arc::ptr_eq(&handed.queue, &sending.queue));
            if let Some(open) = open
                && open.rows.len() < open.waiter.wanted.max
                && open.bytes + size <= open.waiter.wanted.max_bytes
            {
                open.bytes += size;
                open.rows.push((job, row));
                continue;
            }
            let Some(waiter) = shelf.next_in_line() else { break };
            let visibility = waiter.wanted.visibility.unwrap_or(sending.queue.spec.visibility_timeout);
            let queue = Arc::clone(&sending.queue);
            handed.push(Handed { queue, waiter, visibility, bytes: size, rows: vec![(job, row)] });
        }
    }
    handed
}

async fn write(
    shared: &Shared,
    link: &mut Link,
    batch: &[Sending],
    handed: &[Handed],
) -> Result<(PrimitiveDateTime, Vec<i64>), sqlx::Error> {
    let mut rows: Vec<New<'_>> = Vec::new();
    let mut starts = Vec::with_capacity(batch.len());
    for job in batch {
        starts.push(rows.len());
        rows.extend(job.rows.iter().map(|row| New {
            queue: &job.queue.spec.name,
            event_type: &row.event_type,
            body: &row.body,
            message_id: &row.message_id,
            hidden: row.delay,
            received: false,
        }));
    }
    for (hand, (job, row)) in handed.iter().flat_map(|hand| hand.rows.iter().map(move |at| (hand, at))) {
        if let Some(new) = starts.get(*job).and_then(|start| rows.get_mut(start + row)) {
            new.received = true;
            new.hidden = hand.visibility;
        }
    }
    let mut tries = Tries::default();
    loop {
        match insert(link.get().await?, &rows).await {
            Err(error) if tries.again(&error, &shared.entropy).await => {}
            result => return result,
        }
    }
}

/// In one statement, or two in a transaction: see [`statement`] about lengths.
async fn insert(
    connection: &mut MySqlConnection,
    rows: &[New<'_>],
) -> Result<(PrimitiveDateTime, Vec<i64>), sqlx::Error> {
    let now = statement::now(connection).await?;
    let ids = |first: i64, rows: &[New<'_>]| (first..).take(rows.len()).collect::<Vec<i64>>();
    let even = if rows.len() <= 10 { rows.len() } else { rows.len() / 10 * 10 };
    let (some, rest) = rows.split_at(even);
    if rest.is_empty() {
        return Ok((now, ids(statement::insert(connection, now, some).await?, some)));
    }
    let mut transaction = connection.begin().await?;
    let mut all = ids(statement::insert(&mut transaction, now, some).await?, some);
    all.extend(ids(statement::insert(&mut transaction, now, rest).await?, rest));
    transaction.commit().await?;
    Ok((now, all))
}

/// After the commit: the shelves learn of the rows, receivers get theirs, senders their answer.
fn settle(batch: Vec<Sending>, handed: Vec<Handed>, ids: &[i64], now: PrimitiveDateTime) {
    // From now on, however long the statement waited.
    let begin = Instant::now();
    let sent_at = millis(now);
    let mut ids = ids.iter().copied();
    let mut jobs = Vec::with_capacity(batch.len());
    for Sending { queue, rows, answer } in batch {
        let rows: Vec<Option<(i64, Row)>> = rows.into_iter().map(|row| Some((ids.next()?, row))).collect();
        jobs.push((queue, rows, answer));
    }
    let mut parcels = Vec::with_capacity(handed.len());
    for Handed { queue, waiter, visibility, rows, .. } in handed {
        let mut messages = Vec::with_capacity(rows.len());
        let mut shelf = queue.shelf();
        for (job, row) in rows {
            let place = jobs.get_mut(job).and_then(|(_, rows, _)| rows.get_mut(row));
            let Some((id, row)) = place.and_then(Option::take) else { continue };
            let receipt = Receipt { id, generation: 1 };
            let (size, visible_at) = (row.body.len(), begin + visibility);
            shelf.stored(Found { receipt, size, visible_at, stored: None }, begin);
            messages.push(Message {
                message_id: row.message_id,
                receipt,
                body: row.body,
                receive_count: 1,
                sent_at,
                first_received_at: sent_at,
                source_queue: None,
            });
        }
        drop(shelf);
        parcels.push((queue, waiter, messages));
    }
    for (queue, rows, answer) in jobs {
        let mut shelf = queue.shelf();
        for (id, Row { body, message_id, delay, .. }) in rows.into_iter().flatten() {
            let (receipt, size, visible_at) = (Receipt { id, generation: 0 }, body.len(), begin + delay);
            let stored = Some(Stored { message_id, body, sent_at, first_received_at: None, source_queue: None });
            shelf.stored(Found { receipt, size, visible_at, stored }, begin);
        }
        drop(shelf);
        queue.wake.notify_one();
        // A caller who went away has sent all the same.
        let _ = answer.send(Ok(()));
    }
    for (queue, waiter, messages) in parcels {
        queue.deliver(waiter, messages);
    }
}

/// Milliseconds since 1970.
pub(super) fn millis(time: PrimitiveDateTime) -> i64 {
    i64::try_from(time.assume_utc().unix_timestamp_nanos() / 1_000_000).unwrap_or_default()
}
