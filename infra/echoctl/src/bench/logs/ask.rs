//! Requests to ingest as events, messages as deliveries, and what answers have to be.

use axum::body::Bytes;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceResponse;
use prost::Message;

use super::super::events;
use super::super::lab::Lab;
use super::requests::Request;
use crate::Failure;

/// The media type of OTLP in protobuf.
pub const PROTOBUF: &str = "application/x-protobuf";
/// Lambda's payload limit, in bytes.
const LARGEST: usize = 6 * 1_048_576;
/// What a record adds to its body, at most.
const RECORD: usize = 1_024;

/// The events for some requests, under a fresh token.
///
/// # Errors
/// When no token is issued.
pub async fn posts(lab: &mut Lab, requests: &[Request]) -> Result<Vec<Bytes>, Failure> {
    let token = lab.token().await?;
    requests.iter().map(|request| lab.events.logs(&token, PROTOBUF, true, request.body.clone())).collect()
}

/// Holds ingest's answer against: all lines were taken.
///
/// # Errors
/// When they were not.
pub async fn accepted(answer: &Bytes) -> Result<(), Failure> {
    let answer = ExportLogsServiceResponse::decode(events::body(answer).await?)?;
    match answer.partial_success {
        Some(partial) if partial.rejected_log_records > 0 => {
            Err(format!("{} lines were rejected: {}", partial.rejected_log_records, partial.error_message).into())
        }
        _ => Ok(()),
    }
}

/// Whether a batch may have one message more of `bytes` bytes when it has `count` of `filled` bytes in all.
fn has_room(count: usize, filled: usize, bytes: usize, most: usize) -> bool {
    count == 0 || (count < most && filled + bytes + (count + 1) * RECORD <= LARGEST)
}

/// Messages on their way to log-consume, in batches as the mapping makes them.
#[derive(Default)]
pub struct Batches {
    bodies: Vec<String>,
    bytes: usize,
}

impl Batches {
    /// Takes a message; answers with a batch when one is full: of `most` messages, or of as many bytes as an invocation
    /// may have.
    pub fn add(&mut self, body: String, most: usize) -> Option<Bytes> {
        let full = if has_room(self.bodies.len(), self.bytes, body.len(), most) { None } else { self.take() };
        self.bytes += body.len();
        self.bodies.push(body);
        full
    }

    /// What is left.
    pub fn take(&mut self) -> Option<Bytes> {
        self.bytes = 0;
        let bodies = std::mem::take(&mut self.bodies);
        (!bodies.is_empty()).then(|| events::batch(&bodies))
    }
}

/// All of some messages in batches.
pub fn batches(bodies: impl IntoIterator<Item = String>, most: usize) -> Vec<Bytes> {
    let mut open = Batches::default();
    let mut full: Vec<Bytes> = bodies.into_iter().filter_map(|body| open.add(body, most)).collect();
    full.extend(open.take());
    full
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::{LARGEST, batches};

    fn sizes(bodies: Vec<String>) -> Vec<usize> {
        let made = batches(bodies, 100);
        assert!(made.iter().all(|batch| batch.len() <= LARGEST));
        let records =
            |batch: &[u8]| serde_json::from_slice::<Value>(batch).unwrap()["Records"].as_array().unwrap().len();
        made.iter().map(|batch| records(batch)).collect()
    }

    #[test]
    fn batches_are_bounded_in_messages_and_bytes() {
        assert_eq!(sizes(vec![]), Vec::<usize>::new());
        assert_eq!(sizes(vec!["x".into(); 201]), [100, 100, 1]);
        assert_eq!(sizes(vec!["x".repeat(61_000); 120]), [100, 20]);
        assert_eq!(sizes(vec!["x".repeat(200_000); 40]), [31, 9]);
    }
}
