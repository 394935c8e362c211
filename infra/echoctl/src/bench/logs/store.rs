//! Tables for measuring, and what lies in them.

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;
use echo_local::spec::TableSpec;
use echo_shared::log::header::Header;
use echo_shared::table::Item;

use super::super::lab::Lab;
use super::requests::Request;
use crate::Failure;

/// What DynamoDB adds to each item for storage, in bytes. <https://aws.amazon.com/dynamodb/pricing/on-demand/>
const OVERHEAD: u64 = 100;

/// Makes an empty table that is `log_store` under another name.
///
/// # Errors
/// When the database refuses.
pub async fn make(lab: &Lab, name: &str) -> Result<String, Failure> {
    let table = TableSpec { name: format!("bench-logs-{name}"), ..lab.table("log_store")?.clone() };
    lab.dynamodb().create_tables(std::slice::from_ref(&table)).await?;
    Ok(table.name)
}

/// Items of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kind {
    /// How many.
    pub items: u64,
    /// Their bytes as DynamoDB charges storage: names and values of all attributes, keys included, and [`OVERHEAD`].
    pub bytes: u64,
}

/// What a table holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    /// Headers.
    pub headers: Kind,
    /// Payloads.
    pub payloads: Kind,
    /// Postings.
    pub postings: Kind,
    /// Markers of blocks that were folded.
    pub markers: Kind,
    /// Lines, by the headers.
    pub lines: u64,
}

impl Stored {
    /// All bytes.
    pub fn bytes(&self) -> u64 {
        [self.headers, self.payloads, self.postings, self.markers].iter().map(|kind| kind.bytes).sum()
    }

    fn add(&mut self, item: &Item) -> Result<(), Failure> {
        let text = |name: &str| item.get(name).and_then(|value| value.as_s().ok()).map(String::as_str);
        let key = text("pk").unwrap_or_default();
        let kind = match key.split('#').next() {
            Some("HEADER") => &mut self.headers,
            Some("BLOCK") => &mut self.payloads,
            Some("TRACE") => &mut self.postings,
            Some("SOURCE") => &mut self.markers,
            _ => return Err(format!("`{key}` is no key of the log store").into()),
        };
        kind.items += 1;
        kind.bytes += size(item) + OVERHEAD;
        if let Some(AttributeValue::B(header)) = item.get("header") {
            self.lines += u64::from(Header::from_bytes(header.as_ref())?.lines);
        }
        Ok(())
    }
}

/// Reads a whole table.
///
/// # Errors
/// When it cannot be read, or holds what does not belong there.
pub async fn stored(client: &Client, table: &str) -> Result<Stored, Failure> {
    let (mut stored, mut start) = (Stored::default(), None);
    loop {
        let page = client.scan().table_name(table).set_exclusive_start_key(start).send().await?;
        page.items.unwrap_or_default().iter().try_for_each(|item| stored.add(item))?;
        start = page.last_evaluated_key;
        if start.is_none() {
            return Ok(stored);
        }
    }
}

/// Holds what is stored against what was sent.
///
/// # Errors
/// When a line is missing, or there twice.
pub fn complete(stored: &Stored, requests: &[Request]) -> Result<(), Failure> {
    let sent: usize = requests.iter().map(|request| request.lines).sum();
    if stored.lines == sent as u64 {
        return Ok(());
    }
    Err(format!("{sent} lines were sent, and {} are stored", stored.lines).into())
}

/// Bytes of an item (DynamoDB developer guide, "Item sizes and formats"), for the types that this table has.
fn size(item: &Item) -> u64 {
    let value = |value: &AttributeValue| match value {
        AttributeValue::S(text) => text.len(),
        AttributeValue::B(bytes) => bytes.as_ref().len(),
        AttributeValue::N(number) => number.len().div_ceil(2) + 1,
        _ => 0,
    };
    item.iter().map(|(name, held)| (name.len() + value(held)) as u64).sum()
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use aws_sdk_dynamodb::primitives::Blob;
    use aws_sdk_dynamodb::types::AttributeValue;

    use super::{Kind, Stored, size};

    #[test]
    fn items_are_counted_by_kind_with_names_keys_and_values() {
        let item = |key: &str| {
            HashMap::from([
                ("pk".to_owned(), AttributeValue::S(key.into())),
                ("data".to_owned(), AttributeValue::B(Blob::new(vec![0; 100]))),
                ("expires_at".to_owned(), AttributeValue::N("1769860800".into())),
            ])
        };
        assert_eq!(size(&item("BLOCK#1#o")), 2 + 9 + 4 + 100 + 10 + 6);
        let mut stored = Stored::default();
        stored.add(&item("BLOCK#1#o")).unwrap();
        stored.add(&item("TRACE#00#o")).unwrap();
        assert_eq!((stored.payloads, stored.postings.items), (Kind { items: 1, bytes: 231 }, 1));
        assert_eq!(stored.bytes(), 231 + 232);
        assert!(stored.add(&item("OTHER#1")).is_err());
    }
}
