//! The log from an index on, step by step, whatever is left of it.

use std::collections::BTreeMap;
use std::ops::Range;

use echo_shared::audit::chunk::key;
use echo_shared::audit::leaf::Leaf;
use echo_shared::audit::merkle::{Hash, TILE_WIDTH, Tile, leaf_hash};
use echo_shared::table::{Item, TableError};

use crate::chunks::{Stored, reach};
use crate::store::{self, Select};
use crate::tiles::{Tiles, hashes_of};

/// Entries of one step, as long as they fit one page of a query: eight tiles.
const STEP: u64 = 8 * TILE_WIDTH;

/// An entry as an export finds it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// Its index.
    pub index: u64,
    /// The leaf's hash: from its full tile, where that can be read.
    pub hash: Option<Hash>,
    /// The entry, unless its chunk is missing or cannot be read.
    pub leaf: Option<Leaf>,
}

/// A walk through a log to its end.
pub(super) struct Walk {
    log: Tiles,
    /// The entry to go on with.
    next: u64,
    /// The sort key of the chunk to go on with.
    from: String,
}

impl Walk {
    /// A walk that starts at the entry `next`.
    pub(super) async fn start(log: Tiles, next: u64) -> Result<Self, TableError> {
        let select = Select {
            partition: key::chunks(&log.org),
            from: reach(next),
            to: key::place(next),
            only: &["sk"],
            descending: true,
            limit: Some(1),
            ..Select::default()
        };
        let found = store::page(&log.table, &select, None).await?.items;
        let from = found.first().map_or_else(|| key::place(next), |item| store::text(item, "sk").to_owned());
        Ok(Self { log, next, from })
    }

    /// The index of the entry that the next step begins with.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// The next entries, whether or not they can be read; none at the end of the log.
    pub(super) async fn step(&mut self) -> Result<Option<Vec<Found>>, TableError> {
        if self.next >= self.log.size {
            return Ok(None);
        }
        let reached = self.log.size.min(self.next.saturating_add(STEP));
        let select = Select {
            partition: key::chunks(&self.log.org),
            from: self.from.clone(),
            to: key::place(reached - 1),
            ..Select::default()
        };
        let page = store::page(&self.log.table, &select, None).await?;
        let last = page.items.last().map(|item| store::text(item, "sk").to_owned());
        let chunks: Vec<Stored> = page.items.into_iter().filter_map(Stored::of).collect();
        let last_end = chunks.last().map_or(0, Stored::end);
        let end = match (page.next, last) {
            // What lies behind the page's last item is not known yet; its own entries are, when it can be read.
            (Some(_), Some(last)) => last_end.max(last.parse().map_or(0, |first: u64| first + 1)),
            _ => last_end.max(reached),
        };
        let end = end.clamp(self.next + 1, self.log.size);
        let tiles = self.tiles(end).await?;
        let found = lay_out(self.next..end, &chunks, &tiles);
        (self.next, self.from) = (end, key::place(end));
        Ok(Some(found))
    }

    /// The full tiles over the entries from `next` to `end`.
    async fn tiles(&self, end: u64) -> Result<BTreeMap<u64, Vec<Hash>>, TableError> {
        let full = self.next / TILE_WIDTH..end.div_ceil(TILE_WIDTH).min(self.log.size / TILE_WIDTH);
        let key = |index| key::tile(Tile { level: 0, index });
        let pk = key::tiles(&self.log.org);
        let keys: Vec<Item> = full.clone().map(|index| store::key(&pk, &key(index))).collect();
        let items = store::fetch(&self.log.table, &keys).await?;
        let mut items: BTreeMap<String, Item> =
            items.into_iter().map(|item| (store::text(&item, "sk").to_owned(), item)).collect();
        let read = |index| Some((index, items.remove(&key(index)).and_then(hashes_of)?));
        Ok(full.filter_map(read).collect())
    }
}

/// One place for each entry of `range`, filled with what there is.
fn lay_out(range: Range<u64>, chunks: &[Stored], tiles: &BTreeMap<u64, Vec<Hash>>) -> Vec<Found> {
    let tiled = |index: u64| {
        let hashes = tiles.get(&(index / TILE_WIDTH))?;
        hashes.get(usize::try_from(index % TILE_WIDTH).ok()?).copied()
    };
    let place = |index| Found { index, hash: tiled(index), leaf: None };
    let mut found: Vec<Found> = range.clone().map(place).collect();
    for stored in chunks {
        // A chunk that starts before the range gives what lies in it.
        let before = usize::try_from(range.start.saturating_sub(stored.first)).unwrap_or(usize::MAX);
        let start = usize::try_from(stored.first.saturating_sub(range.start)).unwrap_or(usize::MAX);
        let hashes = stored.chunk.hashes().unwrap_or_default();
        for (place, hash) in found.iter_mut().skip(start).zip(hashes.into_iter().skip(before)) {
            place.hash.get_or_insert(hash);
        }
        let leaves = stored.chunk.leaves().unwrap_or_default();
        for (place, leaf) in found.iter_mut().skip(start).zip(leaves.into_iter().skip(before)) {
            place.hash.get_or_insert_with(|| leaf_hash(&leaf.bytes));
            place.leaf.get_or_insert(leaf);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use echo_shared::audit::chunk::Chunk;
    use echo_shared::audit::leaf::Leaf;
    use echo_shared::audit::merkle::leaf_hash;

    use super::lay_out;
    use crate::chunks::Stored;

    fn leaf(n: u8) -> Leaf {
        Leaf { bytes: vec![1, n], personal: None }
    }

    fn stored(first: u8, count: u8) -> Stored {
        let leaves: Vec<Leaf> = (first..=first + (count - 1)).map(leaf).collect();
        Stored { first: first.into(), chunk: Chunk::new(&leaves).unwrap() }
    }

    #[test]
    fn entries_stand_at_their_place() {
        let found = lay_out(3..8, &[stored(1, 4), stored(5, 1), stored(6, 9)], &BTreeMap::new());
        for (n, found) in (3..8).zip(found) {
            assert_eq!((found.index, found.leaf, found.hash), (n.into(), Some(leaf(n)), Some(leaf_hash(&[1, n]))));
        }
    }

    #[test]
    fn damage_leaves_a_gap_with_the_hashes_that_are_known() {
        let mut damaged = stored(5, 2);
        damaged.chunk.data[5] ^= 0xff;
        let tile: Vec<_> = (0..=255).map(|n| leaf_hash(&[1, n])).collect();
        for tiles in [BTreeMap::new(), BTreeMap::from([(0, tile)])] {
            let found =
                lay_out(2..9, &[stored(0, 4), Stored { first: 5, chunk: damaged.chunk.clone() }, stored(8, 1)], &tiles);
            let there: Vec<u64> = found.iter().filter(|found| found.leaf.is_some()).map(|found| found.index).collect();
            assert_eq!(there, [2, 3, 8]);
            let hashed: Vec<u64> = found.iter().filter(|found| found.hash.is_some()).map(|found| found.index).collect();
            assert_eq!(hashed, if tiles.is_empty() { vec![2, 3, 5, 6, 8] } else { (2..9).collect() });
        }
    }

    #[test]
    fn the_tile_says_what_the_hash_is() {
        let tiles = BTreeMap::from([(0, vec![[9; 32]; 256])]);
        let found = lay_out(255..257, &[stored(250, 5), stored(255, 1)], &tiles);
        assert_eq!((found[0].hash, found[1].hash), (Some([9; 32]), None));
        assert_eq!(found[0].leaf, Some(leaf(255)));
    }
}
