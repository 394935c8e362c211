//! What a queue tells about itself, and its purge.

use std::time::Duration;

use aws_sdk_sqs::types::QueueAttributeName;
use echo_local::spec::QueueSpec;
use serde_json::{Value, json};

use super::server::{Excuse, Server, code};
use crate::support::{q, q_and_dead};

contract! {
    queues_are_found_by_name(vec![q(30)]);
    an_unknown_queue_does_not_exist(vec![q(30)]);
    messages_are_counted(vec![q(30)]);
    attributes_are_shown(vec![QueueSpec {
        retention: Duration::from_secs(60),
        delay: Duration::from_secs(900),
        max_message_size: 1024,
        ..q(43_200)
    }]);
    defaults_are_as_documented(vec![QueueSpec::new("q")]);
    a_redrive_policy_is_shown(q_and_dead(30, 1000));
    only_attributes_that_are_asked_for_come(vec![q(30)]);
    an_unknown_attribute_is_refused(vec![q(30)]) unless Excuse {
        aws: "refuses it with InvalidAttributeName",
        source: "API, GetQueueAttributes: \"The specified attribute doesn't exist\"",
        why: "it leaves out what it does not know; only a misspelt name tells the two apart",
    };
    a_purge_takes_everything(vec![q(30)]);
    purges_are_a_minute_apart(vec![q(30)]) unless Excuse {
        aws: "refuses a second purge within 60 seconds with PurgeQueueInProgress, status 403",
        source: "seen: test_successive_purge_calls_fail",
        why: "it purges at once, so that a second purge cannot overtake the first",
    };
}

/// API, GetQueueUrl.
async fn queues_are_found_by_name(server: &Server) {
    let arn = server.arn("q").await;
    let found = server.client.get_queue_url().queue_name(arn.rsplit(':').next().unwrap()).send().await.unwrap();
    assert_eq!(found.queue_url(), Some(server.url("q")));
}

/// Seen: test_non_existent_queue.
async fn an_unknown_queue_does_not_exist(server: &Server) {
    let unknown = "AWS.SimpleQueueService.NonExistentQueue";
    let url = format!("{}-nowhere", server.url("q"));
    let client = &server.client;
    assert_eq!(code(client.get_queue_url().queue_name("nowhere").send().await), unknown);
    assert_eq!(code(client.send_message().queue_url(&url).message_body("x").send().await), unknown);
    assert_eq!(code(client.receive_message().queue_url(&url).send().await), unknown);
    assert_eq!(code(client.get_queue_attributes().queue_url(&url).send().await), unknown);
    assert_eq!(code(client.purge_queue().queue_url(&url).send().await), unknown);
}

/// API, GetQueueAttributes.
async fn messages_are_counted(server: &Server) {
    assert_eq!(server.counts("q").await, [0, 0, 0]);
    server.sent(&["1", "2", "3"]).await;
    server.send("later").delay_seconds(900).send().await.unwrap();
    assert_eq!(server.counts("q").await, [3, 0, 1]);
    server.one("q").await;
    assert_eq!(server.counts("q").await, [2, 1, 1]);
}

async fn shown(server: &Server) -> [String; 5] {
    let mut all = server.attributes("q").await;
    let names = [
        QueueAttributeName::VisibilityTimeout,
        QueueAttributeName::MessageRetentionPeriod,
        QueueAttributeName::DelaySeconds,
        QueueAttributeName::MaximumMessageSize,
        QueueAttributeName::ReceiveMessageWaitTimeSeconds,
    ];
    names.map(|name| all.remove(&name).unwrap())
}

/// Seen: test_create_queue_with_attributes.
async fn attributes_are_shown(server: &Server) {
    assert_eq!(shown(server).await, ["43200", "60", "900", "1024", "0"]);
}

/// API, CreateQueue.
async fn defaults_are_as_documented(server: &Server) {
    assert_eq!(shown(server).await, ["30", "345600", "0", "1048576", "0"]);
}

/// API, GetQueueAttributes: RedrivePolicy is a JSON object.
async fn a_redrive_policy_is_shown(server: &Server) {
    let all = server.attributes("q").await;
    let policy: Value = serde_json::from_str(&all[&QueueAttributeName::RedrivePolicy]).unwrap();
    assert_eq!(policy, json!({ "deadLetterTargetArn": server.arn("dead").await, "maxReceiveCount": 1000 }));
    assert!(!server.attributes("dead").await.contains_key(&QueueAttributeName::RedrivePolicy));
}

/// API, GetQueueAttributes.
async fn only_attributes_that_are_asked_for_come(server: &Server) {
    let get = server.client.get_queue_attributes().queue_url(server.url("q"));
    let get = get.attribute_names(QueueAttributeName::DelaySeconds).attribute_names(QueueAttributeName::RedrivePolicy);
    let shown = get.send().await.unwrap().attributes.unwrap();
    assert_eq!(shown.into_iter().collect::<Vec<_>>(), [(QueueAttributeName::DelaySeconds, "0".to_owned())]);
}

async fn an_unknown_attribute_is_refused(server: &Server) {
    let get = server.client.get_queue_attributes().queue_url(server.url("q"));
    assert_eq!(code(get.attribute_names("Nonsense".into()).send().await), "InvalidAttributeName");
}

/// API, PurgeQueue: in-flight messages too; seen: test_purge_queue_deletes_inflight_messages,
/// test_purge_queue_deletes_delayed_messages.
async fn a_purge_takes_everything(server: &Server) {
    server.sent(&["flying", "visible"]).await;
    server.send("later").delay_seconds(900).send().await.unwrap();
    server.one("q").await;
    assert_eq!(server.counts("q").await, [1, 1, 1]);
    server.client.purge_queue().queue_url(server.url("q")).send().await.unwrap();
    assert_eq!(server.counts("q").await, [0, 0, 0]);
    assert!(server.short().await.is_empty());
    // The queue goes on.
    server.sent(&["x"]).await;
    assert_eq!(server.one("q").await.body(), Some("x"));
}

async fn purges_are_a_minute_apart(server: &Server) {
    let purge = || server.client.purge_queue().queue_url(server.url("q")).send();
    purge().await.unwrap();
    let again = purge().await;
    let status = again.as_ref().unwrap_err().raw_response().unwrap().status().as_u16();
    assert_eq!((code(again).as_str(), status), ("AWS.SimpleQueueService.PurgeQueueInProgress", 403));
}
