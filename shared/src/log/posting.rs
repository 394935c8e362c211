//! Postings: which blocks have lines of a trace.
//!
//! One item for every trace and block would cost more than the blocks themselves. A posting therefore holds the traces of
//! many blocks that begin with the same byte; whoever looks for a trace reads one partition.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;

use super::Damaged;
use super::key::{Id, Place};

/// The most bytes of a posting: with its keys it is one write unit (1 KB).
const MAX_BYTES: usize = 880;
/// Bytes of a trace id that an entry holds: those behind the first. What they leave out is decided by the block itself.
const SUFFIX: usize = 8;
/// A suffix, and which of the blocks.
const ENTRY: usize = SUFFIX + 1;
/// A time and an id.
const PLACE: usize = 8 + 16;

/// A trace id.
pub type TraceId = [u8; 16];

/// Traces that begin with the same byte, and where they are.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Posting {
    /// Each 24 bytes: the time of the block's last line (big endian) and its id.
    #[prost(bytes = "vec", tag = "1")]
    blocks: Vec<u8>,
    /// Each 9 bytes: eight of the trace id, and which of `blocks`.
    #[prost(bytes = "vec", tag = "2")]
    entries: Vec<u8>,
}

/// The postings of some blocks, each under the first byte of its traces.
pub fn postings(blocks: &BTreeMap<Place, BTreeSet<TraceId>>) -> Vec<(u8, Posting)> {
    let mut open = BTreeMap::<u8, Posting>::new();
    let mut full = Vec::new();
    for (place, traces) in blocks {
        for trace in traces {
            let [prefix, ..] = *trace;
            let posting = open.entry(prefix).or_default();
            if !posting.has_room(place) {
                full.push((prefix, std::mem::take(posting)));
            }
            posting.add(place, trace);
        }
    }
    full.extend(open);
    full
}

impl Posting {
    /// The time of the last line of all its blocks.
    pub fn last(&self) -> u64 {
        self.places().map(|place| place.last).max().unwrap_or_default()
    }

    /// The blocks that hold `trace`.
    pub fn find(&self, trace: &TraceId) -> impl Iterator<Item = Place> {
        let places: Vec<Place> = self.places().collect();
        let suffix = suffix(trace);
        self.entries.chunks_exact(ENTRY).filter_map(move |entry| {
            let (found, at) = entry.split_at_checked(SUFFIX)?;
            let at = usize::from(*at.first()?);
            (found == suffix).then(|| places.get(at).copied())?
        })
    }

    /// Reads the stored form.
    ///
    /// # Errors
    /// When it is not what was written.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Damaged> {
        Self::decode(bytes).map_err(|_| Damaged("a posting cannot be read"))
    }

    /// The stored form, and the name of this content.
    pub fn to_bytes(&self) -> (Vec<u8>, Id) {
        let bytes = self.encode_to_vec();
        let id = Id::of(&bytes);
        (bytes, id)
    }

    fn places(&self) -> impl Iterator<Item = Place> {
        self.blocks.chunks_exact(PLACE).filter_map(|place| {
            let (last, id) = place.split_at_checked(8)?;
            Some(Place { last: u64::from_be_bytes(last.try_into().ok()?), id: Id(id.try_into().ok()?) })
        })
    }

    fn has_room(&self, place: &Place) -> bool {
        let new = if self.places().last() == Some(*place) { 0 } else { PLACE };
        self.blocks.len() + self.entries.len() + ENTRY + new <= MAX_BYTES
    }

    fn add(&mut self, place: &Place, trace: &TraceId) {
        if self.places().last() != Some(*place) {
            self.blocks.extend(place.last.to_be_bytes());
            self.blocks.extend(place.id.0);
        }
        self.entries.extend(suffix(trace));
        // Far fewer than 256 fit.
        self.entries.push(u8::try_from(self.blocks.len() / PLACE - 1).unwrap_or(u8::MAX));
    }
}

fn suffix(trace: &TraceId) -> [u8; SUFFIX] {
    let [_, suffix @ .., _, _, _, _, _, _, _] = *trace;
    suffix
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::{MAX_BYTES, Posting, postings};
    use crate::log::key::{Id, Place};

    fn trace(n: u64) -> [u8; 16] {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&n.to_le_bytes());
        id
    }

    fn place(n: u64) -> Place {
        Place { last: n, id: Id::of(&n.to_be_bytes()) }
    }

    #[test]
    fn every_trace_leads_to_its_blocks_and_no_others() {
        // A trace of each number, and one that is in every block.
        let traces = |n: u64| (0..60).map(|m| trace(n * 60 + m)).chain([trace(u64::MAX)]).collect::<BTreeSet<_>>();
        let blocks: BTreeMap<_, _> = (0..96).map(|n| (place(n), traces(n))).collect();
        let made = postings(&blocks);
        let found = |wanted: [u8; 16]| -> BTreeSet<Place> {
            let of_prefix = made.iter().filter(|(prefix, _)| *prefix == wanted[0]);
            of_prefix.flat_map(|(_, posting)| posting.find(&wanted).collect::<Vec<_>>()).collect()
        };
        for n in [0, 59, 60, 5_759] {
            assert_eq!(found(trace(n)), [place(n / 60)].into(), "{n}");
        }
        assert_eq!(found(trace(u64::MAX)).len(), 96);
        assert!(found(trace(5_760)).is_empty());
        assert!(made.len() < 400, "{} postings of {} entries", made.len(), 96 * 61);
    }

    #[test]
    fn postings_stay_small_and_are_read_back() {
        let many = (0..2_000).map(|n| (place(n), BTreeSet::from([trace(n * 256)]))).collect();
        for (prefix, posting) in postings(&many) {
            let (bytes, id) = posting.to_bytes();
            assert!(prefix == 0 && bytes.len() <= MAX_BYTES + 8);
            assert_eq!(id, Id::of(&bytes));
            assert_eq!(Posting::from_bytes(&bytes), Ok(posting));
        }
        assert!(Posting::from_bytes(b"\xff").is_err());
    }
}
