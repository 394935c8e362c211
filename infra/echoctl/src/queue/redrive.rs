//! Dead letters back to where they came from: sent there first, deleted here then. A crash in between leaves a message in
//! both, and whoever handles it meets its event's id again.

use std::collections::BTreeMap;

use aws_sdk_sqs::types::{
    DeleteMessageBatchRequestEntry, Message, MessageSystemAttributeName as Attribute, SendMessageBatchRequestEntry,
};
use clap::Args;
use serde_json::json;

use super::messages::attribute;
use super::place::{Known, Place, Where, said};
use super::stats;
use crate::Failure;
use crate::up::Stop;

/// All bodies of a batch together, in bytes.
const LARGEST_BATCH: usize = 1_048_576;
/// What is being moved is hidden from others for so long.
const MOVING: i32 = 60;

/// Send dead letters back to the queue they came from, as new messages with the same body.
#[derive(Args)]
pub struct Redrive {
    #[command(flatten)]
    at: Where,
    /// The dead-letter queue, or the queue that it belongs to
    queue: String,
    /// Send them all to this queue instead
    #[arg(long)]
    to: Option<String>,
    /// The most messages [default: as many as there are now]
    #[arg(long)]
    limit: Option<u64>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Redrive {
    /// Runs the command.
    pub async fn run(self) -> Result<(), Failure> {
        let mut stop = Stop::listen()?;
        let place = Place::find(&self.at).await?;
        let dead = self.dead_letters(&place).await?;
        let to = match &self.to {
            Some(to) => Some(place.queue(to).await?),
            None => None,
        };
        // No more than are there now: what fails again at once is not sent round in circles.
        let there = stats::of(&place, &dead).await?.ready;
        let most = self.limit.map_or(there, |limit| limit.min(there));
        let (mut moved, mut stopped) = (0, false);
        while moved < most {
            // Between two batches, never within one.
            stopped = tokio::select! {
                biased;
                () = stop.wait() => true,
                () = std::future::ready(()) => false,
            };
            if stopped {
                break;
            }
            let some = move_some(&place, &dead, to.as_ref(), (most - moved).min(10)).await?;
            if some == 0 {
                break;
            }
            moved += some;
            eprint!("\r… {moved} of {most}");
        }
        if moved > 0 {
            eprintln!();
        }
        if self.json {
            println!("{}", json!({ "queue": dead.name, "moved": moved }));
        } else {
            println!("{}: {moved} messages sent back", dead.name);
        }
        if stopped { Err("stopped; the rest is where it was".into()) } else { Ok(()) }
    }

    async fn dead_letters(&self, place: &Place) -> Result<Known, Failure> {
        let queue = place.queue(&self.queue).await?;
        let request = place.sqs.get_queue_attributes().queue_url(&queue.url);
        let request = request.attribute_names(aws_sdk_sqs::types::QueueAttributeName::RedrivePolicy);
        let attributes = request.send().await.map_err(said)?.attributes.unwrap_or_default();
        Ok(stats::dead_letter_queue(place, &attributes).await?.unwrap_or(queue))
    }
}

/// Moves up to `most` messages; how many.
async fn move_some(place: &Place, dead: &Known, to: Option<&Known>, most: u64) -> Result<u64, Failure> {
    let max = i32::try_from(most).unwrap_or(10);
    let request = place.sqs.receive_message().queue_url(&dead.url).max_number_of_messages(max);
    let request = request.visibility_timeout(MOVING).message_system_attribute_names(Attribute::All);
    let received = request.message_attribute_names("All").send().await.map_err(said)?.messages.unwrap_or_default();
    let mut by_target: BTreeMap<String, Vec<Message>> = BTreeMap::new();
    for message in received {
        let source = attribute(&message, Attribute::DeadLetterQueueSourceArn).and_then(|arn| arn.rsplit(':').next());
        let name = to.map(|to| to.name.as_str()).or(source);
        let name = name.ok_or("a message does not say where it came from: name a queue with --to")?;
        by_target.entry(name.to_owned()).or_default().push(message);
    }
    let mut moved = 0;
    for (name, messages) in by_target {
        let target = place.queue(&name).await?;
        for some in batches(messages) {
            moved += send_and_delete(place, dead, &target, &some).await?;
        }
    }
    Ok(moved)
}

/// Batches that SQS takes.
fn batches(messages: Vec<Message>) -> Vec<Vec<Message>> {
    let (mut batches, mut bytes): (Vec<Vec<Message>>, usize) = (Vec::new(), 0);
    for message in messages {
        let size = message.body().unwrap_or_default().len();
        bytes += size;
        match batches.last_mut() {
            Some(batch) if bytes <= LARGEST_BATCH => batch.push(message),
            _ => {
                bytes = size;
                batches.push(vec![message]);
            }
        }
    }
    batches
}

async fn send_and_delete(place: &Place, dead: &Known, target: &Known, messages: &[Message]) -> Result<u64, Failure> {
    let entry = |(n, message): (usize, &Message)| {
        let entry = SendMessageBatchRequestEntry::builder().id(n.to_string());
        let entry = entry.message_body(message.body().unwrap_or_default());
        entry.set_message_attributes(message.message_attributes.clone()).build()
    };
    let entries = messages.iter().enumerate().map(entry).collect::<Result<Vec<_>, _>>()?;
    let sent = place.sqs.send_message_batch().queue_url(&target.url).set_entries(Some(entries)).send().await;
    let sent = sent.map_err(said)?;
    let arrived = sent.successful().iter().filter_map(|entry| messages.get(entry.id().parse::<usize>().ok()?));
    let deletion = |(n, message): (usize, &Message)| {
        let entry = DeleteMessageBatchRequestEntry::builder().id(n.to_string());
        entry.receipt_handle(message.receipt_handle().unwrap_or_default()).build()
    };
    let entries = arrived.enumerate().map(deletion).collect::<Result<Vec<_>, _>>()?;
    if let Some(failed) = sent.failed().first() {
        let why = failed.message().unwrap_or(failed.code());
        eprintln!("echoctl: {} takes not all of them: {}", target.name, crate::show::plain(why));
    }
    if entries.is_empty() {
        return Ok(0);
    }
    let deleted = place.sqs.delete_message_batch().queue_url(&dead.url).set_entries(Some(entries)).send().await;
    Ok(deleted.map_err(said)?.successful().len() as u64)
}
