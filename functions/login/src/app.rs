//! What the function works with.

use aws_sdk_dynamodb::types::TransactWriteItem;
use echo_shared::clock::Clock;
use echo_shared::config::Issuer;
use echo_shared::entropy::Entropy;
use echo_shared::event::Envelope;
use echo_shared::metric::Metrics;
use echo_shared::queue::{Outbox, Publisher};
use echo_shared::table::{Table, TableError};
use echo_shared::token::Verifier;

use crate::audit;
use crate::config::Config;
use crate::keys::Keys;
use crate::store::Store;

/// What the function works with.
pub struct App {
    pub(crate) issuer: Issuer,
    pub(crate) store: Store,
    pub(crate) outbox: Outbox,
    pub(crate) publisher: Publisher,
    pub(crate) metrics: Metrics,
    pub(crate) keys: Keys,
    pub(crate) verifier: Verifier<Keys>,
    pub(crate) clock: Clock,
    pub(crate) entropy: Entropy,
}

impl App {
    /// Puts the parts together; nothing is read or called yet.
    pub fn new(
        config: Config,
        (dynamodb, sqs): (aws_sdk_dynamodb::Client, aws_sdk_sqs::Client),
        clock: Clock,
        entropy: Entropy,
    ) -> Self {
        let store = Store::new(Table::new(dynamodb.clone(), config.login_table), clock.clone(), entropy.clone());
        let publisher = Publisher::new(sqs, config.queue_urls);
        let outbox = Outbox::new(Table::new(dynamodb, config.outbox_table), publisher.clone(), clock.clone());
        let keys = Keys::new(store.clone(), config.master_key);
        let verifier = Verifier::new(config.issuer.clone(), keys.clone(), clock.clone());
        let metrics = Metrics::new(config.stack, clock.clone());
        Self { issuer: config.issuer, store, outbox, publisher, metrics, keys, verifier, clock, entropy }
    }

    /// Writes its metrics elsewhere than to standard output: tests read them.
    pub fn measured_by(self, metrics: Metrics) -> Self {
        Self { metrics, ..self }
    }

    /// Makes a change of state together with its events, then publishes them.
    ///
    /// # Errors
    /// When nothing was changed; [`TableError::Condition`] when a condition did not hold. A queue that fails is no
    /// error: the events are safe in the outbox.
    pub(crate) async fn commit(
        &self,
        mut writes: Vec<TransactWriteItem>,
        events: &[Envelope],
    ) -> Result<(), TableError> {
        writes.extend(self.outbox.writes(events)?);
        self.store.table().transact(writes).await?;
        events.iter().for_each(audit::log);
        self.outbox.flush(events).await;
        Ok(())
    }
}
