//! What the tests share: one MariaDB per test process, a schema per test.

use std::future::Future;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::{BehaviorVersion, Credentials, Region};
use axum::body::Bytes;
use echo_local::lambda::{Invoke, InvokeError};
use echo_local::mysql::Server;
use echo_local::queue::{Counts, Message, Outgoing, Queues, Receive};
use echo_local::spec::{QueueSpec, Redrive};
use echo_local::sqs;
use serde_json::Value;
use sqlx::mysql::MySqlPool;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// A folder of this process's own, in a short place because sockets need one. What dead processes left is removed.
pub fn folder(name: &str) -> PathBuf {
    static CLEAN: OnceLock<()> = OnceLock::new();
    let base = std::env::temp_dir();
    CLEAN.get_or_init(|| {
        for entry in std::fs::read_dir(&base).unwrap().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let pid = name.strip_prefix("echo-it-").and_then(|pid| pid.parse().ok());
            if pid.is_some_and(|pid| echo_local::process::start_time(pid).is_none()) {
                let _ = std::fs::remove_dir_all(entry.path());
            }
        }
    });
    let folder = base.join(format!("echo-it-{}", std::process::id())).join(name);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// The test process's MariaDB. It belongs to a thread that stays: the kernel kills it when its starter ends.
fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| {
        let (give, take) = mpsc::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
            runtime.block_on(async {
                let folder = folder("shared");
                let server = Server::start(&folder.join("mysql"), &folder.join("run"), &folder.join("log")).await;
                give.send(server).unwrap();
                std::future::pending::<()>().await;
            });
        });
        take.recv().unwrap().unwrap()
    })
}

/// The name of a new schema.
pub fn schema() -> String {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    format!("t{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A schema, made when it is missing.
pub async fn database_of(schema: &str) -> MySqlPool {
    let server = tokio::task::spawn_blocking(server).await.unwrap();
    server.database(schema).await.unwrap()
}

/// A new schema.
pub async fn database() -> MySqlPool {
    database_of(&schema()).await
}

/// Serves `queues`: a real client, and what queue URLs begin with.
pub async fn serve(queues: Queues) -> (Client, String) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let base_url = format!("{endpoint}/000000000000");
    let (stop, stopped) = watch::channel(false);
    // A closed channel would stop the server.
    std::mem::forget(stop);
    tokio::spawn(sqs::serve(listener, queues, base_url.clone(), stopped));
    let config = aws_sdk_sqs::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("test", "test", None, None, "test"))
        .endpoint_url(endpoint)
        .build();
    (Client::from_conf(config), base_url)
}

/// Queues in a new schema, a real client, and what queue URLs begin with.
pub async fn sqs(specs: Vec<QueueSpec>) -> (Queues, Client, String) {
    let queues = Queues::new(database().await, specs);
    let (client, base_url) = serve(queues.clone()).await;
    (queues, client, base_url)
}

/// Queues in a new schema.
pub async fn queues(specs: Vec<QueueSpec>) -> Queues {
    Queues::new(database().await, specs)
}

/// Receives messages and deletes them; their bodies.
pub async fn take(queues: &Queues, queue: &str) -> Vec<String> {
    let messages = queues.receive(queue, Receive::up_to(10)).await.unwrap();
    let receipts: Vec<_> = messages.iter().map(|message| message.receipt).collect();
    queues.delete(queue, &receipts).await.unwrap();
    messages.into_iter().map(|message| message.body).collect()
}

/// A queue `q` whose messages are hidden for `visibility` seconds.
pub fn q(visibility: u64) -> QueueSpec {
    QueueSpec { visibility_timeout: Duration::from_secs(visibility), ..QueueSpec::new("q") }
}

/// The queue `q` with the dead-letter queue `dead`.
pub fn q_and_dead(visibility: u64, max_receive_count: u32) -> Vec<QueueSpec> {
    let redrive = Some(Redrive { target: "dead".into(), max_receive_count });
    vec![QueueSpec { redrive, ..q(visibility) }, QueueSpec::new("dead")]
}

/// Sends to the queue `q`; the messages' ids.
pub async fn send(queues: &Queues, bodies: &[&str]) -> Vec<String> {
    let messages: Vec<_> = bodies.iter().map(|&body| Outgoing { body: body.into(), delay: None }).collect();
    let sent = queues.send("q", &messages).await.unwrap();
    sent.into_iter().map(|sent| sent.unwrap().message_id).collect()
}

/// Waits until nothing is left in the queue `q`, for a minute at most.
pub async fn until_empty(queues: &Queues) {
    let empty = async {
        while queues.counts("q").await.unwrap() != Counts::default() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), empty).await.expect("an empty queue");
}

/// Receives one message, waiting for it.
pub async fn one(queues: &Queues, queue: &str) -> Message {
    let wanted = Receive { wait: Duration::from_secs(15), ..Receive::up_to(1) };
    queues.receive(queue, wanted).await.unwrap().pop().expect("a message")
}

/// A function made of a closure.
#[derive(Clone)]
pub struct Fake<F>(pub F);

impl<F, Fut> Invoke for Fake<F>
where
    F: Fn(Value) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Result<String, InvokeError>> + Send,
{
    async fn invoke(&self, _: &str, payload: Bytes) -> Result<Bytes, InvokeError> {
        (self.0)(serde_json::from_slice(&payload).unwrap()).await.map(Bytes::from)
    }
}
