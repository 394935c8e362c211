//! JSON Lines that a verifier needs nothing else for. What was hashed stands in them byte by byte.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use echo_shared::audit::leaf::Leaf;
use echo_shared::audit::merkle::Hash;
use serde_json::json;

/// An entry; none when the leaf is of another version.
pub(super) fn entry(index: u64, hash: &Hash, leaf: &Leaf) -> Option<String> {
    let (version, json) = (leaf.bytes.first()?, leaf.json().ok()?);
    let personal = leaf
        .personal
        .as_ref()
        .map(|personal| format!(",\"salt\":\"{}\",\"personal\":{}", STANDARD.encode(personal.salt), personal.json));
    let (hash, personal) = (STANDARD.encode(hash), personal.unwrap_or_default());
    Some(format!("{{\"index\":{index},\"hash\":\"{hash}\",\"version\":{version},\"leaf\":{json}{personal}}}\n"))
}

/// An entry that is lost; its hash may be left.
pub(super) fn missing(index: u64, hash: Option<&Hash>) -> String {
    let hash = hash.map(|hash| format!("\"hash\":\"{}\",", STANDARD.encode(hash))).unwrap_or_default();
    format!("{{\"index\":{index},{hash}\"missing\":true}}\n")
}

/// The last line: what the entries lead up to, and who may have signed it.
pub(super) fn end(checkpoint: &str, keys: &[String]) -> String {
    format!("{}\n", json!({ "checkpoint": checkpoint, "keys": keys }))
}

#[cfg(test)]
mod tests {
    use echo_shared::audit::leaf::{Leaf, Personal};
    use serde_json::{Value, json};

    use super::{end, entry, missing};

    #[test]
    fn what_was_hashed_is_not_written_anew() {
        let personal = Personal { salt: [0; 16], json: r#"{"details":{"n":1e+30}}"#.into() };
        let mut leaf = Leaf { bytes: b"\x01{\"b\":1,\"a\":2}".to_vec(), personal: Some(personal) };
        let line = entry(7, &[0; 32], &leaf).unwrap();
        let hash = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
        let public = format!(r#"{{"index":7,"hash":"{hash}","version":1,"leaf":{{"b":1,"a":2}}"#);
        let salted = r#","salt":"AAAAAAAAAAAAAAAAAAAAAA==","personal":{"details":{"n":1e+30}}}"#;
        assert_eq!(line, format!("{public}{salted}\n"));
        leaf.personal = None;
        assert_eq!(entry(7, &[0; 32], &leaf).unwrap(), format!("{public}}}\n"));
        leaf.bytes[0] = 2;
        assert_eq!(entry(7, &[0; 32], &leaf), None);
    }

    #[test]
    fn every_other_line_is_json_too() {
        let read = |line: &str| serde_json::from_str::<Value>(line.strip_suffix('\n').unwrap()).unwrap();
        assert_eq!(read(&missing(3, None)), json!({"index": 3, "missing": true}));
        assert_eq!(read(&missing(3, Some(&[255; 32])))["hash"], "//////////////////////////////////////////8=");
        let last = end("a\n\u{2014} b\n", &["k".into()]);
        assert_eq!(read(&last), json!({"checkpoint": "a\n\u{2014} b\n", "keys": ["k"]}));
    }
}
