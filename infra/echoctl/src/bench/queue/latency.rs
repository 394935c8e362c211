//! From a send to the handler.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use echo_local::lambda::{Invoke, InvokeError};
use echo_local::mapping;
use echo_local::queue::{Outgoing, Queues};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use super::super::report::percentile;
use super::{Bench, QUEUE, TEN, body, load};
use crate::Failure;

/// Messages measured.
const PROBES: usize = 200;
/// How long the idle stack is watched.
const WATCHED: Duration = Duration::from_secs(5);
const MARK: &str = "probe";

/// The idle queue.
pub struct Idle {
    /// Send to handler, in milliseconds.
    pub p50: f64,
    /// Processor time while nothing happens, in percent of a core.
    pub cpu: f64,
}

/// A function that tells when it got a probe.
#[derive(Clone)]
struct Watch(Arc<mpsc::UnboundedSender<Instant>>);

impl Invoke for Watch {
    async fn invoke(&self, _: &str, payload: Bytes) -> Result<Bytes, InvokeError> {
        let now = Instant::now();
        if payload.windows(MARK.len()).any(|part| part == MARK.as_bytes()) {
            let _ = self.0.send(now);
        }
        Ok(Bytes::from_static(b"{}"))
    }
}

/// A queue with a mapping.
struct Stage {
    queues: Queues,
    handled: mpsc::UnboundedReceiver<Instant>,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

impl Stage {
    async fn set(bench: &Bench, schema: &str) -> Result<Self, Failure> {
        let queues = bench.queues(schema).await?;
        let (stop, stopped) = watch::channel(false);
        let (handle, handled) = mpsc::unbounded_channel();
        let mut tasks = JoinSet::new();
        tasks.spawn(queues.clone().keep_clean(stopped.clone()));
        tasks.spawn(mapping::run(load::mapping_spec(), queues.clone(), Watch(Arc::new(handle)), stopped));
        Ok(Self { queues, handled, stop, tasks })
    }

    /// Milliseconds from the send to the handler.
    async fn probe(&mut self) -> Result<f64, Failure> {
        let begin = Instant::now();
        self.queues.send(QUEUE, &[Outgoing { body: MARK.into(), delay: None }]).await?;
        let handled = self.handled.recv().await.ok_or("the mapping ended")?;
        Ok(handled.duration_since(begin).as_secs_f64() * 1000.0)
    }

    async fn clear(self) {
        self.stop.send_replace(true);
        self.tasks.join_all().await;
    }
}

/// One message at a time in an idle queue.
///
/// # Errors
/// When the queue fails.
pub async fn idle(bench: &Bench, schema: &str) -> Result<Idle, Failure> {
    let mut stage = Stage::set(bench, schema).await?;
    let mut times = Vec::with_capacity(PROBES);
    for _ in 0..PROBES {
        times.push(stage.probe().await?);
        sleep(Duration::from_millis(10)).await;
    }
    let pids = [Some(std::process::id()), bench.server.pid()];
    let used = || pids.iter().flatten().map(|pid| processor_time(*pid)).sum::<f64>();
    let before = used();
    sleep(WATCHED).await;
    let cpu = (used() - before) / WATCHED.as_secs_f64() * 100.0;
    stage.clear().await;
    Ok(Idle { p50: percentile(&times, 0.5), cpu })
}

/// One message at a time among `per_s` others a second; the 99th percentile.
///
/// # Errors
/// When the queue fails.
pub async fn half_load(bench: &Bench, schema: &str, per_s: f64, time: Duration) -> Result<f64, Failure> {
    let mut stage = Stage::set(bench, schema).await?;
    let mut senders = JoinSet::new();
    const SENDERS: usize = 16;
    for _ in 0..SENDERS {
        let queues = stage.queues.clone();
        let pause = Duration::from_secs_f64(TEN as f64 * SENDERS as f64 / per_s);
        senders.spawn(async move {
            let messages = vec![Outgoing { body: body(), delay: None }; TEN];
            let mut ticks = interval(pause);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
            loop {
                ticks.tick().await;
                if queues.send(QUEUE, &messages).await.is_err() {
                    return;
                }
            }
        });
    }
    let mut times = Vec::new();
    let begin = Instant::now();
    while begin.elapsed() < time {
        times.push(stage.probe().await?);
        sleep(Duration::from_millis(2)).await;
    }
    senders.shutdown().await;
    stage.clear().await;
    Ok(percentile(&times, 0.99))
}

/// Seconds of processor time that a process has used (`utime` and `stime` of proc(5), in hundredths).
pub fn processor_time(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let after = stat.rsplit(')').next().unwrap_or_default();
    let field = |n: usize| after.split_whitespace().nth(n).and_then(|value| value.parse::<f64>().ok());
    (field(11).unwrap_or_default() + field(12).unwrap_or_default()) / 100.0
}
