//! Lambda's event source mapping on a laptop: takes batches from a queue, invokes a function, deletes what it handled.
//!
//! Behaves as the Lambda developer guide describes ("Using Lambda with Amazon SQS"), with one kindness: a function that
//! cannot run at all does not use up its messages' receives.

mod event;
mod verdict;

use std::time::Duration;

use axum::body::Bytes;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::lambda::{Invoke, InvokeError};
use crate::queue::{Message, QueueError, Queues, Receipt, Receive};
use crate::spec::MappingSpec;
use verdict::Verdict;

/// Lambda's payload limit, in bytes.
const LARGEST_EVENT: usize = 6 * 1_048_576;
/// What a record adds to its body.
const RECORD_OVERHEAD: usize = 1024;
/// Idle receives wait this long; the queue wakes them earlier.
const LONG_POLL: Duration = Duration::from_secs(20);
/// Pauses while the database is away, or the function cannot run.
const SHORTEST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// How long batches in hand may take after the shutdown began; later ones come back by themselves.
const LAST_WORDS: Duration = Duration::from_secs(15);
/// Attempts to delete what was handled; left undeleted, it is delivered again.
const DELETE_ATTEMPTS: usize = 5;

/// Runs `mapping` until `shutdown` turns true: then no more is taken, and the batches in hand are finished.
pub async fn run(mapping: MappingSpec, queues: Queues, invoker: impl Invoke, mut shutdown: watch::Receiver<bool>) {
    let visibility = match queues.spec(&mapping.queue) {
        Ok(spec) => spec.visibility_timeout,
        Err(error) => {
            tracing::error!(queue = mapping.queue, %error, "mapping without a queue");
            return;
        }
    };
    let mut loops = JoinSet::new();
    for _ in 0..mapping.max_concurrency.max(1) {
        let (mapping, queues, invoker) = (mapping.clone(), queues.clone(), invoker.clone());
        let mut worker = Worker { mapping, queues, invoker, visibility, shutdown: shutdown.clone() };
        loops.spawn(async move { worker.run().await });
    }
    let _ = shutdown.wait_for(|stop| *stop).await;
    let finish = async { while loops.join_next().await.is_some() {} };
    if timeout(LAST_WORDS, finish).await.is_err() {
        tracing::warn!(queue = mapping.queue, "a batch was left unfinished; it will be delivered again");
    }
}

/// One of the mapping's loops: one batch at a time.
struct Worker<I> {
    mapping: MappingSpec,
    queues: Queues,
    invoker: I,
    visibility: Duration,
    shutdown: watch::Receiver<bool>,
}

impl<I: Invoke> Worker<I> {
    async fn run(&mut self) {
        let mut pause = SHORTEST_PAUSE;
        while !*self.shutdown.borrow() {
            match self.collect().await {
                Ok(batch) => {
                    pause = SHORTEST_PAUSE;
                    if !batch.is_empty() {
                        self.handle(&batch).await;
                    }
                }
                Err(error) => {
                    tracing::warn!(queue = self.mapping.queue, %error, "cannot receive");
                    self.rest(&mut pause).await;
                }
            }
        }
    }

    /// A batch: full, or as much as came within the window, or as many bytes as an event may have.
    async fn collect(&self) -> Result<Vec<Message>, QueueError> {
        let mut batch = self.receive(self.mapping.batch_size, LARGEST_EVENT, LONG_POLL).await?;
        // Waiting longer would use up the messages' visibility before anyone has seen them.
        let deadline = Instant::now() + self.mapping.window.min(self.visibility / 2);
        let mut bytes = bytes_of(&batch);
        let largest = self.queues.spec(&self.mapping.queue)?.max_message_size + RECORD_OVERHEAD;
        while !batch.is_empty() && !*self.shutdown.borrow() {
            let free = self.mapping.batch_size.saturating_sub(batch.len());
            let wait = deadline.saturating_duration_since(Instant::now());
            // Whatever comes next must fit.
            if free == 0 || wait.is_zero() || bytes + largest > LARGEST_EVENT {
                break;
            }
            match self.receive(free, LARGEST_EVENT - bytes, wait).await {
                Ok(more) => {
                    bytes += bytes_of(&more);
                    batch.extend(more);
                }
                // What is in hand is handled all the same.
                Err(_) => break,
            }
        }
        Ok(batch)
    }

