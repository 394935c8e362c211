//! The actions.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::Sqs;
use super::batch::{self, Outcome};
use super::error::ApiError;
use super::wire;
use crate::queue::{self, MAX_VISIBILITY, Outgoing, Receipt, Receive, md5_hex};

/// All bodies of a batch together, in bytes.
const LARGEST_BATCH: usize = 1_048_576;
/// The age of the oldest message in seconds, for those who ask by name. SQS itself leaves that to CloudWatch.
pub const AGE_OF_OLDEST: &str = "ApproximateAgeOfOldestMessage";
/// Who sent a message: the local cloud knows no principals.
pub const SENDER: &str = "AIDAECHOLOCAL";

type Answer = Result<Value, ApiError>;

impl Sqs {
    pub(super) async fn send_message(&self, request: wire::SendMessage) -> Answer {
        let name = self.queue(&request.queue_url)?;
        let outgoing = outgoing(request.message)?;
        let mut sent = self.queues.send(&name, std::slice::from_ref(&outgoing)).await?;
        let sent = sent.pop().ok_or_else(ApiError::empty_batch)??;
        Ok(json!({ "MessageId": sent.message_id, "MD5OfMessageBody": md5_hex(&outgoing.body) }))
    }

    pub(super) async fn send_message_batch(&self, request: wire::Batch<wire::Message>) -> Answer {
        let name = self.queue(&request.queue_url)?;
        batch::check(request.entries.iter().map(|entry| entry.id.as_str()))?;
        let bytes = request.entries.iter().map(|entry| entry.message_body.len()).sum();
        if bytes > LARGEST_BATCH {
            return Err(ApiError::batch_too_long(LARGEST_BATCH, bytes));
        }
        let mut outcome = Outcome::default();
        let (mut ids, mut messages) = (Vec::new(), Vec::new());
        for entry in request.entries {
            let id = entry.id.clone();
            match outgoing(entry) {
                Ok(message) => {
                    ids.push(id);
                    messages.push(message);
                }
                Err(error) => outcome.note(&id, Err(error)),
            }
        }
        let results = self.queues.send(&name, &messages).await?;
        for ((id, message), result) in ids.iter().zip(&messages).zip(results) {
            let answer =
                |sent: queue::Sent| json!({ "MessageId": sent.message_id, "MD5OfMessageBody": md5_hex(&message.body) });
            outcome.note(id, result.map(answer).map_err(ApiError::from));
        }
        Ok(outcome.answer())
    }

    pub(super) async fn receive_message(&self, request: wire::ReceiveMessage) -> Answer {
        let name = self.queue(&request.queue_url)?;
        if request.receive_request_attempt_id.is_some() {
            return Err(fifo("ReceiveRequestAttemptId"));
        }
        let max = within(request.max_number_of_messages.unwrap_or(1), "MaxNumberOfMessages", 1, 10)?;
        let wait = within(request.wait_time_seconds.unwrap_or(0), "WaitTimeSeconds", 0, 20)?;
        let wanted = Receive {
            max: usize::try_from(max).unwrap_or(1),
            max_bytes: usize::MAX,
            wait: Duration::from_secs(wait),
            visibility: request.visibility_timeout.map(visibility).transpose()?,
        };
        let mut shutdown = self.shutdown.clone();
        let stop = async move {
            let _ = shutdown.wait_for(|stop| *stop).await;
        };
        let messages = self.queues.receive_until(&name, wanted, stop).await?;
        if messages.is_empty() {
            return Ok(json!({}));
        }
        let asked = [request.attribute_names, request.message_system_attribute_names].concat();
        let messages: Vec<Value> = messages.iter().map(|message| shown(message, &name, &asked)).collect();
        Ok(json!({ "Messages": messages }))
    }

    pub(super) async fn delete_message(&self, request: wire::DeleteMessage) -> Answer {
        let name = self.queue(&request.queue_url)?;
        let receipt = Receipt::parse(&request.receipt_handle, &name)?;
        self.queues.delete(&name, &[receipt]).await?;
        Ok(json!({}))
    }

