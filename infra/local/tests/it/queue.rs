//! The queue's core over a real MariaDB.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use echo_local::queue::{Counts, Keep, Outgoing, QueueError, Queues, Receive, Refused};
use echo_local::spec::QueueSpec;
use tokio::task::JoinSet;

use super::support::{database, one, q, q_and_dead, queues, send, take, until_empty};

fn counts(visible: u64, in_flight: u64, delayed: u64) -> Counts {
    Counts { visible, in_flight, delayed }
}

#[tokio::test]
async fn bodies_come_back_byte_for_byte() {
    let queues = queues(vec![q(30)]).await;
    let large = "é".repeat(524_288);
    let bodies =
        ["{\"type\": \"audit\", \"x\": \"😀\\u0000'\\\\\"}", "a\r\n\tb ' \" ; -- % _ \\ ", "e\u{301} é", " x ", &large];
    let ids = send(&queues, &bodies).await;
    let messages = queues.receive("q", Receive::up_to(10)).await.unwrap();
    let received: Vec<_> = messages.iter().map(|message| (&message.message_id, message.body.as_str())).collect();
    assert_eq!(received, ids.iter().zip(bodies).collect::<Vec<_>>());
    assert_eq!(queues.counts("q").await.unwrap(), counts(0, 5, 0));
}