    async fn receive(&self, max: usize, free: usize, wait: Duration) -> Result<Vec<Message>, QueueError> {
        // Bodies alone are counted by the queue; what else is in a record may take half of the event.
        let max = max.min(free / RECORD_OVERHEAD / 2).max(1);
        let max_bytes = free.saturating_sub(max * RECORD_OVERHEAD);
        let wanted = Receive { max, max_bytes, wait, visibility: None };
        let mut shutdown = self.shutdown.clone();
        let stop = async move {
            let _ = shutdown.wait_for(|stop| *stop).await;
        };
        self.queues.receive_until(&self.mapping.queue, wanted, stop).await
    }

    /// Invokes the function with a batch and does what its answer says.
    async fn handle(&mut self, batch: &[Message]) {
        let receipts: Vec<Receipt> = batch.iter().map(|message| message.receipt).collect();
        let payload = event::payload(&self.mapping.queue, batch);
        let (handled, failed, reason) = match self.invoke(payload, &receipts).await {
            None => return,
            Some(Err(error)) => (Vec::new(), receipts, error.to_string()),
            Some(Ok(answer)) if self.mapping.report_failures => match verdict::of(&answer, batch) {
                Verdict::Failed(failed) => {
                    let (failed, handled) = receipts.into_iter().partition(|receipt| failed.contains(receipt));
                    (handled, failed, "reported as failed".to_owned())
                }
                Verdict::Unusable(why) => (Vec::new(), receipts, format!("the function's answer: {why}")),
            },
            // Without failure reports every normal return means success, whatever it says.
            Some(Ok(_)) => (receipts, Vec::new(), String::new()),
        };
        self.delete(&handled).await;
        if !failed.is_empty() {
            let (queue, function) = (&self.mapping.queue, &self.mapping.function);
            tracing::warn!(queue, function, messages = failed.len(), reason, "messages failed");
            // They come back when their visibility ends. The note is for people only.
            let _ = self.queues.note_failure(queue, &failed, &reason).await;
        }
    }

    /// The function's answer. While it cannot run at all, the batch is kept hidden and offered again: a function that
    /// never saw a message must not send it to the dead-letter queue. `None` when the shutdown ended that.
    async fn invoke(&mut self, payload: Bytes, receipts: &[Receipt]) -> Option<Result<Bytes, InvokeError>> {
        let queue = self.mapping.queue.clone();
        let mut hidden_at = Instant::now();
        let mut pause = SHORTEST_PAUSE;
        loop {
            let error = match self.invoker.invoke(&self.mapping.function, payload.clone()).await {
                Err(error @ (InvokeError::Throttled | InvokeError::Unavailable(_))) => error,
                result => return Some(result),
            };
            tracing::debug!(queue, function = self.mapping.function, %error, "not run; the batch waits");
            if hidden_at.elapsed() + pause > self.visibility / 2 {
                // Those that others received meanwhile are theirs.
                let _ = self.queues.hide(&queue, receipts, self.visibility).await;
                hidden_at = Instant::now();
            }
            self.rest(&mut pause).await;
            if *self.shutdown.borrow() {
                let _ = self.queues.hide(&queue, receipts, Duration::ZERO).await;
                return None;
            }
        }
    }

    async fn delete(&self, handled: &[Receipt]) {
        let mut pause = SHORTEST_PAUSE;
        for _ in 0..DELETE_ATTEMPTS {
            match self.queues.delete(&self.mapping.queue, handled).await {
                Ok(_) => return,
                Err(error) => tracing::warn!(queue = self.mapping.queue, %error, "cannot delete what was handled"),
            }
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Waits a little, longer each time, but not beyond the shutdown.
    async fn rest(&mut self, pause: &mut Duration) {
        let _ = timeout(*pause, self.shutdown.wait_for(|stop| *stop)).await;
        // Never past the moment by which a batch in hand must be hidden again.
        *pause = (*pause * 2).min(LONGEST_PAUSE).min(self.visibility / 3).max(SHORTEST_PAUSE);
    }
}

fn bytes_of(batch: &[Message]) -> usize {
    batch.iter().map(|message| message.body.len() + RECORD_OVERHEAD).sum()
}
