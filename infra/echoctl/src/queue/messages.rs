//! Looking at messages. SQS knows no look without a receive, so what is looked at is given back at once.

use std::collections::BTreeSet;
use std::time::Duration;

use aws_sdk_sqs::types::{
    ChangeMessageVisibilityBatchRequestEntry, Message, MessageSystemAttributeName as Attribute,
    QueueAttributeName as Name,
};
use clap::Args;
use echo_shared::clock::{Clock, sortable};
use serde_json::{Value, json};
use time::OffsetDateTime;

use super::place::{Known, Place, Where, said};
use super::stats;
use crate::Failure;
use crate::show::{plain, table};
use crate::up::Stop;

/// What is looked at is hidden from others for so long, should it not be given back.
const LOOK: i32 = 10;
/// The most messages in one request.
const TEN: i32 = 10;
/// Between two looks.
const PAUSE: Duration = Duration::from_secs(1);
/// Messages looked at while following a queue.
const MOST: usize = 1_000;
/// Characters of a body in a table.
const SHOWN: usize = 80;

/// Show messages without taking them. A look counts as a receive: after so many of them a message becomes a dead letter.
#[derive(Args)]
pub struct Peek {
    #[command(flatten)]
    at: Where,
    /// The queue
    queue: String,
    /// The most messages
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=1000))]
    limit: u16,
    /// Also in a queue whose messages become dead letters when they are received too often
    #[arg(long)]
    force: bool,
    /// Print a JSON object a line, bodies as they are
    #[arg(long)]
    json: bool,
}

impl Peek {
    /// Runs the command.
    pub async fn run(self) -> Result<(), Failure> {
        let place = Place::find(&self.at).await?;
        let queue = place.queue(&self.queue).await?;
        if let Some(most) = max_receive_count(&place, &queue).await?
            && !self.force
        {
            let name = &queue.name;
            return Err(format!(
                "a look counts as a receive, and {name} gives up on a message after {most}: say --force to look all the same"
            )
            .into());
        }
        let messages = look(&place, &queue, usize::from(self.limit)).await?;
        if self.json {
            messages.iter().for_each(|message| println!("{}", as_json(message)));
        } else {
            let rows: Vec<_> = messages.iter().map(row).collect();
            print!("{}", table(&["ID", "SENT", "RECEIVED", "FROM", "BODY"], &rows));
        }
        Ok(())
    }
}

/// Follow a queue's figures, and its messages when it is a dead-letter queue. Ctrl-C ends it.
#[derive(Args)]
pub struct Tail {
    #[command(flatten)]
    at: Where,
    /// The queue
    queue: String,
    /// Print a JSON object a line
    #[arg(long)]
    json: bool,
}

impl Tail {
    /// Runs the command.
    pub async fn run(self) -> Result<(), Failure> {
        let mut stop = Stop::listen()?;
        let place = Place::find(&self.at).await?;
        let queue = place.queue(&self.queue).await?;
        // Elsewhere a look would use up receives.
        let looks = max_receive_count(&place, &queue).await?.is_none();
        let (mut before, mut seen) = (None, BTreeSet::new());
        loop {
            let now = stats::of(&place, &queue).await?;
            let shown = stats::Stats { oldest: None, ..now.clone() };
            if before.replace(shown.clone()).as_ref() != Some(&shown) {
                let time = sortable(Clock::system().now());
                if self.json {
                    println!("{}", json!({ "time": time, "stats": now.json() }));
                } else {
                    let failed = now.failed.map(|failed| format!(", {failed} failed")).unwrap_or_default();
                    println!(
                        "{time} {}: {} ready, {} delayed, {} in flight{failed}",
                        now.queue, now.ready, now.delayed, now.in_flight
                    );
                }
            }
            if looks && now.ready > 0 {
                self.show_new(&place, &queue, now.ready, &mut seen).await?;
            }
            tokio::select! {
                () = stop.wait() => return Ok(()),
                () = tokio::time::sleep(PAUSE) => {}
            }
        }
    }

