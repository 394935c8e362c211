//! Queue `audit` to the audit log: one Merkle tree per org, grown by transactions that cannot overwrite.
//!
//! Invariants:
//! - An append is one transaction over the head, a chunk of entries, a marker for each and the tiles that became full.
//!   The head moves only from the checkpoint that the append was planned on, so two writers cannot fork a log; a crash
//!   leaves nothing behind.
//! - A marker is inserted once, so the same (org, source, id), under whatever message id, is one entry.
//! - The checkpoint is signed before the head moves and moves with it.
//!
//! Way in: [`handle`]. `batch` goes through it org by org, `append` plans and tries transactions, `tree` knows what they
//! add to the Merkle tree, `statement` writes them down, `keys` has the signing key, [`copy`] carries checkpoints off
//! the database.

mod append;
mod batch;
mod config;
mod copy;
mod keys;
mod statement;
mod tree;

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent};
use echo_shared::audit::Entry;
use echo_shared::audit::leaf::Leaf;
use echo_shared::clock::Clock;
use echo_shared::config::Issuer;
use echo_shared::entropy::Entropy;
use echo_shared::event::{Envelope, audit};
use echo_shared::metric::{Metric, Metrics};
use echo_shared::queue::{SettleError, decode, respond};
use echo_shared::table::Table;

pub use append::{AppendError, Logs};
pub use config::Config;
pub use copy::{CopyError, copy};
pub use keys::Keys;

/// What the function works with.
pub struct App {
    /// Whose logs these are: part of every origin.
    pub issuer: Issuer,
    /// Entries, tiles, markers: `audit_log`.
    pub log: Table,
    /// Heads and keys: `audit_head`.
    pub heads: Table,
    /// The key that signs checkpoints.
    pub keys: Keys,
    /// What is known of the logs that were appended to last.
    pub logs: Logs,
    /// The time of receipt.
    pub clock: Clock,
    /// Salts.
    pub entropy: Entropy,
    /// How late entries are, and what fails.
    pub metrics: Metrics,
}

impl App {
    /// The function over its tables; nothing is read yet.
    pub fn new(config: Config, dynamodb: aws_sdk_dynamodb::Client, clock: Clock, entropy: Entropy) -> Self {
        let metrics = Metrics::new(config.stack, clock.clone());
        let log = Table::new(dynamodb.clone(), config.log_table);
        let heads = Table::new(dynamodb, config.head_table);
        let keys = Keys::new(config.master_key, config.key_number);
        Self { issuer: config.issuer, log, heads, keys, logs: Logs::default(), clock, entropy, metrics }
    }

    /// The entry for an event, ready to be appended.
    fn prepare(&self, event: &Envelope) -> Result<Pending, String> {
        if event.event_type != audit::TYPE {
            return Err(format!("type `{}` does not belong into the audit log", event.event_type));
        }
        let entry = Entry::new(event, self.clock.now())?;
        let leaf = Leaf::new(&entry, self.entropy.bytes()).map_err(|error| error.to_string())?;
        Ok(Pending { entry, leaf, happened: is_own(event).then_some(event.time), messages: Vec::new() })
    }
}

/// An entry on its way into the log.
pub struct Pending {
    entry: Entry,
    leaf: Leaf,
    /// When it happened, by Echo's own clock; a client's time is the client's word.
    happened: Option<time::OffsetDateTime>,
    /// The messages that brought it.
    messages: Vec<String>,
}

fn is_own(envelope: &Envelope) -> bool {
    !envelope.source.starts_with("/clients/")
}

/// Appends a batch; answers which records failed.
///
/// # Errors
/// When the batch cannot be answered record by record.
pub async fn handle(app: &App, event: SqsEvent) -> Result<SqsBatchResponse, SettleError> {
    let records = event.records.len();
    let batch = decode(event, |envelope| app.prepare(&envelope))?;
    for Entry { org, id, trace_id, .. } in batch.good.iter().map(|(_, pending)| &pending.entry) {
        tracing::debug!(org, entry_id = id, trace_id, "to be appended");
    }
    let mut failed = batch.poison;
    failed.extend(app.append_all(batch.good).await);
    if records > 0 {
        tracing::info!(records, failed = failed.len(), "a batch was handled");
    }
    if !failed.is_empty() {
        app.metrics.put(Metric::BatchFailures, &[failed.len() as u64]);
    }
    Ok(respond(failed))
}
