//! Events to SQS queues.

use std::collections::BTreeMap;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::SendMessageBatchRequestEntry;

use crate::causes::with_causes;
use crate::config::Env;
use crate::event::{Envelope, Queue, routes};

/// SQS takes at most this many messages in one call.
const BATCH: usize = 10;
/// SQS takes at most this many bytes in one call, all messages together.
const BATCH_BYTES: usize = 1_048_576;

/// Sends events to the queues that [`routes`] names.
#[derive(Clone)]
pub struct Publisher {
    sqs: Client,
    urls: BTreeMap<Queue, String>,
}

/// Not every event was accepted by its queue. Sending all of them again is safe.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// No queue takes this type.
    #[error("no queue takes events of type `{0}`")]
    NoRoute(String),
    /// The queue could not be reached or refused the call.
    #[error("queue unavailable: {0}")]
    Unavailable(String),
    /// The queue refused single messages.
    #[error("the queue refused {0} messages")]
    Refused(usize),
}

impl Publisher {
    /// Reads the URLs of `queues` from the configuration ([`Queue::variable`]).
    pub fn queue_urls<const N: usize>(env: &mut Env<'_>, queues: [Queue; N]) -> BTreeMap<Queue, String> {
        queues.map(|queue| (queue, env.url(queue.variable()))).into()
    }

    /// A publisher over `urls`.
    pub fn new(sqs: Client, urls: BTreeMap<Queue, String>) -> Self {
        Self { sqs, urls }
    }

    /// Publishes `events`; returns once every one of them is stored in its queue.
    ///
    /// # Errors
    /// When any event was not accepted; others may have been.
    pub async fn publish(&self, events: &[Envelope]) -> Result<(), PublishError> {
        let mut by_url: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for event in events {
            let unrouted = || PublishError::NoRoute(event.event_type.clone());
            let queues = routes(&event.event_type);
            if queues.is_empty() {
                return Err(unrouted());
            }
            for queue in queues {
                let url = self.urls.get(queue).ok_or_else(unrouted)?;
                by_url.entry(url).or_default().push(event.to_body());
            }
        }
        for (url, bodies) in by_url {
            for batch in batches(bodies) {
                self.send(url, batch).await?;
            }
        }
        Ok(())
    }

    async fn send(&self, url: &str, bodies: Vec<String>) -> Result<(), PublishError> {
        let entries = bodies.into_iter().enumerate().map(|(index, body)| {
            SendMessageBatchRequestEntry::builder().id(index.to_string()).message_body(body).build()
        });
        let entries = entries.collect::<Result<Vec<_>, _>>().map_err(unavailable)?;
        let sent = self.sqs.send_message_batch().queue_url(url).set_entries(Some(entries)).send().await;
        let refused = sent.map_err(|error| unavailable(with_causes(&error)))?.failed;
        for entry in &refused {
            tracing::warn!(code = entry.code(), message = entry.message().unwrap_or_default(), "message refused");
        }
        if refused.is_empty() { Ok(()) } else { Err(PublishError::Refused(refused.len())) }
    }
}

fn unavailable(error: impl std::fmt::Display) -> PublishError {
    PublishError::Unavailable(error.to_string())
}

/// Cuts `bodies` to what SQS takes in one call.
fn batches(bodies: Vec<String>) -> Vec<Vec<String>> {
    let mut batches: Vec<Vec<String>> = Vec::new();
    let mut bytes = 0;
    for body in bodies {
        let size = body.len();
        match batches.last_mut() {
            Some(batch) if batch.len() < BATCH && bytes + size <= BATCH_BYTES => {
                bytes += size;
                batch.push(body);
            }
            _ => {
                bytes = size;
                batches.push(vec![body]);
            }
        }
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::batches;

    #[test]
    fn batches_respect_count_and_size() {
        let small = batches(vec!["x".into(); 21]);
        assert_eq!(small.iter().map(Vec::len).collect::<Vec<_>>(), [10, 10, 1]);
        let large = batches(vec!["x".repeat(600_000); 3]);
        assert_eq!(large.iter().map(Vec::len).collect::<Vec<_>>(), [1, 1, 1]);
    }
}
