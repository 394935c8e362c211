//! A thin layer over DynamoDB: keys, conditional writes, transactions, typed errors, pages.
//!
//! Reads are strongly consistent. Items are serde structures without their key attributes, which [`Key`] adds.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{AttributeValue, Delete, Put, TransactWriteItem, Update};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::causes::with_causes;

/// An item as the SDK sees it.
pub type Item = HashMap<String, AttributeValue>;

/// How often a transaction that lost to a concurrent one is tried.
const TRANSACTION_TRIES: u32 = 8;

/// A primary key.
#[derive(Clone, Debug)]
pub struct Key(Item);

impl Key {
    /// Partition key `pk` and sort key `sk`: Echo's tables but one.
    pub fn new(pk: impl Into<String>, sk: impl Into<String>) -> Self {
        Self(HashMap::from([("pk".into(), AttributeValue::S(pk.into())), ("sk".into(), AttributeValue::S(sk.into()))]))
    }

    /// A partition key alone, under its attribute's name.
    pub fn single(name: &str, value: &str) -> Self {
        Self(HashMap::from([(name.into(), AttributeValue::S(value.into()))]))
    }

    fn guard(&self) -> &'static str {
        if self.0.contains_key("pk") { "attribute_not_exists(pk)" } else { "attribute_not_exists(id)" }
    }
}

/// Why a table did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// A condition did not hold: somebody was faster, or the item is not as expected.
    #[error("condition failed")]
    Condition,
    /// DynamoDB could not be reached, or refused for a reason of its own. Trying again may help.
    #[error("table unavailable: {0}")]
    Unavailable(String),
    /// An item is not of the expected shape.
    #[error("item is malformed: {0}")]
    Malformed(#[from] serde_dynamo::Error),
}

/// One page of a listing.
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// Where the next page starts, when there is more.
    pub next: Option<Item>,
}

/// One DynamoDB table.
#[derive(Clone)]
pub struct Table {
    client: Client,
    name: String,
}

impl Table {
    /// The table `name`.
    pub fn new(client: Client, name: impl Into<String>) -> Self {
        Self { client, name: name.into() }
    }

    /// The SDK client and the table's name, for the statements this layer does not wrap.
    pub fn raw(&self) -> (&Client, &str) {
        (&self.client, &self.name)
    }

    /// Reads one item, strongly consistent.
    ///
    /// # Errors
    /// When the table cannot be read or the item is not a `T`.
    pub async fn find<T: DeserializeOwned>(&self, key: &Key) -> Result<Option<T>, TableError> {
        let request = self.client.get_item().table_name(&self.name).set_key(Some(key.0.clone()));
        let found = request.consistent_read(true).send().await.map_err(unavailable)?;
        found.item.map(serde_dynamo::from_item).transpose().map_err(Into::into)
    }

    /// All items of one partition, oldest sort key first; meant for partitions that are small by design.
    ///
    /// # Errors
    /// When the table cannot be read or an item is not a `T`.
    pub async fn partition<T: DeserializeOwned>(&self, pk: &str) -> Result<Vec<T>, TableError> {
        let request = self.client.query().table_name(&self.name).key_condition_expression("pk = :pk");
        let request = request.expression_attribute_values(":pk", AttributeValue::S(pk.into()));
        let found = request.consistent_read(true).send().await.map_err(unavailable)?;
        serde_dynamo::from_items(found.items.unwrap_or_default()).map_err(Into::into)
    }

    /// One page of the whole table; meant for tables that are nearly empty by design.
    ///
    /// # Errors
    /// When the table cannot be read or an item is not a `T`.
    pub async fn scan_page<T: DeserializeOwned>(&self, start: Option<Item>) -> Result<Page<T>, TableError> {
        let request = self.client.scan().table_name(&self.name).limit(100).consistent_read(true);
        let found = request.set_exclusive_start_key(start).send().await.map_err(unavailable)?;
        let items = serde_dynamo::from_items(found.items.unwrap_or_default())?;
        Ok(Page { items, next: found.last_evaluated_key })
    }

