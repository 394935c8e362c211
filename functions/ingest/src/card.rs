//! Numbers of payment cards (ISO/IEC 7812).

use std::ops::Range;

/// The most digits that they have.
const MAX_DIGITS: usize = 19;
/// Fewer digits between two separators are no part of a card number.
const MIN_GROUP: usize = 3;

/// Finds the card numbers of a text.
pub(crate) fn cards(text: &str, found: &mut Vec<Range<usize>>) {
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(skipped) = bytes.get(at..).and_then(|rest| rest.iter().position(u8::is_ascii_digit)) {
        let start = at + skipped;
        let (before, rest) = bytes.split_at_checked(start).unwrap_or_default();
        at = match length(before, rest) {
            Some(length) => {
                found.push(start..start + length);
                start + length
            }
            None => start + run(rest),
        };
    }
}

/// The length of the longest card number at the start of `rest`: groups of digits with spaces or dashes between.
fn length(before: &[u8], rest: &[u8]) -> Option<usize> {
    if !stands_alone(before.iter().rev()) {
        return None;
    }
    let (mut luhn, mut at) = (Luhn::default(), 0);
    let (mut separator, mut found): (Option<u8>, Option<usize>) = (None, None);
    loop {
        let group = rest.get(at..).unwrap_or_default();
        let digits = run(group);
        if digits < MIN_GROUP || luhn.digits + digits > MAX_DIGITS {
            return found;
        }
        group.iter().take(digits).for_each(|digit| luhn.add(*digit));
        at += digits;
        let behind = rest.get(at..).unwrap_or_default();
        if is_issued(rest, luhn.digits) && luhn.holds() && stands_alone(behind.iter()) {
            found = Some(at);
        }
        match behind {
            [mark @ (b' ' | b'-'), ..] if separator.is_none_or(|separator| separator == *mark) => {
                separator = Some(*mark);
                at += 1;
            }
            _ => return found,
        }
    }
}

/// How many digits stand at the start.
fn run(bytes: &[u8]) -> usize {
    bytes.iter().take_while(|byte| byte.is_ascii_digit()).count()
}

/// Whether an issuer's numbers begin so and have so many digits. Times in milliseconds, microseconds and nanoseconds,
/// which begin with 1, are none.
fn is_issued(bytes: &[u8], digits: usize) -> bool {
    match bytes {
        [b'4', ..] => matches!(digits, 13 | 16 | 19),
        [b'5', b'1'..=b'5', ..] | [b'2', b'2'..=b'7', ..] | [b'3', b'5', ..] => digits == 16,
        [b'3', b'4' | b'7', ..] => digits == 15,
        [b'3', b'0' | b'6' | b'8', ..] => digits == 14,
        [b'6', b'0' | b'2' | b'4' | b'5', ..] => matches!(digits, 16..=19),
        _ => false,
    }
}

/// Whether a number is not a part of something longer, such as a UUID or a fraction. `away` leads away from it.
fn stands_alone<'a>(mut away: impl Iterator<Item = &'a u8>) -> bool {
    match away.next() {
        None => true,
        Some(b'_' | b'+') => false,
        Some(b'.') => !away.next().is_some_and(u8::is_ascii_digit),
        Some(b'-') => {
            let mut neighbour = away.take_while(|byte| byte.is_ascii_alphanumeric()).peekable();
            neighbour.peek().is_none() || !neighbour.all(u8::is_ascii_hexdigit)
        }
        Some(byte) => !byte.is_ascii_alphanumeric(),
    }
}

/// The check sum, digit by digit: the last digit counts once, the one before it twice, and so on.
#[derive(Default)]
struct Luhn {
    digits: usize,
    /// The sum when the last digit counts once.
    once: u32,
    /// The sum when the last digit counts twice.
    twice: u32,
}

impl Luhn {
    fn add(&mut self, digit: u8) {
        let value = u32::from(digit.saturating_sub(b'0'));
        let doubled = if value > 4 { 2 * value - 9 } else { 2 * value };
        (self.once, self.twice) = (self.twice + value, self.once + doubled);
        self.digits += 1;
    }

    fn holds(&self) -> bool {
        self.once.is_multiple_of(10)
    }
}

#[cfg(test)]
mod tests {
    use super::cards;

    fn found(text: &str) -> Vec<&str> {
        let mut ranges = Vec::new();
        cards(text, &mut ranges);
        ranges.into_iter().map(|range| text.get(range).unwrap()).collect()
    }

    #[test]
    fn cards_of_every_issuer_are_found() {
        for card in [
            "4111111111111111",
            "4222222222222",
            "5500005555555559",
            "5555 5555 5555 4444",
            "2223000048400011",
            "340000000000009",
            "3782-822463-10005",
            "30000000000004",
            "6011000000000004",
            "6011 1111 1111 1117",
            "4111-1111-1111-1111",
        ] {
            assert_eq!(found(card), [card]);
            for text in [format!("card {card}."), format!("id:{card},"), format!("\"{card}\""), format!("é{card}é")] {
                assert_eq!(found(&text), [card], "{text}");
            }
        }
        assert_eq!(found("2026 4111 1111 1111 1111 2026"), ["4111 1111 1111 1111"]);
        assert_eq!(found("4111111111111111 5500005555555559"), ["4111111111111111", "5500005555555559"]);
        assert_eq!(found("card-4111111111111111"), ["4111111111111111"]);
    }

    #[test]
    fn other_numbers_are_none() {
        for text in [
            "",
            "4111111111111112",
            // Good check sums, but no issuer has so many digits.
            "55000000000004",
            "3000000000004",
            "34000000000000000",
            "5600000000000003",
            "41111111111111111111",
            "a4111111111111111",
            "4111111111111111a",
            "4111111111111111_1",
            "3.4111111111111111",
            "4111111111111111.5",
            "+4111111111111111",
            "550e8400-e29b-41d4-4111-111111111111",
            "41111111-1111-1111-a111-446655440000",
            "4111  1111  1111  1111",
            "4111-1111 1111 1111",
            "41 11 11 11 11 11 11 11",
            "1700000000123456789",
            "1767225600000",
            "0000000000000000",
            "4bf92f3577b34da6a3ce929d0e0e4736",
        ] {
            assert_eq!(found(text), [""; 0], "{text}");
        }
    }
}