    pub(super) async fn delete_message_batch(&self, request: wire::Batch<wire::DeleteEntry>) -> Answer {
        let name = self.queue(&request.queue_url)?;
        batch::check(request.entries.iter().map(|entry| entry.id.as_str()))?;
        let mut outcome = Outcome::default();
        let mut receipts = Vec::new();
        for entry in &request.entries {
            let receipt = Receipt::parse(&entry.receipt_handle, &name);
            outcome.note(
                &entry.id,
                receipt.map(|receipt| receipts.push(receipt)).map(|()| Value::Null).map_err(ApiError::from),
            );
        }
        self.queues.delete(&name, &receipts).await?;
        Ok(outcome.answer())
    }

    pub(super) async fn change_message_visibility(&self, request: wire::ChangeMessageVisibility) -> Answer {
        let name = self.queue(&request.queue_url)?;
        self.change(&name, &request.receipt_handle, request.visibility_timeout).await
    }

    pub(super) async fn change_message_visibility_batch(&self, request: wire::Batch<wire::ChangeEntry>) -> Answer {
        let name = self.queue(&request.queue_url)?;
        batch::check(request.entries.iter().map(|entry| entry.id.as_str()))?;
        let mut outcome = Outcome::default();
        for entry in &request.entries {
            outcome.note(&entry.id, self.change(&name, &entry.receipt_handle, entry.visibility_timeout).await);
        }
        Ok(outcome.answer())
    }

    async fn change(&self, name: &str, handle: &str, timeout: i64) -> Answer {
        let timeout = visibility(timeout)?;
        let receipt = Receipt::parse(handle, name)?;
        self.queues.change_visibility(name, receipt, timeout).await?;
        Ok(json!({}))
    }

    pub(super) fn get_queue_url(&self, request: &wire::GetQueueUrl) -> Answer {
        self.queues.spec(&request.queue_name)?;
        Ok(json!({ "QueueUrl": self.url(&request.queue_name) }))
    }

    pub(super) fn list_queues(&self, request: &wire::ListQueues) -> Value {
        let names = self.queues.names().filter(|name| name.starts_with(&request.queue_name_prefix));
        let urls: Vec<String> = names.map(|name| self.url(name)).collect();
        if urls.is_empty() { json!({}) } else { json!({ "QueueUrls": urls }) }
    }

    pub(super) async fn purge_queue(&self, request: wire::OfQueue) -> Answer {
        let name = self.queue(&request.queue_url)?;
        self.queues.purge(&name).await?;
        Ok(json!({}))
    }

    pub(super) async fn get_queue_attributes(&self, request: wire::GetQueueAttributes) -> Answer {
        let name = self.queue(&request.queue_url)?;
        let spec = self.queues.spec(&name)?;
        let counts = self.queues.counts(&name).await?;
        let mut all = Map::new();
        let mut set = |name: &str, value: String| all.insert(name.into(), value.into());
        set("ApproximateNumberOfMessages", counts.visible.to_string());
        set("ApproximateNumberOfMessagesNotVisible", counts.in_flight.to_string());
        set("ApproximateNumberOfMessagesDelayed", counts.delayed.to_string());
        set("QueueArn", queue::arn(&name));
        set("VisibilityTimeout", spec.visibility_timeout.as_secs().to_string());
        set("MessageRetentionPeriod", spec.retention.as_secs().to_string());
        set("DelaySeconds", spec.delay.as_secs().to_string());
        set("MaximumMessageSize", spec.max_message_size.to_string());
        set("ReceiveMessageWaitTimeSeconds", "0".into());
        if let Some(redrive) = &spec.redrive {
            let target = queue::arn(&redrive.target);
            let policy = json!({ "deadLetterTargetArn": target, "maxReceiveCount": redrive.max_receive_count });
            set("RedrivePolicy", policy.to_string());
        }
        let asked = request.attribute_names;
        if asked.iter().any(|name| name == AGE_OF_OLDEST)
            && let Some(age) = self.queues.oldest_age(&name).await?
        {
            set(AGE_OF_OLDEST, age.as_secs().to_string());
        }
        if let Some(unknown) = asked.iter().find(|name| !KNOWN.contains(&name.as_str()) && !all.contains_key(*name)) {
            return Err(ApiError::invalid_attribute(unknown));
        }
        if !asked.iter().any(|name| name == "All") {
            all.retain(|name, _| asked.contains(name));
        }
        Ok(if all.is_empty() { json!({}) } else { json!({ "Attributes": all }) })
    }

