//! The outbox: a change of state and its events are one DynamoDB transaction.
//!
//! Invariant: an event leaves the `outbox` table only after its queue accepted it. Whoever changed the state publishes
//! at once; `relay` publishes what a crash left behind. An event may therefore reach its queue twice, never zero times.

use std::time::Duration;

use aws_sdk_dynamodb::types::TransactWriteItem;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::Publisher;
use crate::clock::{Clock, sortable};
use crate::event::Envelope;
use crate::metric::{Metric, Metrics};
use crate::table::{Key, Table, TableError};

/// How long an event is left to the function that wrote it before relay takes it.
pub const PUBLISHER_HEAD_START: Duration = Duration::from_secs(10);

/// An event that its queue has not been seen to accept.
#[derive(Debug, Serialize, Deserialize)]
pub struct OutboxItem {
    /// The event's id.
    pub id: String,
    /// When it was written: RFC 3339, sortable.
    pub created_at: String,
    /// The envelope.
    pub event: Envelope,
}

impl OutboxItem {
    /// Seconds since it was written.
    fn age_at(&self, now: OffsetDateTime) -> Option<u64> {
        let written = OffsetDateTime::parse(&self.created_at, &Rfc3339).ok()?;
        u64::try_from((now - written).whole_seconds()).ok()
    }
}

/// The `outbox` table and the queues behind it.
#[derive(Clone)]
pub struct Outbox {
    table: Table,
    publisher: Publisher,
    clock: Clock,
}

impl Outbox {
    /// An outbox over its table.
    pub fn new(table: Table, publisher: Publisher, clock: Clock) -> Self {
        Self { table, publisher, clock }
    }

    /// The writes to put into the transaction that changes the state.
    ///
    /// # Errors
    /// When an event cannot be written as an item.
    pub fn writes(&self, events: &[Envelope]) -> Result<Vec<TransactWriteItem>, TableError> {
        let created_at = sortable(self.clock.now());
        let write = |event: &Envelope| {
            let item = OutboxItem { id: event.id.clone(), created_at: created_at.clone(), event: event.clone() };
            self.table.put(&Key::single("id", &event.id), &item)
        };
        events.iter().map(write).collect()
    }

    /// Publishes events whose transaction has committed. A failure is not the caller's: the events are safe in the
    /// table, and relay takes them.
    pub async fn flush(&self, events: &[Envelope]) {
        if let Err(error) = self.publisher.publish(events).await {
            tracing::warn!(%error, "event left to relay");
            return;
        }
        for event in events {
            if let Err(error) = self.table.remove(&Key::single("id", &event.id)).await {
                tracing::warn!(%error, "published event left in the outbox");
            }
        }
    }

    /// Publishes and removes everything older than [`PUBLISHER_HEAD_START`] at `now`; returns how many. What it finds
    /// it measures first, so that a queue that stays away is seen.
    ///
    /// # Errors
    /// When the table or a queue cannot be reached; what was published stays published.
    pub async fn relay_at(&self, now: OffsetDateTime, metrics: &Metrics) -> Result<usize, RelayError> {
        let before = sortable(now - PUBLISHER_HEAD_START);
        let mut published = 0;
        let mut start = None;
        loop {
            let page = self.table.scan_page::<OutboxItem>(start).await?;
            let due: Vec<OutboxItem> = page.items.into_iter().filter(|item| item.created_at < before).collect();
            if let Some(age) = due.iter().filter_map(|item| item.age_at(now)).max() {
                metrics.put(Metric::OutboxAge, &[age]);
            }
            let events: Vec<Envelope> = due.into_iter().map(|item| item.event).collect();
            self.publisher.publish(&events).await?;
            for event in &events {
                self.table.remove(&Key::single("id", &event.id)).await?;
            }
            published += events.len();
            match page.next {
                Some(next) => start = Some(next),
                None => return Ok(published),
            }
        }
    }
}

/// The outbox could not be emptied; the next run goes on.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// The table failed.
    #[error(transparent)]
    Table(#[from] TableError),
    /// A queue failed.
    #[error(transparent)]
    Publish(#[from] super::PublishError),
}
