//! On a schedule: publishes what a crash left in the outbox.

use echo_shared::clock::Clock;
use echo_shared::config::Env;
use echo_shared::event::Queue;
use echo_shared::metric::Metrics;
use echo_shared::queue::{Outbox, Publisher, RelayError};
use std::collections::BTreeMap;

/// What the environment has to say.
pub struct Config {
    /// The outbox.
    pub outbox_table: String,
    /// Where its events go.
    pub queue_urls: BTreeMap<Queue, String>,
    /// Whose metrics these are.
    pub stack: String,
}

impl Config {
    /// Reads `OUTBOX_TABLE`, `AUDIT_QUEUE_URL` and `ECHO_STACK`.
    pub fn read(env: &mut Env<'_>) -> Self {
        Self {
            outbox_table: env.text("OUTBOX_TABLE"),
            queue_urls: Publisher::queue_urls(env, [Queue::Audit]),
            stack: Metrics::stack(env),
        }
    }
}

/// What the function works with.
pub struct App {
    /// The outbox.
    pub outbox: Outbox,
    /// Tells which events are old enough.
    pub clock: Clock,
    /// How old the events are.
    pub metrics: Metrics,
}

/// One run; the schedule's event says nothing that matters.
///
/// # Errors
/// When the table or a queue cannot be reached. Lambda counts it, the next run goes on.
pub async fn handle(app: &App) -> Result<(), RelayError> {
    let published = app.outbox.relay_at(app.clock.now(), &app.metrics).await?;
    if published > 0 {
        tracing::warn!(published, "events had been left in the outbox");
    }
    Ok(())
}
