//! What the database takes without a log: the same events, each an item of its own, in bare PartiQL transactions.

use std::time::Instant;

use aws_sdk_dynamodb::types::{AttributeValue, ParameterizedStatement};
use echo_local::spec::TableSpec;
use echo_shared::audit::chunk::{MAX_ENTRIES, key};

use super::super::lab::Lab;
use super::append::Bodies;
use crate::Failure;

const TABLE: &str = "bench-inserts";

/// Inserts a second: as many to a transaction as a chunk has entries, one transaction after the other.
///
/// # Errors
/// When the database refuses.
pub async fn run(lab: &Lab, entries: usize) -> Result<f64, Failure> {
    // With the indexes, which stay empty: the items have none of their keys.
    let table = TableSpec { name: TABLE.into(), ..lab.table("audit_log")?.clone() };
    lab.dynamodb().create_tables(&[table]).await?;
    let client = lab.dynamodb().client();
    let bodies = Bodies::new("baseline", 2).take(entries);
    let begin = Instant::now();
    for (number, bodies) in (0u64..).zip(bodies.chunks(MAX_ENTRIES)) {
        let places = number * MAX_ENTRIES as u64..;
        let statements = places.zip(bodies).map(|(place, body)| insert(place, body)).collect::<Result<Vec<_>, _>>()?;
        client.execute_transaction().set_transact_statements(Some(statements)).send().await?;
    }
    Ok(entries as f64 / begin.elapsed().as_secs_f64())
}

fn insert(place: u64, body: &str) -> Result<ParameterizedStatement, Failure> {
    let values = ["ENTRY#baseline", &key::place(place), body].map(|value| AttributeValue::S(value.to_owned()));
    let statement = format!("INSERT INTO \"{TABLE}\" VALUE {{'pk': ?, 'sk': ?, 'entry': ?}}");
    Ok(ParameterizedStatement::builder().statement(statement).set_parameters(Some(values.into())).build()?)
}
