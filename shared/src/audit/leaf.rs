//! What the Merkle tree is built over: one leaf per entry. docs/audit.md describes it byte by byte.
//!
//! A leaf is a version byte and a JSON object in the canonical form of RFC 8785. What may name or describe a person
//! beyond their id is not in it, only its salted hash: it can be destroyed later, and every old proof stays valid.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Entry;
use super::merkle::{Hash, hash};
use crate::event::audit::{Actor, Client, Outcome, Record, Resource};

/// The version byte of the leaves written today.
pub const VERSION: u8 = 1;
/// The largest leaf, in bytes: entry bundles of tlog-tiles have 16 bits for it.
pub const MAX_LEAF: usize = 65_535;
/// The most bytes of personal details in their canonical form.
pub const MAX_PERSONAL: usize = 65_535;
/// Bytes of salt: what is committed to cannot be guessed at, however few values it may have.
pub const SALT: usize = 16;

/// An entry as it is stored: the leaf, and beside it what the leaf only commits to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// The version byte and the canonical JSON.
    pub bytes: Vec<u8>,
    /// The personal details; none once they are destroyed.
    pub personal: Option<Personal>,
}

/// Personal details and the salt of the commitment to them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Personal {
    /// Random, of its own for every entry.
    pub salt: [u8; SALT],
    /// Canonical JSON.
    pub json: String,
}

impl Personal {
    /// What the leaf holds of it: SHA-256(salt || JSON).
    pub fn commitment(&self) -> Hash {
        hash(&[&self.salt, self.json.as_bytes()])
    }
}

/// A leaf that cannot be made or read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum LeafError {
    /// The entry is too large.
    #[error("the entry's {part} takes {size} bytes; at most {limit} are kept")]
    TooLarge {
        /// Which part of it.
        part: &'static str,
        /// Its size in canonical form.
        size: usize,
        /// What is allowed.
        limit: usize,
    },
    /// RFC 8785 writes numbers as IEEE 754 doubles, which would change this one.
    #[error("`{0}` would lose digits; send numbers beyond 2^53 as strings")]
    Number(String),
    /// Not a leaf of a known version.
    #[error("not a leaf: {0}")]
    Malformed(String),
}

/// The JSON object of a leaf.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Public {
    id: String,
    time: String,
    received_at: String,
    org: String,
    source: String,
    actor: Who,
    action: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    resource: Option<Resource>,
    outcome: Outcome,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    session_id: Option<String>,
    request_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<String>,
    personal: String,
}

/// An actor without a name.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Who {
    #[serde(rename = "type")]
    kind: String,
    id: String,
}

/// The JSON object of the personal details.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Details {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ip: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    user_agent: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    details: BTreeMap<String, Value>,
}

impl Leaf {
    /// The leaf of an entry, with a salt of its own.
    ///
    /// # Errors
    /// When the entry is too large, or holds a number that the canonical form would change.
    pub fn new(entry: &Entry, salt: [u8; SALT]) -> Result<Self, LeafError> {
        let Record { actor, action, resource, outcome, reason, client, session_id, request_id, details } =
            entry.record.clone();
        check_numbers(&details)?;
        let details = Details { name: actor.name, ip: client.ip, user_agent: client.user_agent, details };
        let personal = Personal { salt, json: canonical(&details)? };
        let public = Public {
            id: entry.id.clone(),
            time: entry.time.clone(),
            received_at: entry.received_at.clone(),
            org: entry.org.clone(),
            source: entry.source.clone(),
            actor: Who { kind: actor.kind, id: actor.id },
            action,
            resource,
            outcome,
            reason,
            client_id: client.client_id,
            session_id,
            request_id,
            trace_id: entry.trace_id.clone(),
            personal: STANDARD.encode(personal.commitment()),
        };
        let mut bytes = vec![VERSION];
        bytes.extend_from_slice(canonical(&public)?.as_bytes());
        let parts = [("public part", bytes.len(), MAX_LEAF), ("details", personal.json.len(), MAX_PERSONAL)];
        match parts.into_iter().find(|(_, size, limit)| size > limit) {
            Some((part, size, limit)) => Err(LeafError::TooLarge { part, size, limit }),
            None => Ok(Self { bytes, personal: Some(personal) }),
        }
    }

    /// The JSON text of the leaf.
    ///
    /// # Errors
    /// When the leaf is of another version or no text.
    pub fn json(&self) -> Result<&str, LeafError> {
        match self.bytes.split_first() {
            Some((&VERSION, json)) => {
                std::str::from_utf8(json).map_err(|error| LeafError::Malformed(error.to_string()))
            }
            _ => Err(LeafError::Malformed("unknown version".into())),
        }
    }

