//! From the bytes of a request to events that may enter a queue.

use echo_shared::audit::Entry;
use echo_shared::audit::leaf::{Leaf, LeafError};
use echo_shared::clock::sortable;
use echo_shared::event::{Envelope, MAX_ENVELOPE, audit};
use echo_shared::http::Problem;
use http::StatusCode;
use serde_json::{Map, Value, json};
use time::OffsetDateTime;

/// The most events in one request.
pub const MAX_EVENTS: usize = 500;

/// The event types that callers may send. The others are Echo's own.
const ALLOWED: [&str; 1] = [audit::TYPE];

/// What the token says about whoever sends the events.
pub struct Caller<'a> {
    /// The tenant.
    pub org: &'a str,
    /// The events' source.
    pub source: &'a str,
    /// The request's trace context, for events without their own.
    pub traceparent: String,
    /// The time of events without their own.
    pub now: OffsetDateTime,
}

/// Why nothing of a request is accepted.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Not JSON, or the wrong shape of it.
    #[error("{0}")]
    Body(String),
    /// More than [`MAX_EVENTS`].
    #[error("{0} events are too many; send at most {MAX_EVENTS} at once")]
    TooMany(usize),
    /// The event at an index breaks a rule.
    #[error("event {0}: {1}")]
    Event(usize, String),
    /// The event at an index is too large to be stored.
    #[error("event {0}: {1}")]
    EventTooLarge(usize, String),
    /// The event at an index claims to be from somebody else.
    #[error("event {0}: `{1}` is set by Echo from your token; leave it out or send `{2}`")]
    Foreign(usize, &'static str, String),
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let (status, kind, index) = match &refusal {
            Refusal::Body(_) => (StatusCode::BAD_REQUEST, "invalid-body", None),
            Refusal::TooMany(_) => (StatusCode::PAYLOAD_TOO_LARGE, "too-many-events", None),
            Refusal::Event(index, _) => (StatusCode::BAD_REQUEST, "invalid-event", Some(*index)),
            Refusal::EventTooLarge(index, _) => (StatusCode::PAYLOAD_TOO_LARGE, "event-too-large", Some(*index)),
            Refusal::Foreign(index, _, _) => (StatusCode::FORBIDDEN, "foreign-event", Some(*index)),
        };
        let problem = Self::new(status, kind, format!("{refusal}; nothing was accepted"));
        match index {
            Some(index) => problem.with("index", json!(index)),
            None => problem,
        }
    }
}

/// Reads one event or a batch (`batch`: whether the media type says which) and makes the events the caller's own.
///
/// # Errors
/// The first reason to refuse; then nothing of the request counts.
pub fn accept(body: &[u8], batch: Option<bool>, caller: &Caller<'_>) -> Result<Vec<Envelope>, Refusal> {
    let json: Value =
        serde_json::from_slice(body).map_err(|error| Refusal::Body(format!("the body is no JSON: {error}")))?;
    let events = match (json, batch) {
        (Value::Array(events), None | Some(true)) => events,
        (event @ Value::Object(_), None | Some(false)) => vec![event],
        (_, Some(true)) => return Err(Refusal::Body("a batch is an array of CloudEvents".into())),
        _ => return Err(Refusal::Body("send a CloudEvent, a JSON object".into())),
    };
    match events.len() {
        0 => Err(Refusal::Body("the batch is empty".into())),
        1..=MAX_EVENTS => {
            events.into_iter().enumerate().map(|(index, event)| accept_one(index, event, caller)).collect()
        }
        count => Err(Refusal::TooMany(count)),
    }
}

fn accept_one(index: usize, event: Value, caller: &Caller<'_>) -> Result<Envelope, Refusal> {
    let Value::Object(mut event) = event else {
        return Err(Refusal::Event(index, "not a JSON object".into()));
    };
    own(&mut event, "org", caller.org, index)?;
    own(&mut event, "source", caller.source, index)?;
    event.entry("time").or_insert_with(|| sortable(caller.now).into());
    event.entry("traceparent").or_insert_with(|| caller.traceparent.clone().into());
    let invalid = |reason: String| Refusal::Event(index, reason);
    let envelope: Envelope =
        serde_json::from_value(Value::Object(event)).map_err(|error| invalid(error.to_string()))?;
    envelope.check().map_err(|error| invalid(error.to_string()))?;
    if !ALLOWED.contains(&envelope.event_type.as_str()) {
        let reason = format!("type `{}` is not accepted here; send one of {}", envelope.event_type, ALLOWED.join(", "));
        return Err(invalid(reason));
    }
    let too_large = |reason: String| Refusal::EventTooLarge(index, reason);
    let size = envelope.to_body().len();
    if size > MAX_ENVELOPE {
        return Err(too_large(format!("{size} bytes are too many; an event may have {MAX_ENVELOPE}")));
    }
    // What the log would refuse must not enter the queue.
    let entry = Entry::new(&envelope, caller.now).map_err(invalid)?;
    match Leaf::new(&entry, [0; _]) {
        Ok(_) => Ok(envelope),
        Err(error @ LeafError::TooLarge { .. }) => Err(too_large(error.to_string())),
        Err(error) => Err(invalid(error.to_string())),
    }
}

