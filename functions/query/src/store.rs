//! The audit log as query reads it: one org, newest first.

use aws_sdk_dynamodb::types::AttributeValue;
use echo_shared::audit::{Entry, entries_partition};
use echo_shared::http::Cursor;
use echo_shared::table::{Item, Table, TableError, unavailable};
use serde::Deserialize;

use crate::filter::Filter;

/// DynamoDB queries that one request may cost, at most 1 MB each. A page may therefore come back short, with a `next`.
const READ_BUDGET: usize = 10;

/// A page of entries.
pub struct Listing {
    /// The entries, newest first.
    pub entries: Vec<Entry>,
    /// Where the next page starts; none at the end of the log.
    pub next: Option<Cursor>,
}

#[derive(Deserialize)]
struct Stored {
    sk: String,
    entry: String,
}

/// Lists up to `limit` entries of `org` that fit `filter`, after `cursor`.
///
/// # Errors
/// When the table cannot be read.
pub async fn list(
    log: &Table,
    org: &str,
    filter: &Filter,
    limit: usize,
    cursor: Option<Cursor>,
) -> Result<Listing, TableError> {
    let mut entries = Vec::new();
    let mut start = cursor.map(|Cursor(sk)| key(org, &sk));
    for _ in 0..READ_BUDGET {
        let page = read(log, org, filter, limit, start.take()).await?;
        for item in page.0 {
            let stored: Stored = serde_dynamo::from_item(item)?;
            match serde_json::from_str(&stored.entry) {
                Ok(entry) => entries.push(entry),
                Err(error) => return Err(TableError::Unavailable(format!("entry {}: {error}", stored.sk))),
            }
            if entries.len() == limit {
                return Ok(Listing { entries, next: Some(Cursor(stored.sk)) });
            }
        }
        let Some(last) = page.1 else { return Ok(Listing { entries, next: None }) };
        start = Some(last);
    }
    let next = start.as_ref().and_then(|key| key.get("sk")?.as_s().ok()).map(|sk| Cursor(sk.clone()));
    Ok(Listing { entries, next })
}

async fn read(
    log: &Table,
    org: &str,
    filter: &Filter,
    limit: usize,
    start: Option<Item>,
) -> Result<(Vec<Item>, Option<Item>), TableError> {
    let (client, table) = log.raw();
    let mut request = client
        .query()
        .table_name(table)
        .scan_index_forward(false)
        // So that what was just written is seen.
        .consistent_read(true)
        .key_condition_expression("pk = :pk AND sk BETWEEN :from AND :to")
        .expression_attribute_values(":pk", AttributeValue::S(entries_partition(org)))
        .expression_attribute_values(":from", AttributeValue::S(filter.from.clone()))
        .expression_attribute_values(":to", AttributeValue::S(filter.to.clone()))
        .set_exclusive_start_key(start);
    if filter.equals.is_empty() {
        request = request.limit(i32::try_from(limit).unwrap_or(i32::MAX));
    } else {
        let conditions: Vec<String> = filter.equals.iter().map(|(name, _)| format!("#{name} = :{name}")).collect();
        request = request.filter_expression(conditions.join(" AND "));
        for (name, value) in &filter.equals {
            request = request
                .expression_attribute_names(format!("#{name}"), *name)
                .expression_attribute_values(format!(":{name}"), AttributeValue::S(value.clone()));
        }
    }
    let found = request.send().await.map_err(unavailable)?;
    Ok((found.items.unwrap_or_default(), found.last_evaluated_key))
}

fn key(org: &str, sk: &str) -> Item {
    Item::from([("pk".into(), AttributeValue::S(entries_partition(org))), ("sk".into(), AttributeValue::S(sk.into()))])
}
