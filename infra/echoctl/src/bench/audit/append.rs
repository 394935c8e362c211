//! Appending to one log: how fast, and what it takes.

use std::time::Instant;

use axum::body::Bytes;
use echo_shared::clock::Clock;
use time::Duration;

use super::super::instance::Instance;
use super::super::lab::Lab;
use super::super::recorder::Service;
use super::super::{events, usage};
use super::made::Maker;
use crate::Failure;

const FUNCTION: &str = "audit-consume";
/// Batches whose requests are counted.
const COUNTED: usize = 5;
const ORG: &str = "bench";

/// What was measured.
pub struct Appended {
    /// Entries a second.
    pub per_s: f64,
    /// Microseconds of processor time that the function used for an entry.
    pub cpu_us: f64,
    /// Requests to DynamoDB for a thousand entries.
    pub round_trips: f64,
    /// Write units of an entry, without indexes.
    pub units: f64,
    /// And those of indexes.
    pub index_units: f64,
}

/// Bodies of new events, as they come out of the queue.
pub struct Bodies(Maker);

impl Bodies {
    /// Events of `org` that happen from now on.
    pub fn new(org: &str, seed: u64) -> Self {
        // Less than what a clock may be ahead, however many there are.
        Self(Maker::new(org, seed, Clock::system().now() - Duration::hours(1), Duration::microseconds(100)))
    }

    /// So many of them.
    pub fn take(&mut self, count: usize) -> Vec<String> {
        (0..count).map(|_| self.0.event().to_body()).collect()
    }

    fn batches(&mut self, entries: usize, size: usize) -> Vec<Bytes> {
        self.take(entries).chunks(size).map(events::batch).collect()
    }
}

/// Appends `entries` entries to one log, in batches as large as the mapping makes them.
///
/// # Errors
/// When the function does not do its work.
pub async fn run(lab: &Lab, entries: usize) -> Result<Appended, Failure> {
    let mut bodies = Bodies::new(ORG, 1);
    let (round_trips, units, index_units) = count(lab, &mut bodies).await?;
    let (per_s, cpu_us) = speed(lab, &mut bodies, entries).await?;
    Ok(Appended { per_s, cpu_us, round_trips, units, index_units })
}

/// Hands over one batch.
///
/// # Errors
/// When any of it was not appended.
pub async fn append(consumer: &mut Instance, batch: Bytes) -> Result<(), Failure> {
    events::check(FUNCTION, &consumer.invoke(batch).await?.body)
}

/// Requests per thousand, write units of tables and of indexes per entry, once the process has what it keeps.
async fn count(lab: &Lab, bodies: &mut Bodies) -> Result<(f64, f64, f64), Failure> {
    let size = lab.batch_size();
    let mut consumer = lab.launch(FUNCTION, None).await?;
    append(&mut consumer, events::batch(&bodies.take(size))).await?;
    lab.take();
    for batch in bodies.batches(COUNTED * size, size) {
        append(&mut consumer, batch).await?;
    }
    consumer.stop().await;
    let calls = lab.take().calls.into_iter().filter(|call| call.service == Service::DynamoDb);
    let (mut trips, mut all, mut indexes) = (0.0, 0.0, 0.0);
    for call in calls {
        trips += 1.0;
        all += call.write_units;
        indexes += call.index_units;
    }
    let entries = (COUNTED * size) as f64;
    Ok((trips * 1_000.0 / entries, (all - indexes) / entries, indexes / entries))
}

/// Entries a second, and the processor time of one.
async fn speed(lab: &Lab, bodies: &mut Bodies, entries: usize) -> Result<(f64, f64), Failure> {
    let size = lab.batch_size();
    let mut consumer = lab.launch_unrecorded(FUNCTION).await?;
    append(&mut consumer, events::batch(&bodies.take(size))).await?;
    let batches = bodies.batches(entries, size);
    let (begin, used) = (Instant::now(), usage::cpu_seconds(consumer.pid())?);
    for batch in batches {
        append(&mut consumer, batch).await?;
    }
    let (time, used) = (begin.elapsed(), usage::cpu_seconds(consumer.pid())? - used);
    consumer.stop().await;
    Ok((entries as f64 / time.as_secs_f64(), used * 1e6 / entries as f64))
}
