//! Chunks of entries out of the table.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use echo_shared::audit::chunk::{Chunk, MAX_ENTRIES, key};
use echo_shared::audit::leaf::Leaf;
use echo_shared::table::{Item, Table};

use crate::error::ReadError;
use crate::store::{self, Select};

/// A chunk and its place.
pub(crate) struct Stored {
    /// The index of its first entry.
    pub first: u64,
    /// Its content.
    pub chunk: Chunk,
}

impl Stored {
    /// Reads an item; none when it is no chunk.
    pub(crate) fn of(item: Item) -> Option<Self> {
        let first = store::text(&item, "sk").parse().ok()?;
        let chunk: Chunk = serde_dynamo::from_item(item).ok()?;
        let most = u64::try_from(MAX_ENTRIES).unwrap_or(u64::MAX);
        (1..=most).contains(&chunk.count).then_some(Self { first, chunk })
    }

    /// The index behind its last entry.
    pub(crate) fn end(&self) -> u64 {
        self.first.saturating_add(self.chunk.count)
    }
}

/// An unpacked chunk.
pub(crate) struct Unpacked {
    /// How large its entries are, in bytes.
    pub bytes: usize,
    first: u64,
    leaves: Vec<Leaf>,
}

impl Unpacked {
    /// The entry at `index` of the log.
    pub(crate) fn leaf(&self, index: u64) -> Option<&Leaf> {
        self.leaves.get(usize::try_from(index.checked_sub(self.first)?).ok()?)
    }
}

/// The first sort key that a chunk with the entry `index` can have.
pub(crate) fn reach(index: u64) -> String {
    key::place(index.saturating_sub(u64::try_from(MAX_ENTRIES).unwrap_or_default() - 1))
}

/// The chunks at `places`, unpacked; without those that are missing.
pub(crate) async fn unpack(
    log: &Table,
    org: &str,
    places: &BTreeSet<&str>,
) -> Result<BTreeMap<String, Unpacked>, ReadError> {
    let pk = key::chunks(org);
    let keys: Vec<Item> = places.iter().map(|place| store::key(&pk, place)).collect();
    let mut unpacked = BTreeMap::new();
    for item in store::fetch(log, &keys).await? {
        let place = store::text(&item, "sk").to_owned();
        let index = place.parse().unwrap_or_default();
        let stored = Stored::of(item).ok_or_else(|| ReadError::damaged(index, "it is in no readable chunk"))?;
        let leaves = stored.chunk.leaves().map_err(ReadError::at(index))?;
        let bytes = leaves.iter().map(size).sum();
        unpacked.insert(place, Unpacked { bytes, first: index, leaves });
    }
    Ok(unpacked)
}

fn size(leaf: &Leaf) -> usize {
    leaf.bytes.len() + leaf.personal.as_ref().map_or(0, |personal| personal.json.len())
}

/// The entries in `range`, all of them.
pub(crate) async fn leaves(log: &Table, org: &str, range: Range<u64>) -> Result<Vec<Leaf>, ReadError> {
    let (from, to) = (reach(range.start), key::place(range.end.saturating_sub(1)));
    let select = Select { partition: key::chunks(org), from, to, ..Select::default() };
    let stored = store::all(log, &select).await?.into_iter().filter_map(Stored::of);
    let mut pieces = Vec::new();
    for stored in stored.filter(|stored| stored.end() > range.start) {
        pieces.push((stored.first, stored.chunk.leaves().map_err(ReadError::at(stored.first))?));
    }
    join(&range, pieces)
}

/// Puts pieces that follow each other together to exactly `range`.
pub(crate) fn join<T>(
    range: &Range<u64>,
    pieces: impl IntoIterator<Item = (u64, Vec<T>)>,
) -> Result<Vec<T>, ReadError> {
    let mut joined = Vec::new();
    let mut next = range.start;
    for (first, piece) in pieces {
        for (index, part) in (first..range.end).zip(piece) {
            if index == next {
                joined.push(part);
                next += 1;
            }
        }
    }
    if next == range.end { Ok(joined) } else { Err(ReadError::missing(next)) }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use aws_sdk_dynamodb::types::AttributeValue;
    use echo_shared::audit::chunk::Chunk;
    use echo_shared::audit::leaf::Leaf;

    use super::{Stored, join, reach};

    #[test]
    fn pieces_are_cut_to_the_range() {
        let pieces = vec![(3, vec!['a', 'b']), (5, vec!['c']), (6, vec!['d', 'e', 'f'])];
        assert_eq!(join(&(4..8), pieces.clone()).unwrap(), ['b', 'c', 'd', 'e']);
        assert_eq!(join(&(4..4), pieces.clone()).unwrap(), []);
        assert!(join(&(2..8), pieces.clone()).unwrap_err().to_string().contains("entry 2"));
        assert!(join(&(4..10), pieces).unwrap_err().to_string().contains("entry 9"));
        assert!(join(&(0..4), [(0, vec!['a']), (2, vec!['c', 'd'])]).unwrap_err().to_string().contains("entry 1"));
    }

    #[test]
    fn what_is_no_chunk_is_seen() {
        let chunk = Chunk::new(&[Leaf { bytes: vec![1, b'{', b'}'], personal: None }]).unwrap();
        let mut item: HashMap<String, AttributeValue> = serde_dynamo::to_item(&chunk).unwrap();
        item.insert("sk".into(), AttributeValue::S("0000000000000000007".into()));
        let stored = Stored::of(item.clone()).unwrap();
        assert_eq!((stored.first, stored.end()), (7, 8));
        item.insert("count".into(), AttributeValue::N("99".into()));
        assert!(Stored::of(item.clone()).is_none());
        item.remove("data");
        assert!(Stored::of(item).is_none());
    }

    #[test]
    fn a_chunk_starts_at_most_97_before_its_last() {
        assert_eq!([reach(5), reach(100)], ["0000000000000000000", "0000000000000000003"]);
    }
}
