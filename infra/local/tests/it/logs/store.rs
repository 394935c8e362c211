//! Blocks on their way into the table: once, however they come; poison by itself.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use aws_lambda_events::sqs::SqsEvent;
use echo_local::lambda::InvokeError;
use echo_local::mapping;
use echo_local::queue::Outgoing;
use echo_local::spec::MappingSpec;
use echo_shared::event::log::Packed;
use echo_shared::log::block::{Block, MAX_RAW};
use echo_shared::log::key::{HOUR, Id, SECOND};
use echo_shared::log::line::Severity;
use echo_shared::metric::Metric;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::super::echo::{Echo, consume_logs};
use super::super::support::{self, Fake, one, until_empty};
use super::{Seeded, block, event, event_with, large_block, of, range, record, sorted, trace_in, unpacked};

/// The event of a block that is to be folded: three lines of one trace.
pub fn small(hour: u64, number: u64, days: u32) -> String {
    event("demo", &small_block(hour, number), days)
}

fn small_block(hour: u64, number: u64) -> Block {
    let line = |n: u64| LogRecord {
        trace_id: trace_in(hour, number).into(),
        ..record(hour + (number * 3 + n) * SECOND, Severity::Warn, &format!("small {number} {n}"))
    };
    block(vec![of("small", (0..3).map(line).collect())])
}

pub fn large(hour: u64, number: u64) -> String {
    event("demo", &large_block(hour, number), 30)
}

