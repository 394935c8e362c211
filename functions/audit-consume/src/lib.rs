//! Queue `audit` to the audit log: appends by inserts that cannot overwrite.
//!
//! Invariant: an event's marker and its entry are inserted together or not at all, and a PartiQL INSERT fails on an
//! existing key. So the same (org, source, id), however often and under whatever message id it arrives, is one entry,
//! and the function needs no right but `dynamodb:PartiQLInsert`.

use std::sync::Arc;

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent};
use aws_sdk_dynamodb::operation::execute_transaction::ExecuteTransactionError;
use aws_sdk_dynamodb::types::{AttributeValue, ParameterizedStatement};
use echo_shared::audit::{Entry, entries_partition, markers_partition};
use echo_shared::clock::Clock;
use echo_shared::config::Env;
use echo_shared::event::Envelope;
use echo_shared::metric::{Metric, Metrics};
use echo_shared::queue::{SettleError, settle};
use echo_shared::table::{Table, TableError, unavailable};
use tokio::sync::Mutex;

/// What the environment has to say.
pub struct Config {
    /// The audit log.
    pub table: String,
    /// Whose metrics these are.
    pub stack: String,
}

impl Config {
    /// Reads `AUDIT_LOG_TABLE` and `ECHO_STACK`.
    pub fn read(env: &mut Env<'_>) -> Self {
        Self { table: env.text("AUDIT_LOG_TABLE"), stack: Metrics::stack(env) }
    }
}

/// What the function works with.
#[derive(Clone)]
pub struct App {
    /// The audit log.
    pub log: Table,
    /// The time of receipt.
    pub clock: Clock,
    /// How late entries are, and what fails.
    pub metrics: Metrics,
}

/// Why an event was not appended.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// It is no audit event; it never will be one, and ends in the dead-letter queue.
    #[error("poison event: {0}")]
    Poison(String),
    /// The log could not be reached; delivered again, it may succeed.
    #[error(transparent)]
    Log(#[from] TableError),
}

/// Appends a batch; answers which records failed.
///
/// # Errors
/// When the batch cannot be answered record by record.
pub async fn handle(app: &App, event: SqsEvent) -> Result<SqsBatchResponse, SettleError> {
    let delays = Arc::new(Mutex::new(Vec::new()));
    let response = settle(event, |envelope| {
        let (app, delays) = (app.clone(), Arc::clone(&delays));
        let happened = is_own(&envelope).then_some(envelope.time);
        async move {
            app.append(envelope).await?;
            if let Some(happened) = happened {
                let delay = (app.clock.now() - happened).whole_milliseconds();
                delays.lock().await.push(u64::try_from(delay).unwrap_or_default());
            }
            Ok::<(), AppendError>(())
        }
    })
    .await?;
    app.metrics.put(Metric::AuditDelay, &delays.lock().await);
    if !response.batch_item_failures.is_empty() {
        app.metrics.put(Metric::BatchFailures, &[response.batch_item_failures.len() as u64]);
    }
    Ok(response)
}

/// Whether Echo itself made the event; the time of a client's event is the client's word.
fn is_own(envelope: &Envelope) -> bool {
    !envelope.source.starts_with("/clients/")
}

impl App {
    /// Appends one event; appending it again changes nothing.
    ///
    /// # Errors
    /// When the event is poison, or the log cannot be reached.
    pub async fn append(&self, event: Envelope) -> Result<(), AppendError> {
        if event.event_type != echo_shared::event::audit::TYPE {
            return Err(AppendError::Poison(format!("type `{}`", event.event_type)));
        }
        let entry = Entry::new(&event, self.clock.now()).map_err(AppendError::Poison)?;
        let marker = format!("{}#{}", entry.source, entry.id);
        let sort_key = format!("{}#{marker}", entry.time);
        let json = serde_json::to_string(&entry).map_err(|error| AppendError::Poison(error.to_string()))?;
        let resource = entry.record.resource.as_ref().map(|r| format!("{}/{}", r.kind, r.id)).unwrap_or_default();

        let (client, table) = self.log.raw();
        let statements = vec![
            insert(table, &[("pk", &markers_partition(&entry.org)), ("sk", &marker), ("entry_key", &sort_key)])?,
            insert(
                table,
                &[
                    ("pk", &entries_partition(&entry.org)),
                    ("sk", &sort_key),
                    ("actor", &entry.record.actor.id),
                    ("action", &entry.record.action),
                    ("resource", &resource),
                    ("outcome", entry.record.outcome.as_str()),
                    ("entry", &json),
                ],
            )?,
        ];
        match client.execute_transaction().set_transact_statements(Some(statements)).send().await {
            Ok(_) => Ok(()),
            Err(error) if error.as_service_error().is_some_and(is_duplicate) => Ok(()),
            Err(error) => Err(unavailable(error).into()),
        }
    }
}

fn insert(table: &str, attributes: &[(&str, &str)]) -> Result<ParameterizedStatement, TableError> {
    let names: Vec<String> = attributes.iter().map(|(name, _)| format!("'{name}': ?")).collect();
    let statement = format!("INSERT INTO \"{table}\" VALUE {{{}}}", names.join(", "));
    let values = attributes.iter().map(|(_, value)| AttributeValue::S((*value).to_owned())).collect();
    let built = ParameterizedStatement::builder().statement(statement).set_parameters(Some(values)).build();
    built.map_err(|error| TableError::Unavailable(error.to_string()))
}

/// The marker was there before: the event is in the log.
fn is_duplicate(error: &ExecuteTransactionError) -> bool {
    match error {
        ExecuteTransactionError::TransactionCanceledException(cancelled) => {
            cancelled.cancellation_reasons().first().and_then(|reason| reason.code()) == Some("DuplicateItem")
        }
        _ => false,
    }
}
