//! Batches: what is refused whole, and what fails alone.

use aws_sdk_sqs::operation::send_message_batch::{SendMessageBatchError, SendMessageBatchOutput};
use aws_sdk_sqs::types::{
    BatchResultErrorEntry, ChangeMessageVisibilityBatchRequestEntry, DeleteMessageBatchRequestEntry,
    SendMessageBatchRequestEntry,
};
use echo_local::spec::QueueSpec;

use super::server::{Server, code, handle};
use crate::support::q;

type Sent = Result<SendMessageBatchOutput, aws_sdk_sqs::error::SdkError<SendMessageBatchError>>;

contract! {
    a_batch_has_ten_entries(vec![q(30)]);
    no_entries_are_no_batch(vec![q(30)]);
    eleven_entries_are_too_many(vec![q(30)]);
    ids_are_distinct(vec![q(30)]);
    ids_are_plain_and_short(vec![q(30)]);
    a_batch_has_a_mebibyte(vec![q(30)]);
    a_large_entry_fails_alone(vec![QueueSpec { max_message_size: 1024, ..q(30) }]);
    a_bad_handle_is_not_deleted(vec![q(30)]);
    a_bad_handle_is_not_hidden(vec![q(30)]);
}

async fn send(server: &Server, entries: &[(&str, &str)]) -> Sent {
    let entry = |&(id, body): &(&str, &str)| SendMessageBatchRequestEntry::builder().id(id).message_body(body).build();
    let entries = entries.iter().map(entry).collect::<Result<_, _>>().unwrap();
    server.client.send_message_batch().queue_url(server.url("q")).set_entries(Some(entries)).send().await
}

fn deletion(id: &str, handle: &str) -> DeleteMessageBatchRequestEntry {
    DeleteMessageBatchRequestEntry::builder().id(id).receipt_handle(handle).build().unwrap()
}

fn change(id: &str, handle: &str) -> ChangeMessageVisibilityBatchRequestEntry {
    let entry = ChangeMessageVisibilityBatchRequestEntry::builder().id(id).receipt_handle(handle);
    entry.visibility_timeout(0).build().unwrap()
}

/// The one entry that failed: its id and code. It is the sender's fault.
fn failed(failed: &[BatchResultErrorEntry]) -> (&str, &str) {
    assert_eq!(failed.len(), 1, "{failed:?}");
    assert!(failed[0].sender_fault());
    (failed[0].id(), failed[0].code())
}

/// Seen: test_publish_get_delete_message_batch.
async fn a_batch_has_ten_entries(server: &Server) {
    let ids: Vec<String> = (0..10).map(|n| format!("Id_{n}-")).collect();
    let entries: Vec<(&str, &str)> = ids.iter().map(|id| (id.as_str(), id.as_str())).collect();
    let sent = send(server, &entries).await.unwrap();
    assert!(sent.failed().is_empty());
    let messages = server.short().await;
    assert_eq!((sent.successful().len(), messages.len()), (10, 10));
    for message in messages {
        let entry = sent.successful().iter().find(|entry| Some(entry.id()) == message.body()).unwrap();
        assert_eq!(Some(entry.message_id()), message.message_id());
        assert_eq!(Some(entry.md5_of_message_body()), message.md5_of_body());
    }
}

/// API, SendMessageBatch, DeleteMessageBatch, ChangeMessageVisibilityBatch: EmptyBatchRequest.
async fn no_entries_are_no_batch(server: &Server) {
    let empty = "AWS.SimpleQueueService.EmptyBatchRequest";
    let (client, url) = (&server.client, server.url("q"));
    assert_eq!(code(send(server, &[]).await), empty);
    let delete = client.delete_message_batch().queue_url(url).set_entries(Some(vec![]));
    assert_eq!(code(delete.send().await), empty);
    let change = client.change_message_visibility_batch().queue_url(url).set_entries(Some(vec![]));
    assert_eq!(code(change.send().await), empty);
}

