//! What must hold when things die: whatever was acknowledged is delivered, and no effect is lost. Every test counts what
//! was sent, delivered and done.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Bytes;
use echo_local::lambda::{Invoke, InvokeError};
use echo_local::mapping;
use echo_local::mysql::Server;
use echo_local::process::{Child, Spec, find_program, signal_group};
use echo_local::queue::{Counts, Outgoing, Queues, Receive};
use echo_local::spec::MappingSpec;
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection, Executor};
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};

use super::support::{database_of, folder, one, q, q_and_dead, schema, send, serve, until_empty};

fn spec() -> MappingSpec {
    MappingSpec {
        queue: "q".into(),
        function: "f".into(),
        batch_size: 10,
        window: Duration::ZERO,
        report_failures: true,
        max_concurrency: 4,
    }
}

/// A function that writes down what it was given, and can be told to get stuck after that.
#[derive(Clone)]
struct Worker {
    effects: Arc<Mutex<BTreeMap<String, usize>>>,
    begun: mpsc::UnboundedSender<()>,
    stuck: bool,
}

impl Worker {
    fn new() -> (Self, mpsc::UnboundedReceiver<()>) {
        let (begun, begins) = mpsc::unbounded_channel();
        (Self { effects: Arc::default(), begun, stuck: false }, begins)
    }

    fn effects(&self) -> BTreeMap<String, usize> {
        self.effects.lock().unwrap().clone()
    }
}

impl Invoke for Worker {
    async fn invoke(&self, _: &str, payload: Bytes) -> Result<Bytes, InvokeError> {
        let event: Value = serde_json::from_slice(&payload).unwrap();
        if !self.stuck {
            let mut effects = self.effects.lock().unwrap();
            for record in event["Records"].as_array().unwrap() {
                *effects.entry(record["body"].as_str().unwrap().to_owned()).or_default() += 1;
            }
        }
        let _ = self.begun.send(());
        if self.stuck {
            std::future::pending::<()>().await;
        }
        Ok(Bytes::from_static(b"{}"))
    }
}

/// Everything that a killed runner loses: its tasks, its connections, what it knew.
struct Runner {
    runtime: Runtime,
    queues: Queues,
}

impl Runner {
    fn start(schema: &str, worker: Worker) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let schema = schema.to_owned();
        let queues = runtime.block_on(async move {
            let queues = Queues::new(database_of(&schema).await, q_and_dead(1, 10));
            let (stop, stopped) = watch::channel(false);
            std::mem::forget(stop);
            tokio::spawn(mapping::run(spec(), queues.clone(), worker, stopped));
            queues
        });
        Self { runtime, queues }
    }

    /// As SIGKILL does: nothing is finished, nobody is told.
    fn kill(self) {
        self.runtime.shutdown_background();
        drop(self.queues);
    }
}

fn numbered(count: usize) -> Vec<Outgoing> {
    (0..count).map(|n| Outgoing { body: n.to_string(), delay: None }).collect()
}

/// The runner dies while its function has the messages, and while what the function did is being deleted.
#[test]
fn a_killed_runner_loses_nothing() {
    for while_deleting in [false, true] {
        let helper = Runtime::new().unwrap();
        let _inside = helper.enter();
        let schema = schema();
        let (worker, mut begins) = Worker::new();
        let first = Runner::start(&schema, Worker { stuck: !while_deleting, ..worker.clone() });
        let pool = helper.block_on(database_of(&schema));
        let mut lock = helper.block_on(pool.acquire()).unwrap();
        let sender = first.queues.clone();
        let sent = first.runtime.block_on(async move { sender.send("q", &numbered(40)).await.unwrap().len() });
        helper.block_on(begins.recv()).unwrap();
        if while_deleting {
            // Deletions wait here until the runner is dead.
            helper.block_on(lock.execute("LOCK TABLES message_queue READ")).unwrap();
        }
        first.kill();
        helper.block_on(lock.execute("UNLOCK TABLES")).unwrap();

        let second = Runner::start(&schema, worker.clone());
        let queues = second.queues.clone();
        second.runtime.block_on(async move { until_empty(&queues).await });
        let effects = worker.effects();
        assert_eq!((sent, effects.len()), (40, 40));
        let sql = "SELECT COUNT(*) FROM message_queue WHERE status <> 'DONE'";
        let left: i64 = helper.block_on(sqlx::query_scalar(sql).fetch_one(&pool)).unwrap();
        assert_eq!(left, 0);
        second.kill();
    }
}

