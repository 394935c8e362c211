//! The SQS protocol, spoken by the real SDKs.

use std::path::Path;
use std::time::Duration;

use aws_sdk_sqs::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_sqs::types::{
    DeleteMessageBatchRequestEntry, MessageAttributeValue, MessageSystemAttributeName, QueueAttributeName,
    SendMessageBatchRequestEntry,
};
use echo_local::queue::Queues;
use echo_local::spec::QueueSpec;
use echo_local::sqs;
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::sync::watch;

use super::support::{self, q, q_and_dead};

fn entry(id: &str, body: &str) -> SendMessageBatchRequestEntry {
    SendMessageBatchRequestEntry::builder().id(id).message_body(body).build().unwrap()
}

fn code<T: std::fmt::Debug, E: ProvideErrorMetadata + std::fmt::Debug>(result: Result<T, SdkError<E>>) -> String {
    result.unwrap_err().code().unwrap().to_owned()
}

#[tokio::test]
async fn a_message_makes_the_round_trip() {
    let (_, client, base) = support::sqs(vec![q(30)]).await;
    let url = client.get_queue_url().queue_name("q").send().await.unwrap().queue_url.unwrap();
    assert_eq!(url, format!("{base}/q"));
    // The SDK checks the digests of bodies.
    let body = "{\"a\": \"😀 \\u0001\"}\r\n";
    let sent = client.send_message().queue_url(&url).message_body(body).send().await.unwrap();
    let received = client
        .receive_message()
        .queue_url(&url)
        .message_system_attribute_names(MessageSystemAttributeName::All)
        .send()
        .await
        .unwrap();
    let message = &received.messages()[0];
    assert_eq!((message.body(), message.message_id()), (Some(body), sent.message_id()));
    assert_eq!(message.md5_of_body(), sent.md5_of_message_body());
    let attributes = message.attributes().unwrap();
    assert_eq!(attributes[&MessageSystemAttributeName::ApproximateReceiveCount], "1");
    assert_eq!(attributes.len(), 4);
    let handle = message.receipt_handle().unwrap();
    client.delete_message().queue_url(&url).receipt_handle(handle).send().await.unwrap();
    client.delete_message().queue_url(&url).receipt_handle(handle).send().await.unwrap();
    let received = client.receive_message().queue_url(&url).send().await.unwrap();
    assert!(received.messages().is_empty());
}

#[tokio::test]
async fn queues_tell_about_themselves() {
    let (_, client, base) = support::sqs(q_and_dead(30, 5)).await;
    let url = format!("{base}/q");
    let listed = client.list_queues().send().await.unwrap();
    assert_eq!(listed.queue_urls(), [format!("{base}/dead"), url.clone()]);
    client.send_message().queue_url(&url).message_body("x").delay_seconds(900).send().await.unwrap();
    client.send_message().queue_url(&url).message_body("x").send().await.unwrap();
    let get = || client.get_queue_attributes().queue_url(&url);
    let all = get().attribute_names(QueueAttributeName::All).send().await.unwrap().attributes.unwrap();
    assert_eq!(all[&QueueAttributeName::ApproximateNumberOfMessages], "1");
    assert_eq!(all[&QueueAttributeName::ApproximateNumberOfMessagesDelayed], "1");
    assert_eq!(all[&QueueAttributeName::VisibilityTimeout], "30");
    assert_eq!(all[&QueueAttributeName::QueueArn], "arn:aws:sqs:us-east-1:000000000000:q");
    assert!(all[&QueueAttributeName::RedrivePolicy].contains("\"maxReceiveCount\":5"));
    let some = get().attribute_names(QueueAttributeName::DelaySeconds).send().await.unwrap().attributes.unwrap();
    assert_eq!(some.len(), 1);
    assert_eq!(code(get().attribute_names("Nonsense".into()).send().await), "InvalidAttributeName");

    client.purge_queue().queue_url(&url).send().await.unwrap();
    let again = client.purge_queue().queue_url(&url).send().await.unwrap_err().into_service_error();
    assert!(again.is_purge_queue_in_progress(), "{again:?}");
}

#[tokio::test]
async fn a_queue_that_is_not_there_is_named_as_sqs_does() {
    let (_, client, base) = support::sqs(vec![q(30)]).await;
    let error = client.get_queue_url().queue_name("nowhere").send().await.unwrap_err().into_service_error();
    assert!(error.is_queue_does_not_exist(), "{error:?}");
    let sent = client.send_message().queue_url(format!("{base}/nowhere")).message_body("x").send().await;
    assert!(sent.unwrap_err().into_service_error().is_queue_does_not_exist());
}

