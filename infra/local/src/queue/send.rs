//! Sending.

use std::time::Duration;

use sqlx::{MySql, QueryBuilder};

use super::{QueueError, Queues, Refused, body};

/// Rows in one statement.
const CHUNK: usize = 100;

/// A message to send.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// The body.
    pub body: String,
    /// How long it is hidden first; the queue's own delay when `None`.
    pub delay: Option<Duration>,
}

/// A message that was stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// The message's id.
    pub message_id: String,
}

struct Row<'a> {
    body: &'a str,
    delay: u64,
    message_id: String,
    event_type: String,
}

impl Queues {
    /// Stores messages; each is accepted or refused by itself. Those accepted are on disk when this returns.
    ///
    /// # Errors
    /// When there is no such queue, or the database is away; some may have been stored then.
    pub async fn send(&self, queue: &str, messages: &[Outgoing]) -> Result<Vec<Result<Sent, Refused>>, QueueError> {
        let state = self.queue(queue)?;
        let mut rows = Vec::with_capacity(messages.len());
        let mut results = Vec::with_capacity(messages.len());
        for message in messages {
            if let Some(refused) = body::refusal(&message.body, state.spec.max_message_size) {
                results.push(Err(refused));
                continue;
            }
            let message_id = uuid::Builder::from_random_bytes(self.0.entropy.bytes()).into_uuid().to_string();
            results.push(Ok(Sent { message_id: message_id.clone() }));
            let delay = message.delay.unwrap_or(state.spec.delay).as_secs();
            rows.push(Row { body: &message.body, delay, message_id, event_type: body::event_type(&message.body) });
        }
        for some in rows.chunks(CHUNK) {
            self.retrying(|| async { insert(queue, some).build().execute(&self.0.pool).await }).await?;
        }
        state.wake.notify_one();
        Ok(results)
    }
}

fn insert(queue: &str, rows: &[Row<'_>]) -> QueryBuilder<MySql> {
    let columns = "queue, event_type, payload, message_id, created_at, updated_at, visible_at";
    let mut query = QueryBuilder::new(format!("INSERT INTO message_queue ({columns}) "));
    query.push_values(rows, |mut values, row| {
        values.push_bind(queue.to_owned()).push_bind(row.event_type.clone()).push_bind(row.body.to_owned());
        values.push_bind(row.message_id.clone()).push("NOW(6)").push("NOW(6)");
        values.push("NOW(6) + INTERVAL ").push_bind_unseparated(row.delay).push_unseparated(" SECOND");
    });
    query
}
