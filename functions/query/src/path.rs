//! The paths of tiles and entry bundles in tlog-tiles: one spelling each, so that caches keep one copy.

use echo_shared::audit::merkle::{TILE_WIDTH, Tile};

/// More elements than any index of 64 bits has.
const MAX_ELEMENTS: usize = 7;

/// A tile, and how much of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TilePath {
    /// Which.
    pub tile: Tile,
    /// 256 for a full one.
    pub width: u64,
}

impl TilePath {
    /// Reads `<L>/<N>` or `<L>/<N>.p/<W>`.
    pub(crate) fn tile(path: &str) -> Option<Self> {
        let (level, rest) = path.split_once('/')?;
        let level = number(level).filter(|level| *level < 64)?;
        Self::of(u32::try_from(level).ok()?, rest)
    }

    /// Reads the `<N>` or `<N>.p/<W>` of an entry bundle, which lies under the tile of level 0.
    pub(crate) fn entries(path: &str) -> Option<Self> {
        Self::of(0, path)
    }

    fn of(level: u32, path: &str) -> Option<Self> {
        let (index, width) = match path.split_once(".p/") {
            Some((index, width)) => (index, number(width).filter(|width| (1..TILE_WIDTH).contains(width))?),
            None => (path, TILE_WIDTH),
        };
        Some(Self { tile: Tile { level, index: self::index(index)? }, width })
    }
}

/// Three digits an element; all but the last begin with an `x`, the first is not `x000`.
fn index(path: &str) -> Option<u64> {
    let elements: Vec<&str> = path.split('/').collect();
    let (last, leading) = elements.split_last()?;
    if leading.len() >= MAX_ELEMENTS || leading.first() == Some(&"x000") {
        return None;
    }
    let leading = leading.iter().map(|element| element.strip_prefix('x'));
    leading.chain([Some(*last)]).try_fold(0u64, |index, element| {
        let element = element.filter(|digits| digits.len() == 3 && is_digits(digits))?;
        index.checked_mul(1_000)?.checked_add(element.parse().ok()?)
    })
}

/// A number without a sign or zeroes in front.
pub(crate) fn number(text: &str) -> Option<u64> {
    let plain = is_digits(text) && (text == "0" || !text.starts_with('0'));
    plain.then(|| text.parse().ok())?
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::{TilePath, number};

    fn tile(path: &str) -> Option<(u32, u64, u64)> {
        TilePath::tile(path).map(|path| (path.tile.level, path.tile.index, path.width))
    }

    #[test]
    fn the_specifications_spelling_is_read() {
        assert_eq!(tile("0/x001/x234/067"), Some((0, 1_234_067, 256)));
        assert_eq!(tile("1/000"), Some((1, 0, 256)));
        assert_eq!(tile("63/x999/000.p/255"), Some((63, 999_000, 255)));
        assert_eq!(tile("0/x001/000.p/1"), Some((0, 1_000, 1)));
        let bundle = TilePath::entries("x001/x234/067.p/8").unwrap();
        assert_eq!((bundle.tile.level, bundle.tile.index, bundle.width), (0, 1_234_067, 8));
    }

    #[test]
    fn every_other_spelling_is_refused() {
        for bad in [
            "",
            "0",
            "0/",
            "/000",
            "64/000",
            "00/000",
            "-1/000",
            "+1/000",
            "0/0",
            "0/0000",
            "0/x000/001",
            "0/x001",
            "0/x001/x002",
            "0/001/002",
            "0/X001/002",
            "0/x01/002",
            "0/+01",
            "0/000/",
            "0/000.p",
            "0/000.p/",
            "0/000.p/0",
            "0/000.p/256",
            "0/000.p/01",
            "0/000.p/+1",
            "0/000.p/1/",
            "0/000.p/1.p/1",
            "0/x999/x999/x999/x999/x999/x999/999",
            "0/x001/x000/x000/x000/x000/x000/x000/000",
            "0/\u{661}\u{661}\u{661}",
            "entries/000",
        ] {
            assert_eq!(tile(bad), None, "{bad}");
        }
    }

    #[test]
    fn numbers_have_one_spelling() {
        assert_eq!([number("0"), number("10"), number("18446744073709551615")], [Some(0), Some(10), Some(u64::MAX)]);
        for bad in ["", "01", "+1", "-1", " 1", "1e3", "18446744073709551616"] {
            assert_eq!(number(bad), None, "{bad}");
        }
    }
}
