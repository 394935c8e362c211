//! SQS standard queues on the MySQL table `message_queue`.
//!
//! What a message may look like and how it behaves follows the SQS developer guide ("Amazon SQS message quotas",
//! "visibility timeout", "dead-letter queues"). A receive leases rows in one short transaction and commits before anyone
//! works on them. All times are the database's.

mod body;
mod claim;
mod clean;
mod error;
mod receipt;
mod retry;
mod send;
mod settle;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use echo_shared::entropy::Entropy;
use sqlx::mysql::MySqlPool;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::spec::QueueSpec;
use crate::template::{ACCOUNT, REGION};

pub use body::{md5_hex, refusal};
pub use claim::{Message, Receive};
pub use error::{QueueError, Refused};
pub use receipt::Receipt;
pub use send::{Outgoing, Sent};

/// The longest visibility timeout, counted from the receive.
pub const MAX_VISIBILITY: Duration = Duration::from_secs(43_200);
/// How long deleted messages stay in the table for people to read.
pub const HISTORY: Duration = Duration::from_secs(3600);

/// All queues of a stack. Cheap to clone.
#[derive(Clone)]
pub struct Queues(Arc<Inner>);

struct Inner {
    pool: MySqlPool,
    entropy: Entropy,
    history: Duration,
    queues: BTreeMap<String, Queue>,
}

struct Queue {
    spec: QueueSpec,
    /// Told of everything in this process that makes a message visible.
    wake: Notify,
    /// Held by the one receive that polls; the others wait behind it, so idling costs the same for one as for many.
    turn: tokio::sync::Mutex<()>,
    purged: Mutex<Option<Instant>>,
}

/// How many messages a queue holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Ready to be received.
    pub visible: u64,
    /// Received and hidden.
    pub in_flight: u64,
    /// Sent and not yet due.
    pub delayed: u64,
}

impl Queues {
    /// The queues that `specs` describe, kept in `pool`'s schema. Deleted messages stay readable for an hour.
    pub fn new(pool: MySqlPool, specs: Vec<QueueSpec>) -> Self {
        Self::with_history(pool, specs, HISTORY)
    }

    /// As [`Queues::new`], keeping deleted messages for `history`.
    pub fn with_history(pool: MySqlPool, specs: Vec<QueueSpec>, history: Duration) -> Self {
        let names: BTreeSet<String> = specs.iter().map(|spec| spec.name.clone()).collect();
        let queue = |mut spec: QueueSpec| {
            // A message must not move to where nobody can see it.
            if let Some(lost) = spec.redrive.take_if(|redrive| !names.contains(&redrive.target)) {
                tracing::error!(queue = spec.name, target = lost.target, "no such dead-letter queue: no redrive");
            }
            let (wake, turn, purged) = Default::default();
            (spec.name.clone(), Queue { spec, wake, turn, purged })
        };
        let queues = specs.into_iter().map(queue).collect();
        Self(Arc::new(Inner { pool, entropy: Entropy::system(), history, queues }))
    }

    /// The queues' names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.queues.keys().map(String::as_str)
    }

    /// How the queue is configured.
    ///
    /// # Errors
    /// When there is no such queue.
    pub fn spec(&self, queue: &str) -> Result<&QueueSpec, QueueError> {
        Ok(&self.queue(queue)?.spec)
    }

    /// How many messages the queue holds now.
    ///
    /// # Errors
    /// When there is no such queue, or the database is away.
    pub async fn counts(&self, queue: &str) -> Result<Counts, QueueError> {
        let retention = self.queue(queue)?.spec.retention.as_secs();
        let sql = "SELECT CAST(COALESCE(SUM(visible_at <= NOW(6)), 0) AS SIGNED), \
                   CAST(COALESCE(SUM(visible_at > NOW(6) AND status <> 'NEW'), 0) AS SIGNED), \
                   CAST(COALESCE(SUM(visible_at > NOW(6) AND status = 'NEW'), 0) AS SIGNED) \
                   FROM message_queue WHERE queue = ? AND visible_at IS NOT NULL \
                   AND created_at > NOW(6) - INTERVAL ? SECOND";
        let counts = sqlx::query_as(sql).bind(queue).bind(retention).fetch_one(&self.0.pool).await?;
        let (visible, in_flight, delayed): (i64, i64, i64) = counts;
        let count = |number: i64| u64::try_from(number).unwrap_or_default();
        Ok(Counts { visible: count(visible), in_flight: count(in_flight), delayed: count(delayed) })
    }

    fn queue(&self, name: &str) -> Result<&Queue, QueueError> {
        self.0.queues.get(name).ok_or_else(|| QueueError::NoSuchQueue(name.to_owned()))
    }
}

/// The ARN that events and attributes give a local queue.
pub fn arn(queue: &str) -> String {
    format!("arn:aws:sqs:{REGION}:{ACCOUNT}:{queue}")
}
