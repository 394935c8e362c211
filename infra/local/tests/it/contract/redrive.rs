//! Dead-letter queues.

use aws_sdk_sqs::types::MessageSystemAttributeName::{
    ApproximateReceiveCount, DeadLetterQueueSourceArn, SentTimestamp,
};

use super::server::{Server, attribute, handle};
use crate::support::q_and_dead;

contract! {
    one_receive_too_many_moves_the_message(q_and_dead(30, 2));
    a_moved_message_is_the_same(q_and_dead(30, 1));
    a_moved_message_leaves_the_others(q_and_dead(30, 1));
    the_last_receive_can_still_delete(q_and_dead(1, 1));
}

/// Guide, "dead-letter queues": maxReceiveCount is how often a message is received without being deleted.
async fn one_receive_too_many_moves_the_message(server: &Server) {
    server.sent(&["x"]).await;
    for count in ["1", "2"] {
        let message = server.one("q").await;
        assert_eq!(attribute(&message, ApproximateReceiveCount), count);
        assert_eq!(server.counts("dead").await, [0, 0, 0]);
        server.hide(handle(&message), 0).send().await.unwrap();
    }
    assert!(server.short().await.is_empty());
    assert_eq!((server.counts("q").await, server.counts("dead").await), ([0, 0, 0], [1, 0, 0]));
}

/// Guide, "dead-letter queues": the time of sending stays. Seen, for id and body:
/// test_dead_letter_queue_with_fifo_and_content_based_deduplication.
async fn a_moved_message_is_the_same(server: &Server) {
    let ids = server.sent(&["poison \u{1f600}"]).await;
    let alive = server.one("q").await;
    assert!(!alive.attributes().unwrap().contains_key(&DeadLetterQueueSourceArn));
    server.hide(handle(&alive), 0).send().await.unwrap();
    assert!(server.short().await.is_empty());

    let dead = server.one("dead").await;
    assert_eq!((dead.message_id(), dead.body()), (Some(ids[0].as_str()), alive.body()));
    assert_eq!(dead.md5_of_body(), alive.md5_of_body());
    assert_eq!(attribute(&dead, ApproximateReceiveCount), "2");
    assert_eq!(attribute(&dead, SentTimestamp), attribute(&alive, SentTimestamp));
    assert_eq!(attribute(&dead, DeadLetterQueueSourceArn), server.arn("q").await);
}

/// Guide, "dead-letter queues".
async fn a_moved_message_leaves_the_others(server: &Server) {
    server.sent(&["poison"]).await;
    server.hide(handle(&server.one("q").await), 0).send().await.unwrap();
    server.sent(&["fine"]).await;
    assert_eq!(server.one("q").await.body(), Some("fine"));
    assert_eq!(server.one("dead").await.body(), Some("poison"));
}

/// Guide, "dead-letter queues": only a receive moves, time does not.
async fn the_last_receive_can_still_delete(server: &Server) {
    server.sent(&["x"]).await;
    let message = server.one("q").await;
    server.until([1, 0, 0]).await;
    server.delete(handle(&message)).send().await.unwrap();
    assert_eq!((server.counts("q").await, server.counts("dead").await), ([0, 0, 0], [0, 0, 0]));
}
