//! What takes minutes: run by `./scripts/test --long` alone.

#![expect(clippy::unwrap_used, reason = "a test")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use echo_local::mysql::Server;
use echo_local::queue::{Counts, Outgoing, Queues, Receive};
use echo_local::spec::QueueSpec;
use sqlx::{AssertSqlSafe, Connection, Executor};
use tokio::task::JoinSet;
use tokio::time::interval;

/// A database and a queue under load until told to stop. A send that fails is done again, as an SDK's user does it.
struct Load {
    server: Server,
    queues: Queues,
    folder: std::path::PathBuf,
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicUsize>,
    deleted: Arc<AtomicUsize>,
    clients: JoinSet<Vec<f64>>,
}

const TEN: usize = 10;
/// How far senders may be ahead of takers.
const AHEAD: usize = 20_000;

impl Load {
    async fn start(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("long-{name}-{}", std::process::id()));
        let server = Server::start(&folder.join("mysql"), &folder.join("run"), &folder.join("log")).await.unwrap();
        let spec = QueueSpec { visibility_timeout: Duration::from_secs(5), ..QueueSpec::new("q") };
        let queues = Queues::new(server.database("echo").await.unwrap(), vec![spec]);
        let (stop, sent, deleted) = (Arc::default(), Arc::default(), Arc::default());
        let mut load = Self { server, queues, folder, stop, sent, deleted, clients: JoinSet::new() };
        for _ in 0..8 {
            let counters = (Arc::clone(&load.sent), Arc::clone(&load.deleted));
            load.clients.spawn(send(load.queues.clone(), Arc::clone(&load.stop), counters));
            load.clients.spawn(take(load.queues.clone(), Arc::clone(&load.stop), Arc::clone(&load.deleted)));
        }
        load
    }

    /// Stops sending, waits until the queue is empty, and returns the milliseconds that claims took.
    async fn finish(mut self) -> Vec<f64> {
        self.stop.store(true, Ordering::SeqCst);
        let mut times = Vec::new();
        while let Some(some) = self.clients.join_next().await {
            times.extend(some.unwrap());
        }
        assert_eq!(self.queues.counts("q").await.unwrap(), Counts::default());
        let (sent, deleted) = (self.sent.load(Ordering::SeqCst), self.deleted.load(Ordering::SeqCst));
        println!("sent {sent}, deleted {deleted}");
        // What was stored although its sender heard of a failure comes on top.
        assert!(sent > 0 && deleted >= sent, "{} lost", sent - deleted);
        self.server.stop().await;
        let _ = std::fs::remove_dir_all(&self.folder);
        times.sort_by(f64::total_cmp);
        times
    }
}

async fn send(
    queues: Queues,
    stop: Arc<AtomicBool>,
    (sent, deleted): (Arc<AtomicUsize>, Arc<AtomicUsize>),
) -> Vec<f64> {
    let messages = vec![Outgoing { body: "x".repeat(200), delay: None }; TEN];
    while !stop.load(Ordering::SeqCst) {
        // As fast as messages are taken: what is left at the end is soon gone.
        if sent.load(Ordering::SeqCst) > deleted.load(Ordering::SeqCst) + AHEAD {
            tokio::time::sleep(Duration::from_millis(1)).await;
            continue;
        }
        if queues.send("q", &messages).await.is_ok() {
            sent.fetch_add(TEN, Ordering::SeqCst);
        }
    }
    Vec::new()
}

async fn take(queues: Queues, stop: Arc<AtomicBool>, deleted: Arc<AtomicUsize>) -> Vec<f64> {
    let mut times = Vec::new();
    loop {
        let begin = Instant::now();
        let wanted = Receive { wait: Duration::from_secs(1), ..Receive::up_to(TEN) };
        let messages = queues.receive("q", wanted).await.unwrap_or_default();
        if messages.is_empty() {
            if stop.load(Ordering::SeqCst) && queues.counts("q").await.is_ok_and(|left| left == Counts::default()) {
                return times;
            }
            continue;
        }
        times.push(begin.elapsed().as_secs_f64() * 1000.0);
        let receipts: Vec<_> = messages.iter().map(|message| message.receipt).collect();
        let mut gone = queues.delete("q", &receipts).await;
        while gone.is_err() {
            gone = queues.delete("q", &receipts).await;
        }
        deleted.fetch_add(receipts.len(), Ordering::SeqCst);
    }
}

/// A backup reads for ten minutes: no old version of any row can be forgotten, and claims go on.
#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_stays_open_for_ten_minutes() {
    let load = Load::start("open").await;
    let mut reader = load.server.database("echo").await.unwrap().acquire().await.unwrap();
    reader.execute("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ").await.unwrap();
    let mut transaction = reader.begin().await.unwrap();
    transaction.execute("SELECT COUNT(*) FROM message_queue").await.unwrap();
    let begin = Instant::now();
    let mut ticks = interval(Duration::from_secs(30));
    while begin.elapsed() < Duration::from_secs(600) {
        ticks.tick().await;
        println!("{:3.0} s: {} sent", begin.elapsed().as_secs_f64(), load.sent.load(Ordering::SeqCst));
    }
    transaction.rollback().await.unwrap();
    drop(reader);
    let times = load.finish().await;
    let p99 = times.get(times.len() * 99 / 100).copied().unwrap();
    println!("claim p99 {p99:.1} ms");
    assert!(p99 < 1_000.0, "{p99} ms");
}

/// For two minutes connections die at random, ten a second.
#[tokio::test(flavor = "multi_thread")]
async fn connections_are_cut_for_two_minutes() {
    let load = Load::start("cut").await;
    let mut own = load.server.database("other").await.unwrap().acquire().await.unwrap();
    let begin = Instant::now();
    let mut ticks = interval(Duration::from_millis(100));
    let mut cuts = 0;
    while begin.elapsed() < Duration::from_secs(120) {
        ticks.tick().await;
        let sql =
            "SELECT CAST(id AS SIGNED) FROM information_schema.processlist WHERE db = 'echo' ORDER BY RAND() LIMIT 1";
        let found: Option<i64> = sqlx::query_scalar(sql).fetch_optional(&mut *own).await.unwrap();
        if let Some(id) = found {
            cuts += usize::from(own.execute(AssertSqlSafe(format!("KILL {id}"))).await.is_ok());
        }
    }
    println!("{cuts} connections cut");
    assert!(cuts > 100, "{cuts}");
    load.finish().await;
}
