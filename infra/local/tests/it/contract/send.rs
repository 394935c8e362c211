//! What a message may be.

use std::time::{Duration, Instant};

use aws_sdk_sqs::types::MessageSystemAttributeName;
use echo_local::spec::QueueSpec;

use super::server::{Excuse, Server, code};
use crate::support::q;

const LARGEST: usize = 1_048_576;

contract! {
    digests_are_of_the_body(vec![q(30)]);
    every_allowed_character_comes_back(vec![q(30)]);
    other_characters_are_refused(vec![q(30)]);
    an_empty_body_is_refused(vec![q(30)]);
    a_message_may_have_a_mebibyte(vec![q(30)]);
    a_queue_may_want_smaller_messages(vec![QueueSpec { max_message_size: 1024, ..q(30) }]);
    a_delay_hides(vec![q(30)]);
    a_messages_delay_is_put_before_the_queues(vec![QueueSpec { delay: Duration::from_secs(900), ..q(30) }]);
    delays_end_at_fifteen_minutes(vec![q(30)]) unless Excuse {
        aws: "refuses a DelaySeconds over 900 with InvalidParameterValue",
        source: "API, SendMessage: valid values 0 to 900",
        why: "it takes any number; only a sender's mistake tells the two apart",
    };
}

/// API, SendMessage: MD5OfMessageBody.
async fn digests_are_of_the_body(server: &Server) {
    // RFC 1321, A.5.
    let digest = Some("f96b697d7cb7938d525a2f31aaf161d0");
    let sent = server.send("message digest").send().await.unwrap();
    assert_eq!(sent.md5_of_message_body(), digest);
    let message = server.one("q").await;
    assert_eq!(message.md5_of_body(), digest);
    assert_eq!(message.message_id(), sent.message_id());
}

/// API, SendMessage: #x9 | #xA | #xD | #x20 to #xD7FF | #xE000 to #xFFFD | #x10000 to #x10FFFF.
async fn every_allowed_character_comes_back(server: &Server) {
    let bodies = [
        "\t\n\r\r\n \u{20}\u{7f}\u{85}\u{d7ff}\u{e000}\u{fffd}\u{10000}\u{10ffff}",
        " \n",
        "{\"a\": \"\\u0000 'b' \\\\ % _ ; --\"}",
        "e\u{301} \u{e9} \u{feff}\u{200f}",
    ];
    for body in bodies {
        server.sent(&[body]).await;
        let message = server.one("q").await;
        assert_eq!(message.body(), Some(body));
        server.delete(message.receipt_handle().unwrap()).send().await.unwrap();
    }
}

/// As above; seen: test_send_message_with_invalid_payload_characters.
async fn other_characters_are_refused(server: &Server) {
    for character in ['\0', '\u{1}', '\u{8}', '\u{b}', '\u{c}', '\u{e}', '\u{1f}', '\u{fffe}', '\u{ffff}'] {
        let refused = server.send(format!("a{character}b")).send().await;
        assert_eq!(code(refused), "InvalidMessageContents", "{character:?}");
    }
    assert_eq!(server.counts("q").await, [0, 0, 0]);
}

/// API, SendMessage: the minimum size is one character.
async fn an_empty_body_is_refused(server: &Server) {
    assert_eq!(code(server.send("").send().await), "MissingParameter");
}

/// Guide, message quotas; seen: test_send_oversized_message.
async fn a_message_may_have_a_mebibyte(server: &Server) {
    let body = "é".repeat(LARGEST / 2);
    server.sent(&[&body]).await;
    assert_eq!(server.one("q").await.body(), Some(body.as_str()));
    assert_eq!(code(server.send(body + "x").send().await), "InvalidParameterValue");
    assert_eq!(server.counts("q").await, [0, 1, 0]);
}

/// Seen: test_send_message_with_updated_maximum_message_size.
async fn a_queue_may_want_smaller_messages(server: &Server) {
    server.sent(&[&"x".repeat(1024)]).await;
    assert_eq!(code(server.send("x".repeat(1025)).send().await), "InvalidParameterValue");
}

/// Guide, message timers.
async fn a_delay_hides(server: &Server) {
    let begin = Instant::now();
    server.send("x").delay_seconds(1).send().await.unwrap();
    assert!(server.short().await.is_empty());
    assert_eq!(server.counts("q").await, [0, 0, 1]);
    let message = server.one("q").await;
    assert!(begin.elapsed() >= Duration::from_millis(950), "{:?}", begin.elapsed());
    assert_eq!(message.attributes().unwrap()[&MessageSystemAttributeName::ApproximateReceiveCount], "1");
}

/// API, SendMessage: the queue's delay is for messages without their own.
async fn a_messages_delay_is_put_before_the_queues(server: &Server) {
    server.sent(&["later"]).await;
    server.send("now").delay_seconds(0).send().await.unwrap();
    assert_eq!(server.counts("q").await, [1, 0, 1]);
    assert_eq!(server.one("q").await.body(), Some("now"));
}

async fn delays_end_at_fifteen_minutes(server: &Server) {
    server.send("x").delay_seconds(900).send().await.unwrap();
    for seconds in [901, -1] {
        assert_eq!(code(server.send("x").delay_seconds(seconds).send().await), "InvalidParameterValue");
    }
}
