//! The tiles of a log as they are stored: full ones whole, partial ones in pieces.

use std::collections::BTreeMap;
use std::ops::Range;

use echo_shared::audit::chunk::{Chunk, Node, StoredTile, key};
use echo_shared::audit::merkle::{Hash, TILE_HEIGHT, TILE_WIDTH, Tile, hashes, roots_of, tiles_of};
use echo_shared::table::{Item, Table, TableError};
use serde::Deserialize;
use serde_bytes::ByteBuf;
use tokio::task::JoinSet;

use crate::chunks::{join, reach};
use crate::error::ReadError;
use crate::store::{self, Select};

/// One org's log at its present size.
#[derive(Clone)]
pub(crate) struct Tiles {
    /// The table.
    pub table: Table,
    /// Whose.
    pub org: String,
    /// How many entries the log has: it says which tiles are full.
    pub size: u64,
}

impl Tiles {
    /// The roots over `ranges`, none of them empty.
    pub(crate) async fn roots(&self, ranges: &[Range<u64>]) -> Result<Vec<Hash>, ReadError> {
        let tiles = self.read(&tiles_of(ranges)).await?;
        let first = ranges.first().map_or(0, |range| range.start);
        roots_of(ranges, &tiles).ok_or_else(|| ReadError::damaged(first, "a tile above it is too short"))
    }

    /// Tiles that the log has, each as wide as asked for at least. All are read side by side.
    pub(crate) async fn read(&self, wanted: &BTreeMap<Tile, u64>) -> Result<BTreeMap<Tile, Vec<Hash>>, ReadError> {
        let (mut full, mut partial) = (Vec::new(), JoinSet::new());
        for (&tile, &width) in wanted {
            if tile.width(self.size) == TILE_WIDTH {
                full.push(tile);
                continue;
            }
            let log = self.clone();
            partial.spawn(async move { log.partial(tile, width).await.map(|hashes| (tile, hashes)) });
        }
        let mut tiles = self.full(&full).await?;
        while let Some(read) = partial.join_next().await {
            let (tile, hashes) = read.map_err(|error| TableError::Unavailable(error.to_string()))??;
            tiles.insert(tile, hashes);
        }
        Ok(tiles)
    }

    async fn full(&self, tiles: &[Tile]) -> Result<BTreeMap<Tile, Vec<Hash>>, ReadError> {
        let pk = key::tiles(&self.org);
        let keys: Vec<Item> = tiles.iter().map(|tile| store::key(&pk, &key::tile(*tile))).collect();
        let items = store::fetch(&self.table, &keys).await?;
        let mut found: BTreeMap<String, Item> =
            items.into_iter().map(|item| (store::text(&item, "sk").to_owned(), item)).collect();
        let read = |tile: &Tile| {
            let hashes = found.remove(&key::tile(*tile)).and_then(hashes_of);
            let damaged = || ReadError::damaged(first_leaf(*tile), "a tile above it cannot be read");
            hashes.map(|hashes| (*tile, hashes)).ok_or_else(damaged)
        };
        tiles.iter().map(read).collect()
    }

    async fn partial(&self, tile: Tile, width: u64) -> Result<Vec<Hash>, ReadError> {
        let first = tile.index.saturating_mul(TILE_WIDTH);
        let range = first..first.saturating_add(width);
        match tile.level.checked_sub(1) {
            _ if range.is_empty() => Ok(Vec::new()),
            Some(below) => self.nodes(below, range).await,
            None => self.leaves(range).await,
        }
    }

    /// The hashes of leaves, out of their chunks.
    async fn leaves(&self, range: Range<u64>) -> Result<Vec<Hash>, ReadError> {
        let select = Select {
            partition: key::chunks(&self.org),
            from: reach(range.start),
            to: key::place(range.end - 1),
            only: &["sk", "count", "hashes"],
            ..Select::default()
        };
        let items = store::all(&self.table, &select).await?;
        join(&range, items.into_iter().filter_map(piece))
    }