/// What the hour holds is `expected` different lines, each once, for searches and for statistics.
pub async fn holds(echo: &Echo, hour: u64, expected: usize, case: &str) {
    let window = range(hour, hour + HOUR);
    let mut lines = sorted(&echo.search(&format!("{window}&limit=100")).await);
    assert_eq!(lines.len(), expected, "{case}");
    lines.dedup();
    assert_eq!(lines.len(), expected, "{case}: a line is there twice");
    assert_eq!(echo.counted(&window).await, expected as u64, "{case}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_block_is_stored_once_however_it_comes() {
    let echo = Echo::start().await;
    let hour = echo.hour();
    let [a, b, c] = [1, 2, 3].map(|number| large(hour, number));
    // Twice in a batch, under other message ids, in another order, and again and again.
    let batches = [vec![&a, &a, &b], vec![&b, &a], vec![&c, &b, &a, &c], vec![&a, &b, &c], vec![&a, &b, &c]];
    for batch in batches {
        assert_eq!(echo.keep(&batch.into_iter().cloned().collect::<Vec<_>>()).await, [0usize; 0]);
    }
    assert_eq!((echo.stored_as("HEADER").await.len(), echo.stored_as("BLOCK").await.len()), (3, 3));
    holds(&echo, hour, 180, "large").await;
    let cold = echo.log_consumer(None);
    assert_eq!(consume_logs(&cold, &[c, a]).await, [0usize; 0]);
    holds(&echo, hour, 180, "large, by another instance").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn small_blocks_of_an_hour_and_a_retention_become_one() {
    let echo = Echo::start().await;
    let hour = echo.hour();
    let mut batch: Vec<String> = (0..40).map(|number| small(hour, number, 30)).collect();
    batch.extend((40..45).map(|number| small(hour, number, 7)));
    batch.extend((0..5).map(|number| small(hour - HOUR, number, 30)));
    batch.push(event("acme", &small_block(hour, 99), 30));
    assert_eq!(echo.keep(&batch).await, [0usize; 0]);
    let payloads = echo.stored_as("BLOCK").await;
    let mut counts: Vec<usize> =
        payloads.iter().map(|item| echo_shared::log::line::lines(&unpacked(item)).count()).collect();
    counts.sort_unstable();
    assert_eq!(counts, [3, 15, 15, 120]);
    assert_eq!(echo.stored_as("HEADER").await.len(), 4);
    assert_eq!(echo.stored_as("SOURCE").await.len(), batch.len(), "a marker for each");
    holds(&echo, hour, 135, "folded").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_small_blocks_are_more_than_one_fold() {
    let echo = Echo::start().await;
    let hour = echo.hour();
    let all: Vec<String> = (0..250).map(|number| small(hour, number, 30)).collect();
    assert_eq!(echo.keep(&all).await, [0usize; 0]);
    assert_eq!(echo.stored_as("SOURCE").await.len(), 250);
    assert!(echo.stored_as("HEADER").await.len() < 20);
    holds(&echo, hour, 750, "more than a transaction takes").await;
}

/// All ways to put `count` things into groups.
fn groupings(count: usize) -> Vec<Vec<Vec<usize>>> {
    let mut found = vec![Vec::<Vec<usize>>::new()];
    for thing in 0..count {
        let mut next = Vec::new();
        for groups in found {
            for place in 0..=groups.len() {
                let mut groups = groups.clone();
                match groups.get_mut(place) {
                    Some(group) => group.push(thing),
                    None => groups.push(vec![thing]),
                }
                next.push(groups);
            }
        }
        found = next;
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn sources_that_come_again_in_other_groups_add_nothing() {
    let echo = Echo::start().await;
    let groupings = groupings(5);
    assert_eq!(groupings.len(), 52);
    let (mut seeded, last) = (Seeded(5), echo.hour());
    for (case, first) in groupings.iter().enumerate() {
        // An hour of its own.
        let hour = last - case as u64 * HOUR;
        let sources: Vec<String> = (0..5).map(|number| small(hour, number, 30)).collect();
        let deliver = async |group: &[usize]| {
            let bodies: Vec<String> = group.iter().map(|source| sources[*source].clone()).collect();
            assert_eq!(echo.keep(&bodies).await, [0usize; 0], "{case}");
        };
        // In every other case what comes last is not there yet when the second grouping comes.
        let begun = first.len() - case % 2;
        for group in &first[..begun] {
            deliver(group).await;
        }
        let again = &groupings[seeded.below(groupings.len())];
        for group in again.iter().rev() {
            let mut group = group.clone();
            let at = seeded.below(group.len());
            group.rotate_left(at);
            deliver(&group).await;
        }
        holds(&echo, hour, 15, &format!("{first:?}, then {again:?}")).await;
        deliver(&[0, 1, 2, 3, 4]).await;
        holds(&echo, hour, 15, &format!("{first:?}, then {again:?}, then all")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn consumers_that_race_for_the_same_messages_store_them_once() {
    let echo = Echo::start().await;
    let last = echo.hour();
    for round in 0..8 {
        let hour = last - round * HOUR;
        let mut batch: Vec<String> = (0..12).map(|number| small(hour, number, 30)).collect();
        batch.extend([20, 21].map(|number| large(hour, number)));
        let other: Vec<String> = batch.iter().rev().take(10).cloned().collect();
        let (one, two) = (echo.log_consumer(None), echo.log_consumer(None));
        let (failed, failed_too) = tokio::join!(consume_logs(&one, &batch), consume_logs(&two, &other));
        // Who lost may say so; then its messages come again.
        let again = failed.into_iter().map(|n| batch[n].clone());
        let again: Vec<String> = again.chain(failed_too.into_iter().map(|n| other[n].clone())).collect();
        assert_eq!(echo.keep(&again).await, [0usize; 0]);
        holds(&echo, hour, 12 * 3 + 2 * 60, &format!("round {round}")).await;
    }
}

/// Events that no redelivery makes better.
fn poison(hour: u64) -> Vec<(&'static str, String)> {
    let good = small_block(hour, 900);
    let of_block = |block: &Block| event("demo", block, 30);
    let two_hours = block(vec![of("web", [hour - 1, hour].map(|time| record(time, Severity::Info, "x")).into())]);
    let bomb = zstd::bulk::compress(&vec![0; 100 * MAX_RAW], 1).unwrap();
    let not_otlp = Block::pack(b"\xff\xff").unwrap();
    let data = Packed::new(&good, 30).to_data();
    let with = |change: &dyn Fn(&mut Value)| {
        let mut attributes = json!({ "id": good.id.to_string(), "data": data });
        change(&mut attributes);
        event_with(&attributes)
    };
    vec![
        ("no JSON", "{".into()),
        ("junk", of_block(&Block::of(b"junk".to_vec()))),
        ("no OTLP", of_block(&not_otlp)),
        ("a bomb", of_block(&Block::of(bomb))),
        ("an empty block", of_block(&block(Vec::new()))),
        ("a block of two hours", of_block(&two_hours)),
        ("another's id", with(&|event| event["id"] = Id::of(b"another").to_string().into())),
        ("no id of a block", with(&|event| event["id"] = "1".into())),
        ("no base64", with(&|event| event["data"]["block"] = "%%%%".into())),
        ("no block", with(&|event| event["data"] = json!({"days": 30}))),
        ("no days", with(&|event| event["data"]["days"] = "soon".into())),
        ("another type", with(&|event| event["type"] = "audit".into())),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn poison_fails_alone() {
    let echo = Echo::start().await;
    let hour = echo.hour();
    let (mut batch, mut expected) = (Vec::new(), Vec::new());
    let poison = poison(hour);
    for (number, (_, body)) in (0..).zip(&poison) {
        batch.push(if number % 4 == 0 { large(hour, number) } else { small(hour, number, 30) });
        expected.push(batch.len());
        batch.push(body.clone());
    }
    let failed = echo.keep(&batch).await;
    let names: Vec<&str> =
        (0..batch.len()).filter(|n| expected.contains(n) && !failed.contains(n)).map(|n| poison[n / 2].0).collect();
    assert!(names.is_empty(), "taken: {names:?}");
    assert_eq!(BTreeSet::from_iter(failed), BTreeSet::from_iter(expected), "good ones failed");
    assert_eq!(echo.measured(Metric::BatchFailures), [poison.len() as u64]);
    holds(&echo, hour, 3 * 60 + 9 * 3, "the neighbours").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn poison_alone_reaches_the_dead_letter_queue() {
    let echo = Echo::start().await;
    let hour = echo.hour();
    let queues = support::queues(support::q_and_dead(1, 2)).await;
    let app = Arc::new(echo.log_consumer(None));
    let function = Fake(move |payload: Value| {
        let app = Arc::clone(&app);
        async move {
            let event: SqsEvent = serde_json::from_value(payload).unwrap();
            let response = log_consume::handle(&app, event).await;
            response.map(|response| serde_json::to_string(&response).unwrap()).map_err(|_| InvokeError::Timeout)
        }
    });
    let spec = MappingSpec {
        queue: "q".into(),
        function: "log-consume".into(),
        batch_size: 100,
        window: Duration::from_millis(100),
        report_failures: true,
        max_concurrency: 4,
    };
    let (stop, stopped) = watch::channel(false);
    let mapping = tokio::spawn(mapping::run(spec, queues.clone(), function, stopped));
    let (_, bad) = poison(hour).remove(1);
    let mut bodies: Vec<String> = (0..30).map(|number| small(hour, number, 30)).collect();
    bodies.insert(7, bad.clone());
    let messages: Vec<Outgoing> = bodies.into_iter().map(|body| Outgoing { body, delay: None }).collect();
    queues.send("q", &messages).await.unwrap();
    until_empty(&queues).await;
    assert_eq!(one(&queues, "dead").await.body, bad);
    let left = queues.counts("dead").await.unwrap();
    assert_eq!((left.visible, left.delayed), (0, 0), "poison alone");
    stop.send_replace(true);
    mapping.await.unwrap();
    holds(&echo, hour, 90, "the others").await;
}
