//! How fast lines are taken in: by ingest alone, and by the whole local stack.
//!
//! Two processes of ingest, each of which keeps a core busy; each gets the next request as soon as it has answered one,
//! its token verified every time. This program hands over the requests on the same machine.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::Bytes;
use echo_local::mapping;
use echo_local::queue::Counts;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::super::instance::Instance;
use super::super::lab::Lab;
use super::ask::{accepted, posts};
use super::pool::Pool;
use super::requests::Request;
use super::store;
use super::stub::Stub;
use crate::Failure;

const INGEST: &str = "ingest";
const CONSUMER: &str = "log-consume";
/// Cores that ingest may keep busy.
const CORES: usize = 2;
/// The queue is empty by then, on any machine.
const PATIENCE: Duration = Duration::from_secs(180);

/// Requests for some processes.
struct Work {
    posts: Vec<(Bytes, usize)>,
    next: AtomicUsize,
    /// Until then requests are sent again and again; without it, each is sent once.
    until: Option<Instant>,
}

impl Work {
    fn new(posts: Vec<Bytes>, requests: &[Request], time: Option<Duration>) -> Arc<Self> {
        let posts = posts.into_iter().zip(requests).map(|(post, request)| (post, request.lines)).collect();
        Arc::new(Self { posts, next: AtomicUsize::new(0), until: time.map(|time| Instant::now() + time) })
    }

    fn take(&self) -> Option<&(Bytes, usize)> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        match self.until {
            None => self.posts.get(number),
            Some(until) if Instant::now() < until => self.posts.get(number % self.posts.len().max(1)),
            Some(_) => None,
        }
    }
}

/// Lines a second that ingest takes when the queue accepts at once.
///
/// # Errors
/// When ingest does not do its work.
pub async fn alone(lab: &mut Lab, requests: &[Request], time: Duration) -> Result<f64, Failure> {
    let stub = Stub::start().await?;
    let posts = posts(lab, requests).await?;
    let doors = doors(lab, stub.endpoint(), posts.first()).await?;
    let begin = Instant::now();
    let lines = send(doors, Work::new(posts, requests, Some(time))).await?;
    Ok(lines as f64 / begin.elapsed().as_secs_f64())
}

/// Lines a second from the first request until all of them are stored: queue in MariaDB, mapping, log-consume, database
/// on disk.
///
/// # Errors
/// When a part fails, or a line is missing afterwards.
pub async fn with_stack(lab: &mut Lab, requests: &[Request]) -> Result<f64, Failure> {
    let posts = posts(lab, requests).await?;
    let table = store::make(lab, "rate").await?;
    let doors = doors(lab, lab.sqs_endpoint(), None).await?;
    let spec = lab.mapping(CONSUMER)?.clone();
    let database = ("AWS_ENDPOINT_URL_DYNAMODB", lab.dynamodb().endpoint());
    let variables = [database, ("LOG_STORE_TABLE", table.as_str())];
    let consumers = Pool::start(lab, CONSUMER, spec.max_concurrency, &variables).await?;
    let (stop, stopped) = watch::channel(false);
    let mut workers = JoinSet::new();
    workers.spawn(lab.queues().clone().keep_clean(stopped.clone()));
    let queue = spec.queue.clone();
    workers.spawn(mapping::run(spec, lab.queues().clone(), consumers.clone(), stopped));

    let begin = Instant::now();
    let lines = send(doors, Work::new(posts, requests, None)).await?;
    empty(lab, &queue).await?;
    let per_s = lines as f64 / begin.elapsed().as_secs_f64();

    stop.send_replace(true);
    workers.join_all().await;
    consumers.stop().await;
    store::complete(&store::stored(&lab.dynamodb().client(), &table).await?, requests)?;
    Ok(per_s)
}

/// A process of ingest for each of [`cores`]; with `first`, each has answered it before.
async fn doors(lab: &Lab, queue: &str, first: Option<&Bytes>) -> Result<Vec<Instance>, Failure> {
    let mut doors = Vec::new();
    for _ in 0..cores() {
        let mut ingest = lab.launch_with(INGEST, &[("AWS_ENDPOINT_URL_SQS", queue)]).await?;
        if let Some(first) = first {
            accepted(&ingest.invoke(first.clone()).await?.body).await?;
        }
        doors.push(ingest);
    }
    Ok(doors)
}

/// Cores that ingest keeps busy: two, unless the machine has only one.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from).min(CORES)
}

/// Sends all work; how many lines.
async fn send(doors: Vec<Instance>, work: Arc<Work>) -> Result<usize, Failure> {
    let mut senders = JoinSet::new();
    for ingest in doors {
        senders.spawn(work_off(ingest, Arc::clone(&work)));
    }
    let mut lines = 0;
    while let Some(sent) = senders.join_next().await {
        lines += sent??;
    }
    Ok(lines)
}

async fn work_off(mut ingest: Instance, work: Arc<Work>) -> Result<usize, Failure> {
    let mut lines = 0;
    while let Some((post, count)) = work.take() {
        accepted(&ingest.invoke(post.clone()).await?.body).await?;
        lines += count;
    }
    ingest.stop().await;
    Ok(lines)
}

async fn empty(lab: &Lab, queue: &str) -> Result<(), Failure> {
    let end = Instant::now() + PATIENCE;
    loop {
        let counts = lab.queues().counts(queue).await?;
        if counts == Counts::default() {
            return Ok(());
        }
        if Instant::now() > end {
            return Err(format!("messages are left in the queue: {counts:?}").into());
        }
        sleep(Duration::from_millis(5)).await;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use axum::body::Bytes;

    use super::super::requests::Request;
    use super::Work;

    #[test]
    fn work_is_done_once_or_for_a_time() {
        let request = |lines| Request { body: Bytes::new(), unpacked: 0, lines, raw: 0 };
        let requests = [request(1), request(2)];
        let work = |time| Work::new(vec![Bytes::new(); 2], &requests, time);
        let once = work(None);
        let lines: Vec<usize> = std::iter::from_fn(|| once.take().map(|(_, lines)| *lines)).collect();
        assert_eq!(lines, [1, 2]);
        let long = work(Some(Duration::from_secs(60)));
        assert!((0..5).all(|_| long.take().is_some()));
        assert!(work(Some(Duration::ZERO)).take().is_none());
    }
}
