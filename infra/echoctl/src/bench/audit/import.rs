//! A long log, made the quick way: the items that audit-consume would have inserted, put into the database in bulk.
//!
//! A test holds them against what audit-consume itself writes for the same events.

use std::path::Path;

use dynoxide::{AttributeValue, Database, ImportOptions, Item};
use echo_shared::audit::Entry;
use echo_shared::audit::chunk::{Chunk, Head, MAX_ENTRIES, fits, key};
use echo_shared::audit::leaf::{Leaf, SALT};
use echo_shared::audit::merkle::{Frontier, Hash, TILE_WIDTH, Tile, root};
use echo_shared::entropy::Entropy;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use super::super::report::say;
use super::made::Maker;
use crate::Failure;

/// Statements of a transaction.
const MAX_STATEMENTS: u64 = 100;
/// Entries that go into the database at once.
const PIECE: u64 = 20_000;
/// Pieces that wait for the database.
const WAITING: usize = 2;
/// Every so many pieces are told of.
const TOLD: u64 = 10;

/// What to make, and where.
pub struct Plan<'a> {
    /// The database's file.
    pub file: &'a Path,
    /// The tables of the log and of the heads.
    pub tables: (&'a str, &'a str),
    /// Whose log it is.
    pub org: &'a str,
    /// The hashes of the leaves that it has.
    pub leaves: Vec<Hash>,
    /// How many entries it is to have.
    pub size: u64,
    /// The events.
    pub events: Maker,
    /// Salts.
    pub salts: Entropy,
}

/// The log as it was made.
#[derive(Default)]
pub struct Made {
    /// The first index of each chunk.
    pub chunks: Vec<u64>,
    /// Some entries, from its whole length.
    pub some: Vec<Entry>,
}

/// What goes into the database at once.
struct Piece {
    items: Vec<Item>,
    head: Item,
    size: u64,
}

/// Makes the log longer. Its new head carries no checkpoint: the next append signs one.
///
/// # Errors
/// When the database cannot be written.
pub async fn run(plan: Plan<'_>) -> Result<Made, Failure> {
    let database = Database::new(&plan.file.to_string_lossy())?;
    database.enable_bulk_loading()?;
    let (log, heads) = (plan.tables.0.to_owned(), plan.tables.1.to_owned());
    let (ready, mut pieces) = mpsc::channel::<Piece>(WAITING);
    let writer = Writer::new(plan.org, &plan.leaves, plan.salts);
    let (events, size) = (plan.events, plan.size);
    let writing = spawn_blocking(move || writer.run(events, size, &ready));
    let mut told = 0;
    while let Some(Piece { items, head, size }) = pieces.recv().await {
        let (database, log, heads) = (database.clone(), log.clone(), heads.clone());
        let put = move || {
            database.import_items(&log, items, ImportOptions::default())?;
            database.import_items(&heads, vec![head], ImportOptions::default())
        };
        spawn_blocking(put).await??;
        if size / PIECE / TOLD > told {
            told = size / PIECE / TOLD;
            say(&format!("{size} of {} entries", plan.size));
        }
    }
    writing.await?
}

/// Writes chunks, markers and tiles, transaction by transaction.
struct Writer {
    org: String,
    salts: Entropy,
    frontier: Frontier,
    tiles: Tiles,
    made: Made,
}

impl Writer {
    fn new(org: &str, leaves: &[Hash], salts: Entropy) -> Self {
        let (mut frontier, mut tiles) = (Frontier::default(), Tiles::default());
        for leaf in leaves {
            frontier.push(*leaf);
            // Those that are full are stored already.
            tiles.push(*leaf);
        }
        Self { org: org.into(), salts, frontier, tiles, made: Made::default() }
    }

    fn run(mut self, mut events: Maker, size: u64, ready: &mpsc::Sender<Piece>) -> Result<Made, Failure> {
        let (mut entries, mut leaves) = (Vec::new(), Vec::new());
        let mut items = Vec::new();
        let mut due = self.frontier.size() + PIECE;
        while self.frontier.size() < size {
            let missing = usize::try_from(size - self.frontier.size())?;
            while leaves.len() < missing.min(MAX_ENTRIES) {
                let event = events.event();
                let entry = Entry::new(&event, event.time)?;
                leaves.push(Leaf::new(&entry, self.salts.bytes::<SALT>())?);
                entries.push(entry);
            }
            let count = room(self.frontier.size(), &leaves);
            let some: Vec<Entry> = entries.drain(..count).collect();
            self.append(&some, &leaves.drain(..count).collect::<Vec<_>>(), &mut items)?;
            if self.frontier.size() >= due || self.frontier.size() == size {
                due = self.frontier.size() + PIECE;
                let piece = Piece { items: std::mem::take(&mut items), head: self.head(), size: self.frontier.size() };
                ready.blocking_send(piece).map_err(|_| "the import was given up")?;
            }
        }
        Ok(self.made)
    }