/// Senders that never give up, as an SDK's user does; how many messages were acknowledged.
fn insistent_senders(queues: &Queues, count: usize, each: usize) -> JoinSet<()> {
    let mut senders = JoinSet::new();
    for sender in 0..count {
        let queues = queues.clone();
        senders.spawn(async move {
            for n in 0..each {
                let message = [Outgoing { body: format!("{sender}-{n}"), delay: None }];
                while queues.send("q", &message).await.is_err() {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            }
        });
    }
    senders
}

fn start_mapping(queues: &Queues, worker: &Worker) -> (watch::Sender<bool>, JoinHandle<()>) {
    let (stop, stopped) = watch::channel(false);
    let task = tokio::spawn(mapping::run(spec(), queues.clone(), worker.clone(), stopped));
    (stop, task)
}

/// The database is killed under load, twice; it is started again, and everybody connects anew without being told.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_database_comes_back_to_senders_and_claimers_that_wait() {
    let folder = folder("comes-back");
    let server = Server::start(&folder.join("mysql"), &folder.join("run"), &folder.join("log")).await.unwrap();
    let server = Arc::new(server);
    let keeper = tokio::spawn({
        let server = Arc::clone(&server);
        async move { server.keep_running().await }
    });
    let queues = Queues::new(server.database("echo").await.unwrap(), q_and_dead(1, 100));
    let (worker, mut begins) = Worker::new();
    let (stop, task) = start_mapping(&queues, &worker);
    let mut senders = insistent_senders(&queues, 8, 200);
    let mut pids = server.pids();
    for _ in 0..2 {
        begins.recv().await.unwrap();
        let pid = server.pid().unwrap();
        signal_group(pid, "KILL").await;
        pids.wait_for(|now| now.is_some_and(|now| now != pid)).await.unwrap();
        while begins.try_recv().is_ok() {}
    }
    while senders.join_next().await.is_some() {}
    until_empty(&queues).await;
    stop.send_replace(true);
    task.await.unwrap();
    assert_eq!(worker.effects().len(), 8 * 200);
    assert_eq!(queues.counts("dead").await.unwrap(), Counts::default());
    keeper.abort();
    server.stop().await;
}

/// Connections die at random, again and again.
#[tokio::test(flavor = "multi_thread")]
async fn cut_connections_lose_nothing() {
    let schema = schema();
    let pool = database_of(&schema).await;
    let queues = Queues::new(pool.clone(), q_and_dead(1, 100));
    let (worker, _begins) = Worker::new();
    let (stop, task) = start_mapping(&queues, &worker);
    let mut senders = insistent_senders(&queues, 8, 100);
    let mut cuts = 0;
    let mut own = database_of(&schema).await.acquire().await.unwrap();
    let mut ticks = tokio::time::interval(Duration::from_millis(20));
    while !senders.is_empty() {
        tokio::select! {
            _ = senders.join_next() => {}
            _ = ticks.tick() => cuts += cut(&mut own, &schema).await,
        }
    }
    until_empty(&queues).await;
    stop.send_replace(true);
    task.await.unwrap();
    assert!(cuts > 5, "{cuts}");
    assert_eq!(worker.effects().len(), 8 * 100);
    assert_eq!(queues.counts("dead").await.unwrap(), Counts::default());
}

/// Cuts one connection that works on the schema's table; how many.
async fn cut(own: &mut sqlx::MySqlConnection, schema: &str) -> usize {
    let sql = "SELECT CAST(id AS SIGNED) FROM information_schema.processlist \
        WHERE db = ? AND id <> CONNECTION_ID() ORDER BY RAND() LIMIT 1";
    let found: Option<i64> = sqlx::query_scalar(sql).bind(schema).fetch_optional(&mut *own).await.unwrap();
    let Some(id) = found else { return 0 };
    let killed = own.execute(AssertSqlSafe(format!("KILL {id}"))).await;
    usize::from(killed.is_ok())
}

