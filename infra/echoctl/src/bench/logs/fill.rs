//! A long log: two days of lines, packed by ingest's own library and stored by the release binary of log-consume.

use std::sync::Arc;

use axum::body::Bytes;
use echo_shared::log::key::DAY;
use echo_shared::log::posting::TraceId;
use echo_shared::log::settings::Settings;
use ingest::{Redactor, Sender, pack};
use opentelemetry_proto::tonic::logs::v1::ResourceLogs;
use time::OffsetDateTime;
use tokio::sync::{Mutex, mpsc};
use tokio::task::{JoinSet, spawn_blocking};

use super::super::events;
use super::super::instance::Instance;
use super::super::lab::Lab;
use super::super::report::say;
use super::ask::Batches;
use super::made::Lines;
use super::requests::Exporters;
use super::{ORG, store};
use crate::Failure;

const CONSUMER: &str = "log-consume";
/// Days that are filled.
const DAYS: usize = 2;
/// The most lines of a day: with them it is about a gigabyte.
pub const MAX_DAY: usize = 2_500_000;
/// Nanoseconds between two lines: so many fill nearly the whole day, and fewer a part of it as densely.
const PACE: u64 = DAY / 100 * 98 / MAX_DAY as u64;
/// Batches that wait for log-consume.
const WAITING: usize = 2;
/// Progress is told every so many lines.
const TOLD: usize = 500_000;

/// A day of the log.
pub struct Day {
    /// When it begins: nanoseconds since 1970.
    pub begin: u64,
    /// How many lines it has.
    pub lines: usize,
    /// Their raw size in bytes.
    pub raw: usize,
}

/// The log as it was made.
pub struct Filled {
    /// The table.
    pub table: String,
    /// Its days.
    pub days: Vec<Day>,
    /// Its traces, as far as they are complete.
    pub traces: Vec<TraceId>,
}

/// One day's plan.
struct Plan {
    seed: u64,
    begin: u64,
    lines: usize,
    now: OffsetDateTime,
    batch_size: usize,
}

/// Fills a table with `lines` lines: half of them the day before yesterday, half yesterday.
///
/// # Errors
/// When a part does not do its work.
pub async fn run(lab: &Lab, lines: usize, now: OffsetDateTime) -> Result<Filled, Failure> {
    let table = store::make(lab, "long").await?;
    let (ready, batches) = mpsc::channel(WAITING);
    let mut writers = Vec::new();
    let today = u64::try_from(now.unix_timestamp_nanos())? / DAY;
    for (day, seed) in (today - DAYS as u64..today).zip(11..) {
        let batch_size = lab.mapping(CONSUMER)?.batch_size;
        let plan = Plan { seed, begin: day * DAY, lines: lines / DAYS, now, batch_size };
        let ready = ready.clone();
        writers.push(spawn_blocking(move || write(&plan, ready)));
    }
    drop(ready);
    store_all(lab, &table, batches).await?;
    let (mut days, mut traces) = (Vec::new(), Vec::new());
    for writer in writers {
        let (day, finished) = writer.await??;
        days.push(day);
        traces.extend(finished);
    }
    Ok(Filled { table, days, traces })
}

/// Stores batches with as many processes as there are days.
async fn store_all(lab: &Lab, table: &str, batches: mpsc::Receiver<Bytes>) -> Result<(), Failure> {
    let batches = Arc::new(Mutex::new(batches));
    let variables = [("AWS_ENDPOINT_URL_DYNAMODB", lab.dynamodb().endpoint()), ("LOG_STORE_TABLE", table)];
    let mut consumers = JoinSet::new();
    for _ in 0..DAYS {
        let consumer = lab.launch_with(CONSUMER, &variables).await?;
        consumers.spawn(consume(consumer, Arc::clone(&batches)));
    }
    drop(batches);
    while let Some(done) = consumers.join_next().await {
        done??;
    }
    Ok(())
}

async fn consume(mut consumer: Instance, batches: Arc<Mutex<mpsc::Receiver<Bytes>>>) -> Result<(), Failure> {
    loop {
        let batch = batches.lock().await.recv().await;
        let Some(batch) = batch else { break };
        events::check(CONSUMER, &consumer.invoke(batch).await?.body)?;
    }
    consumer.stop().await;
    Ok(())
}

/// Makes and packs the lines of a day.
fn write(plan: &Plan, ready: mpsc::Sender<Bytes>) -> Result<(Day, Vec<TraceId>), Failure> {
    let (settings, redactor) = (Settings::default(), Redactor::new());
    let sender =
        Sender { org: ORG, source: "/clients/bench", settings: settings.of(ORG), redactor: &redactor, now: plan.now };
    let mut packer = Packer { sender, batch_size: plan.batch_size, batches: Batches::default(), ready };
    let (mut lines, mut exporters) = (Lines::new(plan.seed, plan.begin, PACE), Exporters::default());
    let mut raw = 0;
    for number in 1..=plan.lines {
        let made = lines.line();
        raw += made.raw;
        if let Some(batch) = exporters.add(made) {
            packer.pack(batch.logs)?;
        }
        if number % TOLD == 0 {
            say(&format!("{number} of {} lines of a day", plan.lines));
        }
    }
    exporters.rest().try_for_each(|batch| packer.pack(batch.logs))?;
    packer.finish()?;
    Ok((Day { begin: plan.begin, lines: plan.lines, raw }, lines.finished()))
}

/// Does what ingest does with a request, and what the mapping does with its messages.
struct Packer<'a> {
    sender: Sender<'a>,
    batch_size: usize,
    batches: Batches,
    ready: mpsc::Sender<Bytes>,
}

impl Packer<'_> {
    fn pack(&mut self, logs: Vec<ResourceLogs>) -> Result<(), Failure> {
        let packed = pack(logs, &self.sender)?;
        if packed.rejected > 0 {
            return Err(format!("lines were rejected: {}", packed.reason.unwrap_or_default()).into());
        }
        for event in packed.events {
            if let Some(batch) = self.batches.add(event.to_body(), self.batch_size) {
                self.hand_over(batch)?;
            }
        }
        Ok(())
    }

    fn finish(mut self) -> Result<(), Failure> {
        match self.batches.take() {
            Some(batch) => self.hand_over(batch),
            None => Ok(()),
        }
    }

    fn hand_over(&self, batch: Bytes) -> Result<(), Failure> {
        self.ready.blocking_send(batch).map_err(|_| "the log was given up".into())
    }
}
