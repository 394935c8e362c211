//! What is known of a log, and what an append adds to its Merkle tree.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use echo_shared::audit::chunk::{Head, MAX_ENTRIES, Node, StoredTile, key};
use echo_shared::audit::merkle::{Frontier, Hash, TILE_WIDTH, Tile, hashes, root};
use echo_shared::table::{Key, Table};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_bytes::ByteBuf;

use crate::append::AppendError;

/// A log as it was after the last append that was seen.
#[derive(Clone, Debug)]
pub struct Tree {
    /// Size and right edge.
    pub frontier: Frontier,
    /// The signed checkpoint; none of an empty log.
    pub checkpoint: Option<String>,
    /// The leaf hashes behind the last full tile, when they are known: whoever appended them has them.
    edge: Option<Vec<Hash>>,
}

/// A tile that becomes full.
pub struct Full {
    /// Which one.
    pub tile: Tile,
    /// Its hashes.
    pub stored: StoredTile,
    /// The root over them.
    pub root: Hash,
}

impl Tree {
    /// A log without entries.
    pub fn empty() -> Self {
        Self { frontier: Frontier::default(), checkpoint: None, edge: Some(Vec::new()) }
    }

    /// The log of `org` as its head says, which must be where its entries end.
    ///
    /// # Errors
    /// When the head cannot be read, is damaged, or stands beyond the last entry.
    pub async fn read(heads: &Table, log: &Table, org: &str) -> Result<Self, AppendError> {
        let Some(head) = heads.find::<Head>(&Key::single("pk", &key::head(org))).await? else {
            return Ok(Self::empty());
        };
        // A log that was restored without its head must not grow on behind a gap.
        let from = key::place(head.size.saturating_sub(MAX_ENTRIES as u64));
        let parts = read_parts(log, org, (from, key::place(head.size.saturating_sub(1)))).await?;
        let ends = parts.last().and_then(|part| Some(part.sk.parse::<u64>().ok()? + part.count));
        if ends != Some(head.size) {
            return Err(AppendError::Gap);
        }
        Self::of(&head)
    }

    /// The log whose head is `head`.
    ///
    /// # Errors
    /// When the head is damaged.
    pub fn of(head: &Head) -> Result<Self, AppendError> {
        let frontier = head.tree()?;
        let edge = frontier.size().is_multiple_of(TILE_WIDTH).then(Vec::new);
        Ok(Self { frontier, checkpoint: Some(head.checkpoint.clone()), edge })
    }

    /// How many entries the log has.
    pub fn size(&self) -> u64 {
        self.frontier.size()
    }

    /// How many tiles become full by adding `count` leaves.
    pub fn full_after(&self, count: u64) -> u64 {
        let mut full = 0;
        let (mut before, mut after) = (self.size(), self.size() + count);
        while after > 0 {
            (before, after) = (before / TILE_WIDTH, after / TILE_WIDTH);
            full += after - before;
        }
        full
    }

    /// Adds leaves, and tells which tiles are full now.
    ///
    /// # Errors
    /// When what a full tile consists of cannot be read.
    pub async fn add(&mut self, log: &Table, org: &str, leaves: &[Hash]) -> Result<Vec<Full>, AppendError> {
        let mut full = Vec::new();
        let added = u64::try_from(leaves.len()).unwrap_or(u64::MAX);
        if self.edge.is_none() && self.full_after(added) > 0 {
            self.edge = Some(self.read_edge(log, org).await?);
        }
        for leaf in leaves {
            self.frontier.push(*leaf);
            let Some(edge) = &mut self.edge else { continue };
            edge.push(*leaf);
            if self.frontier.size().is_multiple_of(TILE_WIDTH) {
                let hashes = std::mem::take(edge);
                let index = self.frontier.size() / TILE_WIDTH - 1;
                self.fill(log, org, (Tile { level: 0, index }, hashes), &mut full).await?;
            }
        }
        Ok(full)
    }

    /// Notes a full tile, and the one above when that is full with it.
    async fn fill(
        &self,
        log: &Table,
        org: &str,
        (mut tile, mut hashes): (Tile, Vec<Hash>),
        full: &mut Vec<Full>,
    ) -> Result<(), AppendError> {
        loop {
            let root = root(&hashes);
            full.push(Full { tile, stored: StoredTile { hashes: hashes.concat().into() }, root });
            if !(tile.index + 1).is_multiple_of(TILE_WIDTH) {
                return Ok(());
            }
            hashes = read_nodes(log, org, tile).await?;
            hashes.push(root);
            tile = Tile { level: tile.level + 1, index: tile.index / TILE_WIDTH };
        }
    }

