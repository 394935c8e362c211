//! Emptying: purges, and what time takes away.

use std::collections::VecDeque;
use std::sync::PoisonError;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::lane::Link;
use super::retry::Tries;
use super::statement::{self, MOST_IDS, Only};
use super::{Queue, QueueError, Queues};

const PURGE_PAUSE: Duration = Duration::from_secs(60);
/// Between two looks at what was deleted, and at what is past its retention.
const SWEEP: Duration = Duration::from_millis(500);
const EXPIRY: Duration = Duration::from_secs(60);

/// How long deleted messages stay in the table for people to read, and how many of them.
#[derive(Clone, Copy, Debug)]
pub struct Keep {
    /// How long.
    pub time: Duration,
    /// The most rows. The older half of them goes first; what is deleted while there is no room is gone at once.
    pub rows: usize,
}

impl Default for Keep {
    /// An hour, and no more than 10,000: a laptop's disk is not an archive.
    fn default() -> Self {
        Self { time: Duration::from_secs(3600), rows: 10_000 }
    }
}

/// Deleted messages that are kept, oldest first. Those that an earlier process deleted count as new.
pub(super) struct History {
    keep: Keep,
    done: VecDeque<(Instant, Vec<i64>)>,
    rows: usize,
}

impl History {
    pub fn new(keep: Keep) -> Self {
        Self { keep, done: VecDeque::new(), rows: 0 }
    }

    /// Whether so many more can be kept.
    pub fn has_room(&self, more: usize) -> bool {
        self.rows + more <= self.keep.rows
    }

    /// Messages were deleted and are kept.
    pub fn add(&mut self, ids: Vec<i64>) {
        if !ids.is_empty() {
            self.rows += ids.len();
            self.done.push_back((Instant::now(), ids));
        }
    }

    /// Those that have been kept long enough, some at a time.
    fn old(&mut self) -> Vec<i64> {
        let mut old = Vec::new();
        while let Some((at, ids)) = self.done.front()
            && (at.elapsed() >= self.keep.time || self.rows > self.keep.rows / 2)
            && (old.is_empty() || old.len() + ids.len() <= MOST_IDS)
        {
            self.rows -= ids.len();
            old.extend(self.done.pop_front().into_iter().flat_map(|(_, ids)| ids));
        }
        old
    }
}

impl Queues {
    /// Removes every message of the queue, in flight and delayed ones too.
    ///
    /// # Errors
    /// When the queue was purged less than 60 seconds ago, does not exist, or the database is away.
    pub async fn purge(&self, queue: &str) -> Result<(), QueueError> {
        let queue = self.queue(queue)?;
        let begin = {
            let mut purged = queue.purged.lock().unwrap_or_else(PoisonError::into_inner);
            if purged.is_some_and(|at| at.elapsed() < PURGE_PAUSE) {
                return Err(QueueError::PurgeInProgress(queue.spec.name.clone()));
            }
            purged.replace(Instant::now())
        };
        let result = self.purge_now(queue).await;
        if result.is_err() {
            *queue.purged.lock().unwrap_or_else(PoisonError::into_inner) = begin;
        }
        result
    }

    /// Everything that was stored before now.
    async fn purge_now(&self, queue: &Queue) -> Result<(), QueueError> {
        let mut link = Link::new(self.0.shared.pool.clone());
        let last = statement::last_id(link.get().await?).await?;
        let mut at = 0;
        loop {
            let ids = statement::live_ids(link.get().await?, &queue.spec.name, at, last, MOST_IDS).await?;
            let Some(&end) = ids.last() else { return Ok(()) };
            self.remove(&mut link, Only::Live(&queue.spec.name), &ids).await?;
            let mut shelf = queue.shelf();
            for id in &ids {
                shelf.remove(*id);
            }
            at = end;
        }
    }

    /// Removes deleted messages that were kept long enough, and messages past their queue's retention. Returns how many.
    ///
    /// # Errors
    /// When the database is away; what is left is removed the next time.
    pub async fn clean(&self) -> Result<u64, QueueError> {
        let mut link = Link::new(self.0.shared.pool.clone());
        let mut removed = self.forget(&mut link).await?;
        for queue in self.0.shared.queues.values() {
            removed += self.expire(&mut link, queue).await?;
        }
        Ok(removed)
    }

    /// Deleted messages that were kept long enough.
    async fn forget(&self, link: &mut Link) -> Result<u64, QueueError> {
        let mut removed = 0;
        loop {
            let old = self.0.shared.history().old();
            if old.is_empty() {
                return Ok(removed);
            }
            match self.remove(link, Only::Done, &old).await {
                Ok(rows) => removed += rows,
                Err(error) => {
                    self.0.shared.history().add(old);
                    return Err(error);
                }
            }
        }
    }

    /// Messages older than the queue keeps them, in flight or not. They are the first: one look finds none as a rule.
    async fn expire(&self, link: &mut Link, queue: &Queue) -> Result<u64, QueueError> {
        let mut removed = 0;
        loop {
            let oldest = queue.shelf().oldest(MOST_IDS);
            if oldest.is_empty() {
                return Ok(removed);
            }
            let retention = queue.spec.retention.as_secs();
            let expired = statement::which_are_expired(link.get().await?, &oldest, retention).await?;
            if expired.is_empty() {
                return Ok(removed);
            }
            removed += self.remove(link, Only::Expired(&queue.spec.name, retention), &expired).await?;
            let mut shelf = queue.shelf();
            for id in &expired {
                shelf.remove(*id);
            }
        }
    }

    async fn remove(&self, link: &mut Link, only: Only<'_>, ids: &[i64]) -> Result<u64, QueueError> {
        let mut ids = ids.to_vec();
        // In one order, as every statement: two of them never wait for each other.
        ids.sort_unstable();
        let mut removed = 0;
        for some in ids.chunks(MOST_IDS) {
            let mut tries = Tries::default();
            loop {
                match statement::remove(link.get().await?, only, some).await {
                    Err(error) if tries.again(&error, &self.0.shared.entropy).await => {}
                    Err(error) => {
                        link.failed(&error);
                        return Err(error.into());
                    }
                    Ok(rows) => {
                        removed += rows;
                        break;
                    }
                }
            }
        }
        Ok(removed)
    }

    /// Keeps the table clean until `shutdown` turns true.
    pub async fn keep_clean(self, mut shutdown: watch::Receiver<bool>) {
        let mut link = Link::new(self.0.shared.pool.clone());
        let mut ticks = interval(SWEEP);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut expiry = Instant::now();
        loop {
            tokio::select! {
                _ = shutdown.wait_for(|stop| *stop) => return,
                _ = ticks.tick() => {}
            }
            let done = if expiry <= Instant::now() {
                expiry += EXPIRY;
                self.clean().await
            } else {
                self.forget(&mut link).await
            };
            match done {
                Ok(0) => {}
                Ok(removed) => tracing::debug!(removed, "old messages removed"),
                Err(error) => tracing::warn!(%error, "old messages could not be removed"),
            }
        }
    }
}