    /// Each message once.
    async fn show_new(
        &self,
        place: &Place,
        queue: &Known,
        ready: u64,
        seen: &mut BTreeSet<String>,
    ) -> Result<(), Failure> {
        for message in look(place, queue, usize::try_from(ready).unwrap_or(MOST).min(MOST)).await? {
            let id = message.message_id().unwrap_or_default().to_owned();
            if !seen.insert(id) {
                continue;
            }
            if self.json {
                println!("{}", json!({ "message": as_json(&message) }));
            } else {
                println!("{}", row(&message).join("  "));
            }
        }
        Ok(())
    }
}

/// How often a queue delivers a message before it gives it up.
async fn max_receive_count(place: &Place, queue: &Known) -> Result<Option<u64>, Failure> {
    let request = place.sqs.get_queue_attributes().queue_url(&queue.url).attribute_names(Name::RedrivePolicy);
    let attributes = request.send().await.map_err(said)?.attributes.unwrap_or_default();
    let policy = attributes.get(&Name::RedrivePolicy).and_then(|policy| serde_json::from_str::<Value>(policy).ok());
    let count = policy.as_ref().and_then(|policy| policy.get("maxReceiveCount"));
    // AWS writes a number, others a string.
    Ok(count.and_then(|count| count.as_u64().or_else(|| count.as_str()?.parse().ok())))
}

/// Up to `most` messages, given back at once.
async fn look(place: &Place, queue: &Known, most: usize) -> Result<Vec<Message>, Failure> {
    let mut messages: Vec<Message> = Vec::new();
    while messages.len() < most {
        let max = i32::try_from(most - messages.len()).unwrap_or(TEN).min(TEN);
        let request = place.sqs.receive_message().queue_url(&queue.url).max_number_of_messages(max);
        let request = request.visibility_timeout(LOOK).message_system_attribute_names(Attribute::All);
        let received = request.send().await.map_err(said)?.messages.unwrap_or_default();
        if received.is_empty() {
            break;
        }
        messages.extend(received);
    }
    for some in messages.chunks(10) {
        let entry = |(n, message): (usize, &Message)| {
            let entry = ChangeMessageVisibilityBatchRequestEntry::builder().id(n.to_string());
            entry.receipt_handle(message.receipt_handle().unwrap_or_default()).visibility_timeout(0).build()
        };
        let entries = some.iter().enumerate().map(entry).collect::<Result<Vec<_>, _>>()?;
        let request = place.sqs.change_message_visibility_batch().queue_url(&queue.url);
        request.set_entries(Some(entries)).send().await.map_err(said)?;
    }
    Ok(messages)
}

/// A system attribute.
pub fn attribute(message: &Message, name: Attribute) -> Option<&str> {
    message.attributes()?.get(&name).map(String::as_str)
}

fn sent(message: &Message) -> String {
    let millis: i128 = attribute(message, Attribute::SentTimestamp).and_then(|sent| sent.parse().ok()).unwrap_or(0);
    OffsetDateTime::from_unix_timestamp_nanos(millis * 1_000_000).map_or("-".into(), sortable)
}

fn source(message: &Message) -> Option<&str> {
    attribute(message, Attribute::DeadLetterQueueSourceArn)?.rsplit(':').next()
}

fn row(message: &Message) -> Vec<String> {
    let body: String = message.body().unwrap_or_default().chars().take(SHOWN).collect();
    vec![
        plain(message.message_id().unwrap_or_default()),
        sent(message),
        plain(attribute(message, Attribute::ApproximateReceiveCount).unwrap_or("-")),
        plain(source(message).unwrap_or("-")),
        plain(&body),
    ]
}

fn as_json(message: &Message) -> Value {
    let count = attribute(message, Attribute::ApproximateReceiveCount).and_then(|count| count.parse::<u64>().ok());
    json!({
        "id": message.message_id(), "sent": sent(message), "receive_count": count, "source": source(message),
        "body": message.body(),
    })
}
