//! What a receive brings.

use std::time::{Duration, Instant};

use aws_sdk_sqs::types::MessageSystemAttributeName::{
    All, ApproximateFirstReceiveTimestamp, ApproximateReceiveCount, SentTimestamp,
};

use super::server::{Excuse, Server, attribute, code, handle};
use crate::support::q;

contract! {
    nothing_is_no_message(vec![q(30)]);
    one_message_comes_unless_more_are_wanted(vec![q(30)]);
    a_receive_wants_one_to_ten(vec![q(30)]);
    receives_are_counted(vec![q(30)]);
    attributes_come_when_asked_for(vec![q(30)]);
    a_long_poll_ends_with_the_first_message(vec![q(30)]);
    a_long_poll_ends_without_a_message(vec![q(30)]);
    a_receive_waits_twenty_seconds_at_most(vec![q(30)]) unless Excuse {
        aws: "refuses a WaitTimeSeconds that is not 0 to 20 with InvalidParameterValue",
        source: "API, ReceiveMessage, and guide, \"long polling\": 20 seconds at most",
        why: "it waits as long as it is told; only a receiver's mistake tells the two apart",
    };
    a_receive_hides_twelve_hours_at_most(vec![q(30)]) unless Excuse {
        aws: "refuses a VisibilityTimeout that is not 0 to 43200 with InvalidParameterValue",
        source: "API, ReceiveMessage, and guide, \"visibility timeout\": 12 hours at most",
        why: "it hides for as long as it is told; only a receiver's mistake tells the two apart",
    };
}

/// API, ReceiveMessage.
async fn nothing_is_no_message(server: &Server) {
    let received = server.receive("q").send().await.unwrap();
    assert!(received.messages().is_empty());
}

/// API, ReceiveMessage: the default is one, and never more come than are wanted.
async fn one_message_comes_unless_more_are_wanted(server: &Server) {
    server.sent(&["1", "2", "3", "4"]).await;
    assert_eq!(server.receive("q").send().await.unwrap().messages().len(), 1);
    assert_eq!(server.receive("q").max_number_of_messages(2).send().await.unwrap().messages().len(), 2);
    assert_eq!(server.short().await.len(), 1);
}

/// Seen: test_send_receive_max_number_of_messages.
async fn a_receive_wants_one_to_ten(server: &Server) {
    for count in [-1, 0, 11] {
        let refused = server.receive("q").max_number_of_messages(count).send().await;
        assert_eq!(code(refused), "InvalidParameterValue", "{count}");
    }
}

/// Seen: test_receive_message_attribute_names_filters.
async fn receives_are_counted(server: &Server) {
    let ids = server.sent(&["x"]).await;
    let first = server.one("q").await;
    server.hide(handle(&first), 0).send().await.unwrap();
    let second = server.one("q").await;
    for (message, count) in [(&first, "1"), (&second, "2")] {
        assert_eq!(message.message_id(), Some(ids[0].as_str()));
        assert_eq!(attribute(message, ApproximateReceiveCount), count);
    }
    for same in [SentTimestamp, ApproximateFirstReceiveTimestamp] {
        assert_eq!(attribute(&first, same.clone()), attribute(&second, same));
    }
    let milliseconds = |name| attribute(&first, name).parse::<u64>().unwrap();
    assert!(milliseconds(SentTimestamp) <= milliseconds(ApproximateFirstReceiveTimestamp));
    assert_ne!(handle(&first), handle(&second));
}

/// Seen: test_receive_message_attribute_names_filters.
async fn attributes_come_when_asked_for(server: &Server) {
    for (asked, count) in [(vec![], 0), (vec![SentTimestamp], 1), (vec![All], 4), (vec![All, SentTimestamp], 4)] {
        server.sent(&["x"]).await;
        let receive = server.receive("q").set_message_system_attribute_names(Some(asked.clone()));
        let received = receive.send().await.unwrap();
        let attributes = received.messages()[0].attributes();
        assert_eq!(attributes.map_or(0, std::collections::HashMap::len), count, "{asked:?}: {attributes:?}");
    }
}

/// Guide, "long polling": a response comes as soon as there is a message.
async fn a_long_poll_ends_with_the_first_message(server: &Server) {
    let begin = Instant::now();
    let poll = server.receive("q").max_number_of_messages(10).wait_time_seconds(20).send();
    let send = async {
        // So that the poll is there first; were it not, this would only be easier.
        tokio::time::sleep(Duration::from_millis(300)).await;
        server.sent(&["x"]).await
    };
    let (received, _) = tokio::join!(poll, send);
    assert_eq!(received.unwrap().messages().len(), 1);
    assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
}

/// Guide, "long polling".
async fn a_long_poll_ends_without_a_message(server: &Server) {
    let begin = Instant::now();
    assert!(server.receive("q").wait_time_seconds(1).send().await.unwrap().messages().is_empty());
    assert!(begin.elapsed() >= Duration::from_millis(950), "{:?}", begin.elapsed());
}

async fn a_receive_waits_twenty_seconds_at_most(server: &Server) {
    // With messages there, nobody waits.
    server.sent(&["x", "y"]).await;
    for seconds in [-1, 21] {
        let refused = server.receive("q").wait_time_seconds(seconds).send().await;
        assert_eq!(code(refused), "InvalidParameterValue", "{seconds}");
    }
}

async fn a_receive_hides_twelve_hours_at_most(server: &Server) {
    server.sent(&["x", "y"]).await;
    for seconds in [-1, 43_201] {
        let refused = server.receive("q").visibility_timeout(seconds).send().await;
        assert_eq!(code(refused), "InvalidParameterValue", "{seconds}");
    }
}
