//! Cursors of the log routes: the times of a list, and where it goes on.
//!
//! Times that were not given depend on the clock. A list that took them anew for every page would lose lines on the way.

use std::ops::Range;

use echo_shared::http::{Cursor, Problem};
use echo_shared::log::key;

use crate::filter::invalid;

/// Digits of a time.
const DIGITS: usize = 20;

/// The cursor of the page that goes on at `place`.
pub(crate) fn write(times: &Range<u64>, place: &str) -> String {
    Cursor(format!("{}~{}~{place}", key::time(times.start), key::time(times.end))).encode()
}

/// The times and the place of a cursor, if there is one.
///
/// # Errors
/// 400 when it is of another kind of list.
pub(crate) fn read<T>(
    cursor: Option<Cursor>,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<Option<(Range<u64>, T)>, Problem> {
    cursor.map(|Cursor(text)| split(&text, parse).ok_or_else(foreign)).transpose()
}

/// 400: the cursor does not belong to this list.
pub(crate) fn foreign() -> Problem {
    invalid("`cursor` is not of this list; keep all other parameters as they were")
}

fn split<T>(text: &str, parse: impl FnOnce(&str) -> Option<T>) -> Option<(Range<u64>, T)> {
    let (from, rest) = text.split_once('~')?;
    let (to, place) = rest.split_once('~')?;
    let times = time(from)?..time(to)?;
    (times.start <= times.end).then_some((times, parse(place)?))
}

fn time(text: &str) -> Option<u64> {
    Some(text).filter(|text| text.len() == DIGITS)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use echo_shared::http::Cursor;

    use super::super::spot::{Mark, Spot};
    use super::{read, write};

    fn text(cursor: &str) -> String {
        String::from_utf8(URL_SAFE_NO_PAD.decode(cursor).unwrap()).unwrap()
    }

    #[test]
    fn cursors_keep_times_and_place() {
        let mark = Mark::all(Spot::at(15));
        let text = text(&write(&(10..20), &mark.text()));
        let found = read(Some(Cursor(text.clone())), Mark::parse).unwrap();
        assert_eq!((found, read(None, Mark::parse).unwrap()), (Some((10..20, mark)), None));
        let turned = text.replacen(&format!("{:020}", 10), &format!("{:020}", 21), 1);
        let short = text.replacen('0', "", 1);
        for bad in ["", "~~", &mark.text(), &short, &turned] {
            assert!(read(Some(Cursor(bad.into())), Mark::parse).is_err(), "{bad}");
        }
    }
}
