//! Deleting: the receipts of many callers in one UPDATE.

use std::collections::BTreeMap;
use std::sync::Arc;

use sqlx::Connection;
use sqlx::mysql::MySqlConnection;
use tokio::sync::{mpsc, oneshot};

use super::lane::{self, Link};
use super::retry::Tries;
use super::statement::{self, MOST_IDS};
use super::{MOST_IN_FLIGHT, Queue, QueueError, Queues, Receipt, Shared};

/// A caller's receipts.
pub(super) struct Deletion {
    queue: Arc<Queue>,
    receipts: Vec<Receipt>,
    answer: oneshot::Sender<Result<u64, QueueError>>,
}

impl Deletion {
    /// The rows that are on the shelf under these receipts.
    fn known(&self) -> Vec<i64> {
        let shelf = self.queue.shelf();
        let current = self.receipts.iter().filter(|receipt| shelf.is_current(**receipt) == Some(true));
        current.map(|receipt| receipt.id).collect()
    }
}

impl Queues {
    /// Deletes messages, unless they were received again since. Returns how many were deleted.
    ///
    /// An expired receipt still deletes its message as long as nobody else received it; a stale one does nothing.
    ///
    /// # Errors
    /// When there is no such queue, or the database is away; deleting again is safe.
    pub async fn delete(&self, queue: &str, receipts: &[Receipt]) -> Result<u64, QueueError> {
        let queue = self.queue(queue)?;
        let mut receipts = receipts.to_vec();
        receipts.sort_unstable();
        receipts.dedup();
        let mut deleted = 0;
        for some in receipts.chunks(MOST_IDS) {
            let (answer, answered) = oneshot::channel();
            let deletion = Deletion { queue: Arc::clone(queue), receipts: some.to_vec(), answer };
            self.0.deletes.send(deletion).map_err(|_| QueueError::stopped())?;
            deleted += answered.await.map_err(|_| QueueError::stopped())??;
        }
        Ok(deleted)
    }
}

/// Deletes what callers are done with until nobody is left who could be.
pub(super) async fn run(shared: Arc<Shared>, mut jobs: mpsc::UnboundedReceiver<Deletion>) {
    let mut link = Link::new(shared.pool.clone());
    let mut left = None;
    let weigh = |job: &Deletion| (job.receipts.len(), 0);
    while let Some(batch) = lane::next(&mut jobs, &mut left, (MOST_IDS, 0), weigh).await {
        let kept = shared.history().has_room(batch.iter().map(|job| job.receipts.len()).sum());
        match delete(&shared, &mut link, &batch, kept).await {
            Ok(deleted) => {
                if kept {
                    shared.history().add(deleted.iter().flatten().map(|receipt| receipt.id).collect());
                }
                for (job, deleted) in batch.into_iter().zip(deleted) {
                    let mut shelf = job.queue.shelf();
                    for receipt in &deleted {
                        shelf.remove(receipt.id);
                    }
                    let was_full = shelf.in_flight() + deleted.len() >= MOST_IN_FLIGHT;
                    drop(shelf);
                    if was_full {
                        job.queue.wake.notify_one();
                    }
                    let _ = job.answer.send(Ok(deleted.len() as u64));
                }
            }
            Err(error) => {
                link.failed(&error);
                for job in batch {
                    // It may have happened all the same.
                    job.queue.mistrust(&job.known());
                    let _ = job.answer.send(Err(QueueError::from(&error)));
                }
            }
        }
    }
}

/// Rows of one queue after the same number of receives: (job, receipt).
type Group = Vec<(usize, Receipt)>;

/// Those receipts of each job that deleted their message.
async fn delete(
    shared: &Shared,
    link: &mut Link,
    batch: &[Deletion],
    kept: bool,
) -> Result<Vec<Vec<Receipt>>, sqlx::Error> {
    let (mut known, mut unknown) = (BTreeMap::<(&str, i64), Group>::new(), Group::new());
    for (job, Deletion { queue, receipts, .. }) in batch.iter().enumerate() {
        let shelf = queue.shelf();
        for receipt in receipts {
            match shelf.is_current(*receipt) {
                Some(true) => {
                    known.entry((&queue.spec.name, receipt.generation)).or_default().push((job, *receipt));
                }
                // Not the newest receive, as far as is known here: the table has the last word.
                Some(false) | None => unknown.push((job, *receipt)),
            }
        }
    }
    let mut tries = Tries::default();
    loop {
        match write(link.get().await?, batch, (&known, &unknown), kept).await {
            Err(error) if tries.again(&error, &shared.entropy).await => {}
            result => return result,
        }
    }
}

async fn write(
    connection: &mut MySqlConnection,
    batch: &[Deletion],
    (known, unknown): (&BTreeMap<(&str, i64), Group>, &Group),
    kept: bool,
) -> Result<Vec<Vec<Receipt>>, sqlx::Error> {
    let mut deleted = vec![Vec::new(); batch.len()];
    let mut note = |job: usize, receipt| {
        if let Some(deleted) = deleted.get_mut(job) {
            deleted.push(receipt);
        }
    };
    if known.len() == 1 && unknown.is_empty() {
        for ((queue, generation), group) in known {
            finish(connection, (queue, *generation), group, (kept, true), &mut note).await?;
        }
        return Ok(deleted);
    }
    let mut transaction = connection.begin().await?;
    for ((queue, generation), group) in known {
        finish(&mut transaction, (queue, *generation), group, (kept, true), &mut note).await?;
    }
    for (job, receipt) in unknown {
        let queue = batch.get(*job).map_or("", |job| &job.queue.spec.name);
        finish(&mut transaction, (queue, receipt.generation), &[(*job, *receipt)], (kept, false), &mut note).await?;
    }
    transaction.commit().await?;
    Ok(deleted)
}

async fn finish(
    connection: &mut MySqlConnection,
    (queue, generation): (&str, i64),
    group: &[(usize, Receipt)],
    (kept, believed): (bool, bool),
    note: &mut impl FnMut(usize, Receipt),
) -> Result<(), sqlx::Error> {
    let ids: Vec<i64> = group.iter().map(|(_, receipt)| receipt.id).collect();
    let changed = statement::finish(connection, queue, (generation, &ids), kept).await?;
    if changed == ids.len() as u64 {
        group.iter().for_each(|(job, receipt)| note(*job, *receipt));
    } else if believed {
        // Somebody else's hand was at some of them, or an earlier attempt went through: what lives tells.
        let live = statement::which_live(connection, &ids).await?;
        group.iter().filter(|(_, receipt)| !live.contains(&receipt.id)).for_each(|(job, receipt)| note(*job, *receipt));
    }
    Ok(())
}
