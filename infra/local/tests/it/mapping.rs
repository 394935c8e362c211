//! The event source mapping over a real queue, with functions made of closures.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use echo_local::lambda::InvokeError;
use echo_local::mapping;
use echo_local::queue::{Counts, Queues};
use echo_local::spec::MappingSpec;
use serde_json::{Value, json};
use sqlx::mysql::MySqlPool;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinHandle;

use super::support::{Fake, database, one, q, q_and_dead, send};

type Answer = Result<String, InvokeError>;

fn spec() -> MappingSpec {
    MappingSpec {
        queue: "q".into(),
        function: "f".into(),
        batch_size: 10,
        window: Duration::ZERO,
        report_failures: true,
        // Two would share what is there between them.
        max_concurrency: 1,
    }
}

/// A running mapping whose function answers with `answer` and whose calls can be awaited.
struct Mapping {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
    calls: mpsc::UnboundedReceiver<Value>,
}

impl Mapping {
    fn start(spec: MappingSpec, queues: &Queues, answer: impl Fn(&Value) -> Answer + Send + Sync + 'static) -> Self {
        let (call, calls) = mpsc::unbounded_channel();
        let answer = Arc::new(answer);
        let function = Fake(move |event: Value| {
            let result = answer(&event);
            let _ = call.send(event);
            async move { result }
        });
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(mapping::run(spec, queues.clone(), function, stopped));
        Self { stop, task, calls }
    }

    /// The bodies of the next batch.
    async fn call(&mut self) -> Vec<String> {
        let event = tokio::time::timeout(Duration::from_secs(15), self.calls.recv()).await.unwrap().unwrap();
        bodies(&event)
    }

    /// Stops; what was in hand is settled then.
    async fn stop(self) {
        self.stop.send_replace(true);
        self.task.await.unwrap();
    }
}

fn records(event: &Value) -> &Vec<Value> {
    event["Records"].as_array().unwrap()
}

fn bodies(event: &Value) -> Vec<String> {
    records(event).iter().map(|record| record["body"].as_str().unwrap().to_owned()).collect()
}

fn failures(event: &Value, bad: impl Fn(&str) -> bool) -> String {
    let bad = records(event).iter().filter(|record| bad(record["body"].as_str().unwrap()));
    let items: Vec<Value> = bad.map(|record| json!({ "itemIdentifier": record["messageId"] })).collect();
    json!({ "batchItemFailures": items }).to_string()
}

async fn states(pool: &MySqlPool) -> BTreeMap<String, (String, Option<String>)> {
    let sql = "SELECT payload, CAST(status AS CHAR), last_error FROM message_queue";
    let rows: Vec<(String, String, Option<String>)> = sqlx::query_as(sql).fetch_all(pool).await.unwrap();
    rows.into_iter().map(|(body, status, error)| (body, (status, error))).collect()
}

#[tokio::test]
async fn a_handled_batch_is_deleted() {
    let pool = database().await;
    let queues = Queues::new(pool.clone(), vec![q(30)]);
    let ids = send(&queues, &["a 😀\n\"", "b"]).await;
    let (call, mut calls) = mpsc::unbounded_channel();
    let mut mapping = Mapping::start(spec(), &queues, move |event| {
        call.send(event.clone()).unwrap();
        Ok("{}".into())
    });
    assert_eq!(mapping.call().await, ["a 😀\n\"", "b"]);
    mapping.stop().await;
    assert!(states(&pool).await.values().all(|(status, error)| status == "DONE" && error.is_none()));

    let event = calls.recv().await.unwrap();
    let record = &records(&event)[0];
    assert_eq!(record["messageId"], ids[0].as_str());
    assert_eq!(record["attributes"]["ApproximateReceiveCount"], "1");
    assert!(record["attributes"]["SentTimestamp"].as_str().unwrap().parse::<u64>().is_ok());
    assert_eq!(record["eventSource"], "aws:sqs");
    assert_eq!(record["eventSourceARN"], "arn:aws:sqs:us-east-1:000000000000:q");
    assert_eq!((&record["awsRegion"], &record["messageAttributes"]), (&json!("us-east-1"), &json!({})));
    let typed: aws_lambda_events::sqs::SqsEvent = serde_json::from_value(event).unwrap();
    assert_eq!(typed.records[1].body.as_deref(), Some("b"));
}

