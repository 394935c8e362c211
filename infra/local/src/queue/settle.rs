//! What happens to received messages: deleted, hidden for longer, noted as failed.
//!
//! Every statement finds its rows by primary key, in ascending order: no two of them can wait for each other in a circle.

use std::time::Duration;

use sqlx::{MySql, QueryBuilder};

use super::{MAX_VISIBILITY, QueueError, Queues, Receipt};

/// Rows in one statement.
const CHUNK: usize = 500;
/// The column's width, in characters.
const LONGEST_REASON: usize = 1000;

impl Queues {
    /// Deletes messages, unless they were received again since. Returns how many were deleted.
    ///
    /// An expired receipt still deletes its message as long as nobody else received it; a stale one does nothing.
    ///
    /// # Errors
    /// When there is no such queue, or the database is away; deleting again is safe.
    pub async fn delete(&self, queue: &str, receipts: &[Receipt]) -> Result<u64, QueueError> {
        self.update(queue, receipts, |query| {
            query.push("status = 'DONE', visible_at = NULL, updated_at = NOW(6)");
        })
        .await
    }

    /// Notes why messages could not be handled, for people who read the table. The messages stay as they are.
    ///
    /// # Errors
    /// When there is no such queue, or the database is away.
    pub async fn note_failure(&self, queue: &str, receipts: &[Receipt], reason: &str) -> Result<u64, QueueError> {
        let reason: String = reason.chars().take(LONGEST_REASON).collect();
        self.update(queue, receipts, |query| {
            query.push("last_error = ").push_bind(reason.clone()).push(", updated_at = NOW(6)");
        })
        .await
    }

    /// Hides messages for `timeout` from now, unless they were received again since. Returns how many were hidden.
    ///
    /// # Errors
    /// When there is no such queue, or the database is away.
    pub async fn hide(&self, queue: &str, receipts: &[Receipt], timeout: Duration) -> Result<u64, QueueError> {
        let changed = self.update(queue, receipts, |query| {
            query.push("visible_at = NOW(6) + INTERVAL ").push_bind(timeout.as_secs()).push(" SECOND");
            query.push(", updated_at = NOW(6)");
        });
        let changed = changed.await?;
        if timeout.is_zero() {
            self.queue(queue)?.wake.notify_one();
        }
        Ok(changed)
    }

    /// Changes how long one message is hidden, counted from now, as SQS's ChangeMessageVisibility does: zero shows it at
    /// once, and 12 hours after the receive is the most.
    ///
    /// # Errors
    /// When the message is gone or was received again since, the total is too long, or the database is away.
    pub async fn change_visibility(&self, queue: &str, receipt: Receipt, timeout: Duration) -> Result<(), QueueError> {
        self.queue(queue)?;
        let sql = "SELECT CAST(NOW(6) + INTERVAL ? SECOND > received_at + INTERVAL ? SECOND AS SIGNED) \
                   FROM message_queue WHERE id = ? AND queue = ? AND receive_count = ? AND visible_at IS NOT NULL";
        // A second of grace: the longest timeout, asked for right after the receive, is meant to be granted.
        let longest = MAX_VISIBILITY.as_secs() + 1;
        let query = sqlx::query_scalar(sql).bind(timeout.as_secs()).bind(longest);
        let query = query.bind(receipt.id).bind(queue).bind(receipt.generation);
        match query.fetch_optional(&self.0.pool).await? {
            None => Err(QueueError::NotAvailable),
            Some(1_i64) => Err(QueueError::TooLong),
            Some(_) if self.hide(queue, &[receipt], timeout).await? == 0 => Err(QueueError::NotAvailable),
            Some(_) => Ok(()),
        }
    }

    async fn update(
        &self,
        queue: &str,
        receipts: &[Receipt],
        set: impl Fn(&mut QueryBuilder<MySql>),
    ) -> Result<u64, QueueError> {
        self.queue(queue)?;
        let mut receipts = receipts.to_vec();
        receipts.sort_unstable();
        receipts.dedup();
        let mut changed = 0;
        for some in receipts.chunks(CHUNK) {
            let statement = || {
                let mut query = QueryBuilder::new("UPDATE message_queue FORCE INDEX (PRIMARY) SET ");
                set(&mut query);
                current(&mut query, queue, some);
                async move { query.build().execute(&self.0.pool).await }
            };
            changed += self.retrying(statement).await?.rows_affected();
        }
        Ok(changed)
    }
}

/// Those of `receipts` that are the newest receive of a message that is still in `queue`.
fn current(query: &mut QueryBuilder<MySql>, queue: &str, receipts: &[Receipt]) {
    query.push(" WHERE queue = ").push_bind(queue.to_owned()).push(" AND visible_at IS NOT NULL AND (");
    let mut any = query.separated(" OR ");
    for receipt in receipts {
        any.push("(id = ").push_bind_unseparated(receipt.id);
        any.push_unseparated(" AND receive_count = ").push_bind_unseparated(receipt.generation).push_unseparated(")");
    }
    query.push(")");
}