/// Seen: test_too_many_entries_in_batch_request, test_delete_message_batch_with_too_large_batch,
/// test_change_message_visibility_batch_with_too_large_batch.
async fn eleven_entries_are_too_many(server: &Server) {
    let many = "AWS.SimpleQueueService.TooManyEntriesInBatchRequest";
    let (client, url) = (&server.client, server.url("q"));
    let ids: Vec<String> = (0..11).map(|n| n.to_string()).collect();
    let entries: Vec<(&str, &str)> = ids.iter().map(|id| (id.as_str(), "x")).collect();
    assert_eq!(code(send(server, &entries).await), many);
    let deletions = ids.iter().map(|id| deletion(id, "x")).collect();
    let delete = client.delete_message_batch().queue_url(url).set_entries(Some(deletions));
    assert_eq!(code(delete.send().await), many);
    let changes = ids.iter().map(|id| change(id, "x")).collect();
    let change = client.change_message_visibility_batch().queue_url(url).set_entries(Some(changes));
    assert_eq!(code(change.send().await), many);
    assert_eq!(server.counts("q").await, [0, 0, 0]);
}

/// API, SendMessageBatch: BatchEntryIdsNotDistinct.
async fn ids_are_distinct(server: &Server) {
    let refused = send(server, &[("a", "x"), ("b", "y"), ("a", "z")]).await;
    assert_eq!(code(refused), "AWS.SimpleQueueService.BatchEntryIdsNotDistinct");
    assert_eq!(server.counts("q").await, [0, 0, 0]);
}

/// Seen: test_invalid_batch_id, test_delete_message_batch_invalid_msg_id.
async fn ids_are_plain_and_short(server: &Server) {
    let longest = "x".repeat(80);
    let longer = format!("{longest}x");
    for id in ["", "a b", "invalid:id", "é", &longer] {
        let refused = send(server, &[("fine", "x"), (id, "y")]).await;
        assert_eq!(code(refused), "AWS.SimpleQueueService.InvalidBatchEntryId", "{id:?}");
    }
    assert_eq!(server.counts("q").await, [0, 0, 0]);
    assert!(send(server, &[(&longest, "x")]).await.unwrap().failed().is_empty());
}

/// Seen: test_send_message_batch_with_oversized_contents.
async fn a_batch_has_a_mebibyte(server: &Server) {
    let half = "é".repeat(262_144);
    let over = send(server, &[("a", &half), ("b", &half), ("c", "x")]).await;
    assert_eq!(code(over), "AWS.SimpleQueueService.BatchRequestTooLong");
    assert_eq!(server.counts("q").await, [0, 0, 0]);
    assert!(send(server, &[("a", &half), ("b", &half)]).await.unwrap().failed().is_empty());
    assert_eq!(server.counts("q").await, [2, 0, 0]);
}

/// API, SendMessageBatch: each message has its own result, with the code that SendMessage would have given.
async fn a_large_entry_fails_alone(server: &Server) {
    let largest = "x".repeat(1024);
    let larger = format!("{largest}x");
    let sent = send(server, &[("a", &largest), ("b", &larger), ("c", "x")]).await.unwrap();
    assert_eq!(failed(sent.failed()), ("b", "InvalidParameterValue"));
    let stored: Vec<&str> = sent.successful().iter().map(|entry| entry.id()).collect();
    assert_eq!(stored, ["a", "c"]);
    assert_eq!(server.counts("q").await, [2, 0, 0]);
}

/// API, DeleteMessageBatch: each entry has its own result.
async fn a_bad_handle_is_not_deleted(server: &Server) {
    server.sent(&["x", "y"]).await;
    let messages = server.short().await;
    let entries = vec![deletion("a", handle(&messages[0])), deletion("b", "nonsense")];
    let delete = server.client.delete_message_batch().queue_url(server.url("q")).set_entries(Some(entries));
    let deleted = delete.send().await.unwrap();
    assert_eq!(failed(deleted.failed()), ("b", "ReceiptHandleIsInvalid"));
    assert_eq!(deleted.successful().iter().map(|entry| entry.id()).collect::<Vec<_>>(), ["a"]);
    assert_eq!(server.counts("q").await, [0, 1, 0]);
}

/// API, ChangeMessageVisibilityBatch: each entry has its own result.
async fn a_bad_handle_is_not_hidden(server: &Server) {
    server.sent(&["x", "y"]).await;
    let messages = server.short().await;
    let entries = vec![change("a", "nonsense"), change("b", handle(&messages[0]))];
    let change = server.client.change_message_visibility_batch().queue_url(server.url("q"));
    let changed = change.set_entries(Some(entries)).send().await.unwrap();
    assert_eq!(failed(changed.failed()), ("a", "ReceiptHandleIsInvalid"));
    assert_eq!(changed.successful().iter().map(|entry| entry.id()).collect::<Vec<_>>(), ["b"]);
    assert_eq!(server.counts("q").await, [1, 1, 0]);
}