#[tokio::test]
async fn only_what_was_reported_comes_back() {
    let pool = database().await;
    let queues = Queues::new(pool.clone(), vec![q(30)]);
    send(&queues, &["1", "2", "poison", "4", "5"]).await;
    let mut mapping = Mapping::start(spec(), &queues, |event| Ok(failures(event, |body| body == "poison")));
    assert_eq!(mapping.call().await.len(), 5);
    mapping.stop().await;
    for (body, (status, error)) in states(&pool).await {
        match body.as_str() {
            "poison" => {
                assert_eq!((status.as_str(), error.as_deref()), ("IN_PROGRESS", Some("reported as failed")));
            }
            _ => assert_eq!((status.as_str(), error), ("DONE", None), "{body}"),
        }
    }
}

#[tokio::test]
async fn an_error_or_an_unusable_answer_brings_everything_back() {
    let error = InvokeError::Function { kind: "Boom".into(), message: "no".into() };
    let unknown = r#"{"batchItemFailures": [{"itemIdentifier": "unknown"}]}"#;
    let cases: [(Answer, &str); 5] = [
        (Err(error), "function error Boom: no"),
        (Err(InvokeError::Timeout), "timed out"),
        (Err(InvokeError::Crashed("signal 9".into())), "signal 9"),
        (Ok("nonsense".into()), "invalid JSON"),
        (Ok(unknown.into()), "not in the batch"),
    ];
    for (answer, reason) in cases {
        let pool = database().await;
        let queues = Queues::new(pool.clone(), vec![q(30)]);
        send(&queues, &["a", "b"]).await;
        let mut mapping = Mapping::start(spec(), &queues, move |_| answer.clone());
        assert_eq!(mapping.call().await.len(), 2);
        mapping.stop().await;
        for (status, error) in states(&pool).await.into_values() {
            assert_eq!(status, "IN_PROGRESS", "{reason}");
            assert!(error.unwrap().contains(reason), "{reason}");
        }
        assert_eq!(queues.counts("q").await.unwrap(), Counts { in_flight: 2, ..Counts::default() });
    }
}

#[tokio::test]
async fn poison_fails_alone_wherever_it_lies() {
    for (count, batch_size) in [(10, 10), (1_000, 1_000)] {
        for poison in [vec![0], vec![count / 2], vec![count - 1], (0..count).collect::<Vec<usize>>()] {
            let queues = Queues::new(database().await, vec![q(30)]);
            let bodies: Vec<String> = (0..count).map(|n| n.to_string()).collect();
            let bad: Vec<String> = poison.iter().map(|n| n.to_string()).collect();
            let expected = bad.len();
            let window = Duration::from_secs(5);
            let spec = MappingSpec { batch_size, window, ..spec() };
            let mut mapping = Mapping::start(spec, &queues, move |event| {
                Ok(failures(event, |body| bad.iter().any(|bad| bad == body)))
            });
            send(&queues, &bodies.iter().map(String::as_str).collect::<Vec<_>>()).await;
            let mut delivered = 0;
            while delivered < count {
                delivered += mapping.call().await.len();
            }
            mapping.stop().await;
            assert_eq!(delivered, count);
            let left = Counts { in_flight: expected as u64, ..Counts::default() };
            assert_eq!(queues.counts("q").await.unwrap(), left, "{count} {poison:?}");
        }
    }
}

