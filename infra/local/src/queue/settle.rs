//! What happens to received messages other than their deletion: hidden for longer, shown again, noted as failed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::retry::Tries;
use super::statement::{self, MOST_IDS};
use super::{MAX_VISIBILITY, Queue, QueueError, Queues, Receipt};

/// The column's width, in characters.
const LONGEST_REASON: usize = 1000;

impl Queues {
    /// Notes why messages could not be handled, for people who read the table. The messages stay as they are.
    ///
    /// # Errors
    /// When there is no such queue, or the database is away.
    pub async fn note_failure(&self, queue: &str, receipts: &[Receipt], reason: &str) -> Result<u64, QueueError> {
        let reason: String = reason.chars().take(LONGEST_REASON).collect();
        self.change(self.queue(queue)?, receipts, &Change::Note(reason)).await
    }

    /// Hides messages for `timeout` from now, unless they were received again since. Returns how many were hidden.
    ///
    /// # Errors
    /// When there is no such queue, or the database is away.
    pub async fn hide(&self, queue: &str, receipts: &[Receipt], timeout: Duration) -> Result<u64, QueueError> {
        let queue = self.queue(queue)?;
        let on_the_shelf = || {
            let (mut shelf, now) = (queue.shelf(), Instant::now());
            receipts.iter().for_each(|receipt| shelf.hide(*receipt, now + timeout, now));
        };
        // Hidden before the statement, and shown after it: nobody may be given the message in between.
        if !timeout.is_zero() {
            on_the_shelf();
        }
        let hidden = self.change(queue, receipts, &Change::Hide(timeout)).await;
        if timeout.is_zero() && hidden.is_ok() {
            on_the_shelf();
        }
        if !hidden.as_ref().is_ok_and(|hidden| *hidden == receipts.len() as u64) {
            let current = |receipt: &&Receipt| queue.shelf().is_current(**receipt) == Some(true);
            let ids: Vec<i64> = receipts.iter().filter(current).map(|receipt| receipt.id).collect();
            queue.mistrust(&ids);
        }
        queue.wake.notify_one();
        hidden
    }

    /// Changes how long one message is hidden, counted from now, as SQS's ChangeMessageVisibility does: zero shows it at
    /// once, and 12 hours after the receive is the most.
    ///
    /// # Errors
    /// When the message is gone or was received again since, the total is too long, or the database is away.
    pub async fn change_visibility(&self, queue: &str, receipt: Receipt, timeout: Duration) -> Result<(), QueueError> {
        self.queue(queue)?;
        // A second of grace: the longest timeout, asked for right after the receive, is meant to be granted.
        let times = (timeout.as_secs(), MAX_VISIBILITY.as_secs() + 1);
        let mut connection = self.0.shared.pool.acquire().await?;
        let too_long = statement::is_too_long(&mut connection, queue, receipt, times).await?;
        // Back to the pool first: the next statement takes one from there.
        drop(connection);
        match too_long {
            None => Err(QueueError::NotAvailable),
            Some(true) => Err(QueueError::TooLong),
            Some(false) if self.hide(queue, &[receipt], timeout).await? == 0 => Err(QueueError::NotAvailable),
            Some(false) => Ok(()),
        }
    }

    async fn change(&self, queue: &Arc<Queue>, receipts: &[Receipt], change: &Change) -> Result<u64, QueueError> {
        let mut groups = BTreeMap::<i64, Vec<i64>>::new();
        for receipt in receipts {
            groups.entry(receipt.generation).or_default().push(receipt.id);
        }
        let mut connection = self.0.shared.pool.acquire().await?;
        let mut changed = 0;
        for (generation, mut ids) in groups {
            // In one order, as every statement: two of them never wait for each other.
            ids.sort_unstable();
            ids.dedup();
            for some in ids.chunks(MOST_IDS) {
                let mut tries = Tries::default();
                changed += loop {
                    let (name, which) = (&queue.spec.name, (generation, some));
                    let result = match change {
                        Change::Note(reason) => statement::note(&mut connection, name, which, reason).await,
                        Change::Hide(timeout) => statement::hide(&mut connection, name, which, timeout.as_secs()).await,
                    };
                    match result {
                        Err(error) if tries.again(&error, &self.0.shared.entropy).await => {}
                        result => break result?,
                    }
                };
            }
        }
        Ok(changed)
    }
}

enum Change {
    Note(String),
    Hide(Duration),
}