    /// The entry again; without its personal details once they are destroyed.
    ///
    /// # Errors
    /// When it is no leaf of a known version.
    pub fn entry(&self) -> Result<Entry, LeafError> {
        let malformed = |error: serde_json::Error| LeafError::Malformed(error.to_string());
        let public: Public = serde_json::from_str(self.json()?).map_err(malformed)?;
        let personal = self.personal.as_ref().map_or("{}", |personal| &personal.json);
        let personal: Details = serde_json::from_str(personal).map_err(malformed)?;
        Ok(Entry {
            id: public.id,
            time: public.time,
            received_at: public.received_at,
            org: public.org,
            source: public.source,
            record: Record {
                actor: Actor { kind: public.actor.kind, id: public.actor.id, name: personal.name },
                action: public.action,
                resource: public.resource,
                outcome: public.outcome,
                reason: public.reason,
                client: Client { ip: personal.ip, user_agent: personal.user_agent, client_id: public.client_id },
                session_id: public.session_id,
                request_id: public.request_id,
                details: personal.details,
            },
            trace_id: public.trace_id,
        })
    }
}

/// The canonical form of RFC 8785.
///
/// # Errors
/// When `value` is no JSON.
pub fn canonical(value: &impl Serialize) -> Result<String, LeafError> {
    let malformed = |error: serde_json::Error| LeafError::Malformed(error.to_string());
    let value = serde_json::to_value(value).map_err(malformed)?;
    let mut text = Vec::new();
    write(&value, &mut text).map_err(malformed)?;
    String::from_utf8(text).map_err(|error| LeafError::Malformed(error.to_string()))
}

/// The crate for it, which a test holds this against, costs an append a sixth of its time, and every function 24 KB.
/// Strings are escaped as serde_json does it (RFC 8785 section 3.2.2.2); numbers are written as ECMAScript does.
fn write(value: &Value, text: &mut Vec<u8>) -> serde_json::Result<()> {
    match value {
        Value::Number(number) => {
            let number = number.as_f64().unwrap_or_default();
            text.extend_from_slice(ryu_js::Buffer::new().format_finite(number).as_bytes());
        }
        Value::Array(values) => {
            text.push(b'[');
            for (place, value) in values.iter().enumerate() {
                if place > 0 {
                    text.push(b',');
                }
                write(value, text)?;
            }
            text.push(b']');
        }
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            // By UTF-16 units, not by bytes (section 3.2.3).
            members.sort_unstable_by(|(one, _), (other, _)| one.encode_utf16().cmp(other.encode_utf16()));
            text.push(b'{');
            for (place, (name, value)) in members.into_iter().enumerate() {
                if place > 0 {
                    text.push(b',');
                }
                serde_json::to_writer(&mut *text, name)?;
                text.push(b':');
                write(value, text)?;
            }
            text.push(b'}');
        }
        Value::Null | Value::Bool(_) | Value::String(_) => serde_json::to_writer(text, value)?,
    }
    Ok(())
}

