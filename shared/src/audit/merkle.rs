//! The Merkle tree of RFC 6962 section 2.1 (the same as RFC 9162's, with SHA-256): hashes, frontier, proofs.

use std::collections::BTreeMap;
use std::ops::Range;

use aws_lc_rs::digest::{Context, SHA256, digest};

/// A SHA-256 hash.
pub type Hash = [u8; 32];

/// No tree has more leaves: what a size needs fits 63 bits, so that nothing below can overflow.
pub const MAX_SIZE: u64 = 1 << 62;

/// Hash of a leaf: SHA-256(0x00 || leaf).
pub fn leaf_hash(leaf: &[u8]) -> Hash {
    hash(&[&[0], leaf])
}

/// Hash of an inner node: SHA-256(0x01 || left || right).
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    // In one piece: a digest that is fed in parts allocates.
    let mut node = [1; 65];
    let (_, children) = node.split_at_mut(1);
    let (first, second) = children.split_at_mut(32);
    first.copy_from_slice(left);
    second.copy_from_slice(right);
    hash(&[&node])
}

/// Root of the empty tree: SHA-256 of nothing.
pub fn empty_root() -> Hash {
    hash(&[])
}

/// SHA-256 of `parts`, one behind the other.
pub fn hash(parts: &[&[u8]]) -> Hash {
    let finished = match parts {
        [one] => digest(&SHA256, one),
        parts => {
            let mut context = Context::new(&SHA256);
            parts.iter().for_each(|part| context.update(part));
            context.finish()
        }
    };
    let mut hash = Hash::default();
    hash.copy_from_slice(finished.as_ref());
    hash
}

/// Hashes of 32 bytes each out of their concatenation; none when the length is no multiple of 32.
pub fn hashes(bytes: &[u8]) -> Option<Vec<Hash>> {
    let (hashes, rest) = bytes.as_chunks::<32>();
    rest.is_empty().then(|| hashes.to_vec())
}

/// Root of the tree over `hashes`, which are leaf hashes or roots of perfect trees of one height.
pub fn root(hashes: &[Hash]) -> Hash {
    let mut frontier = Frontier::default();
    hashes.iter().for_each(|hash| frontier.push(*hash));
    frontier.root()
}

/// What appending needs to know of a tree: the roots of its perfect subtrees, the largest first. One for every bit
/// that is set in the size.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    nodes: Vec<Hash>,
}

impl Frontier {
    /// Reads what [`Self::to_bytes`] wrote; none when the two do not belong together.
    pub fn from_bytes(size: u64, bytes: &[u8]) -> Option<Self> {
        let nodes = hashes(bytes)?;
        (size <= MAX_SIZE && nodes.len() == size.count_ones() as usize).then_some(Self { size, nodes })
    }

    /// The subtrees' roots, one behind the other.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.nodes.concat()
    }

    /// How many leaves the tree has.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Adds the hash of the next leaf.
    pub fn push(&mut self, leaf: Hash) {
        let mut node = leaf;
        let mut size = self.size;
        while size & 1 == 1 {
            if let Some(left) = self.nodes.pop() {
                node = node_hash(&left, &node);
            }
            size >>= 1;
        }
        self.nodes.push(node);
        self.size += 1;
    }

    /// The tree's root.
    pub fn root(&self) -> Hash {
        let mut nodes = self.nodes.iter().rev();
        let Some(last) = nodes.next() else { return empty_root() };
        nodes.fold(*last, |right, left| node_hash(left, &right))
    }
}

/// The leaves whose subtrees' roots prove that leaf `index` is in the tree of `size`, from the leaf up (RFC 6962
/// section 2.1.1). Empty when there is no such leaf.
pub fn inclusion(index: u64, size: u64) -> Vec<Range<u64>> {
    let mut path = Vec::new();
    let (mut low, mut high) = (0, size);
    if index >= size {
        return path;
    }
    while high - low > 1 {
        let middle = low + split(high - low);
        if index < middle {
            path.push(middle..high);
            high = middle;
        } else {
            path.push(low..middle);
            low = middle;
        }
    }
    path.reverse();
    path
}