    /// The roots of the full tiles `range` of a level.
    async fn nodes(&self, level: u32, range: Range<u64>) -> Result<Vec<Hash>, ReadError> {
        let tile = |index| Tile { level, index };
        let (from, to) = (key::tile(tile(range.start)), key::tile(tile(range.end - 1)));
        let select = Select { partition: key::nodes(&self.org), from, to, ..Select::default() };
        let items = store::all(&self.table, &select).await?;
        let nodes = items.into_iter().filter_map(|item| {
            let sk = store::text(&item, "sk").to_owned();
            let node: Node = serde_dynamo::from_item(item).ok()?;
            Some((sk, Hash::try_from(node.hash.as_slice()).ok()?))
        });
        let mut nodes: BTreeMap<String, Hash> = nodes.collect();
        let read = |index| nodes.remove(&key::tile(tile(index))).ok_or_else(|| node_missing(tile(index)));
        range.map(read).collect()
    }
}

fn node_missing(tile: Tile) -> ReadError {
    ReadError::damaged(first_leaf(tile), "the root of a tile above it cannot be read")
}

/// The hashes of a full tile's item.
pub(crate) fn hashes_of(item: Item) -> Option<Vec<Hash>> {
    let tile: StoredTile = serde_dynamo::from_item(item).ok()?;
    hashes(&tile.hashes).filter(|hashes| u64::try_from(hashes.len()).is_ok_and(|width| width == TILE_WIDTH))
}

/// The first leaf below a tile.
fn first_leaf(tile: Tile) -> u64 {
    tile.index.checked_shl(TILE_HEIGHT * (tile.level + 1)).unwrap_or_default()
}

/// A chunk without its entries.
#[derive(Deserialize)]
struct Light {
    sk: String,
    count: u64,
    hashes: ByteBuf,
}

fn piece(item: Item) -> Option<(u64, Vec<Hash>)> {
    let Light { sk, count, hashes } = serde_dynamo::from_item(item).ok()?;
    let chunk = Chunk { count, hashes, data: ByteBuf::new() };
    Some((sk.parse().ok()?, chunk.hashes().ok()?))
}

#[cfg(test)]
mod tests {
    use aws_sdk_dynamodb::types::AttributeValue;
    use echo_shared::audit::chunk::{Chunk, StoredTile};
    use echo_shared::audit::leaf::Leaf;
    use echo_shared::audit::merkle::{Tile, leaf_hash};
    use echo_shared::table::Item;
    use serde_bytes::ByteBuf;

    use super::{first_leaf, hashes_of, piece};

    #[test]
    fn a_chunk_gives_its_hashes_without_its_entries() {
        let chunk = Chunk::new(&[Leaf { bytes: vec![1], personal: None }]).unwrap();
        let mut item: Item = serde_dynamo::to_item(&chunk).unwrap();
        item.insert("sk".into(), AttributeValue::S("0000000000000000300".into()));
        item.remove("data");
        assert_eq!(piece(item.clone()), Some((300, vec![leaf_hash(&[1])])));
        item.insert("count".into(), AttributeValue::N("2".into()));
        assert_eq!(piece(item), None);
    }

    #[test]
    fn a_full_tile_has_256_hashes() {
        let item = |bytes| serde_dynamo::to_item(StoredTile { hashes: ByteBuf::from(vec![7; bytes]) }).unwrap();
        assert_eq!(hashes_of(item(256 * 32)), Some(vec![[7; 32]; 256]));
        assert_eq!([hashes_of(item(255 * 32)), hashes_of(item(256 * 32 - 1))], [None, None]);
    }

    #[test]
    fn damage_is_named_by_its_first_leaf() {
        let first = |level, index| first_leaf(Tile { level, index });
        assert_eq!([first(0, 3), first(1, 3), first(7, 1)], [768, 196_608, 0]);
    }
}
