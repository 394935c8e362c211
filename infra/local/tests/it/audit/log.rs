//! Appending: once, in order, by many at the same time; poison alone; keys that change; damage found.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use echo_local::mapping;
use echo_local::queue::{Counts, Outgoing, Queues};
use echo_local::spec::{MappingSpec, QueueSpec, Redrive};
use echo_shared::audit::note::open;
use http::Request;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::super::echo::{Echo, consume};
use super::super::support;
use super::{event, event_of, events};

#[tokio::test(flavor = "multi_thread")]
async fn the_same_events_in_any_order_change_nothing() {
    let echo = Echo::start().await;
    let batch = events(0..120);
    assert!(echo.consume(&batch).await.is_empty());
    let checkpoint = echo.checkpoint("demo").await;
    for step in [7, 11, 13, 17] {
        // Another order, other message ids, each event twice in one batch, instances that remember and that do not.
        let again: Vec<String> = (0..240).map(|n| batch[n * step % 120].clone()).collect();
        assert!(echo.consume(&again).await.is_empty());
        assert!(consume(&echo.consumer(1, None), &again).await.is_empty());
        assert_eq!(echo.checkpoint("demo").await, checkpoint);
    }
    assert_eq!(echo.verify("demo", &[checkpoint]).await.unwrap().size, 120);
}