/// The leaves whose subtrees' roots prove that the tree of `new` leaves began as that of `old` (RFC 6962 section
/// 2.1.2). Empty for equal sizes, and from the empty tree, which every tree began as.
pub fn consistency(old: u64, new: u64) -> Vec<Range<u64>> {
    let mut path = Vec::new();
    if old == 0 || old >= new {
        return path;
    }
    let (mut low, mut high) = (0, new);
    // Whether the subtree at hand still is the old tree's own root, which whoever verifies has.
    let mut known = true;
    while old < high {
        let middle = low + split(high - low);
        if old <= middle {
            path.push(middle..high);
            high = middle;
        } else {
            path.push(low..middle);
            low = middle;
            known = false;
        }
    }
    if !known {
        path.push(low..high);
    }
    path.reverse();
    path
}

/// The largest power of two below `size`, which is at least 2.
fn split(size: u64) -> u64 {
    1 << (63 - (size - 1).leading_zeros())
}

/// Splits leaves into the fewest perfect subtrees, left to right: their first leaf and height.
fn perfect_parts(range: &Range<u64>) -> Vec<(u64, u32)> {
    let mut parts = Vec::new();
    let mut low = range.start;
    while low < range.end {
        let fits = 63 - (range.end - low).leading_zeros();
        let height = if low == 0 { fits } else { fits.min(low.trailing_zeros()) };
        parts.push((low, height));
        low += 1 << height;
    }
    parts
}

/// Leaves of a tile: a subtree of this height has 256.
pub const TILE_HEIGHT: u32 = 8;
/// Hashes of a full tile.
pub const TILE_WIDTH: u64 = 1 << TILE_HEIGHT;

/// A tile of C2SP tlog-tiles: `level`, and the index within it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tile {
    /// 0 over the leaves, 1 over full tiles of level 0, and so on.
    pub level: u32,
    /// Its place in the level.
    pub index: u64,
}

impl Tile {
    /// How many hashes the tile has in a tree of `size` leaves: 0 to 256.
    pub fn width(self, size: u64) -> u64 {
        let shift = TILE_HEIGHT * self.level;
        let in_level = if shift < u64::BITS { size >> shift } else { 0 };
        in_level.saturating_sub(self.index.saturating_mul(TILE_WIDTH)).min(TILE_WIDTH)
    }
}

/// The tiles, and how much of each, that the roots over `ranges` are computed from.
pub fn tiles_of(ranges: &[Range<u64>]) -> BTreeMap<Tile, u64> {
    let mut tiles = BTreeMap::new();
    for (first, height) in ranges.iter().flat_map(perfect_parts) {
        let (tile, place) = locate(first, height);
        let width = tiles.entry(tile).or_insert(0);
        *width = place.end.max(*width);
    }
    tiles
}

/// The root over each of `ranges`, from the tiles that [`tiles_of`] named; none when one is missing or too short.
pub fn roots_of(ranges: &[Range<u64>], tiles: &BTreeMap<Tile, Vec<Hash>>) -> Option<Vec<Hash>> {
    let part = |(first, height): (u64, u32)| {
        let (tile, place) = locate(first, height);
        let place = usize::try_from(place.start).ok()?..usize::try_from(place.end).ok()?;
        Some(root(tiles.get(&tile)?.get(place)?))
    };
    let whole = |range: &Range<u64>| {
        let parts = perfect_parts(range).into_iter().map(part).collect::<Option<Vec<_>>>()?;
        let (last, larger) = parts.split_last()?;
        Some(larger.iter().rev().fold(*last, |right, left| node_hash(left, &right)))
    };
    ranges.iter().map(whole).collect()
}

