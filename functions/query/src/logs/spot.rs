//! Where lines stand, and where a list of them goes on.

use echo_shared::log::key::{self, HOUR, Id, Place};

use crate::path::number;

/// The place of a line in the order of all lines. Bounds are spots too, whether or not a line stands there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Spot {
    /// Its time, nanoseconds since 1970.
    pub time: u64,
    /// Its block.
    pub block: Id,
    /// Which line of the block.
    pub index: u32,
}

impl Spot {
    /// Above all lines before `time`, below all others.
    pub(crate) fn at(time: u64) -> Self {
        Self { time, block: Id([0; 16]), index: 0 }
    }

    /// Above all lines of a block and of the blocks behind it, which have a lesser place.
    pub(crate) fn above(place: Place) -> Self {
        Self { time: place.last, block: place.id, index: u32::MAX }
    }

    /// Above all lines of the blocks behind this one.
    pub(crate) fn behind(place: Place) -> Self {
        Self { index: 0, ..Self::above(place) }
    }

    /// The newest time that a line below can have.
    pub(crate) fn newest(self) -> u64 {
        if self == Self::at(self.time) { self.time.saturating_sub(1) } else { self.time }
    }

    /// The least `to` that lets all lines below pass, and some others of the same moment.
    pub(crate) fn end(self) -> u64 {
        self.newest().saturating_add(1)
    }

    /// The block, or the posting, that is named.
    pub(crate) fn place(self) -> Place {
        Place { last: self.time, id: self.block }
    }

    /// The form in cursors: three parts.
    pub(crate) fn text(self) -> String {
        format!("{}#{}#{}", key::time(self.time), self.block, self.index)
    }

    /// Reads that form.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (place, index) = text.rsplit_once('#')?;
        let Place { last, id } = Place::parse(place)?;
        Some(Self { time: last, block: id, index: u32::try_from(number(index)?).ok()? })
    }
}

/// Where a list goes on: with all lines below one spot that are in blocks behind another.
///
/// Nearly always `below` alone tells. `behind` leaves out blocks that were looked at in vain: without it, a search
/// would read them again on every page and might never get past them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    /// Lines at or above this spot are done.
    pub below: Spot,
    /// So are the lines of blocks at or above this one; of the block itself, those from `index` on.
    pub behind: Spot,
    /// Whether too many blocks lie over each other here to bring their lines into one order.
    pub apart: bool,
}

impl Mark {
    /// All lines below a spot.
    pub(crate) fn all(below: Spot) -> Self {
        // Lines of one block lie in one hour, so blocks of the hour may reach below, later ones cannot.
        let hour = below.newest() / HOUR;
        Self { below, behind: Spot::at(hour.saturating_add(1).saturating_mul(HOUR)), apart: false }
    }

    /// The same list, but nothing at or above `below`.
    pub(crate) fn cut(self, below: Spot) -> Self {
        let below = self.below.min(below);
        Self { below, behind: self.behind.min(Self::all(below).behind), ..self }
    }

    /// Whether a line of the block at `place` is still to come.
    pub(crate) fn leaves(&self, place: Place, spot: Spot) -> bool {
        spot < self.below && Spot { time: place.last, ..spot } < self.behind
    }

    /// The form in cursors.
    pub(crate) fn text(&self) -> String {
        let way = if self.apart { 'a' } else { 'm' };
        format!("{way}#{}#{}", self.below.text(), self.behind.text())
    }

    /// Reads that form.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (way, rest) = text.split_once('#')?;
        let apart = match way {
            "a" => true,
            "m" => false,
            _ => return None,
        };
        let mut parts = rest.match_indices('#').map(|(at, _)| at);
        let (below, behind) = rest.split_at_checked(parts.nth(2)?)?;
        Some(Self { below: Spot::parse(below)?, behind: Spot::parse(behind.strip_prefix('#')?)?, apart })
    }
}

#[cfg(test)]
mod tests {
    use echo_shared::log::key::{HOUR, Id, Place};

    use super::{Mark, Spot};

    fn spot(time: u64, block: u8, index: u32) -> Spot {
        Spot { time, block: Id([block; 16]), index }
    }

    #[test]
    fn bounds_lie_between_blocks() {
        let place = Place { last: 7, id: Id([5; 16]) };
        assert!(Spot::at(7) < Spot::behind(place) && Spot::behind(place) < Spot::above(place));
        assert!(spot(7, 5, 9) < Spot::above(place) && spot(7, 5, 9) > Spot::behind(place));
        assert!(spot(7, 4, 9) < Spot::behind(place) && spot(7, 6, 0) > Spot::above(place));
        assert_eq!([Spot::at(7).newest(), spot(7, 0, 1).newest(), Spot::at(0).newest()], [6, 7, 0]);
        assert_eq!([Spot::at(7).end(), Spot::above(place).end(), Spot::behind(place).end()], [7, 8, 8]);
    }

    #[test]
    fn marks_survive_and_junk_does_not() {
        for apart in [true, false] {
            let mark = Mark { apart, ..Mark::all(spot(9, 2, 4)) };
            assert_eq!(Mark::parse(&mark.text()), Some(mark));
        }
        let text = Mark::all(spot(9, 2, 4)).text();
        let (other, longer) = (text.replace("m#", "x#"), format!("{text}#"));
        for bad in ["", "m", "m#", "m#1#2#3#4#5#6", text.trim_start_matches("m#"), &other, &longer] {
            assert_eq!(Mark::parse(bad), None, "{bad}");
        }
        assert_eq!(Mark::parse(&text.replace("#4#", "#04#")), None);
        assert_eq!(Mark::parse(&text.replace("#4#", "#4294967296#")), None);
    }

    #[test]
    fn a_mark_leaves_what_is_below_it_in_blocks_behind_it() {
        let mark = Mark { below: spot(50, 5, 5), behind: spot(80, 5, 5), apart: false };
        let place = |last, id| Place { last, id: Id([id; 16]) };
        assert!(mark.leaves(place(80, 5), spot(40, 5, 4)) && mark.leaves(place(79, 9), spot(50, 4, 9)));
        assert!(!mark.leaves(place(80, 5), spot(40, 5, 5)) && !mark.leaves(place(81, 1), spot(40, 1, 0)));
        assert!(!mark.leaves(place(79, 9), spot(50, 9, 0)));
    }

    #[test]
    fn a_list_starts_with_the_blocks_of_its_first_hour() {
        assert_eq!(Mark::all(Spot::at(HOUR)).behind, Spot::at(HOUR));
        assert_eq!(Mark::all(Spot::at(HOUR + 1)).behind, Spot::at(2 * HOUR));
        let cut = Mark::all(Spot::at(5 * HOUR)).cut(Spot::at(2 * HOUR + 1));
        assert_eq!((cut.below, cut.behind), (Spot::at(2 * HOUR + 1), Spot::at(3 * HOUR)));
        assert_eq!(cut.cut(Spot::at(4 * HOUR)), cut);
    }
}
