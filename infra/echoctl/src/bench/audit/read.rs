//! Reading a long log: proofs, searches, and beside them the least that a read can be.

use std::time::{Duration, Instant};

use aws_sdk_dynamodb::types::AttributeValue;
use axum::body::Bytes;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use echo_shared::audit::Entry;
use echo_shared::audit::chunk::key;
use echo_shared::audit::merkle::{Hash, verify_inclusion};
use serde_json::Value;
use url::form_urlencoded;

use super::super::events;
use super::super::instance::Instance;
use super::super::lab::Lab;
use super::import::Made;
use super::made::{below, seeded};
use super::{LOG, ORG};
use crate::Failure;
use crate::api::member;

const FUNCTION: &str = "query";
/// Requests of each kind that are measured, and those before them.
const REQUESTS: usize = 200;
const WARM_UP: usize = 20;
const LIMIT: usize = 50;

/// Milliseconds that each request took.
pub struct Reads {
    /// Inclusion proofs.
    pub proofs: Vec<f64>,
    /// Searches.
    pub searches: Vec<f64>,
    /// Reads of one chunk by its key, from the database itself.
    pub items: Vec<f64>,
}

/// Asks for proofs of entries and for what somebody did, where and to what, in the log of `size` entries.
///
/// # Errors
/// When an answer is not what it should be.
pub async fn run(lab: &mut Lab, log: &Made, size: u64) -> Result<Reads, Failure> {
    let token = lab.token().await?;
    let mut query = lab.launch_unrecorded(FUNCTION).await?;
    let draw = seeded(5);
    let (mut proofs, mut searches) = (Vec::new(), Vec::new());
    for _ in 0..WARM_UP + REQUESTS {
        let path = format!("/audit/v1/proofs/inclusion?index={}", below(&draw, size));
        let (took, answer) = ask(&mut query, lab.events.get(&path, Some(&token))?).await?;
        check_proof(&answer)?;
        proofs.push(took);
    }
    // Spread over the log's whole length.
    let step = (log.some.len() / (WARM_UP + REQUESTS)).max(1);
    for (number, entry) in log.some.iter().step_by(step).cycle().take(WARM_UP + REQUESTS).enumerate() {
        let (took, answer) = ask(&mut query, lab.events.get(&search(number, entry), Some(&token))?).await?;
        if answer.get("items").and_then(Value::as_array).is_none_or(Vec::is_empty) {
            return Err(format!("a search for what is there found nothing: {answer}").into());
        }
        searches.push(took);
    }
    query.stop().await;
    let items = items(lab, &log.chunks).await?;
    let warm = |times: Vec<f64>| times.into_iter().skip(WARM_UP).collect();
    Ok(Reads { proofs: warm(proofs), searches: warm(searches), items: warm(items) })
}

/// Asks once; milliseconds, and the answer's JSON.
async fn ask(query: &mut Instance, event: Bytes) -> Result<(f64, Value), Failure> {
    let answer = query.invoke(event).await?;
    events::check(FUNCTION, &answer.body)?;
    Ok((ms(answer.took), serde_json::from_slice(&events::body(&answer.body).await?)?))
}

/// A search by actor, action and resource in turn.
fn search(number: usize, entry: &Entry) -> String {
    let record = &entry.record;
    let (name, value) = match (number % 3, &record.resource) {
        (0, Some(resource)) => ("resource", format!("{}/{}", resource.kind, resource.id)),
        (1, _) => ("action", record.action.clone()),
        _ => ("actor", record.actor.id.clone()),
    };
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair(name, &value).append_pair("limit", &LIMIT.to_string());
    format!("/audit/v1/events?{}", query.finish())
}

/// What the answer says must follow from it, and be signed.
fn check_proof(answer: &Value) -> Result<(), Failure> {
    let number = |name: &str| answer.get(name).and_then(Value::as_u64).ok_or_else(|| format!("no `{name}`: {answer}"));
    let hashes = answer.get("proof").and_then(Value::as_array).ok_or("an answer without a proof")?;
    let proof = hashes.iter().map(|hash| decode(hash.as_str().unwrap_or_default())).collect::<Result<Vec<_>, _>>()?;
    let (leaf, root) = (decode(member(answer, "leaf_hash")?)?, decode(member(answer, "root")?)?);
    let signed = member(answer, "checkpoint")?.contains(member(answer, "root")?);
    if signed && verify_inclusion(&leaf, number("index")?, number("size")?, &proof, &root) {
        return Ok(());
    }
    Err(format!("a proof proves nothing: {answer}").into())
}

fn decode(hash: &str) -> Result<Hash, Failure> {
    STANDARD.decode(hash)?.try_into().map_err(|_| format!("`{hash}` is no hash").into())
}

/// Reads chunks by their keys.
async fn items(lab: &Lab, chunks: &[u64]) -> Result<Vec<f64>, Failure> {
    let client = lab.dynamodb().client();
    let table = &lab.table(LOG)?.name;
    let draw = seeded(6);
    let mut times = Vec::new();
    for _ in 0..WARM_UP + REQUESTS {
        let chosen = usize::try_from(below(&draw, chunks.len() as u64))?;
        let place = key::place(chunks.get(chosen).copied().unwrap_or_default());
        let get = client.get_item().table_name(table).consistent_read(true);
        let get = get.key("pk", AttributeValue::S(key::chunks(ORG))).key("sk", AttributeValue::S(place));
        let begin = Instant::now();
        let found = get.send().await?;
        times.push(ms(begin.elapsed()));
        found.item.ok_or("a chunk is not there")?;
    }
    Ok(times)
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}