/// The tile that holds a perfect subtree, and the hashes of the tile under it.
fn locate(first: u64, height: u32) -> (Tile, Range<u64>) {
    let level = height / TILE_HEIGHT;
    let in_level = first >> (TILE_HEIGHT * level);
    let place = in_level % TILE_WIDTH;
    let width = 1 << (height % TILE_HEIGHT);
    (Tile { level, index: in_level / TILE_WIDTH }, place..place + width)
}

/// Whether `proof` shows that the leaf with hash `leaf` stands at `index` of the tree with `size` leaves and `root`
/// (RFC 9162 section 2.1.3.2).
pub fn verify_inclusion(leaf: &Hash, index: u64, size: u64, proof: &[Hash], root: &Hash) -> bool {
    if index >= size || size > MAX_SIZE {
        return false;
    }
    let (mut node, mut last, mut hash) = (index, size - 1, *leaf);
    for part in proof {
        if last == 0 {
            return false;
        }
        if node & 1 == 1 || node == last {
            hash = node_hash(part, &hash);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            hash = node_hash(&hash, part);
        }
        node >>= 1;
        last >>= 1;
    }
    last == 0 && hash == *root
}

/// Whether `proof` shows that the tree of `new.0` leaves with root `new.1` began as that of `old` (RFC 9162 section
/// 2.1.4.2).
pub fn verify_consistency(old: (u64, &Hash), new: (u64, &Hash), proof: &[Hash]) -> bool {
    let ((old_size, old_root), (new_size, new_root)) = (old, new);
    if old_size == 0 || old_size >= new_size || new_size > MAX_SIZE {
        let same = old_size == new_size && old_root == new_root;
        return proof.is_empty() && (same || (old_size == 0 && *old_root == empty_root()));
    }
    let (mut node, mut last) = (old_size - 1, new_size - 1);
    while node & 1 == 1 {
        node >>= 1;
        last >>= 1;
    }
    let mut parts = proof.iter();
    // A whole tree's root is not repeated in the proof.
    let first = if old_size.is_power_of_two() { Some(old_root) } else { parts.next() };
    let Some(first) = first else { return false };
    let (mut from_old, mut from_new) = (*first, *first);
    for part in parts {
        if last == 0 {
            return false;
        }
        if node & 1 == 1 || node == last {
            from_old = node_hash(part, &from_old);
            from_new = node_hash(part, &from_new);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            from_new = node_hash(&from_new, part);
        }
        node >>= 1;
        last >>= 1;
    }
    last == 0 && from_old == *old_root && from_new == *new_root
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{
        Frontier, Hash, Tile, consistency, empty_root, inclusion, leaf_hash, node_hash, root, roots_of, tiles_of,
        verify_consistency, verify_inclusion,
    };

    fn leaf(index: u64) -> Hash {
        leaf_hash(&index.to_be_bytes())
    }

    fn leaves(size: u64) -> Vec<Hash> {
        (0..size).map(leaf).collect()
    }

    /// RFC 6962's definition, word by word.
    fn defined(leaves: &[Hash]) -> Hash {
        match leaves {
            [] => empty_root(),
            [one] => *one,
            many => {
                let (left, right) = many.split_at((many.len().next_power_of_two() / 2).max(1));
                node_hash(&defined(left), &defined(right))
            }
        }
    }

    fn tile(leaves: &[Hash], tile: Tile) -> Vec<Hash> {
        let size = u64::try_from(leaves.len()).unwrap();
        let span = 256usize.pow(tile.level);
        let first = usize::try_from(tile.index).unwrap() * 256;
        let width = usize::try_from(tile.width(size)).unwrap();
        (first..first + width).map(|n| defined(&leaves[n * span..(n + 1) * span])).collect()
    }

    fn prove(leaves: &[Hash], ranges: &[std::ops::Range<u64>]) -> Vec<Hash> {
        let tiles: BTreeMap<_, _> = tiles_of(ranges).into_keys().map(|id| (id, tile(leaves, id))).collect();
        roots_of(ranges, &tiles).unwrap()
    }

    const SIZES: [u64; 14] = [1, 2, 3, 7, 8, 13, 255, 256, 257, 511, 600, 1_024, 1_025, 1_300];

    #[test]
    fn roots_are_those_of_the_definition() {
        assert_eq!(root(&[]), defined(&[]));
        for size in SIZES {
            let leaves = leaves(size);
            assert_eq!(root(&leaves), defined(&leaves), "{size}");
        }
    }

    /// The roots of the eight trees that Certificate Transparency's own tests use.
    #[test]
    fn known_roots_come_out() {
        let inputs: [&[u8]; 8] = [
            b"",
            b"\x00",
            b"\x10",
            b"\x20\x21",
            b"\x30\x31",
            b"\x40\x41\x42\x43",
            b"\x50\x51\x52\x53\x54\x55\x56\x57",
            b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
        ];
        let mut frontier = Frontier::default();
        let mut found = Vec::new();
        for input in inputs {
            frontier.push(leaf_hash(input));
            found.push(crate::telemetry::hex(&frontier.root()));
        }
        assert_eq!(found[0], "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d");
        assert_eq!(found[1], "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125");
        assert_eq!(found[7], "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328");
    }

    #[test]
    fn a_frontier_survives_its_bytes_and_no_others() {
        let mut frontier = Frontier::default();
        leaves(13).into_iter().for_each(|leaf| frontier.push(leaf));
        assert_eq!(Frontier::from_bytes(13, &frontier.to_bytes()), Some(frontier.clone()));
        assert_eq!(Frontier::from_bytes(12, &frontier.to_bytes()), None);
        assert_eq!(Frontier::from_bytes(13, &frontier.to_bytes()[1..]), None);
    }

    #[test]
    fn every_leaf_proves_itself_and_no_other() {
        for size in SIZES {
            let leaves = leaves(size);
            let root = defined(&leaves);
            for index in (0..size).filter(|index| size < 300 || index % 37 == 0 || index + 3 > size) {
                let proof = prove(&leaves, &inclusion(index, size));
                assert!(verify_inclusion(&leaf(index), index, size, &proof, &root), "{index} of {size}");
                assert!(!verify_inclusion(&leaf(index + 1), index, size, &proof, &root));
                assert!(!verify_inclusion(&leaf(index), index, size, &proof, &empty_root()));
                assert!(!verify_inclusion(&leaf(index), index ^ 1, size, &proof, &root));
                let longer = [proof.as_slice(), &[root]].concat();
                assert!(!verify_inclusion(&leaf(index), index, size, &longer, &root));
            }
        }
    }

    #[test]
    fn a_tree_proves_what_it_grew_from_and_nothing_else() {
        for new in SIZES {
            let leaves = leaves(new);
            let new_root = defined(&leaves);
            for old in (0..=new).filter(|old| new < 300 || old % 41 == 0 || old + 3 > new) {
                let old_root = defined(&leaves[..usize::try_from(old).unwrap()]);
                let proof = prove(&leaves, &consistency(old, new));
                assert!(verify_consistency((old, &old_root), (new, &new_root), &proof), "{old} to {new}");
                assert!(!verify_consistency((old, &leaf(9_999)), (new, &new_root), &proof), "{old} to {new}");
                assert!(!verify_consistency((old, &old_root), (new, &leaf(9_999)), &proof) || old == 0);
            }
        }
    }

    #[test]
    fn widths_are_those_of_the_specification() {
        let width = |level, index| Tile { level, index }.width(70_000);
        assert_eq!([width(0, 272), width(0, 273), width(0, 274)], [256, 112, 0]);
        assert_eq!([width(1, 0), width(1, 1), width(2, 0), width(3, 0), width(63, 0)], [256, 17, 1, 0, 0]);
        assert_eq!([Tile { level: 0, index: 0 }.width(256), Tile { level: 1, index: 0 }.width(256)], [256, 1]);
    }
}
