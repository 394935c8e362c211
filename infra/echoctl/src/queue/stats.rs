//! A queue's figures.

use std::time::{Duration, SystemTime};

use aws_sdk_cloudwatch::primitives::DateTime;
use aws_sdk_cloudwatch::types::{Dimension, Statistic};
use aws_sdk_sqs::types::QueueAttributeName as Name;
use echo_local::sqs::AGE_OF_OLDEST;
use echo_shared::clock::Clock;
use serde_json::{Value, json};

use super::place::{Known, Place, said};
use crate::Failure;
use crate::show;

/// CloudWatch measures every minute, and shows it some minutes later.
const RECENT: Duration = Duration::from_secs(15 * 60);

/// What a queue holds.
#[derive(Clone, PartialEq, Eq)]
pub struct Stats {
    /// Its name.
    pub queue: String,
    /// Ready to be received.
    pub ready: u64,
    /// Not yet due.
    pub delayed: u64,
    /// Received and not yet deleted.
    pub in_flight: u64,
    /// The oldest message's age in seconds, when there is one and it is known.
    pub oldest: Option<u64>,
    /// Messages in its dead-letter queue; nothing when it has none.
    pub failed: Option<u64>,
}

impl Stats {
    /// All messages that are not dead letters.
    pub fn messages(&self) -> u64 {
        self.ready + self.delayed + self.in_flight
    }

    /// For scripts.
    pub fn json(&self) -> Value {
        json!({
            "queue": self.queue, "ready": self.ready, "delayed": self.delayed, "in_flight": self.in_flight,
            "oldest_age_s": self.oldest, "failed": self.failed,
        })
    }

    /// For people.
    fn row(&self) -> Vec<String> {
        let some = |number: Option<u64>| number.map_or("-".into(), |number| number.to_string());
        let oldest = self.oldest.map_or("-".into(), age);
        let numbers = [self.ready, self.delayed, self.in_flight].map(|number| number.to_string());
        [vec![self.queue.clone()], numbers.to_vec(), vec![oldest, some(self.failed)]].concat()
    }
}

/// The figures under each other.
pub fn table(all: &[Stats]) -> String {
    let rows: Vec<_> = all.iter().map(Stats::row).collect();
    show::table(&["QUEUE", "READY", "DELAYED", "IN FLIGHT", "OLDEST", "FAILED"], &rows)
}

/// A time span as people say it.
fn age(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// Asks for a queue's figures.
///
/// # Errors
/// When SQS does not answer.
pub async fn of(place: &Place, queue: &Known) -> Result<Stats, Failure> {
    let asked = match place.cloud {
        None => vec![Name::All, AGE_OF_OLDEST.into()],
        Some(_) => vec![Name::All],
    };
    let request = place.sqs.get_queue_attributes().queue_url(&queue.url).set_attribute_names(Some(asked));
    let attributes = request.send().await.map_err(said)?.attributes.unwrap_or_default();
    let number = |name: &Name| attributes.get(name).and_then(|value| value.parse().ok()).unwrap_or_default();
    let (ready, in_flight) =
        (number(&Name::ApproximateNumberOfMessages), number(&Name::ApproximateNumberOfMessagesNotVisible));
    let delayed = number(&Name::ApproximateNumberOfMessagesDelayed);
    let oldest = match place.cloud {
        None => attributes.get(&AGE_OF_OLDEST.into()).and_then(|age| age.parse().ok()),
        Some(_) if ready + in_flight == 0 => None,
        Some(_) => oldest_in_the_cloud(place, queue).await,
    };
    let failed = match dead_letter_queue(place, &attributes).await? {
        Some(dead) => Some(depth(place, &dead).await?),
        None => None,
    };
    Ok(Stats { queue: queue.name.clone(), ready, delayed, in_flight, oldest, failed })
}

/// The dead-letter queue that a queue's attributes name.
///
/// # Errors
/// When SQS does not know it.
pub async fn dead_letter_queue(
    place: &Place,
    attributes: &std::collections::HashMap<Name, String>,
) -> Result<Option<Known>, Failure> {
    let policy = attributes.get(&Name::RedrivePolicy).and_then(|policy| serde_json::from_str::<Value>(policy).ok());
    let arn = policy.as_ref().and_then(|policy| policy.get("deadLetterTargetArn")).and_then(Value::as_str);
    match arn.and_then(|arn| arn.rsplit(':').next()) {
        Some(name) => Ok(Some(place.queue(name).await?)),
        None => Ok(None),
    }
}

async fn depth(place: &Place, queue: &Known) -> Result<u64, Failure> {
    let names = [Name::ApproximateNumberOfMessages, Name::ApproximateNumberOfMessagesNotVisible];
    let request = place.sqs.get_queue_attributes().queue_url(&queue.url).set_attribute_names(Some(names.to_vec()));
    let attributes = request.send().await.map_err(said)?.attributes.unwrap_or_default();
    Ok(attributes.values().filter_map(|value| value.parse::<u64>().ok()).sum())
}

/// SQS itself does not tell; CloudWatch does, unless you may not ask it.
async fn oldest_in_the_cloud(place: &Place, queue: &Known) -> Option<u64> {
    let now = SystemTime::from(Clock::system().now());
    let answer = aws_sdk_cloudwatch::Client::new(place.cloud.as_ref()?)
        .get_metric_statistics()
        .namespace("AWS/SQS")
        .metric_name("ApproximateAgeOfOldestMessage")
        .dimensions(Dimension::builder().name("QueueName").value(&queue.name).build())
        .start_time(DateTime::from(now.checked_sub(RECENT)?))
        .end_time(DateTime::from(now))
        .period(60)
        .statistics(Statistic::Maximum)
        .send()
        .await
        .ok()?;
    let newest = answer.datapoints().iter().max_by_key(|point| point.timestamp().map(DateTime::secs))?;
    newest.maximum().map(|age| age as u64)
}

#[cfg(test)]
mod tests {
    use super::{Stats, table};

    #[test]
    fn figures_line_up() {
        let stats = |failed| Stats {
            queue: "echo-audit".into(),
            ready: 12,
            delayed: 0,
            in_flight: 3,
            oldest: Some(7_300),
            failed,
        };
        let shown = table(&[stats(Some(1)), Stats { oldest: None, ..stats(None) }]);
        assert_eq!(
            shown,
            "QUEUE       READY  DELAYED  IN FLIGHT  OLDEST  FAILED\n\
             echo-audit  12     0        3          2 h     1\n\
             echo-audit  12     0        3          -       -\n"
        );
    }
}
