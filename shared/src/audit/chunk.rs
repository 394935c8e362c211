//! The stored form: chunks of entries, full tiles, the roots of full tiles, one marker per event, one head per org.
//!
//! A chunk holds the entries of one append, in order, compressed together. Nothing but a head is ever written twice.

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::leaf::{Leaf, MAX_LEAF, MAX_PERSONAL, Personal, SALT};
use super::merkle::{Frontier, Hash, Tile, hashes, leaf_hash};

/// The most entries of one chunk: a transaction has 100 statements, of which the head and the chunk are two.
pub const MAX_ENTRIES: usize = 98;
/// The most bytes of one chunk before compression. With its hashes it fits an item (400 KB) even uncompressible.
pub const MAX_BYTES: usize = 350_000;
/// The compression's effort: zstd's own default.
const LEVEL: i32 = 3;

/// Entries that follow each other.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Chunk {
    /// How many.
    pub count: u64,
    /// Their leaves' hashes: what partial tiles are made of.
    pub hashes: ByteBuf,
    /// The entries, as `encode` writes them, in zstd.
    pub data: ByteBuf,
}

/// A full tile.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StoredTile {
    /// 256 hashes, one behind the other.
    pub hashes: ByteBuf,
}

/// The root of a full tile: a hash of the tile above, while that is partial.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Node {
    /// 32 bytes.
    pub hash: ByteBuf,
}

/// The head of a log; moved by every append.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// How many entries the log has.
    #[serde(rename = "tree_size")]
    pub size: u64,
    /// [`Frontier::to_bytes`].
    pub frontier: ByteBuf,
    /// The signed checkpoint of this size.
    pub checkpoint: String,
}

impl Head {
    /// The tree as it is.
    ///
    /// # Errors
    /// When size and frontier do not belong together.
    pub fn tree(&self) -> Result<Frontier, Damaged> {
        Frontier::from_bytes(self.size, &self.frontier).ok_or(Damaged("the head's frontier does not fit its size"))
    }
}

/// A key that signs checkpoints, beside the heads. Old ones stay: what they signed is verified with them.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StoredKey {
    /// 1 for the first, and so on.
    pub number: u64,
    /// The public half, 32 bytes.
    pub public: ByteBuf,
    /// The private half in PKCS #8, sealed with the master key.
    pub sealed: String,
    /// When it was made: RFC 3339.
    pub created_at: String,
}

/// What is stored is not what was written.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the log is damaged: {0}")]
pub struct Damaged(pub &'static str);

impl Chunk {
    /// The chunk of `leaves`, which [`fits`] says fit.
    ///
    /// # Errors
    /// When the compressor fails.
    pub fn new(leaves: &[Leaf]) -> std::io::Result<Self> {
        let mut data = Vec::with_capacity(leaves.iter().map(encoded).sum());
        let mut hashes = Vec::with_capacity(32 * leaves.len());
        for leaf in leaves {
            hashes.extend_from_slice(&leaf_hash(&leaf.bytes));
            encode(leaf, &mut data);
        }
        let data = zstd::bulk::compress(&data, LEVEL)?;
        let count = leaves.len().try_into().unwrap_or(u64::MAX);
        Ok(Self { count, hashes: ByteBuf::from(hashes), data: ByteBuf::from(data) })
    }

    /// The leaves' hashes.
    ///
    /// # Errors
    /// When there are not as many as entries.
    pub fn hashes(&self) -> Result<Vec<Hash>, Damaged> {
        let hashes = hashes(&self.hashes).filter(|hashes| u64::try_from(hashes.len()).is_ok_and(|n| n == self.count));
        hashes.ok_or(Damaged("a chunk's hashes do not fit its count"))
    }

    /// The entries.
    ///
    /// # Errors
    /// When they cannot be read, or are not as many as said.
    pub fn leaves(&self) -> Result<Vec<Leaf>, Damaged> {
        let data = zstd::bulk::decompress(&self.data, MAX_BYTES).map_err(|_| Damaged("a chunk cannot be unpacked"))?;
        let mut leaves = Vec::new();
        let mut rest = data.as_slice();
        while !rest.is_empty() {
            leaves.push(decode(&mut rest).ok_or(Damaged("a chunk's entries cannot be told apart"))?);
        }
        let fits = u64::try_from(leaves.len()).is_ok_and(|count| count == self.count);
        fits.then_some(leaves).ok_or(Damaged("a chunk does not have as many entries as it says"))
    }
}

/// How many of `leaves`, at most `limit`, one chunk takes: at least one of any that [`Leaf::new`] makes.
pub fn fits(leaves: &[Leaf], limit: usize) -> usize {
    let mut bytes = 0;
    let fit = leaves.iter().take(limit.min(MAX_ENTRIES)).take_while(|leaf| {
        bytes += encoded(leaf);
        bytes <= MAX_BYTES
    });
    fit.count()
}

/// Bytes of an entry before compression.
fn encoded(leaf: &Leaf) -> usize {
    2 + leaf.bytes.len() + SALT + 4 + leaf.personal.as_ref().map_or(0, |personal| personal.json.len())
}

/// Two bytes of length and the leaf; the salt; four bytes of length and the personal details. Big-endian. Destroyed
/// details are a salt of zeroes and nothing, which no details are: the least is `{}`.
fn encode(leaf: &Leaf, data: &mut Vec<u8>) {
    let (salt, json) = leaf.personal.as_ref().map_or(([0; SALT], ""), |personal| (personal.salt, &personal.json));
    data.extend_from_slice(&u16::try_from(leaf.bytes.len()).unwrap_or(u16::MAX).to_be_bytes());
    data.extend_from_slice(&leaf.bytes);
    data.extend_from_slice(&salt);
    data.extend_from_slice(&u32::try_from(json.len()).unwrap_or(u32::MAX).to_be_bytes());
    data.extend_from_slice(json.as_bytes());
}

fn decode(rest: &mut &[u8]) -> Option<Leaf> {
    let length = u16::from_be_bytes(*take(rest, 2)?.first_chunk()?);
    let bytes = take(rest, length.into())?.to_vec();
    let salt = *take(rest, SALT)?.first_chunk()?;
    let length = u32::from_be_bytes(*take(rest, 4)?.first_chunk()?);
    let json = String::from_utf8(take(rest, length.try_into().ok()?)?.to_vec()).ok()?;
    let personal = (!json.is_empty()).then_some(Personal { salt, json });
    Some(Leaf { bytes, personal })
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(length)?;
    *rest = left;
    Some(taken)
}

/// An entry bundle of tlog-tiles: two bytes of length and the leaf, for each.
pub fn bundle<'a>(leaves: impl Iterator<Item = &'a Leaf>) -> Vec<u8> {
    let mut bundle = Vec::new();
    for leaf in leaves {
        bundle.extend_from_slice(&u16::try_from(leaf.bytes.len()).unwrap_or(u16::MAX).to_be_bytes());
        bundle.extend_from_slice(&leaf.bytes);
    }
    bundle
}

