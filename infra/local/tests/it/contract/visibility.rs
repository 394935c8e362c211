//! How long a message is hidden, and what its handles are good for.

use std::time::{Duration, Instant};

use super::server::{Excuse, Server, code, handle};
use crate::support::q;

const OLD_HANDLES: &str = "it knows a message's newest handle only and answers ReceiptHandleIsInvalid to all others; \
                           what becomes of the message is the same";

contract! {
    a_message_comes_back(vec![q(1)]);
    a_receive_may_hide_for_another_time(vec![q(30)]);
    older_messages_come_back_before_newer_ones(vec![q(1)]);
    an_expired_handle_deletes(vec![q(1)]);
    an_expired_handle_hides_again(vec![q(1)]);
    a_stale_handle_deletes_nothing(vec![q(30)]);
    a_stale_handle_is_no_error(vec![q(30)]) unless Excuse {
        aws: "answers a DeleteMessage with an old handle as if it had worked",
        source: "API, DeleteMessage: \"If you use an old ReceiptHandle, the request will succeed\"",
        why: OLD_HANDLES,
    };
    a_message_is_deleted_twice(vec![q(30)]) unless Excuse {
        aws: "answers the second DeleteMessage as it did the first",
        source: "API, DeleteMessage: \"If you use an old ReceiptHandle, the request will succeed\"",
        why: OLD_HANDLES,
    };
    a_deleted_message_cannot_be_hidden(vec![q(30)]) unless Excuse {
        aws: "refuses it with InvalidParameterValue: the handle is one, its message is not available",
        source: "not in the API; localstack/localstack, services/sqs/models.py, has AWS's words for it",
        why: OLD_HANDLES,
    };
    nonsense_is_no_handle(vec![q(30)]);
    visibility_zero_shows_at_once(vec![q(30)]);
    a_changed_visibility_is_not_kept(vec![q(1)]);
    a_message_is_hidden_twelve_hours_at_most(vec![q(30)]) unless Excuse {
        aws: "refuses a VisibilityTimeout over 43200 with InvalidParameterValue",
        source: "API, ChangeMessageVisibility: values range from 0 to 43200",
        why: "it hides for as long as it is told; only a receiver's mistake tells the two apart",
    };
}

/// Guide, "visibility timeout".
async fn a_message_comes_back(server: &Server) {
    server.sent(&["x"]).await;
    let begin = Instant::now();
    let first = server.one("q").await;
    assert!(server.short().await.is_empty());
    let second = server.one("q").await;
    assert!(begin.elapsed() >= Duration::from_millis(950), "{:?}", begin.elapsed());
    assert_eq!(first.message_id(), second.message_id());
}

/// API, ReceiveMessage: VisibilityTimeout.
async fn a_receive_may_hide_for_another_time(server: &Server) {
    server.sent(&["x"]).await;
    assert_eq!(server.receive("q").visibility_timeout(1).send().await.unwrap().messages().len(), 1);
    server.until([1, 0, 0]).await;
    // Zero is a timeout like any other.
    assert_eq!(server.receive("q").visibility_timeout(0).send().await.unwrap().messages().len(), 1);
    assert_eq!(server.short().await.len(), 1);
    assert_eq!(server.counts("q").await, [0, 1, 0]);
}

/// Seen: test_inflight_message_requeue.
async fn older_messages_come_back_before_newer_ones(server: &Server) {
    server.sent(&["older"]).await;
    server.one("q").await;
    server.sent(&["newer"]).await;
    server.until([2, 0, 0]).await;
    assert_eq!(server.one("q").await.body(), Some("older"));
}

/// Seen: test_remove_message_with_old_receipt_handle.
async fn an_expired_handle_deletes(server: &Server) {
    server.sent(&["x"]).await;
    let message = server.one("q").await;
    server.until([1, 0, 0]).await;
    server.delete(handle(&message)).send().await.unwrap();
    assert_eq!(server.counts("q").await, [0, 0, 0]);
}

/// Seen: test_change_message_visibility_after_visibility_timeout_expiration.
async fn an_expired_handle_hides_again(server: &Server) {
    server.sent(&["x"]).await;
    let message = server.one("q").await;
    server.until([1, 0, 0]).await;
    server.hide(handle(&message), 60).send().await.unwrap();
    assert_eq!(server.counts("q").await, [0, 1, 0]);
    assert!(server.short().await.is_empty());
}

/// API, DeleteMessage: the handle of the most recent receive is needed. What AWS answers is the next test's.
async fn a_stale_handle_deletes_nothing(server: &Server) {
    server.sent(&["x"]).await;
    let stale = server.one("q").await;
    server.hide(handle(&stale), 0).send().await.unwrap();
    let newer = server.one("q").await;
    let _ = server.delete(handle(&stale)).send().await;
    assert_eq!(server.counts("q").await, [0, 1, 0]);
    server.hide(handle(&newer), 0).send().await.unwrap();
    assert_eq!(server.one("q").await.message_id(), stale.message_id());
}

async fn a_stale_handle_is_no_error(server: &Server) {
    server.sent(&["x"]).await;
    let stale = server.one("q").await;
    server.hide(handle(&stale), 0).send().await.unwrap();
    server.one("q").await;
    server.delete(handle(&stale)).send().await.unwrap();
}

async fn a_message_is_deleted_twice(server: &Server) {
    server.sent(&["x"]).await;
    let message = server.one("q").await;
    for _ in 0..2 {
        server.delete(handle(&message)).send().await.unwrap();
    }
}

async fn a_deleted_message_cannot_be_hidden(server: &Server) {
    server.sent(&["x"]).await;
    let message = server.one("q").await;
    server.delete(handle(&message)).send().await.unwrap();
    assert_eq!(code(server.hide(handle(&message), 1).send().await), "InvalidParameterValue");
}

/// API, DeleteMessage and ChangeMessageVisibility: ReceiptHandleIsInvalid.
async fn nonsense_is_no_handle(server: &Server) {
    server.sent(&["x"]).await;
    assert_eq!(code(server.delete("nonsense").send().await), "ReceiptHandleIsInvalid");
    assert_eq!(code(server.hide("nonsense", 1).send().await), "ReceiptHandleIsInvalid");
    assert_eq!(server.counts("q").await, [1, 0, 0]);
}

/// Seen: test_delete_message_deletes_with_change_visibility_timeout.
async fn visibility_zero_shows_at_once(server: &Server) {
    server.sent(&["x"]).await;
    server.hide(handle(&server.one("q").await), 0).send().await.unwrap();
    assert_eq!(server.counts("q").await, [1, 0, 0]);
    assert_eq!(server.short().await.len(), 1);
}

/// Seen: test_change_message_visibility_not_permanent.
async fn a_changed_visibility_is_not_kept(server: &Server) {
    server.sent(&["x"]).await;
    let first = server.one("q").await;
    server.hide(handle(&first), 600).send().await.unwrap();
    server.hide(handle(&first), 0).send().await.unwrap();
    assert_eq!(server.short().await.len(), 1);
    // After one second, that is, and not after ten minutes.
    assert_eq!(server.one("q").await.message_id(), first.message_id());
}

async fn a_message_is_hidden_twelve_hours_at_most(server: &Server) {
    server.sent(&["x"]).await;
    let message = server.one("q").await;
    for seconds in [-1, 43_201] {
        assert_eq!(code(server.hide(handle(&message), seconds).send().await), "InvalidParameterValue", "{seconds}");
    }
}
