//! Receiving: the oldest visible rows for those who wait, many receives in one UPDATE.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use sqlx::Connection;
use sqlx::mysql::MySqlConnection;
use sqlx::types::time::PrimitiveDateTime;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::lane::Link;
use super::retry::Tries;
use super::send::millis;
use super::shelf::{Claim, Found, Pick, Stored, Waiter};
use super::{MOST_IN_FLIGHT, PATIENCE, Queue, QueueError, Queues, Receipt, Shared, statement};

/// A pause after dead letters could not be moved.
const REST: Duration = Duration::from_millis(200);

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

/// Takes a waiter away when whoever waits is dropped.
struct Place<'a> {
    queue: &'a Queue,
    id: u64,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.queue.shelf().leave(self.id);
    }
}

impl Queues {
    /// Receives messages; returns as soon as there is one.
    ///
    /// # Errors
    /// When there is no such queue, too many messages are in flight, or the database is away.
    pub async fn receive(&self, queue: &str, wanted: Receive) -> Result<Vec<Message>, QueueError> {
        self.receive_until(queue, wanted, std::future::pending()).await
    }

    /// As [`Queues::receive`], but stops waiting when `stop` completes. Never stops between claiming and returning.
    ///
    /// # Errors
    /// When there is no such queue, too many messages are in flight, or the database is away.
    pub async fn receive_until(
        &self,
        queue: &str,
        wanted: Receive,
        stop: impl Future<Output = ()>,
    ) -> Result<Vec<Message>, QueueError> {
        let queue = self.queue(queue)?;
        let deadline = Instant::now() + wanted.wait;
        if wanted.wait.is_zero() && queue.shelf().in_flight() >= MOST_IN_FLIGHT {
            return Err(QueueError::OverLimit);
        }
        let (id, mut answered) = queue.shelf().wait(wanted);
        let place = Place { queue, id };
        queue.wake.notify_one();
        if !wanted.wait.is_zero() {
            tokio::select! {
                // First: a message that came together with the order to stop is left for others.
                biased;
                () = stop => {}
                answer = &mut answered => return answer.unwrap_or_else(|_| Err(QueueError::stopped())),
                () = sleep_until(deadline) => {}
            }
            if queue.shelf().leave(place.id) {
                return Ok(Vec::new());
            }
        }
        // Either it is not a matter of waiting, or the answer is on its way already.
        let answer = timeout(PATIENCE, answered).await.map_err(|_| QueueError::unread())?;
        answer.unwrap_or_else(|_| Err(QueueError::stopped()))
    }
}

impl Queue {
    /// Has rows read anew.
    pub(super) fn mistrust(&self, ids: &[i64]) {
        let mut shelf = self.shelf();
        ids.iter().for_each(|&id| shelf.mistrust(id));
        drop(shelf);
        self.look.notify_one();
    }

    /// Gives a waiter its messages. When it has gone away, they are visible again at once.
    pub(super) fn deliver(&self, waiter: Waiter, messages: Vec<Message>) {
        let now = Instant::now();
        if let Err(Ok(messages)) = waiter.answer(Ok(messages)) {
            let mut shelf = self.shelf();
            messages.iter().for_each(|message| shelf.hide(message.receipt, now, now));
            drop(shelf);
            self.wake.notify_one();
        }
    }
}

/// Serves a queue's receives until it is aborted.
pub(super) async fn run(shared: Arc<Shared>, queue: Arc<Queue>) {
    let mut link = Link::new(shared.pool.clone());
    let limit = queue.spec.redrive.as_ref().map_or(i64::MAX, |redrive| i64::from(redrive.max_receive_count));
    loop {
        let now = Instant::now();
        let claim = {
            let mut shelf = queue.shelf();
            if shelf.in_flight() < MOST_IN_FLIGHT { shelf.claim(now, limit) } else { Claim::default() }
        };
        if !claim.shares.is_empty() || !claim.dead.is_empty() {
            serve(&shared, &queue, &mut link, claim).await;
            continue;
        }
        let (leaving, next) = {
            let mut shelf = queue.shelf();
            if shelf.reads_from().is_some() {
                queue.look.notify_one();
            }
            (shelf.impatient(now), shelf.next_tick())
        };
        for waiter in leaving {
            queue.deliver(waiter, Vec::new());
        }
        let tick = async {
            match next {
                Some(next) if queue.shelf().is_awaited() => sleep_until(next).await,
                _ => std::future::pending().await,
            }
        };
        tokio::select! {
            () = queue.wake.notified() => {}
            () = tick => {}
        }
    }
}

/// Carries a claim out and answers those it is for.
async fn serve(shared: &Shared, queue: &Queue, link: &mut Link, claim: Claim) {
    if let Err(error) = bury(shared, queue, link, &claim.dead).await {
        link.failed(&error);
        tracing::warn!(queue = queue.spec.name, %error, "dead letters could not be moved");
        {
            let mut shelf = queue.shelf();
            claim.dead.iter().for_each(|&receipt| shelf.give_back(Pick { receipt, stored: None }));
        }
        sleep(REST).await;
    }
    if claim.shares.is_empty() {
        return;
    }
    match lease(shared, queue, link, &claim).await {
        Ok((now, read)) => settle(queue, claim, now, read),
        Err(error) => {
            link.failed(&error);
            let error = QueueError::from(&error);
            let mut shelf = queue.shelf();
            for (waiter, picks) in claim.shares {
                picks.into_iter().for_each(|pick| shelf.give_back(pick));
                let _ = waiter.answer(Err(error.clone()));
            }
        }
    }
}