    /// The leaf hashes behind the last full tile.
    async fn read_edge(&self, log: &Table, org: &str) -> Result<Vec<Hash>, AppendError> {
        let size = self.size();
        let start = size - size % TILE_WIDTH;
        // A chunk that began before the tile may reach into it.
        let from = start.saturating_sub(MAX_ENTRIES as u64 - 1);
        let mut edge = Vec::new();
        for part in read_parts(log, org, (key::place(from), key::place(size - 1))).await? {
            let first: u64 = part.sk.parse().map_err(|_| AppendError::Gap)?;
            let hashes = hashes(&part.hashes).ok_or(AppendError::Gap)?;
            let skip = start.saturating_sub(first);
            // Chunks follow each other without a gap, or the edge would not be what the frontier was made of.
            if first > start && first - start != edge.len() as u64 {
                return Err(AppendError::Gap);
            }
            edge.extend(hashes.into_iter().skip(usize::try_from(skip).unwrap_or(usize::MAX)));
        }
        (edge.len() as u64 == size - start).then_some(edge).ok_or(AppendError::Gap)
    }
}

/// A chunk without its entries.
#[derive(Deserialize)]
struct Part {
    sk: String,
    count: u64,
    hashes: ByteBuf,
}

async fn read_parts(log: &Table, org: &str, between: (String, String)) -> Result<Vec<Part>, AppendError> {
    between_keys(log, key::chunks(org), between, "sk, #count, hashes").await
}

/// The roots of the 255 full tiles before `last`, which is the last one under a tile of the level above.
async fn read_nodes(log: &Table, org: &str, last: Tile) -> Result<Vec<Hash>, AppendError> {
    let first = Tile { level: last.level, index: last.index + 1 - TILE_WIDTH };
    let before = Tile { level: last.level, index: last.index - 1 };
    let nodes: Vec<Node> = between_keys(log, key::nodes(org), (key::tile(first), key::tile(before)), "#hash").await?;
    let bytes: Vec<u8> = nodes.into_iter().flat_map(|node| node.hash.into_vec()).collect();
    hashes(&bytes).filter(|hashes| hashes.len() as u64 == TILE_WIDTH - 1).ok_or(AppendError::Gap)
}

/// All items of a partition between two sort keys, both included.
async fn between_keys<T: DeserializeOwned>(
    log: &Table,
    pk: String,
    (from, to): (String, String),
    attributes: &str,
) -> Result<Vec<T>, AppendError> {
    let (client, table) = log.raw();
    let mut items = Vec::new();
    let mut start = None;
    loop {
        let request = client
            .query()
            .table_name(table)
            .consistent_read(true)
            .projection_expression(attributes)
            .key_condition_expression("pk = :pk AND sk BETWEEN :from AND :to")
            .expression_attribute_values(":pk", AttributeValue::S(pk.clone()))
            .expression_attribute_values(":from", AttributeValue::S(from.clone()))
            .expression_attribute_values(":to", AttributeValue::S(to.clone()))
            .set_exclusive_start_key(start);
        // Both are reserved words.
        let named = ["count", "hash"].into_iter().filter(|name| attributes.contains(&format!("#{name}")));
        let named = named.map(|name| (format!("#{name}"), name.to_owned())).collect::<HashMap<_, _>>();
        let request = request.set_expression_attribute_names((!named.is_empty()).then_some(named));
        let page = request.send().await.map_err(echo_shared::table::unavailable)?;
        for item in page.items.unwrap_or_default() {
            items.push(serde_dynamo::from_item(item).map_err(echo_shared::table::TableError::from)?);
        }
        start = page.last_evaluated_key;
        if start.is_none() {
            return Ok(items);
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use echo_shared::audit::chunk::Head;

    use super::Tree;

    /// A head of some log of this size.
    pub(crate) fn head(size: u64) -> Head {
        let frontier = vec![0; 32 * size.count_ones() as usize].into();
        Head { size, frontier, checkpoint: "c".into() }
    }

    #[test]
    fn full_tiles_are_counted_on_every_level() {
        let tree = |size: u64| Tree::of(&head(size)).unwrap();
        assert_eq!([tree(0).full_after(98), tree(200).full_after(98), tree(255).full_after(1)], [0, 1, 1]);
        assert_eq!([tree(65_535).full_after(1), tree((1 << 24) - 1).full_after(1)], [2, 3]);
    }
}