#[tokio::test(flavor = "multi_thread")]
async fn eight_consumers_race_for_one_log() {
    let echo = Arc::new(Echo::start().await);
    let racers = (0..8).map(|racer| {
        let echo = Arc::clone(&echo);
        tokio::spawn(async move {
            let consumer = echo.consumer(1, None);
            // Every racer has some of its neighbour's events as well.
            let mut left = events(racer * 150..racer * 150 + 200);
            let mut kept = Vec::new();
            for _ in 0..20 {
                let failed = consume(&consumer, &left).await;
                left = failed.into_iter().map(|place| left[place].clone()).collect();
                kept.push(echo.checkpoint("demo").await);
                if left.is_empty() {
                    return kept;
                }
            }
            panic!("{} events were never appended", left.len());
        })
    });
    let mut kept = BTreeSet::new();
    for racer in racers.collect::<Vec<_>>() {
        kept.extend(racer.await.unwrap());
    }
    let kept: Vec<String> = kept.into_iter().collect();
    // No gap, no fork: everything once, and every checkpoint that was seen is the beginning of the log.
    let verified = echo.verify("demo", &kept).await.unwrap();
    assert_eq!(verified.size, 7 * 150 + 200);
    let export = echo.export("demo").await.join("\n");
    for number in 0..1_250 {
        assert_eq!(export.matches(&format!("\"id\":\"e{number:05}\",\"org\"")).count(), 1, "{number}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_log_may_hold_fails_alone() {
    let echo = Echo::start().await;
    let bent = |id: &str, bend: &dyn Fn(&mut Value)| {
        let mut event: Value = serde_json::from_str(&event(id)).unwrap();
        bend(&mut event);
        event.to_string()
    };
    let bad = [
        bent("p1", &|event| event["data"]["actor"] = json!(null)),
        bent("p2", &|event| drop(event["data"].as_object_mut().unwrap().remove("action"))),
        bent("p3", &|event| event["time"] = json!("2999-01-01T00:00:00Z")),
        bent("p4", &|event| event["data"]["details"] = json!({"x": "y".repeat(1 << 20)})),
        bent("p5", &|event| event["data"]["details"] = json!({"x": vec![1e20; 5_000]})),
        bent("p6", &|event| event["data"]["details"] = json!({"x": u64::MAX})),
        bent("p7", &|event| event["type"] = json!("log")),
        "\u{fffd}{".to_owned(),
    ];
    let mut batch = events(0..300);
    for (place, body) in bad.iter().enumerate() {
        batch.insert(place * 30, body.clone());
    }
    let failed = echo.consume(&batch).await;
    assert_eq!(failed, (0..bad.len()).map(|place| place * 30).collect::<Vec<_>>());
    assert_eq!(echo.verify("demo", &[]).await.unwrap().size, 300);
}

#[tokio::test(flavor = "multi_thread")]
async fn orgs_have_logs_of_their_own() {
    let echo = Echo::start().await;
    let batch: Vec<String> = (0..90).map(|n| event_of(["a", "b#c", "d e/+"][n % 3], &format!("{n}"))).collect();
    assert!(echo.consume(&batch).await.is_empty());
    for (org, segment) in [("a", "a"), ("b#c", "b%23c"), ("d e/+", "d%20e%2F%2B")] {
        let (_, _, note) = echo.ask(&format!("/audit/v1/log/{segment}/checkpoint"), &echo.reader(org)).await;
        let note = String::from_utf8(note).unwrap();
        assert!(note.starts_with(&format!("echo.test/audit/v1/log/{segment}\n30\n")), "{note}");
        assert_eq!(echo.verify(org, &[note]).await.unwrap().size, 30);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn old_checkpoints_verify_after_the_key_has_changed() {
    let echo = Echo::start().await;
    assert!(echo.consume(&events(0..10)).await.is_empty());
    let (old, old_keys) = (echo.checkpoint("demo").await, echo.keys("demo").await);
    assert!(consume(&echo.consumer(2, None), &events(10..20)).await.is_empty());
    let (new, keys) = (echo.checkpoint("demo").await, echo.keys("demo").await);
    assert_eq!((old_keys.len(), keys.len(), &keys[0]), (1, 2, &old_keys[0]));
    assert!(open(&new, &old_keys).is_err() && open(&old, &keys).is_ok());
    assert_eq!(echo.verify("demo", &[old, new]).await.unwrap().checkpoints, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_number_that_was_skipped_signs_nothing() {
    let echo = Echo::start().await;
    assert!(echo.consume(&events(0..1)).await.is_empty());
    assert_eq!(consume(&echo.consumer(3, None), &events(1..2)).await, [0]);
    assert!(consume(&echo.consumer(2, None), &events(1..2)).await.is_empty());
}

/// A log that was rolled back and grew another way to the same size: who remembers the old one learns of it.
#[tokio::test(flavor = "multi_thread")]
async fn who_remembers_another_log_of_the_same_size_does_not_sign_it_on() {
    let echo = Echo::start().await;
    assert!(echo.consume(&events(0..10)).await.is_empty());
    let client = echo.audit.log.raw().0;
    for (table, sort_key) in [("echo-audit_log", true), ("echo-audit_head", false)] {
        let items = client.scan().table_name(table).send().await.unwrap().items.unwrap();
        for item in items.iter().filter(|item| !item["pk"].as_s().unwrap().starts_with("KEY#")) {
            let delete = client.delete_item().table_name(table).key("pk", item["pk"].clone());
            let delete = if sort_key { delete.key("sk", item["sk"].clone()) } else { delete };
            delete.send().await.unwrap();
        }
    }
    assert!(consume(&echo.consumer(1, None), &events(10..20)).await.is_empty());
    let failed = echo.consume(&events(20..25)).await;
    let again: Vec<String> = failed.into_iter().map(|place| events(20..25)[place].clone()).collect();
    assert!(consume(&echo.consumer(1, None), &again).await.is_empty());
    assert_eq!(echo.verify("demo", &[]).await.unwrap().size, 15);
}

/// A log whose last chunk is gone must not grow on behind the gap, whoever appends.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_appended_behind_a_gap() {
    let echo = Echo::start().await;
    assert!(echo.consume(&events(0..256)).await.is_empty());
    let (client, table) = echo.audit.log.raw();
    let chunks = client.query().table_name(table).key_condition_expression("pk = :pk").scan_index_forward(false);
    let pk = aws_sdk_dynamodb::types::AttributeValue::S(echo_shared::audit::chunk::key::chunks("demo"));
    let last = chunks.expression_attribute_values(":pk", pk).limit(1).send().await.unwrap().items.unwrap().remove(0);
    let delete = client.delete_item().table_name(table).key("pk", last["pk"].clone()).key("sk", last["sk"].clone());
    delete.send().await.unwrap();
    assert_eq!(consume(&echo.consumer(1, None), &events(300..303)).await, [0, 1, 2]);
}

/// Through the queue and the mapping, as in the cloud: poison ends in the dead-letter queue, and nothing else does.
#[tokio::test(flavor = "multi_thread")]
async fn poison_ends_alone_in_the_dead_letter_queue() {
    let echo = Arc::new(Echo::start().await);
    let redrive = Some(Redrive { target: "dead".into(), max_receive_count: 2 });
    let specs = vec![
        QueueSpec { redrive, visibility_timeout: Duration::from_secs(1), ..QueueSpec::new("q") },
        QueueSpec::new("dead"),
    ];
    let queues = Queues::new(support::database().await, specs);
    let poison = json!({"type": "audit", "data": {}}).to_string();
    for (place, body) in events(0..60).into_iter().enumerate() {
        let mut bodies = vec![Outgoing { body, delay: None }];
        if place == 30 {
            bodies.push(Outgoing { body: poison.clone(), delay: None });
        }
        queues.send("q", &bodies).await.unwrap();
    }
    let mapping = MappingSpec {
        queue: "q".into(),
        function: "audit-consume".into(),
        batch_size: 10,
        window: Duration::ZERO,
        report_failures: true,
        max_concurrency: 2,
    };
    let (stop, stopped) = watch::channel(false);
    let function = support::Fake({
        let echo = Arc::clone(&echo);
        move |event: Value| {
            let echo = Arc::clone(&echo);
            async move {
                let event = serde_json::from_value(event).unwrap();
                let response = audit_consume::handle(&echo.audit, event).await.unwrap();
                Ok(serde_json::to_string(&response).unwrap())
            }
        }
    });
    let running = tokio::spawn(mapping::run(mapping, queues.clone(), function, stopped));
    support::until_empty(&queues).await;
    stop.send_replace(true);
    running.await.unwrap();
    assert_eq!(queues.counts("dead").await.unwrap(), Counts { visible: 1, ..Counts::default() });
    assert_eq!(support::one(&queues, "dead").await.body, poison);
    assert_eq!(echo.verify("demo", &[]).await.unwrap().size, 60);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_log_may_hold_is_refused_at_the_door() {
    let echo = Echo::start().await;
    let token = echo.token(|_| {});
    let good = json!({"specversion": "1.0", "id": "1", "type": "audit",
        "data": {"actor": {"type": "User", "id": "u"}, "action": "a", "outcome": "success"}});
    let bent = |bend: &dyn Fn(&mut Value)| {
        let mut event = good.clone();
        bend(&mut event);
        event.to_string().into_bytes()
    };
    let mut invalid = good.to_string().into_bytes();
    invalid[20] = 0xff;
    for (body, status, kind) in [
        (bent(&|event| drop(event["data"].as_object_mut().unwrap().remove("actor"))), 400, "invalid-event"),
        (bent(&|event| drop(event["data"].as_object_mut().unwrap().remove("action"))), 400, "invalid-event"),
        (bent(&|event| event["time"] = json!("2999-01-01T00:00:00Z")), 400, "invalid-event"),
        (bent(&|event| event["data"]["details"] = json!({"x": "y".repeat(1 << 20)})), 413, "body-too-large"),
        (bent(&|event| event["data"]["details"] = json!({"x": "y".repeat(70_000)})), 413, "event-too-large"),
        (bent(&|event| event["data"]["details"] = json!({"x": vec![1e20; 5_000]})), 413, "event-too-large"),
        (bent(&|event| event["data"]["details"] = json!({"x": u64::MAX})), 400, "invalid-event"),
        (bent(&|event| event["org"] = json!("acme")), 403, "foreign-event"),
        (bent(&|event| event["source"] = json!("/login")), 403, "foreign-event"),
        (invalid, 400, "invalid-body"),
    ] {
        let request = Request::post("/events").header("authorization", format!("Bearer {token}"));
        let request = request.header("content-type", "application/json").body(Body::from(body)).unwrap();
        let (found, headers, problem) = echo.send("ingest", request).await;
        assert_eq!(found, status, "{problem}");
        assert_eq!(headers["content-type"], "application/problem+json");
        assert_eq!(problem["type"], format!("urn:echo:problem:{kind}"));
    }
    assert_eq!(echo.drain().await, 0);
}
