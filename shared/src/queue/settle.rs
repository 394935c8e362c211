//! A worker's batch: each record decoded, applied and answered by itself.

use std::future::Future;

use aws_lambda_events::sqs::{BatchItemFailure, SqsBatchResponse, SqsEvent};
use tokio::task::JoinSet;

use crate::event::Envelope;

/// Records of one batch that are worked on at the same time.
const CONCURRENCY: usize = 10;

/// The batch as a whole cannot be answered record by record, so all of it must come back.
#[derive(Debug, thiserror::Error)]
pub enum SettleError {
    /// A record without a message id cannot be named as failed; an empty identifier would fail the batch silently.
    #[error("a record has no messageId")]
    NoMessageId,
}

/// Applies `apply` to every record and names those that failed, so that only they are delivered again.
///
/// A body that is no envelope, an error and a panic each fail their own record and no other. Only when `apply` failed
/// for all of as many records as are tried at the same time is the rest left for the next delivery: then the fault is
/// not the records', and the answer must come before the function's time is up.
///
/// # Errors
/// When a record cannot be named; the whole batch is then delivered again.
pub async fn settle<F, Fut, E>(event: SqsEvent, apply: F) -> Result<SqsBatchResponse, SettleError>
where
    F: Fn(Envelope) -> Fut,
    Fut: Future<Output = Result<(), E>> + Send + 'static,
    E: std::fmt::Display + Send + 'static,
{
    if event.records.iter().any(|record| record.message_id.as_deref().is_none_or(str::is_empty)) {
        return Err(SettleError::NoMessageId);
    }
    let (mut failed, mut good) = (Vec::new(), Vec::new());
    for record in event.records {
        let id = record.message_id.unwrap_or_default();
        match Envelope::parse(record.body.as_deref().unwrap_or_default()) {
            Ok(envelope) => good.push((id, envelope)),
            Err(error) => {
                tracing::error!(message_id = id, %error, "poison record");
                failed.push(id);
            }
        }
    }
    let mut records = good.into_iter();
    loop {
        let some: Vec<(String, Envelope)> = records.by_ref().take(CONCURRENCY).collect();
        if some.is_empty() {
            break;
        }
        let tried = some.len();
        let lost = settle_some(some, &apply).await;
        let all = lost.len() == tried;
        failed.extend(lost);
        if all && tried == CONCURRENCY {
            failed.extend(records.by_ref().map(|(id, _)| id));
        }
    }
    let mut response = SqsBatchResponse::default();
    response.batch_item_failures = failed.into_iter().map(failure).collect();
    Ok(response)
}

async fn settle_some<F, Fut, E>(records: Vec<(String, Envelope)>, apply: &F) -> Vec<String>
where
    F: Fn(Envelope) -> Fut,
    Fut: Future<Output = Result<(), E>> + Send + 'static,
    E: std::fmt::Display + Send + 'static,
{
    let mut pending: Vec<String> = Vec::new();
    let mut tasks = JoinSet::new();
    for (id, envelope) in records {
        pending.push(id.clone());
        let applied = apply(envelope);
        tasks.spawn(async move { (id, applied.await.map_err(|error| error.to_string())) });
    }
    while let Some(ended) = tasks.join_next().await {
        match ended {
            Ok((id, Ok(()))) => pending.retain(|other| *other != id),
            Ok((id, Err(error))) => tracing::error!(message_id = id, error, "record failed"),
            Err(panic) => tracing::error!(%panic, "record panicked"),
        }
    }
    pending
}

fn failure(message_id: String) -> BatchItemFailure {
    let mut failure = BatchItemFailure::default();
    failure.item_identifier = message_id;
    failure
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    use aws_lambda_events::sqs::SqsEvent;
    use serde_json::json;

    use super::settle;
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

    async fn apply(envelope: Envelope) -> Result<(), String> {
        match envelope.id.as_str() {
            "error" => Err("no".into()),
            "panic" => panic!("on purpose"),
            _ => Ok(()),
        }
    }

    #[tokio::test]
    async fn only_the_bad_records_come_back() {
        let mut ids: Vec<String> = (0..25).map(|n| n.to_string()).collect();
        ids[0] = "poison".into();
        ids[12] = "error".into();
        ids[24] = "panic".into();
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        let response = settle(batch(&ids), apply).await.unwrap();
        let failed: Vec<_> = response.batch_item_failures.iter().map(|f| f.item_identifier.as_str()).collect();
        assert_eq!(failed, ["poison", "error", "panic"]);
    }

    #[tokio::test]
    async fn when_all_that_was_tried_fails_the_rest_is_not_tried() {
        let tried = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&tried);
        let ids: Vec<String> = (0..95).map(|n| n.to_string()).collect();
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        let response = settle(batch(&ids), |_| {
            count.fetch_add(1, Relaxed);
            async { Err::<(), _>("the table is away") }
        });
        assert_eq!(response.await.unwrap().batch_item_failures.len(), 95);
        assert_eq!(tried.load(Relaxed), super::CONCURRENCY);
    }

    #[tokio::test]
    async fn records_that_are_no_events_do_not_keep_others_from_being_tried() {
        let mut ids = vec!["poison"; super::CONCURRENCY];
        ids.extend(["1", "2"]);
        let response = settle(batch(&ids), apply).await.unwrap();
        let failed: Vec<_> = response.batch_item_failures.iter().map(|f| f.item_identifier.as_str()).collect();
        assert_eq!(failed, ["poison"; super::CONCURRENCY]);
    }

    #[tokio::test]
    async fn a_record_without_id_fails_the_whole_batch() {
        assert!(settle(batch(&["1", ""]), apply).await.is_err());
    }

    #[tokio::test]
    async fn an_empty_batch_succeeds() {
        assert!(settle(batch(&[]), apply).await.unwrap().batch_item_failures.is_empty());
    }
}