    /// The items of one transaction, the head aside.
    fn append(&mut self, entries: &[Entry], leaves: &[Leaf], items: &mut Vec<Item>) -> Result<(), Failure> {
        let first = self.frontier.size();
        let chunk = Chunk::new(leaves)?;
        let hashes = chunk.hashes()?;
        items.push(chunk_item(&self.org, first, chunk));
        items.extend((first..).zip(entries).map(|(index, entry)| marker(entry, first, index)));
        for hash in hashes {
            self.frontier.push(hash);
            for (tile, hashes, root) in self.tiles.push(hash) {
                items.extend(tile_items(&self.org, tile, &hashes, root));
            }
        }
        self.made.chunks.push(first);
        self.made.some.extend(entries.first().cloned());
        Ok(())
    }

    fn head(&self) -> Item {
        let Self { org, frontier, .. } = self;
        let head = Head { size: frontier.size(), frontier: frontier.to_bytes().into(), checkpoint: String::new() };
        item([
            ("pk", text(key::head(org))),
            ("tree_size", number(head.size)),
            ("frontier", binary(head.frontier.into_vec())),
            ("checkpoint", text(head.checkpoint)),
        ])
    }
}

/// A tile that became full: its hashes, and the root over them.
type Full = (Tile, Vec<Hash>, Hash);

/// The partial tile of each level.
#[derive(Default)]
struct Tiles(Vec<(u64, Vec<Hash>)>);

impl Tiles {
    /// Adds a leaf, and tells which tiles are full now.
    fn push(&mut self, leaf: Hash) -> Vec<Full> {
        let (mut full, mut hash) = (Vec::new(), leaf);
        for level in 0.. {
            if self.0.len() == level {
                self.0.push((0, Vec::new()));
            }
            let Some((index, hashes)) = self.0.get_mut(level) else { break };
            hashes.push(hash);
            if (hashes.len() as u64) < TILE_WIDTH {
                break;
            }
            let tile = Tile { level: u32::try_from(level).unwrap_or(u32::MAX), index: *index };
            let hashes = std::mem::take(hashes);
            hash = root(&hashes);
            *index += 1;
            full.push((tile, hashes, hash));
        }
        full
    }
}

/// How many of `leaves` one transaction takes: each tile that becomes full needs two statements more.
fn room(size: u64, leaves: &[Leaf]) -> usize {
    let mut count = fits(leaves, MAX_ENTRIES);
    while count > 1 && 2 + count as u64 + 2 * full_after(size, count as u64) > MAX_STATEMENTS {
        count -= 1;
    }
    count
}

fn full_after(size: u64, count: u64) -> u64 {
    let (mut before, mut after, mut full) = (size, size + count, 0);
    while after > 0 {
        (before, after) = (before / TILE_WIDTH, after / TILE_WIDTH);
        full += after - before;
    }
    full
}

fn chunk_item(org: &str, first: u64, chunk: Chunk) -> Item {
    item([
        ("pk", text(key::chunks(org))),
        ("sk", text(key::place(first))),
        ("count", number(chunk.count)),
        ("hashes", binary(chunk.hashes.into_vec())),
        ("data", binary(chunk.data.into_vec())),
    ])
}

fn marker(entry: &Entry, first: u64, index: u64) -> Item {
    let by = |value: &str| text(key::list(&[&entry.org, value]));
    let mut marker = item([
        ("pk", text(key::event(&entry.org, &entry.id))),
        ("sk", text(entry.source.clone())),
        ("at", text(key::at(&entry.time, index))),
        ("chunk", text(key::place(first))),
        ("outcome", text(entry.record.outcome.as_str().into())),
        ("by_time", text(key::list(&[&entry.org]))),
        ("by_actor", by(&entry.record.actor.id)),
        ("by_action", by(&entry.record.action)),
    ]);
    if let Some(resource) = &entry.record.resource {
        marker.insert("by_resource".into(), by(&format!("{}/{}", resource.kind, resource.id)));
    }
    marker
}

fn tile_items(org: &str, tile: Tile, hashes: &[Hash], root: Hash) -> [Item; 2] {
    let place = || ("sk", text(key::tile(tile)));
    [
        item([("pk", text(key::tiles(org))), place(), ("hashes", binary(hashes.concat()))]),
        item([("pk", text(key::nodes(org))), place(), ("hash", binary(root.to_vec()))]),
    ]
}

fn item<const N: usize>(attributes: [(&str, AttributeValue); N]) -> Item {
    attributes.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn text(value: String) -> AttributeValue {
    AttributeValue::S(value)
}

fn number(value: u64) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

fn binary(value: Vec<u8>) -> AttributeValue {
    AttributeValue::B(value)
}

#[cfg(test)]
mod tests;
