//! Emptying: purges, and what time takes away.

use std::sync::PoisonError;
use std::time::Duration;

use sqlx::{MySql, QueryBuilder};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::{Queue, QueueError, Queues};

/// Rows deleted in one statement: claims never wait long for a cleaner.
const CHUNK: u32 = 500;
const PURGE_PAUSE: Duration = Duration::from_secs(60);

/// Deleted messages, oldest first, and whether each has been kept long enough.
const DONE: &str = "SELECT id, CAST(updated_at < NOW(6) - INTERVAL ? SECOND AS SIGNED) FROM message_queue \
    FORCE INDEX (message_queue_claim) WHERE queue = ? AND visible_at IS NULL ORDER BY id LIMIT ?";
/// Messages older than the queue keeps them, in flight or not.
const EXPIRED: &str = "SELECT id, CAST(1 AS SIGNED) FROM message_queue FORCE INDEX (message_queue_claim) \
    WHERE created_at <= NOW(6) - INTERVAL ? SECOND AND queue = ? AND visible_at IS NOT NULL LIMIT ?";
/// Everything that is not deleted yet and was there when the purge began.
const ALL: &str = "SELECT id, CAST(1 AS SIGNED) FROM message_queue FORCE INDEX (message_queue_claim) \
    WHERE id <= ? AND queue = ? AND visible_at IS NOT NULL LIMIT ?";

impl Queues {
    /// Removes every message of the queue, in flight and delayed ones too.
    ///
    /// # Errors
    /// When the queue was purged less than 60 seconds ago, does not exist, or the database is away.
    pub async fn purge(&self, queue: &str) -> Result<(), QueueError> {
        let state = self.queue(queue)?;
        let last = "SELECT CAST(COALESCE(MAX(id), 0) AS SIGNED) FROM message_queue";
        let last: i64 = sqlx::query_scalar(last).fetch_one(&self.0.pool).await?;
        {
            let mut purged = state.purged.lock().unwrap_or_else(PoisonError::into_inner);
            if purged.is_some_and(|at| at.elapsed() < PURGE_PAUSE) {
                return Err(QueueError::PurgeInProgress);
            }
            *purged = Some(Instant::now());
        }
        self.sweep(state, ALL, u64::try_from(last).unwrap_or_default()).await?;
        Ok(())
    }

    /// Removes deleted messages that were kept long enough, and messages past their queue's retention. Returns how many.
    ///
    /// # Errors
    /// When the database is away; what is left is removed the next time.
    pub async fn clean(&self) -> Result<u64, QueueError> {
        let mut removed = 0;
        for queue in self.0.queues.values() {
            removed += self.sweep(queue, DONE, self.0.history.as_secs()).await?;
            removed += self.sweep(queue, EXPIRED, queue.spec.retention.as_secs()).await?;
        }
        Ok(removed)
    }

    /// Runs [`Queues::clean`] every minute until `shutdown` turns true.
    pub async fn keep_clean(self, mut shutdown: watch::Receiver<bool>) {
        let mut ticks = interval(Duration::from_secs(60));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                _ = shutdown.wait_for(|stop| *stop) => return,
                _ = ticks.tick() => {}
            }
            match self.clean().await {
                Ok(0) => {}
                Ok(removed) => tracing::debug!(removed, "old messages removed"),
                Err(error) => tracing::warn!(%error, "old messages could not be removed"),
            }
        }
    }

    /// Removes the rows that `select` marks, in small statements by primary key, until it marks none.
    async fn sweep(&self, queue: &Queue, select: &'static str, limit: u64) -> Result<u64, QueueError> {
        let mut removed = 0;
        loop {
            let rows = sqlx::query_as(select).bind(limit).bind(&queue.spec.name).bind(CHUNK);
            let rows: Vec<(i64, i64)> = rows.fetch_all(&self.0.pool).await?;
            let mut ids: Vec<i64> = rows.into_iter().filter(|(_, old)| *old == 1).map(|(id, _)| id).collect();
            if ids.is_empty() {
                return Ok(removed);
            }
            ids.sort_unstable();
            let ids = &ids;
            let result = self.retrying(|| async move { remove(ids).build().execute(&self.0.pool).await }).await?;
            removed += result.rows_affected();
        }
    }
}

fn remove(ids: &[i64]) -> QueryBuilder<MySql> {
    let mut query = QueryBuilder::new("DELETE FROM message_queue WHERE id IN (");
    let mut list = query.separated(", ");
    for id in ids {
        list.push_bind(*id);
    }
    query.push(")");
    query
}
