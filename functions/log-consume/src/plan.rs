//! Planning: which blocks are stored as they are, and which are folded together.

use std::collections::BTreeMap;

use echo_shared::log::header::Kinds;
use echo_shared::log::key::Place;

use crate::piece::Piece;

/// Blocks of fewer compressed bytes are folded. Never to be changed while messages are on their way: a block that was
/// stored as it is must not be folded when it comes again.
const SMALL: usize = 16_000;
/// The most bytes of a fold, unpacked; a block that alone has more is a fold of its own.
const MAX_RAW: usize = 262_144;
/// Blocks of one fold: with header and payload, fewer than the 100 writes of a transaction.
const MAX_SOURCES: usize = 90;

/// What is to be done with a batch.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Plan {
    /// Stored as they are.
    pub large: Vec<Piece>,
    /// Folded, each of them into one.
    pub folds: Vec<Vec<Piece>>,
}

/// Plans a batch. The same block twice is one block with two messages; the same blocks make the same folds, in whatever
/// order they came.
pub(crate) fn plan(records: Vec<(String, Piece)>) -> Plan {
    let mut pieces: BTreeMap<(String, u64, u32, Place), Piece> = BTreeMap::new();
    for (message, piece) in records {
        let order = (piece.org.clone(), piece.hour(), piece.days, piece.place());
        pieces.entry(order).or_insert(piece).messages.push(message);
    }
    let mut plan = Plan::default();
    let mut kinds = Kinds::default();
    for piece in pieces.into_values() {
        if piece.block.data.len() >= SMALL {
            plan.large.push(piece);
            continue;
        }
        match plan.folds.last_mut() {
            Some(fold) if takes(fold, &piece) && kinds.join(&piece.header) => fold.push(piece),
            _ => {
                kinds = Kinds::default();
                kinds.join(&piece.header);
                plan.folds.push(vec![piece]);
            }
        }
    }
    plan
}

/// Whether a block may be folded with these, but for its kinds.
fn takes(fold: &[Piece], piece: &Piece) -> bool {
    let of = |piece: &Piece| (piece.org.clone(), piece.hour(), piece.days);
    let bytes = |piece: &Piece| usize::try_from(piece.header.raw).unwrap_or(usize::MAX);
    let raw = fold.iter().chain([piece]).map(bytes).fold(0, usize::saturating_add);
    fold.len() < MAX_SOURCES && raw <= MAX_RAW && fold.first().is_some_and(|first| of(first) == of(piece))
}

#[cfg(test)]
mod tests {
    use echo_shared::log::block::Block;
    use echo_shared::log::header::{Count, MAX_SERVICES};
    use echo_shared::log::key::{HOUR, SECOND};

    use super::{MAX_RAW, MAX_SOURCES, Plan, SMALL, plan};
    use crate::piece::Piece;
    use crate::piece::tests::piece;

    /// Plans blocks that came in messages `0`, `1`, ….
    fn planned(pieces: Vec<Piece>) -> Plan {
        plan(pieces.into_iter().enumerate().map(|(number, piece)| (number.to_string(), piece)).collect())
    }

    fn sizes(plan: &Plan) -> Vec<usize> {
        plan.folds.iter().map(Vec::len).collect()
    }

    /// Another block of this many bytes packed and unpacked.
    fn of_size(number: u64, packed: usize, raw: usize) -> Piece {
        let mut piece = piece("web", HOUR + number * SECOND, 1);
        let mut data = vec![7; packed];
        data[..8].copy_from_slice(&number.to_be_bytes());
        piece.block = Block::of(data);
        piece.header.raw = raw.try_into().unwrap();
        piece
    }

    #[test]
    fn every_block_is_planned_once() {
        let pieces: Vec<_> = (0..40).map(|n| of_size(n, if n % 3 == 0 { SMALL } else { SMALL - 1 }, 20_000)).collect();
        let plan = planned(pieces.clone());
        assert!(plan.large.iter().all(|piece| piece.block.data.len() == SMALL));
        assert!(plan.folds.iter().flatten().all(|piece| piece.block.data.len() < SMALL));
        let all = plan.large.iter().chain(plan.folds.iter().flatten());
        let mut found: Vec<_> = all.map(|piece| (piece.place(), piece.messages.clone())).collect();
        found.sort();
        let expected = pieces.iter().enumerate().map(|(number, piece)| (piece.place(), vec![number.to_string()]));
        assert_eq!(found, expected.collect::<Vec<_>>());
    }

    #[test]
    fn the_same_blocks_make_the_same_folds() {
        let pieces: Vec<_> = (0..30).map(|n| piece("web", HOUR + n * SECOND, 3)).collect();
        let places = |pieces: Vec<Piece>| {
            let folds = planned(pieces).folds.into_iter();
            folds.map(|fold| fold.iter().map(Piece::place).collect::<Vec<_>>()).collect::<Vec<_>>()
        };
        assert_eq!(places(pieces.iter().rev().cloned().collect()), places(pieces));
    }

    #[test]
    fn a_block_that_came_twice_is_one_with_two_messages() {
        let small = piece("web", HOUR, 1);
        let plan = planned(vec![small.clone(), of_size(1, SMALL, 1), small, of_size(1, SMALL, 1)]);
        assert_eq!(plan.folds.iter().flatten().map(|piece| piece.messages.join(" ")).collect::<Vec<_>>(), ["0 2"]);
        assert_eq!(plan.large.iter().map(|piece| piece.messages.join(" ")).collect::<Vec<_>>(), ["1 3"]);
    }

    #[test]
    fn only_blocks_of_one_org_hour_and_retention_are_folded() {
        let first = piece("web", HOUR, 1);
        let others = [
            Piece { org: "other".into(), ..first.clone() },
            Piece { days: 31, ..first.clone() },
            piece("web", 2 * HOUR, 1),
        ];
        assert_eq!(sizes(&planned([vec![first], others.to_vec()].concat())), [1; 4]);
    }

    #[test]
    fn folds_are_bounded() {
        let third = MAX_RAW / 3;
        let bytes = |sizes: &[usize]| (0..).zip(sizes).map(|(n, raw)| of_size(n, 100, *raw)).collect::<Vec<_>>();
        assert_eq!(sizes(&planned(bytes(&[third, third, third, 2]))), [3, 1]);
        assert_eq!(sizes(&planned(bytes(&[1, 2 * MAX_RAW, 1]))), [1, 1, 1]);
        let many = (0..2 * MAX_SOURCES as u64 + 1).map(|n| of_size(n, 100, 10)).collect();
        assert_eq!(sizes(&planned(many)), [MAX_SOURCES, MAX_SOURCES, 1]);
        let of_service = |n: usize| piece(&n.to_string(), HOUR + n as u64 * SECOND, 1);
        assert_eq!(sizes(&planned((0..=MAX_SERVICES).map(of_service).collect())), [MAX_SERVICES, 1]);
        // Thirty minutes of two services are sixty kinds.
        let minutes = |number: u64| {
            let mut piece = of_size(number, 100, 10);
            piece.header.services = vec![number.to_string()];
            let count = |minute| Count { service: 0, severity: 3, minute, lines: 1 };
            piece.header.counts = (0..30).map(count).collect();
            piece
        };
        assert_eq!(sizes(&planned((0..4).map(minutes).collect())), [2, 2]);
    }
}
