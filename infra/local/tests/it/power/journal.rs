//! The journal of `unsynced.c`, and what a power failure makes of the files.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

/// The size of `struct entry`: six numbers.
const ENTRY: usize = 48;
/// What a disk writes whole or not at all.
const SECTOR: u64 = 512;

/// The files below a folder, by their inodes.
pub fn files(folder: &Path) -> BTreeMap<u64, PathBuf> {
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        match entry.metadata() {
            Ok(found) if found.is_dir() => files.extend(self::files(&entry.path())),
            Ok(found) if found.is_file() => drop(files.insert(found.ino(), entry.path())),
            _ => {}
        }
    }
    files
}

/// What the shim wrote down, in order. A place is a byte of it, and so is a moment.
#[derive(Default)]
pub struct Journal {
    changes: Vec<Change>,
    syncs: Vec<Sync>,
}

/// A change to a file.
struct Change {
    inode: u64,
    place: u64,
    at: u64,
    /// 0 when the file's size alone was changed.
    count: u64,
    size: u64,
    old: Vec<u8>,
}

/// From its place on, the inode's changes before `until` are durable.
struct Sync {
    inode: u64,
    place: u64,
    until: u64,
}

impl Journal {
    pub fn read(path: &Path) -> Self {
        let bytes = std::fs::read(path).unwrap();
        let mut journal = Self::default();
        let mut rest = bytes.as_slice();
        while let Some((head, after)) = rest.split_at_checked(ENTRY) {
            let place = (bytes.len() - rest.len()) as u64;
            let number = |n: usize| u64::from_ne_bytes(head[8 * n..][..8].try_into().unwrap());
            let (inode, at) = (number(0), number(2));
            // The last entry may be cut off; then its change was never made.
            let Some((old, after)) = after.split_at_checked(number(5) as usize) else { break };
            rest = after;
            if number(1) == 1 {
                journal.syncs.push(Sync { inode, place, until: at });
            } else {
                let (count, size, old) = (number(3), number(4), old.to_vec());
                journal.changes.push(Change { inode, place, at, count, size, old });
            }
        }
        journal
    }

    /// How many changes are not synced right after each change.
    fn unsynced(&self) -> Vec<(u64, usize)> {
        let mut syncs = self.syncs.iter().peekable();
        let mut unsynced = Vec::new();
        let count = self.changes.iter().map(|change| {
            while let Some(sync) = syncs.next_if(|sync| sync.place < change.place) {
                unsynced.retain(|&(inode, place)| inode != sync.inode || place >= sync.until);
            }
            unsynced.push((change.inode, change.place));
            (change.place + 1, unsynced.len())
        });
        count.collect()
    }

    /// The most changes that are not synced at any moment.
    pub fn most(&self) -> usize {
        self.unsynced().into_iter().map(|(_, count)| count).max().unwrap_or_default()
    }

    /// The last moment when at least half as many are not synced.
    pub fn bad_moment(&self) -> u64 {
        let most = self.most();
        let bad = self.unsynced().into_iter().rfind(|(_, count)| 2 * count >= most);
        bad.map(|(moment, _)| moment).unwrap_or_default()
    }

    /// Up to where the inodes' changes are durable at a moment.
    fn durable(&self, moment: u64) -> BTreeMap<u64, u64> {
        let mut durable = BTreeMap::new();
        for sync in self.syncs.iter().filter(|sync| sync.place < moment) {
            let until = durable.entry(sync.inode).or_insert(0);
            *until = sync.until.max(*until);
        }
        durable
    }

    /// Makes of the files below `folder` what they are when the power fails at a moment: of what was written before and
    /// is not synced, sectors and sizes are there if `survives` says so.
    pub fn fail(&self, folder: &Path, moment: u64, mut survives: impl FnMut() -> bool) {
        let durable = self.durable(moment);
        let files: BTreeMap<u64, File> = files(folder).into_iter().map(|(inode, path)| (inode, open(&path))).collect();
        let mut undone = Vec::new();
        for change in self.changes.iter().rev() {
            let lasts = change.place < moment && durable.get(&change.inode).is_some_and(|until| change.place < *until);
            if let Some(file) = files.get(&change.inode).filter(|_| !lasts) {
                undone.push((file, change, change.undo(file)));
            }
        }
        for (file, change, made) in undone.iter().rev().filter(|(_, change, _)| change.place < moment) {
            change.redo(file, made, &mut survives);
        }
    }
}

fn open(path: &Path) -> File {
    File::options().read(true).write(true).open(path).unwrap()
}

/// What a change had made of a file: its bytes, and the file's size.
struct Made {
    new: Vec<u8>,
    size: u64,
}

impl Change {
    fn undo(&self, file: &File) -> Made {
        let size = file.metadata().unwrap().len();
        let mut new = vec![0; size.saturating_sub(self.at).min(self.count) as usize];
        file.read_exact_at(&mut new, self.at).unwrap();
        file.write_all_at(&self.old, self.at).unwrap();
        file.set_len(self.size).unwrap();
        Made { new, size }
    }

    fn redo(&self, file: &File, made: &Made, mut survives: impl FnMut() -> bool) {
        if self.count == 0 && survives() {
            file.set_len(made.size).unwrap();
        }
        let (mut at, mut rest) = (self.at, made.new.as_slice());
        while !rest.is_empty() {
            let (sector, after) = rest.split_at(rest.len().min((SECTOR - at % SECTOR) as usize));
            if survives() {
                file.write_all_at(sector, at).unwrap();
            }
            at += sector.len() as u64;
            rest = after;
        }
    }
}

/// For [`Journal::fail`].
pub fn nothing() -> bool {
    false
}

/// One half, by a seed: splitmix64. For [`Journal::fail`].
pub fn half(seed: u64) -> impl FnMut() -> bool {
    let mut state = seed;
    move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) & 1 == 1
    }
}