#[tokio::test]
async fn without_reports_every_return_is_success() {
    let pool = database().await;
    let queues = Queues::new(pool.clone(), vec![q(30)]);
    send(&queues, &["a", "b"]).await;
    let spec = MappingSpec { report_failures: false, ..spec() };
    let mut mapping = Mapping::start(spec, &queues, |event| Ok(failures(event, |_| true)));
    mapping.call().await;
    mapping.stop().await;
    assert!(states(&pool).await.values().all(|(status, _)| status == "DONE"));
}

#[tokio::test]
async fn a_failure_comes_back_after_its_visibility_and_dies_after_its_last_receive() {
    let pool = database().await;
    let queues = Queues::new(pool.clone(), q_and_dead(1, 2));
    send(&queues, &["poison"]).await;
    let mut mapping = Mapping::start(spec(), &queues, |event| Ok(failures(event, |body| body == "poison")));
    assert_eq!(mapping.call().await, ["poison"]);
    let first = Instant::now();
    assert_eq!(mapping.call().await, ["poison"]);
    assert!(first.elapsed() > Duration::from_millis(800), "{:?}", first.elapsed());
    let dead = one(&queues, "dead").await;
    assert_eq!((dead.body.as_str(), dead.receive_count), ("poison", 3));
    assert_eq!(states(&pool).await["poison"], ("FAILED".into(), Some("reported as failed".into())));
    // Others still flow.
    send(&queues, &["fine"]).await;
    assert_eq!(mapping.call().await, ["fine"]);
    assert!(mapping.calls.try_recv().is_err());
    mapping.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_than_the_limit_run_at_once() {
    let queues = Queues::new(database().await, vec![q(30)]);
    let gate = Arc::new(Semaphore::new(0));
    let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (begun, mut begins) = mpsc::unbounded_channel();
    let (held, now, peak) = (Arc::clone(&gate), Arc::clone(&running), Arc::clone(&most));
    let function = Fake(move |_| {
        let (held, now, peak, begun) = (Arc::clone(&held), Arc::clone(&now), Arc::clone(&peak), begun.clone());
        async move {
            peak.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            begun.send(()).unwrap();
            held.acquire().await.unwrap().forget();
            now.fetch_sub(1, Ordering::SeqCst);
            Ok(String::new())
        }
    });
    send(&queues, &["x"; 12]).await;
    let (stop, stopped) = watch::channel(false);
    let spec = MappingSpec { batch_size: 1, max_concurrency: 3, ..spec() };
    let task = tokio::spawn(mapping::run(spec, queues.clone(), function, stopped));
    for _ in 0..3 {
        begins.recv().await.unwrap();
    }
    gate.add_permits(12);
    for _ in 3..12 {
        begins.recv().await.unwrap();
    }
    stop.send_replace(true);
    task.await.unwrap();
    assert_eq!(most.load(Ordering::SeqCst), 3);
    assert_eq!(queues.counts("q").await.unwrap(), Counts::default());
}

#[tokio::test]
async fn a_window_fills_a_large_batch() {
    let queues = Queues::new(database().await, vec![q(60)]);
    let spec = MappingSpec { batch_size: 100, window: Duration::from_secs(20), ..spec() };
    let mut mapping = Mapping::start(spec, &queues, |_| Ok(String::new()));
    let begin = Instant::now();
    for _ in 0..10 {
        send(&queues, &["x"; 10]).await;
    }
    // Full before the window is over.
    assert_eq!(mapping.call().await.len(), 100);
    assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
    while queues.counts("q").await.unwrap() != Counts::default() {
        tokio::task::yield_now().await;
    }
    // The shutdown ends the window: what is in hand is handled, not dropped.
    send(&queues, &["last"]).await;
    while queues.counts("q").await.unwrap().in_flight == 0 {
        tokio::task::yield_now().await;
    }
    mapping.stop.send_replace(true);
    assert_eq!(mapping.call().await, ["last"]);
    mapping.stop().await;
    assert_eq!(queues.counts("q").await.unwrap(), Counts::default());
}

#[tokio::test]
async fn a_window_ends_by_itself() {
    let queues = Queues::new(database().await, vec![q(60)]);
    send(&queues, &["x"; 3]).await;
    let spec = MappingSpec { batch_size: 100, window: Duration::from_millis(300), ..spec() };
    let mut mapping = Mapping::start(spec, &queues, |_| Ok(String::new()));
    assert_eq!(mapping.call().await.len(), 3);
    mapping.stop().await;
}

#[tokio::test]
async fn an_event_stays_below_six_megabytes() {
    let queues = Queues::new(database().await, vec![q(60)]);
    let large = "x".repeat(1_000_000);
    send(&queues, &[large.as_str(); 10]).await;
    let spec = MappingSpec { batch_size: 100, window: Duration::from_millis(300), ..spec() };
    let sizes = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&sizes);
    let mut mapping = Mapping::start(spec, &queues, move |event| {
        seen.lock().unwrap().push(event.to_string().len());
        Ok(String::new())
    });
    let mut count = 0;
    while count < 10 {
        count += mapping.call().await.len();
    }
    mapping.stop().await;
    let sizes = sizes.lock().unwrap().clone();
    assert!(sizes.len() == 2 && sizes.iter().all(|size| *size < 6 * 1_048_576), "{sizes:?}");
}

