//! PartiQL: an INSERT fails on an existing key, which is what makes the log insert-only by right.

use std::fmt::Display;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::{AttributeValue, ParameterizedStatement, ReturnValuesOnConditionCheckFailure};
use echo_shared::audit::chunk::{Chunk, Head, Node, StoredKey, StoredTile, key};
use echo_shared::audit::merkle::{Hash, Tile};
use echo_shared::table::TableError;

use crate::Pending;

/// A string.
fn text(value: impl Into<String>) -> AttributeValue {
    AttributeValue::S(value.into())
}

/// A number.
fn number(value: impl Display) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

/// Bytes.
fn binary(value: impl AsRef<[u8]>) -> AttributeValue {
    AttributeValue::B(Blob::new(value.as_ref()))
}

/// An INSERT of an item, a parameter for each attribute.
fn insert(table: &str, item: Vec<(&str, AttributeValue)>) -> Result<ParameterizedStatement, TableError> {
    let names: Vec<String> = item.iter().map(|(name, _)| format!("'{name}': ?")).collect();
    let statement = format!("INSERT INTO \"{table}\" VALUE {{{}}}", names.join(", "));
    build(statement, item.into_iter().map(|(_, value)| value).collect(), None)
}

fn build(
    statement: String,
    values: Vec<AttributeValue>,
    on_failure: Option<ReturnValuesOnConditionCheckFailure>,
) -> Result<ParameterizedStatement, TableError> {
    let built = ParameterizedStatement::builder()
        .statement(statement)
        .set_parameters(Some(values))
        .set_return_values_on_condition_check_failure(on_failure);
    built.build().map_err(|error| TableError::Unavailable(error.to_string()))
}

/// Moves the head from where its checkpoint was `before`, or makes the first. When it has moved meanwhile the refusal
/// brings it along.
pub fn move_head(
    table: &str,
    org: &str,
    before: Option<&str>,
    head: &Head,
) -> Result<ParameterizedStatement, TableError> {
    let (new_size, frontier, note) = (number(head.size), binary(&head.frontier), text(&head.checkpoint));
    let Some(before) = before else {
        let pk = ("pk", text(key::head(org)));
        let item = vec![pk, ("tree_size", new_size), ("frontier", frontier), ("checkpoint", note)];
        return insert(table, item);
    };
    let statement = format!(
        "UPDATE \"{table}\" SET tree_size = ? SET frontier = ? SET checkpoint = ? WHERE pk = ? AND checkpoint = ?"
    );
    let values = vec![new_size, frontier, note, text(key::head(org)), text(before)];
    build(statement, values, Some(ReturnValuesOnConditionCheckFailure::AllOld))
}

/// A key that signs checkpoints.
pub fn insert_key(table: &str, name: &str, key: &StoredKey) -> Result<ParameterizedStatement, TableError> {
    insert(
        table,
        vec![
            ("pk", text(name)),
            ("number", number(key.number)),
            ("public", binary(&key.public)),
            ("sealed", text(&key.sealed)),
            ("created_at", text(&key.created_at)),
        ],
    )
}

/// A chunk whose first entry has the index `first`.
pub fn insert_chunk(table: &str, org: &str, first: u64, chunk: &Chunk) -> Result<ParameterizedStatement, TableError> {
    insert(
        table,
        vec![
            ("pk", text(key::chunks(org))),
            ("sk", text(key::place(first))),
            ("count", number(chunk.count)),
            ("hashes", binary(&chunk.hashes)),
            ("data", binary(&chunk.data)),
        ],
    )
}

/// The marker of the entry at `index`, in the chunk that starts at `first`; what it is searched by stands here.
pub fn insert_marker(
    table: &str,
    (first, index): (u64, u64),
    pending: &Pending,
) -> Result<ParameterizedStatement, TableError> {
    let entry = &pending.entry;
    let by = |value: &str| text(key::list(&[&entry.org, value]));
    let mut item = vec![
        ("pk", text(key::event(&entry.org, &entry.id))),
        ("sk", text(&entry.source)),
        ("at", text(key::at(&entry.time, index))),
        ("chunk", text(key::place(first))),
        ("outcome", text(entry.record.outcome.as_str())),
        ("by_time", text(key::list(&[&entry.org]))),
        ("by_actor", by(&entry.record.actor.id)),
        ("by_action", by(&entry.record.action)),
    ];
    if let Some(resource) = &entry.record.resource {
        item.push(("by_resource", by(&format!("{}/{}", resource.kind, resource.id))));
    }
    insert(table, item)
}

/// A full tile.
pub fn insert_tile(
    table: &str,
    org: &str,
    tile: Tile,
    stored: &StoredTile,
) -> Result<ParameterizedStatement, TableError> {
    let item = vec![("pk", text(key::tiles(org))), ("sk", text(key::tile(tile))), ("hashes", binary(&stored.hashes))];
    insert(table, item)
}

/// The root of a full tile.
pub fn insert_node(table: &str, org: &str, tile: Tile, root: &Hash) -> Result<ParameterizedStatement, TableError> {
    let node = Node { hash: root.to_vec().into() };
    let item = vec![("pk", text(key::nodes(org))), ("sk", text(key::tile(tile))), ("hash", binary(&node.hash))];
    insert(table, item)
}