/// Moves rows that were received too often.
async fn bury(shared: &Shared, queue: &Queue, link: &mut Link, dead: &[Receipt]) -> Result<(), sqlx::Error> {
    let Some(redrive) = queue.spec.redrive.as_ref().filter(|_| !dead.is_empty()) else { return Ok(()) };
    let ids: Vec<i64> = dead.iter().map(|receipt| receipt.id).collect();
    let reason = format!("received {} times and never deleted", redrive.max_receive_count);
    let names = (queue.spec.name.as_str(), redrive.target.as_str());
    let mut tries = Tries::default();
    let moved = loop {
        match statement::bury(link.get().await?, names, redrive.max_receive_count, &ids, &reason).await {
            Err(error) if tries.again(&error, &shared.entropy).await => {}
            result => break result?,
        }
    };
    // Not all of them were as believed; which, reading tells.
    let all = moved == ids.len() as u64;
    tracing::warn!(queue = queue.spec.name, target = redrive.target, messages = ids.len(), "dead letters");
    let now = Instant::now();
    let sizes: Vec<usize> = {
        let mut shelf = queue.shelf();
        ids.iter().map(|id| shelf.remove(*id)).collect()
    };
    if !all {
        queue.mistrust(&ids);
    }
    if let Some(target) = shared.queues.get(&redrive.target) {
        let mut shelf = target.shelf();
        for (receipt, size) in dead.iter().zip(sizes) {
            shelf.stored(Found { receipt: *receipt, size, visible_at: now, stored: None }, now);
        }
        drop(shelf);
        target.wake.notify_one();
        if !all {
            target.mistrust(&ids);
        }
    }
    Ok(())
}

/// What the rows of a claim hold that had to be read; nothing where a row was not as the shelf said.
type Read = HashMap<i64, Option<Stored>>;

async fn lease(
    shared: &Shared,
    queue: &Queue,
    link: &mut Link,
    claim: &Claim,
) -> Result<(PrimitiveDateTime, Read), sqlx::Error> {
    let visibility = claim.visibility().unwrap_or(queue.spec.visibility_timeout);
    let mut groups = BTreeMap::<i64, (Vec<i64>, Vec<i64>)>::new();
    for pick in claim.shares.iter().flat_map(|(_, picks)| picks) {
        let (ids, unread) = groups.entry(pick.receipt.generation).or_default();
        ids.push(pick.receipt.id);
        if pick.stored.is_none() {
            unread.push(pick.receipt.id);
        }
    }
    let mut tries = Tries::default();
    loop {
        let connection = link.get().await?;
        let result = if groups.len() == 1 {
            write(connection, queue, visibility, &groups).await
        } else {
            // All or none: what is done again must not have been done in part.
            let mut transaction = connection.begin().await?;
            match write(&mut transaction, queue, visibility, &groups).await {
                Ok(done) => transaction.commit().await.map(|()| done),
                error => error,
            }
        };
        match result {
            Err(error) if tries.again(&error, &shared.entropy).await => {}
            result => return result,
        }
    }
}

async fn write(
    connection: &mut MySqlConnection,
    queue: &Queue,
    visibility: Duration,
    groups: &BTreeMap<i64, (Vec<i64>, Vec<i64>)>,
) -> Result<(PrimitiveDateTime, Read), sqlx::Error> {
    let now = statement::now(connection).await?;
    let times = (now, now + visibility, now - queue.spec.retention);
    let mut read = Read::new();
    for (generation, (ids, unread)) in groups {
        let leased = statement::lease(connection, &queue.spec.name, *generation, ids, times).await?;
        // Not all are as the shelf says: what was leased is found out by reading.
        let unread = if leased == ids.len() as u64 { unread } else { ids };
        if !unread.is_empty() {
            let rows = statement::read_leased(connection, &queue.spec.name, unread, now).await?;
            read.extend(unread.iter().map(|id| (*id, None)));
            let ours = rows
                .into_iter()
                .filter(|(found, _)| *found == Receipt { id: found.id, generation: *generation }.next());
            read.extend(ours.map(|(receipt, stored)| (receipt.id, Some(stored))));
        }
    }
    Ok((now, read))
}

/// After the commit: the shelf learns of the leases, receivers get their messages.
fn settle(queue: &Queue, claim: Claim, now: PrimitiveDateTime, mut read: Read) {
    // From now on, however long the statement waited.
    let until = Instant::now() + claim.visibility().unwrap_or(queue.spec.visibility_timeout);
    let now = millis(now);
    let mut unserved = Vec::new();
    for (waiter, picks) in claim.shares {
        let mut messages = Vec::with_capacity(picks.len());
        let mut shelf = queue.shelf();
        for Pick { receipt, stored } in picks {
            let Some(stored) = read.remove(&receipt.id).unwrap_or(stored) else {
                shelf.mistrust(receipt.id);
                queue.look.notify_one();
                continue;
            };
            let receipt = receipt.next();
            shelf.lease(receipt, until);
            messages.push(Message {
                message_id: stored.message_id,
                receipt,
                body: stored.body,
                receive_count: receipt.generation,
                sent_at: stored.sent_at,
                first_received_at: stored.first_received_at.unwrap_or(now),
                source_queue: stored.source_queue,
            });
        }
        drop(shelf);
        if messages.is_empty() {
            unserved.push(waiter);
        } else {
            queue.deliver(waiter, messages);
        }
    }
    queue.shelf().wait_on(unserved.into_iter());
}