#[tokio::test]
async fn a_shutdown_finishes_the_batch_in_hand() {
    let queues = Queues::new(database().await, vec![q(30)]);
    send(&queues, &["x", "y"]).await;
    let gate = Arc::new(Semaphore::new(0));
    let (begun, mut begins) = mpsc::unbounded_channel();
    let held = Arc::clone(&gate);
    let function = Fake(move |_| {
        let (held, begun) = (Arc::clone(&held), begun.clone());
        async move {
            begun.send(()).unwrap();
            held.acquire().await.unwrap().forget();
            Ok(String::new())
        }
    });
    let (stop, stopped) = watch::channel(false);
    let spec = spec();
    let task = tokio::spawn(mapping::run(spec, queues.clone(), function, stopped));
    begins.recv().await.unwrap();
    stop.send_replace(true);
    tokio::task::yield_now().await;
    assert!(!task.is_finished());
    send(&queues, &["later"]).await;
    gate.add_permits(1);
    task.await.unwrap();
    assert_eq!(queues.counts("q").await.unwrap(), Counts { visible: 1, ..Counts::default() });
}

#[tokio::test]
async fn a_function_that_cannot_run_uses_up_no_receives() {
    let queues = Queues::new(database().await, q_and_dead(1, 1));
    send(&queues, &["x"]).await;
    let begin = Instant::now();
    // Longer than the visibility timeout.
    let mut mapping = Mapping::start(spec(), &queues, move |_| match begin.elapsed() {
        early if early < Duration::from_millis(1600) => Err(InvokeError::Unavailable("compiling".into())),
        _ => Ok(String::new()),
    });
    let mut calls = 0;
    while begin.elapsed() < Duration::from_millis(1600) {
        mapping.call().await;
        calls += 1;
    }
    assert!(calls < 20, "{calls}");
    mapping.stop().await;
    assert_eq!(queues.counts("q").await.unwrap(), Counts::default());
    assert_eq!(queues.counts("dead").await.unwrap(), Counts::default());
}

#[tokio::test]
async fn a_shutdown_gives_back_what_never_ran() {
    let queues = Queues::new(database().await, vec![q(30)]);
    send(&queues, &["x"]).await;
    let mut mapping = Mapping::start(spec(), &queues, |_| Err(InvokeError::Throttled));
    mapping.call().await;
    mapping.stop().await;
    assert_eq!(queues.counts("q").await.unwrap(), Counts { visible: 1, ..Counts::default() });
}