/// Those who wait hold nothing that those who work need.
#[tokio::test(flavor = "multi_thread")]
async fn three_hundred_idle_clients_stand_in_nobodys_way() {
    let queues = Queues::new(super::support::database().await, q_and_dead(30, 10));
    let (_, base_url) = serve(queues.clone()).await;
    let http = reqwest::Client::new();
    let poll = || {
        http.post(&base_url)
            .header("x-amz-target", "AmazonSQS.ReceiveMessage")
            .body(format!(r#"{{"QueueUrl": "{base_url}/dead", "WaitTimeSeconds": 20}}"#))
            .send()
    };
    let mut polls = JoinSet::new();
    for _ in 0..300 {
        polls.spawn(poll());
    }
    send(&queues, &["x"; 100]).await;
    let mut received = 0;
    while received < 100 {
        let wanted = Receive { wait: Duration::from_secs(5), ..Receive::up_to(10) };
        let messages = queues.receive("q", wanted).await.unwrap();
        let receipts: Vec<_> = messages.iter().map(|message| message.receipt).collect();
        received += queues.delete("q", &receipts).await.unwrap();
    }
    assert_eq!(received, 100);
    assert_eq!(polls.len(), 300);
    queues.send("dead", &numbered(1)).await.unwrap();
    let first = polls.join_next().await.unwrap().unwrap().unwrap().text().await.unwrap();
    assert!(first.contains("\"Body\":\"0\""), "{first}");
}

/// The move of a dead letter fails for a while: it is neither lost nor delivered once more.
#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_that_cannot_be_moved_waits() {
    let schema = schema();
    let pool = database_of(&schema).await;
    let queues = Queues::new(pool.clone(), q_and_dead(30, 1));
    send(&queues, &["poison"]).await;
    let message = one(&queues, "q").await;
    let mut lock = pool.acquire().await.unwrap();
    let mut transaction = lock.begin().await.unwrap();
    transaction.execute("SELECT id FROM message_queue FOR UPDATE").await.unwrap();
    // Shown on the shelf; the row itself is locked.
    let hide = tokio::spawn({
        let (queues, receipt) = (queues.clone(), message.receipt);
        async move { queues.hide("q", &[receipt], Duration::ZERO).await }
    });
    let receive = tokio::spawn({
        let queues = queues.clone();
        async move { queues.receive("q", Receive { wait: Duration::from_secs(2), ..Receive::up_to(1) }).await }
    });
    assert!(receive.await.unwrap().unwrap_or_default().is_empty());
    transaction.rollback().await.unwrap();
    hide.await.unwrap().unwrap();
    assert!(queues.receive("q", Receive::up_to(1)).await.unwrap().is_empty());
    assert_eq!(one(&queues, "dead").await.message_id, message.message_id);
}

/// Rows that nobody but a person with a SQL prompt could write.
#[tokio::test]
async fn rows_written_by_hand_are_delivered_and_stop_nothing() {
    let schema = schema();
    let pool = database_of(&schema).await;
    let queues = Queues::new(pool.clone(), q_and_dead(30, 3));
    send(&queues, &["before"]).await;
    let nonsense = "INSERT INTO message_queue (queue, payload, status, receive_count, created_at, visible_at, \
        received_at, retry_count) VALUES \
        ('q', '', 'NEW', -5, '9999-01-01', '1000-01-01', '9999-12-31', -1), \
        ('q', 'far', 'FAILED', 0, NOW(6), '9999-12-31', NOW(6), 7), \
        ('q', 'ripe', 'IN_PROGRESS', 2147483647, NOW(6), NOW(6), '1000-01-01', 0), \
        ('nowhere', 'lost', 'NEW', 0, NOW(6), NOW(6), NOW(6), 0), \
        ('q', 'zero', 'NEW', 0, NOW(6), 0, 0, 0), \
        ('q', 'gone', 'DONE', 0, NOW(6), NOW(6), NOW(6), 0)";
    pool.execute(nonsense).await.unwrap();
    pool.execute("INSERT INTO message_queue (queue, payload) VALUES ('q', 'by hand')").await.unwrap();
    send(&queues, &["after"]).await;
    let mut bodies = Vec::new();
    while bodies.len() < 5 {
        let wanted = Receive { wait: Duration::from_secs(15), ..Receive::up_to(10) };
        let messages = queues.receive("q", wanted).await.unwrap();
        assert!(!messages.is_empty(), "{bodies:?}");
        let receipts: Vec<_> = messages.iter().map(|message| message.receipt).collect();
        queues.delete("q", &receipts).await.unwrap();
        bodies.extend(messages.into_iter().map(|message| message.body));
    }
    bodies.sort();
    assert_eq!(bodies, ["", "after", "before", "by hand", "zero"]);
    assert_eq!(one(&queues, "dead").await.body, "ripe");
    assert_eq!(queues.counts("q").await.unwrap(), Counts { delayed: 1, ..Counts::default() });
}

/// A message that a person makes visible again by hand is found.
#[tokio::test]
async fn a_message_revived_by_hand_comes_back() {
    let schema = schema();
    let pool = database_of(&schema).await;
    let queues = Queues::new(pool.clone(), vec![q(30)]);
    send(&queues, &["x"]).await;
    let message = one(&queues, "q").await;
    queues.delete("q", &[message.receipt]).await.unwrap();
    pool.execute("UPDATE message_queue SET status = 'NEW', visible_at = NOW(6)").await.unwrap();
    let again = one(&queues, "q").await;
    assert_eq!((again.message_id, again.receive_count), (message.message_id, 2));
}

/// Rows that a person deletes are missed by nobody.
#[tokio::test]
async fn rows_deleted_by_hand_are_not_counted_for_long() {
    let schema = schema();
    let pool = database_of(&schema).await;
    let queues = Queues::new(pool.clone(), vec![q(30)]);
    send(&queues, &["x", "y"]).await;
    one(&queues, "q").await;
    pool.execute("DELETE FROM message_queue").await.unwrap();
    until_empty(&queues).await;
    send(&queues, &["z"]).await;
    assert_eq!(one(&queues, "q").await.body, "z");
}

/// The disk is full for a while: sends are refused, nothing is stored by halves, and all goes on when there is room. With
/// large bodies MariaDB ends itself; then it is started again.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_sends_and_heals_by_itself() {
    for (name, body, each) in [("full-small", "x".repeat(2_000), 200), ("full-large", "x".repeat(200_000), 10)] {
        let folder = folder(name);
        let disk = folder.join("disk");
        std::fs::create_dir_all(&disk).unwrap();
        let _mounted = Mounted::new(&disk, "220m");
        let server = Server::start(&disk.join("mysql"), &folder.join("run"), &folder.join("log")).await.unwrap();
        let server = Arc::new(server);
        let keeper = tokio::spawn({
            let server = Arc::clone(&server);
            async move { server.keep_running().await }
        });
        let queues = Queues::new(server.database("echo").await.unwrap(), q_and_dead(60, 10));
        let messages = vec![Outgoing { body: body.clone(), delay: None }; each];
        let mut missing = BTreeSet::new();
        while let Ok(sent) = queues.send("q", &messages).await {
            missing.extend(sent.into_iter().map(|sent| sent.unwrap().message_id));
            assert!(missing.len() < 200_000, "the disk does not fill");
        }
        let before = missing.len();
        assert!(before > each, "{before}");
        Mounted::resize(&disk, "900m");
        let sent = loop {
            match queues.send("q", &messages).await {
                Ok(sent) => break sent,
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        };
        missing.extend(sent.into_iter().map(|sent| sent.unwrap().message_id));
        let wanted = Receive { wait: Duration::from_secs(5), ..Receive::up_to(500) };
        while !missing.is_empty() {
            let messages = queues.receive("q", wanted).await.unwrap();
            assert!(!messages.is_empty(), "{name}: {} of {before} lost", missing.len());
            for message in &messages {
                assert_eq!(message.body, body);
                missing.remove(&message.message_id);
            }
            let receipts: Vec<_> = messages.iter().map(|message| message.receipt).collect();
            queues.delete("q", &receipts).await.unwrap();
        }
        keeper.abort();
        server.stop().await;
    }
}

/// A disk in memory of a size of our own. Mounting is root's.
struct Mounted(std::path::PathBuf);

impl Mounted {
    fn new(at: &Path, size: &str) -> Self {
        Self::run("mount", &["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs", at.to_str().unwrap()]);
        Self(at.into())
    }

    fn resize(at: &Path, size: &str) {
        Self::run("mount", &["-o", &format!("remount,size={size}"), at.to_str().unwrap()]);
    }

    fn run(program: &str, args: &[&str]) {
        let direct = std::process::Command::new(program).args(args).output().unwrap();
        if !direct.status.success() {
            let sudo = std::process::Command::new("sudo").arg("-n").arg(program).args(args).status();
            assert!(
                sudo.is_ok_and(|status| status.success()),
                "{program} is root's: run this test as root or with sudo"
            );
        }
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        Self::run("umount", &["-l", self.0.to_str().unwrap()]);
    }
}

/// The database's clock jumps by an hour, there and back, while messages are in flight, delayed and waiting.
#[tokio::test(flavor = "multi_thread")]
async fn clock_jumps_move_no_lease_no_delay_and_no_order() {
    let folder = folder("clock");
    let (data, run) = (folder.join("mysql"), folder.join("run"));
    // Made by an ordinary server, then run by one whose clock we set.
    Server::start(&data, &run, &folder.join("log")).await.unwrap().stop().await;
    let clock = folder.join("clock");
    set_clock(&clock, 0);
    let _jumping = jumping_server(&folder, &clock).await;
    let url = format!("mysql://root@localhost/echo?socket={}", run.join("jump.sock").display());
    let server = loop {
        match Server::external(&url).await {
            Ok(server) => break server,
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    };
    let pool = server.database("echo").await.unwrap();
    let queues = Queues::new(pool.clone(), q_and_dead(2, 10));
    for hours in [1, 0, -1] {
        let begin = tokio::time::Instant::now();
        let delayed = Outgoing { body: "delayed".into(), delay: Some(Duration::from_secs(1)) };
        queues.send("q", &[Outgoing { body: "flying".into(), delay: None }]).await.unwrap();
        let flying = one(&queues, "q").await;
        assert_eq!((flying.body.as_str(), flying.receive_count), ("flying", 1));
        queues.send("q", &[delayed]).await.unwrap();
        let before: time::PrimitiveDateTime = sqlx::query_scalar("SELECT NOW(6)").fetch_one(&pool).await.unwrap();
        set_clock(&clock, hours);
        let after: time::PrimitiveDateTime = sqlx::query_scalar("SELECT NOW(6)").fetch_one(&pool).await.unwrap();
        assert!((after - before).whole_minutes().abs() > 50, "the clock did not jump: {before} {after}");
        queues.send("q", &[Outgoing { body: "waiting".into(), delay: None }]).await.unwrap();
        let mut order = Vec::new();
        while order.len() < 3 {
            let message = one(&queues, "q").await;
            let due = match message.body.as_str() {
                "delayed" => 990,
                "flying" => 1_990,
                _ => 0,
            };
            assert!(begin.elapsed() >= Duration::from_millis(due), "{}: {:?}", message.body, begin.elapsed());
            assert!(begin.elapsed() < Duration::from_secs(10), "{}: {:?}", message.body, begin.elapsed());
            queues.delete("q", &[message.receipt]).await.unwrap();
            order.push(message.body);
        }
        assert_eq!(order, ["waiting", "delayed", "flying"]);
    }
    assert_eq!(queues.counts("q").await.unwrap(), Counts::default());
}

/// What libfaketime reads before every look at the clock.
fn set_clock(file: &Path, hours: i32) {
    std::fs::write(file, format!("{:+}h", hours)).unwrap();
}

async fn jumping_server(folder: &Path, clock: &Path) -> Child {
    let libraries = std::fs::read_dir("/usr/lib").unwrap().flatten();
    let library = libraries.map(|entry| entry.path().join("faketime/libfaketimeMT.so.1")).find(|path| path.exists());
    let library = library.expect("libfaketime is there; ./scripts/setup --test installs it");
    let program = find_program("mariadbd").or_else(|| Some("/usr/sbin/mariadbd".into())).unwrap();
    let environment = [
        ("LD_PRELOAD", library.as_path()),
        ("FAKETIME_TIMESTAMP_FILE", clock),
        ("FAKETIME_NO_CACHE", Path::new("1")),
        ("FAKETIME_DONT_FAKE_MONOTONIC", Path::new("1")),
    ];
    let data = folder.join("mysql/data");
    let arguments = [
        "--no-defaults".to_owned(),
        format!("--datadir={}", data.display()),
        format!("--socket={}", folder.join("run/jump.sock").display()),
        format!("--pid-file={}", folder.join("run/jump.pid").display()),
        "--skip-networking".into(),
        "--default-time-zone=+00:00".into(),
        "--user=root".into(),
    ];
    let spec = Spec {
        name: "mysql".into(),
        program,
        args: arguments.to_vec(),
        env: environment.map(|(name, value)| (name.to_owned(), value.display().to_string())).into(),
        directory: None,
        log: folder.join("jump.log"),
        listener: None,
    };
    Child::start(&spec).await.unwrap()
}
