//! Queue `audit` to the audit log: one Merkle tree per org, grown by transactions that cannot overwrite.
//!
//! Invariants:
//! - An append is one transaction over the head, a chunk of entries, a marker for each and the tiles that became full.
//!   The head moves only from the size that the chunk starts at, so two writers cannot fork a log; a crash leaves
//!   nothing behind.
//! - A marker is inserted once, so the same (org, source, id), under whatever message id, is one entry.
//! - The checkpoint is signed before the head moves and moves with it.
//!
//! Way in: [`handle`]. [`append`](App) plans and tries transactions, `tree` knows what they add to the Merkle tree,
//! `statement` writes them down, `keys` has the signing key, [`copy`] carries checkpoints off the database.

mod append;
mod config;
mod copy;
mod keys;
mod statement;
mod tree;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

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
use tokio::sync::Mutex;
use tokio::time::Instant;

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
    let batch = decode(event, |envelope| app.prepare(&envelope))?;
    let mut failed = batch.poison;
    let work = Work { orgs: Mutex::new(by_org(batch.good)), unreachable: AtomicU32::new(0), begun: Instant::now() };
    // Boxed: the compiler would lay out four copies of everything below.
    let lane = || Box::pin(work.lane(app));
    let lanes = tokio::join!(lane(), lane(), lane(), lane());
    for left in [lanes.0, lanes.1, lanes.2, lanes.3] {
        failed.extend(left);
    }
    if !failed.is_empty() {
        app.metrics.put(Metric::BatchFailures, &[failed.len() as u64]);
    }
    Ok(respond(failed))
}

/// Logs that cannot be reached before the others are not tried.
const MAX_UNREACHABLE: u32 = 4;
/// How long logs are begun with: the last one may take a call that is tried for as long as the SDK does, and the answer
/// must come before the function's time is up (15 seconds).
const PATIENCE: Duration = Duration::from_secs(8);

/// A batch, org by org; four at a time, since each waits for its table.
struct Work {
    orgs: Mutex<BTreeMap<String, Vec<Pending>>>,
    unreachable: AtomicU32,
    begun: Instant,
}

impl Work {
    /// Appends org after org; the messages of those that failed, or were not tried.
    async fn lane(&self, app: &App) -> Vec<String> {
        let mut failed = Vec::new();
        loop {
            let Some((org, entries)) = self.orgs.lock().await.pop_first() else { return failed };
            // What was appended is not delivered again: the next batch gets further.
            if self.begun.elapsed() > PATIENCE || self.unreachable.load(Relaxed) >= MAX_UNREACHABLE {
                failed.extend(messages(entries));
                continue;
            }
            if let Err((error, left)) = app.append(&org, entries).await {
                tracing::error!(org, %error, entries = left.len(), "not appended");
                failed.extend(messages(left));
                if error.is_of_tables() {
                    self.unreachable.fetch_add(1, Relaxed);
                }
            }
        }
    }
}

fn messages(entries: Vec<Pending>) -> impl Iterator<Item = String> {
    entries.into_iter().flat_map(|pending| pending.messages)
}

/// Each org's entries in the order they came; the same event twice is one entry with two messages.
fn by_org(records: Vec<(String, Pending)>) -> BTreeMap<String, Vec<Pending>> {
    let mut orgs: BTreeMap<String, Vec<Pending>> = BTreeMap::new();
    let mut places: BTreeMap<(String, String, String), usize> = BTreeMap::new();
    for (message, mut pending) in records {
        let Entry { org, source, id, .. } = &pending.entry;
        let entries = orgs.entry(org.clone()).or_default();
        let place = *places.entry((org.clone(), source.clone(), id.clone())).or_insert(entries.len());
        match entries.get_mut(place) {
            Some(first) => first.messages.push(message),
            None => {
                pending.messages.push(message);
                entries.push(pending);
            }
        }
    }
    orgs
}