#[tokio::test]
async fn bad_batches_are_refused_whole() {
    let (queues, client, base) = support::sqs(vec![q(30)]).await;
    let send = async |entries: Vec<SendMessageBatchRequestEntry>| {
        let sent = client.send_message_batch().queue_url(format!("{base}/q")).set_entries(Some(entries)).send().await;
        sent.unwrap_err().into_service_error()
    };
    assert!(send(vec![]).await.is_empty_batch_request());
    let eleven = (0..11).map(|n| entry(&n.to_string(), "x")).collect();
    assert!(send(eleven).await.is_too_many_entries_in_batch_request());
    assert!(send(vec![entry("a", "x"), entry("a", "y")]).await.is_batch_entry_ids_not_distinct());
    assert!(send(vec![entry("a b", "x")]).await.is_invalid_batch_entry_id());
    let half = "x".repeat(524_288);
    let over = send(vec![entry("a", &half), entry("b", &half), entry("c", "x")]).await;
    assert!(over.is_batch_request_too_long(), "{over:?}");
    assert_eq!(queues.counts("q").await.unwrap().visible, 0);
}

#[tokio::test]
async fn bad_entries_fail_alone() {
    let spec = QueueSpec { max_message_size: 1024, ..q(30) };
    let (queues, client, base) = support::sqs(vec![spec]).await;
    let entries = vec![
        entry("fine", "x"),
        entry("large", &"x".repeat(1025)),
        entry("bad", "\u{1}"),
        SendMessageBatchRequestEntry::builder().id("late").message_body("x").delay_seconds(901).build().unwrap(),
        entry("also-fine", &"x".repeat(1024)),
    ];
    let url = format!("{base}/q");
    let sent = client.send_message_batch().queue_url(&url).set_entries(Some(entries)).send().await.unwrap();
    let stored: Vec<_> = sent.successful().iter().map(|entry| entry.id()).collect();
    assert_eq!(stored, ["fine", "also-fine"]);
    let mut failed: Vec<_> =
        sent.failed().iter().map(|entry| (entry.id(), entry.code(), entry.sender_fault())).collect();
    failed.sort_unstable();
    let expected = [
        ("bad", "InvalidMessageContents", true),
        ("large", "InvalidParameterValue", true),
        ("late", "InvalidParameterValue", true),
    ];
    assert_eq!(failed, expected);
    assert_eq!(queues.counts("q").await.unwrap().visible, 2);

    let handle = |id: &str, handle: &str| {
        DeleteMessageBatchRequestEntry::builder().id(id).receipt_handle(handle).build().unwrap()
    };
    let received = client.receive_message().queue_url(&url).send().await.unwrap();
    let entries = vec![handle("a", received.messages()[0].receipt_handle().unwrap()), handle("b", "nonsense")];
    let deleted = client.delete_message_batch().queue_url(&url).set_entries(Some(entries)).send().await.unwrap();
    assert_eq!((deleted.successful()[0].id(), deleted.failed()[0].id()), ("a", "b"));
    assert_eq!(deleted.failed()[0].code(), "ReceiptHandleIsInvalid");
}

#[tokio::test]
async fn what_is_not_offered_is_refused_clearly() {
    let (_, client, base) = support::sqs(vec![q(30)]).await;
    let send = || client.send_message().queue_url(format!("{base}/q")).message_body("x");
    let attribute = MessageAttributeValue::builder().data_type("String").string_value("v").build().unwrap();
    let with_attributes = send().message_attributes("a", attribute).send().await.unwrap_err().into_service_error();
    assert!(with_attributes.is_unsupported_operation(), "{with_attributes:?}");
    assert_eq!(code(send().message_group_id("g").send().await), "InvalidParameterValue");
    assert_eq!(code(send().message_deduplication_id("d").send().await), "InvalidParameterValue");
    assert_eq!(code(send().delay_seconds(901).send().await), "InvalidParameterValue");
    let contents = send().message_body("\u{fffe}").send().await.unwrap_err().into_service_error();
    assert!(contents.is_invalid_message_contents());
    let large = send().message_body("x".repeat(1_048_577)).send().await;
    assert_eq!(code(large), "InvalidParameterValue");
    let receive = || client.receive_message().queue_url(format!("{base}/q"));
    assert_eq!(code(receive().max_number_of_messages(11).send().await), "InvalidParameterValue");
    assert_eq!(code(receive().wait_time_seconds(21).send().await), "InvalidParameterValue");
    assert_eq!(code(receive().visibility_timeout(43_201).send().await), "InvalidParameterValue");
    let created = client.create_queue().queue_name("new").send().await.unwrap_err();
    assert_eq!(created.code(), Some("AWS.SimpleQueueService.UnsupportedOperation"));
    assert!(created.message().unwrap().contains("template.yaml"));
}

