//! SQS standard queues on the MySQL table `message_queue`.
//!
//! What a message may look like and how it behaves follows the SQS developer guide ("Amazon SQS message quotas",
//! "visibility timeout", "dead-letter queues"). The table is the truth, and every answer waits for its commit. What makes
//! it fast: callers share statements ([`lane`]), this process knows the visible rows without searching ([`shelf`]), and
//! a message for which a receive waits is stored as received ([`send`]).
//!
//! [`send`], [`claim`], [`delete`] and [`settle`] are what callers ask for; [`keep`] and [`clean`] run by themselves;
//! [`statement`] is the SQL.

mod body;
mod claim;
mod clean;
mod delete;
mod error;
mod keep;
mod lane;
mod receipt;
mod retry;
mod send;
mod settle;
mod shelf;
mod statement;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use echo_shared::entropy::Entropy;
use sqlx::mysql::MySqlPool;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use crate::spec::QueueSpec;
use crate::template::{ACCOUNT, REGION};

use clean::History;
use shelf::Shelf;

pub use body::{md5_hex, refusal};
pub use claim::{Message, Receive};
pub use clean::Keep;
pub use error::{QueueError, Refused};
pub use receipt::Receipt;
pub use send::{Outgoing, Sent};

/// The longest visibility timeout, counted from the receive.
pub const MAX_VISIBILITY: Duration = Duration::from_secs(43_200);
/// Messages that may be in flight in one queue (SQS's quota for standard queues).
pub const MOST_IN_FLIGHT: usize = 120_000;
/// How long an answer may wait for the first look at the table.
const PATIENCE: Duration = Duration::from_secs(5);

/// All queues of a stack. Cheap to clone; what works for them ends with the last clone.
#[derive(Clone)]
pub struct Queues(Arc<Inner>);

struct Inner {
    shared: Arc<Shared>,
    sends: mpsc::UnboundedSender<send::Sending>,
    deletes: mpsc::UnboundedSender<delete::Deletion>,
    // Aborted when dropped.
    _tasks: JoinSet<()>,
}

/// What the tasks share.
struct Shared {
    pool: MySqlPool,
    entropy: Entropy,
    queues: BTreeMap<String, Arc<Queue>>,
    history: Mutex<History>,
}

struct Queue {
    spec: QueueSpec,
    shelf: Mutex<Shelf>,
    /// Tells [`claim`] that something may be had, or that someone waits.
    wake: Notify,
    /// Tells [`keep`] that there is room, or something to read.
    look: Notify,
    /// Told when the table has been looked at.
    looked: Notify,
    purged: Mutex<Option<Instant>>,
}

impl Queue {
    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }
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
    /// The queues that `specs` describe, kept in `pool`'s schema. Call it within a Tokio runtime.
    pub fn new(pool: MySqlPool, specs: Vec<QueueSpec>) -> Self {
        Self::with_history(pool, specs, Keep::default())
    }

    /// As [`Queues::new`], keeping deleted messages as `keep` says.
    pub fn with_history(pool: MySqlPool, specs: Vec<QueueSpec>, keep: Keep) -> Self {
        let names: BTreeSet<String> = specs.iter().map(|spec| spec.name.clone()).collect();
        let queue = |mut spec: QueueSpec| {
            // A message must not move to where nobody can see it.
            if let Some(lost) = spec.redrive.take_if(|redrive| !names.contains(&redrive.target)) {
                tracing::error!(queue = spec.name, target = lost.target, "no such dead-letter queue: no redrive");
            }
            let (shelf, wake, look, looked, purged) = Default::default();
            (spec.name.clone(), Arc::new(Queue { spec, shelf, wake, look, looked, purged }))
        };
        let queues = specs.into_iter().map(queue).collect();
        let history = Mutex::new(History::new(keep));
        let shared = Arc::new(Shared { pool, entropy: Entropy::system(), queues, history });
        let (sends, sent) = mpsc::unbounded_channel();
        let (deletes, deleted) = mpsc::unbounded_channel();
        let mut tasks = JoinSet::new();
        tasks.spawn(send::run(Arc::clone(&shared), sent));
        tasks.spawn(delete::run(Arc::clone(&shared), deleted));
        for queue in shared.queues.values() {
            tasks.spawn(claim::run(Arc::clone(&shared), Arc::clone(queue)));
            tasks.spawn(keep::run(Arc::clone(&shared), Arc::clone(queue)));
        }
        Self(Arc::new(Inner { shared, sends, deletes, _tasks: tasks }))
    }

    /// The queues' names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.shared.queues.keys().map(String::as_str)
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
        let queue = self.queue(queue)?;
        let deadline = Instant::now() + PATIENCE;
        let (visible, in_flight, delayed, unread) = loop {
            let looked = queue.looked.notified();
            if let Some(counts) = queue.shelf().counts() {
                break counts;
            }
            timeout_at(deadline, looked).await.map_err(|_| QueueError::unread())?;
        };
        let mut counts = Counts { visible: visible as u64, in_flight: in_flight as u64, delayed: delayed as u64 };
        if let Some(cursor) = unread {
            let mut connection = self.0.shared.pool.acquire().await?;
            let rest = statement::count(&mut connection, &queue.spec.name, cursor).await?;
            counts.visible += u64::try_from(rest).unwrap_or_default();
        }
        Ok(counts)
    }

    /// How long ago the queue's oldest message was sent; nothing when there is none.
    ///
    /// # Errors
    /// When there is no such queue, or the database is away.
    pub async fn oldest_age(&self, queue: &str) -> Result<Option<Duration>, QueueError> {
        let oldest = self.queue(queue)?.shelf().oldest(1);
        let Some(&id) = oldest.first() else { return Ok(None) };
        let mut connection = self.0.shared.pool.acquire().await?;
        Ok(statement::age(&mut connection, id).await?)
    }

    fn queue(&self, name: &str) -> Result<&Arc<Queue>, QueueError> {
        self.0.shared.queues.get(name).ok_or_else(|| QueueError::NoSuchQueue(name.to_owned()))
    }
}

/// The ARN that events and attributes give a local queue.
pub fn arn(queue: &str) -> String {
    format!("arn:aws:sqs:{REGION}:{ACCOUNT}:{queue}")
}
