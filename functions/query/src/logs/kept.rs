//! The first lines of those that were found: no more than a page takes, in number and in bytes.

use std::collections::BTreeMap;

use serde_json::Value;

/// What a page may still take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    /// Lines.
    pub lines: usize,
    /// Bytes of them. One line is taken in any case.
    pub bytes: usize,
}

/// Lines in the order of `K`.
pub(crate) struct Kept<K> {
    /// Each with its bytes.
    lines: BTreeMap<K, (Value, usize)>,
    bytes: usize,
    /// Whether there were lines behind these for which there was no room.
    pub dropped: bool,
}

impl<K: Ord + Copy> Kept<K> {
    /// No lines.
    pub(crate) fn new() -> Self {
        Self { lines: BTreeMap::new(), bytes: 0, dropped: false }
    }

    /// Keeps a line, for which others behind it may have to give way; `false` when those before it leave no room. Only
    /// what is kept is rendered.
    pub(crate) fn add(&mut self, key: K, room: Room, render: impl FnOnce() -> Value) -> bool {
        if self.dropped && self.lines.last_key_value().is_some_and(|(last, _)| key > *last) {
            return false;
        }
        let line = render();
        let bytes = line.to_string().len();
        self.bytes += bytes;
        self.lines.insert(key, (line, bytes));
        while self.lines.len() > room.lines || (self.lines.len() > 1 && self.bytes > room.bytes) {
            self.dropped = true;
            let Some((_, (_, bytes))) = self.lines.pop_last() else { break };
            self.bytes -= bytes;
        }
        true
    }

    /// Takes the first line, and how many bytes it has.
    pub(crate) fn pop(&mut self) -> Option<(K, Value, usize)> {
        let (key, (line, bytes)) = self.lines.pop_first()?;
        self.bytes -= bytes;
        Some((key, line, bytes))
    }

    /// The place of the first line.
    pub(crate) fn first(&self) -> Option<K> {
        self.lines.first_key_value().map(|(key, _)| *key)
    }

    /// How many lines there are.
    pub(crate) fn len(&self) -> usize {
        self.lines.len()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Kept, Room};

    /// What is kept of lines of eight bytes each with these keys.
    fn kept(keys: &[u64], room: Room) -> (Vec<u64>, bool) {
        let mut kept = Kept::new();
        for key in keys {
            kept.add(*key, room, || json!("123456"));
            assert!(kept.len() <= room.lines && (kept.len() == 1 || kept.bytes <= room.bytes));
        }
        let dropped = kept.dropped;
        (std::iter::from_fn(|| kept.pop()).map(|(key, ..)| key).collect(), dropped)
    }

    #[test]
    fn the_first_lines_stay_in_whatever_order_they_come() {
        for keys in [[1, 2, 3, 4], [4, 3, 2, 1], [3, 1, 4, 2]] {
            assert_eq!(kept(&keys, Room { lines: 2, bytes: 100 }), (vec![1, 2], true));
            assert_eq!(kept(&keys, Room { lines: 9, bytes: 24 }), (vec![1, 2, 3], true));
            assert_eq!(kept(&keys, Room { lines: 9, bytes: 1 }), (vec![1], true));
            assert_eq!(kept(&keys, Room { lines: 4, bytes: 32 }), (vec![1, 2, 3, 4], false));
        }
    }

    #[test]
    fn nothing_follows_what_was_dropped() {
        let mut kept = Kept::new();
        let room = Room { lines: 9, bytes: 20 };
        assert!(kept.add(1, room, || json!("x".repeat(10))) && kept.add(3, room, || json!("x".repeat(10))));
        // It would fit, but 3 comes before it.
        assert!(!kept.add(4, room, || json!(0)));
        assert_eq!((kept.first(), kept.len(), kept.dropped), (Some(1), 1, true));
    }
}