#[tokio::test]
async fn visibility_is_changed_by_the_newest_handle_only() {
    let (_, client, base) = support::sqs(q_and_dead(30, 2)).await;
    let url = format!("{base}/q");
    client.send_message().queue_url(&url).message_body("x").send().await.unwrap();
    let receive = async |queue: &str| {
        let received = client
            .receive_message()
            .queue_url(format!("{base}/{queue}"))
            .message_system_attribute_names(MessageSystemAttributeName::All)
            .send();
        received.await.unwrap().messages.unwrap_or_default().pop()
    };
    let change = async |handle: &str, timeout: i32| {
        let change = client.change_message_visibility().queue_url(&url).receipt_handle(handle);
        change.visibility_timeout(timeout).send().await
    };
    let stale = receive("q").await.unwrap().receipt_handle.unwrap();
    change(&stale, 0).await.unwrap();
    let newer = receive("q").await.unwrap().receipt_handle.unwrap();
    assert_eq!(code(change(&stale, 0).await), "InvalidParameterValue");
    assert_eq!(code(change(&newer, 43_201).await), "InvalidParameterValue");
    let invalid = change("nonsense", 0).await.unwrap_err().into_service_error();
    assert!(invalid.is_receipt_handle_is_invalid(), "{invalid:?}");
    change(&newer, 0).await.unwrap();

    assert!(receive("q").await.is_none());
    let dead = receive("dead").await.unwrap();
    let attributes = dead.attributes().unwrap();
    assert_eq!(attributes[&MessageSystemAttributeName::ApproximateReceiveCount], "3");
    let source = &attributes[&MessageSystemAttributeName::DeadLetterQueueSourceArn];
    assert_eq!(source, "arn:aws:sqs:us-east-1:000000000000:q");
}

#[tokio::test]
async fn hostile_requests_get_an_answer() {
    let (_, _, base) = support::sqs(vec![q(30)]).await;
    let post = async |target: Option<&str>, body: String| {
        let mut request = reqwest::Client::new().post(&base).body(body);
        if let Some(target) = target {
            request = request.header("x-amz-target", target);
        }
        let response = request.send().await.unwrap();
        let header = response.headers().get("x-amzn-query-error").unwrap().to_str().unwrap().to_owned();
        assert_eq!(response.headers()["content-type"], "application/x-amz-json-1.0");
        (response.status().as_u16(), header)
    };
    let (status, header) = post(Some("AmazonSQS.GetQueueUrl"), r#"{"QueueName": "x"}"#.into()).await;
    assert_eq!((status, header.as_str()), (400, "AWS.SimpleQueueService.NonExistentQueue;Sender"));
    assert_eq!(post(None, "Action=SendMessage".into()).await.0, 400);
    assert_eq!(post(Some("AmazonSQS.SendMessage"), "{".into()).await.0, 400);
    assert_eq!(post(Some("AmazonSQS.SendMessage"), "[]".into()).await.0, 400);
    assert_eq!(post(Some("AmazonSQS.ReceiveMessage"), r#"{"QueueUrl": 7}"#.into()).await.0, 400);
    assert_eq!(post(Some("AmazonSQS.SendMessage"), "x".repeat(9_000_000)).await.0, 413);
}

#[tokio::test]
async fn a_shutdown_ends_long_polls() {
    let queues = Queues::new(support::database().await, vec![q(30)]);
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let base = format!("http://{}/000000000000", listener.local_addr().unwrap());
    let (stop, stopped) = watch::channel(false);
    let server = tokio::spawn(sqs::serve(listener, queues, base.clone(), stopped));
    let poll = reqwest::Client::new()
        .post(&base)
        .header("x-amz-target", "AmazonSQS.ReceiveMessage")
        .body(format!(r#"{{"QueueUrl": "{base}/q", "WaitTimeSeconds": 20}}"#))
        .send();
    let poll = tokio::spawn(poll);
    // Whether the poll has begun or not, neither may hang.
    tokio::task::yield_now().await;
    stop.send_replace(true);
    tokio::time::timeout(Duration::from_secs(10), server).await.unwrap().unwrap();
    let _ = tokio::time::timeout(Duration::from_secs(10), poll).await.unwrap();
}

#[tokio::test]
async fn boto3_finds_an_sqs() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = root.join("../../.echo/test/bin/python");
    assert!(python.exists(), "{} is missing: ./scripts/setup installs it, with boto3", python.display());
    let (_, _, base) = support::sqs(q_and_dead(1, 1)).await;
    let output = Command::new(python).arg(root.join("tests/boto3_queue.py")).arg(&base).output().await.unwrap();
    let text = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&text));
}
