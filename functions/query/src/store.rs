//! DynamoDB as query reads it: pages of a table or an index, and many items at once.

use std::time::Duration;

use aws_sdk_dynamodb::types::{AttributeValue, KeysAndAttributes};
use echo_shared::table::{Item, Table, TableError, unavailable};

/// DynamoDB takes at most this many keys in one call.
const KEYS: usize = 100;
/// How often keys that DynamoDB left for later are asked for again while it answers none of them.
const TRIES: u32 = 8;

/// Part of one partition, in the order of its sort key.
#[derive(Clone, Default)]
pub(crate) struct Select {
    /// The index, named like its partition key; none for the table itself.
    pub index: Option<&'static str>,
    /// The partition.
    pub partition: String,
    /// The first sort key, inclusive.
    pub from: String,
    /// The last sort key, inclusive.
    pub to: String,
    /// Attributes that must be equal.
    pub equals: Vec<(&'static str, String)>,
    /// The attributes to read; all when empty.
    pub only: &'static [&'static str],
    /// From the last sort key to the first.
    pub descending: bool,
    /// At half the price, without what was written within about the last second.
    pub eventual: bool,
    /// How many items to look at for one page.
    pub limit: Option<i32>,
}

/// One page.
pub(crate) struct Page {
    /// The items.
    pub items: Vec<Item>,
    /// The last item looked at, when there is more behind it.
    pub next: Option<Item>,
}

/// Reads one page, at most 1 MB.
pub(crate) async fn page(table: &Table, select: &Select, start: Option<Item>) -> Result<Page, TableError> {
    let (client, name) = table.raw();
    let (partition, sort) = select.index.map_or(("pk", "sk"), |index| (index, "at"));
    let mut request = client
        .query()
        .table_name(name)
        .set_index_name(select.index.map(Into::into))
        // What was just appended is seen in the table. Indexes follow it on AWS, mostly within a second: they know no
        // consistent reads.
        .consistent_read(select.index.is_none() && !select.eventual)
        .scan_index_forward(!select.descending)
        .key_condition_expression("#partition = :partition AND #sort BETWEEN :from AND :to")
        .expression_attribute_names("#partition", partition)
        .expression_attribute_names("#sort", sort)
        .expression_attribute_values(":partition", AttributeValue::S(select.partition.clone()))
        .expression_attribute_values(":from", AttributeValue::S(select.from.clone()))
        .expression_attribute_values(":to", AttributeValue::S(select.to.clone()))
        .set_limit(select.limit)
        .set_exclusive_start_key(start);
    for (name, value) in &select.equals {
        request = request
            .expression_attribute_names(format!("#{name}"), *name)
            .expression_attribute_values(format!(":{name}"), AttributeValue::S(value.clone()));
    }
    for name in select.only {
        request = request.expression_attribute_names(format!("#{name}"), *name);
    }
    let conditions = list(select.equals.iter().map(|(name, _)| format!("#{name} = :{name}")), " AND ");
    let only = list(select.only.iter().map(|name| format!("#{name}")), ", ");
    let request = request.set_filter_expression(conditions).set_projection_expression(only);
    let found = request.send().await.map_err(unavailable)?;
    Ok(Page { items: found.items.unwrap_or_default(), next: found.last_evaluated_key })
}

fn list(parts: impl Iterator<Item = String>, between: &str) -> Option<String> {
    let parts: Vec<String> = parts.collect();
    (!parts.is_empty()).then(|| parts.join(between))
}

/// Reads all pages.
pub(crate) async fn all(table: &Table, select: &Select) -> Result<Vec<Item>, TableError> {
    let (mut items, mut start) = (Vec::new(), None);
    loop {
        let page = page(table, select, start).await?;
        items.extend(page.items);
        match page.next {
            Some(next) => start = Some(next),
            None => return Ok(items),
        }
    }
}

/// Reads the items with `keys`, which are distinct, in any order and without those that do not exist.
pub(crate) async fn fetch(table: &Table, keys: &[Item]) -> Result<Vec<Item>, TableError> {
    let mut items = Vec::with_capacity(keys.len());
    for some in keys.chunks(KEYS) {
        fetch_some(table, some.to_vec(), &mut items).await?;
    }
    Ok(items)
}

async fn fetch_some(table: &Table, keys: Vec<Item>, items: &mut Vec<Item>) -> Result<(), TableError> {
    let (client, name) = table.raw();
    let build = |error: aws_sdk_dynamodb::error::BuildError| TableError::Unavailable(error.to_string());
    let keys = KeysAndAttributes::builder().set_keys(Some(keys)).consistent_read(true).build().map_err(build)?;
    let (mut rest, mut failed) = (Some(keys), 0);
    while let Some(keys) = rest {
        let found = client.batch_get_item().request_items(name, keys).send().await.map_err(unavailable)?;
        let answered = found.responses.and_then(|mut tables| tables.remove(name)).unwrap_or_default();
        rest = found.unprocessed_keys.and_then(|mut tables| tables.remove(name));
        // 16 MB fit one answer, so a rest is nothing unusual; an answer without any item is.
        if rest.is_some() && answered.is_empty() {
            failed += 1;
            if failed == TRIES {
                return Err(TableError::Unavailable("DynamoDB puts off reading".into()));
            }
            tokio::time::sleep(Duration::from_millis(5 << failed)).await;
        }
        items.extend(answered);
    }
    Ok(())
}

/// The key of an item: its partition and sort key.
pub(crate) fn key(pk: &str, sk: &str) -> Item {
    Item::from([("pk".into(), AttributeValue::S(pk.into())), ("sk".into(), AttributeValue::S(sk.into()))])
}

/// The text of an attribute; empty when there is none.
pub(crate) fn text<'a>(item: &'a Item, name: &str) -> &'a str {
    item.get(name).and_then(|value| value.as_s().ok()).map_or("", String::as_str)
}
