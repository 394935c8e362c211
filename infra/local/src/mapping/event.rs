//! The event a function gets, as the Lambda developer guide shows it.

use axum::body::Bytes;
use serde_json::{Value, json};

use crate::queue::{self, Message, md5_hex};
use crate::sqs;
use crate::template::REGION;

/// The `SqsEvent` for a batch.
pub fn payload(queue: &str, batch: &[Message]) -> Bytes {
    let records: Vec<Value> = batch.iter().map(|message| record(queue, message)).collect();
    Bytes::from(json!({ "Records": records }).to_string())
}

fn record(queue: &str, message: &Message) -> Value {
    json!({
        "messageId": message.message_id,
        "receiptHandle": message.receipt.handle(queue),
        "body": message.body,
        "attributes": sqs::attributes(message),
        "messageAttributes": {},
        "md5OfBody": md5_hex(&message.body),
        "eventSource": "aws:sqs",
        "eventSourceARN": queue::arn(queue),
        "awsRegion": REGION,
    })
}