    /// Removes one item; removing what is not there succeeds.
    ///
    /// # Errors
    /// When the table cannot be written.
    pub async fn remove(&self, key: &Key) -> Result<(), TableError> {
        let request = self.client.delete_item().table_name(&self.name).set_key(Some(key.0.clone()));
        request.send().await.map(drop).map_err(unavailable)
    }

    /// A write that puts an item, whether or not one is there.
    ///
    /// # Errors
    /// When `value` cannot be an item.
    pub fn put(&self, key: &Key, value: &impl Serialize) -> Result<TransactWriteItem, TableError> {
        self.put_if(key, value, None)
    }

    /// A write that puts an item only where none is.
    ///
    /// # Errors
    /// When `value` cannot be an item.
    pub fn put_new(&self, key: &Key, value: &impl Serialize) -> Result<TransactWriteItem, TableError> {
        self.put_if(key, value, Some(key.guard()))
    }

    fn put_if(
        &self,
        key: &Key,
        value: &impl Serialize,
        condition: Option<&str>,
    ) -> Result<TransactWriteItem, TableError> {
        let mut item: Item = serde_dynamo::to_item(value)?;
        item.extend(key.0.clone());
        let put = Put::builder().table_name(&self.name).set_item(Some(item));
        let put = put.set_condition_expression(condition.map(Into::into)).build().map_err(build)?;
        Ok(TransactWriteItem::builder().put(put).build())
    }

    /// A write that changes attributes of an item under a condition; `values` are the expressions' placeholders.
    ///
    /// # Errors
    /// When the write cannot be built.
    pub fn update(
        &self,
        key: &Key,
        (update, condition): (&str, &str),
        values: &[(&str, AttributeValue)],
    ) -> Result<TransactWriteItem, TableError> {
        let values = values.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect::<Item>();
        let change = Update::builder().table_name(&self.name).set_key(Some(key.0.clone()));
        let change = change.update_expression(update).condition_expression(condition);
        let change = change.set_expression_attribute_values((!values.is_empty()).then_some(values));
        Ok(TransactWriteItem::builder().update(change.build().map_err(build)?).build())
    }

    /// A write that removes an item, and fails where none is.
    ///
    /// # Errors
    /// When the write cannot be built.
    pub fn delete_existing(&self, key: &Key) -> Result<TransactWriteItem, TableError> {
        let delete = Delete::builder().table_name(&self.name).set_key(Some(key.0.clone()));
        let delete = delete.condition_expression("attribute_exists(pk)").build().map_err(build)?;
        Ok(TransactWriteItem::builder().delete(delete).build())
    }

    /// Makes all `writes` (to any tables) or none.
    ///
    /// # Errors
    /// [`TableError::Condition`] when a condition did not hold.
    pub async fn transact(&self, writes: Vec<TransactWriteItem>) -> Result<(), TableError> {
        for attempt in 1..=TRANSACTION_TRIES {
            let request = self.client.transact_write_items().set_transact_items(Some(writes.clone()));
            let Err(error) = request.send().await else { return Ok(()) };
            match cancellation(&error) {
                Some(codes) if codes.contains(&"ConditionalCheckFailed") => return Err(TableError::Condition),
                Some(codes) if codes.contains(&"TransactionConflict") && attempt < TRANSACTION_TRIES => {
                    tokio::time::sleep(Duration::from_millis(5 << attempt)).await;
                }
                _ => return Err(unavailable(error)),
            }
        }
        Err(TableError::Unavailable("the item is contended; try again".into()))
    }
}

fn cancellation<R>(error: &SdkError<TransactWriteItemsError, R>) -> Option<Vec<&str>> {
    match error.as_service_error()? {
        TransactWriteItemsError::TransactionCanceledException(cancelled) => {
            Some(cancelled.cancellation_reasons().iter().filter_map(|reason| reason.code()).collect())
        }
        _ => None,
    }
}

/// The SDK's error as ours, with its causes but without the request.
pub fn unavailable<E, R>(error: SdkError<E, R>) -> TableError
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    R: std::fmt::Debug + Send + Sync + 'static,
{
    TableError::Unavailable(with_causes(&error))
}

fn build(error: impl std::fmt::Display) -> TableError {
    TableError::Unavailable(error.to_string())
}