/// Sets an attribute that is the server's to set; a caller may repeat it, not contradict it.
fn own(event: &mut Map<String, Value>, name: &'static str, value: &str, index: usize) -> Result<(), Refusal> {
    match event.insert(name.into(), value.into()) {
        None => Ok(()),
        Some(claimed) if claimed == value => Ok(()),
        Some(_) => Err(Refusal::Foreign(index, name, value.into())),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use time::macros::datetime;

    use super::{Caller, MAX_EVENTS, Refusal, accept};

    fn caller() -> Caller<'static> {
        Caller {
            org: "demo",
            source: "/clients/c",
            traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".into(),
            now: datetime!(2026-01-01 00:00 UTC),
        }
    }

    fn event() -> Value {
        json!({"specversion": "1.0", "id": "1", "type": "audit",
               "data": {"actor": {"type": "User", "id": "u"}, "action": "a", "outcome": "success"}})
    }

    fn try_one(change: impl FnOnce(&mut Value)) -> Result<Vec<echo_shared::event::Envelope>, Refusal> {
        let mut changed = event();
        change(&mut changed);
        accept(changed.to_string().as_bytes(), None, &caller())
    }

    #[test]
    fn org_source_time_and_trace_come_from_the_server() {
        let accepted = try_one(|_| {}).unwrap().remove(0);
        assert_eq!((accepted.org.as_str(), accepted.source.as_str()), ("demo", "/clients/c"));
        assert_eq!(accepted.time, datetime!(2026-01-01 00:00 UTC));
        assert!(accepted.trace_id().is_some());
        assert!(try_one(|event| event["org"] = json!("demo")).is_ok(), "repeating is no contradiction");
    }

    #[test]
    fn claims_of_another_org_or_source_are_refused() {
        for (name, value) in [("org", json!("other")), ("source", json!("/login")), ("org", json!(null))] {
            let refused = try_one(|event| event[name] = value).unwrap_err();
            assert!(matches!(refused, Refusal::Foreign(0, found, _) if found == name), "{refused:?}");
        }
    }

    #[test]
    fn only_allowed_types_with_their_payload_are_accepted() {
        for (name, value) in [
            ("type", json!("membership_changed")),
            ("type", json!("unheard_of")),
            ("data", json!({})),
            ("id", json!("")),
            ("specversion", json!("2")),
            ("time", json!("yesterday")),
            ("time", json!("2026-01-01T00:10:01Z")),
        ] {
            assert!(matches!(try_one(|event| event[name] = value), Err(Refusal::Event(0, _))), "{name}");
        }
    }

    #[test]
    fn one_bad_event_refuses_the_whole_batch_by_index() {
        let batch = json!([event(), event(), {"id": "bad"}]);
        let refused = accept(batch.to_string().as_bytes(), Some(true), &caller()).unwrap_err();
        assert!(matches!(refused, Refusal::Event(2, _)), "{refused:?}");
    }

    #[test]
    fn shapes_and_sizes_are_bounded() {
        let accept = |body: &str, batch| accept(body.as_bytes(), batch, &caller());
        for body in ["", "{", "1", "null", "[]", "\"x\""] {
            assert!(matches!(accept(body, None), Err(Refusal::Body(_))), "{body}");
        }
        assert!(matches!(accept(&event().to_string(), Some(true)), Err(Refusal::Body(_))));
        assert!(matches!(accept(&json!([event()]).to_string(), Some(false)), Err(Refusal::Body(_))));
        let many = json!(vec![event(); MAX_EVENTS + 1]).to_string();
        assert_eq!(accept(&many, None), Err(Refusal::TooMany(MAX_EVENTS + 1)));
        let large = try_one(|event| event["data"]["details"] = json!({"x": "y".repeat(70_000)}));
        assert!(matches!(large, Err(Refusal::EventTooLarge(0, _))));
        let unpacked = try_one(|event| event["data"]["details"] = json!({"x": vec![1e20; 5_000]}));
        assert!(matches!(unpacked, Err(Refusal::EventTooLarge(0, _))), "{unpacked:?}");
        let number = try_one(|event| event["data"]["details"] = json!({"n": 1u64 << 60}));
        assert!(matches!(number, Err(Refusal::Event(0, _))));
    }
}