/// Keys of the items in `audit_log`, and of the two kinds in `audit_head`.
pub mod key {
    use super::Tile;

    /// What [`head`] starts with.
    pub const HEAD: &str = "HEAD#";

    /// An org's head.
    pub fn head(org: &str) -> String {
        format!("{HEAD}{org}")
    }

    /// A key that signs checkpoints.
    pub fn signing_key(number: u64) -> String {
        format!("KEY#{number:06}")
    }

    /// The partition of an org's chunks; the sort key is [`place`] of the first entry.
    pub fn chunks(org: &str) -> String {
        format!("CHUNK#{org}")
    }

    /// The partition of an org's full tiles; the sort key is [`tile`].
    pub fn tiles(org: &str) -> String {
        format!("TILE#{org}")
    }

    /// The partition of the roots of an org's full tiles; the sort key is [`tile`].
    pub fn nodes(org: &str) -> String {
        format!("NODE#{org}")
    }

    /// The partition of an event's marker; the sort key is the event's source. As JSON, since ids hold any character.
    pub fn event(org: &str, id: &str) -> String {
        list(&[org, id])
    }

    /// An index in the log as a sort key.
    pub fn place(index: u64) -> String {
        format!("{index:019}")
    }

    /// A tile as a sort key.
    pub fn tile(tile: Tile) -> String {
        format!("{}#{}", tile.level, place(tile.index))
    }

    /// The partition of an index: the org and the value looked for, as JSON.
    pub fn list(parts: &[&str]) -> String {
        serde_json::to_string(parts).unwrap_or_default()
    }

    /// The sort key of every index: the time of the event, then its place in the log.
    pub fn at(time: &str, index: u64) -> String {
        format!("{time}#{}", place(index))
    }
}

const _: () = assert!(2 + MAX_LEAF + SALT + 4 + MAX_PERSONAL <= MAX_BYTES);

#[cfg(test)]
mod tests {
    use super::{Chunk, MAX_BYTES, MAX_ENTRIES, bundle, fits};
    use crate::audit::leaf::{Leaf, Personal};
    use crate::audit::merkle::leaf_hash;

    fn leaf(n: usize, size: usize) -> Leaf {
        let json = "x".repeat(size);
        Leaf { bytes: n.to_be_bytes().to_vec(), personal: (size > 0).then_some(Personal { salt: [3; 16], json }) }
    }

    #[test]
    fn entries_come_back_out_of_a_chunk() {
        let leaves: Vec<Leaf> = (0..98).map(|n| leaf(n, n * 10)).collect();
        let mut chunk = Chunk::new(&leaves).unwrap();
        assert_eq!(chunk.leaves().unwrap(), leaves);
        assert_eq!(chunk.hashes().unwrap()[97], leaf_hash(&leaves[97].bytes));
        assert_eq!(&bundle(leaves.iter())[..10], [0, 8, 0, 0, 0, 0, 0, 0, 0, 0]);
        chunk.count = 97;
        assert!(chunk.leaves().is_err() && chunk.hashes().is_err());
        chunk.data[20] ^= 1;
        assert!(chunk.leaves().is_err());
    }

    #[test]
    fn what_unpacks_to_more_than_a_chunk_is_refused() {
        let mut chunk = Chunk::new(&[leaf(1, 1)]).unwrap();
        chunk.data = zstd::bulk::compress(&vec![0; MAX_BYTES + 1], 3).unwrap().into();
        assert!(chunk.leaves().is_err());
    }

    #[test]
    fn a_chunk_takes_as_many_as_fit() {
        let small: Vec<Leaf> = (0..200).map(|n| leaf(n, 100)).collect();
        assert_eq!([fits(&small, 200), fits(&small, 5)], [MAX_ENTRIES, 5]);
        let large: Vec<Leaf> = (0..200).map(|n| leaf(n, 60_000)).collect();
        assert_eq!(fits(&large, 200), 5);
    }
}