/// Holds integers against what a double can hold (RFC 7493 section 2.2).
fn check_numbers(details: &BTreeMap<String, Value>) -> Result<(), LeafError> {
    const LIMIT: u64 = 1 << 53;
    let mut values: Vec<&Value> = details.values().collect();
    while let Some(value) = values.pop() {
        match value {
            Value::Number(number) if number.is_f64() => {}
            Value::Number(number) if number.as_i64().map_or(u64::MAX, i64::unsigned_abs) < LIMIT => {}
            Value::Number(number) => return Err(LeafError::Number(number.to_string())),
            Value::Array(more) => values.extend(more),
            Value::Object(more) => values.extend(more.values()),
            Value::Null | Value::Bool(_) | Value::String(_) => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use serde_json::json;
    use time::macros::datetime;

    use super::{Leaf, LeafError, VERSION, canonical};
    use crate::audit::Entry;
    use crate::audit::merkle::leaf_hash;
    use crate::event::Envelope;
    use crate::telemetry::hex;

    fn envelope(details: serde_json::Value) -> Envelope {
        let event = json!({
            "specversion": "1.0", "id": "018f0000-0000-7000-8000-000000000001", "source": "/login", "type": "audit",
            "time": "2026-01-31T12:00:00+01:00", "org": "demo",
            "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "data": {
                "actor": {"type": "User", "id": "u1", "name": "Zoë"}, "action": "login.succeeded",
                "outcome": "success", "client": {"ip": "192.0.2.1", "client_id": "demo-spa"},
                "request_id": "r1", "details": details,
            },
        });
        Envelope::parse(&event.to_string()).unwrap()
    }

    fn entry(details: serde_json::Value) -> Entry {
        Entry::new(&envelope(details), datetime!(2026-01-31 11:00:00.25 UTC)).unwrap()
    }

    /// The worked example of docs/audit.md: the page must show exactly these.
    #[test]
    fn the_documented_example_comes_out() {
        let leaf = Leaf::new(&entry(json!({"attempt": 1, "ratio": 1e21})), [0x5a; 16]).unwrap();
        let personal = leaf.personal.clone().unwrap();
        let page = include_str!("../../../docs/audit.md");
        for shown in [
            format!("`{}`", personal.json),
            format!("`{}`", STANDARD.encode(personal.commitment())),
            format!("`{}`", leaf.json().unwrap()),
            format!("`{}`", hex(&leaf_hash(&leaf.bytes))),
        ] {
            assert!(page.contains(&shown), "docs/audit.md lacks {shown}");
        }
    }

    #[test]
    fn an_entry_comes_back_out_of_its_leaf() {
        let entry = entry(json!({"z": [1, {"b": 2, "a": "\u{7f}\n"}], "a": null}));
        let mut leaf = Leaf::new(&entry, [1; 16]).unwrap();
        assert_eq!(leaf.bytes[0], VERSION);
        assert_eq!(leaf.entry().unwrap(), entry);
        leaf.personal = None;
        let erased = leaf.entry().unwrap();
        assert_eq!((erased.record.actor.name, erased.record.client.ip, erased.record.details.len()), (None, None, 0));
        assert_eq!(erased.record.client.client_id.as_deref(), Some("demo-spa"));
    }

    #[test]
    fn nothing_personal_stands_in_the_leaf() {
        let leaf = Leaf::new(&entry(json!({"mail": "zoe@example.test"})), [1; 16]).unwrap();
        let text = leaf.json().unwrap();
        for personal in ["Zoë", "192.0.2.1", "zoe@example.test"] {
            assert!(!text.contains(personal), "{text}");
        }
        let other = Leaf::new(&entry(json!({"mail": "zoe@example.test"})), [2; 16]).unwrap();
        assert_ne!(leaf.bytes, other.bytes, "the salt hides equal details");
    }

    #[test]
    fn keys_and_numbers_take_their_canonical_form() {
        let value = json!({"\u{20ac}": 1.0, "\r": 333_333_333.333_333_3, "1": 1e30, "\u{1f600}": 4.50, "\u{f6}": 2e-3,
                           "\u{fb33}": 1e-27});
        // RFC 8785 section 3.2.3 sorts by UTF-16 units: the emoji before U+FB33.
        let sorted = "{\"\\r\":333333333.3333333,\"1\":1e+30,\"\u{f6}\":0.002,\"\u{20ac}\":1,\"\u{1f600}\":4.5,\"\u{fb33}\":1e-27}";
        assert_eq!(canonical(&value).unwrap(), sorted);
    }

    #[test]
    fn another_implementation_writes_the_same() {
        let nested = json!({"b": [[], {}, [null, true, {"\u{fb33}": "\u{0}\u{8}\t\n\u{b}\u{c}\r\u{1f}\"\\/\u{7f}\u{2028}", "\u{1f600}": ""}]]});
        let numbers = [0.0, -0.0, 1e21, 1e-7, 123.456, -9e15, f64::MIN_POSITIVE, f64::MAX, 5e-324, 0.1 + 0.2];
        let whole = [json!(i64::MIN), json!(u64::MAX), json!((1u64 << 53) - 1), json!(-1)];
        for value in numbers.iter().map(|number| json!(number)).chain(whole).chain([nested, json!({"\"": 1, "!": 2})]) {
            assert_eq!(canonical(&value).unwrap(), serde_json_canonicalizer::to_string(&value).unwrap());
        }
    }

    #[test]
    fn what_would_not_fit_is_refused() {
        let large = Leaf::new(&entry(json!({"x": vec![1e20; 5_000]})), [0; 16]);
        assert!(matches!(large, Err(LeafError::TooLarge { part: "details", .. })), "{large:?}");
        let mut long = entry(json!({}));
        long.record.request_id = "\u{1}".repeat(20_000);
        assert!(matches!(Leaf::new(&long, [0; 16]), Err(LeafError::TooLarge { part: "public part", .. })));
        for number in [json!(1u64 << 53), json!(i64::MIN), json!([{"deep": u64::MAX}])] {
            let refused = Leaf::new(&entry(json!({ "n": number })), [0; 16]);
            assert!(matches!(refused, Err(LeafError::Number(_))), "{number}");
        }
        assert!(Leaf::new(&entry(json!({"n": -((1i64 << 53) - 1)})), [0; 16]).is_ok());
    }

    #[test]
    fn what_has_not_happened_yet_is_no_entry() {
        let received_at = datetime!(2026-01-31 10:49:59 UTC);
        assert!(Entry::new(&envelope(json!({})), received_at).unwrap_err().contains("ahead"));
    }
}