#[tokio::test]
async fn people_can_read_the_table() {
    let pool = database().await;
    let queues = Queues::new(pool.clone(), vec![q(30)]);
    send(&queues, &[r#"{"type": "audit"}"#]).await;
    let row = async || -> (String, String, i32, Option<String>) {
        let sql = "SELECT event_type, CAST(status AS CHAR), retry_count, last_error FROM message_queue";
        sqlx::query_as(sql).fetch_one(&pool).await.unwrap()
    };
    assert_eq!(row().await, ("audit".into(), "NEW".into(), 0, None));
    let first = one(&queues, "q").await;
    assert_eq!(row().await, ("audit".into(), "IN_PROGRESS".into(), 0, None));
    queues.note_failure("q", &[first.receipt], &"é".repeat(2000)).await.unwrap();
    queues.hide("q", &[first.receipt], Duration::ZERO).await.unwrap();
    let second = one(&queues, "q").await;
    assert_eq!(row().await, ("audit".into(), "IN_PROGRESS".into(), 1, Some("é".repeat(1000))));
    assert_eq!(queues.delete("q", &[second.receipt]).await.unwrap(), 1);
    assert_eq!(row().await.1, "DONE");
}

#[tokio::test]
async fn a_message_comes_back_when_its_visibility_ends() {
    let queues = queues(vec![q(1)]).await;
    send(&queues, &["x"]).await;
    let begin = Instant::now();
    let first = one(&queues, "q").await;
    assert!(queues.receive("q", Receive::up_to(10)).await.unwrap().is_empty());
    let second = one(&queues, "q").await;
    assert!(begin.elapsed() >= Duration::from_millis(990), "{:?}", begin.elapsed());
    assert_eq!((first.receive_count, second.receive_count), (1, 2));
    assert_eq!(first.message_id, second.message_id);
    assert_eq!((first.sent_at, first.first_received_at), (second.sent_at, second.first_received_at));
    assert_ne!(first.receipt.handle("q"), second.receipt.handle("q"));
}

#[tokio::test]
async fn a_stale_receipt_changes_nothing() {
    let queues = queues(vec![q(30)]).await;
    send(&queues, &["x"]).await;
    let stale = one(&queues, "q").await.receipt;
    queues.hide("q", &[stale], Duration::ZERO).await.unwrap();
    let newer = one(&queues, "q").await.receipt;

    assert_eq!(queues.delete("q", &[stale]).await.unwrap(), 0);
    assert_eq!(queues.hide("q", &[stale], Duration::ZERO).await.unwrap(), 0);
    let changed = queues.change_visibility("q", stale, Duration::ZERO).await;
    assert_eq!(changed, Err(QueueError::NotAvailable));
    assert_eq!(queues.note_failure("q", &[stale], "late").await.unwrap(), 0);
    assert_eq!(queues.counts("q").await.unwrap(), counts(0, 1, 0));

    assert_eq!(queues.delete("q", &[newer]).await.unwrap(), 1);
    assert_eq!(queues.delete("q", &[newer]).await.unwrap(), 0);
    assert_eq!(queues.change_visibility("q", newer, Duration::ZERO).await, Err(QueueError::NotAvailable));
}

#[tokio::test]
async fn an_expired_receipt_deletes_what_nobody_else_received() {
    let queues = queues(vec![q(30)]).await;
    send(&queues, &["x", "y"]).await;
    let messages = queues.receive("q", Receive::up_to(2)).await.unwrap();
    for message in &messages {
        queues.change_visibility("q", message.receipt, Duration::ZERO).await.unwrap();
    }
    assert_eq!(queues.counts("q").await.unwrap(), counts(2, 0, 0));
    // Changing the visibility after it ended works as well.
    queues.change_visibility("q", messages[0].receipt, Duration::from_secs(60)).await.unwrap();
    assert_eq!(queues.counts("q").await.unwrap(), counts(1, 1, 0));
    assert_eq!(queues.delete("q", &[messages[1].receipt]).await.unwrap(), 1);
}

#[tokio::test]
async fn visibility_ends_twelve_hours_after_the_receive() {
    let pool = database().await;
    let queues = Queues::new(pool.clone(), vec![q(30)]);
    send(&queues, &["x"]).await;
    let receipt = one(&queues, "q").await.receipt;
    let most = Duration::from_secs(43_200);
    queues.change_visibility("q", receipt, most).await.unwrap();
    sqlx::query("UPDATE message_queue SET received_at = received_at - INTERVAL 1 HOUR").execute(&pool).await.unwrap();
    assert_eq!(queues.change_visibility("q", receipt, most).await, Err(QueueError::TooLong));
    queues.change_visibility("q", receipt, Duration::from_secs(11 * 3600)).await.unwrap();
}

#[tokio::test]
async fn one_receive_too_many_moves_the_message() {
    let pool = database().await;
    let queues = Queues::new(pool.clone(), q_and_dead(30, 2));
    let ids = send(&queues, &["poison 😀"]).await;
    let mut last = None;
    for count in 1..=2 {
        let message = one(&queues, "q").await;
        assert_eq!(message.receive_count, count);
        queues.note_failure("q", &[message.receipt], "no such tenant").await.unwrap();
        queues.hide("q", &[message.receipt], Duration::ZERO).await.unwrap();
        last = Some(message);
    }
    let last = last.unwrap();
    // Others behind it are delivered by the same receive.
    send(&queues, &["fine"]).await;
    assert_eq!(take(&queues, "q").await, ["fine"]);
    assert_eq!(queues.counts("dead").await.unwrap(), counts(1, 0, 0));
    assert_eq!(queues.delete("q", &[last.receipt]).await.unwrap(), 0);
    let sql = "SELECT CAST(status AS CHAR), last_error FROM message_queue WHERE queue = 'dead'";
    let row: (String, String) = sqlx::query_as(sql).fetch_one(&pool).await.unwrap();
    assert_eq!(row, ("FAILED".into(), "no such tenant".into()));

    let dead = one(&queues, "dead").await;
    assert_eq!((&dead.message_id, dead.body.as_str()), (&ids[0], "poison 😀"));
    assert_eq!((dead.receive_count, dead.source_queue.as_deref()), (3, Some("q")));
    assert_eq!((dead.sent_at, dead.first_received_at), (last.sent_at, last.first_received_at));
    assert_eq!(queues.counts("dead").await.unwrap(), counts(0, 1, 0));
    assert_eq!(queues.delete("dead", &[dead.receipt]).await.unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn eight_consumers_never_share_a_message() {
    let queues = queues(vec![q(60)]).await;
    let bodies: Vec<String> = (0..400).map(|n| n.to_string()).collect();
    let bodies: Vec<&str> = bodies.iter().map(String::as_str).collect();
    let mut consumers = JoinSet::new();
    for _ in 0..8 {
        let queues = queues.clone();
        consumers.spawn(async move {
            let mut mine = Vec::new();
            let wanted = Receive { wait: Duration::from_secs(2), ..Receive::up_to(7) };
            loop {
                let messages = queues.receive("q", wanted).await.unwrap();
                if messages.is_empty() {
                    return mine;
                }
                let receipts: Vec<_> = messages.iter().map(|message| message.receipt).collect();
                assert_eq!(queues.delete("q", &receipts).await.unwrap(), receipts.len() as u64);
                mine.extend(messages.into_iter().map(|message| (message.body, message.receive_count)));
            }
        });
    }
    for some in bodies.chunks(40) {
        send(&queues, some).await;
    }
    let all = consumers.join_all().await.concat();
    assert!(all.iter().all(|(_, count)| *count == 1));
    let distinct: BTreeSet<&str> = all.iter().map(|(body, _)| body.as_str()).collect();
    assert_eq!((all.len(), distinct.len()), (400, 400));
}

#[tokio::test]
async fn a_long_poll_ends_with_the_first_message() {
    let queues = queues(vec![q(30)]).await;
    let begin = Instant::now();
    let (message, _) = tokio::join!(one(&queues, "q"), send(&queues, &["x"]));
    assert_eq!(message.body, "x");
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
    let wanted = Receive { wait: Duration::from_millis(300), ..Receive::up_to(1) };
    assert!(queues.receive("q", wanted).await.unwrap().is_empty());
    let stopped =
        queues.receive_until("q", Receive { wait: Duration::from_secs(60), ..wanted }, std::future::ready(()));
    assert!(stopped.await.unwrap().is_empty());
}

#[tokio::test]
async fn delays_are_kept() {
    let spec = QueueSpec { delay: Duration::from_secs(1), ..q(30) };
    let queues = queues(vec![spec]).await;
    let message = |body: &str, delay| Outgoing { body: body.into(), delay };
    let own = [message("now", Some(Duration::ZERO)), message("queue's", None)];
    queues.send("q", &own).await.unwrap();
    assert_eq!(queues.counts("q").await.unwrap(), counts(1, 0, 1));
    assert_eq!(take(&queues, "q").await, ["now"]);
    assert_eq!(one(&queues, "q").await.body, "queue's");
}

#[tokio::test]
async fn messages_are_accepted_one_by_one() {
    let spec = QueueSpec { max_message_size: 1024, ..q(30) };
    let queues = queues(vec![spec]).await;
    let bodies = ["fine", "", "a\u{b}", &"x".repeat(1025), &"x".repeat(1024)];
    let messages = bodies.map(|body| Outgoing { body: body.into(), delay: None });
    let sent = queues.send("q", &messages).await.unwrap();
    let refused: Vec<_> = sent.into_iter().map(Result::err).collect();
    let too_large = Refused::TooLarge { size: 1025, limit: 1024 };
    assert_eq!(refused, [None, Some(Refused::Empty), Some(Refused::Character(11)), Some(too_large), None]);
    assert_eq!(queues.counts("q").await.unwrap(), counts(2, 0, 0));
    let unknown = queues.send("nowhere", &messages).await;
    assert_eq!(unknown, Err(QueueError::NoSuchQueue("nowhere".into())));
}

#[tokio::test]
async fn byte_limits_leave_the_rest_visible() {
    let queues = queues(vec![q(30)]).await;
    send(&queues, &["aaaa", "bbbb", "cc"]).await;
    let wanted = Receive { max_bytes: 9, ..Receive::up_to(10) };
    assert_eq!(queues.receive("q", wanted).await.unwrap().len(), 2);
    // One message comes however large it is.
    let wanted = Receive { max_bytes: 1, ..Receive::up_to(10) };
    assert_eq!(queues.receive("q", wanted).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_purge_takes_everything_once_a_minute() {
    let queues = queues(vec![q(30), QueueSpec::new("other")]).await;
    send(&queues, &["x", "y"]).await;
    let flying = one(&queues, "q").await;
    let other = [Outgoing { body: "z".into(), delay: None }];
    queues.send("other", &other).await.unwrap();
    queues.purge("q").await.unwrap();
    assert_eq!(queues.counts("q").await.unwrap(), counts(0, 0, 0));
    assert_eq!(queues.delete("q", &[flying.receipt]).await.unwrap(), 0);
    assert_eq!(queues.counts("other").await.unwrap(), counts(1, 0, 0));
    assert_eq!(queues.purge("q").await, Err(QueueError::PurgeInProgress("q".into())));
}

#[tokio::test]
async fn time_takes_deleted_and_expired_messages() {
    let pool = database().await;
    let spec = QueueSpec { retention: Duration::from_secs(60), ..q(30) };
    let keep = Keep { time: Duration::from_secs(3600), rows: 2 };
    let queues = Queues::with_history(pool.clone(), vec![spec.clone()], keep);
    let rows =
        async || -> i64 { sqlx::query_scalar("SELECT COUNT(*) FROM message_queue").fetch_one(&pool).await.unwrap() };
    for _ in 0..3 {
        send(&queues, &["done"]).await;
        take(&queues, "q").await;
    }
    // No more than so many; the older half makes room for what comes.
    assert_eq!(rows().await, 2);
    assert_eq!((queues.clean().await.unwrap(), rows().await), (1, 1));
    assert_eq!(queues.clean().await.unwrap(), 0);
    drop(queues);
    // Nor for longer, whoever deleted them.
    let queues = Queues::with_history(pool.clone(), vec![spec], Keep { time: Duration::ZERO, rows: 100 });
    assert_eq!(queues.counts("q").await.unwrap(), counts(0, 0, 0));
    assert_eq!((queues.clean().await.unwrap(), rows().await), (1, 0));

    send(&queues, &["old", "old"]).await;
    let flying = one(&queues, "q").await;
    sqlx::query("UPDATE message_queue SET created_at = created_at - INTERVAL 61 SECOND").execute(&pool).await.unwrap();
    assert!(queues.receive("q", Receive::up_to(1)).await.unwrap().is_empty());
    assert_eq!(queues.delete("q", &[flying.receipt]).await.unwrap(), 1);
    // The claim found the other one expired; it counts until it has been read anew.
    until_empty(&queues).await;
}

#[tokio::test]
async fn a_purge_of_more_than_is_known_leaves_a_queue_that_works() {
    let queues = queues(vec![q(30)]).await;
    send(&queues, &["x"; 12_000]).await;
    assert_eq!(queues.counts("q").await.unwrap().visible, 12_000);
    queues.purge("q").await.unwrap();
    assert!(queues.receive("q", Receive::up_to(1)).await.unwrap().is_empty());
    assert_eq!(queues.counts("q").await.unwrap(), counts(0, 0, 0));
    send(&queues, &["y"]).await;
    assert_eq!(take(&queues, "q").await, ["y"]);
}

#[tokio::test]
async fn a_long_queue_is_delivered_whole_and_in_order() {
    let queues = queues(vec![q(600)]).await;
    let bodies: Vec<String> = (0..12_000).map(|n| n.to_string()).collect();
    let bodies: Vec<&str> = bodies.iter().map(String::as_str).collect();
    send(&queues, &bodies).await;
    let mut received = Vec::new();
    while received.len() < bodies.len() {
        let messages = queues.receive("q", Receive::up_to(500)).await.unwrap();
        let receipts: Vec<_> = messages.iter().map(|message| message.receipt).collect();
        queues.delete("q", &receipts).await.unwrap();
        received.extend(messages.into_iter().map(|message| message.body));
    }
    assert_eq!(received, bodies);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_hide_their_messages_at_once() {
    let queues = queues(vec![q(30)]).await;
    send(&queues, &["x"; 100]).await;
    let messages = queues.receive("q", Receive::up_to(100)).await.unwrap();
    let mut changes = JoinSet::new();
    for message in messages {
        let queues = queues.clone();
        changes.spawn(async move { queues.change_visibility("q", message.receipt, Duration::from_secs(60)).await });
    }
    assert!(changes.join_all().await.into_iter().all(|change| change == Ok(())));
    assert_eq!(queues.counts("q").await.unwrap(), counts(0, 100, 0));
}
