//! What lines take in the store and what AWS charges for them: every request and every unit is counted.
//!
//! The release binaries take in the same lines once and store them twice: without postings of traces, and with them.

use echo_local::queue::Receive;

use super::super::events;
use super::super::lab::Lab;
use super::super::usage::cpu_seconds;
use super::ask::{accepted, batches, posts};
use super::bill::Used;
use super::requests::Request;
use super::store::{self, Stored};
use crate::Failure;

const INGEST: &str = "ingest";
const CONSUMER: &str = "log-consume";
/// Settings of an org that wants no postings.
const WITHOUT_POSTINGS: &str = r#"{"default": {"trace_postings": false}}"#;
/// And of one that leaves everything as it is.
const DEFAULT: &str = "{}";

/// What was measured.
pub struct Cost {
    /// Messages that ingest made of the lines, and their bytes.
    pub messages: (usize, usize),
    /// Without postings.
    pub plain: Side,
    /// With postings.
    pub posted: Side,
}

/// One way to store the lines.
pub struct Side {
    /// What the table holds afterwards.
    pub stored: Stored,
    /// What is charged for, from request to table.
    pub used: Used,
}

/// Takes in all lines and stores them.
///
/// # Errors
/// When a function does not do its work, or a line is missing afterwards.
pub async fn run(lab: &mut Lab, requests: &[Request]) -> Result<Cost, Failure> {
    let way_in = take_in(lab, requests).await?;
    let bodies = drain(lab).await?;
    let messages = (bodies.len(), bodies.iter().map(String::len).sum());
    let mut plain = keep(lab, &bodies, "plain", WITHOUT_POSTINGS).await?;
    let mut posted = keep(lab, &bodies, "posted", DEFAULT).await?;
    for side in [&mut plain, &mut posted] {
        store::complete(&side.stored, requests)?;
        side.used = side.used.and(way_in);
    }
    Ok(Cost { messages, plain, posted })
}

/// From the requests to the queue.
async fn take_in(lab: &mut Lab, requests: &[Request]) -> Result<Used, Failure> {
    let posts = posts(lab, requests).await?;
    let memory = lab.function(INGEST)?.spec.memory;
    let mut used = Used::default();
    let mut ingest = lab.launch(INGEST, None).await?;
    ingest.init().await?;
    let begun = cpu_seconds(ingest.pid())?;
    lab.take();
    for (post, request) in posts.into_iter().zip(requests) {
        let answer = ingest.invoke(post).await?;
        accepted(&answer.body).await?;
        used.api_request(request.body.len());
        used.invocation(answer.took, memory);
    }
    used.processor(cpu_seconds(ingest.pid())? - begun, memory);
    ingest.stop().await;
    used.calls(&lab.take().calls);
    Ok(used)
}

/// All that waits in the queue.
async fn drain(lab: &Lab) -> Result<Vec<String>, Failure> {
    let (queue, mut bodies) = (&lab.mapping(CONSUMER)?.queue, Vec::new());
    loop {
        let messages = lab.queues().receive(queue, Receive::up_to(10)).await?;
        if messages.is_empty() {
            return Ok(bodies);
        }
        let receipts: Vec<_> = messages.iter().map(|message| message.receipt).collect();
        lab.queues().delete(queue, &receipts).await?;
        bodies.extend(messages.into_iter().map(|message| message.body));
    }
}

/// From the queue to a table of its own.
async fn keep(lab: &Lab, bodies: &[String], name: &str, settings: &str) -> Result<Side, Failure> {
    let table = store::make(lab, name).await?;
    let memory = lab.function(CONSUMER)?.spec.memory;
    let mut used = Used::default();
    used.deliveries(&bodies.iter().map(String::len).collect::<Vec<_>>());
    let variables = [("LOG_STORE_TABLE", table.as_str()), ("LOG_SETTINGS", settings)];
    let mut consumer = lab.launch_with(CONSUMER, &variables).await?;
    consumer.init().await?;
    let begun = cpu_seconds(consumer.pid())?;
    lab.take();
    for batch in batches(bodies.iter().cloned(), lab.mapping(CONSUMER)?.batch_size) {
        let answer = consumer.invoke(batch).await?;
        events::check(CONSUMER, &answer.body)?;
        used.invocation(answer.took, memory);
    }
    used.processor(cpu_seconds(consumer.pid())? - begun, memory);
    consumer.stop().await;
    used.calls(&lab.take().calls);
    Ok(Side { stored: store::stored(&lab.dynamodb().client(), &table).await?, used })
}
