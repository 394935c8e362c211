//! As many messages as go through.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_sqs::types::SendMessageBatchRequestEntry;
use axum::body::Bytes;
use echo_local::lambda::{Invoke, InvokeError};
use echo_local::queue::{Counts, Outgoing, Queues, Receive};
use echo_local::spec::MappingSpec;
use echo_local::{mapping, sqs};
use sqlx::MySqlPool;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::{Bench, QUEUE, TEN, body};
use crate::Failure;

/// What went through.
pub struct Load {
    /// Messages a second, from their sending to their deletion.
    pub per_s: f64,
    /// Rows of an INSERT on average, in whole tens.
    pub rows_per_statement: usize,
}

/// Clients that each send ten messages, receive ten, and delete them.
///
/// # Errors
/// When the queue fails.
pub async fn in_process(bench: &Bench, schema: &str, clients: usize, time: Duration) -> Result<Load, Failure> {
    let queues = bench.queues(schema).await?;
    let pool = bench.database(schema).await?;
    let (stop, stopped) = watch::channel(false);
    let cleaner = tokio::spawn(queues.clone().keep_clean(stopped));
    let inserts = inserts(&pool).await?;
    let begin = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..clients {
        tasks.spawn(client(queues.clone(), begin + time));
    }
    let mut deleted = 0;
    while let Some(done) = tasks.join_next().await {
        deleted += done??;
    }
    let seconds = begin.elapsed().as_secs_f64();
    let statements = (super::load::inserts(&pool).await? - inserts).max(1);
    let rows = deleted / statements;
    stop.send_replace(true);
    cleaner.await?;
    let tens = usize::try_from(rows)?.div_ceil(TEN) * TEN;
    Ok(Load { per_s: deleted as f64 / seconds, rows_per_statement: tens })
}

async fn client(queues: Queues, until: Instant) -> Result<u64, Failure> {
    let messages = vec![Outgoing { body: body(), delay: None }; TEN];
    let wanted = Receive { wait: Duration::from_secs(1), ..Receive::up_to(TEN) };
    let mut deleted = 0;
    while Instant::now() < until {
        queues.send(QUEUE, &messages).await?;
        let received = queues.receive(QUEUE, wanted).await?;
        let receipts: Vec<_> = received.iter().map(|message| message.receipt).collect();
        deleted += queues.delete(QUEUE, &receipts).await?;
    }
    Ok(deleted)
}

async fn inserts(pool: &MySqlPool) -> Result<u64, Failure> {
    let (_, count): (String, String) = sqlx::query_as("SHOW GLOBAL STATUS LIKE 'Com_insert'").fetch_one(pool).await?;
    Ok(count.parse()?)
}

/// A function that does nothing.
#[derive(Clone, Default)]
pub struct Nothing(Arc<AtomicU64>);

impl Invoke for Nothing {
    async fn invoke(&self, _: &str, _: Bytes) -> Result<Bytes, InvokeError> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(Bytes::from_static(b"{}"))
    }
}

/// A mapping as templates have it, for batches of ten.
pub fn mapping_spec() -> MappingSpec {
    MappingSpec {
        queue: QUEUE.into(),
        function: "nothing".into(),
        batch_size: TEN,
        window: Duration::ZERO,
        report_failures: true,
        max_concurrency: 16,
    }
}

/// Clients that send tens through the SDK; the mapping feeds a function that does nothing.
///
/// # Errors
/// When the queue fails.
pub async fn protocol(bench: &Bench, schema: &str, clients: usize, time: Duration) -> Result<f64, Failure> {
    let queues = bench.queues(schema).await?;
    let (stop, stopped) = watch::channel(false);
    let (client, url) = serve(&queues, stopped.clone()).await?;
    let mut servers = JoinSet::new();
    servers.spawn(queues.clone().keep_clean(stopped.clone()));
    servers.spawn(mapping::run(mapping_spec(), queues.clone(), Nothing::default(), stopped));
    let begin = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..clients {
        tasks.spawn(send(client.clone(), url.clone(), begin + time));
    }
    let mut sent = 0;
    while let Some(done) = tasks.join_next().await {
        sent += done??;
    }
    while queues.counts(QUEUE).await? != Counts::default() {
        sleep(Duration::from_millis(1)).await;
    }
    let seconds = begin.elapsed().as_secs_f64();
    stop.send_replace(true);
    servers.join_all().await;
    Ok(sent as f64 / seconds)
}

/// The queue behind its protocol; a client, and the queue's URL.
pub async fn serve(queues: &Queues, stopped: watch::Receiver<bool>) -> Result<(Client, String), Failure> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let endpoint = format!("http://{}", listener.local_addr()?);
    let base_url = format!("{endpoint}/000000000000");
    tokio::spawn(sqs::serve(listener, queues.clone(), base_url.clone(), stopped));
    let config = aws_sdk_sqs::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("local", "local", None, None, "bench"))
        .endpoint_url(endpoint)
        .build();
    Ok((Client::from_conf(config), format!("{base_url}/{QUEUE}")))
}

async fn send(client: Client, url: String, until: Instant) -> Result<u64, Failure> {
    let entry = |n: usize| SendMessageBatchRequestEntry::builder().id(n.to_string()).message_body(body()).build();
    let entries = (0..TEN).map(entry).collect::<Result<Vec<_>, _>>()?;
    let mut sent = 0;
    while Instant::now() < until {
        let answer = client.send_message_batch().queue_url(&url).set_entries(Some(entries.clone())).send().await?;
        sent += answer.successful().len() as u64;
    }
    Ok(sent)
}
