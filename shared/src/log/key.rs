//! Where everything lies in the table `log_store`.
//!
//! | item | `pk` | `sk` |
//! |---|---|---|
//! | header | `HEADER#{day}#{org}` | `{time of the last line}#{id}` |
//! | payload | `BLOCK#{id}#{org}` | `-` |
//! | posting | `TRACE#{first two digits}#{org}` | `{time of the last line}#{hash}` |
//! | marker of a block that was folded | `SOURCE#{id}#{org}` | `-` |
//!
//! Times are nanoseconds since 1970 in 20 digits. Headers and payloads lie apart, since reading a part of an item costs
//! the whole. Whatever moves payloads elsewhere, such as to S3, leaves headers where they are.

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};

use crate::telemetry::hex;

/// The sort key of items that are alone in their partition.
pub const ALONE: &str = "-";
/// Nanoseconds of a second.
pub const SECOND: u64 = 1_000_000_000;
/// Nanoseconds of an hour: no block spans more than one.
pub const HOUR: u64 = 3_600 * SECOND;
/// Nanoseconds of a day.
pub const DAY: u64 = 24 * HOUR;

/// The name of a block: the first half of the SHA-256 hash of what is stored.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id(pub [u8; 16]);

impl Id {
    /// The name of this content.
    pub fn of(data: &[u8]) -> Self {
        let mut id = [0; 16];
        id.iter_mut().zip(digest(&SHA256, data).as_ref()).for_each(|(to, from)| *to = *from);
        Self(id)
    }

    /// Reads 32 lower-case hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        unhex(text).map(Self)
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Reads exactly as many lower-case hexadecimal digits as fill `N` bytes.
pub fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.as_bytes();
    let lower = |digit: &u8| matches!(digit, b'0'..=b'9' | b'a'..=b'f');
    if digits.len() != 2 * N || !digits.iter().all(lower) {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}

/// Which block, and where its header is. In the order of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The time of the block's last line.
    pub last: u64,
    /// The block.
    pub id: Id,
}

impl Place {
    /// The header's sort key.
    pub fn sort(&self) -> String {
        format!("{}#{}", time(self.last), self.id)
    }

    /// Reads a header's sort key.
    pub fn parse(sort: &str) -> Option<Self> {
        let (last, id) = sort.split_once('#')?;
        let last = Some(last).filter(|digits| digits.len() == 20)?.parse().ok()?;
        Some(Self { last, id: Id::parse(id)? })
    }
}

/// The partition of the headers of a day, counted from 1970-01-01 in UTC.
pub fn headers(org: &str, day: u64) -> String {
    format!("HEADER#{day:06}#{org}")
}

/// The partition of a payload.
pub fn payload(org: &str, id: &Id) -> String {
    format!("BLOCK#{id}#{org}")
}

/// The partition of the marker of a block that was folded into another.
pub fn source(org: &str, id: &Id) -> String {
    format!("SOURCE#{id}#{org}")
}

/// The partition of the postings of all traces that begin with this byte.
pub fn postings(org: &str, prefix: u8) -> String {
    format!("TRACE#{prefix:02x}#{org}")
}

/// A time in a sort key.
pub fn time(nanos: u64) -> String {
    format!("{nanos:020}")
}

#[cfg(test)]
mod tests {
    use super::{Id, Place, unhex};

    #[test]
    fn places_sort_by_time_and_are_read_back() {
        let place = |last| Place { last, id: Id::of(b"x") };
        let sorts = [9, 10, u64::MAX].map(|last| place(last).sort());
        assert!(sorts.is_sorted());
        assert_eq!(Place::parse(&sorts[1]), Some(place(10)));
        for bad in ["", "#", "1#2", &sorts[1].to_uppercase(), sorts[1].get(1..).unwrap()] {
            assert_eq!(Place::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn hexadecimal_has_one_spelling() {
        assert_eq!(unhex("00ff"), Some([0, 255]));
        assert_eq!([unhex::<2>("00fF"), unhex("00f"), unhex("+0ff"), unhex("00ffff")], [None; 4]);
    }
}