    /// The name at the end of a queue's URL, whatever host the client knows us by.
    fn queue(&self, url: &str) -> Result<String, ApiError> {
        let name = url.rsplit('/').next().unwrap_or_default();
        self.queues.spec(name)?;
        Ok(name.to_owned())
    }

    fn url(&self, name: &str) -> String {
        format!("{}/{name}", self.base_url)
    }
}

/// Attributes that may be asked for and that a local queue may not have.
const KNOWN: [&str; 3] = ["All", "RedrivePolicy", AGE_OF_OLDEST];

fn outgoing(message: wire::Message) -> Result<Outgoing, ApiError> {
    let some = |members: &Option<Map<String, Value>>| members.as_ref().is_some_and(|members| !members.is_empty());
    if some(&message.message_attributes) || some(&message.message_system_attributes) {
        return Err(ApiError::unsupported("Message attributes are"));
    }
    if message.message_group_id.is_some() {
        return Err(fifo("MessageGroupId"));
    }
    if message.message_deduplication_id.is_some() {
        return Err(fifo("MessageDeduplicationId"));
    }
    let delay = message.delay_seconds.map(|delay| within(delay, "DelaySeconds", 0, 900)).transpose()?;
    Ok(Outgoing { body: message.message_body, delay: delay.map(Duration::from_secs) })
}

fn shown(message: &queue::Message, queue: &str, asked: &[String]) -> Value {
    let mut shown = json!({
        "MessageId": message.message_id,
        "ReceiptHandle": message.receipt.handle(queue),
        "Body": message.body,
        "MD5OfBody": md5_hex(&message.body),
    });
    let mut attributes = attributes(message);
    if !asked.iter().any(|name| name == "All") {
        attributes.retain(|name, _| asked.contains(name));
    }
    if let Some(members) = shown.as_object_mut().filter(|_| !attributes.is_empty()) {
        members.insert("Attributes".into(), attributes.into());
    }
    shown
}

/// A message's system attributes, all of them strings.
pub fn attributes(message: &queue::Message) -> Map<String, Value> {
    let mut attributes = Map::new();
    let mut set = |name: &str, value: String| attributes.insert(name.into(), value.into());
    set("SenderId", SENDER.into());
    set("SentTimestamp", message.sent_at.to_string());
    set("ApproximateReceiveCount", message.receive_count.to_string());
    set("ApproximateFirstReceiveTimestamp", message.first_received_at.to_string());
    if let Some(source) = &message.source_queue {
        set("DeadLetterQueueSourceArn", queue::arn(source));
    }
    attributes
}

fn visibility(seconds: i64) -> Result<Duration, ApiError> {
    let most = i64::try_from(MAX_VISIBILITY.as_secs()).unwrap_or(i64::MAX);
    within(seconds, "VisibilityTimeout", 0, most).map(Duration::from_secs)
}

fn within(value: i64, name: &str, least: i64, most: i64) -> Result<u64, ApiError> {
    let fits = (least..=most).contains(&value);
    fits.then(|| u64::try_from(value).ok()).flatten().ok_or_else(|| ApiError::out_of_range(value, name, least, most))
}

fn fifo(parameter: &str) -> ApiError {
    let reason = "FIFO and fair queues are not offered by the local SQS";
    ApiError::invalid_parameter(format!("The parameter {parameter} is invalid. Reason: {reason}."))
}
