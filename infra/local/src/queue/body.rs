//! Message bodies: what SQS takes, and what is read from them.

use std::borrow::Cow;
use std::fmt::Write;

use md5::{Digest, Md5};
use serde::Deserialize;

use super::Refused;

/// The column's width.
const LONGEST_TYPE: usize = 128;

/// Why a queue that takes `limit` bytes refuses this body, if it does.
///
/// The alphabet is XML 1.0's: #x9, #xA, #xD, #x20 to #xD7FF, #xE000 to #xFFFD, #x10000 to #x10FFFF (API reference,
/// SendMessage).
pub fn refusal(body: &str, limit: usize) -> Option<Refused> {
    if body.is_empty() {
        return Some(Refused::Empty);
    }
    if body.len() > limit {
        return Some(Refused::TooLarge { size: body.len(), limit });
    }
    let foreign = |c: &char| matches!(c, '\0'..='\x08' | '\x0b' | '\x0c' | '\x0e'..='\x1f' | '\u{fffe}' | '\u{ffff}');
    body.chars().find(foreign).map(|c| Refused::Character(u32::from(c)))
}

/// The event type of an envelope, or nothing.
pub(super) fn event_type(body: &str) -> String {
    #[derive(Deserialize)]
    struct Typed<'a> {
        #[serde(borrow, rename = "type")]
        event_type: Cow<'a, str>,
    }
    // serde would read a struct from an array too.
    if !body.trim_start().starts_with('{') {
        return String::new();
    }
    let typed = serde_json::from_str::<Typed<'_>>(body).ok();
    let typed = typed.filter(|typed| typed.event_type.chars().count() <= LONGEST_TYPE);
    typed.map(|typed| typed.event_type.into_owned()).unwrap_or_default()
}

/// The MD5 digest that SQS returns with a body, in hexadecimal. A checksum, not a protection.
pub fn md5_hex(body: &str) -> String {
    Md5::digest(body).iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

#[cfg(test)]
mod tests {
    use super::{Refused, event_type, md5_hex, refusal};

    #[test]
    fn the_alphabet_is_xml_1_0() {
        for fine in ["\t\n\r ~", "\u{7f}\u{85}\u{d7ff}\u{e000}\u{fffd}\u{10000}\u{10ffff}", "😀\"\\"] {
            assert_eq!(refusal(fine, 100), None, "{fine:?}");
        }
        for bad in ['\0', '\u{8}', '\u{b}', '\u{c}', '\u{e}', '\u{1f}', '\u{fffe}', '\u{ffff}'] {
            assert_eq!(refusal(&format!("a{bad}"), 100), Some(Refused::Character(u32::from(bad))));
        }
    }

    #[test]
    fn sizes_are_bytes() {
        assert_eq!(refusal("", 4), Some(Refused::Empty));
        assert_eq!(refusal("😀", 4), None);
        assert_eq!(refusal("😀x", 4), Some(Refused::TooLarge { size: 5, limit: 4 }));
    }

    #[test]
    fn the_type_is_read_from_objects_only() {
        assert_eq!(event_type(r#" {"id": 1, "type": "audit", "data": {"type": "x"}}"#), "audit");
        assert_eq!(event_type(r#"{"type": "\u00e9"}"#), "é");
        let long = format!(r#"{{"type": "{}"}}"#, "x".repeat(129));
        for none in ["", "audit", r#"["audit"]"#, r#"{"type": 1}"#, r#"{"typ": "a"}"#, "{", &long] {
            assert_eq!(event_type(none), "", "{none}");
        }
    }

    #[test]
    fn md5_is_hexadecimal() {
        assert_eq!(md5_hex("hello"), "5d41402abc4b2a76b9719d911017c592");
    }
}
