//! A worker's batch: each record decoded and answered by itself.

use std::any::Any;
use std::fmt::Display;
use std::panic::{AssertUnwindSafe, catch_unwind};

use aws_lambda_events::sqs::{BatchItemFailure, SqsBatchResponse, SqsEvent};

use crate::event::Envelope;

/// The batch as a whole cannot be answered record by record, so all of it must come back.
#[derive(Debug, thiserror::Error)]
pub enum SettleError {
    /// A record without a message id cannot be named as failed; an empty identifier would fail the batch silently.
    #[error("a record has no messageId")]
    NoMessageId,
}

/// A batch, decoded.
#[derive(Debug)]
pub struct Batch<T> {
    /// What could be decoded, under its message id.
    pub good: Vec<(String, T)>,
    /// The message ids of the others: they come back until they end in the dead-letter queue.
    pub poison: Vec<String>,
}

/// Decodes every record with `decode`.
///
/// A body that is no envelope, an error and a panic each condemn their own record and no other.
///
/// # Errors
/// When a record cannot be named; the whole batch is then delivered again.
pub fn decode<T, E: Display>(
    event: SqsEvent,
    decode: impl Fn(Envelope) -> Result<T, E>,
) -> Result<Batch<T>, SettleError> {
    if event.records.iter().any(|record| record.message_id.as_deref().is_none_or(str::is_empty)) {
        return Err(SettleError::NoMessageId);
    }
    let mut batch = Batch { good: Vec::with_capacity(event.records.len()), poison: Vec::new() };
    for record in event.records {
        let id = record.message_id.unwrap_or_default();
        let body = record.body.unwrap_or_default();
        let decoded = catch_unwind(AssertUnwindSafe(|| {
            let envelope = Envelope::parse(&body).map_err(|error| error.to_string())?;
            decode(envelope).map_err(|error| error.to_string())
        }));
        match decoded.unwrap_or_else(|panic| Err(format!("panicked: {}", message(&*panic)))) {
            Ok(decoded) => batch.good.push((id, decoded)),
            Err(error) => {
                tracing::error!(message_id = id, error, "poison record");
                batch.poison.push(id);
            }
        }
    }
    Ok(batch)
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("without a word")
}

/// The answer that has `failed` delivered again and everything else deleted.
pub fn respond(failed: Vec<String>) -> SqsBatchResponse {
    let mut response = SqsBatchResponse::default();
    response.batch_item_failures = failed.into_iter().map(failure).collect();
    response
}

fn failure(message_id: String) -> BatchItemFailure {
    let mut failure = BatchItemFailure::default();
    failure.item_identifier = message_id;
    failure
}

#[cfg(test)]
mod tests {
    use aws_lambda_events::sqs::SqsEvent;
    use serde_json::json;

    use super::{decode, respond};
    use crate::event::Envelope;

    fn batch(ids: &[&str]) -> SqsEvent {
        let body = |id: &str| match id {
            "poison" => "not json".to_owned(),
            _ => json!({"specversion": "1.0", "id": id, "source": "/t", "type": "audit", "org": "o",
                        "time": "2026-01-01T00:00:00Z", "data": {}})
            .to_string(),
        };
        let records: Vec<_> = ids.iter().map(|id| json!({"messageId": id, "body": body(id)})).collect();
        serde_json::from_value(json!({ "Records": records })).unwrap()
    }

    fn id_of(envelope: Envelope) -> Result<String, String> {
        match envelope.id.as_str() {
            "error" => Err("no".into()),
            "panic" => panic!("on purpose"),
            _ => Ok(envelope.id),
        }
    }

    #[test]
    fn only_the_bad_records_come_back() {
        let batch = decode(batch(&["poison", "1", "error", "2", "panic"]), id_of).unwrap();
        assert_eq!(batch.good, [("1".to_owned(), "1".to_owned()), ("2".to_owned(), "2".to_owned())]);
        let response = respond(batch.poison);
        let failed: Vec<_> = response.batch_item_failures.iter().map(|f| f.item_identifier.as_str()).collect();
        assert_eq!(failed, ["poison", "error", "panic"]);
    }

    #[test]
    fn a_record_without_id_fails_the_whole_batch() {
        assert!(decode(batch(&["1", ""]), id_of).is_err());
    }

    #[test]
    fn an_empty_batch_succeeds() {
        let batch = decode(batch(&[]), id_of).unwrap();
        assert!(batch.good.is_empty() && respond(batch.poison).batch_item_failures.is_empty());
    }
}
